"""One response: its items, its events in the order of the Realtime API, and how it ends.

Source: openai-realtime.md 6, 7 and 12. The speaking thread drives it; the session's reader may stop it. Every
method takes the session's lock (which is reentrant), so that no event can follow the `response.done` of `stop`.
"""

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from simulator import item_events
from simulator.conversation import Conversation, Item
from simulator.engine import Call
from simulator.identifier import new_identifier
from simulator.pcm import from_ulaw
from simulator.response_settings import ResponseSettings
from simulator.usage import Tokens, usage

Emit = Callable[[dict[str, Any]], None]


class Stopped(Exception):  # noqa: N818 - not an error: it ends the speaking thread's work
    """The response has ended while it was being spoken."""


class Response:
    """The lifecycle of one response. `conversation` is None for an out-of-band response."""

    def __init__(
        self,
        settings: ResponseSettings,
        conversation: Conversation | None,
        *,
        incoming: Tokens,
        cached: Tokens,
        late_deltas: int,
        emit: Emit,
        lock: AbstractContextManager[Any],
        ended: Callable[["Response"], None],
    ) -> None:
        """`emit` and `ended` are called with the lock held; `ended` once, after `response.done`.

        Of the speech that is prepared when the response is stopped, up to `late_deltas` deltas are still sent.
        """
        self.id = new_identifier("resp")
        self.settings = settings
        self.status = "in_progress"
        self.stopped = threading.Event()
        """Set when the response has ended, however that came about."""
        self.speaking = threading.Event()
        """Set when the first output has been sent, or none will be."""
        self.output: list[Item] = []
        self._conversation = conversation
        self._incoming = incoming
        self._cached = cached
        self._late_deltas = late_deltas
        self._prepared: deque[bytes] = deque()
        self._emit = emit
        self._lock = lock
        self._ended = ended
        self._encode = from_ulaw(settings.format["type"])
        self._status_details: dict[str, Any] | None = None
        self._open: Item | None = None
        self._previous: str | None = None

    @property
    def active(self) -> bool:
        """Whether the response is still in progress."""
        return self.status == "in_progress"

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio in the response so far."""
        return sum(item.audio_ms for item in self.output)

    def begin(self) -> None:
        """Announce the response. The reader does this, so that its order among other events is the real one."""
        with self._lock:
            self._emit({"type": "response.created", "response": self.shown()})
            self._emit(
                {
                    "type": "rate_limits.updated",
                    "rate_limits": [
                        {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
                        {"name": "tokens", "limit": 50000, "remaining": 45000, "reset_seconds": 6.0},
                    ],
                }
            )

    def open_message(self) -> None:
        """Begin an assistant message, spoken or written as the settings say."""
        with self._going_on():
            written = self.settings.modalities == ["text"]
            item = Item(new_identifier("item"), role="assistant", status="in_progress")
            self._add(item)
            item.content_type = "output_text" if written else "output_audio"
            item.text = ""
            self._tell(item, item_events.opening(item))

    def write(self, text: str) -> None:
        """Send some of the message's text: as text, or as the transcript of what is spoken."""
        with self._going_on():
            item = self._message()
            before, item.text = item.text, (item.text or "") + text
            if self._overspent():
                item.text = before
                self._run_out()
            self._tell(item, item_events.writing(item, text))

    @property
    def prepared(self) -> int:
        """How many deltas are prepared and not sent."""
        return len(self._prepared)

    def prepare(self, ulaw: bytes) -> None:
        """Take a delta of the message's audio, mu-law at 8000 Hz, that is to be sent when its time has come."""
        with self._going_on():
            self._prepared.append(ulaw)

    def speak(self) -> int:
        """Send the delta that was prepared first. Returns its length in mu-law bytes."""
        with self._going_on():
            ulaw = self._prepared.popleft()
            if not self._send_audio(self._message(), ulaw):
                self._run_out()
            self.speaking.set()
            return len(ulaw)

    def close_message(self) -> None:
        """End the message that was begun."""
        with self._going_on():
            self._close_open("completed")

    def call(self, call: Call) -> None:
        """Send a whole function call."""
        with self._going_on():
            item = Item(
                new_identifier("item"),
                type="function_call",
                status="in_progress",
                name=call.name,
                call_id=new_identifier("call"),
            )
            self._add(item)
            for event in item_events.calling(item, call.arguments):
                item.arguments += event["delta"]
                self._tell(item, event)
            self._close_open("completed")

    def finish(self) -> None:
        """End the response as completed."""
        with self._going_on():
            self._end("completed", None)

    def cut_short(self, reason: str) -> None:
        """End the response as incomplete: `max_output_tokens` or `content_filter`. Does nothing if it has ended."""
        with self._lock:
            if self.active:
                self._close_open("incomplete")
                self._end("incomplete", {"type": "incomplete", "reason": reason})

    def fail(self, *, kind: str, code: str, message: str) -> None:
        """End the response as failed; does nothing if it has ended."""
        with self._lock:
            if self.active:
                self._close_open("incomplete")
                error = {"type": kind, "code": code, "message": message}
                self._end("failed", {"type": "failed", "error": error})

    def stop(self, reason: str) -> None:
        """Cancel: `turn_detected` or `client_cancelled`. Nothing more is sent after its `response.done`.

        Before that come the deltas that are on their way already, as the real server's do (openai-realtime.md 7).
        """
        with self._lock:
            if self.active:
                self._send_late()
                self._close_open("incomplete")
                self._end("cancelled", {"type": "cancelled", "reason": reason})

    def abandon(self) -> None:
        """End without an event, because the connection has gone."""
        with self._lock:
            if self.active:
                self.status = "cancelled"
            self.stopped.set()
            self.speaking.set()

    def shown(self) -> dict[str, Any]:
        """Return the response object as events carry it."""
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": self._status_details,
            "output": [item.shown() for item in self.output],
            "conversation_id": None if self._conversation is None else self._conversation.id,
            "output_modalities": self.settings.modalities,
            "max_output_tokens": self.settings.max_output_tokens,
            "audio": {"output": {"format": self.settings.format, "voice": self.settings.voice}},
            "usage": None if self.active else usage(self._incoming, self._cached, self._spent()),
            "metadata": self.settings.metadata,
        }

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        with self._lock:
            if not self.active:
                raise Stopped
            yield

    def _message(self) -> Item:
        if self._open is None:
            raise RuntimeError("a response speaks only between open_message and close_message")
        return self._open

    def _send_late(self) -> None:
        late = list(self._prepared)[: self._late_deltas]
        for ulaw in late if self._open is not None else []:
            if not self._send_audio(self._message(), ulaw):
                return

    def _send_audio(self, item: Item, ulaw: bytes) -> bool:
        """False if it would cost more tokens than are left; then it is not sent."""
        item.audio += ulaw
        if self._overspent():
            del item.audio[-len(ulaw) :]
            return False
        delta = base64.b64encode(self._encode(ulaw)).decode()
        self._tell(item, {"type": "response.output_audio.delta", "content_index": 0, "delta": delta})
        return True

    def _add(self, item: Item) -> None:
        self._open = item
        self.output.append(item)
        self.speaking.set()
        self._emit(
            {
                "type": "response.output_item.added",
                "response_id": self.id,
                "output_index": len(self.output) - 1,
                "item": item.shown(),
            }
        )
        if self._conversation is not None:
            self._previous = self._conversation.append(item)
            self._tell_conversation("added", item)

    def _close_open(self, status: str) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        item.status = status
        for event in item_events.closing(item):
            self._tell(item, event)
        self._tell_conversation("done", item)
        self._emit(
            {
                "type": "response.output_item.done",
                "response_id": self.id,
                "output_index": self.output.index(item),
                "item": item.shown(),
            }
        )

    def _tell_conversation(self, what: str, item: Item) -> None:
        if self._conversation is not None:
            self._emit(
                {
                    "type": f"conversation.item.{what}",
                    "previous_item_id": self._previous,
                    "item": item.shown(),
                }
            )

    def _tell(self, item: Item, event: dict[str, Any]) -> None:
        place = {"response_id": self.id, "item_id": item.id, "output_index": self.output.index(item)}
        self._emit({**event, **place})

    def _spent(self) -> Tokens:
        return sum((item.tokens for item in self.output), Tokens())

    def _overspent(self) -> bool:
        limit = self.settings.max_output_tokens
        return isinstance(limit, int) and self._spent().total > limit

    def _run_out(self) -> None:
        self.cut_short("max_output_tokens")
        raise Stopped

    def _end(self, status: str, details: dict[str, Any] | None) -> None:
        self.status = status
        self._status_details = details
        self._emit({"type": "response.done", "response": self.shown()})
        self.stopped.set()
        self.speaking.set()
        self._ended(self)
