"""The verbs and nouns of TwiML that the simulated phone network knows. `simulator.twiml` reads them from XML.

Source: Twilio, "TwiML for Programmable Voice"; the defaults are Twilio's. Durations are in seconds.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Play:
    """Either a `url` with audio or `digits` (DTMF keys, `w` for half a second of silence); the other is
    empty."""

    url: str = ""
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str = "rejected"


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: Method = "POST"


@dataclass(frozen=True, slots=True)
class StatusCallback:
    """Where events are reported: `url` as written, and which events."""

    url: str
    method: Method = "POST"
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conference:
    """A conference that a call joins. `wait_url` is read by nobody here: who waits hears silence."""

    name: str
    start_on_enter: bool = True
    end_on_exit: bool = False
    muted: bool = False
    label: str | None = None
    callback: StatusCallback | None = None


@dataclass(frozen=True, slots=True)
class Dial:
    """Calls `number`, or joins `conference`."""

    number: str = ""
    conference: Conference | None = None
    caller_id: str | None = None
    timeout: float = 30.0
    time_limit: float | None = None
    action: str | None = None
    method: Method = "POST"
    send_digits: str = ""
    callback: StatusCallback | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Records who is on the phone, until silence of `timeout`, a key, `max_length` or the end of the call."""

    action: str | None = None
    method: Method = "POST"
    timeout: float = 5.0
    finish_on_key: str = "1234567890*#"
    max_length: float = 3600.0
    beep: bool = True
    callback: StatusCallback | None = None


@dataclass(frozen=True, slots=True)
class Gather:
    """Collects keys while `prompt` plays and `timeout` longer, until `finish_on_key` or `digits` of them."""

    prompt: "tuple[Say | Play | Pause, ...]" = ()
    digits: int | None = None
    finish_on_key: str = "#"
    timeout: float = 5.0
    action: str | None = None
    method: Method = "POST"
    on_empty: bool = False
    """Whether `action` is asked for as well when no key was pressed."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A bidirectional media stream. `url` is as written in the document; `stream_url` checks and
    resolves it."""

    url: str
    name: str | None = None
    track: str = "inbound_track"
    parameters: dict[str, str] = field(default_factory=dict)
    status_callback: str | None = None
    status_method: Method = "POST"


@dataclass(frozen=True, slots=True)
class Connect:
    stream: Stream
    action: str | None = None
    method: Method = "POST"


Verb: TypeAlias = Say | Play | Pause | Hangup | Reject | Redirect | Dial | Record | Gather | Connect
