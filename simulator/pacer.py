"""The schedule of one call: a frame of 20 ms each way, 50 times a second, counted from `dial`.

The schedule is absolute: a frame may leave late when the machine is busy, but none is left out and no delay adds up.
"""

import queue
from collections.abc import Callable

from simulator.line import Line
from simulator.playout import Playout
from simulator.stream import MediaStream
from wire.g711 import FRAME_BYTES, SAMPLE_RATE


class Pacer:
    """Lets time pass on a line. The call's thread runs all of it but `command`, which is for any thread."""

    def __init__(self, line: Line, clock: Callable[[], int], changed: Callable[[], None]) -> None:
        """`clock` gives the sample time now. `changed` is called after every step of the schedule."""
        self.interrupted = False
        """Set by a command to leave what is running; whoever sees to it resets it."""
        self._line = line
        self._clock = clock
        self._changed = changed
        self._commands: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def command(self, act: Callable[[], object] | None) -> None:
        """Have the call's thread do `act` soon, between two steps; None only wakes it."""
        self._commands.put(act)

    def obey(self) -> None:
        """Do what has been commanded."""
        while not self._commands.empty():
            self._obey_next(0)

    def carry(self, stream: MediaStream) -> None:
        """Carry media both ways until the stream is closed or the call interrupted."""
        self._pass_time(stream=stream)

    def play(self, audio: bytes) -> None:
        """Play mu-law `audio` to the caller, in the time that it takes unless interrupted."""
        now = self._clock()
        playout = Playout(now)
        playout.put(audio, now)
        self._pass_time(until=now + len(audio), playout=playout)

    def pause(self, samples: int) -> None:
        """Let that many samples' time pass unless interrupted."""
        self._pass_time(until=self._clock() + samples)

    def _pass_time(
        self, *, until: int | None = None, stream: MediaStream | None = None, playout: Playout | None = None
    ) -> None:
        line = self._line
        while True:
            self.obey()
            now = self._clock()
            horizon = now if until is None else min(now, until)
            while (boundary := line.position + FRAME_BYTES) <= horizon:
                self._play(boundary, stream, playout)
                frame = line.complete_frame()
                if stream is not None:
                    stream.send_frame(frame, boundary)
            self._play(horizon, stream, playout)
            due: int | None = None
            if stream is not None:
                stream.flush(self._clock())
                due = stream.next_due()
            self._changed()
            if self.interrupted or horizon == until or (stream is not None and stream.closed is not None):
                return
            next_step = min(at for at in (boundary, due, until) if at is not None)
            self._obey_next((next_step - self._clock()) / SAMPLE_RATE)

    def _play(self, now: int, stream: MediaStream | None, playout: Playout | None) -> None:
        if stream is not None:
            stream.advance(now)
            playout = stream.playout
        elif playout is not None:
            playout.advance(now)
        if playout is not None:
            self._line.hear(playout.take_audio())

    def _obey_next(self, timeout: float) -> None:
        try:
            act = self._commands.get(timeout=max(timeout, 0))
        except queue.Empty:
            return
        if act is not None:
            act()
