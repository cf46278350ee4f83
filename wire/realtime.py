"""The Realtime API's events, parsed and encoded: what the server says and what we may say to it.

GA names throughout; the beta names of the same events are understood on input, because a server that uses
them says nothing that could be mistaken for GA. What differs on output stands in `wire.dialect`.
Source: OpenAI, Realtime API reference (GA), and the event types of its Python SDK 3.54.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from wire.g711 import BYTES_PER_MS
from wire.protocol import audio_length, parse_object
from wire.protocol import field as required


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The key was accepted and a session exists, with the server's defaults and not yet with ours."""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The configuration is in effect."""

    input_format: str
    output_format: str
    """`audio/pcmu` or, in the beta's words, `g711_ulaw`; empty where the server does not say"""


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """Some of the assistant's voice, faster than real time."""

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
    audio_tokens: int = 0
    """what the response's audio is billed as; 0 where the server does not say"""


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
    | ResponseCreated
    | ResponseDone
    | Error
    | Other
)


def parse(text: str | bytes) -> Event:
    """One server event. Raises ProtocolError for binary frames, bad JSON, missing fields and bad base64."""
    event = parse_object(text)
    kind = required(event, "type", str)
    match kind:
        case "response.output_audio.delta" | "response.audio.delta":
            payload = required(event, "delta", str)
            return AudioDelta(*_part(event), payload, audio_length(payload) / BYTES_PER_MS)
        case "response.output_audio.done" | "response.audio.done":
            return AudioDone(*_part(event))
        case "input_audio_buffer.speech_started":
            return SpeechStarted(required(event, "audio_start_ms", int), required(event, "item_id", str))
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped(required(event, "audio_end_ms", int), required(event, "item_id", str))
        case "input_audio_buffer.committed":
            return AudioCommitted(required(event, "item_id", str), _previous_item_id(event))
        case "conversation.item.added" | "conversation.item.created":
            return _item_added(required(event, "item", dict), _previous_item_id(event))
        case "response.created":
            return ResponseCreated(required(required(event, "response", dict), "id", str))
        case "response.done":
            return _response_done(required(event, "response", dict))
        case "response.output_audio_transcript.done" | "response.audio_transcript.done":
            _, item_id, content_index = _part(event)
            return AssistantTranscript(item_id, content_index, required(event, "transcript", str))
        case "conversation.item.input_audio_transcription.completed":
            return CallerTranscript(required(event, "item_id", str), required(event, "transcript", str))
        case "conversation.item.input_audio_transcription.failed":
            return CallerTranscript(required(event, "item_id", str), None)
        case "session.created":
            return SessionCreated()
        case "session.updated":
            return _session_updated(required(event, "session", dict))
        case "error":
            return _error(required(event, "error", dict))
        case _:
            return Other(kind, event)


def _part(event: dict[str, Any]) -> tuple[str, str, int]:
    return (
        required(event, "response_id", str),
        required(event, "item_id", str),
        required(event, "content_index", int),
    )


def _previous_item_id(event: dict[str, Any]) -> str | None:
    previous = event.get("previous_item_id")
    return previous if isinstance(previous, str) and previous else None


def _item_added(item: dict[str, Any], previous_item_id: str | None) -> ItemAdded:
    return ItemAdded(
        item_id=required(item, "id", str),
        previous_item_id=previous_item_id,
        role=str(item.get("role") or ""),
        kind=required(item, "type", str),
    )


def _response_done(response: dict[str, Any]) -> ResponseDone:
    details = found if isinstance(found := response.get("status_details"), dict) else {}
    error = details.get("error")
    return ResponseDone(
        response_id=required(response, "id", str),
        status=required(response, "status", str),
        reason=str(details.get("reason") or ""),
        error=_error(error) if isinstance(error, dict) else None,
        audio_tokens=_audio_tokens(response.get("usage")),
    )


def _audio_tokens(usage: object) -> int:
    details = usage.get("output_token_details") if isinstance(usage, dict) else None
    tokens = details.get("audio_tokens") if isinstance(details, dict) else None
    return tokens if isinstance(tokens, int) else 0


def _session_updated(session: dict[str, Any]) -> SessionUpdated:
    audio = session.get("audio")
    if not isinstance(audio, dict):
        return SessionUpdated(
            str(session.get("input_audio_format") or ""), str(session.get("output_audio_format") or "")
        )
    return SessionUpdated(_format(audio.get("input")), _format(audio.get("output")))


def _format(direction: object) -> str:
    audio_format = direction.get("format") if isinstance(direction, dict) else None
    return str(audio_format.get("type") or "") if isinstance(audio_format, dict) else ""


def _error(error: dict[str, Any]) -> Error:
    return Error(
        kind=str(error.get("type") or ""),
        code=str(error.get("code") or ""),
        message=str(error.get("message") or ""),
        event_id=str(error.get("event_id") or ""),
    )


def append_audio(payload: str) -> str:
    """Caller audio. `payload` is base64 that `audio_length` has checked; it is not copied or re-encoded."""
    return f'{{"type":"input_audio_buffer.append","audio":"{payload}"}}'


def create_response(instructions: str | None = None) -> str:
    """Ask for a response. Instructions replace the session's for this response; they do not add to them."""
    event: dict[str, Any] = {"type": "response.create"}
    if instructions is not None:
        event["response"] = {"instructions": instructions}
    return _encode(event)


def truncate_item(item_id: str, content_index: int, audio_end_ms: int) -> str:
    """Tell the model how much of an item was heard. Never more than was received: that is refused."""
    return _encode(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": content_index,
            "audio_end_ms": audio_end_ms,
        }
    )


def delete_item(item_id: str) -> str:
    """Take an item that nobody heard out of the model's memory."""
    return _encode({"type": "conversation.item.delete", "item_id": item_id})


def _encode(event: Mapping[str, Any]) -> str:
    return orjson.dumps(event).decode()
