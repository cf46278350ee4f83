"""The three audio formats of the Realtime API, to and from the mu-law that the offline model works in.

Formats: `audio/pcmu` and `audio/pcma` at 8000 Hz, `audio/pcm` 16-bit little-endian mono at 24000 Hz
(openai-realtime.md, 3.2). Audio comes in pieces of any length; a converter keeps what a piece leaves over.
"""

import math
from array import array
from collections.abc import Callable
from operator import mul

from wire import g711

PCM_RATE = 24000
RATIO = PCM_RATE // g711.SAMPLE_RATE

_TAPS = 48  # 2 ms at 24000 Hz; the image and alias bands are more than 40 dB down
_CUTOFF_HZ = 3600


def _low_pass() -> list[float]:
    middle = (_TAPS - 1) / 2
    taps = []
    for index in range(_TAPS):
        x = 2 * _CUTOFF_HZ / PCM_RATE * (index - middle)
        window = 0.54 - 0.46 * math.cos(2 * math.pi * index / (_TAPS - 1))
        taps.append(window * math.sin(math.pi * x) / (math.pi * x))
    total = sum(taps)
    return [tap / total for tap in taps]


_LOW_PASS = _low_pass()
# One set of every third tap for each of the three output samples that an input sample becomes.
_PHASES = tuple([RATIO * tap for tap in _LOW_PASS[phase::RATIO]][::-1] for phase in range(RATIO))
_ALAW_OF_ULAW = g711.encode_alaw(g711.decode_ulaw(bytes(range(256))))
_ULAW_OF_ALAW = g711.encode_ulaw(g711.decode_alaw(bytes(range(256))))

Converter = Callable[[bytes], bytes]


def to_ulaw(format_type: str) -> Converter:
    """Return a converter from the format to mu-law, for one stream. Raises ValueError if unknown."""
    match format_type:
        case "audio/pcmu":
            return bytes
        case "audio/pcma":
            return lambda alaw: alaw.translate(_ULAW_OF_ALAW)
        case "audio/pcm":
            return _Decimator()
    raise ValueError(f"unknown audio format {format_type!r}: use audio/pcmu, audio/pcma or audio/pcm")


def from_ulaw(format_type: str) -> Converter:
    """Return a converter from mu-law to the format, for one stream. Raises ValueError if unknown."""
    match format_type:
        case "audio/pcmu":
            return bytes
        case "audio/pcma":
            return lambda ulaw: ulaw.translate(_ALAW_OF_ULAW)
        case "audio/pcm":
            return _Interpolator()
    raise ValueError(f"unknown audio format {format_type!r}: use audio/pcmu, audio/pcma or audio/pcm")


class _Decimator:
    """16-bit PCM at 24000 Hz to mu-law: one byte for every six, 1 ms late from the filter."""

    def __init__(self) -> None:
        self._history = [0] * (_TAPS - 1)
        self._rest = b""

    def __call__(self, pcm: bytes) -> bytes:
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (2 * RATIO)
        self._rest = pcm[whole:]
        samples = self._history + memoryview(pcm)[:whole].cast("h").tolist()
        narrow = array(
            "h",
            [
                _clip(sum(map(mul, _LOW_PASS, samples[index : index + _TAPS])))
                for index in range(0, whole // 2, RATIO)
            ],
        )
        self._history = samples[-(_TAPS - 1) :]
        return g711.encode_ulaw(narrow.tobytes())


class _Interpolator:
    """Mu-law to 16-bit PCM at 24000 Hz: six bytes for every one, 1 ms late from the filter."""

    def __init__(self) -> None:
        self._history = [0] * (_TAPS // RATIO - 1)

    def __call__(self, ulaw: bytes) -> bytes:
        samples = self._history + memoryview(g711.decode_ulaw(ulaw)).cast("h").tolist()
        width = _TAPS // RATIO
        wide = array("h")
        for index in range(len(ulaw)):
            window = samples[index : index + width]
            wide.extend([_clip(sum(map(mul, phase, window))) for phase in _PHASES])
        self._history = samples[-(width - 1) :]
        return wide.tobytes()


def _clip(value: float) -> int:
    return max(-32768, min(32767, round(value)))
