"""The Realtime API's server events: what the server says. `wire.realtime_parser` makes them of its frames.

What we say to it stands in `wire.client_events`.

GA names throughout.
Source: OpenAI, Realtime API reference (GA), and the event types of its Python SDK 3.54.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The key was accepted and a session exists, with the server's defaults and not yet with ours."""

    expires_at: float | None = None
    """when the server ends it, in seconds since 1970; None where the server does not say"""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The configuration is in effect."""

    input_format: str
    output_format: str
    """`audio/pcmu` or, in the beta's words, `g711_ulaw`; empty where the server does not say"""


class AudioDelta(NamedTuple):
    """Some of the assistant's voice, faster than real time. A tuple, as `wire.twilio.Media` is."""

    response_id: str
    item_id: str
    content_index: int
    payload: str
    """base64, checked to be nothing else"""
    duration_ms: float
    """at 8 bytes a ms, so meaningful for G.711 only"""


@dataclass(frozen=True, slots=True)
class AudioDone:
    """All audio of one content part has been sent (which is long before it has been heard)."""

    response_id: str
    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The server's voice activity detection hears the caller."""

    audio_start_ms: int
    """on the clock of appended audio, prefix padding included"""
    item_id: str


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller's turn is over, `silence_duration_ms` ago."""

    audio_end_ms: int
    item_id: str


@dataclass(frozen=True, slots=True)
class AudioCommitted:
    """What the caller said in a turn has become an item of the conversation."""

    item_id: str
    previous_item_id: str | None
    """None: it is the first, or the server does not say"""


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item is in the conversation, the caller's, the assistant's or another; its content may be still to come."""

    item_id: str
    previous_item_id: str | None
    """None: it is the first, or the server does not say"""
    role: str
    """user, assistant or system; empty for what is no message"""
    kind: str
    """message, function_call, function_call_output or one of MCP's"""


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """What the caller said; comes any time after the turn, or never. None: the transcription failed."""

    item_id: str
    text: str | None


@dataclass(frozen=True, slots=True)
class AssistantTranscript:
    """The whole text of one spoken content part, whether or not the caller hears it to its end."""

    item_id: str
    content_index: int
    text: str


@dataclass(frozen=True, slots=True)
class AssistantTranscriptDelta:
    """Some more text of one spoken content part, ahead of its voice."""

    item_id: str
    content_index: int
    text: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The model calls a function, with arguments that are complete. It waits for an output in any case."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    """JSON as the model wrote it: not checked"""


@dataclass(frozen=True, slots=True)
class McpCall:
    """The model calls a tool of an MCP server, which the server does; what follows has to be asked for."""

    response_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class McpCallEnded:
    """Such a call has a result, or has failed; the model knows. It may come after the end of the response."""

    item_id: str


@dataclass(frozen=True, slots=True)
class McpFailed:
    """Something of an MCP server's does not work. Says no more than the log may show."""

    text: str


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """An item is not in the conversation any more."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    """A response is being generated: asked for by us, or by the server's turn detection."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """Generation ended; playback goes on for as long as audio is queued at the phone."""

    response_id: str
    status: str
    """completed, cancelled, failed or incomplete"""
    reason: str
    """turn_detected, client_cancelled, max_output_tokens, content_filter, or empty"""
    error: "Error | None"
    usage: "Usage" = field(default_factory=lambda: Usage())
    silent: bool = False
    """no audio of it has come; not in the event itself, whoever reads the audio says so"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a response is billed for, in tokens; 0 where the server does not say. Cached ones are not in `_in`."""

    text_in: int = 0
    text_cached: int = 0
    text_out: int = 0
    audio_in: int = 0
    audio_cached: int = 0
    audio_out: int = 0


@dataclass(frozen=True, slots=True)
class Error:
    """The server refused something, or a response failed. Most errors leave the session open."""

    kind: str
    code: str
    """empty where the server sends null"""
    message: str
    event_id: str = ""
    """of the client event that caused it, where the server says so"""

    def __str__(self) -> str:
        return f"{self.code or self.kind or 'error'}: {self.message}"


@dataclass(frozen=True, slots=True)
class Other:
    """An event that asks nothing of a telephone bridge, or one that did not exist when this was written."""

    type: str
    content: Mapping[str, Any] = field(repr=False)


Event = (
    SessionCreated
    | SessionUpdated
    | AudioDelta
    | AudioDone
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | ItemAdded
    | CallerTranscript
    | AssistantTranscript
    | AssistantTranscriptDelta
    | FunctionCall
    | McpCall
    | McpCallEnded
    | McpFailed
    | ItemDeleted
    | ResponseCreated
    | ResponseDone
    | Error
    | Other
)
