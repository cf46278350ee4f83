"""What the tests of a call's upper half share: its setup, a journal that remembers, and what a server says."""

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from actors.call_context import CallContext
from actors.endpoints import Endpoint, Endpoints
from actors.model_socket import ModelSocket
from actors.setup import CallSetup
from actors.sound import Sounds
from actors.twilio import MediaSocket
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket
from wire import realtime
from wire.dialect import OPENAI, Session
from wire.journal import CallRecord, NoJournal, Scalar, Then
from wire.playback import Heard, Part
from wire.transcript import Entry

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
RECORD = CallRecord("CA1", STREAM, "+4930111", "+4930222", "test", "1")
INSTRUCTIONS = "Be brief."
GREETING = 'Say "hello".'
VAD = {"type": "server_vad", "create_response": True, "interrupt_response": True}
SESSION = Session(INSTRUCTIONS, "marin", VAD)
FILLER, APOLOGY = b"\x01" * 800, b"\x02" * 1600


class KeptJournal(NoJournal):
    """Remembers what it is told. `order` may be shared with the fakes where a test is about their order."""

    def __init__(self, order: list[str] | None = None) -> None:
        self.order: list[str] = [] if order is None else order
        self.began_with: list[CallRecord] = []
        self.entries: dict[str, tuple[int, Entry]] = {}
        self.events: list[tuple[str, dict[str, Scalar]]] = []
        self.cost = 0.0
        self.endings: list[tuple[str, Then]] = []
        self.detail = ""
        """of the latest ending"""
        self.written = True
        """What `flush` says."""
        self._changed = threading.Condition()

    def _tell(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def began(self, record: CallRecord) -> None:
        self._tell(lambda: self.began_with.append(record))

    def entry(self, call_sid: str, position: int, entry: Entry) -> None:
        self._tell(lambda: self.entries.update({entry.item_id: (position, entry)}))

    def removed(self, call_sid: str, item_id: str) -> None:
        self._tell(lambda: self.entries.pop(item_id, None))

    def event(self, call_sid: str, kind: str, /, **data: Scalar) -> None:
        self._tell(lambda: self.events.append((kind, data)))

    def spent(self, call_sid: str, cost: float) -> None:
        self.cost += cost

    def ended(self, call_sid: str, outcome: str, then: Then, detail: str = "") -> None:
        self.order.append(f"ended {then}")
        self.detail = detail
        self._tell(lambda: self.endings.append((outcome, then)))

    def flush(self, seconds: float) -> bool:
        self.order.append("flushed")
        return self.written

    def wait_for(self, kind: str) -> dict[str, Scalar]:
        """The data of the latest event of that kind, once there is one."""
        with self._changed:
            found: list[dict[str, Scalar]] = []

            def told() -> bool:
                found[:] = [data for each, data in self.events if each == kind]
                return bool(found)

            kinds = [each for each, _ in self.events]
            assert self._changed.wait_for(told, PATIENCE_SECONDS), f"no event {kind!r} among {kinds}"
            return found[-1]

    def kinds(self) -> list[str]:
        """Of the events, in their order."""
        with self._changed:
            return [kind for kind, _ in self.events]


def endpoint(name: str, dial: Callable[[], ModelSocket] = FakeModelSocket) -> Endpoint:
    return Endpoint(name, dial, OPENAI)


def setup(socket: MediaSocket | None = None, *endpoints: Endpoint, **differences: Any) -> CallSetup:
    """A call's setup with small sounds; `differences` are fields of CallSetup."""
    fields: dict[str, Any] = {
        "record": RECORD,
        "media_socket": socket or FakeMediaSocket(),
        "endpoints": Endpoints(endpoints or (endpoint("only"),)),
        "session": SESSION,
        "greeting": GREETING,
        "context": CallContext("CA1", "+4930111", "+4930222", {}),
        "sounds": Sounds(FILLER, APOLOGY),
    }
    return CallSetup(**fields | differences)


def said(item_id: str, text: str, heard_text: str | None = None) -> Entry:
    """An answer of the assistant's, heard to its end unless `heard_text` says otherwise. 60 ms a character."""
    heard = text if heard_text is None else heard_text
    return Entry(item_id, "assistant", text, heard, 60 * len(heard), 60 * len(text))


def asked(item_id: str, text: str) -> Entry:
    """A turn of the caller's."""
    return Entry(item_id, "caller", text, text, 0, 0)


def heard(item_id: str, heard_ms: int, queued_ms: int) -> Heard:
    return Heard(Part(item_id, 0), heard_ms, queued_ms)


def ulaw(duration_ms: float, code: int = 0x80) -> str:
    """Base64 of so much mu-law: as loud as can be, unless another code is given; 0xFF is silence."""
    return base64.b64encode(bytes([code]) * int(duration_ms * 8)).decode()


LOUD = ulaw(20)
QUIET = ulaw(20, 0xFF)


def media(timestamp_ms: int, payload: str = LOUD) -> str:
    """A frame of the caller's, as Twilio sends it."""
    content = {"event": "media", "media": {"timestamp": str(timestamp_ms), "payload": payload}}
    return orjson.dumps(content | {"streamSid": STREAM}).decode()


# What a server says, as JSON objects

FORMAT = {"format": {"type": "audio/pcmu"}}
UPDATED = {
    "type": "session.updated",
    "session": {"type": "realtime", "audio": {"input": FORMAT, "output": FORMAT}},
}
PARSED_UPDATED = realtime.SessionUpdated("audio/pcmu", "audio/pcmu")


def created(expires_at: float | None = None) -> dict[str, Any]:
    return {"type": "session.created", "session": {"expires_at": expires_at}}


def response_created(response_id: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response_id}}


def response_done(response_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response_id, "status": "completed"} | more}


def item_added(item_id: str, previous: str | None, role: str = "assistant") -> dict[str, Any]:
    item = {"id": item_id, "type": "message", "role": role}
    return {"type": "conversation.item.added", "item": item, "previous_item_id": previous}


def delta(response_id: str, item_id: str, duration_ms: float) -> dict[str, Any]:
    return _part("response.output_audio.delta", response_id, item_id, delta=ulaw(duration_ms))


def audio_done(response_id: str, item_id: str) -> dict[str, Any]:
    return _part("response.output_audio.done", response_id, item_id)


def transcript(response_id: str, item_id: str, text: str) -> dict[str, Any]:
    return _part("response.output_audio_transcript.done", response_id, item_id, transcript=text)


def _part(kind: str, response_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "response_id": response_id, "item_id": item_id, "content_index": 0} | more


def speech_started(item_id: str, audio_start_ms: int = 0) -> dict[str, Any]:
    return {
        "type": "input_audio_buffer.speech_started",
        "audio_start_ms": audio_start_ms,
        "item_id": item_id,
    }


def speech_stopped(item_id: str, audio_end_ms: int = 1000) -> dict[str, Any]:
    return {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": audio_end_ms, "item_id": item_id}


def committed(item_id: str, previous: str | None) -> dict[str, Any]:
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def transcribed(item_id: str, text: str) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item_id, "transcript": text}


def function_call(response_id: str, item_id: str, call_id: str, name: str) -> dict[str, Any]:
    item: Mapping[str, Any] = {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": name,
        "arguments": "{}",
    }
    return {"type": "response.output_item.done", "response_id": response_id, "item": item}
