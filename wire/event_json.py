"""What a peer is told as JSON, whatever its texts hold. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import orjson


def encode(event: Mapping[str, Any]) -> str:
    """A lone surrogate, which no UTF-8 has and which a tool's or a visitor's text may hold, becomes "?"."""
    try:
        return orjson.dumps(event).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()
