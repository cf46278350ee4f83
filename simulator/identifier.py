"""Identifiers as the Realtime API makes them: a prefix that says what is named, then random characters."""

import secrets


def new_identifier(prefix: str) -> str:
    """Return for example `item_5f0c…`. Prefixes in use: event, sess, conv, item, resp, call."""
    return f"{prefix}_{secrets.token_hex(10)}"
