"""The three audio formats of the Realtime API, to and from the mu-law that the offline model works in.

Formats: `audio/pcmu` and `audio/pcma` at 8000 Hz, `audio/pcm` 16-bit little-endian mono at 24000 Hz
(openai-realtime.md, 3.2). Audio comes in pieces of any length; a converter keeps what a piece leaves over.
"""

from array import array
from collections.abc import Callable
from operator import mul

from simulator.resample import PASSED, REACH, Downsampler, clipped, polyphase
from wire import g711

PCM_RATE = 24000
RATIO = PCM_RATE // g711.SAMPLE_RATE

_WIDTH = 2 * REACH
# One filter for each of the three output samples that an input sample becomes.
_FILTERS = polyphase(RATIO, _WIDTH, PASSED)
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
            return _Narrower()
    raise ValueError(f"unknown audio format {format_type!r}: use audio/pcmu, audio/pcma or audio/pcm")


def from_ulaw(format_type: str) -> Converter:
    """Return a converter from mu-law to the format, for one stream. Raises ValueError if unknown."""
    match format_type:
        case "audio/pcmu":
            return bytes
        case "audio/pcma":
            return lambda ulaw: ulaw.translate(_ALAW_OF_ULAW)
        case "audio/pcm":
            return _Widener()
    raise ValueError(f"unknown audio format {format_type!r}: use audio/pcmu, audio/pcma or audio/pcm")


class _Narrower:
    """16-bit PCM at 24000 Hz to mu-law: one byte for every six, 1 ms late from the filter."""

    def __init__(self) -> None:
        self._downsampler = Downsampler(PCM_RATE, g711.SAMPLE_RATE, prompt=True)
        self._rest = b""

    def __call__(self, pcm: bytes) -> bytes:
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (2 * RATIO)
        self._rest = pcm[whole:]
        return g711.encode_ulaw(self._downsampler.feed(pcm[:whole]))


class _Widener:
    """Mu-law to 16-bit PCM at 24000 Hz: six bytes for every one, 1 ms late from the filter."""

    def __init__(self) -> None:
        self._history = [0] * (_WIDTH - 1)

    def __call__(self, ulaw: bytes) -> bytes:
        samples = self._history + memoryview(g711.decode_ulaw(ulaw)).cast("h").tolist()
        wide = array("h")
        for index in range(len(ulaw)):
            window = samples[index : index + _WIDTH]
            wide.extend([clipped(sum(map(mul, filter_, window))) for filter_ in _FILTERS])
        self._history = samples[-(_WIDTH - 1) :]
        return wide.tobytes()
