"""Speech from a WAV file, as the mu-law that a phone sends.

Accepted: 16-bit PCM, mono or stereo, at 8000, 16000, 44100 or 48000 Hz. Two channels are averaged. A
higher rate is brought down to 8000 Hz through a windowed-sinc low-pass filter, without which what lies
above 4000 Hz would come back as noise below it.
"""

import io
import math
import wave
from array import array
from functools import cache
from operator import mul
from pathlib import Path

from wire.g711 import SAMPLE_RATE, encode_ulaw

ACCEPTED = "16-bit PCM WAV, mono or stereo, at 8000, 16000, 44100 or 48000 Hz"

_RATES = (8000, 16000, 44100, 48000)
_CUTOFF_HZ = 3600
_HALF_WIDTH = 16
"""Samples at 8000 Hz on either side that a filtered sample depends on: 2 ms."""


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
    if rate != SAMPLE_RATE:
        samples = _resample(samples, rate)
    return encode_ulaw(samples.tobytes())


def _resample(samples: "array[int]", rate: int) -> "array[int]":
    kernels, step = _kernels(rate)
    phases = len(kernels)
    width = len(kernels[0])
    padded = [0] * (width // 2) + samples.tolist() + [0] * width
    narrow = array("h")
    for index in range(len(samples) * SAMPLE_RATE // rate):
        start, phase = divmod(index * step, phases)
        value = round(sum(map(mul, kernels[phase], padded[start : start + width])))
        narrow.append(max(-32768, min(32767, value)))
    return narrow


@cache
def _kernels(rate: int) -> tuple[list[list[float]], int]:
    """A filter for each of the places between two input samples where an output sample may fall.

    Output sample n falls n * step / (number of filters) input samples after the first.
    """
    divisor = math.gcd(rate, SAMPLE_RATE)
    phases, step = SAMPLE_RATE // divisor, rate // divisor
    reach = math.ceil(_HALF_WIDTH * rate / SAMPLE_RATE)
    kernels = []
    for phase in range(phases):
        taps = [_tap(index - reach - phase / phases, rate, reach) for index in range(2 * reach + 1)]
        total = sum(taps)
        kernels.append([tap / total for tap in taps])
    return kernels, step


def _tap(distance: float, rate: int, reach: int) -> float:
    x = 2 * _CUTOFF_HZ / rate * distance
    sinc = math.sin(math.pi * x) / (math.pi * x) if x else 1.0
    return sinc * (0.54 + 0.46 * math.cos(math.pi * min(abs(distance) / reach, 1.0)))
