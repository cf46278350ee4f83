"""The playback ledger: what was queued at the phone, and how much of it the caller has heard.

Twilio plays what it is sent in order and in real time, and echoes a mark when playback passes it. The
ledger puts a mark behind every piece of audio and follows the play head by interpolation between the echoes.

    audio sent   |====item a====|==item b==|          positions in ms since the last clear
    marks             m1     m2 |     m3   |
    play head              ^

An echo tells where the head was half a round trip ago, and a clear sent now takes effect half a round trip
from now; so what will have been heard by then is the echoed position, plus the time since, plus a whole round
trip. The round trip is measured all the time: by how much an echo is later than its audio's length explains.

A clear starts a new generation. Twilio echoes the marks of what it threw away just as it echoes those of what
it played, so echoes of an older generation mean nothing and are ignored.

Pure: time is an argument, in seconds of any clock that never goes back. Source: Twilio, "Media Streams -
WebSocket Messages", on `mark` and `clear`.
"""

from collections import deque
from dataclasses import dataclass

ROUND_TRIP_SAMPLES = 64
"""How many echoes the round trip is the minimum of: delays only ever add to it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One content part of one item: the unit that the model can be told about."""

    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of a part had been heard when it was cut off. Zero: none of it."""

    part: Part
    heard_ms: int


@dataclass(frozen=True, slots=True)
class _Mark:
    position_ms: float
    due_at: float
    """when playback would pass it if the network took no time"""


@dataclass(slots=True)
class _Segment:
    part: Part
    start_ms: float
    end_ms: float


class Ledger:
    """The playback of one media stream. Not thread-safe: it belongs to the actor that writes the stream."""

    def __init__(self) -> None:
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIP_SAMPLES)
        self._generation = 0
        self._marks_sent = 0
        self._start_generation()

    def _start_generation(self) -> None:
        self._segments: deque[_Segment] = deque()
        self._finished: set[Part] = set()
        self._marks: dict[str, _Mark] = {}
        self._queued_ms = 0.0
        self._confirmed_ms = 0.0
        self._confirmed_at: float | None = None
        self._run_start_ms = 0.0
        self._run_started_at = 0.0

    @property
    def round_trip_ms(self) -> float | None:
        """Between sending to the phone and an echo from it; None before the first echo."""
        return min(self._round_trips) * 1000 if self._round_trips else None

    @property
    def pending(self) -> bool:
        """Whether audio was sent whose playback has not been confirmed."""
        return bool(self._marks)

    def queue(self, part: Part, duration_ms: float, now: float) -> str:
        """Audio goes out now. Returns the name of the mark to send right behind it."""
        if self._head_on_arrival(now) >= self._queued_ms:
            # The phone has nothing left to play by the time this gets there: it starts playing at once.
            self._run_start_ms = self._queued_ms
            self._run_started_at = now
            self._confirmed_at = None
        last = self._segments[-1] if self._segments else None
        if last is not None and last.part == part:
            last.end_ms += duration_ms
        else:
            self._segments.append(_Segment(part, self._queued_ms, self._queued_ms + duration_ms))
        self._queued_ms += duration_ms
        self._marks_sent += 1
        name = f"{self._generation}-{self._marks_sent}"
        since_run_start = (self._queued_ms - self._run_start_ms) / 1000
        self._marks[name] = _Mark(self._queued_ms, self._run_started_at + since_run_start)
        return name

    def finish(self, part: Part) -> None:
        """No more audio of this part will come: heard to its end, it needs no truncation."""
        self._finished.add(part)

    def confirm(self, mark: str, now: float) -> bool:
        """A mark was echoed. False: it is not one of this generation's, or it has been passed before."""
        passed = self._marks.get(mark)
        if passed is None:
            return False
        for name in list(self._marks):
            del self._marks[name]
            if name == mark:
                break
        self._round_trips.append(max(now - passed.due_at, 0.0))
        self._confirmed_ms = passed.position_ms
        if passed.position_ms > self._run_start_ms:
            self._confirmed_at = now
        # Else the phone ran dry behind this mark, and the head has been somewhere else since.
        self._forget_what_was_heard()
        return True

    def interrupt(self, now: float) -> list[Heard]:
        """A clear goes out now. Returns the parts that it cuts off, in the order of playback.

        Parts which were heard to their end are not among them, and nothing is when nothing was left to play.
        """
        head = self._head_on_arrival(now)
        heard: dict[Part, float] = {}
        queued: dict[Part, float] = {}
        for segment in self._segments:
            heard[segment.part] = heard.get(segment.part, 0.0) + _overlap(segment, head)
            queued[segment.part] = queued.get(segment.part, 0.0) + segment.end_ms - segment.start_ms
        cut_off = [
            Heard(part, int(heard[part]))
            for part in heard
            if heard[part] < queued[part] or part not in self._finished
        ]
        self._generation += 1
        self._start_generation()
        return cut_off

    def _head_on_arrival(self, now: float) -> float:
        """Where the play head will be when something sent now gets to the phone."""
        if self._confirmed_at is None:
            head = self._run_start_ms + (now - self._run_started_at) * 1000
        else:
            head = self._confirmed_ms + (now - self._confirmed_at) * 1000 + (self.round_trip_ms or 0.0)
        return max(self._confirmed_ms, min(head, self._queued_ms))

    def _forget_what_was_heard(self) -> None:
        while self._segments and self._segments[0].end_ms <= self._confirmed_ms:
            part = self._segments[0].part
            if part not in self._finished:
                break
            self._segments.popleft()
            if all(segment.part != part for segment in self._segments):
                self._finished.discard(part)


def _overlap(segment: _Segment, head: float) -> float:
    return max(min(head, segment.end_ms) - segment.start_ms, 0.0)
