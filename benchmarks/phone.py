"""The load generator's phone: a media stream as Twilio delivers it, for many calls in one event loop.

`simulator.phone` keeps the truth of every sample and needs three threads a call; this one keeps what a load test
counts. Every frame of the caller's names its call and its number. The assistant's audio is played in real time, which
means that marks come back when it would have been heard. Everything runs in the event loop's thread.
"""

import asyncio
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable

from benchmarks.journey import Journey
from benchmarks.lean_websocket import LeanWebsocket, connect
from simulator.media_messages import CONNECTED, Clear, Invalid, Mark, Media, Writer, read
from simulator.twiml import Connect, parse, stream_url
from simulator.webhook import Requester, Route
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, ULAW_SILENCE

ACCOUNT_SID = "AC" + "0" * 32
_IDENTITY = struct.Struct("!HI")
IDENTITY_BYTES = _IDENTITY.size
_SILENCE = ULAW_SILENCE * (FRAME_BYTES - IDENTITY_BYTES)


def caller_frame(call: int, number: int) -> bytes:
    """20 ms of mu-law that say which call they belong to and which of its frames they are."""
    return identity(call, number) + _SILENCE


def identity(call: int, number: int) -> bytes:
    """What a frame begins with."""
    return _IDENTITY.pack(call, number)


def identity_of(frame: bytes, at: int = 0) -> tuple[int, int]:
    """The call's number and the frame's, of the frame that begins there."""
    return _IDENTITY.unpack_from(frame, at)


class CallError(Exception):
    """The server did not take a call. The text says what it did instead."""


class LeanPhone:
    """One call. `place` it, then it speaks 50 frames a second until `hang_up`."""

    def __init__(self, number: int) -> None:
        """`number` names the call in its frames: 0 to 65535."""
        self.number = number
        self.frames_sent = 0
        self.spoken = Journey()
        """The caller's frames, on their way to the model."""
        self.heard: Journey | None = None
        """The assistant's, on their way here; the load knows whose they are once there is a session."""
        self.latest_s = 0.0
        """The longest that a frame left after its time: this machine was busy, and the load less than it says."""
        self.audio_ms = 0.0
        """Of the assistant's voice, received so far."""
        self.problems: list[str] = []
        """What Twilio would have warned of, and a socket that the server ended."""
        self.on_clear: Callable[[float], None] = lambda at: None
        """Called with the monotonic time when a `clear` has come."""
        self._loop = asyncio.get_running_loop()
        self.call_sid = f"CA{secrets.token_hex(16)}"
        self._stream_sid = f"MZ{secrets.token_hex(16)}"
        self._writer = Writer(ACCOUNT_SID, self.call_sid, self._stream_sid)
        self._socket: LeanWebsocket | None = None
        self._closed = asyncio.Event()
        self._hanging_up = False
        self._silent_at = 0.0
        self._marks: deque[tuple[float, str]] = deque()
        self._started_at = 0.0

    @property
    def queued_ms(self) -> float:
        """How much of the assistant's voice is still to be heard."""
        return max(self._silent_at - self._loop.time(), 0.0) * 1000

    async def place(self, webhook_url: str, auth_token: str) -> None:
        """Ask for TwiML, open its stream and begin to speak. Raises CallError, WebhookError or OSError."""
        requester = Requester(auth_token, Route(None, webhook_url))
        answer = await asyncio.to_thread(requester.request, "POST", webhook_url, self._form())
        connect_verb = next((verb for verb in parse(answer.body) if isinstance(verb, Connect)), None)
        if connect_verb is None:
            raise CallError(f"call {self.number} got no stream: {answer.body.decode(errors='replace')}")
        url = stream_url(connect_verb.stream, webhook_url)
        self._socket = await connect(url, requester.headers(url, {}), self._receive, self._ended)
        self._send(CONNECTED)
        self._send(self._writer.start(connect_verb.stream.parameters))
        self._started_at = self._loop.time()
        self._loop.call_at(self._frame_due(), self._speak)

    async def hang_up(self) -> None:
        """End the call as Twilio does, and wait until the server has let go of the socket."""
        if self._socket is None:
            return
        if not self._hanging_up:
            self._hanging_up = True
            self._send(self._writer.stop())
            self._socket.close()
        await self._closed.wait()

    def abort(self) -> None:
        """Let the socket go without a word."""
        self._hanging_up = True
        if self._socket is not None:
            self._socket.abort()

    def _form(self) -> dict[str, str]:
        return {
            "CallSid": self.call_sid,
            "AccountSid": ACCOUNT_SID,
            "From": f"+1555{self.number:07}",
            "To": "+15550100002",
            "CallStatus": "ringing",
            "Direction": "inbound",
        }

    def _frame_due(self) -> float:
        return self._started_at + (self.frames_sent + 1) * FRAME_MS / 1000

    def _speak(self) -> None:
        if self._hanging_up or self._closed.is_set():
            return
        now, due = self._loop.time(), self._frame_due()
        self.latest_s = max(self.latest_s, now - due)
        frame = caller_frame(self.number, self.frames_sent)
        self.spoken.left(time.monotonic())
        self._send(self._writer.media(frame, self.frames_sent * FRAME_MS))
        self.frames_sent += 1
        while self._marks and self._marks[0][0] <= now:
            self._send(self._writer.mark(self._marks.popleft()[1]))
        self._loop.call_at(self._frame_due(), self._speak)

    def _receive(self, text: bytes) -> None:
        now = self._loop.time()
        match read(text.decode(), self._stream_sid):
            case Media(audio):
                duration_ms = len(audio) / BYTES_PER_MS
                self._silent_at = max(self._silent_at, now) + duration_ms / 1000
                self.audio_ms += duration_ms
                if self.heard is not None:
                    at = time.monotonic()
                    for start in range(0, len(audio), FRAME_BYTES):
                        self.heard.came(identity_of(audio, start)[1], at)
            case Mark(name):
                # Echoed with the caller's next frame, so up to 20 ms late: a timer for each would be half the load.
                self._marks.append((self._silent_at, name))
            case Clear():
                self.on_clear(time.monotonic())
                self._silent_at = now
                while self._marks:
                    self._send(self._writer.mark(self._marks.popleft()[1]))
            case Invalid(code, message):
                self.problems.append(f"call {self.number}: {code}: {message}")

    def _ended(self, code: int) -> None:
        self._closed.set()
        if not self._hanging_up:
            self.problems.append(f"call {self.number}: the server ended it with code {code}")

    def _send(self, message: str) -> None:
        assert self._socket is not None
        self._socket.send(message.encode())
