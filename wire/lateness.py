"""How late a process is, by how late a thread wakes in it that has nothing else to do."""

from collections import deque

WINDOW_SECONDS = 4.0
"""What is longer ago does not count: a call that begins costs more for a moment than it will, and tells little."""
LEAST_SECONDS = 1.0
"""Of a shorter time than that nothing is said."""
SHARE = 0.9
"""So many of the times that the thread woke, it was not later than what is said."""
RECOVERED = 0.5
"""Who was above the limit is late until there is no more than this part of it. Else a call that ends would let the
next one in, and that one would be too many again."""
JUDGE_SECONDS = 0.2
"""Between two judgements: sorting the window for every beat would cost more than the beat."""


class Lateness:
    """What the last seconds were like. One thread tells it; any may look at `ms` and `late`."""

    def __init__(self, limit_ms: float) -> None:
        """`limit_ms`: who wakes later is late; 0: nobody is."""
        self._limit_ms = limit_ms
        self._woken: deque[tuple[float, float]] = deque()
        self._judged_at = float("-inf")
        self.ms = 0.0
        """How late it is."""
        self.late = False
        """Whether that is more than the limit, or was and is not much less yet."""

    def woke(self, late_ms: float, now: float) -> bool:
        """The thread woke at `now`, in monotonic seconds, so much too late. Returns whether that was judged."""
        woken = self._woken
        woken.append((now, late_ms))
        while woken[0][0] < now - WINDOW_SECONDS:
            woken.popleft()
        if now - woken[0][0] < LEAST_SECONDS or now - self._judged_at < JUDGE_SECONDS:
            return False
        self._judged_at = now
        ordered = sorted(each for _, each in woken)
        self.ms = ordered[int((len(ordered) - 1) * SHARE)]
        limit_ms = self._limit_ms * RECOVERED if self.late else self._limit_ms
        self.late = self.ms > limit_ms > 0
        return True
