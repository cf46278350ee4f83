"""What happens in a simulated call, as told to `on_event` and kept in the call's result.

`at` is when it happened, in seconds since `dial`, at the phone: with a latency set, a clear is at the
time when it took effect on the line, not when the server sent it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ClosedBy = Literal["phone", "server", "network"]
"""`network` is a connection that ended without a close frame."""

EndReason = Literal[
    "caller", "completed", "hangup", "reject", "dial", "end", "error", "unanswered", "canceled", "parent"
]
"""Who or what ended the call: whoever is at this phone hung up; a REST update with Status=completed; the TwiML verbs
Hangup, Reject and, without a network, Dial (the caller talks to somebody else from there on); a document without a
further verb; an error that leaves Twilio with nothing to do. Of a phone that was called also: nobody answered; it was
no longer wanted while it rang; the call that had dialled it ended, or went on to its next verb."""


@dataclass(frozen=True, slots=True)
class WebhookAnswered:
    """An HTTP request for TwiML was answered: the voice webhook, a Redirect or an action."""

    at: float
    url: str
    status: int
    body: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The media socket is open and `connected` and `start` are on their way."""

    at: float
    stream_sid: str
    url: str


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The media socket has ended. `code` is the close code, 1006 where there was no close frame."""

    at: float
    stream_sid: str
    code: int
    by: ClosedBy


@dataclass(frozen=True, slots=True)
class AssistantAudible:
    """The first audible sample on the line after it was silent."""

    at: float


@dataclass(frozen=True, slots=True)
class AssistantSilent:
    """The end of the last audible sample. Told only once the pause is too long to be one between two
    words."""

    at: float


@dataclass(frozen=True, slots=True)
class CallerSpeechStarted:
    """The first audible sample of an utterance."""

    at: float
    utterance: int


@dataclass(frozen=True, slots=True)
class CallerSpeechEnded:
    """The end of the last audible sample of an utterance."""

    at: float
    utterance: int


@dataclass(frozen=True, slots=True)
class MarkEchoed:
    """A mark was played, or swept out by a clear."""

    at: float
    name: str
    by: Literal["play", "clear"]


@dataclass(frozen=True, slots=True)
class Cleared:
    """A clear took effect: `ms_dropped` of audio will not be heard."""

    at: float
    ms_dropped: float


@dataclass(frozen=True, slots=True)
class DigitPressed:
    at: float
    digit: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """A Say began."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Played:
    """A Play began; what was played is a URL or digits."""

    at: float
    what: str


@dataclass(frozen=True, slots=True)
class Dialed:
    at: float
    number: str


@dataclass(frozen=True, slots=True)
class DigitHeard:
    """A DTMF tone was heard on the line."""

    at: float
    digit: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A phone that was called picked up."""

    at: float


@dataclass(frozen=True, slots=True)
class Joined:
    """From here on the line hears others: a conference by its name, or the other end of a Dial by its number."""

    at: float
    room: str


@dataclass(frozen=True, slots=True)
class Left:
    at: float
    room: str


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """What Twilio would write to its debugger. Twilio logs 31950, 31951 once a stream; here every one
    is told."""

    at: float
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    at: float
    reason: EndReason


PhoneEvent: TypeAlias = (
    WebhookAnswered
    | StreamOpened
    | StreamClosed
    | AssistantAudible
    | AssistantSilent
    | CallerSpeechStarted
    | CallerSpeechEnded
    | MarkEchoed
    | Cleared
    | DigitPressed
    | Spoke
    | Played
    | Dialed
    | DigitHeard
    | Answered
    | Joined
    | Left
    | ProtocolError
    | CallEnded
)
