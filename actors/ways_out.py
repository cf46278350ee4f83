"""What becomes of a caller whom the assistant cannot talk to: the tables `[fallback]` and `[overflow]`.

Twilio carries all of it out by itself, so it works where nothing of ours does.
"""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from actors.table import PhoneNumber, Sentence, Table


class Fallback(Table):
    """When the assistant cannot be reached, and after a call that broke: `say`, then one way or none, `goodbye`."""

    say: Sentence = "We are sorry, our assistant cannot take your call right now."
    transfer_to: PhoneNumber | None = None
    transfer_seconds: int = Field(default=20, ge=5, le=600)
    """How long it rings there."""
    voicemail: bool = False
    """Whether the caller may leave a message, which Twilio records and keeps."""
    voicemail_seconds: int = Field(default=120, ge=5, le=3600)
    """How long a message may be."""
    voicemail_thanks: Sentence = "Thank you for your message. Goodbye."
    goodbye: str = Field(default="Please try again later. Goodbye.", max_length=1000)
    """After a transfer that nobody answered or a message that was not left, and where there is neither; may be
    empty."""

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if self.transfer_to is not None and self.voicemail:
            raise ValueError("transfer_to and voicemail exclude each other; leave one out")
        return self


class Overflow(Table):
    """When no further call is taken: `say` and a transfer, or a queue, or neither; then `goodbye`.

    Only callers for whom there is no room just now can wait for it. For one who has too many calls already, or on a
    day whose budget is spent, there is no queue.
    """

    say: Sentence = "We are sorry, all our lines are busy."
    transfer_to: PhoneNumber | None = None
    transfer_seconds: int = Field(default=20, ge=5, le=600)
    """How long it rings there."""
    queue_seconds: int | None = Field(default=None, ge=1, le=120)
    """After how long a waiting caller is tried again."""
    queue_rounds: int = Field(default=6, ge=1, le=50)
    """How often."""
    waiting: Sentence = "All our lines are busy at the moment. Please hold the line."
    """Said at the beginning of every round."""
    goodbye: str = Field(default="Please try again later. Goodbye.", max_length=1000)
    """After a transfer that nobody answered, and where there is none; may be empty."""

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if self.transfer_to is not None and self.queue_seconds is not None:
            raise ValueError("transfer_to and queue_seconds exclude each other; leave one out")
        return self


def _spelt_out(value: Any) -> Any:
    return {"say": value, "goodbye": ""} if isinstance(value, str) else value


FallbackOrSentence = Annotated[Fallback, BeforeValidator(_spelt_out)]
"""A fallback, or short for one: a sentence, after which Twilio hangs up."""
