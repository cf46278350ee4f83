"""How late this process is: a thread that sleeps, and looks at the clock when it wakes."""

import logging
import threading
import time
from collections.abc import Callable

from wire.lateness import Lateness

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.02
"""As long as a frame. What this thread waits for is what each of a call's waits for with every frame: a core, and
Python's lock. It costs a thousandth of a core, and the audio nothing."""


class Pulse:
    """Beats while there are calls: a process at rest is not late, and has nothing to do. Any thread."""

    def __init__(
        self,
        limit_ms: float = 0.0,
        report: Callable[[float, bool], None] = lambda ms, late: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """`limit_ms`: beyond it this process is late; 0: it never is, and no thread is started.

        `report` is told how late it is and whether that is too late, a few times a second, by the pulse's thread.
        """
        self._limit_ms = limit_ms
        self._report = report
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._sleep = sleep
        self._changing = threading.Lock()
        self._calls = 0
        self._beats = False
        self._lateness = Lateness(limit_ms)

    @property
    def late(self) -> bool:
        """Whether one more call would make the audio of all of them bad."""
        return self._lateness.late

    @property
    def late_ms(self) -> float:
        """How late threads of this process wake."""
        return self._lateness.ms

    def begin(self) -> None:
        """There is one more call."""
        with self._changing:
            self._calls += 1
            if self._beats or self._limit_ms == 0:
                return
            try:
                threading.Thread(target=self._beat, name="pulse", daemon=True).start()
            except RuntimeError as error:  # no more threads; the next call tries again
                logger.warning("how late this process is is not known: %s", error)
            else:
                self._beats = True

    def end(self) -> None:
        """There is one less."""
        with self._changing:
            self._calls -= 1

    def _beat(self) -> None:
        while self._goes_on():
            due_at = self._clock() + BEAT_SECONDS
            self._sleep(BEAT_SECONDS)
            now, lateness = self._clock(), self._lateness
            was_late = lateness.late
            if lateness.woke((now - due_at) * 1000, now, self._cpu_clock()):
                self._report(lateness.ms, lateness.late)
            if lateness.late is not was_late:
                self._tell(lateness)

    def _goes_on(self) -> bool:
        with self._changing:
            if self._calls:
                return True
            self._beats = False
            self._lateness = Lateness(self._limit_ms)
            self._report(0.0, False)
            return False

    def _tell(self, lateness: Lateness) -> None:
        if lateness.late:
            logger.warning(
                "late by %.0f ms with %d calls: no new ones are taken; add WORKERS or machines",
                lateness.ms,
                self._calls,
            )
        else:
            logger.info("in time again, with %d calls: new ones are taken", self._calls)
