"""How loud a voice is from moment to moment, for people to look at.

A level is the square root of the peak, from 0 to 100: a quiet voice can be seen beside a loud one, and silence is
flat. One byte each. Pure.
"""

import math

from wire.g711 import BYTES_PER_MS, decode_ulaw

LEVEL_MS = 100
"""What one level stands for."""

LEVEL_BYTES = LEVEL_MS * BYTES_PER_MS

LOUDEST = 100

_FULL_SCALE = 32124


def _level(code: int) -> int:
    sample = int.from_bytes(decode_ulaw(bytes((code,))), "little", signed=True)
    return round(LOUDEST * math.sqrt(abs(sample) / _FULL_SCALE))


_LEVELS = bytes(map(_level, range(256)))


def levels(ulaw: bytes, level_bytes: int = LEVEL_BYTES) -> bytes:
    """One level for every so many bytes of mu-law, the last of which may be fewer."""
    as_levels = ulaw.translate(_LEVELS)
    return bytes(
        max(as_levels[start : start + level_bytes]) for start in range(0, len(as_levels), level_bytes)
    )
