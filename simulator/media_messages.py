"""The messages of a media stream from Twilio's end: writes Twilio's, reads the server's strictly.

Source: Twilio, "Media Streams - WebSocket Messages" and the error pages 31950 and 31951. Twilio writes
every number as a string but the sample rate and the channels. It takes exactly `media`, `mark` and
`clear` with exactly their fields and this stream's streamSid; whatever else comes is dropped with a
warning. Pure; any thread.
"""

import binascii
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from wire.g711 import FRAME_BYTES, ULAW_SILENCE

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'

SILENT_FRAME = ULAW_SILENCE * FRAME_BYTES
_SILENT_PAYLOAD = binascii.b2a_base64(SILENT_FRAME, newline=False).decode()


class Writer:
    """Writes one stream's messages and counts them. `connected` has no number: `CONNECTED`."""

    def __init__(self, account_sid: str, call_sid: str, stream_sid: str) -> None:
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._stream_sid = stream_sid
        self._sequence = 0
        self._chunk = 0
        self._tail = f'"}},"streamSid":"{stream_sid}"}}'

    def start(self, parameters: dict[str, str]) -> str:
        return self._message(
            "start",
            {
                "accountSid": self._account_sid,
                "streamSid": self._stream_sid,
                "callSid": self._call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            },
        )

    def media(self, frame: bytes, timestamp_ms: int) -> str:
        """`frame` is mu-law, `timestamp_ms` counts from the start of the stream."""
        # Put together by hand, because it is done 50 times a second for every call.
        self._sequence += 1
        self._chunk += 1
        silent = frame is SILENT_FRAME
        payload = _SILENT_PAYLOAD if silent else binascii.b2a_base64(frame, newline=False).decode()
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{timestamp_ms}","payload":"{payload}{self._tail}'
        )

    def dtmf(self, digit: str) -> str:
        return self._message("dtmf", {"track": "inbound_track", "digit": digit})

    def mark(self, name: str) -> str:
        return self._message("mark", {"name": name})

    def stop(self) -> str:
        return self._message("stop", {"accountSid": self._account_sid, "callSid": self._call_sid})

    def _message(self, event: str, body: dict[str, object]) -> str:
        self._sequence += 1
        return orjson.dumps(
            {
                "event": event,
                "sequenceNumber": str(self._sequence),
                event: body,
                "streamSid": self._stream_sid,
            }
        ).decode()


@dataclass(frozen=True, slots=True)
class Media:
    audio: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    pass


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that Twilio drops with warning `code`."""

    code: int
    message: str


FromServer: TypeAlias = Media | Mark | Clear | Invalid


def read(message: str | bytes, stream_sid: str) -> FromServer:
    """What the server's `message` (a text frame as str, a binary one as bytes) means to the stream
    `stream_sid`."""
    if isinstance(message, bytes):
        return Invalid(31950, f"a binary frame of {len(message)} bytes; messages are JSON in text frames")
    try:
        fields = orjson.loads(message)
    except orjson.JSONDecodeError as problem:
        return Invalid(31951, f"not JSON ({problem}): {message[:120]!r}")
    match fields:
        case {"event": "media", "streamSid": sid, "media": {"payload": str(payload)} as body} if (
            len(fields) == 3 and len(body) == 1
        ):
            try:
                understood: FromServer = Media(binascii.a2b_base64(payload, strict_mode=True))
            except ValueError as problem:  # binascii.Error, or characters beyond ASCII
                return Invalid(31951, f"the payload is not base64 ({problem}): {message[:120]!r}")
        case {"event": "mark", "streamSid": sid, "mark": {"name": str(name)} as body} if (
            name and len(fields) == 3 and len(body) == 1
        ):
            understood = Mark(name)
        case {"event": "clear", "streamSid": sid} if len(fields) == 2:
            understood = Clear()
        case _:
            return Invalid(31951, f"not media, mark or clear with exactly their fields: {message[:160]!r}")
    if sid != stream_sid:
        return Invalid(31951, f"the streamSid is {sid!r}, not this stream's {stream_sid!r}")
    return understood
