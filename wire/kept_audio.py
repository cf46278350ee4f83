"""The latest of what the caller said, for a model session that takes the place of a lost one.

Kept are samples, in one buffer, and not the messages that they came in, which take three times as much memory. Pure.
"""

from array import array
from collections.abc import Iterator

from wire.g711 import BYTES_PER_MS

SLACK_BYTES = 1000 * BYTES_PER_MS
"""There may be so much more than the limit: to look for what can go costs as much for one piece as for 50."""


class KeptAudio:
    """Pieces of mu-law, each with the time at which it came. Not thread-safe."""

    def __init__(self, limit_ms: float) -> None:
        """`limit_ms`: how much of the latest is kept."""
        self._limit_bytes = round(limit_ms * BYTES_PER_MS)
        self._ulaw = bytearray()
        self._sizes = array("I")
        self._arrivals = array("d")

    def add(self, ulaw: bytes, arrived_at: float) -> None:
        """Keep a piece. `arrived_at`: in s, of whatever clock `since` is asked by."""
        self._ulaw += ulaw
        self._sizes.append(len(ulaw))
        self._arrivals.append(arrived_at)
        if len(self._ulaw) > self._limit_bytes + SLACK_BYTES:
            self._forget()

    def limit(self, limit_ms: float) -> None:
        """Keep so much from now on, of what is kept now and what follows."""
        self._forget()
        self._limit_bytes = round(limit_ms * BYTES_PER_MS)
        self._forget()

    def since(self, moment: float) -> Iterator[tuple[bytes, float]]:
        """The pieces that came at that time or later, each with its own, in their order."""
        self._forget()
        begin = 0
        for size, arrived_at in zip(self._sizes, self._arrivals, strict=True):
            if arrived_at >= moment:
                yield bytes(self._ulaw[begin : begin + size]), arrived_at
            begin += size

    def _forget(self) -> None:
        excess = len(self._ulaw) - self._limit_bytes
        pieces = gone = 0
        while gone < excess:
            gone += self._sizes[pieces]
            pieces += 1
        del self._ulaw[:gone]
        del self._sizes[:pieces]
        del self._arrivals[:pieces]
