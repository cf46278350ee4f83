"""Voice activity detection on 8000 Hz mu-law: when the caller starts and stops speaking, in ms of audio fed.

Pure: no thread and no clock; the audio is the clock, as it is in the Realtime API (`audio_start_ms` and
`audio_end_ms` count all audio ever appended). A frame of 20 ms is speech if its level passes a gate and the
detector agrees. The detector is `webrtcvad` in its strictest mode where the package is installed, otherwise a
comparison with the noise that the line has had so far. Music passes for speech with both.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from wire.g711 import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, decode_ulaw

try:
    import webrtcvad
except ImportError:  # an extra: energy serves where it is missing
    webrtcvad = None

ENGINE = "webrtcvad" if webrtcvad is not None else "energy"
"""The detector used by default: "webrtcvad" or "energy"."""

ONSET_WINDOW_FRAMES = 5
ONSET_FRAMES = 3
"""Speech starts when 3 of the last 5 frames are speech: a click of one or two frames is not."""

_WEBRTC_STRICTEST = 3

_GATE_DBFS_AT_ZERO = -60.0
_GATE_DB_PER_THRESHOLD = 30.0

_NOISE_START_DBFS = -55.0
_NOISE_LOWEST_DBFS = -75.0
_NOISE_HIGHEST_DBFS = -30.0
_NOISE_FALL = 0.2
_NOISE_RISE_DB = 0.04
_SPEECH_OVER_NOISE_DB_AT_ZERO = 6.0
_SPEECH_OVER_NOISE_DB_PER_THRESHOLD = 8.0

_ENERGY = tuple(
    int.from_bytes(decode_ulaw(bytes((code,))), "little", signed=True) ** 2 / 32768**2 for code in range(256)
)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak at `audio_start_ms`, prefix padding included; never before the start of the
    audio or the end of the previous speech."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped; `audio_end_ms` includes the silence that proved it."""

    audio_end_ms: int


class _Detector(Protocol):
    def is_speech(self, frame: bytes, level_dbfs: float) -> bool: ...


class _Webrtc:
    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(_WEBRTC_STRICTEST)

    def is_speech(self, frame: bytes, level_dbfs: float) -> bool:
        return bool(self._vad.is_speech(decode_ulaw(frame), SAMPLE_RATE))


class _Energy:
    """Speech is what stands out of the noise. The noise level falls quickly and rises slowly, 2 dB a second:
    a sentence does not count as noise, but a fan that was switched on does after a while."""

    def __init__(self, threshold: float) -> None:
        self._noise_dbfs = _NOISE_START_DBFS
        self._over_noise_db = _SPEECH_OVER_NOISE_DB_AT_ZERO + _SPEECH_OVER_NOISE_DB_PER_THRESHOLD * threshold

    def is_speech(self, frame: bytes, level_dbfs: float) -> bool:
        if level_dbfs < self._noise_dbfs:
            self._noise_dbfs += (max(level_dbfs, _NOISE_LOWEST_DBFS) - self._noise_dbfs) * _NOISE_FALL
        else:
            self._noise_dbfs = min(self._noise_dbfs + _NOISE_RISE_DB, _NOISE_HIGHEST_DBFS)
        return level_dbfs > self._noise_dbfs + self._over_noise_db


class VoiceActivity:
    """The turns of one caller. Used by one thread at a time.

    `threshold` is 0 to 1: the level that a frame must pass goes from -60 dBFS at 0 through -45 dBFS at 0.5
    to -30 dBFS at 1; the energy detector also asks for more distance from the noise. `silence_duration_ms`
    of unbroken silence ends a turn and is rounded up to 20 ms. `engine` overrides the detector. Raises
    ValueError for a value out of range or an engine that is not installed.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        prefix_padding_ms: int = 300,
        silence_duration_ms: int = 500,
        engine: str = ENGINE,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"VAD threshold is between 0 and 1, not {threshold}")
        if prefix_padding_ms < 0 or silence_duration_ms < 0:
            raise ValueError("VAD prefix_padding_ms and silence_duration_ms are not negative")
        self._detector = _detector(engine, threshold)
        self._gate_dbfs = _GATE_DBFS_AT_ZERO + _GATE_DB_PER_THRESHOLD * threshold
        self._prefix_padding_ms = prefix_padding_ms
        self._silence_frames = max(1, math.ceil(silence_duration_ms / FRAME_MS))
        self._partial_frame = bytearray()
        self._fed_ms = 0
        self._recent: deque[bool] = deque(maxlen=ONSET_WINDOW_FRAMES)
        self._silent_frames = 0
        self._last_end_ms = 0
        self._speaking = False

    @property
    def speaking(self) -> bool:
        """Whether the caller is speaking, the silence before a stop included."""
        return self._speaking

    def feed(self, ulaw: bytes) -> list[SpeechStarted | SpeechStopped]:
        """What changed during this audio, in order. Takes any number of bytes; a part of a frame waits."""
        pending = self._partial_frame
        pending += ulaw
        events: list[SpeechStarted | SpeechStopped] = []
        whole_bytes = len(pending) - len(pending) % FRAME_BYTES
        for start in range(0, whole_bytes, FRAME_BYTES):
            event = self._frame(bytes(pending[start : start + FRAME_BYTES]))
            if event:
                events.append(event)
        del pending[:whole_bytes]
        return events

    def _frame(self, frame: bytes) -> SpeechStarted | SpeechStopped | None:
        self._fed_ms += FRAME_MS
        level = level_dbfs(frame)
        # The detector sees every frame, whatever the gate says: both kinds learn the noise from quiet ones.
        speech = self._detector.is_speech(frame, level) and level > self._gate_dbfs
        return self._while_speaking(speech) if self._speaking else self._while_silent(speech)

    def _while_silent(self, speech: bool) -> SpeechStarted | None:
        recent = self._recent
        recent.append(speech)
        if recent.count(True) < ONSET_FRAMES:
            return None
        onset_ms = self._fed_ms - (len(recent) - recent.index(True)) * FRAME_MS
        recent.clear()
        self._speaking = True
        self._silent_frames = 0
        return SpeechStarted(max(onset_ms - self._prefix_padding_ms, self._last_end_ms))

    def _while_speaking(self, speech: bool) -> SpeechStopped | None:
        self._silent_frames = 0 if speech else self._silent_frames + 1
        if self._silent_frames < self._silence_frames:
            return None
        self._speaking = False
        self._last_end_ms = self._fed_ms
        return SpeechStopped(self._fed_ms)


def level_dbfs(ulaw: bytes) -> float:
    """The root-mean-square level of mu-law audio in dB relative to full scale, -100 for digital silence."""
    energy = sum(map(_ENERGY.__getitem__, ulaw)) / max(len(ulaw), 1)
    return 10 * math.log10(max(energy, 1e-10))


def _detector(engine: str, threshold: float) -> _Detector:
    if engine == "energy":
        return _Energy(threshold)
    if engine == "webrtcvad" and webrtcvad is not None:
        return _Webrtc()
    raise ValueError(f"VAD engine is energy, or webrtcvad where it is installed, not {engine!r}")
