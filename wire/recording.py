"""The recording of one media stream: both tracks on the caller's timeline, finished as it becomes certain.

The timeline is Twilio's: `timestamp` of the caller's media, in ms since the stream began. An echoed mark travels the
same way as the caller's audio, so between which of the caller's frames it comes tells when, on that timeline, the
phone had played what stands before the mark; how long the network takes never has to be known.

    caller      |====|====|====|====|====|====|====|====|
    assistant   ......|==piece 1==|==piece 2==|..|=3=|...     a run: pieces that follow each other without a gap
    marks                         ^           ^      ^
                finished          | undecided, LAG_MS

Pieces whose marks have not come back yet stand behind those before them, in real time. What is played later than
the caller's latest audio can still be cleared; so the tracks are finished some way behind, and where a clear cuts
into a piece, what the caller did not hear of it is gone before it would be written.

Pure. Times `at` are in seconds of any clock that never goes back. Bytes are mu-law, 8 a millisecond.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from wire.g711 import BYTES_PER_MS, FRAME_MS, ULAW_SILENCE

LAG_MS = 1000
"""How far behind the caller's latest audio the tracks are finished: within so long a clear is told of."""

HOLD_MS = 4000
"""How far behind at most, where it is not known yet when the phone began to play."""

STALL_MS = 20
"""A mark so much later than the audio before it explains: the phone had nothing to play, or stood still."""

LONGEST_JUMP_MS = 60_000
"""No timestamp is so far from the one before it because audio was lost: the clock was set, and starts anew."""

LONGEST_OVERLAP_MS = 1000
"""Nor so far behind it."""

CLOCK_WINDOW_SECONDS = 10
"""Within which the caller's quickest frame tells how the two clocks stand to each other: they drift apart."""


@dataclass(slots=True)
class _Run:
    """Pieces that are played without a gap between them."""

    start_ms: float
    """when the first one begins, on the timeline"""
    offset_ms: float
    """where the first one begins, in its generation"""
    earliest_ms: float
    """nothing is played before it was sent"""
    from_silence: bool
    """the phone had played everything before it when it was sent"""
    known: bool = False
    """by a mark"""
    begun: bool = False
    """some of it is finished, so that it cannot be moved any more"""


@dataclass(slots=True)
class _Piece:
    mark: str
    generation: int
    offset_ms: float
    ulaw: bytes
    run: _Run
    passed: bool = False

    @property
    def end_offset_ms(self) -> float:
        return self.offset_ms + len(self.ulaw) / BYTES_PER_MS

    @property
    def start_ms(self) -> float:
        return self.run.start_ms + self.offset_ms - self.run.offset_ms

    @property
    def end_ms(self) -> float:
        return self.start_ms + len(self.ulaw) / BYTES_PER_MS


class Recording:
    """Both tracks of one media stream. Not thread-safe: it belongs to one actor.

    What `caller` and `finish` return goes into the file as it is: bytes of both tracks in turn, the caller's first.
    """

    def __init__(self) -> None:
        self._clock = _StreamClock()
        self._shift_ms = 0.0
        self._origin: int | None = None
        self._finished = 0  # sample of the timeline, as is what follows
        self._caller = bytearray()
        self._pieces: deque[_Piece] = deque()
        self._played_to_ms = 0.0
        self._round_trip_ms = 0.0
        self._muted_since: float | None = None
        self._muted: list[tuple[float, float]] = []

    @property
    def began_at(self) -> float | None:
        """When the recording begins, by the clock of `at`; None before the caller's first audio."""
        return None if self._origin is None else self._clock.time(self._origin / BYTES_PER_MS)

    @property
    def _caller_end(self) -> int:
        return self._finished + len(self._caller)

    @property
    def _caller_end_ms(self) -> float:
        return self._caller_end / BYTES_PER_MS

    def caller(self, position_ms: float, ulaw: bytes, at: float) -> bytes:
        """The caller's audio that begins there in the stream came. Returns what is finished by now."""
        position_ms += self._shift_ms
        if self._origin is None:
            self._origin = self._finished = round(position_ms * BYTES_PER_MS)
        ahead_ms = position_ms - self._caller_end_ms
        if not -LONGEST_OVERLAP_MS <= ahead_ms <= LONGEST_JUMP_MS:
            self._shift_ms -= ahead_ms
            self._clock.forget()
            ahead_ms = 0.0
        self._caller += ULAW_SILENCE * max(round(ahead_ms * BYTES_PER_MS), 0) + ulaw
        self._clock.passed(self._caller_end_ms, at)
        return self._finish(self._horizon_ms())

    def queued(self, mark: str, generation: int, offset_ms: float, ulaw: bytes, at: float) -> None:
        """The assistant's audio went to the phone, so far behind the last clear, with a mark behind it."""
        sent_ms = self._clock.position_ms(at) if self._clock.known else self._caller_end_ms
        if self._pieces and self._pieces[-1].generation != generation:
            # Where it was not told how much was heard: nothing that may have been cleared is recorded.
            self._cut(self._pieces[-1].generation, -math.inf)
        last = self._pieces[-1] if self._pieces else None
        starts_ms = sent_ms + self._round_trip_ms
        if (
            last is not None
            and (last.generation, last.end_offset_ms) == (generation, offset_ms)
            and last.end_ms >= starts_ms
        ):
            run = last.run
        else:
            after_ms = self._played_to_ms if last is None else last.end_ms
            run = _Run(max(starts_ms, after_ms), offset_ms, max(sent_ms, after_ms), after_ms <= sent_ms)
        self._pieces.append(_Piece(mark, generation, offset_ms, ulaw, run))

    def passed(self, mark: str, position_ms: float, at: float) -> None:
        """The mark came back, played and not cleared, right behind the caller's audio that ends there."""
        found = next((piece for piece in self._pieces if piece.mark == mark), None)
        if found is None:
            return
        # What held the socket up held the caller's audio up too, but only whole frames of it are seen.
        position_ms += self._shift_ms
        played_ms = min(max(self._clock.position_ms(at), position_ms), position_ms + FRAME_MS)
        self._place(found, played_ms)
        self._keep_order()
        for piece in self._pieces:
            piece.passed = piece.run.known = True
            if piece is found:
                break

    def _place(self, piece: _Piece, played_ms: float) -> None:
        """The phone had played that piece at that moment of the timeline."""
        run = piece.run
        late_ms = played_ms - piece.end_ms
        start_ms = max(run.start_ms + late_ms, run.earliest_ms)
        if not run.known and run.from_silence:
            self._round_trip_ms = start_ms - run.earliest_ms
        if not run.begun and (late_ms < 0 or not run.known):
            run.start_ms = max(start_ms, self._finished / BYTES_PER_MS)
        elif late_ms > STALL_MS:
            self._break_run(piece, late_ms)

    def _break_run(self, piece: _Piece, late_ms: float) -> None:
        # The gap is before this piece, or inside of it; what is finished already stays where it is.
        moved = [each for each in self._pieces if each.run is piece.run and each.offset_ms >= piece.offset_ms]
        if piece.start_ms < self._finished / BYTES_PER_MS:
            moved = moved[1:]
        if moved:
            first = moved[0]
            run = _Run(first.start_ms + late_ms, first.offset_ms, first.start_ms, False, known=True)
            for each in moved:
                each.run = run

    def _keep_order(self) -> None:
        """Nothing is played before what was sent before it."""
        for before, piece in pairwise(self._pieces):
            if piece.run is not before.run and piece.start_ms < before.end_ms and not piece.run.begun:
                piece.run.start_ms = before.end_ms

    def cleared(self, generation: int, heard_ms: float) -> None:
        """What was queued was cleared, but for so much of it, which is counted from the clear before."""
        self._cut(generation, heard_ms)

    def _cut(self, generation: int, heard_ms: float) -> None:
        for piece in self._pieces:
            if piece.generation == generation:
                kept_ms = heard_ms - piece.offset_ms
                kept = round(min(max(kept_ms, 0.0), len(piece.ulaw) / BYTES_PER_MS) * BYTES_PER_MS)
                if not piece.passed:
                    piece.ulaw = piece.ulaw[:kept]
                piece.passed = True
        self._pieces = deque(piece for piece in self._pieces if piece.ulaw)

    def mute(self, at: float) -> None:
        """Silence on both tracks from that moment on."""
        if self._muted_since is None:
            self._muted_since = self._clock.position_ms(at) if self._clock.known else -math.inf

    def unmute(self, at: float) -> None:
        """Both tracks go on at that moment."""
        if self._muted_since is not None:
            until_ms = self._clock.position_ms(at) if self._clock.known else -math.inf
            self._muted.append((self._muted_since, until_ms))
            self._muted_since = None

    def finish(self) -> bytes:
        """No more comes. Returns the rest, up to the caller's last audio."""
        for piece in self._pieces:
            if not piece.run.known and not piece.passed and not piece.run.begun:
                # Its mark has not come back, so the phone had not played it to its end.
                piece.run.start_ms += max(self._caller_end_ms - piece.end_ms, 0.0)
                break
        self._keep_order()
        return self._finish(self._caller_end_ms)

    def _horizon_ms(self) -> float:
        end_ms = self._caller_end_ms
        unknown = (piece.start_ms for piece in self._pieces if not piece.run.known and not piece.passed)
        return max(min(end_ms - LAG_MS, next(unknown, math.inf)), end_ms - HOLD_MS)

    def _finish(self, until_ms: float) -> bytes:
        start, end = self._finished, int(until_ms * BYTES_PER_MS)
        if end <= start:
            return b""
        tracks = [bytearray(self._caller[: end - start]), bytearray(ULAW_SILENCE * (end - start))]
        del self._caller[: end - start]
        self._finished = end
        for piece in self._pieces:
            place = round(piece.start_ms * BYTES_PER_MS)
            if place >= end:
                break
            piece.run.begun = True
            _paint(tracks[1], place - start, piece.ulaw)
        while self._pieces and self._pieces[0].end_ms * BYTES_PER_MS < end:
            self._played_to_ms = self._pieces.popleft().end_ms
        self._mute(tracks, start, end)
        both = bytearray(2 * (end - start))
        both[0::2], both[1::2] = tracks
        return bytes(both)

    def _mute(self, tracks: list[bytearray], start: int, end: int) -> None:
        ranges = [*self._muted, *([] if self._muted_since is None else [(self._muted_since, math.inf)])]
        for since_ms, until_ms in ranges:
            first = max(math.floor(max(since_ms * BYTES_PER_MS, start)), start) - start
            last = math.ceil(min(until_ms * BYTES_PER_MS, end)) - start
            if first < last:
                for track in tracks:
                    track[first:last] = ULAW_SILENCE * (last - first)
        self._muted = [each for each in self._muted if each[1] * BYTES_PER_MS > end]


def _paint(track: bytearray, place: int, ulaw: bytes) -> None:
    """Put the audio there, as far as the track reaches."""
    skipped = max(-place, 0)
    shown = ulaw[skipped : max(len(track) - place, 0)]
    track[place + skipped : place + skipped + len(shown)] = shown


class _StreamClock:
    """Which moment of the stream arrives at which time: delays only ever add, so the quickest frame tells."""

    def __init__(self) -> None:
        self._quickest: deque[tuple[int, float]] = deque()
        self._base = 0.0

    @property
    def known(self) -> bool:
        return bool(self._quickest)

    def forget(self) -> None:
        self._quickest.clear()

    def passed(self, position_ms: float, at: float) -> None:
        """Audio that ends at that position came at that time."""
        base, second = at - position_ms / 1000, int(at)
        if self._quickest and self._quickest[-1][0] == second:
            if base >= self._quickest[-1][1]:
                return
            self._quickest[-1] = (second, base)
        else:
            self._quickest.append((second, base))
            while self._quickest[0][0] < second - CLOCK_WINDOW_SECONDS:
                self._quickest.popleft()
        self._base = min(base for _, base in self._quickest)

    def position_ms(self, at: float) -> float:
        return (at - self._base) * 1000

    def time(self, position_ms: float) -> float:
        return position_ms / 1000 + self._base
