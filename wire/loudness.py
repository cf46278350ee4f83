"""Whether a piece of mu-law audio holds a voice, or anything else as loud as one.

No voice activity detection: it cannot tell a voice from a slammed door. It says early what the server's detection
confirms later, 50 times a second for every call, and so it costs 1 us: a piece is loud if enough of its samples
are, and counting those is one `bytes.translate`.
"""

from wire.g711 import decode_ulaw

LOUD_SAMPLE = 328
"""Of 32768, -40 dBFS. Voices on the telephone lie around -26 dBFS, its noise below -50 dBFS."""

LOUD_SHARE = 0.1
"""Of the samples of a piece. With these two, a tone is loud from -43 dBFS on, and white noise from -44 dBFS on."""

_QUIET_CODES = bytes(
    code
    for code in range(256)
    if abs(int.from_bytes(decode_ulaw(bytes((code,))), "little", signed=True)) < LOUD_SAMPLE
)


def is_loud(ulaw: bytes) -> bool:
    """Whether mu-law is loud; nothing is not."""
    return len(ulaw.translate(None, _QUIET_CODES)) > LOUD_SHARE * len(ulaw)
