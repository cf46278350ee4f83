"""G.711: mu-law and A-law, one byte a sample at 8000 Hz, to and from signed 16-bit little-endian PCM.

Source: ITU-T G.711. The encoders follow its arithmetic on 14-bit (mu-law) and 13-bit (A-law) samples, reached
by an arithmetic shift of the 16-bit sample; doing it on 16 bits instead differs at 381 of the 65536 values.
"""

from collections.abc import Callable

SAMPLE_RATE = 8000
"""Samples, and so bytes, a second."""

BYTES_PER_MS = SAMPLE_RATE // 1000

FRAME_MS = 20
"""What Twilio sends in one media message, in practice; not guaranteed, so durations come from lengths."""

FRAME_BYTES = FRAME_MS * BYTES_PER_MS

ULAW_SILENCE = b"\xff"
"""Positive zero in mu-law."""

_ULAW_BIAS = 33
_ULAW_CLIP = 8158


def _ulaw_byte(sample: int) -> int:
    magnitude = sample >> 2
    mask = 0xFF
    if magnitude < 0:
        magnitude = -magnitude
        mask = 0x7F
    magnitude = min(magnitude, _ULAW_CLIP) + _ULAW_BIAS
    segment = magnitude.bit_length() - 6
    return ((segment << 4) | ((magnitude >> (segment + 1)) & 0xF)) ^ mask


def _ulaw_sample(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0xF) << 3) + 0x84) << ((code >> 4) & 7)
    return 0x84 - magnitude if code & 0x80 else magnitude - 0x84


def _alaw_byte(sample: int) -> int:
    magnitude = sample >> 3
    mask = 0xD5
    if magnitude < 0:
        magnitude = ~magnitude
        mask = 0x55
    segment = max(magnitude.bit_length() - 5, 0)
    low_bits = magnitude >> 1 if segment < 2 else magnitude >> segment
    return ((segment << 4) | (low_bits & 0xF)) ^ mask


def _alaw_sample(code: int) -> int:
    code ^= 0x55
    segment = (code >> 4) & 7
    magnitude = ((code & 0xF) << 4) + 8
    if segment:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _table(encode_sample: Callable[[int], int]) -> bytes:
    return bytes(encode_sample(value - 65536 if value > 32767 else value) for value in range(65536))


_ULAW_ENCODED = _table(_ulaw_byte)
_ALAW_ENCODED = _table(_alaw_byte)
_ULAW_DECODED = tuple(_ulaw_sample(code).to_bytes(2, "little", signed=True) for code in range(256))
_ALAW_DECODED = tuple(_alaw_sample(code).to_bytes(2, "little", signed=True) for code in range(256))


def encode_ulaw(pcm: bytes) -> bytes:
    """Mu-law bytes of 16-bit little-endian PCM. Raises ValueError for an odd number of bytes."""
    return bytes(map(_ULAW_ENCODED.__getitem__, _samples(pcm)))


def decode_ulaw(ulaw: bytes) -> bytes:
    """16-bit little-endian PCM of mu-law bytes."""
    return b"".join(map(_ULAW_DECODED.__getitem__, ulaw))


def encode_alaw(pcm: bytes) -> bytes:
    """A-law bytes of 16-bit little-endian PCM. Raises ValueError for an odd number of bytes."""
    return bytes(map(_ALAW_ENCODED.__getitem__, _samples(pcm)))


def decode_alaw(alaw: bytes) -> bytes:
    """16-bit little-endian PCM of A-law bytes."""
    return b"".join(map(_ALAW_DECODED.__getitem__, alaw))


def _samples(pcm: bytes) -> memoryview:
    if len(pcm) % 2:
        raise ValueError(f"16-bit PCM has an even number of bytes, not {len(pcm)}")
    return memoryview(pcm).cast("H")
