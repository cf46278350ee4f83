"""DTMF tones in mu-law, for `<Play digits>`. Source of the frequencies: ITU-T Q.23."""

import math
from array import array

from wire.g711 import BYTES_PER_MS, SAMPLE_RATE, ULAW_SILENCE, encode_ulaw

KEYS = "123A456B789C*0#D"
"""The keypad row by row."""

_ROW_HZ = (697, 770, 852, 941)
_COLUMN_HZ = (1209, 1336, 1477, 1633)
_TONE_MS = 100
_GAP_MS = 100
_LEVEL = 8000


def tones(digits: str) -> bytes:
    """The mu-law of `digits` pressed one after the other; `w` is half a second of silence.

    Raises ValueError for what is no key.
    """
    return b"".join(ULAW_SILENCE * (500 * BYTES_PER_MS) if key == "w" else _tone(key) for key in digits)


def _tone(key: str) -> bytes:
    row, column = divmod(KEYS.index(key), 4)
    steps = [2 * math.pi * hertz / SAMPLE_RATE for hertz in (_ROW_HZ[row], _COLUMN_HZ[column])]
    samples = array(
        "h",
        [round(_LEVEL * sum(math.sin(step * n) for step in steps)) for n in range(_TONE_MS * BYTES_PER_MS)],
    )
    return encode_ulaw(samples.tobytes()) + ULAW_SILENCE * (_GAP_MS * BYTES_PER_MS)
