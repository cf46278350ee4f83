"""Timers as messages: one thread for all calls of the process."""

import heapq
import itertools
import threading
import time
from typing import Any

from pykka import ActorRef

from actors.member import post

SWEEP_AT_LEAST = 64
"""With fewer timers than that, none is looked for that has become pointless."""


class Timer:
    """A message that will be told at a time, unless it is cancelled. Any thread may cancel it."""

    __slots__ = ("cancelled", "message", "receiver")

    def __init__(self, receiver: ActorRef[Any], message: object) -> None:
        self.receiver = receiver
        self.message = message
        self.cancelled = False

    def cancel(self) -> None:
        """A timer that has fired already may be cancelled too."""
        self.cancelled = True

    @property
    def pointless(self) -> bool:
        """Whether nobody will be told: it was cancelled, or its receiver has died."""
        return self.cancelled or not self.receiver.is_alive()


class Clock:
    """Tells messages at their time. Its daemon thread starts with the first timer and serves the process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = SWEEP_AT_LEAST
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many timers are kept; some of them may have become pointless."""
        with self._changed:
            return len(self._timers)

    def after(self, seconds: float, receiver: ActorRef[Any], message: object) -> Timer:
        """Tell `message` to `receiver` in so many seconds. A receiver that has died by then misses nothing."""
        timer = Timer(receiver, message)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="clock", daemon=True)
                thread.start()
                self._thread = thread
            if len(self._timers) >= self._sweep_at:
                self._sweep()
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
            if self._timers[0][2] is timer:  # else the thread wakes soon enough for it
                self._changed.notify()
        return timer

    def _sweep(self) -> None:
        # A call's own limit is half an hour away: without this, calls that are long over would be kept until then.
        self._timers = [each for each in self._timers if not each[2].pointless]
        heapq.heapify(self._timers)
        # Twice as many before the next time, so that it costs next to nothing for each timer.
        self._sweep_at = max(2 * len(self._timers), SWEEP_AT_LEAST)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._timers or self._timers[0][0] > time.monotonic():
                    wait = self._timers[0][0] - time.monotonic() if self._timers else None
                    self._changed.wait(wait)
                timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                post(timer.receiver, timer.message)
