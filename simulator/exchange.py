"""Twilio's part in one call: asks the server for TwiML and follows it.

Source: twilio-media-streams.md, sections 5 to 9. Where it calls Twilio's behaviour unverified, the choice is the one
that asks more of the server: a refused stream goes on with the next verb, and an action is also asked for
when the caller has hung up.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

from simulator import dtmf, twiml
from simulator.call_result import StreamRecord
from simulator.line import Line
from simulator.media_messages import Writer
from simulator.pacer import Pacer
from simulator.phone_events import (
    Dialed,
    DigitPressed,
    EndReason,
    PhoneEvent,
    Played,
    ProtocolError,
    Spoke,
    StreamClosed,
    StreamOpened,
    WebhookAnswered,
)
from simulator.stream import MediaStream
from simulator.wav import parse_wav
from simulator.webhook import Requester, StatusCallbacks, WebhookError
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE, ULAW_SILENCE

MS_PER_CHARACTER = 60
"""How long a Say takes that nothing renders."""

MAX_DOCUMENTS = 200
"""A call that asks for more TwiML than this goes round in a circle."""


@dataclass(frozen=True, slots=True)
class Document:
    """TwiML and the public URL that its relative URLs start from."""

    body: bytes
    url: str
    content_type: str = "text/xml"


class Exchange:
    """One call. The call's thread runs all of it but the methods that say otherwise."""

    def __init__(
        self,
        line: Line,
        requester: Requester,
        fields: dict[str, str],
        *,
        clock: Callable[[], int],
        latency: int,
        speak: Callable[[str], bytes] | None,
        emit: Callable[[PhoneEvent], None],
        changed: Callable[[], None],
    ) -> None:
        """`fields` go with every request for TwiML, CallSid and AccountSid among them.

        `clock` gives the sample time now; `latency` is the streams', in samples. `speak` renders the text of a
        Say. `changed` is called after every step of the call.
        """
        self.streams: list[StreamRecord] = []
        """The streams opened so far."""
        self.stream: MediaStream | None = None
        """The stream that is open."""
        self.max_lateness = 0
        """The longest that a media frame left after its time, in samples."""
        self.ended: int | None = None
        """Sample time at which the caller, or a REST update, ended the call."""
        self._line = line
        self._requester = requester
        self._fields = fields
        self._clock = clock
        self._latency = latency
        self._speak = speak
        self._emit = emit
        self._pacer = Pacer(line, clock, changed)
        self._callbacks = StatusCallbacks(requester, f"phone-callbacks {fields['CallSid']}", self._no_answer)
        self._ending: EndReason | None = None
        self._update: Document | None = None
        self._documents = 0

    def fetch(self, method: twiml.Method, url: str, status: str) -> Document:
        """Ask the public `url` for TwiML with CallStatus `status`. Raises WebhookError.

        Runs before `run` in another thread for the first document of a call.
        """
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise WebhookError(
                f"the call asked for TwiML {MAX_DOCUMENTS} times; {url} goes round in a circle"
            )
        answer = self._requester.request(method, url, self._fields | {"CallStatus": status})
        self._emit(WebhookAnswered(self._at(), url, answer.status, answer.body.decode(errors="replace")))
        return Document(answer.body, url, answer.content_type)

    def run(self, document: Document) -> EndReason:
        """Follow `document`, and what it leads to, until the call ends. Returns why."""
        outcome: Document | EndReason = document
        while isinstance(outcome, Document):
            outcome = self._follow(outcome)
        return outcome

    def close(self) -> None:
        """After `run`, also after one that raised: release what the call still holds."""
        if self.stream is not None:
            self.stream.socket.close()
            self.stream = None
        self._callbacks.close()

    def hang_up(self, reason: EndReason) -> None:
        """End the call, by the caller or a REST update. Any thread."""
        self._pacer.command(lambda: self._end(reason))

    def update(self, document: Document) -> None:
        """What a REST update does: leave the TwiML that runs, stream included, for `document`. Any thread."""
        self._pacer.command(lambda: self._replace(document))

    def press(self, digit: str) -> None:
        """Any thread."""
        self._pacer.command(lambda: self._press(digit))

    def send_raw(self, message: str | bytes) -> None:
        """Any thread. Does nothing without an open stream."""
        self._pacer.command(lambda: self._send_raw(message))

    def _send_raw(self, message: str | bytes) -> None:
        if self.stream is not None:
            self.stream.send_raw(message, self._clock())

    def _end(self, reason: EndReason) -> None:
        if self._ending is None:
            self._ending, self.ended = reason, self._clock()
        self._pacer.interrupted = True

    def _replace(self, document: Document) -> None:
        self._update = document
        self._pacer.interrupted = True

    def _interruption(self) -> Document | EndReason | None:
        """What takes the place of the TwiML that runs, if anything does."""
        self._pacer.obey()
        if self._ending is not None:
            return self._ending
        update, self._update = self._update, None
        self._pacer.interrupted = False
        return update

    def _press(self, digit: str) -> None:
        self._emit(DigitPressed(self._at(), digit))
        if self.stream is not None:
            self.stream.press(digit, self._clock())

    def _follow(self, document: Document) -> Document | EndReason:
        try:
            twiml.check_type(document.content_type)
            verbs = twiml.parse(document.body)
        except twiml.TwimlError as problem:
            self._report(problem.code, f"{document.url}: {problem}")
            return "error"
        for verb in verbs:
            outcome = self._interruption() or self._do(verb, document.url) or self._interruption()
            if outcome is not None:
                return outcome
        return self._interruption() or "end"

    def _do(self, verb: twiml.Verb, base: str) -> Document | EndReason | None:
        match verb:
            case twiml.Connect():
                return self._connect(verb, base)
            case twiml.Say(text):
                self._emit(Spoke(self._at(), text))
                silence = ULAW_SILENCE * (len(text) * MS_PER_CHARACTER * BYTES_PER_MS)
                self._pacer.play(silence if self._speak is None else self._speak(text))
            case twiml.Play():
                self._emit(Played(self._at(), verb.digits or verb.url))
                self._pacer.play(
                    dtmf.tones(verb.digits) if verb.digits else self._load(urljoin(base, verb.url))
                )
            case twiml.Pause(seconds):
                self._pacer.pause(round(seconds * SAMPLE_RATE))
            case twiml.Redirect(url, method):
                return self._next(method, urljoin(base, url))
            case twiml.Dial(number):
                self._emit(Dialed(self._at(), number))
                return "dial"
            case twiml.Reject():
                return "reject"
            case twiml.Hangup():
                return "hangup"
        return None

    def _connect(self, verb: twiml.Connect, base: str) -> Document | EndReason | None:
        stream_sid = f"MZ{secrets.token_hex(16)}"
        record = StreamRecord(
            stream_sid, verb.stream.url, verb.stream.name or stream_sid, verb.stream.parameters
        )
        stream = MediaStream(
            record,
            Writer(self._fields["AccountSid"], self._fields["CallSid"], stream_sid),
            clock=self._clock,
            latency=self._latency,
            emit=self._emit,
            wake=lambda: self._pacer.command(None),
        )
        try:
            record.url = url = twiml.stream_url(verb.stream, base)
            stream.open(self._requester.route.local_url(url), self._requester.headers(url, {}))
        except twiml.StreamRefusedError as problem:
            self._report(problem.code, str(problem))
            self._call_back(verb.stream, record, "stream-error", str(problem))
            return None  # whether Twilio asks `action` here is not known; the next verb is the safe fallback
        self.stream = stream
        self.streams.append(record)
        self._emit(StreamOpened(record.opened / SAMPLE_RATE, stream_sid, url))
        self._call_back(verb.stream, record, "stream-started")
        self._pacer.carry(stream)
        self._close_stream(stream, verb.stream)
        if verb.action is None or self._update is not None:
            return None
        following = self._next(verb.method, urljoin(base, verb.action))
        return self._ending or following

    def _close_stream(self, stream: MediaStream, noun: twiml.Stream) -> None:
        now = self._clock() if self.ended is None else self.ended
        closed = stream.close(now)
        self.stream = None
        self._line.hear(stream.playout.take_audio())
        self.max_lateness = max(self.max_lateness, stream.max_lateness)
        self._emit(StreamClosed(now / SAMPLE_RATE, stream.record.stream_sid, closed.code, closed.by))
        if closed.error in (31903, 31924):
            self._call_back(noun, stream.record, "stream-error", closed.detail)
        else:
            self._call_back(noun, stream.record, "stream-stopped")

    def _next(self, method: twiml.Method, url: str) -> Document | EndReason:
        try:
            return self.fetch(method, url, "in-progress" if self._ending is None else "completed")
        except WebhookError as problem:
            self._no_answer(str(problem))
            return "error"

    def _load(self, url: str) -> bytes:
        try:
            return parse_wav(self._requester.request("GET", url, {}).body, url)
        except (WebhookError, ValueError) as problem:
            self._no_answer(f"<Play>: {problem}")
            return b""

    def _call_back(
        self, noun: twiml.Stream, record: StreamRecord, event: str, error: str | None = None
    ) -> None:
        if noun.status_callback is None:
            return
        fields = {
            "AccountSid": self._fields["AccountSid"],
            "CallSid": self._fields["CallSid"],
            "StreamSid": record.stream_sid,
            "StreamName": record.name,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        if error is not None:
            fields["StreamError"] = error
        self._callbacks.post(noun.status_method, noun.status_callback, fields)

    def _no_answer(self, problem: str) -> None:
        self._report(11200, problem)

    def _report(self, code: int, message: str) -> None:
        self._emit(ProtocolError(self._at(), code, message))

    def _at(self) -> float:
        return self._clock() / SAMPLE_RATE
