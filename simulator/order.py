"""What is asked of the network when a call is placed, by REST or by a Dial. Durations are in seconds."""

from dataclasses import dataclass

from simulator.bridge import Room
from simulator.callee import DetectionMode
from simulator.document import Document
from simulator.twiml_verbs import Redirect, StatusCallback


@dataclass(frozen=True, slots=True)
class Detection:
    """Answering-machine detection. Without `callback` it is synchronous: the TwiML waits for the verdict."""

    mode: DetectionMode
    timeout_s: float = 30.0
    callback: StatusCallback | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A call to place. It runs `document`, or what `redirect` answers, or talks in `room` to who dialled it."""

    to: str
    caller_id: str
    document: Document | None = None
    redirect: Redirect | None = None
    room: Room | None = None
    parent_sid: str | None = None
    timeout_s: float = 60.0
    time_limit_s: float | None = None
    send_digits: str = ""
    detection: Detection | None = None
    callback: StatusCallback | None = None
    fallback_url: str | None = None
