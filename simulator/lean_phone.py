"""A phone for load generators: a media stream as Twilio delivers it, for many calls in one event loop.

`simulator.phone` keeps the truth of every sample and needs three threads a call; this one costs a few microseconds a
frame. The assistant's audio is played in real time, which means that marks come back when it would have been heard.
Everything runs in the event loop's thread.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable

from simulator.lean_websocket import LeanWebsocket, connect
from simulator.media_messages import CONNECTED, SILENT_FRAME, Clear, Invalid, Mark, Media, Writer, read
from simulator.twiml import Connect, Verb, parse, stream_url
from simulator.webhook import Requester, Route
from wire.g711 import BYTES_PER_MS, FRAME_MS

ACCOUNT_SID = "AC" + "0" * 32


class CallError(Exception):
    """The server did not take a call. The text says what it did instead."""

    def __init__(self, why: str, verbs: tuple[Verb, ...] = ()) -> None:
        """`verbs`: what the caller was answered with."""
        super().__init__(why)
        self.verbs = verbs


class LeanPhone:
    """One call. `place` it, then it speaks 50 frames a second until `hang_up`. Subclasses say and hear something."""

    def __init__(self, number: int, account_sid: str = ACCOUNT_SID) -> None:
        """`number` makes the caller's."""
        self.number = number
        self.frames_sent = 0
        """on the stream that is open"""
        self.latest_s = 0.0
        """The longest that a frame left after its time: this machine was busy, and the load less than it says."""
        self.audio_ms = 0.0
        """Of the assistant's voice, received so far."""
        self.marks_asked = self.marks_echoed = 0
        self.problems: list[str] = []
        """What Twilio would have warned of, and a socket that the server ended."""
        self.on_clear: Callable[[float], None] = lambda at: None
        """Called with the monotonic time when a `clear` has come."""
        self.call_sid = f"CA{secrets.token_hex(16)}"
        self._account_sid = account_sid
        self._loop = asyncio.get_running_loop()
        self._stream_sid = ""
        self._writer: Writer
        self._socket: LeanWebsocket | None = None
        self._closed = asyncio.Event()
        self._hanging_up = False
        self._silent_at = 0.0
        self._marks: deque[tuple[float, str]] = deque()
        self._started_at = 0.0

    def frame(self) -> bytes:
        """The caller's next 20 ms, which leave now."""
        return SILENT_FRAME

    def hear(self, audio: bytes) -> None:
        """The assistant's next mu-law has come."""

    def ended(self, code: int) -> None:
        """The server has ended the stream."""
        self.problems.append(f"call {self.number}: the server ended it with code {code}")

    @property
    def queued_ms(self) -> float:
        """How much of the assistant's voice is still to be heard."""
        return max(self._silent_at - self._loop.time(), 0.0) * 1000

    async def place(self, webhook_url: str, auth_token: str | None) -> None:
        """Ask for TwiML, open its stream and begin to speak.

        Raises CallError, WebhookError, TwimlError, StreamRefusedError or OSError.
        """
        requester = Requester(auth_token, Route(None, webhook_url))
        answer = await asyncio.to_thread(requester.request, "POST", webhook_url, self.form("ringing"))
        verbs = parse(answer.body)
        connect_verb = next((verb for verb in verbs if isinstance(verb, Connect)), None)
        if connect_verb is None:
            raise CallError(
                f"call {self.number} got no stream: {answer.body.decode(errors='replace')}", verbs
            )
        await self.open(connect_verb, webhook_url, requester)

    async def open(self, connect_verb: Connect, document_url: str, requester: Requester) -> None:
        """Open the stream that a document says, and begin to speak. Raises StreamRefusedError or OSError."""
        url = stream_url(connect_verb.stream, document_url)
        self._stream_sid = f"MZ{secrets.token_hex(16)}"
        self._writer = Writer(self._account_sid, self.call_sid, self._stream_sid)
        self._closed.clear()
        self._marks.clear()
        self._silent_at = 0.0
        self.frames_sent = 0
        self._socket = await connect(url, requester.headers(url, {}), self._receive, self._socket_ended)
        self._send(CONNECTED)
        self._send(self._writer.start(connect_verb.stream.parameters))
        self._started_at = self._loop.time()
        self._loop.call_at(self._frame_due(), self._speak, self._socket)

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

    def form(self, status: str) -> dict[str, str]:
        """What Twilio sends with each of its questions about this call."""
        return {
            "CallSid": self.call_sid,
            "AccountSid": self._account_sid,
            "From": f"+1555{self.number:07}",
            "To": "+15550100002",
            "CallStatus": status,
            "Direction": "inbound",
        }

    def _frame_due(self) -> float:
        return self._started_at + (self.frames_sent + 1) * FRAME_MS / 1000

    def _speak(self, socket: LeanWebsocket) -> None:
        if self._hanging_up or self._closed.is_set() or socket is not self._socket:
            return
        now, due = self._loop.time(), self._frame_due()
        self.latest_s = max(self.latest_s, now - due)
        self._send(self._writer.media(self.frame(), self.frames_sent * FRAME_MS))
        self.frames_sent += 1
        while self._marks and self._marks[0][0] <= now:
            self._echo(self._marks.popleft()[1])
        self._loop.call_at(self._frame_due(), self._speak, socket)

    def _receive(self, text: bytes) -> None:
        now = self._loop.time()
        match read(text.decode(), self._stream_sid):
            case Media(audio):
                self.hear(audio)
                duration_ms = len(audio) / BYTES_PER_MS
                self._silent_at = max(self._silent_at, now) + duration_ms / 1000
                self.audio_ms += duration_ms
            case Mark(name):
                # Echoed with the caller's next frame, so up to 20 ms late: a timer for each would be half the load.
                self.marks_asked += 1
                self._marks.append((self._silent_at, name))
            case Clear():
                self.on_clear(time.monotonic())
                self._silent_at = now
                while self._marks:
                    self._echo(self._marks.popleft()[1])
            case Invalid(code, message):
                self.problems.append(f"call {self.number}: {code}: {message}")

    def _echo(self, mark: str) -> None:
        self.marks_echoed += 1
        self._send(self._writer.mark(mark))

    def _socket_ended(self, code: int) -> None:
        self._closed.set()
        if not self._hanging_up:
            self.ended(code)

    def _send(self, message: str) -> None:
        assert self._socket is not None
        self._socket.send(message.encode())
