"""Semantic turn detection that hears nothing: noticed, so that it can be replaced while the call lasts.

One report has it that semantic_vad never says speech_started on telephone audio (protocol-gotchas.md 16). Such a
caller talks to nobody. So this counts how much loud audio the caller sends without it; after 15 s the session
goes over to server_vad, once, and the call is logged as one on which semantic_vad failed.

What is loud while the assistant speaks does not count, it may be echo; nor does what is loud during a speech.
Pure, and without a clock: time is the audio's own.
"""

from dataclasses import dataclass
from typing import Any

DEAF_MS = 15_000
"""Of loud audio. A caller who talks all the time gets there in some 25 s, pauses between and in words included."""

SERVER_VAD_STOP_MS = 500
"""The silence that ends a turn after the switch."""


def server_vad(answers: bool, interrupts: bool) -> dict[str, Any]:
    """What takes its place: the API's own defaults. What the server does by itself stays as it was configured."""
    return {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": SERVER_VAD_STOP_MS,
        "create_response": answers,
        "interrupt_response": interrupts,
    }


@dataclass(frozen=True, slots=True)
class SwitchToServerVad:
    """Semantic turn detection hears nothing: configure the session for server_vad. Comes once."""


class VadWatchdog:
    """Watches one session with semantic_vad. Belongs to the actor that owns the model's socket."""

    def __init__(self) -> None:
        self._loud_ms = 0.0
        self._speaking = False
        self.watching = True
        """False after the switch: there is nothing left to do, and no need to call."""

    def speech_started(self) -> None:
        """It does hear the caller."""
        self._speaking = True
        self._loud_ms = 0.0

    def speech_stopped(self) -> None:
        """The caller's turn is over."""
        self._speaking = False

    def caller_audio(self, loud: bool, duration_ms: float, playing: bool) -> SwitchToServerVad | None:
        """A piece of the caller's audio was passed on, while the assistant could be heard or not."""
        if not loud or playing or self._speaking or not self.watching:
            return None
        self._loud_ms += duration_ms
        if self._loud_ms < DEAF_MS:
            return None
        self.watching = False
        return SwitchToServerVad()
