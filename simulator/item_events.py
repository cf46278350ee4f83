"""The events about one output item of a response, in the order of the Realtime API (openai-realtime.md 6 and 7)."""

from collections.abc import Iterator
from typing import Any

from simulator.conversation import Item

ARGUMENTS_DELTA_CHARACTERS = 24
"""Our choice: short enough that most calls come in several deltas."""


def opening(item: Item) -> dict[str, Any]:
    """Return the event that opens a message's only content part."""
    part = (
        {"type": "text", "text": ""}
        if item.content_type == "output_text"
        else {"type": "audio", "transcript": ""}
    )
    return {"type": "response.content_part.added", "content_index": 0, "part": part}


def writing(item: Item, text: str) -> dict[str, Any]:
    """Return the delta of a message's text, or of its transcript."""
    kind = "text" if item.content_type == "output_text" else "audio_transcript"
    return {"type": f"response.output_{kind}.delta", "content_index": 0, "delta": text}


def calling(item: Item, arguments: str) -> Iterator[dict[str, Any]]:
    """Yield the deltas of a function call's arguments."""
    for start in range(0, len(arguments), ARGUMENTS_DELTA_CHARACTERS):
        yield {
            "type": "response.function_call_arguments.delta",
            "call_id": item.call_id,
            "delta": arguments[start : start + ARGUMENTS_DELTA_CHARACTERS],
        }


def closing(item: Item) -> list[dict[str, Any]]:
    """Return what precedes `response.output_item.done`. It is sent for an interrupted item as well."""
    if item.type == "function_call":
        return [
            {
                "type": "response.function_call_arguments.done",
                "call_id": item.call_id,
                "name": item.name,
                "arguments": item.arguments,
            }
        ]
    text = item.text or ""
    if item.content_type == "output_text":
        done = [{"type": "response.output_text.done", "text": text}]
        part = {"type": "text", "text": text}
    else:
        done = [
            {"type": "response.output_audio.done"},
            {"type": "response.output_audio_transcript.done", "transcript": text},
        ]
        part = {"type": "audio", "transcript": text}
    events: list[dict[str, Any]] = [*done, {"type": "response.content_part.done", "part": part}]
    return [{**event, "content_index": 0} for event in events]
