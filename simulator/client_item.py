"""Items that a client creates, from the event's fields to the model's memory (openai-realtime.md 5.2)."""

from collections.abc import Callable
from typing import Any

from simulator.conversation import Item
from simulator.engine import Hearing
from simulator.identifier import new_identifier
from simulator.input_audio import Utterance
from simulator.pcm import to_ulaw
from simulator.schema import decode_audio


def make_item(fields: dict[str, Any], audio_format: str, listen: Callable[[], Hearing]) -> Item:
    """Return the item of a checked `item` object. Audio in it is in `audio_format` and is recognised if asked for.

    Raises RefusalError for audio that is not base64.
    """
    item = Item(
        fields.get("id") or new_identifier("item"),
        type=fields["type"],
        role=fields.get("role", ""),
        name=fields.get("name", ""),
        call_id=fields.get("call_id")
        or (new_identifier("call") if fields["type"] == "function_call" else ""),
        arguments=fields.get("arguments", ""),
        output=fields.get("output", ""),
    )
    for index, part in enumerate(fields.get("content", ())):
        _add_part(item, part, f"item.content.{index}.audio", audio_format, listen)
    return item


def _add_part(
    item: Item, part: dict[str, Any], param: str, audio_format: str, listen: Callable[[], Hearing]
) -> None:
    match part["type"]:
        case "input_text" | "output_text":
            item.content_type = part["type"]
            item.text = f"{item.text} {part['text']}" if item.text else part["text"]
        case "input_audio":
            audio = to_ulaw(audio_format)(decode_audio(part["audio"], param))
            item.content_type = "input_audio"
            item.text = part.get("transcript")
            item.audio += audio
            if item.text is None:
                hearing = listen()
                hearing.feed(audio)
                item.heard = Utterance(audio, hearing).text
        case "input_image":
            # The model is blind: it knows that there was a picture, and nothing of it.
            item.content_type = item.content_type or "input_text"
            item.text = item.text or ""
