"""Every message in a call: who tells it to whom, and which lane of the mailbox it takes.

Facts are nouns or past tense, orders are imperative. Messages in the audio lane keep their order among each other
and may be dropped when a peer stalls; all others are control: they overtake audio and are never dropped.
"""

import enum
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pykka import ActorRef

from wire.latency import SpeechEdge
from wire.playback import Heard, Part
from wire.transcript import Entry


class Floor(enum.Enum):
    """Whose turn it is."""

    CALLER = "caller"
    """The caller speaks."""
    ASSISTANT = "assistant"
    """A reply is due, or being given."""
    NOBODY = "nobody"
    """The reply is complete, though it may not have been heard yet."""


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
    position_ms: float = field(default=0.0, compare=False)
    """where in the stream it begins, by Twilio's timestamps"""
    loud: bool = field(default=False, compare=False)
    """what `wire.loudness` says of it: the reader has it decoded"""


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
class Queued(Audio):
    """TwilioActor → listeners: this went to the phone, to be played behind what was queued before."""

    payload: str
    """base64 of mu-law"""
    mark: str
    """which stands behind it"""
    generation: int
    """how many clears there had been"""
    offset_ms: float
    """how much had been queued since the last of them"""
    sent_at: float
    """seconds of the monotonic clock"""


@dataclass(frozen=True, slots=True)
class Played(Audio):
    """TwilioActor → listeners: the phone has played what stands before this mark. Has no length, but its place."""

    mark: str
    position_ms: float
    """of the caller's audio at that moment, by Twilio's timestamps"""
    echoed_at: float
    """seconds of the monotonic clock"""


@dataclass(frozen=True, slots=True)
class Cleared(Audio):
    """TwilioActor → listeners: of what is queued only the beginning will be played. Has its place, as `Played`."""

    generation: int
    """of the audio that is cleared"""
    heard_ms: float
    """how much will have been played of what was queued since the clear before"""


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Anyone → CallActor → RecorderActor: record from now on, or go on after a pause."""

    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """Anyone → CallActor → RecorderActor: silence in place of both voices, from now on; the time goes on."""

    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Anyone → CallActor → RecorderActor: the recording ends here."""

    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class RecordingBegan:
    """RecorderActor → CallActor: there is a recording of this stream."""

    path: str
    began_at: float
    """its time 0, in seconds of the monotonic clock"""


@dataclass(frozen=True, slots=True)
class TranscriptBegan:
    """TranscriptActor → CallActor: what is said on this stream is written down there; other suffixes beside it."""

    path: str


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """RecorderActor → CallActor: the recording cannot go on; what was written of it is good."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class AssistantAudioReceived:
    """Model's reader → CallActor: no more audio of this part will come, and so much of it came."""

    part: Part
    duration_ms: int


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
    position_ms: float = field(default=0.0, compare=False)
    """where in the stream the caller's audio ends that came before it, by Twilio's timestamps"""
    echoed_at: float = field(default=0.0, compare=False)
    """seconds of the monotonic clock: when the reader had it"""


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """Phone's reader → CallActor: the caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """Phone's reader → CallActor: Twilio ended the stream, or its socket is gone."""

    reason: str
    by_twilio: bool = False
    """it said so: the caller has hung up, or the call was redirected; else it may ask again"""


@dataclass(frozen=True, slots=True)
class SocketLost:
    """Model's reader → OpenAIActor: the socket ended, or what came over it cannot be understood."""

    reason: str
    permanent: bool = False
    """it would be the same another time"""


@dataclass(frozen=True, slots=True)
class SessionReady:
    """OpenAIActor → CallActor: the session is configured and verified, and waits for `Begin`."""

    model: ActorRef[Any]
    expires_at: float | None = None
    """when the server ends it, in seconds since 1970; None where it does not say"""


@dataclass(frozen=True, slots=True)
class FloorChanged:
    """OpenAIActor → CallActor: whose turn it is, as far as the session knows."""

    floor: Floor
    model: ActorRef[Any] | None = None
    """whose session it is"""


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """OpenAIActor → CallActor: the caller interrupts, or has said something. A cough need be neither (`Gating`)."""

    model: ActorRef[Any] | None = None
    """whose session it is"""


@dataclass(frozen=True, slots=True)
class SpeechUnnoticed:
    """OpenAIActor → CallActor: the caller has spoken and stopped, and the session has said nothing of it."""

    seconds_ago: float
    """since the caller's turn should have been over"""
    model: ActorRef[Any] | None = None
    """whose session it is"""


@dataclass(frozen=True, slots=True)
class Playback:
    """TwilioActor → CallActor and OpenAIActor: whether something is left for the caller to hear, and whose it is."""

    assistant: bool
    sound: bool
    """one of our own: a filler, an apology"""


@dataclass(frozen=True, slots=True)
class HeardSoFar:
    """TwilioActor → CallActor: how far the caller has come in what the assistant says, confirmed by a mark."""

    heard: Heard
    to_the_end: bool


@dataclass(frozen=True, slots=True)
class PlaySound:
    """CallActor → TwilioActor: play a sound of ours behind what is queued. It is not of the conversation."""

    name: str
    ulaw: bytes


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """ToolRunner → CallActor: the answer to one call of a function, whatever became of it; exactly one for each."""

    call_id: str
    name: str
    output: str
    """JSON for the model"""
    failed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """CallActor → OpenAIActor: tell the model what a function returned."""

    call_id: str
    output: str
    last: bool
    """no other call waits for its output"""
    respond: bool = True
    """with the last one a response is owed"""


@dataclass(frozen=True, slots=True)
class Respond:
    """CallActor → OpenAIActor: have the assistant say something, as soon as it may."""

    instructions: str | None
    """in place of the session's; None: the session's"""
    must: bool = False
    """also where the caller has spoken meanwhile and was answered"""


@dataclass(frozen=True, slots=True)
class Said:
    """OpenAIActor → CallActor: what a `Respond` must have said has been, or was cut short by the caller."""

    instructions: str | None
    """the message's; said as often as it was told until now"""
    model: ActorRef[Any] | None = None
    """in whose session"""


@dataclass(frozen=True, slots=True)
class Begin:
    """CallActor → OpenAIActor: the session that is ready takes the conversation over, and the caller's audio."""

    history: tuple[Entry, ...] = ()
    """what has been said before"""
    owed: tuple[str | None, ...] = ()
    """a response for each: its instructions, or None for the session's; a greeting, or what was left unsaid"""
    injected: tuple[str, ...] = ()
    """what else the session has to know"""
    playing: Entry | None = None
    """the kept greeting, which the phone still plays: it counts as said, until `HeardLess`"""


@dataclass(frozen=True, slots=True)
class Remember:
    """CallActor → OpenAIActor: what was said since this session was told of the conversation."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class HeardLess:
    """CallActor → OpenAIActor: the kept greeting was cut off, and this is what the caller has heard of it."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class CheckAlive:
    """CallActor → OpenAIActor: see whether the server still answers; the session is lost if it does not."""


@dataclass(frozen=True, slots=True)
class Open:
    """A member → itself, first of all: start working. A failure here is an ordinary failure."""


@dataclass(frozen=True, slots=True)
class Attach:
    """CallActor → TwilioActor: the session that is told from now on what the caller has heard. None: none is."""

    model: ActorRef[Any] | None


@dataclass(frozen=True, slots=True)
class CallEnded:
    """CallActor → listeners: nothing more will be told. Last of all."""

    outcome: str = ""
    reason: str = ""
    goes_on: bool = False
    """on another stream, perhaps in another process"""
    seconds: float = 0.0
    """since the call was answered, on all of its streams"""
    cost: float | None = None
    """of all of them, in the currency of the prices; None: there are no prices"""


@dataclass(frozen=True, slots=True)
class Exited:
    """A member → its parent, exactly once: it has closed everything it owned."""

    member: ActorRef[Any]
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Drain:
    """Web → CallActor: this process ends. Hand the call over at the next pause, or `now`."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """Anyone → CallActor: end the call."""

    reason: str
    goodbye: bool = False
    """not before the assistant has said goodbye, and the caller has heard it"""
    said: bool = False
    """the assistant has just said it, if it has said anything since the caller has"""


@dataclass(frozen=True, slots=True)
class Say:
    """Anyone → CallActor: have the assistant say this, word for word, as soon as it may."""

    text: str


@dataclass(frozen=True, slots=True)
class Inject:
    """Anyone → CallActor → OpenAIActor: let the model know something that neither of the two has said."""

    text: str
    respond: bool = False
    """the assistant says something about it, as soon as it may"""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Anyone → CallActor: connect the caller with somebody, who has to be on the assistant's list."""

    to: str
    """a name on that list, or its number"""
    summary: str = ""
    """told to that person in a warm transfer"""


@dataclass(frozen=True, slots=True)
class Watch:
    """Anyone → CallActor → WatcherActor: somebody looks, for the next few seconds. To be told again and again."""

    listen: bool = False
    """and listens, too"""


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Anyone → CallActor: press keys: 0 to 9, *, #, w for half a second, W for a second. The call leaves its stream
    for that and comes back on another."""

    digits: str


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """Web → CallActor: who has answered a call that we placed, as Twilio's AnsweredBy has it."""

    verdict: str


@dataclass(frozen=True, slots=True)
class CollectDigits:
    """A tool → CallActor: have the caller enter a number by keys."""

    what: str
    """a name among the assistant's numbers"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A tool → CallActor: an order for whose outcome the tool waits."""

    order: Transfer | SendDigits | CollectDigits
    reply: Future[str] = field(compare=False)
    """gets what the model is told, or the exception with it"""


@dataclass(frozen=True, slots=True)
class ConsultPlaced:
    """The thread that called → CallActor: the person who is to take the call is being called."""

    room: str
    """which consultation it is; it is where the two are to meet"""
    leg_sid: str


@dataclass(frozen=True, slots=True)
class ConsultAccepted:
    """Web → CallActor: that person has been told of the caller, takes the call, and waits in the room."""

    room: str
    leg_sid: str


@dataclass(frozen=True, slots=True)
class ConsultEnded:
    """Web, or the thread that called → CallActor: the call to that person is over, or was not to be had."""

    room: str
    status: str
    """busy, failed, no-answer, canceled or completed; or why it could not be placed"""


@dataclass(frozen=True, slots=True)
class KeysPressed:
    """CallActor → OpenAIActor: the caller has entered something by keys, which is answered as if it were said."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class StopTalking:
    """CallActor → OpenAIActor: the assistant is not to be heard any more, as when the caller interrupts."""

    deaf: bool = False
    """and from here on hears nothing, and says only what it is told to"""
    instead: Respond | None = None
    """What that is to begin with. Told apart from it, there would be a moment in which nobody's turn it is."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Clock → whoever asked for it: what should have happened by now has not."""

    SESSION_READY: ClassVar[str] = "session ready"
    MODEL_CLOSED: ClassVar[str] = "model closed"
    PHONE_CLOSED: ClassVar[str] = "phone closed"
    RETRY_MODEL: ClassVar[str] = "retry model"
    RESTART_LISTENER: ClassVar[str] = "restart listener"
    ROLL_OVER: ClassVar[str] = "roll over"
    SILENCE: ClassVar[str] = "silence"
    LIMIT: ClassVar[str] = "limit"
    CALLER_SILENCE: ClassVar[str] = "caller silence"
    DIGITS: ClassVar[str] = "digits"
    UNMUTE: ClassVar[str] = "unmute"
    CONSULT: ClassVar[str] = "consult"
    GOODBYE: ClassVar[str] = "goodbye"
    TURN: ClassVar[str] = "turn"
    GATE: ClassVar[str] = "gate"
    ALIVE: ClassVar[str] = "alive"
    DEAF: ClassVar[str] = "deaf"

    what: str
    about: object = None
    """which one, where there may be several"""
