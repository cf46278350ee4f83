"""The simulated phone: places a call as Twilio would deliver it, speaks, listens, and keeps the truth.

It stands for the caller, the telephone network and Twilio together. Give it the URL of a voice webhook:

    with Phone("http://127.0.0.1:5000/twiml", auth_token=token, recording=Path("call.wav")) as phone:
        phone.dial()
        phone.await_stream(5)
        phone.await_assistant(5)
        phone.say(load_wav(question)).wait(10)
        phone.await_assistant(5)
        phone.hang_up()
        result = phone.await_end(5)

A call has a thread that follows the TwiML and paces the media, one that reads the media socket while
there is one, and one for status callbacks if the TwiML asks for them.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from simulator import dtmf
from simulator.call_result import CallResult
from simulator.exchange import Document, Exchange
from simulator.line import CallOverError, Line, Utterance
from simulator.phone_events import CallEnded, EndReason, PhoneEvent
from simulator.recording import StereoRecording
from simulator.stream import MediaStream
from simulator.twiml import Method
from simulator.webhook import Requester, Route
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE

_CLOSE_S = 2.0
_Part = TypeVar("_Part")


class Phone:
    """One call. Any thread may use it; the times that it reports are seconds since `dial`."""

    def __init__(
        self,
        webhook_url: str,
        *,
        auth_token: str | None = None,
        account_sid: str = "AC" + "0" * 32,
        call_sid: str | None = None,
        from_number: str = "+15550100001",
        to_number: str = "+15550100002",
        latency_ms: float = 0,
        recording: Path | None = None,
        speak: Callable[[str], bytes] | None = None,
        on_event: Callable[[PhoneEvent], None] | None = None,
        method: Method = "POST",
        fields: Mapping[str, str] | None = None,
        public_url: str | None = None,
    ) -> None:
        """Prepare a call; nothing is opened before `dial`.
         Without an `auth_token` nothing is signed. `latency_ms` delays every stream message, each way, but no
        HTTP request. `recording` is the path of a stereo WAV to write. `speak` renders the text of a Say to
        mu-law; it and `on_event` are called in the call's threads, one at a time. `fields` are added to the
        form of each request for TwiML. `public_url` is the origin by which the server knows itself, if another
        than the origin of `webhook_url`: it is signed, and URLs in TwiML that begin with it are opened at the
        latter.
        """
        self.call_sid = call_sid or f"CA{secrets.token_hex(16)}"
        self._webhook_url = webhook_url
        self._method = method
        self._latency = round(latency_ms * BYTES_PER_MS)
        self._recording = recording
        self._speak = speak
        self._on_event = on_event
        self._requester = Requester(auth_token, Route(public_url, webhook_url))
        # Twilio sends fields that it cannot fill as blanks.
        blanks = [f"{who}{what}" for who in ("From", "To") for what in ("City", "State", "Zip", "Country")]
        self._fields = {
            "CallSid": self.call_sid,
            "AccountSid": account_sid,
            "From": from_number,
            "To": to_number,
            "Caller": from_number,
            "Called": to_number,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
            **dict.fromkeys(blanks, ""),
            **(fields or {}),
        }
        self._events: list[PhoneEvent] = []
        self._events_lock = threading.Lock()
        self._changed = threading.Condition()
        self._waiting = 0
        self._origin = 0.0
        self._line: Line | None = None
        self._exchange: Exchange | None = None
        self._thread: threading.Thread | None = None
        self._over = False
        self._reason: EndReason = "error"
        self._failure: BaseException | None = None

    def __enter__(self) -> "Phone":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def dial(self) -> None:
        """Ask the webhook for TwiML and start to follow it.
         Raises WebhookError if the webhook fails, OSError if the recording cannot be created, and RuntimeError
        for a second call, for which there is a second phone.
        """
        if self._exchange is not None:
            raise RuntimeError("this phone has dialled before; use a new Phone for each call")
        recording = None if self._recording is None else StereoRecording(self._recording)
        self._origin = time.monotonic()
        self._line = Line(self._origin, self._emit, recording)
        self._exchange = Exchange(
            self._line,
            self._requester,
            self._fields,
            clock=self._clock,
            latency=self._latency,
            speak=self._speak,
            emit=self._emit,
            changed=self._notify,
        )
        try:
            url = self._requester.route.public_url(self._webhook_url)
            document = self._exchange.fetch(self._method, url, "ringing")
        except BaseException:
            self._over = True
            self._line.close(self._clock())
            raise
        self._thread = threading.Thread(
            target=self._run, args=(document,), name=f"phone {self.call_sid}", daemon=True
        )
        self._thread.start()

    def say(self, ulaw: bytes) -> Utterance:
        """Queue caller speech, mu-law at 8000 Hz, for the next free frame. Raises CallOverError."""
        return self._require(self._line).say(ulaw)

    def press(self, digit: str) -> None:
        """Press one key: 0-9, *, # or A-D. Raises ValueError for anything else."""
        if len(digit) != 1 or digit not in dtmf.KEYS:
            raise ValueError(f"{digit!r} is not one key of {dtmf.KEYS}")
        self._require(self._exchange).press(digit)

    def hang_up(self) -> None:
        """The caller hangs up. Does nothing if the call is over."""
        self._require(self._exchange).hang_up("caller")

    def complete(self) -> None:
        """What a REST update with Status=completed does: the call ends from Twilio's side."""
        self._require(self._exchange).hang_up("completed")

    def update(self, twiml: str) -> None:
        """What a REST update with Twiml does, for example a transfer: `stop`, then the new document."""
        url = self._requester.route.public_url(self._webhook_url)
        self._require(self._exchange).update(Document(twiml.encode(), url))

    def await_stream(self, timeout: float, number: int = 1) -> None:
        """Block until the call's stream of that number is open and `start` on its way.
         As with the others that wait: raises TimeoutError after `timeout` seconds, CallOverError if the call
        ends.
        """
        exchange = self._require(self._exchange)
        self._await(lambda: len(exchange.streams) >= number, timeout, f"media stream {number} was not opened")

    def await_assistant(self, timeout: float, since: float | None = None) -> None:
        """Block until something audible is heard later than `since`, seconds of `time.monotonic()`; by default
        from now on.
        """
        moment = time.monotonic() if since is None else since
        self._await(lambda: self.heard_since(moment), timeout, "the assistant was not heard")

    def heard_since(self, moment: float) -> bool:
        """Whether anything audible was heard later than `moment`, seconds of `time.monotonic()`."""
        return self._require(self._line).last_audible > round((moment - self._origin) * SAMPLE_RATE)

    def await_silence(self, quiet_ms: float, timeout: float) -> None:
        """Block until nothing audible was heard for `quiet_ms` and no audio is left to play."""
        line, exchange = self._require(self._line), self._require(self._exchange)

        def silent() -> bool:
            stream = exchange.stream
            played = stream is None or stream.playout.pending == 0
            return played and line.position - line.last_audible >= quiet_ms * BYTES_PER_MS

        self._await(silent, timeout, f"there were no {quiet_ms} ms of silence")

    def await_end(self, timeout: float) -> CallResult:
        """Block until the call is over and its threads have ended, and return all that is known of it.
         Raises TimeoutError, or whatever `speak`, `on_event` or the recording raised and thereby ended the
        call.
        """
        thread = self._require(self._thread)
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError(
                f"the call {self.call_sid} is not over after {timeout} s: {self._last_events()}"
            )
        if self._failure is not None:
            raise self._failure
        line, exchange = self._require(self._line), self._require(self._exchange)
        return CallResult(
            self.call_sid,
            self._reason,
            line.position / SAMPLE_RATE,
            tuple(self._events),
            tuple(exchange.streams),
            tuple(line.utterances),
            tuple(line.audible),
            exchange.max_lateness / BYTES_PER_MS,
            self._recording,
        )

    def close(self) -> None:
        """End the call in whatever state it is, by force if two seconds do not do, and join its
        threads."""
        if self._thread is None or self._exchange is None:
            return
        self._exchange.hang_up("caller")
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive() and (stream := self._exchange.stream) is not None:
            stream.socket.abort()
        self._thread.join()

    def send_raw(self, message: str | bytes) -> None:
        """Send a text or a binary frame as it is, for tests of what Twilio would not send."""
        self._require(self._exchange).send_raw(message)

    def drop(self) -> None:
        """Reset the media socket's TCP connection; the call goes on as it does when the network fails."""
        self._open_stream().socket.drop()

    def stop_reading(self) -> None:
        """Read nothing more from the media socket until `resume_reading`."""
        self._open_stream().socket.stop_reading()

    def resume_reading(self) -> None:
        self._open_stream().socket.resume_reading()

    def _run(self, document: Document) -> None:
        exchange, line = self._require(self._exchange), self._require(self._line)
        try:
            try:
                self._reason = exchange.run(document)
            finally:
                ended = self._clock() if exchange.ended is None else exchange.ended
                try:
                    line.close(ended)
                finally:
                    exchange.close()
            self._emit(CallEnded(ended / SAMPLE_RATE, self._reason))
        except BaseException as problem:  # await_end raises it where the user sees it
            self._failure = problem
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _await(self, happened: Callable[[], bool], timeout: float, problem: str) -> None:
        with self._changed:
            self._waiting += 1
            try:
                in_time = self._changed.wait_for(lambda: self._over or happened(), timeout)
            finally:
                self._waiting -= 1
        if not in_time:
            raise TimeoutError(f"{problem} within {timeout} s: {self._last_events()}")
        if not happened():
            raise CallOverError(f"{problem} before the call ended: {self._last_events()}")

    def _notify(self) -> None:
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def _emit(self, event: PhoneEvent) -> None:
        with self._events_lock:
            self._events.append(event)
            if self._on_event is not None:
                self._on_event(event)

    def _last_events(self) -> str:
        return f"last {self._events[-3:]}"

    def _open_stream(self) -> MediaStream:
        stream = self._require(self._exchange).stream
        if stream is None:
            raise CallOverError("the call has no open media stream")
        return stream

    def _clock(self) -> int:
        return int((time.monotonic() - self._origin) * SAMPLE_RATE)

    @staticmethod
    def _require(part: _Part | None) -> _Part:
        if part is None:
            raise CallOverError("the call has not begun; dial first")
        return part
