"""A call's story as the softphone's page shows it: JSON of what its caller may know, and of nothing else."""

from collections.abc import Sequence
from typing import Any

from store.history import Told
from wire.transcript import Entry

SHOWN = {
    "answered": ("answer_ms", "vad_ms", "model_ms", "us_ms", "twilio_ms"),
    "interrupted": ("silence_ms", "vad_ms", "us_ms", "twilio_ms"),
    "tool": ("name", "seconds", "failed"),
    "session lost": (),
    "filler": (),
    "apology": (),
    "key pressed": (),
}
"""Of the events in a call's journal those that the page shows, and what of them."""


def shown(story: Sequence[Told], began_at: float) -> list[dict[str, Any]]:
    """What the page gets, in the order of the story. `began_at` is the call's, in seconds since 1970."""
    return [
        {"at": None if told.at is None else round(told.at - began_at, 1)} | what
        for told in story
        if (what := _entry(told.what) if isinstance(told.what, Entry) else _event(told.what, told.data))
    ]


def _event(kind: str, data: dict[str, Any]) -> dict[str, Any] | None:
    return {"event": kind} | {name: data.get(name) for name in SHOWN[kind]} if kind in SHOWN else None


def _entry(entry: Entry) -> dict[str, Any]:
    if entry.tool is not None:
        return {"speaker": "tool", "name": entry.tool.name, "waiting": entry.tool.output is None}
    return {
        "speaker": entry.speaker,
        "text": entry.text,
        "heard": entry.heard_text,
        "heardMs": entry.heard_ms,
        "totalMs": entry.total_ms,
        "failed": entry.failed,
    }
