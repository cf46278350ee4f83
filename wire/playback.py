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

A part ends in one of these ways, after which the ledger knows nothing more of it:

    finish, and the mark of its last audio, in any order   heard to its end
    break_off, and the mark of its last audio              heard as far as it came: its session was lost
    a clear before the later of the two                    cut off, where `interrupt` says

Pure: time is an argument, in seconds of any clock that never goes back. Source: Twilio, "Media Streams -
WebSocket Messages", on `mark` and `clear`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

ROUND_TRIP_SAMPLES = 64
"""How many echoes the round trip is the minimum of: delays only ever add to it."""

ENDED_KEPT = 64
"""How many parts that were heard to their ends are remembered; it is asked for right after that became known."""


class Part(NamedTuple):
    """One content part of one item: the unit that the model can be told about.

    A tuple, because it is looked up in dictionaries for every piece of audio: a tuple is hashed and compared in C.
    """

    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of a part had been heard at a moment, such as when it was cut off. Zero: none of it."""

    part: Part
    heard_ms: int
    queued_ms: int = field(default=0, compare=False)
    """how much of it had gone to the phone by then"""


@dataclass(slots=True)
class _Mark:
    position_ms: float
    due_at: float
    """when playback would pass it if the network took no time"""
    part: Part
    part_ms: float
    """where it stands in its part"""


@dataclass(slots=True)
class _Segment:
    part: Part
    start_ms: float
    end_ms: float


class Ledger:
    """The playback of one media stream. Not thread-safe: it belongs to the actor that writes the stream."""

    def __init__(self) -> None:
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIP_SAMPLES)
        self._round_trip_ms: float | None = None
        self._generation = 0
        self._marks_sent = 0
        self._start_generation()

    def _start_generation(self) -> None:
        self._segments: deque[_Segment] = deque()
        self._finished: set[Part] = set()
        self._broken_off: set[Part] = set()
        self._ended: deque[Part] = deque(maxlen=ENDED_KEPT)
        self._marks: dict[str, _Mark] = {}
        self._queued_of: dict[Part, float] = {}
        self._queued_ms = 0.0
        self._confirmed_ms = 0.0
        self._confirmed_at: float | None = None
        self._run_start_ms = 0.0
        self._run_started_at = 0.0

    @property
    def round_trip_ms(self) -> float | None:
        """Between sending to the phone and an echo from it; None before the first echo."""
        return self._round_trip_ms

    @property
    def pending(self) -> bool:
        """Whether audio was sent whose playback has not been confirmed."""
        return bool(self._marks)

    @property
    def generation(self) -> int:
        """How many clears there have been."""
        return self._generation

    @property
    def queued_ms(self) -> float:
        """How much was sent since the last one."""
        return self._queued_ms

    def head_ms(self, now: float) -> float:
        """Where the play head will be in that when something sent now gets to the phone."""
        if self._confirmed_at is None:
            head = self._run_start_ms + (now - self._run_started_at) * 1000
        else:
            head = self._confirmed_ms + (now - self._confirmed_at) * 1000 + (self._round_trip_ms or 0.0)
        # `max` and `min` are calls, and this is asked for every piece of audio.
        if head > self._queued_ms:
            head = self._queued_ms
        return head if head > self._confirmed_ms else self._confirmed_ms

    @property
    def due_at(self) -> float | None:
        """When the next mark that is waited for would be passed, if the network took no time; None: none is."""
        return next((mark.due_at for mark in self._marks.values()), None)

    def awaits(self, mark: str | None) -> bool:
        """Whether this mark has been sent and its playback has not been confirmed."""
        return mark in self._marks

    def queue(self, part: Part, duration_ms: float, now: float, unsent: str | None = None) -> str:
        """Audio goes out now. Returns the name of the mark to send right behind it.

        `unsent`: the latest mark, if it has not been sent and need not be: where it belongs to the same part it moves
        along. Small pieces come 50 times a second, and each mark has to be looked at again when one comes back.
        """
        if self.head_ms(now) >= self._queued_ms:
            # The phone has nothing left to play by the time this gets there: it starts playing at once.
            self._run_start_ms = self._queued_ms
            self._run_started_at = now
            self._confirmed_at = None
        last = self._segments[-1] if self._segments else None
        if last is not None and last.part == part and last.end_ms == self._queued_ms:
            last.end_ms += duration_ms
        else:
            self._segments.append(_Segment(part, self._queued_ms, self._queued_ms + duration_ms))
        self._queued_ms += duration_ms
        part_ms = self._queued_of[part] = self._queued_of.get(part, 0.0) + duration_ms
        due_at = self._run_started_at + (self._queued_ms - self._run_start_ms) / 1000
        if unsent is not None and (mark := self._marks.get(unsent)) is not None and mark.part == part:
            mark.position_ms, mark.due_at, mark.part_ms = self._queued_ms, due_at, part_ms
            return unsent
        self._marks_sent += 1
        name = f"{self._generation}-{self._marks_sent}"
        self._marks[name] = _Mark(self._queued_ms, due_at, part, part_ms)
        return name

    def finish(self, part: Part) -> Heard | None:
        """No more audio of this part will come: heard to its end, it needs no truncation.

        Returns it, where that end has been heard already. Of what was cut off, or never queued, it means nothing.
        """
        queued_ms = self._queued_of.get(part)
        if queued_ms is None:
            return None
        self._finished.add(part)
        self._forget_what_was_heard()
        return Heard(part, int(queued_ms), int(queued_ms)) if self.heard_to_the_end(part) else None

    def break_off(self) -> None:
        """No more audio of the parts queued so far will come; those that are not finished lack their ends."""
        self._broken_off = self._queued_of.keys() - self._finished
        self._forget_what_was_heard()

    def heard_to_the_end(self, part: Part) -> bool:
        """Whether all of a part has been heard, and no more of it will come. Of the latest such parts only."""
        return part in self._ended and part not in self._queued_of

    def confirm(self, mark: str, now: float) -> tuple[Heard, ...]:
        """A mark was echoed. Returns how far the parts have been heard which were heard since the last one.

        Nothing, where it is not one of this generation's marks, or has been passed before.
        """
        passed = self._marks.get(mark)
        if passed is None:
            return ()
        heard: dict[Part, float] = {}
        while True:
            name = next(iter(self._marks))
            each = self._marks.pop(name)
            heard[each.part] = each.part_ms
            if name == mark:
                break
        self._measured(max(now - passed.due_at, 0.0) * 1000)
        self._confirmed_ms = passed.position_ms
        if passed.position_ms > self._run_start_ms:
            self._confirmed_at = now
        # Else the phone ran dry behind this mark, and the head has been somewhere else since.
        # A part may have been forgotten already, if its last piece had no length.
        confirmed = tuple(
            Heard(part, int(ms), int(self._queued_of.get(part, ms))) for part, ms in heard.items()
        )
        self._forget_what_was_heard()
        return confirmed

    def _measured(self, round_trip_ms: float) -> None:
        samples, least = self._round_trips, self._round_trip_ms
        forgotten = samples[0] if len(samples) == ROUND_TRIP_SAMPLES else None
        samples.append(round_trip_ms)
        if least is None or round_trip_ms <= least:
            self._round_trip_ms = round_trip_ms
        elif forgotten == least:  # else it is what it was, and they need not all be looked at
            self._round_trip_ms = min(samples)

    def heard_out(self, now: float) -> tuple[Heard, ...]:
        """The parts which a clear that goes out now is too late for, although no mark has confirmed that yet."""
        return tuple(
            heard
            for heard in self._heard_by(self.head_ms(now))
            if heard.heard_ms == heard.queued_ms and heard.part in self._finished
        )

    def interrupt(self, now: float) -> list[Heard]:
        """A clear goes out now. Returns the parts that it cuts off, in the order of playback.

        Parts which were heard to their end are not among them, and nothing is when nothing was left to play.
        """
        cut_off = [
            heard
            for heard in self._heard_by(self.head_ms(now))
            if heard.heard_ms < heard.queued_ms or heard.part not in self._finished
        ]
        self._generation += 1
        self._start_generation()
        return cut_off

    def _heard_by(self, head: float) -> list[Heard]:
        heard: dict[Part, float] = {}
        queued: dict[Part, float] = {}
        for segment in self._segments:
            heard[segment.part] = heard.get(segment.part, 0.0) + _overlap(segment, head)
            queued[segment.part] = queued.get(segment.part, 0.0) + segment.end_ms - segment.start_ms
        return [Heard(part, int(heard[part]), int(queued[part])) for part in heard]

    def _forget_what_was_heard(self) -> None:
        # Mostly there is nothing to forget, and this is asked at every mark.
        if not (self._finished or self._broken_off):
            return
        if self._segments and self._segments[0].end_ms > self._confirmed_ms:
            return
        # Whole parts, wherever they stand: one that is not complete may stand before them for ever, because its
        # session was lost, and what is left of one that is cut off has to be known from its beginning.
        keep = {segment.part for segment in self._segments if segment.end_ms > self._confirmed_ms}
        keep |= self._queued_of.keys() - self._finished - self._broken_off
        for part in self._queued_of.keys() - keep:
            del self._queued_of[part]
            if part in self._finished:
                self._ended.append(part)
            self._finished.discard(part)
        self._segments = deque(segment for segment in self._segments if segment.part in keep)


def _overlap(segment: _Segment, head: float) -> float:
    return max(min(head, segment.end_ms) - segment.start_ms, 0.0)
