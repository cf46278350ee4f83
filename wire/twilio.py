"""Twilio Media Streams: the messages of one bidirectional stream, parsed and encoded.

Every number in a message from Twilio is a JSON string, except `sampleRate` and `channels`. Twilio may add
fields and events at any time: unknown fields are ignored, unknown events become `Unknown`.
Source: Twilio, "Media Streams - WebSocket Messages".
"""

from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from wire.protocol import ProtocolError, decode_audio, field, parse_object


@dataclass(frozen=True, slots=True)
class Connected:
    """First message of the socket. It names no stream, so nothing can be sent before `Start`."""


@dataclass(frozen=True, slots=True)
class Start:
    """The stream's identity; sent once."""

    stream_sid: str
    call_sid: str
    account_sid: str
    encoding: str
    sample_rate: int
    """Hz"""
    channels: int
    parameters: dict[str, str]
    """From TwiML's `<Parameter>`; untrusted until the stream token among them is checked."""


class Media(NamedTuple):
    """Caller audio: 20 ms in practice, which Twilio does not promise.

    A tuple, because one is made for every frame: a frozen dataclass takes three times as long.
    """

    payload: str
    """base64 of mu-law at 8000 Hz, checked to be nothing else"""
    ulaw: bytes
    """the same, decoded"""
    timestamp_ms: int
    """since the stream started"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of ours came back: played, or thrown out by a clear. The wire does not say which."""

    name: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed one key."""

    digit: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream is over: the caller hung up or the call went to other TwiML; the wire does not say which."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event this module does not know; to be counted and ignored."""

    event: str


Message = Connected | Start | Media | Mark | Dtmf | Stop | Unknown


def parse(text: str | bytes, stream_sid: str | None = None) -> Message:
    """One message from Twilio.

    With `stream_sid`, a message that names another stream is refused. Raises ProtocolError for binary frames,
    bad JSON, missing or mistyped fields and audio that is not base64.
    """
    message = parse_object(text)
    event = message.get("event")
    if type(event) is not str:
        event = field(message, "event", str)  # says what is wrong
    if stream_sid is not None and message.get("streamSid", stream_sid) != stream_sid:
        raise ProtocolError(f"event {event[:40]!r} of another stream than this socket's")
    if event == "media":  # 49 of 50
        media = message.get("media")
        return _media(media if type(media) is dict else field(message, "media", dict))
    match event:
        case "mark":
            return Mark(field(field(message, "mark", dict), "name", str))
        case "dtmf":
            return Dtmf(field(field(message, "dtmf", dict), "digit", str))
        case "connected":
            return Connected()
        case "start":
            return _start(message)
        case "stop":
            return Stop()
        case _:
            return Unknown(event[:40])


def _media(media: dict[str, Any]) -> Media:
    payload, timestamp = media.get("payload"), media.get("timestamp")
    if type(payload) is str and type(timestamp) is str:
        try:
            # At once, because this is done 50 times a second for every call; what is wrong, is said below.
            return Media(payload, a2b_base64(payload, strict_mode=True), int(timestamp))
        except ValueError:
            pass
    payload = field(media, "payload", str)
    return Media(payload, decode_audio(payload), _number(media, "timestamp"))


def _start(message: dict[str, Any]) -> Start:
    start = field(message, "start", dict)
    media_format = field(start, "mediaFormat", dict)
    parameters = start.get("customParameters") or {}
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise ProtocolError("field 'customParameters' must be an object of strings")
    return Start(
        stream_sid=field(start, "streamSid", str),
        call_sid=field(start, "callSid", str),
        account_sid=field(start, "accountSid", str),
        encoding=field(media_format, "encoding", str),
        sample_rate=field(media_format, "sampleRate", int),
        channels=field(media_format, "channels", int),
        parameters=parameters,
    )


def _number(message: dict[str, Any], name: str) -> int:
    try:
        return int(field(message, name, str))
    except ValueError:
        raise ProtocolError(f"field {name!r} must be a number in a string") from None


class StreamEncoder:
    """Encodes what may be sent to one stream: media, mark, clear. There are no other messages.

    The text is put together from constants around the stream's SID, because this is the audio path and base64
    needs no escaping.
    """

    def __init__(self, stream_sid: str) -> None:
        sid = orjson.dumps(stream_sid).decode()
        self._media_head = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{sid}}}'

    def media(self, payload: str) -> str:
        """Audio for the caller. `payload` is base64 that `decode_audio` has checked."""
        return f'{self._media_head}{payload}"}}}}'

    def mark(self, name: str) -> str:
        """A mark, echoed when all audio before it has been played or cleared. Names must be unique."""
        return f"{self._mark_head}{orjson.dumps(name).decode()}}}}}"

    def clear(self) -> str:
        """Throw away what has not been played; Twilio then echoes every pending mark."""
        return self._clear
