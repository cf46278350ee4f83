"""What became of each frame on its way through the server: how long it took, and whether it was lost, late or twice.

One for each direction of each call. Times are `time.monotonic`, in seconds.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf


class Journey:
    """The frames of one direction of one call, numbered from 0."""

    def __init__(self) -> None:
        self._left_at = array("d")
        self._next = 0
        self._missing: set[int] = set()
        self._first = 0
        self._end: float = inf
        self._delays = array("d")
        self._reordered = self._duplicates = self._strange = 0
        self._came = self._carried = 0

    def left(self, at: float) -> int:
        """The next frame leaves. Returns its number."""
        self._left_at.append(at)
        return len(self._left_at) - 1

    def came(self, number: int, at: float) -> None:
        """A frame has come out at the other end."""
        if number >= len(self._left_at):
            # Silence for what was lost, or a sound of the server's own. To look for all before it would take 24 GiB.
            self._strange += 1
            return
        expected = self._next
        if number == expected:
            self._next = number + 1
        elif number > expected:
            self._missing.update(range(expected, number))
            self._next = number + 1
        elif number in self._missing:
            self._missing.discard(number)
            self._reordered += 1
        else:
            self._duplicates += 1
            return
        self._came += 1
        if self._first <= number < self._end:
            self._delays.append(at - self._left_at[number])

    def begin(self) -> None:
        """What leaves from now on counts."""
        self._first = len(self._left_at)
        self._end = inf
        self._delays = array("d")
        self._reordered = self._duplicates = self._strange = self._came = 0

    def end(self) -> None:
        """What leaves from now on does not count any more; what is on its way still does when it comes."""
        self._end = len(self._left_at)
        self._carried = self._came

    def take(self, result: "Passage") -> None:
        """Add what was found between `begin` and `end`."""
        sent = int(self._end) - self._first
        result.sent += sent
        result.carried += self._carried
        result.delays.extend(self._delays)
        result.lost += sent - len(self._delays)
        result.reordered += self._reordered
        result.duplicates += self._duplicates
        result.strange += self._strange


@dataclass(slots=True)
class Passage:
    """All frames of one direction, of all calls."""

    sent: int = 0
    carried: int = 0
    """came out in the time in which those were sent: fewer, where the server falls behind"""
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    strange: int = 0
    """came out, and had never been sent"""
    delays: "array[float]" = field(default_factory=lambda: array("d"))

    @classmethod
    def of(cls, journeys: Iterable[Journey]) -> "Passage":
        """What was found in all of them."""
        passage = cls()
        for journey in journeys:
            journey.take(passage)
        return passage

    @property
    def mixed(self) -> int:
        """What came in another order, twice, or of itself."""
        return self.reordered + self.duplicates + self.strange

    @property
    def whole(self) -> bool:
        """Whether every frame came once, and in its order."""
        return not (self.lost or self.mixed)

    def figures(self) -> dict[str, float]:
        """Quantiles of the delay in ms, and what went wrong, by name."""
        p50, p99, most = quantiles_ms(self.delays)
        return {
            "frames": self.sent,
            "carried": self.carried,
            "p50_ms": p50,
            "p99_ms": p99,
            "max_ms": most,
            "lost": self.lost,
            "mixed": self.mixed,
        }


def quantiles_ms(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum in ms; not numbers where there is nothing."""
    if not seconds:
        return (float("nan"),) * 3
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return ordered[last // 2] * 1000, ordered[-(-last * 99 // 100)] * 1000, ordered[last] * 1000
