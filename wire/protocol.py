"""What both protocols share: JSON objects in text frames, base64 audio, and the error for everything else."""

import binascii
from typing import Any, TypeVar

import orjson

T = TypeVar("T")


class ProtocolError(ValueError):
    """The peer sent something that its protocol does not allow. The text says what, never the payload."""


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in one text frame. Raises ProtocolError, also for nesting too deep to parse."""
    if isinstance(text, bytes):
        raise ProtocolError(f"a binary frame of {len(text)} bytes; only text frames are allowed")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"not JSON ({error.msg} at {error.pos} of {len(text)} characters)") from None
    if not isinstance(parsed, dict):
        raise ProtocolError(f"JSON {type(parsed).__name__} where an object is expected")
    return parsed


def field(message: dict[str, Any], name: str, kind: type[T]) -> T:
    """A required field. Raises ProtocolError if it is missing or of another type."""
    value = message.get(name)
    if not isinstance(value, kind):
        found = "missing" if value is None else type(value).__name__
        raise ProtocolError(f"field {name!r} must be {kind.__name__}, it is {found}")
    return value


def decode_audio(payload: str) -> bytes:
    """What base64 audio stands for. Raises ProtocolError unless the text is strictly base64.

    The payload travels on as it stands, inside JSON that is put together from constants, so that nothing but
    base64's own characters may pass here.
    """
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:  # binascii.Error, or non-ASCII text
        raise ProtocolError(f"audio is not base64: {error}") from None
