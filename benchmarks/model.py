"""The load generator's model: a Realtime server for many sessions in one event loop.

It hears nothing: when a caller speaks, the load says so. It answers what a client may send on a telephone call, with
the events of the real one in their order (OpenAI, Realtime API reference), and its answers come in bursts, faster
than they play. `simulator.realtime` is the strict one. Everything runs in the event loop's thread.
"""

import asyncio
import base64
import binascii
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.journey import Journey
from benchmarks.phone import IDENTITY_BYTES, identity, identity_of
from simulator.lean_websocket import LeanWebsocket
from simulator.script import tone
from wire.g711 import FRAME_BYTES

TOKEN_MS = 50
"""An output token of audio is so long."""
SESSION_SECONDS = 3600
TIMER_SECONDS = 0.001
"""A timer is so exact. What were due within that would be waited for again and again."""
GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples, without what stands before the point, fill every gap evenly, however many there are."""
WORD = " la"
WORD_MS = 300
"""Each word is a delta of the transcript, and takes so long to say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model always says: `seconds` of a tone in deltas of `delta_ms`, `pace` times as fast as it plays."""

    seconds: float = 10.0
    delta_ms: int = 200
    pace: float = 8.0
    lead_ms: int = 0
    """so much of it is sent at once"""
    endless: bool = False
    """whether the next answer begins where one ends by itself. The first of each session begins in its middle, each
    elsewhere, so that they end one after the other, as they do where people talk, and not all at the same moment."""

    def __post_init__(self) -> None:
        if min(self.seconds, self.delta_ms, self.pace) <= 0:
            raise ValueError(f"seconds, delta_ms and pace are above 0: {self}")

    @property
    def deltas(self) -> int:
        """How many pieces it comes in."""
        return max(round(self.seconds * 1000 / self.delta_ms), 1)

    def due(self, delta: int) -> float:
        """When a delta, counted from 0, is sent: seconds after the first."""
        return max(delta * self.delta_ms - self.lead_ms, 0) / 1000 / self.pace

    def over(self, session: int) -> int:
        """How many deltas are left out at the beginning of a session's first answer."""
        return int(session * GOLDEN_RATIO % 1 * self.deltas) if self.endless else 0


class LeanModel:
    """The server. `start` it, then `url` is where clients connect."""

    def __init__(self, answer: Answer, joined: Callable[["LeanSession"], None]) -> None:
        """`joined` is called with each session when its first caller frame says which call it belongs to."""
        self.sessions: list[LeanSession] = []
        """Those that are open."""
        self.url = ""
        self._answer = answer
        self._joined = joined
        self._server: asyncio.Server | None = None
        self._numbers = itertools.count()

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: LeanSession(self._answer, self._joined, self.sessions, next(self._numbers)).websocket,
            "127.0.0.1",
            0,
            backlog=1024,
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/v1/realtime"

    async def close(self) -> None:
        """End what is left, at once."""
        if self._server is not None:
            self._server.close()
            for session in list(self.sessions):
                session.websocket.abort()
            await self._server.wait_closed()


class LeanSession:
    """One session: one response at a time, and turns when the load says so."""

    def __init__(
        self,
        answer: Answer,
        joined: Callable[["LeanSession"], None],
        sessions: list["LeanSession"],
        number: int = 0,
    ) -> None:
        self.call: int | None = None
        """The number of its call, once it has heard of it."""
        self.frames_received = 0
        """20 ms frames of the caller's."""
        self.frames_missed = 0
        """Frames that were left out between two that came, or came twice or too late."""
        self.refusals: list[str] = []
        """Events of the client's that this model does not know."""
        self.websocket = LeanWebsocket(self._receive, self._ended)
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._over = answer.over(number)
        self.spoken = Journey()
        """The assistant's 20 ms frames, on their way to the phone."""
        self.heard: Journey | None = None
        """The caller's, on their way here; the load knows whose they are when this has joined."""
        self._tone = tone(answer.delta_ms)
        self._joined = joined
        self._sessions = sessions
        self._count = 0
        self._next_frame = 0
        self._speech_item = ""
        self._response: dict[str, str] | None = None
        self._began_at = 0.0
        self._began = self._spoken = self._words = 0
        """The number of its first delta, how many have been sent, counted with those left out, and how many words."""
        self._transcript = ""
        sessions.append(self)
        # A future's callbacks run in a later turn of the loop: by then the upgrade has been answered.
        self.websocket.opened.add_done_callback(self._open)

    @property
    def speaking(self) -> bool:
        """Whether a response is active."""
        return self._response is not None

    def speak(self) -> None:
        """Begin to answer, if nothing is being said: for a bridge that asks for no greeting."""
        if self._response is None:
            self._respond()

    def start_speech(self) -> float:
        """The caller interrupts: an active response is cancelled. Returns the monotonic time right before that."""
        self._speech_item = self._new("item")
        now = time.monotonic()
        self._send("input_audio_buffer.speech_started", audio_start_ms=0, item_id=self._speech_item)
        if self._response is not None:
            self._finish("cancelled", {"type": "cancelled", "reason": "turn_detected"})
        return now

    def stop_speech(self) -> None:
        """The caller's turn is over: the answer begins."""
        item = self._speech_item
        self._send("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=item)
        self._send("input_audio_buffer.committed", previous_item_id=None, item_id=item)
        content = [{"type": "input_audio", "transcript": None}]
        for what in ("added", "done"):
            self._tell_item(what, {"id": item, "type": "message", "role": "user", "content": content})
        self._respond()

    def _open(self, opened: "asyncio.Future[None]") -> None:
        if not opened.cancelled() and opened.exception() is None:
            self._send("session.created", session=self._session({}))

    def _receive(self, text: bytes) -> None:
        event = orjson.loads(text)
        match event["type"]:
            case "input_audio_buffer.append":
                self._hear(binascii.a2b_base64(event["audio"]))
            case "session.update":
                self._send("session.updated", session=self._session(event["session"]))
            case "response.create":
                if self._response is None:
                    self._respond()
                else:
                    self._refuse("conversation_already_has_active_response")
            case "response.cancel":
                if self._response is None:
                    self._refuse("response_cancel_not_active")
                else:
                    self._finish("cancelled", {"type": "cancelled", "reason": "client_cancelled"})
            case "conversation.item.truncate":
                place = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
                self._send("conversation.item.truncated", **place)
            case "conversation.item.delete":
                self._send("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.create":
                for what in ("added", "done"):
                    self._tell_item(what, {"id": self._new("item"), **event["item"]})
            case other:
                self.refusals.append(other)
                self._refuse("invalid_event")

    def _hear(self, audio: bytes) -> None:
        now = time.monotonic()
        for start in range(0, len(audio), FRAME_BYTES):
            call, number = identity_of(audio, start)
            if self.call is None:
                self.call, self._next_frame = call, number
                self._joined(self)
            if self.heard is not None:
                self.heard.came(number, now)
            self.frames_received += 1
            self.frames_missed += number != self._next_frame
            self._next_frame = number + 1

    def _respond(self) -> None:
        place = {"response_id": self._new("resp"), "item_id": self._new("item")}
        self._response = place
        self._send("response.created", response=self._shown("in_progress", None))
        item = {"id": place["item_id"], "type": "message", "role": "assistant", "content": []}
        self._send("response.output_item.added", response_id=place["response_id"], output_index=0, item=item)
        self._tell_item("added", item)
        part = {"type": "audio", "transcript": ""}
        self._send("response.content_part.added", **place, output_index=0, content_index=0, part=part)
        self._began, self._over = self._over, 0
        over_ms = self._began * self._answer.delta_ms
        self._spoken, self._words = self._began, -(-over_ms // WORD_MS)
        self._transcript = ""
        self._began_at = self._loop.time() - over_ms / 1000 / self._answer.pace
        self._speak(place)

    def _speak(self, place: dict[str, str]) -> None:
        if place is not self._response:
            return  # cancelled meanwhile
        elapsed = self._loop.time() - self._began_at
        while (
            self._spoken < self._answer.deltas and self._answer.due(self._spoken) <= elapsed + TIMER_SECONDS
        ):
            index = {"output_index": 0, "content_index": 0}
            if self._spoken * self._answer.delta_ms >= self._words * WORD_MS:
                self._words += 1
                self._transcript += WORD
                self._send("response.output_audio_transcript.delta", **place, **index, delta=WORD)
            delta = base64.b64encode(self._next_audio()).decode()
            self._send("response.output_audio.delta", **place, **index, delta=delta)
            self._spoken += 1
        if self._spoken < self._answer.deltas:
            self._loop.call_at(self._began_at + self._answer.due(self._spoken), self._speak, place)
        else:
            self._finish("completed", None)
            if self._answer.endless:
                self._respond()

    def _next_audio(self) -> bytes:
        audio, call, now = bytearray(self._tone), self.call or 0, time.monotonic()
        for start in range(0, len(audio), FRAME_BYTES):
            audio[start : start + IDENTITY_BYTES] = identity(call, self.spoken.left(now))
        return bytes(audio)

    def _finish(self, status: str, details: dict[str, str] | None) -> None:
        place = self._response
        assert place is not None
        index = {"output_index": 0, "content_index": 0}
        transcript = self._transcript
        self._send("response.output_audio.done", **place, **index)
        self._send("response.output_audio_transcript.done", **place, **index, transcript=transcript)
        part = {"type": "audio", "transcript": transcript}
        self._send("response.content_part.done", **place, **index, part=part)
        item = {
            "id": place["item_id"],
            "type": "message",
            "role": "assistant",
            "status": "completed" if status == "completed" else "incomplete",
            "content": [{"type": "output_audio", "transcript": transcript}],
        }
        self._tell_item("done", item)
        self._send("response.output_item.done", response_id=place["response_id"], output_index=0, item=item)
        self._send("response.done", response=self._shown(status, details) | {"output": [item]})
        self._response = None

    def _shown(self, status: str, details: dict[str, str] | None) -> dict[str, Any]:
        assert self._response is not None
        tokens = (self._spoken - self._began) * self._answer.delta_ms // TOKEN_MS
        return {
            "object": "realtime.response",
            "id": self._response["response_id"],
            "status": status,
            "status_details": details,
            "output": [],
            "usage": None
            if status == "in_progress"
            else {
                "total_tokens": tokens,
                "input_tokens": 0,
                "output_tokens": tokens,
                "output_token_details": {"text_tokens": 0, "audio_tokens": tokens},
            },
        }

    def _session(self, changes: dict[str, Any]) -> dict[str, Any]:
        identity = {"id": "sess_load", "object": "realtime.session"}
        return {"type": "realtime", **changes, **identity, "expires_at": int(time.time()) + SESSION_SECONDS}

    def _tell_item(self, what: str, item: dict[str, Any]) -> None:
        self._send(f"conversation.item.{what}", previous_item_id=None, item=item)

    def _refuse(self, code: str) -> None:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": code,
            "param": None,
            "event_id": None,
        }
        self._send("error", error=error)

    def _send(self, event_type: str, **fields: Any) -> None:
        event = {"type": event_type, "event_id": self._new("event"), **fields}
        self.websocket.send(orjson.dumps(event))

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count:08}"

    def _ended(self, code: int) -> None:
        self._response = None
        self._sessions.remove(self)
