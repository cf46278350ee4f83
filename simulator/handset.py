"""What every simulated phone can do once there is a call, whoever placed it.

A call has a thread that follows the TwiML and paces the media, one that reads the media socket while
there is one, and one for status callbacks if there are any.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from simulator import dtmf
from simulator.call_record import CallRecord
from simulator.call_result import CallResult
from simulator.document import Document
from simulator.exchange import Exchange
from simulator.line import CallOverError, Line, Utterance
from simulator.phone_events import CallEnded, DigitHeard, EndReason, PhoneEvent
from simulator.recording import StereoRecording
from simulator.twiml_verbs import Method, Redirect
from simulator.webhook import Requester
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.network import PhoneNetwork

_CLOSE_S = 2.0
_Part = TypeVar("_Part")


class Handset:
    """One call. Any thread may use it; the times that it reports are seconds since it began."""

    def __init__(
        self,
        call_sid: str,
        requester: Requester,
        fields: dict[str, str],
        document_url: str,
        *,
        latency_ms: float = 0,
        recording: Path | None = None,
        speak: Callable[[str], bytes] | None = None,
        on_event: Callable[[PhoneEvent], None] | None = None,
        listen: Callable[[int, bytes, bytes], None] | None = None,
        fallback_url: str | None = None,
        receive_buffer: int | None = None,
        network: "PhoneNetwork | None" = None,
        record: CallRecord | None = None,
    ) -> None:
        """The options are those of `Phone`. `fields` go with every request for TwiML, and `document_url` is the
        public URL from which relative ones in a document given by REST start. `record` is what `network` keeps of
        the call.
        """
        self.call_sid = call_sid
        self.record = record
        self.digits_heard = ""
        """The keys whose tones were heard on the line."""
        self._requester = requester
        self._fields = fields
        self._document_url = document_url
        self._latency = round(latency_ms * BYTES_PER_MS)
        self._recording = recording
        self._speak = speak
        self._on_event = on_event
        self._listen = listen
        self._fallback_url = fallback_url
        self._receive_buffer = receive_buffer
        self._network = network
        # Listening for tones costs 0.1 ms for each frame with sound, which a benchmark's many phones save.
        self._detector = None if network is None else dtmf.Detector()
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
        self.failure: BaseException | None = None
        """What ended the call, if it was an exception of what the phone was given."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Exchange:
        """Make the line; time begins. Raises OSError if the recording cannot be created."""
        recording = None if self._recording is None else StereoRecording(self._recording)
        heard = self._listen if self._detector is None else self._hear
        self._origin = time.monotonic()
        self._line = Line(self._origin, self._emit, recording, heard)
        self._exchange = Exchange(
            self._line,
            self._requester,
            self._fields,
            clock=self._clock,
            latency=self._latency,
            receive_buffer=self._receive_buffer,
            fallback_url=self._fallback_url,
            speak=self._speak,
            emit=self._emit,
            changed=self._notify,
            network=self._network,
        )
        return self._exchange

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"phone {self.call_sid}", daemon=True)
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

    def limit(self, seconds: float) -> None:
        """What a REST update with TimeLimit does: the call ends so long from now on."""
        exchange = self._require(self._exchange)
        moment = self._clock() + round(seconds * SAMPLE_RATE)
        exchange.pacer.command(lambda: exchange.pacer.at(moment, lambda: exchange.hang_up("completed")))

    def update(self, twiml: str) -> None:
        """What a REST update with Twiml does, for example a transfer: `stop`, then the new document."""
        self._require(self._exchange).update(Document(twiml.encode(), self._document_url))

    def redirect(self, url: str, method: Method = "POST") -> None:
        """What a REST update with Url does: `stop`, then what the public `url` answers."""
        self._require(self._exchange).update(Redirect(url, method))

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
        return self._require(self._line).last_audible > max(round((moment - self._origin) * SAMPLE_RATE), 0)

    def await_digits(self, digits: str, timeout: float) -> None:
        """Block until the DTMF tones heard contain `digits`. Tones are heard only in a phone network."""
        self._await(lambda: digits in self.digits_heard, timeout, f"{digits} was not heard")

    def await_company(self, timeout: float) -> None:
        """Block until the phone is in a room: it hears what is said there from now on, and is heard."""
        exchange = self._require(self._exchange)
        self._await(lambda: exchange.in_company, timeout, "nobody was there to talk with")

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
        if self.failure is not None:
            raise self.failure
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
            tuple(exchange.said),
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

    def _run(self) -> None:
        exchange, line = self._require(self._exchange), self._require(self._line)
        try:
            try:
                self._reason = self._conduct(exchange)
            finally:
                ended = self._clock() if exchange.ended is None else exchange.ended
                try:
                    line.close(ended)
                finally:
                    if self.record is not None:
                        self._settle(self.record, exchange)
                    exchange.close()
            self._emit(CallEnded(ended / SAMPLE_RATE, self._reason))
        except BaseException as problem:  # await_end raises it where the user sees it
            self.failure = problem
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _conduct(self, exchange: Exchange) -> EndReason:
        """The call from the beginning of its thread on. Returns why it ended."""
        raise NotImplementedError

    def _settle(self, record: CallRecord, exchange: Exchange) -> None:
        """The call is over: write that down and report it."""
        raise NotImplementedError

    def _hear(self, at: int, said: bytes, heard: bytes) -> None:
        if self._detector is not None:
            for digit in self._detector.feed(heard):
                self.digits_heard += digit
                self._emit(DigitHeard((at + len(heard)) / SAMPLE_RATE, digit))
        if self._listen is not None:
            self._listen(at, said, heard)

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

    def _clock(self) -> int:
        return int((time.monotonic() - self._origin) * SAMPLE_RATE)

    @staticmethod
    def _require(part: _Part | None) -> _Part:
        if part is None:
            raise CallOverError("the call has not begun; dial first")
        return part
