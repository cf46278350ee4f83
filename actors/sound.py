"""Sounds of ours that a caller hears where the assistant says nothing: rendered beforehand, played as they are."""

import functools
import io
import math
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

from wire.g711 import SAMPLE_RATE, ULAW_SILENCE, encode_ulaw

SHIPPED = Path(__file__).parent / "sounds"
"""Words in English, tones for every other language. Mu-law at 8000 Hz, without a header."""


CONVERT = "convert it to 8000 Hz, one channel of 16 bits, as in: sox in.wav -r 8000 -c 1 -b 16 out.wav"


class SoundError(Exception):
    """A sound cannot be used. The text names the file and the fix."""


@dataclass(frozen=True, slots=True)
class Sounds:
    """What is played while the caller waits, and when something is wrong. Mu-law at 8000 Hz."""

    filler: bytes
    apology: bytes

    @classmethod
    def load(cls, language: str = "en", filler: Path | None = None, apology: Path | None = None) -> "Sounds":
        """The files that are given, and the shipped ones for the rest. Raises SoundError."""
        return cls(
            read_sound(filler or _shipped("filler", language)),
            read_sound(apology or _shipped("apology", language)),
        )


@functools.cache
def ringing() -> bytes:
    """What is heard while somebody is called: a second of 425 Hz, which rings in most countries, and a pause."""
    tone = [round(3000 * math.sin(2 * math.pi * 425 * sample / SAMPLE_RATE)) for sample in range(SAMPLE_RATE)]
    return encode_ulaw(array("h", tone).tobytes()) + ULAW_SILENCE * (2 * SAMPLE_RATE)


def read_sound(path: Path) -> bytes:
    """Mu-law at 8000 Hz, from such a file without a header or from a WAV file. Raises SoundError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SoundError(f"{path}: cannot be read: {error.strerror}") from None
    # By what it is and not by its name: the header of a WAV file would be a click in the caller's ear.
    ulaw = _from_wav(path, content) if content.startswith(b"RIFF") or _is_named_wav(path) else content
    if not ulaw:
        raise SoundError(f"{path}: is empty; {CONVERT}")
    return ulaw


def _from_wav(path: Path, content: bytes) -> bytes:
    try:
        with wave.open(io.BytesIO(content), "rb") as recording:
            found = (recording.getframerate(), recording.getnchannels(), recording.getsampwidth())
            frames = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # the last of a chunk that is longer than its file
        raise SoundError(
            f"{path}: is not a WAV file of PCM: {error or 'it ends too soon'}; {CONVERT}"
        ) from None
    if found != (SAMPLE_RATE, 1, 2):
        rate, channels, width = found
        raise SoundError(f"{path}: has {rate} Hz, {channels} channels of {8 * width} bits; {CONVERT}")
    return encode_ulaw(frames[: len(frames) // 2 * 2])


def _is_named_wav(path: Path) -> bool:
    return path.suffix.lower() == ".wav"


@functools.cache
def _shipped(name: str, language: str) -> Path:
    spoken = SHIPPED / f"{name}.{language}.ulaw"
    return spoken if spoken.exists() else SHIPPED / f"{name}.ulaw"
