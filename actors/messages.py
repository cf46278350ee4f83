"""Every message in a call: who tells it to whom, and which lane of the mailbox it takes.

Facts are nouns or past tense, orders are imperative. Messages in the audio lane keep their order among each other
and may be dropped when a peer stalls; all others are control: they overtake audio and are never dropped.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pykka import ActorRef

from wire.latency import SpeechEdge
from wire.playback import Heard, Part


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio lane: what stands here may be dropped, oldest first, when its reader does not keep up."""

    duration_ms: float


@dataclass(frozen=True, slots=True)
class CallerAudio(Audio):
    """Phone's reader → OpenAIActor: what the caller says."""

    payload: str
    """base64 of mu-law, as Twilio sent it"""
    arrived_at: float = field(default=0.0, compare=False)
    """seconds of the monotonic clock: when the reader had it"""


@dataclass(frozen=True, slots=True)
class AssistantAudio(Audio):
    """Model's reader → TwilioActor: what the assistant says."""

    response_id: str
    part: Part
    payload: str
    """base64 of mu-law, as the model sent it"""
    received_at: float = field(default=0.0, compare=False)
    """seconds of the monotonic clock: when the reader had it"""


@dataclass(frozen=True, slots=True)
class AssistantAudioDone(Audio):
    """Model's reader → TwilioActor: no more audio of this part. In the audio lane to stay behind its audio."""

    part: Part


@dataclass(frozen=True, slots=True)
class Interrupt:
    """OpenAIActor → TwilioActor: the caller speaks; stop what is playing and what is still to come of it."""

    dead_responses: frozenset[str]
    """whose audio, wherever it still is on its way, must not be heard any more"""
    caller: SpeechEdge | None = field(default=None, compare=False)
    """the beginning of the speech that interrupts"""


@dataclass(frozen=True, slots=True)
class CutOff:
    """TwilioActor → OpenAIActor: what the caller had heard of the answers that an interruption cut off."""

    heard: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class MarkEchoed:
    """Phone's reader → TwilioActor: a mark came back, played or cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """Phone's reader → CallActor: the caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """Phone's reader → CallActor: Twilio ended the stream, or its socket is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class SocketLost:
    """Model's reader → OpenAIActor: the socket ended, or what came over it cannot be understood."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionReady:
    """OpenAIActor → CallActor: the session is configured, verified, and takes the caller's audio."""


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """OpenAIActor → CallActor: the caller's words, some time after they were spoken."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AssistantSaid:
    """OpenAIActor → CallActor: the assistant's words, which may have been cut off before they were heard."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Open:
    """A member → itself, first of all: start working. A failure here is an ordinary failure."""


@dataclass(frozen=True, slots=True)
class Attach:
    """CallActor → TwilioActor: the model that takes the caller's audio from now on."""

    model: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Exited:
    """A member → its parent, exactly once: it has closed everything it owned."""

    member: ActorRef[Any]
    error: Exception | None


@dataclass(frozen=True, slots=True)
class HangUp:
    """Anyone → CallActor: end the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Clock → whoever asked for it: what should have happened by now has not."""

    SESSION_READY: ClassVar[str] = "session ready"
    MODEL_CLOSED: ClassVar[str] = "model closed"
    PHONE_CLOSED: ClassVar[str] = "phone closed"
    TURN: ClassVar[str] = "turn"

    what: str
