"""The Realtime API's client events, encoded: what we may say to the server once the session is configured.

The session's own configuration differs from server to server, and stands in `wire.dialect`.
Source: OpenAI, Realtime API reference (GA), client events, and their types in its Python SDK 3.54.
"""

from typing import Any

from wire.event_json import encode


def append_audio(payload: str) -> str:
    """Caller audio. `payload` is base64 that `decode_audio` has checked; it is not copied or re-encoded."""
    return f'{{"type":"input_audio_buffer.append","audio":"{payload}"}}'


def create_response(instructions: str | None = None) -> str:
    """Ask for a response. Instructions replace the session's for this response; they do not add to them."""
    event: dict[str, Any] = {"type": "response.create"}
    if instructions is not None:
        event["response"] = {"instructions": instructions}
    return encode(event)


def truncate_item(item_id: str, content_index: int, audio_end_ms: int) -> str:
    """Tell the model how much of an item was heard. Never more than was received: that is refused."""
    return encode(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": content_index,
            "audio_end_ms": audio_end_ms,
        }
    )


def delete_item(item_id: str) -> str:
    """Take an item that nobody heard out of the model's memory."""
    return encode({"type": "conversation.item.delete", "item_id": item_id})


def cancel_response(response_id: str | None = None) -> str:
    """Stop the active response, or only that one. Where it is not active any more, the refusal is benign."""
    return encode({"type": "response.cancel"} | ({} if response_id is None else {"response_id": response_id}))


def create_message(item_id: str | None, role: str, text: str, behind: str | None = None) -> str:
    """Put a message into the conversation: role user, assistant or system; the assistant's cannot be audio.

    `behind`: the id of another item; None: behind all.
    """
    kind = "output_text" if role == "assistant" else "input_text"
    message = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return _create_item(item_id, message, behind)


def create_function_call(item_id: str | None, call_id: str, name: str, arguments: str) -> str:
    """Put back a call that the model made in an earlier session. `arguments`: JSON."""
    return _create_item(
        item_id, {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    )


def create_function_output(call_id: str, output: str) -> str:
    """Answer a function call. `output`: any text, JSON by custom."""
    return _create_item(None, {"type": "function_call_output", "call_id": call_id, "output": output})


def _create_item(item_id: str | None, item: dict[str, Any], behind: str | None = None) -> str:
    place = {} if behind is None else {"previous_item_id": behind}
    identified = item if item_id is None else {"id": item_id} | item
    return encode({"type": "conversation.item.create", **place, "item": identified})
