"""Sample-rate conversion of 16-bit mono PCM, streamed, in pure Python.

Down: a polyphase low-pass filter, because rate conversion without one folds everything above 4 kHz into the
telephone band. Up: a straight line between samples, which the recogniser understands better than a clean
resampler (offline-engine.md, 2) and which costs least.
"""

import math
import struct
from operator import mul

_TAPS = 48
_PASSED = 0.92
"""Of the new Nyquist frequency: the filter is 6 dB down at 3680 Hz for 8000 Hz out."""

_LOWEST, _HIGHEST = -32768, 32767


class Downsampler:
    """One stream from `rate_in` to a lower `rate_out`, in Hz. Used by one thread at a time.

    Raises ValueError if `rate_out` is not lower. It holds back 24 samples of input until `flush`.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if not 0 < rate_out < rate_in:
            raise ValueError(
                f"a downsampler goes from a higher rate to a lower one, not {rate_in} to {rate_out}"
            )
        divisor = math.gcd(rate_in, rate_out)
        self._phases = rate_out // divisor
        self._step = rate_in // divisor
        self._filters = _polyphase(self._phases, _PASSED * rate_out / rate_in)
        # The first output is the first input sample: the filter's past is silence.
        self._samples: list[int] = [0] * (_TAPS // 2 - 1)
        self._position = 0

    def feed(self, pcm: bytes) -> bytes:
        """The output that this input completes. Raises ValueError for an odd number of bytes."""
        if len(pcm) % 2:
            raise ValueError(f"16-bit PCM has an even number of bytes, not {len(pcm)}")
        samples = self._samples
        samples.extend(struct.unpack(f"<{len(pcm) // 2}h", pcm))
        phases, step, filters = self._phases, self._step, self._filters
        position = self._position
        end = (len(samples) - _TAPS + 1) * phases
        output = []
        while position < end:
            start, phase = divmod(position, phases)
            value = round(sum(map(mul, samples[start : start + _TAPS], filters[phase])))
            output.append(min(max(value, _LOWEST), _HIGHEST))
            position += step
        used = min(position // phases, len(samples))
        del samples[:used]
        self._position = position - used * phases
        return struct.pack(f"<{len(output)}h", *output)

    def flush(self) -> bytes:
        """What was held back. The stream is over."""
        return self.feed(bytes(2 * (_TAPS // 2)))


class LineUpsampler:
    """One stream at twice its rate: between two samples comes their mean. Used by one thread at a time."""

    def __init__(self) -> None:
        self._last = 0

    def feed(self, pcm: bytes) -> bytes:
        """Twice as many samples, the last of which is the last of the input. Raises ValueError for odd bytes."""
        if len(pcm) % 2:
            raise ValueError(f"16-bit PCM has an even number of bytes, not {len(pcm)}")
        last = self._last
        output = []
        for (sample,) in struct.iter_unpack("<h", pcm):
            output.append((last + sample) >> 1)
            output.append(sample)
            last = sample
        self._last = last
        return struct.pack(f"<{len(output)}h", *output)


def _polyphase(phases: int, cutoff: float) -> list[tuple[float, ...]]:
    """One filter a phase: a Hamming-windowed sinc, scaled to leave a constant signal as it is.

    `cutoff` is relative to the input's Nyquist frequency.
    """
    filters = []
    half = _TAPS / 2
    for phase in range(phases):
        taps = []
        for tap in range(_TAPS):
            distance = tap - (half - 1) - phase / phases
            angle = math.pi * cutoff * distance
            sinc = math.sin(angle) / angle if angle else 1.0
            taps.append(sinc * (0.54 + 0.46 * math.cos(math.pi * distance / half)))
        total = sum(taps)
        filters.append(tuple(tap / total for tap in taps))
    return filters
