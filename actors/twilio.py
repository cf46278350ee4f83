"""TwilioActor: owns one call's media socket, and with it what the caller hears."""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from pykka import ActorRef

from actors.member import Member, post
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Attach,
    CallerAudio,
    CutOff,
    DigitPressed,
    Interrupt,
    MarkEchoed,
    StreamStopped,
)
from actors.meter import Meter, NoMeter
from wire import twilio
from wire.continuity import Continuity
from wire.latency import AssistantVoice, SpeechEdge
from wire.playback import Heard, Ledger, Part
from wire.protocol import ProtocolError


class MediaSocket(Protocol):
    """The websocket that Twilio opened, as this actor needs it. The web layer provides it."""

    def send(self, text: str) -> None:
        """Send one text frame. Raises OSError when the socket has ended."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and end the connection; wakes the reader. Never raises."""

    def abort(self) -> None:
        """End the connection at once, from any thread."""


class TwilioActor(Member):
    """Writes to the media socket: the assistant's audio, marks behind it, and clear when the caller interrupts.

    Its reader is the WSGI thread that holds the socket anyway; see `PhoneReader`.
    """

    audio_limit_ms: ClassVar[float] = 120_000
    """The model speaks faster than real time, so a whole answer may wait here while the socket is slow."""

    def __init__(
        self,
        parent: ActorRef[Any] | None,
        call_sid: str,
        stream_sid: str,
        socket: MediaSocket,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent, call_sid)
        self._meter = meter or NoMeter()
        self._socket = socket
        self._encoder = twilio.StreamEncoder(stream_sid)
        self._clock = clock
        self._ledger = Ledger()
        self._voice = AssistantVoice()
        self._model: ActorRef[Any] | None = None
        self._dead_responses: frozenset[str] = frozenset()
        self._cut_off_items: set[str] = set()
        self._writable = True

    def handle(self, message: Any) -> Any:
        match message:
            case AssistantAudio():
                self._play(message)
            case AssistantAudioDone(part=part):
                self._ledger.finish(part)
            case MarkEchoed(name=name):
                self._confirm(name)
            case Interrupt(dead_responses=dead_responses, caller=caller):
                self._interrupt(dead_responses, caller)
            case Attach(model=model):
                self._model = model
            case _:
                return super().handle(message)

    def close(self) -> None:
        if dropped := self.mailbox.dropped_ms:
            self.log.warning(
                "%.0f ms of the assistant's audio were dropped: the media socket was slow", dropped
            )
            self._meter.audio_dropped("assistant", dropped)
        self._socket.close(1000, "call ended")

    def _play(self, audio: AssistantAudio) -> None:
        if audio.response_id in self._dead_responses:
            self._report_unheard(audio.part)
            return
        mark = self._ledger.queue(audio.part, audio.duration_ms, self._clock())
        self._send(self._encoder.media(audio.payload))
        self._send(self._encoder.mark(mark))
        self._voice.written(audio.response_id, audio.payload, mark, audio.received_at, self._clock())

    def _confirm(self, mark: str) -> None:
        now = self._clock()
        if self._ledger.confirm(mark, now):
            if onset := self._voice.played(mark, now, self._ledger.round_trip_ms or 0.0):
                post(self._model, onset)
        elif latency := self._voice.discarded(mark, now, self._ledger.round_trip_ms):
            post(self.parent, latency)

    def _interrupt(self, dead_responses: frozenset[str], caller: SpeechEdge | None) -> None:
        if self._ledger.pending:
            self._send(self._encoder.clear())
            self._voice.cleared(caller, self._clock())
            self._meter.interrupted()
        cut_off = self._ledger.interrupt(self._clock())
        self._dead_responses |= dead_responses
        self._cut_off_items.update(heard.part.item_id for heard in cut_off)
        if cut_off:
            post(self._model, CutOff(tuple(cut_off)))

    def _report_unheard(self, part: Part) -> None:
        # It was still in the mailbox. If none of its item's audio had gone out, the ledger never knew of the item.
        if part.item_id not in self._cut_off_items:
            self._cut_off_items.add(part.item_id)
            post(self._model, CutOff((Heard(part, 0),)))

    def _send(self, text: str) -> None:
        if not self._writable:
            return
        try:
            self._socket.send(text)
        except OSError as error:
            # Mostly the caller's hang-up, seen here before the reader tells it. The call ends in the usual order.
            self._writable = False
            post(self.parent, StreamStopped(f"media socket cannot be written: {error}"))


class PhoneReader:
    """Reads one media stream and tells: audio to the model's actor, marks to the phone's, control to the call.

    Caller audio that got lost on the way is made up for with silence, because the model's voice activity detection
    counts time in audio. Runs in the WSGI thread that holds the socket.
    """

    def __init__(
        self, stream_sid: str, call: ActorRef[Any], phone: ActorRef[Any], model: ActorRef[Any] | None
    ) -> None:
        self._stream_sid = stream_sid
        self._call = call
        self._phone = phone
        self._continuity = Continuity()
        self.model = model
        """Who takes the caller's audio."""

    def receive(self, text: str | bytes) -> None:
        """Take one frame. Raises ProtocolError if it is not a message of this stream."""
        match twilio.parse(text, self._stream_sid):
            case twilio.Media(payload=payload, duration_ms=duration_ms, timestamp_ms=timestamp_ms):
                now = time.monotonic()
                for lost in self._continuity.before(timestamp_ms, duration_ms):
                    post(self.model, CallerAudio(lost.duration_ms, lost.payload, now - duration_ms / 1000))
                post(self.model, CallerAudio(duration_ms, payload, now))
            case twilio.Mark(name=name):
                post(self._phone, MarkEchoed(name))
            case twilio.Dtmf(digit=digit):
                post(self._call, DigitPressed(digit))
            case twilio.Stop():
                post(self._call, StreamStopped("caller hung up, or Twilio took the call elsewhere"))
            case twilio.Connected() | twilio.Start() as unexpected:
                raise ProtocolError(f"{type(unexpected).__name__.lower()} in the middle of a stream")
            case twilio.Unknown():
                pass  # Twilio may add events at any time
