"""What a call reports about itself, for whoever counts: Prometheus in the web layer, nobody by default."""

from enum import Enum
from typing import Literal, Protocol

from wire.latency import InterruptionLatency, TurnLatency

Speaker = Literal["caller", "assistant"]


class Outcome(Enum):
    """How a call ended."""

    HUNG_UP = "hung_up"
    """The media stream stopped: the caller hung up, or Twilio took the call elsewhere."""
    ENDED = "ended"
    """We ended it, as asked to: a drain, a goodbye."""
    HANDED_OVER = "handed_over"
    """This process ended; at a pause the call went over to another."""
    TORN_AWAY = "torn_away"
    """The same, and no pause had come."""
    TRANSFERRED = "transferred"
    """The caller was connected with somebody, or is about to be."""
    SENT_DIGITS = "sent_digits"
    """The call left its stream to press keys, and comes back on another one."""
    VOICEMAIL = "voicemail"
    """A machine answered a call that we placed, and was left a message, if there was one to leave."""
    FAX = "fax"
    """A fax machine answered it."""
    CALLER_SILENT = "caller_silent"
    """The caller was asked, and said nothing any more."""
    SILENT = "silent"
    """The caller waited in vain for the assistant to be heard."""
    MODEL_FAILED = "model_failed"
    PHONE_FAILED = "phone_failed"
    FAILED = "failed"
    """The call's own actor failed."""


class Meter(Protocol):
    """Takes what is worth counting. Any thread calls it, also on the audio path: it neither blocks nor raises."""

    def call_started(self) -> None:
        """A call is live from now on."""

    def call_ended(self, outcome: Outcome) -> None:
        """A call that was started is not live any more; once for each."""

    def answered(self, latency: TurnLatency) -> None:
        """The caller heard an answer begin."""

    def interrupted(self) -> None:
        """Clear was written because the caller spoke."""

    def silenced(self, latency: InterruptionLatency) -> None:
        """The silence after an interruption was confirmed."""

    def response_done(self, status: str) -> None:
        """The model ended a response; `status` is that of the event."""

    def audio_dropped(self, speaker: Speaker, duration_ms: float) -> None:
        """So much of what this side said was thrown away, because the other side's socket was slow."""


class NoMeter:
    """Counts nothing."""

    def call_started(self) -> None:
        pass

    def call_ended(self, outcome: Outcome) -> None:
        pass

    def answered(self, latency: TurnLatency) -> None:
        pass

    def interrupted(self) -> None:
        pass

    def silenced(self, latency: InterruptionLatency) -> None:
        pass

    def response_done(self, status: str) -> None:
        pass

    def audio_dropped(self, speaker: Speaker, duration_ms: float) -> None:
        pass
