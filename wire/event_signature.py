"""The signature of an event that is sent to somebody's server: who sent it, that it is whole, and when.

    X-Switchboard-Signature: t=1795372538,v1=5257a869…

`t` is when it was sent, in seconds since 1970, and `v1` the HMAC-SHA256, in hexadecimal digits, with the secret that
both sides know, of `t`, a full stop and the body as it came. Who takes an event refuses one that is older than some
minutes, so that nobody can send it again later, and one whose `id` it has seen.

Pure functions; none raises for what a peer sent.
"""

import hashlib
import hmac
import re

SIGNATURE_HEADER = "X-Switchboard-Signature"

TOLERANCE_SECONDS = 300
"""How far the clocks may differ, and how long an event may be on its way."""

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def sign(secret: str, body: bytes, at: float) -> str:
    """The header's value for an event that is sent at that time."""
    return f"t={int(at)},v1={_digest(secret, body, int(at))}"


def valid(secret: str, body: bytes, header: str | None, now: float) -> bool:
    """Whether the header's value fits the body, and was made within the tolerance of `now`."""
    parts = _SIGNATURE.fullmatch(header or "")
    if parts is None or abs(now - int(parts[1])) > TOLERANCE_SECONDS:
        return False
    return hmac.compare_digest(_digest(secret, body, int(parts[1])), parts[2])


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
