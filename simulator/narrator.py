"""A call told as it happens, line by line, with the latencies that its caller would notice."""

import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from simulator.phone_events import (
    AssistantAudible,
    AssistantSilent,
    CallEnded,
    CallerSpeechEnded,
    CallerSpeechStarted,
    Cleared,
    PhoneEvent,
    ProtocolError,
    Spoke,
    StreamOpened,
)

LINE_WIDTH = 100
"""Characters."""
LEAST_WIDTH = 40

Echo = Callable[[str], object]
"""Prints a line."""

Listen = Callable[[int, bytes, bytes], None]
"""Told a sample time, and what is said and heard from there on, as mu-law."""


class Narrator:
    """Prints a call as it happens. Any thread."""

    def __init__(self, echo: Echo, width: int = LINE_WIDTH) -> None:
        """No line is longer than `width` characters, or LEAST_WIDTH."""
        self._echo = echo
        self._width = max(width, LEAST_WIDTH)
        self._lock = threading.Lock()
        self._dialled_at = time.monotonic()
        self._speech_started: float | None = None
        self._speech_ended: float | None = None
        self._assistant_speaks = False
        self._greeted = False
        self._connected_at = 0.0

    def dial(self) -> None:
        """Times are counted from here."""
        self._dialled_at = time.monotonic()

    def phone_event(self, event: PhoneEvent) -> None:
        """Tell what happened on the line."""
        match event:
            case StreamOpened():
                self._connected_at = event.at
                self._line(event.at, "phone", "connected, the media stream is open")
            case CallerSpeechStarted():
                self._speech_started = event.at if self._assistant_speaks else None
                text = "(talks over the assistant)" if self._assistant_speaks else "(speaks)"
                self._line(event.at, "caller", text)
            case CallerSpeechEnded():
                self._speech_ended = event.at
            case AssistantAudible():
                self._assistant_speaks = True
                if not self._greeted:
                    self._greeted = True
                    latency = (event.at - self._connected_at) * 1000
                    self._line(event.at, "", f"greeting heard {latency:.0f} ms after the stream was open")
                elif self._speech_ended is not None:
                    latency = (event.at - self._speech_ended) * 1000
                    self._line(event.at, "", f"answer heard {latency:.0f} ms after the caller's last word")
                    self._speech_ended = None
            case AssistantSilent():
                self._assistant_speaks = False
                if self._speech_started is not None:
                    latency = (event.at - self._speech_started) * 1000
                    self._line(
                        event.at, "", f"assistant silent {latency:.0f} ms after the caller's first word"
                    )
                    self._speech_started = None
            case Cleared():
                self._line(
                    event.at, "", f"{event.ms_dropped / 1000:.1f} s of the answer were thrown away unheard"
                )
            case Spoke():
                self._line(event.at, "Twilio", f'"{event.text}"')
            case ProtocolError():
                self._line(event.at, "Twilio", f"error {event.code}: {event.message}")
            case CallEnded():
                self._line(event.at, "phone", f"call over: {event.reason}")

    def model_event(self, session_id: str, kind: str, event: Mapping[str, Any]) -> None:
        """Tell what the model heard, said, and was told."""
        at = time.monotonic() - self._dialled_at
        match kind:
            case "conversation.item.input_audio_transcription.completed":
                self._line(at, "caller", f'"{event["transcript"] or "(not understood)"}"')
            case "response.output_item.done" if text := _spoken(event["item"]):
                # The model is done with an answer long before the caller has heard it, and may never be.
                said = "will say" if event["item"]["status"] == "completed" else "began to say"
                self._line(at, "assistant", f'{said}: "{text}"')
            case "conversation.item.truncate":
                heard = event["audio_end_ms"]
                self._line(at, "", f"the model is told that only {heard} ms of that answer were heard")

    def _line(self, at: float, who: str, text: str) -> None:
        head = f"{at:6.2f} s  {who:<9} "
        with self._lock:
            self._echo(
                textwrap.fill(text, self._width, initial_indent=head, subsequent_indent=" " * len(head))
            )


def _spoken(item: Mapping[str, Any]) -> str:
    """The transcript of an assistant message, blank for anything else."""
    return " ".join(part["transcript"] for part in item.get("content", ()) if part.get("transcript"))
