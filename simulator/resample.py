"""Sample-rate conversion of 16-bit mono PCM, streamed, in pure Python.

Down: a polyphase low-pass filter, because rate conversion without one folds everything above 4 kHz into the
telephone band. Up for the recogniser: a straight line between samples, which it understands better than a clean
resampler (offline-engine.md, 2) and which costs least.
"""

import math
import struct
from functools import cache
from operator import mul

REACH = 8
"""Samples at the lower of two rates on either side that a filtered sample depends on: 1 ms at 8000 Hz."""

PASSED = 0.92
"""Of the Nyquist frequency of the lower rate: the filter is 6 dB down at 3680 Hz for 8000 Hz."""

_LOWEST, _HIGHEST = -32768, 32767


class Downsampler:
    """One stream from `rate_in` to a lower `rate_out`, in Hz. Used by one thread at a time.

    It holds back the filter's reach of input, 1 ms for 8000 Hz out, until `flush`. With `prompt` it holds back
    nothing: output comes with its input, and the sound in it as much later. Raises ValueError if `rate_out` is not
    lower.
    """

    def __init__(self, rate_in: int, rate_out: int, *, prompt: bool = False) -> None:
        if not 0 < rate_out < rate_in:
            raise ValueError(
                f"a downsampler goes from a higher rate to a lower one, not {rate_in} to {rate_out}"
            )
        divisor = math.gcd(rate_in, rate_out)
        self._phases = rate_out // divisor
        self._step = rate_in // divisor
        # As many taps as the reach is long at the higher rate: a fixed number would leave less of a filter the
        # higher the rate is.
        self._taps = 2 * math.ceil(REACH * rate_in / rate_out)
        self._filters = polyphase(self._phases, self._taps, PASSED * rate_out / rate_in)
        # The filter's past is silence. With half of it there, the first output is the first input sample.
        self._samples = [0] * (self._taps - 1 if prompt else self._taps // 2 - 1)
        self._position = 0

    def feed(self, pcm: bytes) -> bytes:
        """The output that this input completes. Raises ValueError for an odd number of bytes."""
        if len(pcm) % 2:
            raise ValueError(f"16-bit PCM has an even number of bytes, not {len(pcm)}")
        samples = self._samples
        samples.extend(struct.unpack(f"<{len(pcm) // 2}h", pcm))
        phases, step, filters, taps = self._phases, self._step, self._filters, self._taps
        position = self._position
        end = (len(samples) - taps + 1) * phases
        output = []
        while position < end:
            start, phase = divmod(position, phases)
            output.append(clipped(sum(map(mul, samples[start : start + taps], filters[phase]))))
            position += step
        used = min(position // phases, len(samples))
        del samples[:used]
        self._position = position - used * phases
        return struct.pack(f"<{len(output)}h", *output)

    def flush(self) -> bytes:
        """What was held back. The stream is over."""
        return self.feed(bytes(2 * (self._taps // 2)))


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


def clipped(value: float) -> int:
    """The nearest 16-bit sample."""
    return min(max(round(value), _LOWEST), _HIGHEST)


@cache
def polyphase(phases: int, taps: int, cutoff: float) -> tuple[tuple[float, ...], ...]:
    """One filter a phase: a Hamming-windowed sinc, scaled to leave a constant signal as it is.

    `cutoff` is relative to the input's Nyquist frequency. Cached, because 22050 Hz takes 7360 taps.
    """
    filters = []
    half = taps / 2
    for phase in range(phases):
        row = []
        for tap in range(taps):
            distance = tap - (half - 1) - phase / phases
            angle = math.pi * cutoff * distance
            sinc = math.sin(angle) / angle if angle else 1.0
            row.append(sinc * (0.54 + 0.46 * math.cos(math.pi * distance / half)))
        total = sum(row)
        filters.append(tuple(tap / total for tap in row))
    return tuple(filters)
