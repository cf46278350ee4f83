"""From the frames of a Realtime server to its events.

The beta names of events are understood as well as those of GA, because a server that uses them says nothing that
could be mistaken for GA. Source: as in `wire.realtime`.
"""

from binascii import a2b_base64
from typing import Any

from wire.g711 import BYTES_PER_MS
from wire.protocol import decode_audio, parse_object
from wire.protocol import field as required
from wire.realtime import (
    AssistantTranscript,
    AssistantTranscriptDelta,
    AudioCommitted,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    Error,
    Event,
    FunctionCall,
    ItemAdded,
    ItemDeleted,
    McpCall,
    McpCallEnded,
    McpFailed,
    Other,
    ResponseCreated,
    ResponseDone,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Usage,
)

_AUDIO_DELTA_FIELDS = ("response_id", "item_id", "content_index", "delta")


def parse(text: str | bytes) -> Event:
    """One server event. Raises ProtocolError for binary frames, bad JSON, missing fields and bad base64."""
    event = parse_object(text)
    kind = required(event, "type", str)
    match kind:
        case "response.output_audio.delta" | "response.audio.delta":
            return _audio_delta(event)
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
        case "response.output_audio_transcript.delta" | "response.audio_transcript.delta":
            _, item_id, content_index = _part(event)
            return AssistantTranscriptDelta(item_id, content_index, required(event, "delta", str))
        case "response.output_item.done":
            return _output_item_done(kind, event)
        case "response.mcp_call_arguments.done":
            return McpCall(required(event, "response_id", str), required(event, "item_id", str))
        case "response.mcp_call.completed" | "response.mcp_call.failed":
            return McpCallEnded(required(event, "item_id", str))
        case "mcp_list_tools.failed":
            return McpFailed("a server's tools cannot be listed; see that the API can reach its url")
        case "conversation.item.deleted":
            return ItemDeleted(required(event, "item_id", str))
        case "conversation.item.input_audio_transcription.completed":
            return CallerTranscript(required(event, "item_id", str), required(event, "transcript", str))
        case "conversation.item.input_audio_transcription.failed":
            return CallerTranscript(required(event, "item_id", str), None)
        case "session.created":
            return _session_created(event.get("session"))
        case "session.updated":
            return _session_updated(required(event, "session", dict))
        case "error":
            return _error(required(event, "error", dict))
        case _:
            return Other(kind, event)


def _audio_delta(event: dict[str, Any]) -> AudioDelta:
    response_id, item_id, content_index, payload = map(event.get, _AUDIO_DELTA_FIELDS)
    if type(response_id) is type(item_id) is type(payload) is str and type(content_index) is int:
        try:
            # At once, because this is done 50 times a second for every call; what is wrong, is said below.
            duration_ms = len(a2b_base64(payload, strict_mode=True)) / BYTES_PER_MS
            return AudioDelta(response_id, item_id, content_index, payload, duration_ms)
        except ValueError:
            pass
    payload = required(event, "delta", str)
    return AudioDelta(*_part(event), payload, len(decode_audio(payload)) / BYTES_PER_MS)


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
        usage=_usage(response.get("usage")),
    )


def _usage(usage: object) -> Usage:
    came, went = _inner(usage, "input_token_details"), _inner(usage, "output_token_details")
    cached = _inner(came, "cached_tokens_details")
    text_cached, audio_cached = _tokens(cached, "text_tokens"), _tokens(cached, "audio_tokens")
    return Usage(
        text_in=max(_tokens(came, "text_tokens") - text_cached, 0),
        text_cached=text_cached,
        text_out=_tokens(went, "text_tokens"),
        audio_in=max(_tokens(came, "audio_tokens") - audio_cached, 0),
        audio_cached=audio_cached,
        audio_out=_tokens(went, "audio_tokens"),
    )


def _inner(holder: object, name: str) -> dict[str, Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def _tokens(details: dict[str, Any], name: str) -> int:
    tokens = details.get(name)
    return max(tokens, 0) if isinstance(tokens, int) else 0


def _output_item_done(kind: str, event: dict[str, Any]) -> Event:
    item = required(event, "item", dict)
    if item.get("type") == "mcp_call" and isinstance(error := item.get("error"), dict):
        tool, server = item.get("name"), item.get("server_label")
        # Without its message, which may repeat what the caller said.
        return McpFailed(f"{tool} of {server} failed: {error.get('type')} {error.get('code') or ''}".rstrip())
    # `function_call_arguments.done` comes of interrupted calls too, with half of their JSON; this tells them apart.
    if item.get("type") != "function_call" or item.get("status", "completed") != "completed":
        return Other(kind, event)
    return FunctionCall(
        response_id=required(event, "response_id", str),
        item_id=required(item, "id", str),
        call_id=required(item, "call_id", str),
        name=required(item, "name", str),
        arguments=required(item, "arguments", str),
    )


def _session_created(session: object) -> SessionCreated:
    expires_at = session.get("expires_at") if isinstance(session, dict) else None
    return SessionCreated(float(expires_at) if isinstance(expires_at, int | float) else None)


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
