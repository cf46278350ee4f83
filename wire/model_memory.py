"""What the model remembers of its own words, made true: what nobody has heard, it has not said.

    an item                    heard in part                                not heard
    the model's own            truncated                                    deleted
    a kept greeting            told anew in the words that were heard       deleted

A greeting that was kept from another call is played while the session only begins. It is told to the model as a
message, which has no audio that could be truncated, and so is another item here than at the phone.

Pure: returns events to send. Source: OpenAI Realtime reference, on `conversation.item.truncate`.
"""

from wire import client_events
from wire.playback import Heard


class ModelMemory:
    """One model session's. Not thread-safe: it belongs to the actor that writes the session."""

    def __init__(self, told_greeting: str) -> None:
        """`told_greeting`: the id for the message of a kept greeting, unique in the conversation."""
        self._told_greeting = told_greeting
        self._kept_greeting: str | None = None
        """The item that the phone plays."""

    def greeting_plays(self, item_id: str, text: str) -> str:
        """The phone plays a kept greeting as that item. Returns what tells the model so."""
        self._kept_greeting = item_id
        return client_events.create_message(self._told_greeting, "assistant", text)

    def greeting_cut_off(self, heard_text: str) -> list[str]:
        """Of the kept greeting only this was heard, or nothing."""
        told = self._told_greeting
        deleted = client_events.delete_item(told)
        if not heard_text:
            return [deleted]
        # Not behind all: the caller's own words may stand there by now.
        return [client_events.create_message(None, "assistant", heard_text, behind=told), deleted]

    def cut_off(self, heard: tuple[Heard, ...]) -> list[str]:
        """These parts were cut off, in the order in which they were to be played."""
        by_item: dict[str, list[Heard]] = {}
        for cut in heard:
            by_item.setdefault(cut.part.item_id, []).append(cut)
        events: list[str] = []
        for item_id, parts in by_item.items():
            if item_id == self._kept_greeting:
                continue  # the call tells what was heard of that
            # Parts are played in order: where the first is not among those cut off, it was heard to its end.
            if parts[0].part.content_index == 0 and not any(cut.heard_ms for cut in parts):
                events.append(client_events.delete_item(item_id))
                continue
            events += [
                client_events.truncate_item(item_id, cut.part.content_index, cut.heard_ms) for cut in parts
            ]
        return events
