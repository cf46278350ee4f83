"""The conversation as the model remembers it: items in order, what was said in them, and how long it was.

Source: openai-realtime.md 5.2 and 9. Audio inside is mu-law at 8000 Hz, 8 bytes a ms.
"""

import base64
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.identifier import new_identifier
from simulator.refusal import RefusalError
from simulator.usage import ASSISTANT_MS_PER_TOKEN, USER_MS_PER_TOKEN, Tokens, text_tokens
from wire.g711 import BYTES_PER_MS


@dataclass(slots=True)
class Item:
    """One item. `text` is the transcript of spoken items and None once a truncation has removed it."""

    id: str
    type: str = "message"
    role: str = ""
    status: str = "completed"
    content_type: str = ""
    text: str | None = None
    audio: bytearray = field(default_factory=bytearray)
    truncated_at: int | None = None
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    heard: Callable[[], str] | None = None
    """For caller speech: what was recognised. May block until the recogniser is done."""

    @property
    def audio_ms(self) -> int:
        """How much audio the model remembers, in whole ms."""
        return len(self.audio) // BYTES_PER_MS

    @property
    def tokens(self) -> Tokens:
        """What the item costs. A caller's transcript is not sent to the model and costs nothing."""
        text = text_tokens(self.name + self.arguments + self.output)
        if self.content_type != "input_audio":
            text += text_tokens(self.text)
        per_token = ASSISTANT_MS_PER_TOKEN if self.role == "assistant" else USER_MS_PER_TOKEN
        return Tokens(text, math.ceil(len(self.audio) / BYTES_PER_MS / per_token))

    def shown(self, encode: Callable[[bytes], bytes] | None = None) -> dict[str, Any]:
        """Return the item as events carry it; with `encode`, which makes the wire format, audio included."""
        shown: dict[str, Any] = {
            "id": self.id,
            "object": "realtime.item",
            "type": self.type,
            "status": self.status,
        }
        if self.type == "function_call":
            return shown | {"call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        if self.type == "function_call_output":
            return shown | {"call_id": self.call_id, "output": self.output}
        return shown | {"role": self.role, "content": self._content(encode)}

    def _content(self, encode: Callable[[bytes], bytes] | None) -> list[dict[str, Any]]:
        if not self.content_type:
            return []
        if self.content_type not in ("input_audio", "output_audio"):
            return [{"type": self.content_type, "text": self.text}]
        part: dict[str, Any] = {"type": self.content_type, "transcript": self.text}
        if encode is not None:
            part["audio"] = base64.b64encode(encode(bytes(self.audio))).decode()
        return [part]


class Conversation:
    """The default conversation of a session. Not thread-safe: the session's lock guards it."""

    def __init__(self) -> None:
        self.id = new_identifier("conv")
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items))

    def append(self, item: Item) -> str | None:
        """Add an item at the end. Returns the id of the item before it, None for the first."""
        previous = self._items[-1].id if self._items else None
        self._items.append(item)
        return previous

    def insert(self, item: Item, previous_item_id: str | None) -> str | None:
        """Add a client's item: at the end (None), first ("root") or after an item. Returns the id before it.

        Raises RefusalError if the id is taken or the previous item does not exist.
        """
        if self.find(item.id) is not None:
            raise RefusalError(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with the ID '{item.id}' already exists in the conversation.",
                "item.id",
            )
        if item.type == "function_call_output" and self.call(item.call_id) is None:
            raise RefusalError(
                "invalid_tool_call_id",
                f"Tool call ID '{item.call_id}' not found in conversation.",
                "item.call_id",
            )
        if previous_item_id is None:
            return self.append(item)
        if previous_item_id == "root":
            self._items.insert(0, item)
            return None
        previous = self.find(previous_item_id)
        if previous is None:
            raise RefusalError(
                "item_create_invalid_previous_item_id",
                f"Error adding item: the previous item '{previous_item_id}' does not exist.",
                "previous_item_id",
            )
        self._items.insert(self._items.index(previous) + 1, item)
        return previous.id

    def find(self, item_id: str) -> Item | None:
        """Return the item with this id."""
        return next((item for item in self._items if item.id == item_id), None)

    def call(self, call_id: str) -> Item | None:
        """Return the function call with this call_id."""
        calls = (item for item in self._items if item.type == "function_call")
        return next((item for item in calls if item.call_id == call_id), None)

    def existing(self, item_id: str, action: str) -> Item:
        """Return the item, or raise RefusalError `item_<action>_invalid_item_id`."""
        item = self.find(item_id)
        if item is None:
            raise RefusalError(
                f"item_{action}_invalid_item_id",
                f"Error on item {action}: the item with the ID '{item_id}' does not exist.",
                "item_id",
            )
        return item

    def delete(self, item_id: str) -> None:
        """Forget an item. Raises RefusalError if there is none with this id."""
        self._items.remove(self.existing(item_id, "delete"))

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut assistant audio to its first `audio_end_ms` and drop its transcript.

        Raises RefusalError for an unknown item, one without assistant audio, and a time beyond its end.
        """
        item = self.existing(item_id, "truncate")
        if item.role != "assistant" or item.content_type != "output_audio":
            raise RefusalError(
                "invalid_value",
                f"Item '{item_id}' is not assistant audio and cannot be truncated.",
                "item_id",
            )
        if content_index != 0:
            raise RefusalError(
                "invalid_value", f"Item '{item_id}' has no content at index {content_index}.", "content_index"
            )
        if audio_end_ms > item.audio_ms:
            raise RefusalError(
                None,
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms",
                echo=False,
            )
        del item.audio[audio_end_ms * BYTES_PER_MS :]
        item.text = None
        item.truncated_at = audio_end_ms

    def unanswered(self) -> list[Item]:
        """Return what came after the assistant's last words or calls, in order."""
        since: list[Item] = []
        for item in reversed(self._items):
            if item.role == "assistant" or item.type == "function_call":
                break
            since.append(item)
        return since[::-1]
