"""Tokens: what goes into a response and what comes out of it, as `response.done` reports them.

Source: openai-realtime.md 12. Every response is charged with the whole conversation before it; what the response
before it was charged with already counts as cached, and cached tokens are a part of the others.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

USER_MS_PER_TOKEN = 100
ASSISTANT_MS_PER_TOKEN = 50
CHARACTERS_PER_TOKEN = 4
"""Our estimate for English text; the other two are the service's."""


def text_tokens(text: str | None) -> int:
    """Return about how many tokens a text is."""
    return math.ceil(len(text or "") / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of text and of audio."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    def common(self, other: "Tokens") -> "Tokens":
        """Return the smaller count of each kind."""
        return Tokens(min(self.text, other.text), min(self.audio, other.audio))

    @property
    def total(self) -> int:
        """Both kinds together."""
        return self.text + self.audio


def count(items: Iterable[Tokens], instructions: str, tools: list[dict[str, Any]]) -> Tokens:
    """Return what a response is charged with as its input."""
    fixed = text_tokens(instructions) + (text_tokens(orjson.dumps(tools).decode()) if tools else 0)
    return sum(items, Tokens(text=fixed))


def usage(incoming: Tokens, cached: Tokens, outgoing: Tokens) -> dict[str, Any]:
    """Return the `usage` object of a response."""
    return {
        "total_tokens": incoming.total + outgoing.total,
        "input_tokens": incoming.total,
        "output_tokens": outgoing.total,
        "input_token_details": {
            "text_tokens": incoming.text,
            "audio_tokens": incoming.audio,
            "image_tokens": 0,
            "cached_tokens": cached.total,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": outgoing.text, "audio_tokens": outgoing.audio},
    }
