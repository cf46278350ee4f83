"""The schedule of one call: a frame of 20 ms each way, 50 times a second, counted from `dial`.

The schedule is absolute: a frame may leave late when the machine is busy, but none is left out and no delay adds up.
"""

import heapq
import itertools
import queue
from collections.abc import Callable

from simulator.bridge import Member
from simulator.line import Line
from simulator.playout import Playout
from simulator.stream import MediaStream
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE

_AGAIN = 5 * BYTES_PER_MS
"""When another line that is late is looked at again."""


class Pacer:
    """Lets time pass on a line. The call's thread runs all of it but `command`, which is for any thread."""

    def __init__(self, line: Line, clock: Callable[[], int], changed: Callable[[], None]) -> None:
        """`clock` gives the sample time now. `changed` is called after every step of the schedule."""
        self.interrupted = False
        """Set by a command to leave what is running; whoever sees to it resets it."""
        self._line = line
        self._clock = clock
        self._changed = changed
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._commands: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def command(self, act: Callable[[], object] | None) -> None:
        """Have the call's thread do `act` soon, between two steps; None only wakes it."""
        self._commands.put(act)

    def at(self, moment: int, act: Callable[[], object]) -> None:
        """Do `act` at that sample time, or as soon after it as time passes here again."""
        heapq.heappush(self._timers, (moment, next(self._numbers), act))

    def obey(self) -> None:
        """Do what has been commanded."""
        while not self._commands.empty():
            self._obey_next(0)

    def carry(self, stream: MediaStream) -> None:
        """Carry media both ways until the stream is closed or the call interrupted."""
        self._pass_time(stream=stream)

    def play(self, audio: bytes, done: Callable[[], bool] | None = None) -> None:
        """Play mu-law `audio` to the caller, in the time that it takes unless interrupted, or `done`."""
        now = self._clock()
        playout = Playout(now)
        playout.put(audio, now)
        self._pass_time(until=now + len(audio), playout=playout, done=done)

    def pause(
        self,
        samples: int,
        done: Callable[[], bool] | None = None,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        """Let that many samples' time pass unless interrupted, or `done`.

        `tap` is given each frame of mu-law that is said meanwhile.
        """
        self._pass_time(until=self._clock() + samples, done=done, tap=tap)

    def talk(self, member: Member, done: Callable[[], bool], samples: int | None = None) -> None:
        """Let the line speak and hear in `member`'s room until `done`, or that many samples' time passed."""
        until = None if samples is None else self._clock() + samples
        self._pass_time(until=until, member=member, done=done)

    def wait(self, done: Callable[[], bool]) -> None:
        """Let time pass until `done`, which is looked at 50 times a second, unless interrupted."""
        self._pass_time(done=done)

    def _pass_time(
        self,
        *,
        until: int | None = None,
        stream: MediaStream | None = None,
        playout: Playout | None = None,
        member: Member | None = None,
        done: Callable[[], bool] | None = None,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        line = self._line
        began = self._clock()
        if member is not None:
            member.begin(began)
        while True:
            self.obey()
            now = self._clock()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            horizon = now if until is None else min(now, until)
            while (boundary := line.position + FRAME_BYTES) <= horizon:
                if member is not None and member.awaits(line.position, FRAME_BYTES, now):
                    boundary = now + _AGAIN
                    break
                self._play(boundary, stream, playout)
                if member is not None:
                    start = max(line.position, began)  # what was played before is in this frame as well
                    line.hear([(start, member.take(start, boundary - start))])
                frame = line.complete_frame()
                if stream is not None:
                    stream.send_frame(frame, boundary)
                if member is not None:
                    member.put(boundary - FRAME_BYTES, frame)
                if tap is not None:
                    tap(frame)
            self._play(horizon, stream, playout)
            due: int | None = None
            if stream is not None:
                stream.flush(self._clock())
                due = stream.next_due()
            self._changed()
            if self.interrupted or horizon == until or (stream is not None and stream.closed is not None):
                return
            if done is not None and done():
                return
            timer = self._timers[0][0] if self._timers else None
            next_step = min(at for at in (boundary, due, until, timer) if at is not None)
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
