"""Tools and listeners for the assistants of these tests, good and bad ones. The server's process imports them."""

import threading
import time
from typing import Any

from actors.listener import Listener
from actors.messages import AssistantAudio, CallerAudio, FloorChanged, HeardSoFar, Playback
from actors.tool import tool

TROUBLEMAKER = "+14155550666"
"""In calls from this number the bad ones are bad; all others they leave alone."""


@tool
def look_up_order(number: int, seconds: float) -> dict[str, Any]:
    """Look up an order by its number; takes so many seconds."""
    time.sleep(seconds)
    return {"order": number, "state": "ready"}


@tool(process=True)
def reckon(seconds: float) -> int:
    """Count for so many seconds, without ever letting go of the interpreter's lock."""
    ends_at = time.monotonic() + seconds
    counted = 0
    while time.monotonic() < ends_at:
        counted += sum(range(1000))
    return counted


class Blocked(Listener):
    """Does not come back from the first message that it is told."""

    wants = (AssistantAudio, CallerAudio)

    def handle(self, message: Any) -> Any:
        if isinstance(message, self.wants) and self.record.caller == TROUBLEMAKER:
            threading.Event().wait()
        elif not isinstance(message, self.wants):
            return super().handle(message)
        return None


class Failing(Listener):
    """Raises at every message."""

    wants = (AssistantAudio, CallerAudio, FloorChanged, HeardSoFar, Playback)

    def handle(self, message: Any) -> Any:
        if isinstance(message, self.wants) and self.record.caller == TROUBLEMAKER:
            raise RuntimeError("this listener fails on purpose")
        if not isinstance(message, self.wants):
            return super().handle(message)
        return None
