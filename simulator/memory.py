"""What a session keeps for whoever looks at it from outside: client events, caller audio, remembered items."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from simulator.conversation import Item


class ReceivedEvent(dict[str, Any]):
    """A client event; `at` is when it came, in seconds of time.monotonic."""

    at: float = 0.0


class Received:
    """The client events of a session in order, all but the audio. Any thread."""

    def __init__(self) -> None:
        self._events: list[ReceivedEvent] = []
        self._arrived = threading.Condition()

    def add(self, event: dict[str, Any]) -> None:
        """Note an event that has just come."""
        received = ReceivedEvent(event)
        received.at = time.monotonic()
        with self._arrived:
            self._events.append(received)
            self._arrived.notify_all()

    def all(self) -> list[ReceivedEvent]:
        """Return what has come so far."""
        with self._arrived:
            return list(self._events)

    def wait(self, event_type: str, timeout: float, count: int) -> ReceivedEvent:
        """Return the count-th event of a type, waiting up to `timeout` s. Raises TimeoutError."""

        def matching() -> list[ReceivedEvent]:
            return [event for event in self._events if event.get("type") == event_type]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(matching()) >= count, timeout):
                came = ", ".join(str(event.get("type")) for event in self._events) or "nothing"
                raise TimeoutError(f"no {event_type} number {count} within {timeout} s; there came {came}")
            return matching()[count - 1]


@dataclass(frozen=True, slots=True)
class RememberedItem:
    """A conversation item as the model remembers it now.

    `text` is what was said or written, None where a truncation removed it or nothing transcribed it; of a
    function call the arguments, of its output the output. `audio_ms` is how much audio there is of it;
    `truncated_at` the ms at which it was cut, None if it was not.
    """

    id: str
    type: str
    role: str
    status: str
    text: str | None
    audio_ms: int
    truncated_at: int | None
    name: str
    call_id: str

    @classmethod
    def of(cls, item: Item) -> "RememberedItem":
        """Return a copy of the item for people to look at."""
        written = {"function_call": item.arguments, "function_call_output": item.output}
        return cls(
            id=item.id,
            type=item.type,
            role=item.role,
            status=item.status,
            text=written.get(item.type, item.text),
            audio_ms=item.audio_ms,
            truncated_at=item.truncated_at,
            name=item.name,
            call_id=item.call_id,
        )
