"""`GET /health`: that a process lives, and with a nonce, which server it belongs to.

Whoever knows TWILIO_AUTH_TOKEN can tell from the answer whether PUBLIC_URL leads to a server of the same settings, in
the same folder of the same machine. Whoever does not learns nothing.
"""

import hashlib
import hmac
import re
import socket
from pathlib import Path
from typing import Any

from flask import request

from config import Settings

NONCE = re.compile("[0-9a-f]{32}")


def answer(settings: Settings) -> dict[str, Any]:
    """The view's answer to the current request."""
    nonce = request.args.get("nonce", "")
    if not NONCE.fullmatch(nonce):
        return {"status": "ok"}
    return {"status": "ok", "proof": proof(settings, nonce)}


def proof(settings: Settings, nonce: str) -> str:
    """What this server, and no other, answers to a nonce."""
    token = settings.twilio_auth_token
    key = "" if token is None else token.get_secret_value()
    text = f"switchboard health\n{nonce}\n{socket.gethostname()}\n{Path.cwd()}\n{settings.port}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
