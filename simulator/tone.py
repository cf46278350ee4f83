"""Plain tones in mu-law: the beep before a recording, the answer of a fax, a voice for tests. Pure; any thread."""

import math
from array import array

from wire.g711 import BYTES_PER_MS, SAMPLE_RATE, encode_ulaw

BEEP_HZ = 1000
BEEP_MS = 400
FAX_HZ = 2100
"""CED, with which a fax machine answers. Source: ITU-T T.30."""

_LEVEL = 8000


def tone(hertz: float, ms: int) -> bytes:
    """A sine of that frequency and length, as mu-law at 8000 Hz."""
    step = 2 * math.pi * hertz / SAMPLE_RATE
    samples = array("h", [round(_LEVEL * math.sin(step * n)) for n in range(ms * BYTES_PER_MS)])
    return encode_ulaw(samples.tobytes())
