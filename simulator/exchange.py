"""Twilio's part in one call: asks the server for TwiML and follows it.

Source: twilio-media-streams.md, sections 5 to 9. Where it calls Twilio's behaviour unverified, the choice is the one
that asks more of the server: a refused stream goes on with the next verb, and an action is also asked for
when the caller has hung up.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from simulator import connecting, dialing, dtmf, keypad, message, twiml
from simulator.bridge import Member
from simulator.call_record import CallRecord
from simulator.call_result import StreamRecord
from simulator.document import Document
from simulator.line import Line
from simulator.pacer import Pacer
from simulator.phone_events import (
    Dialed,
    DigitPressed,
    EndReason,
    Joined,
    Left,
    PhoneEvent,
    Played,
    ProtocolError,
    Spoke,
    WebhookAnswered,
)
from simulator.stream import MediaStream
from simulator.wav import parse_wav
from simulator.webhook import Requester, StatusCallbacks, WebhookError
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE, ULAW_SILENCE

if TYPE_CHECKING:
    from simulator.network import PhoneNetwork

MS_PER_CHARACTER = 60
"""How long a Say takes that nothing renders."""

NO_ANSWER = 11200
"""Twilio's error for a webhook that cannot be had, or answers with an error."""

MAX_DOCUMENTS = 200
"""A call that asks for more TwiML than this goes round in a circle."""


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
        receive_buffer: int | None = None,
        fallback_url: str | None = None,
        speak: Callable[[str], bytes] | None,
        emit: Callable[[PhoneEvent], None],
        changed: Callable[[], None],
        network: "PhoneNetwork | None" = None,
    ) -> None:
        """`fields` go with every request for TwiML, CallSid and AccountSid among them.

        `clock` gives the sample time now; `latency` is the streams', in samples, and `receive_buffer` their sockets',
        in bytes. `fallback_url` is asked for TwiML where another URL has failed. `speak` renders the text of a Say.
        `changed` is called after every step of the call. Without a `network` nobody can be dialled, and a Dial ends
        the call.
        """
        self.streams: list[StreamRecord] = []
        """The streams opened so far."""
        self.stream: MediaStream | None = None
        """The stream that is open."""
        self.max_lateness = 0
        """The longest that a media frame left after its time, in samples."""
        self.said: list[tuple[int, int]] = []
        """Sample times from when to when a Say was spoken, whether or not anything rendered it."""
        self.ended: int | None = None
        """Sample time at which the caller, or a REST update, ended the call."""
        self.keys: list[str] = []
        """The keys pressed so far, for Gather and Record."""
        self.network = network
        self.line = line
        self.requester = requester
        self.fields = fields
        self.clock = clock
        self.latency = latency
        self.receive_buffer = receive_buffer
        self._fallback_url = fallback_url
        self._speak = speak
        self.emit = emit
        self.pacer = Pacer(line, clock, changed)
        self.callbacks = StatusCallbacks(requester, f"phone-callbacks {fields['CallSid']}", self._no_answer)
        self._ending: EndReason | None = None
        self._update: Document | twiml.Redirect | None = None
        self._member: Member | None = None
        self._documents = 0

    def fetch(
        self, method: twiml.Method, url: str, status: str, extra: Mapping[str, str] | None = None
    ) -> Document:
        """Ask the public `url` for TwiML with CallStatus `status` and `extra` fields, and the fallback URL if that
        fails.

        Raises WebhookError. Runs before `run` in another thread for the first document of a call.
        """
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise WebhookError(
                f"the call asked for TwiML {MAX_DOCUMENTS} times; {url} goes round in a circle"
            )
        fields = self.fields | {"CallStatus": status, **(extra or {})}
        try:
            answer = self.requester.request(method, url, fields)
        except WebhookError as problem:
            if self._fallback_url is None:
                raise
            self._no_answer(str(problem))
            fields |= {"ErrorCode": str(NO_ANSWER), "ErrorUrl": url}
            url = self._fallback_url
            answer = self.requester.request("POST", url, fields)
        self.emit(WebhookAnswered(self.at(), url, answer.status, answer.body.decode(errors="replace")))
        return Document(answer.body, url, answer.content_type)

    def run(self, outcome: Document | EndReason) -> EndReason:
        """Follow a document, and what it leads to, until the call ends. Returns why."""
        while isinstance(outcome, Document):
            outcome = self._follow(outcome)
        return outcome

    def close(self) -> None:
        """After `run`, also after one that raised: release what the call still holds."""
        if self.stream is not None:
            self.stream.socket.close()
            self.stream = None
        self.callbacks.close()

    @property
    def in_company(self) -> bool:
        """Whether the call talks in a room. Any thread."""
        member = self._member
        return member is not None and member.said_until is not None

    def hang_up(self, reason: EndReason) -> None:
        """End the call, by the caller or a REST update. Any thread."""
        self.pacer.command(lambda: self._end(reason))

    def update(self, following: Document | twiml.Redirect) -> None:
        """What a REST update does: leave the TwiML that runs, stream included, for a document, or for what a URL
        answers. Any thread."""
        self.pacer.command(lambda: self._replace(following))

    def press(self, digit: str) -> None:
        """Any thread."""
        self.pacer.command(lambda: self._press(digit))

    def send_raw(self, message: str | bytes) -> None:
        """Any thread. Does nothing without an open stream."""
        self.pacer.command(lambda: self._send_raw(message))

    def send_bytes(self, data: bytes) -> None:
        """Any thread. Does nothing without an open stream."""
        self.pacer.command(lambda: None if self.stream is None else self.stream.socket.send_bytes(data))

    def _send_raw(self, message: str | bytes) -> None:
        if self.stream is not None:
            self.stream.send_raw(message, self.clock())

    def _end(self, reason: EndReason) -> None:
        if self._ending is None:
            self._ending, self.ended = reason, self.clock()
        self.pacer.interrupted = True

    def _replace(self, following: Document | twiml.Redirect) -> None:
        self._update = following
        self.pacer.interrupted = True

    def interruption(self) -> Document | EndReason | None:
        """What takes the place of the TwiML that runs, if anything does."""
        self.pacer.obey()
        if self._ending is not None:
            return self._ending
        update, self._update = self._update, None
        self.pacer.interrupted = False
        if isinstance(update, twiml.Redirect):
            return self.next(update.method, update.url)
        return update

    def talk(self, member: Member, room: str, done: Callable[[], bool], samples: int | None = None) -> None:
        """Join a room until `done`, that many samples' time passed, or an interruption; leave it in any case."""
        self.emit(Joined(self.at(), room))
        self._member = member
        try:
            self.pacer.talk(member, done, samples)
        finally:
            self._member = None
            member.leave()
        self.emit(Left(self.at(), room))

    def after(
        self, action: str | None, method: twiml.Method, base: str, extra: Mapping[str, str]
    ) -> Document | EndReason | None:
        """What follows a verb that has ended and may have an action; None is the next verb, or what replaced it."""
        if action is None or self._update is not None:
            return None
        following = self.next(method, urljoin(base, action), extra)
        return self._ending or following

    def _press(self, digit: str) -> None:
        self.emit(DigitPressed(self.at(), digit))
        self.keys.append(digit)
        if self.stream is not None:
            self.stream.press(digit, self.clock())
        elif self._member is not None:
            self.line.say(dtmf.tones(digit))

    def _follow(self, document: Document) -> Document | EndReason:
        try:
            twiml.check_type(document.content_type)
            verbs = twiml.parse(document.body)
        except twiml.TwimlError as problem:
            self.report(problem.code, f"{document.url}: {problem}")
            return "error"
        for verb in verbs:
            outcome = self.interruption() or self._do(verb, document.url) or self.interruption()
            if outcome is not None:
                return outcome
        return self.interruption() or "end"

    def _do(self, verb: twiml.Verb, base: str) -> Document | EndReason | None:
        match verb:
            case twiml.Connect():
                return connecting.connect(self, verb, base)
            case twiml.Say() | twiml.Play() | twiml.Pause():
                self.perform(verb, base)
            case twiml.Redirect(url, method):
                return self.next(method, urljoin(base, url))
            case twiml.Dial():
                if self.network is None:
                    noun = verb.conference
                    self.emit(Dialed(self.at(), verb.number if noun is None else noun.name))
                    return "dial"
                return dialing.dial(self, self.network, verb, base)
            case twiml.Record():
                return message.record(self, verb, base)
            case twiml.Gather():
                return keypad.gather(self, verb, base)
            case twiml.Reject():
                return "reject"
            case twiml.Hangup():
                return "hangup"
        return None

    def perform(
        self,
        verb: twiml.Say | twiml.Play | twiml.Pause,
        base: str,
        done: Callable[[], bool] | None = None,
    ) -> None:
        """Let a verb be heard to its end, an interruption, or `done`."""
        match verb:
            case twiml.Say(text):
                self.emit(Spoke(self.at(), text))
                began = self.clock()
                silence = ULAW_SILENCE * (len(text) * MS_PER_CHARACTER * BYTES_PER_MS)
                self.pacer.play(silence if self._speak is None else self._speak(text), done)
                self.said.append((began, self.clock()))
            case twiml.Play():
                self.emit(Played(self.at(), verb.digits or verb.url))
                self.pacer.play(
                    dtmf.tones(verb.digits) if verb.digits else self._load(urljoin(base, verb.url)), done
                )
            case twiml.Pause(seconds):
                self.pacer.pause(round(seconds * SAMPLE_RATE), done)

    def next(
        self, method: twiml.Method, url: str, extra: Mapping[str, str] | None = None
    ) -> Document | EndReason:
        """The document at the public `url`; "error" if there is none."""
        status = "in-progress" if self._ending is None else "completed"
        try:
            return self.fetch(method, url, status, extra)
        except WebhookError as problem:
            self._no_answer(str(problem))
            return "error"

    def _load(self, url: str) -> bytes:
        try:
            return parse_wav(self.requester.request("GET", url, {}).body, url)
        except (WebhookError, ValueError) as problem:
            self._no_answer(f"<Play>: {problem}")
            return b""

    def call_back(self, callback: twiml.StatusCallback, base: str, fields: dict[str, str]) -> None:
        """Deliver a status callback, in order and without waiting for it."""
        self.callbacks.post(callback.method, urljoin(base, callback.url), fields)

    def report_status(self, record: CallRecord, event: str, status: str, sip_code: int | None = None) -> None:
        """Deliver the call's own status callback, if it has one that wants this event."""
        callback = record.callback
        if callback is not None and event in callback.events:
            fields = record.callback_fields(status, sip_code)
            self.callbacks.post(callback.method, callback.url, fields)

    def _no_answer(self, problem: str) -> None:
        self.report(NO_ANSWER, problem)

    def report(self, code: int, message: str) -> None:
        self.emit(ProtocolError(self.at(), code, message))

    def at(self) -> float:
        return self.clock() / SAMPLE_RATE
