"""The input audio buffer: what the caller said, cut into utterances by voice activity or by the client.

Times are ms of all audio ever appended, which is the clock of the Realtime API (openai-realtime.md, 8).
Audio inside is mu-law at 8000 Hz. One thread at a time: the session's reader, under the session's lock.
"""

import threading
from collections.abc import Callable
from typing import Any

from simulator.engine import Detector, DetectorFactory, Hearing
from simulator.vad import SpeechStarted, SpeechStopped
from wire.g711 import BYTES_PER_MS

KEEP_MS = 32_000
"""How much audio a quiet line leaves in the buffer: a little over the longest idle timeout, 30 s."""


class Utterance:
    """One committed piece of caller audio and what was recognised in it."""

    def __init__(self, audio: bytes, hearing: Hearing) -> None:
        """`hearing` has been fed all of `audio`."""
        self.audio = audio
        self._hearing = hearing
        self._lock = threading.Lock()
        self._text: str | None = None
        self._failure: Exception | None = None

    def text(self) -> str:
        """Return what was understood, "" for nothing. Any thread; waits for the recogniser the first time.

        Raises what the recogniser raised, each time.
        """
        with self._lock:
            if not self.known:
                try:
                    self._text = self._hearing.finish()
                except Exception as failure:
                    self._failure = failure
            if self._failure is not None:
                raise self._failure
            return self._text or ""

    @property
    def known(self) -> bool:
        """Whether the recogniser has answered."""
        return self._text is not None or self._failure is not None

    def cancel(self) -> None:
        """Stop the recognition: nobody will ask, or whoever waits in `text` shall get on."""
        self._hearing.cancel()


class InputAudio:
    """The buffer, its clock, the detector and the recognition of the utterance that is being spoken."""

    def __init__(self, detector: DetectorFactory, listen: Callable[[], Hearing]) -> None:
        self._make_detector = detector
        self._listen = listen
        self._audio = bytearray()
        self._begins_at = 0
        self._detector_settings: dict[str, Any] | None = None
        self._detector: Detector | None = None
        self._detector_began_ms = 0
        self._hearing: Hearing | None = None
        self._heard_to = 0
        self._speech_began = 0

    @property
    def clock_ms(self) -> int:
        """Milliseconds of audio ever appended."""
        return (self._begins_at + len(self._audio)) // BYTES_PER_MS

    @property
    def buffered_ms(self) -> float:
        """Milliseconds of audio that a commit would take."""
        return len(self._audio) / BYTES_PER_MS

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance."""
        return self._hearing is not None

    def detect(self, settings: dict[str, Any] | None) -> None:
        """Use these detector settings from here on, None for no detection. The same settings change nothing."""
        if settings != self._detector_settings:
            self._detector_settings = settings
            self._restart()

    def append(self, ulaw: bytes) -> list[tuple[SpeechStarted | SpeechStopped, Utterance | None]]:
        """Add audio. Returns what the detector noticed, in order; a stop comes with the utterance it ends."""
        self._audio += ulaw
        if self._detector is None:
            return []
        noticed: list[tuple[SpeechStarted | SpeechStopped, Utterance | None]] = []
        for event in self._detector.feed(ulaw):
            match event:
                case SpeechStarted(audio_start_ms=start):
                    start += self._detector_began_ms
                    self._hearing = self._listen()
                    self._speech_began = self._heard_to = max(start * BYTES_PER_MS, self._begins_at)
                    noticed.append((SpeechStarted(start), None))
                case SpeechStopped(audio_end_ms=end):
                    end += self._detector_began_ms
                    noticed.append((SpeechStopped(end), self._end_utterance(end * BYTES_PER_MS)))
        if self._hearing is not None:
            self._hear(self._begins_at + len(self._audio))
        else:
            self._forget_to(self._begins_at + len(self._audio) - KEEP_MS * BYTES_PER_MS)
        return noticed

    def commit(self, last_ms: int | None = None) -> Utterance:
        """Take the buffer, or only its last ms, as an utterance and go on empty."""
        end = self._begins_at + len(self._audio)
        if self._hearing is None:
            self._hearing = self._listen()
            from_end = len(self._audio) if last_ms is None else last_ms * BYTES_PER_MS
            self._speech_began = self._heard_to = max(end - from_end, self._begins_at)
        utterance = self._end_utterance(end)
        self._restart()
        return utterance

    def clear(self) -> None:
        """Throw the buffer away, and an utterance that is being spoken with it. The clock goes on."""
        self._forget_to(self._begins_at + len(self._audio))
        self._restart()

    def close(self) -> None:
        """Give up the recognition that is under way."""
        if self._hearing is not None:
            self._hearing.cancel()
            self._hearing = None

    def _restart(self) -> None:
        self.close()
        settings = self._detector_settings
        self._detector = None if settings is None else self._make_detector(**settings)
        self._detector_began_ms = self.clock_ms

    def _hear(self, to: int) -> None:
        if self._hearing is not None and to > self._heard_to:
            self._hearing.feed(bytes(self._audio[self._heard_to - self._begins_at : to - self._begins_at]))
            self._heard_to = to

    def _end_utterance(self, end: int) -> Utterance:
        self._hear(end)
        assert self._hearing is not None, "an utterance ends only after it began"
        audio = bytes(self._audio[self._speech_began - self._begins_at : end - self._begins_at])
        utterance = Utterance(audio, self._hearing)
        self._hearing = None
        self._forget_to(end)
        return utterance

    def _forget_to(self, end: int) -> None:
        if end > self._begins_at:
            del self._audio[: end - self._begins_at]
            self._begins_at = end
