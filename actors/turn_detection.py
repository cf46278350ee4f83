"""When the caller's turn begins and is over, and what counts as an interruption: the table `[turn_detection]`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from actors.table import Table
from wire.false_start import Gating

EAGERNESS_MS = {"low": 8000, "medium": 4000, "high": 2000, "auto": 4000}
"""The longest wait of semantic_vad for the end of a turn. Source: openai-realtime.md, section 4."""


class TurnDetection(Table):
    """How the server, or with `mode` gated we, take the caller's turn to begin and to be over."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0, le=1)
    """How loud speech must be, 0 to 1; server_vad only."""
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    """Audio kept from before the detected start, in ms; server_vad only."""
    silence_duration_ms: int = Field(default=500, ge=100, le=10_000)
    """Silence that ends a turn, in ms; server_vad only."""
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """How soon a turn is taken to be over; semantic_vad only."""
    interrupt: bool = True
    """Whether the caller's speech stops the assistant's."""
    mode: Literal["server", "gated"] = "server"
    """Who decides what an interruption is: the server, to which any sound is one, or a gate of ours."""
    minimum_speech_ms: int = Field(default=250, ge=0, le=5000)
    """Speech that interrupts, in ms; gated only."""
    quiet_interrupts: bool = False
    """Whether speech need not be loud to interrupt; gated only."""
    resume: bool = False
    """Whether the assistant goes on after an interruption without words; gated only."""

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        self.gating()  # raises ValueError for what cannot work
        if self.mode == "gated" and not self.interrupt:
            raise ValueError("interrupt = false needs mode server: a gate decides what interrupts")
        return self

    def api(self) -> dict[str, Any]:
        """The API's `turn_detection` object."""
        # Where speech does not end a response, the server could not answer what was said meanwhile, and would say so.
        by_server = self.gating().by_server and self.interrupt
        common = {"type": self.type, "create_response": by_server, "interrupt_response": by_server}
        if self.type == "semantic_vad":
            return common | {"eagerness": self.eagerness}
        return common | {
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }

    def gating(self) -> Gating:
        """What the gate of a session goes by."""
        semantic = self.type == "semantic_vad"
        return Gating(
            mode=self.mode,
            minimum_speech_ms=self.minimum_speech_ms,
            quiet_interrupts=self.quiet_interrupts,
            stop_delay_ms=EAGERNESS_MS[self.eagerness] if semantic else self.silence_duration_ms,
            resume=self.resume,
        )
