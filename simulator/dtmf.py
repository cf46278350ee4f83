"""DTMF tones in mu-law: made for `<Play digits>`, and heard as digits. Source of the frequencies: ITU-T Q.23."""

import math
from array import array

from wire.g711 import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE, ULAW_SILENCE, decode_ulaw, encode_ulaw

KEYS = "123A456B789C*0#D"
"""The keypad row by row."""

_ROW_HZ = (697, 770, 852, 941)
_COLUMN_HZ = (1209, 1336, 1477, 1633)
_TONE_MS = 100
_GAP_MS = 100
_LEVEL = 8000
_WAITS_MS = {"w": 500, "W": 1000}
_QUIET = 500  # a 16-bit sample's level below which nobody would call it a tone
_SHARE_OF_ONE = 0.1
_SHARE_OF_BOTH = 0.4


def tones(digits: str) -> bytes:
    """The mu-law of `digits` pressed one after the other; `w` is half a second of silence, `W` a second.

    Raises ValueError for what is no key.
    """
    return b"".join(
        ULAW_SILENCE * (_WAITS_MS[key] * BYTES_PER_MS) if key in _WAITS_MS else _tone(key) for key in digits
    )


class Detector:
    """Hears keys in what is played. One thread at a time; fed with mu-law in order."""

    def __init__(self) -> None:
        self._rest = b""
        self._last = ""
        self._told = False

    def feed(self, ulaw: bytes) -> str:
        """The keys that became certain with these bytes: after two frames of 20 ms that hold nothing else."""
        self._rest += ulaw
        keys = ""
        while len(self._rest) >= FRAME_BYTES:
            frame, self._rest = self._rest[:FRAME_BYTES], self._rest[FRAME_BYTES:]
            key = _key(frame)
            if key != self._last:
                self._last, self._told = key, False
            elif key and not self._told:
                self._told = True
                keys += key
        return keys


def _key(frame: bytes) -> str:
    samples = array("h", decode_ulaw(frame))
    energy = sum(sample * sample for sample in samples)
    if energy < len(samples) * _QUIET * _QUIET:
        return ""
    rows = [_power(samples, hertz) for hertz in _ROW_HZ]
    columns = [_power(samples, hertz) for hertz in _COLUMN_HZ]
    # Two equal sines and nothing else have a quarter of samples * energy each; a voice has it elsewhere.
    whole = len(samples) * energy
    row, column = max(rows), max(columns)
    if min(row, column) < _SHARE_OF_ONE * whole or row + column < _SHARE_OF_BOTH * whole:
        return ""
    return KEYS[4 * rows.index(row) + columns.index(column)]


def _power(samples: "array[int]", hertz: float) -> float:
    """Goertzel: the power of one frequency."""
    turn = 2 * math.cos(2 * math.pi * hertz / SAMPLE_RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    return before * before + last * last - turn * before * last


def _tone(key: str) -> bytes:
    row, column = divmod(KEYS.index(key), 4)
    steps = [2 * math.pi * hertz / SAMPLE_RATE for hertz in (_ROW_HZ[row], _COLUMN_HZ[column])]
    samples = array(
        "h",
        [round(_LEVEL * sum(math.sin(step * n) for step in steps)) for n in range(_TONE_MS * BYTES_PER_MS)],
    )
    return encode_ulaw(samples.tobytes()) + ULAW_SILENCE * (_GAP_MS * BYTES_PER_MS)
