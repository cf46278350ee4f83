"""Calls that the assistant makes: the table `[outbound]`. Without it, it makes none."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from actors.table import PhoneNumber, Table, Text


class Outbound(Table):
    """From which number it calls, what it says, how long it lets ring, and whether machines are told from people."""

    caller_id: PhoneNumber
    """What the person sees: one of the account's own numbers, or one that it has verified."""
    greeting: Text = Text()
    """Said word for word when somebody answers, instead of the assistant's `greeting`; empty: that one."""
    voicemail: Annotated[Text, Field(min_length=1, max_length=1000)] | None = None
    """Said word for word to an answering machine, after its beep; None: then nothing is left there."""
    timeout_seconds: int = Field(default=30, ge=5, le=600)
    """How long it rings. Most voicemail takes over after 20 to 30 seconds."""
    machine_detection: bool = True
    """Whether Twilio listens for who answers. The call goes on meanwhile; Twilio charges for it."""
    detection_seconds: int = Field(default=30, ge=3, le=59)
    """How long it listens before it says that it does not know; then it is taken for a person."""
    speech_threshold_ms: int | None = Field(default=None, ge=1000, le=6000)
    """Whoever speaks for longer than that when answering is a machine. None: as Twilio has it, 2400."""
    speech_end_threshold_ms: int | None = Field(default=None, ge=500, le=5000)
    """So much silence ends a greeting, a person's or a machine's. None: as Twilio has it, 1200."""
    silence_timeout_ms: int | None = Field(default=None, ge=2000, le=10000)
    """After so much silence from the beginning it is not known who answers. None: as Twilio has it, 5000."""

    @model_validator(mode="after")
    def _check_detection(self) -> Self:
        if self.voicemail is not None and not self.machine_detection:
            raise ValueError("voicemail needs machine_detection: without it nobody hears the beep")
        return self
