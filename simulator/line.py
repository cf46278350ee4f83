"""The line between the caller and Twilio: who says and hears what, sample by sample.

Every time is a count of samples at 8000 Hz since the call was dialled. The line advances in frames of 20 ms
(160 samples); a frame is complete when its last sample is over, as a frame of real speech is.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from simulator.media_messages import SILENT_FRAME
from simulator.phone_events import (
    AssistantAudible,
    AssistantSilent,
    CallerSpeechEnded,
    CallerSpeechStarted,
    PhoneEvent,
)
from simulator.recording import StereoRecording
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE, ULAW_SILENCE, decode_ulaw

AUDIBLE_LEVEL = 500
"""A 16-bit sample at least this far from zero is audible: about 36 dB below the loudest."""

PAUSE_MS = 300
"""A pause up to this long lies between two words; a longer one is silence."""

AUDIBLE = bytes(
    abs(sample) >= AUDIBLE_LEVEL for sample in memoryview(decode_ulaw(bytes(range(256)))).cast("h")
)
_YES = b"\x01"


class CallOverError(Exception):
    """The call ended before what was waited for happened, or had not begun."""


class Utterance:
    """A piece of caller speech. Times are seconds of `time.monotonic()`, None until they are known."""

    def __init__(self, number: int, audio: bytes, origin: float) -> None:
        self.number = number
        self.audio = audio
        self.cut = False
        """Whether the call ended before the whole of it was said."""
        self.start: int | None = None
        """Sample time of its first byte."""
        audible = audio.translate(AUDIBLE)
        first = audible.find(_YES)
        # What is all below the threshold is meant to be heard all the same: its ends are the clip's ends.
        self.speech = (first, audible.rfind(_YES) + 1) if first >= 0 else (0, len(audio))
        """Where the first audible byte begins and the last one ends."""
        self._origin = origin
        self._over = threading.Event()

    @property
    def started(self) -> float | None:
        return self._time(0)

    @property
    def ended(self) -> float | None:
        return self._time(len(self.audio)) if self._over.is_set() and not self.cut else None

    @property
    def speech_ended(self) -> float | None:
        return self._time(self.speech[1])

    def wait(self, timeout: float) -> None:
        """Block until all of it has been said. Raises TimeoutError, or CallOverError if it was cut."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"utterance {self.number} is not over after {timeout} s")
        if self.cut:
            raise CallOverError(f"the call ended before utterance {self.number} was over")

    def finish(self, *, cut: bool = False) -> None:
        """The call's thread: it has been said, or the call ended first."""
        self.cut = cut
        self._over.set()

    def _time(self, offset: int) -> float | None:
        return None if self.start is None else self._origin + (self.start + offset) / SAMPLE_RATE


class Line:
    """One call's line. The call's thread runs all of it but `say`, which any thread may call."""

    def __init__(
        self,
        origin: float,
        emit: Callable[[PhoneEvent], None],
        recording: StereoRecording | None,
        listen: Callable[[int, bytes, bytes], None] | None = None,
    ) -> None:
        """`origin` is the monotonic time of sample 0. `recording` is written to, and closed at the end.

        `listen` is told a sample time, and in mu-law what the caller says and hears from there on.
        """
        self.origin = origin
        self.position = 0
        """The sample time up to which everything is settled: a multiple of 160 until the end."""
        self.last_audible = 0
        """Sample time of the end of the last audible sample that was heard."""
        self.audible: list[tuple[int, int]] = []
        """From when to when the assistant was audible, pauses between words included."""
        self.utterances: list[Utterance] = []
        self._emit = emit
        self._recording = recording
        self._tell = listen
        self._runs: list[tuple[int, bytes]] = []
        self._audible_since: int | None = None
        self._lock = threading.Lock()
        self._queue: deque[Utterance] = deque()
        self._closed = False
        self._speaking: Utterance | None = None
        self._told_start = False
        self._told_end = False
        self._frame = SILENT_FRAME

    def say(self, ulaw: bytes) -> Utterance:
        """Queue caller speech for the next frame that is free. Raises CallOverError."""
        with self._lock:
            if self._closed:
                raise CallOverError("the call is over: nobody hears what the caller says")
            utterance = Utterance(len(self.utterances), ulaw, self.origin)
            self.utterances.append(utterance)
            self._queue.append(utterance)
            return utterance

    def hear(self, runs: Iterable[tuple[int, bytes]]) -> None:
        """What the line played since the last frame was completed, as sample time and mu-law."""
        self._runs.extend(runs)

    def complete_frame(self, size: int = FRAME_BYTES) -> bytes:
        """Settle the next `size` samples and return what the caller said in them."""
        frame, heard = self._frame, self._heard(size)
        if self._recording is not None:
            self._recording.write(frame[:size], heard)
        if self._tell is not None:
            self._tell(self.position, frame[:size], heard)
        self._listen(heard)
        self.position += size
        if self._speaking is not None:
            self._follow(self._speaking)
        self._frame = self._next_frame()
        return frame

    def close(self, now: int) -> None:
        """The call ended at sample time `now`: settle what is left of it and cut the caller short."""
        while self.position < now:
            self.complete_frame(min(FRAME_BYTES, now - self.position))
        self._fall_silent()
        with self._lock:
            self._closed = True
            for utterance in (*([self._speaking] if self._speaking else []), *self._queue):
                utterance.finish(cut=True)
            self._queue.clear()
            self._speaking = None
        if self._recording is not None:
            self._recording.close()

    def _heard(self, size: int) -> bytes:
        runs, self._runs = self._runs, []
        if not runs:
            return SILENT_FRAME[:size]
        if len(runs) == 1 and runs[0][0] == self.position and len(runs[0][1]) == size:
            return runs[0][1]
        heard = bytearray(ULAW_SILENCE * size)
        for start, audio in runs:
            offset = start - self.position
            heard[offset : offset + len(audio)] = audio
        return bytes(heard[:size])

    def _listen(self, heard: bytes) -> None:
        audible = heard.translate(AUDIBLE)
        first = audible.find(_YES)
        if first >= 0:
            if self._audible_since is None:
                self._audible_since = self.position + first
                self._emit(AssistantAudible(self._audible_since / SAMPLE_RATE))
            self.last_audible = self.position + audible.rfind(_YES) + 1
        elif self.position - self.last_audible >= PAUSE_MS * BYTES_PER_MS:
            self._fall_silent()

    def _fall_silent(self) -> None:
        if self._audible_since is not None:
            self.audible.append((self._audible_since, self.last_audible))
            self._audible_since = None
            self._emit(AssistantSilent(self.last_audible / SAMPLE_RATE))

    def _follow(self, utterance: Utterance) -> None:
        assert utterance.start is not None
        started, ended = (utterance.start + offset for offset in utterance.speech)
        if not self._told_start and started < self.position:
            self._told_start = True
            self._emit(CallerSpeechStarted(started / SAMPLE_RATE, utterance.number))
        if not self._told_end and ended <= self.position:
            self._told_end = True
            self._emit(CallerSpeechEnded(ended / SAMPLE_RATE, utterance.number))
        if utterance.start + len(utterance.audio) <= self.position:
            self._speaking = None
            utterance.finish()

    def _next_frame(self) -> bytes:
        utterance = self._speaking
        if utterance is None:
            if not self._queue:
                return SILENT_FRAME
            with self._lock:
                self._speaking = utterance = self._queue.popleft()
            utterance.start = self.position
            self._told_start = self._told_end = False
        assert utterance.start is not None
        offset = self.position - utterance.start
        return utterance.audio[offset : offset + FRAME_BYTES].ljust(FRAME_BYTES, ULAW_SILENCE)
