"""How late a process is, by how late a thread wakes in it that has nothing else to do.

    late by more than the limit, over the last seconds                           takes no new calls
    by a quarter of it within a second, and has hardly any processor time left   neither: what is on its way to it
                                                                                 when the first shows, is too much
    a moment late with time left, as when several calls begin at once            takes them

Pure: time is an argument.
"""

from collections import deque
from collections.abc import Iterable

WINDOW_SECONDS = 4.0
"""What is longer ago does not count: a call that begins costs more for a moment than it will, and tells little."""
LEAST_SECONDS = 1.0
"""Of a shorter time than that nothing is said."""
SHARE = 0.9
"""So many of the times that the thread woke, it was not later than what is said."""
RECOVERED = 0.5
"""Who was above the limit is late until there is no more than this part of it. Else a call that ends would let the
next one in, and that one would be too many again."""
SOON_SECONDS = 1.0
SOON = 0.25
"""Of the limit: so late within SOON_SECONDS, who is busy as well will soon be late."""
BUSY = 0.85
"""Of a processor. Waiting grows without bounds as this nears 1."""
JUDGE_SECONDS = 0.2
"""Between two judgements: sorting the window for every beat would cost more than the beat."""


class Lateness:
    """What the last seconds were like. One thread tells it; any may look at `ms` and `late`."""

    def __init__(self, limit_ms: float) -> None:
        """`limit_ms`: who wakes later is late; 0: nobody is."""
        self._limit_ms = limit_ms
        self._woken: deque[tuple[float, float, float]] = deque()
        self._judged_at = float("-inf")
        self.ms = 0.0
        """How late it is."""
        self.late = False
        """Whether that is more than the limit, or was and is not much less yet."""

    def woke(self, late_ms: float, now: float, cpu_seconds: float) -> bool:
        """The thread woke at `now`, in monotonic seconds, so much too late. Returns whether that was judged.

        `cpu_seconds`: how much processor time the process has taken so far.
        """
        woken = self._woken
        woken.append((now, late_ms, cpu_seconds))
        while woken[0][0] < now - WINDOW_SECONDS:
            woken.popleft()
        if now - woken[0][0] < LEAST_SECONDS or now - self._judged_at < JUDGE_SECONDS:
            return False
        self._judged_at = now
        self.ms = _mostly(late_ms for _, late_ms, _ in woken)
        limit_ms = self._limit_ms * RECOVERED if self.late else self._limit_ms
        self.late = self._limit_ms > 0 and (self.ms > limit_ms or self._late_soon(now, cpu_seconds))
        return True

    def _late_soon(self, now: float, cpu_seconds: float) -> bool:
        latest = [each for each in self._woken if each[0] >= now - SOON_SECONDS]
        began_at, _, cpu_then = latest[0]
        busy = cpu_seconds - cpu_then > BUSY * (now - began_at)
        return busy and _mostly(late_ms for _, late_ms, _ in latest) > SOON * self._limit_ms


def _mostly(late_ms: Iterable[float]) -> float:
    ordered = sorted(late_ms)
    return ordered[int((len(ordered) - 1) * SHARE)]
