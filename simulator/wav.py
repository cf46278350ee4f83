"""Speech from a WAV file, as the mu-law that a phone sends.

Accepted: 16-bit PCM, mono or stereo, at 8000, 16000, 44100 or 48000 Hz. Two channels are averaged. A
higher rate is brought down to 8000 Hz through a low-pass filter, without which what lies
above 4000 Hz would come back as noise below it.
"""

import io
import wave
from array import array
from pathlib import Path

from simulator.resample import Downsampler
from wire.g711 import SAMPLE_RATE, encode_ulaw

ACCEPTED = "16-bit PCM WAV, mono or stereo, at 8000, 16000, 44100 or 48000 Hz"

_RATES = (8000, 16000, 44100, 48000)


def load_wav(path: Path) -> bytes:
    """The mu-law of a WAV file. Raises OSError if it cannot be read, ValueError if it is not
    `ACCEPTED`."""
    return parse_wav(path.read_bytes(), str(path))


def parse_wav(data: bytes, name: str) -> bytes:
    """The mu-law of a WAV file's bytes. Raises ValueError, which calls it by `name`, if it is not
    `ACCEPTED`."""
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as problem:
        raise ValueError(f"{name} is no WAV file with PCM ({problem}); use {ACCEPTED}") from None
    if width != 2 or channels not in (1, 2) or rate not in _RATES:
        raise ValueError(f"{name} is {8 * width}-bit with {channels} channels at {rate} Hz; use {ACCEPTED}")
    samples = array("h", pcm[: len(pcm) - len(pcm) % (2 * channels)])
    if channels == 2:
        samples = array(
            "h", [(left + right) >> 1 for left, right in zip(samples[::2], samples[1::2], strict=True)]
        )
    mono = samples.tobytes()
    if rate != SAMPLE_RATE:
        downsampler = Downsampler(rate, SAMPLE_RATE)
        mono = downsampler.feed(mono) + downsampler.flush()
    return encode_ulaw(mono)
