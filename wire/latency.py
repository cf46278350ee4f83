"""What the caller waits for: from the last word to the answer, and from the first word to silence.

    last word ── twilio ── vad ── turn is over ── model ── first audio ── us ── written ── twilio ── heard
    first word ── twilio ── vad ── speech noticed ── us ── clear written ── twilio ── silent

`CallerTurns` knows the model's events and belongs to the OpenAIActor, `AssistantVoice` knows the phone's and belongs
to the TwilioActor. They share nothing: `SpeechEdge` and `Onset` are values that travel in messages.

Both ends are those at Twilio. Speech left it half a round trip of marks before it got to our reader, and audio was
heard, or stopped, half a round trip before the echo that says so. The caller's own leg, from mouth and ear to Twilio,
cannot be measured from here and is in none of the numbers. What is not known is None; nothing is filled in.

Pure: time is an argument, in seconds of one clock that never goes back. Sources: OpenAI, Realtime API reference, on
`audio_start_ms` (includes the prefix padding) and `audio_end_ms` (includes the silence that ended the turn); Twilio,
"Media Streams - WebSocket Messages", on `mark` and `clear`.
"""

from array import array
from binascii import a2b_base64
from bisect import bisect_left
from dataclasses import dataclass

from wire.g711 import BYTES_PER_MS, FRAME_MS, decode_ulaw

REMEMBERED_FRAMES = 1536
"""At 20 ms a frame 30 s: all that is kept of what the caller said for a session in a lost one's place."""

AUDIBLE_LEVEL = 500
"""A 16-bit sample at least this far from zero is audible: about 36 dB below the loudest."""

_AUDIBLE = bytes(
    abs(sample) >= AUDIBLE_LEVEL for sample in memoryview(decode_ulaw(bytes(range(256)))).cast("h")
)


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """The caller's speech begins, or ends."""

    at: float | None
    """when that sound got to our reader, in s; None where the server's event does not tell"""
    detected_at: float
    """when we learned of it, in s"""


@dataclass(frozen=True, slots=True)
class Onset:
    """TwilioActor → OpenAIActor: the caller heard a response begin, confirmed by a mark. Times in s."""

    response_id: str
    received_at: float
    """when its first audio came from the model"""
    written_at: float
    """when that was written to Twilio"""
    silent_ms: float
    """how much inaudible audio it begins with"""
    heard_at: float
    """when Twilio played its first audible sample"""
    one_way_ms: float
    """between Twilio and us"""


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """From the end of the caller's speech to the first audible audio of the answer, in ms."""

    vad_ms: float | None
    """until we knew that the turn was over; mostly the silence that proves it"""
    model_ms: float
    """until audio came, the network to the model, tools and the answer's own leading silence included"""
    us_ms: float
    """from the model's socket to Twilio's"""
    twilio_ms: float
    """from our socket to being played, and before that with the last word to us"""

    @property
    def answer_ms(self) -> float | None:
        """The sum; None where the end of the speech is not known."""
        return None if self.vad_ms is None else self.vad_ms + self.model_ms + self.us_ms + self.twilio_ms

    def __str__(self) -> str:
        return (
            f"answer heard after {_shown(self.answer_ms)} "
            f"(VAD {_shown(self.vad_ms)}, model {_shown(self.model_ms)}, "
            f"us {_shown(self.us_ms)}, Twilio {_shown(self.twilio_ms)})"
        )


@dataclass(frozen=True, slots=True)
class InterruptionLatency:
    """From the start of the caller's speech to the assistant's silence, in ms. Itself the message to the call."""

    vad_ms: float | None
    """until we knew that the caller speaks"""
    us_ms: float
    """until clear was written; includes the time that a gate against false starts takes"""
    twilio_ms: float
    """until playback stopped, and before that with the first word to us"""

    @property
    def silence_ms(self) -> float | None:
        """The sum; None where the start of the speech is not known."""
        return None if self.vad_ms is None else self.vad_ms + self.us_ms + self.twilio_ms

    def __str__(self) -> str:
        return (
            f"silent {_shown(self.silence_ms)} after the caller's first word "
            f"(VAD {_shown(self.vad_ms)}, us {_shown(self.us_ms)}, Twilio {_shown(self.twilio_ms)})"
        )


class CallerTurns:
    """When the caller spoke, and which response answers. One model session's; belongs to its OpenAIActor.

    `prefix_padding_ms` and `silence_duration_ms` are those of the session's turn detection. With None (semantic VAD,
    which says nothing of either) the moments of detection are still known, those of the speech are not.
    """

    def __init__(self, prefix_padding_ms: int | None, silence_duration_ms: int | None) -> None:
        self._prefix_padding_ms = prefix_padding_ms
        self._silence_duration_ms = silence_duration_ms
        self._appended = _AppendedAudio()
        self._last_end_ms = 0
        self._end: SpeechEdge | None = None
        self._expecting = False
        self._answers: set[str] = set()

    def appended(self, duration_ms: float, arrived_at: float) -> None:
        """Audio was appended to the model's buffer, the caller's or silence in its place; every bit of it counts.

        `arrived_at` is when our reader had it, which is long before now for what waited for the session.
        """
        self._appended.add(duration_ms, arrived_at)

    def speech_started(self, audio_start_ms: int, now: float) -> SpeechEdge:
        """The caller speaks. What was said before is not answered any more, unless the answer is under way."""
        self._expecting = False
        # The padding ends where the last turn did: how much there is of it then, the event does not say.
        clipped = audio_start_ms <= self._last_end_ms
        padding_ms = self._prefix_padding_ms
        at = None if padding_ms is None or clipped else self._appended.arrival(audio_start_ms + padding_ms)
        return SpeechEdge(at, now)

    def speech_stopped(self, audio_end_ms: int, now: float) -> SpeechEdge:
        """The turn is over: the next response answers it."""
        silence_ms = self._silence_duration_ms
        at = None if silence_ms is None else self._appended.arrival(audio_end_ms - silence_ms)
        self._last_end_ms = audio_end_ms
        self._end = SpeechEdge(at, now)
        self._expecting = True
        self._answers.clear()
        return self._end

    def response_created(self, response_id: str) -> None:
        """If it is the first since the end of a turn, it is the answer; the greeting and a prompt are not."""
        if self._expecting:
            self._expecting = False
            self._answers.add(response_id)

    def response_done(self, response_id: str, *, followed: bool) -> None:
        """`followed`: another response says what this one did not, after a tool or again; the first heard counts."""
        if followed and response_id in self._answers:
            self._expecting = True

    def dismiss(self) -> None:
        """What is asked for next does not answer the caller: a prompt after silence, or the turn was a cough."""
        self._expecting = False

    def heard(self, onset: Onset) -> TurnLatency | None:
        """The caller hears a response begin. None if it is not the answer to a turn, or not its first audio."""
        end = self._end
        if end is None or onset.response_id not in self._answers:
            return None
        self._end = None
        # A busy actor may take the event from its mailbox after the reader has had the audio: that wait is ours.
        detected_at = min(end.detected_at, onset.received_at)
        return TurnLatency(
            vad_ms=None if end.at is None else _ms(end.at, detected_at),
            model_ms=_ms(detected_at, onset.received_at) + onset.silent_ms,
            us_ms=_ms(onset.received_at, onset.written_at),
            twilio_ms=_ms(onset.written_at, onset.heard_at) - onset.silent_ms + onset.one_way_ms,
        )


class AssistantVoice:
    """When the assistant's voice begins and ends at the phone. One media stream's; belongs to its TwilioActor."""

    def __init__(self) -> None:
        self._response_id = ""
        self._watched: _Watched | None = None
        self._last_mark: str | None = None
        self._cleared: dict[str, tuple[SpeechEdge, float]] = {}

    def listens_to(self, response_id: str) -> bool:
        """Whether the next audio of this response may be what is heard first of it, and so needs its own mark."""
        if response_id != self._response_id:
            return True
        return self._watched is not None and self._watched.mark is None

    def written(self, response_id: str, payload: str, mark: str, received_at: float, now: float) -> None:
        """Audio (base64 of mu-law) and the mark behind it went out, which the model's reader had at `received_at`.

        Audio whose mark follows later, is only `marked` then; where `listens_to` says so, it must not.
        """
        if response_id != self._response_id:
            self._response_id = response_id
            if self._last_mark is None:
                self._watched = _Watched(response_id, received_at, now)
            # Else it stands behind audio that may still play: then it is not what the caller hears first.
        self._last_mark = mark
        watched = self._watched
        if watched is not None and watched.mark is None and watched.response_id == response_id:
            watched.listen(payload, mark)

    def marked(self, mark: str) -> None:
        """The mark behind what was written went out."""
        self._last_mark = mark

    def played(self, mark: str, now: float, round_trip_ms: float) -> Onset | None:
        """A mark came back that playback has passed, which the ledger knows."""
        if mark == self._last_mark:
            self._last_mark = None
        watched = self._watched
        if watched is None or watched.mark != mark:
            return None
        self._watched = None
        one_way_ms = round_trip_ms / 2
        return Onset(
            response_id=watched.response_id,
            received_at=watched.received_at,
            written_at=watched.written_at,
            silent_ms=watched.silent_ms,
            heard_at=now - (one_way_ms + watched.audible_ms) / 1000,
            one_way_ms=one_way_ms,
        )

    def cleared(self, caller: SpeechEdge | None, now: float) -> None:
        """Clear was written, for the caller's speech or for another reason (None)."""
        if self._last_mark is not None and caller is not None:
            self._cleared[self._last_mark] = (caller, now)
        self._watched = None
        self._last_mark = None

    def discarded(self, mark: str, now: float, round_trip_ms: float | None) -> InterruptionLatency | None:
        """A mark came back that stood before a clear. The last one of them confirms that nothing is left to hear.

        `round_trip_ms` is None as long as no mark was ever passed: the clear's own way and back serves then. None is
        returned for the other marks, and when playback had come to its end before clear was written.
        """
        if (waiting := self._cleared.pop(mark, None)) is None:
            return None
        caller, cleared_at = waiting
        one_way_ms = (_ms(cleared_at, now) if round_trip_ms is None else round_trip_ms) / 2
        stopping_ms = _ms(cleared_at, now) - one_way_ms
        # Marks are passed frame by frame and a clear is answered at once: its way back may be a frame shorter.
        if stopping_ms < -FRAME_MS:
            return None
        return InterruptionLatency(
            vad_ms=None if caller.at is None else _ms(caller.at, caller.detected_at),
            us_ms=_ms(caller.detected_at, cleared_at),
            twilio_ms=max(stopping_ms, 0.0) + one_way_ms,
        )


class _AppendedAudio:
    """Which moment of appended audio got to our reader when, of the latest frames. Takes 24 KiB, as much at any time:
    what grows by a frame at a time for a minute, in hundreds of calls, leaves as much again in holes."""

    def __init__(self) -> None:
        self._total_ms = 0.0
        self._frames = 0
        self._ends_ms = array("d", bytes(8 * REMEMBERED_FRAMES))
        """Of each frame, its end; where a frame stands, the one has stood that was so many before."""
        self._arrivals = array("d", self._ends_ms)

    def add(self, duration_ms: float, arrived_at: float) -> None:
        self._total_ms += duration_ms
        place = self._frames % REMEMBERED_FRAMES
        self._ends_ms[place], self._arrivals[place] = self._total_ms, arrived_at
        self._frames += 1

    def arrival(self, position_ms: float) -> float | None:
        """None for what was not appended yet, and for what was long ago."""
        if not 0 < position_ms <= self._total_ms:
            return None
        first = max(self._frames - REMEMBERED_FRAMES, 0)
        frame = first + bisect_left(range(first, self._frames), position_ms, key=self._end_ms)
        if frame == first > 0:
            return None  # where this one begins is not known any more
        # A frame comes when its last sample has been spoken; what stands before that, was spoken before.
        return self._arrivals[frame % REMEMBERED_FRAMES] - (self._end_ms(frame) - position_ms) / 1000

    def _end_ms(self, frame: int) -> float:
        return self._ends_ms[frame % REMEMBERED_FRAMES]


@dataclass(slots=True)
class _Watched:
    """A response whose beginning has not been heard yet."""

    response_id: str
    received_at: float
    written_at: float
    silent_ms: float = 0.0
    mark: str | None = None
    """behind the first audio with something to hear in it"""
    audible_ms: float = 0.0
    """from the first audible sample to that mark"""

    def listen(self, payload: str, mark: str) -> None:
        ulaw = a2b_base64(payload)
        first = ulaw.translate(_AUDIBLE).find(1)
        if first < 0:
            self.silent_ms += len(ulaw) / BYTES_PER_MS
            return
        self.silent_ms += first / BYTES_PER_MS
        self.mark = mark
        self.audible_ms = (len(ulaw) - first) / BYTES_PER_MS


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000


def _shown(ms: float | None) -> str:
    return "unknown" if ms is None else f"{ms:.0f} ms"
