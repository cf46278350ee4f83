"""TwilioActor: owns one call's media socket, and with it what the caller hears."""

import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from pykka import ActorRef

from actors.clock import Clock
from actors.member import Audience, Member, NoAudience, post
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Attach,
    Cleared,
    CutOff,
    DeadlinePassed,
    HeardSoFar,
    Interrupt,
    MarkEchoed,
    Playback,
    Played,
    PlaySound,
    Queued,
    StreamStopped,
)
from actors.meter import Meter, NoMeter
from wire import twilio
from wire.g711 import BYTES_PER_MS
from wire.latency import AssistantVoice, SpeechEdge
from wire.playback import Heard, Ledger, Part


class MediaSocket(Protocol):
    """The websocket that Twilio opened, as this actor needs it. The web layer provides it."""

    def send(self, *texts: str) -> None:
        """Send text frames, in one write. Raises OSError when the socket has ended."""

    def has_room(self) -> bool:
        """Whether `send` would wait for nothing, with up to LENT_MS of audio. Any thread; never raises."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and end the connection; wakes the reader. Never raises."""

    def abort(self) -> None:
        """End the connection at once, from any thread."""


SOUND = Part("", 0)
"""Stands in the ledger for sounds of ours: the model knows of no such item."""

HEARD_STEP_MS = 500
"""How often at most the call is told how far the caller has come in an answer; it counts if this process dies."""

MARK_STEP_MS = 200
"""Smaller pieces do not get a mark each, as long as one is awaited: every mark comes back, and wakes a thread.
Between two of them the ledger goes by the clock, as playing does; where that stood still, the next sets it right."""

AT_ONCE = 16
"""Messages that go out in one write, at most: a clear must not wait for more than that behind a slow phone."""

DEAF_SECONDS = 5.0
"""A phone that is so late with a mark reads nothing any more, though its kernel may go on taking what it is sent."""


class TwilioActor(Member):
    """Writes to the media socket: the assistant's audio, marks behind it, and clear when the caller interrupts.

    Its reader is the WSGI thread that holds the socket anyway; see `PhoneReader`. Audio and echoes are
    handled in the threads of the readers that tell them, while it has nothing else to do and the socket takes them.
    """

    audio_limit_ms: ClassVar[float] = 120_000
    """The model speaks faster than real time, so a whole answer may wait here while the socket is slow."""

    def __init__(
        self,
        parent: ActorRef[Any] | None,
        call_sid: str,
        stream_sid: str,
        socket: MediaSocket,
        listeners: Audience | None = None,
        meter: Meter | None = None,
        timers: Clock | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent, call_sid)
        self._meter = meter or NoMeter()
        self._listeners = listeners or NoAudience()
        self._socket = socket
        self._encoder = twilio.StreamEncoder(stream_sid)
        self._timers = timers
        self._watched = False
        self._clock = clock
        self._ledger = Ledger()
        self._voice = AssistantVoice()
        self._model: ActorRef[Any] | None = None
        self._dead_responses: frozenset[str] = frozenset()
        self._cut_off_items: set[str] = set()
        self._last_marks: dict[bool, str] = {}
        self._sent_mark = ""
        self._unsent: list[str] = []
        """Goes out with what comes next."""
        self._unsent_mark: str | None = None
        """Stands behind what was queued last, and is sent when that turns out to be the last for now."""
        self._unmarked_ms = 0.0
        self._playback = Playback(assistant=False, sound=False)
        self._told_ms: dict[Part, int] = {}
        self._writable = True
        self.mailbox.borrow_threads(self.on_receive, socket.has_room)

    def handle(self, message: Any) -> Any:
        match message:
            case AssistantAudio():
                self._play(message)
                self._send_unless_more_waits()
            case AssistantAudioDone(part=part):
                self._send_unsent_mark()
                self._send_unless_more_waits()
                if heard := self._ledger.finish(part):
                    self._tell_heard(heard)
            case MarkEchoed():
                self._confirm(message)
            case Interrupt(dead_responses=dead_responses, caller=caller):
                self._interrupt(dead_responses, caller)
            case Attach(model=model):
                self._attach(model)
            case PlaySound(name=name, ulaw=ulaw):
                self._play_sound(name, ulaw)
            case DeadlinePassed(what=DeadlinePassed.DEAF):
                self._watched = False
                self._watch()
            case _:
                return super().handle(message)

    def close(self) -> None:
        if dropped := self.mailbox.dropped_ms:
            self.log.warning(
                "%.0f ms of the assistant's audio were dropped: the media socket was slow", dropped
            )
            self._meter.audio_dropped("assistant", dropped)
        self._socket.close(1000, "call ended")

    def _attach(self, model: ActorRef[Any] | None) -> None:
        # Of what a former session was saying, nothing more is generated. What came of it is played.
        self._ledger.break_off()
        self._model = model
        post(model, self._playback)

    def _play(self, audio: AssistantAudio) -> None:
        if audio.response_id in self._dead_responses:
            self._report_unheard(audio.part)
            return
        listened_to = self._voice.listens_to(audio.response_id)
        mark = self._queue(audio.part, audio.payload, audio.duration_ms, listened_to)
        if mark is not None:
            self._voice.written(audio.response_id, audio.payload, mark, audio.received_at, self._clock())
        self._listeners.tell(audio)

    def _play_sound(self, name: str, ulaw: bytes) -> None:
        self.log.info("playing %s", name)
        self._queue(SOUND, b64encode(ulaw).decode(), len(ulaw) / BYTES_PER_MS, at_once=True)
        self._send()
        self._ledger.finish(SOUND)

    def _queue(self, part: Part, payload: str, duration_ms: float, at_once: bool) -> str | None:
        """Send audio. Returns its mark, where that was sent with it, as is certain with `at_once`."""
        now, ledger = self._clock(), self._ledger
        heard_of = self._listeners.want(Queued)
        generation, offset_ms = (ledger.generation, ledger.queued_ms) if heard_of else (0, 0.0)
        # Listeners are told of each piece with a mark of its own.
        mark = ledger.queue(part, duration_ms, now, None if heard_of else self._unsent_mark)
        self._unmarked_ms += duration_ms
        self._unsent.append(self._encoder.media(payload))
        marked = at_once or self._unmarked_ms >= MARK_STEP_MS or not ledger.awaits(self._sent_mark)
        if marked:
            self._unsent.append(self._encoder.mark(mark))
            self._sent_mark, self._unsent_mark, self._unmarked_ms = mark, None, 0.0
        else:
            self._unsent_mark = mark
        if not self._watched:
            self._watch()
        if heard_of:
            self._listeners.tell(Queued(duration_ms, payload, mark, generation, offset_ms, now))
        sounds = part is SOUND
        self._last_marks[sounds] = mark
        if not (self._playback.sound if sounds else self._playback.assistant):
            self._tell_playback()
        return mark if marked else None

    def _send_unsent_mark(self) -> None:
        mark = self._unsent_mark
        if mark is not None:
            self._send(self._encoder.mark(mark))
            self._voice.marked(mark)
            self._sent_mark, self._unsent_mark, self._unmarked_ms = mark, None, 0.0

    def _watch(self) -> None:
        """See to it that marks come back. A phone that reads nothing closes no socket, and nothing is heard."""
        if self._watched or self._timers is None or not self._writable:
            return
        due_at = self._ledger.due_at
        if due_at is None:
            return
        left = due_at + DEAF_SECONDS - self._clock()
        if left > 0:
            self._watched = True
            self._timers.after(left, self.actor_ref, DeadlinePassed(DeadlinePassed.DEAF))
            return
        self._writable = False
        post(self.parent, StreamStopped(f"the phone has played nothing for {DEAF_SECONDS:.0f} s"))

    def _confirm(self, echo: MarkEchoed) -> None:
        mark, now = echo.name, self._clock()
        if heard := self._ledger.confirm(mark, now):
            if self._listeners.want(Played):
                self._listeners.tell(Played(0.0, mark, echo.position_ms, echo.echoed_at))
            if onset := self._voice.played(mark, now, self._ledger.round_trip_ms or 0.0):
                post(self._model, onset)
            for each in heard:
                self._tell_heard(each)
            if mark == self._sent_mark:
                # So that one is awaited as long as something plays, and the end of what plays is confirmed.
                self._send_unsent_mark()
            self._tell_playback()
        elif latency := self._voice.discarded(mark, now, self._ledger.round_trip_ms):
            post(self.parent, latency)

    def _tell_heard(self, heard: Heard) -> None:
        if heard.part == SOUND:
            return
        to_the_end = self._ledger.heard_to_the_end(heard.part)
        # What comes last is told exactly: it may be the last of a session that is lost.
        told_ms = self._told_ms.get(heard.part, 0)
        if not to_the_end and self._ledger.pending and heard.heard_ms - told_ms < HEARD_STEP_MS:
            return
        if to_the_end:
            self._told_ms.pop(heard.part, None)
        else:
            self._told_ms[heard.part] = heard.heard_ms
        post(self.parent, HeardSoFar(heard, to_the_end))

    def _tell_playback(self) -> None:
        ledger, last_marks, told = self._ledger, self._last_marks, self._playback
        assistant, sound = ledger.awaits(last_marks.get(False)), ledger.awaits(last_marks.get(True))
        if assistant is not told.assistant or sound is not told.sound:
            self._playback = Playback(assistant, sound)
            post(self._model, self._playback)
            post(self.parent, self._playback)

    def _interrupt(self, dead_responses: frozenset[str], caller: SpeechEdge | None) -> None:
        pending = self._ledger.pending
        if pending:
            self._send(self._encoder.clear())
        now = self._clock()
        if pending:
            self._voice.cleared(caller, now)
            self._meter.interrupted()
            self._listeners.tell(Cleared(0.0, self._ledger.generation, self._ledger.head_ms(now)))
        heard_out = self._ledger.heard_out(now)
        cut_off = tuple(heard for heard in self._ledger.interrupt(now) if heard.part != SOUND)
        self._unsent_mark, self._unmarked_ms = None, 0.0
        self._dead_responses |= dead_responses
        self._cut_off_items.update(heard.part.item_id for heard in cut_off)
        self._told_ms.clear()
        if cut_off:
            self._tell_cut_off(cut_off)
        for heard in heard_out:
            if heard.part != SOUND:
                post(self.parent, HeardSoFar(heard, to_the_end=True))
        self._tell_playback()

    def _tell_cut_off(self, heard: tuple[Heard, ...]) -> None:
        post(self._model, CutOff(heard))
        post(self.parent, CutOff(heard))

    def _report_unheard(self, part: Part) -> None:
        # It was still in the mailbox. If none of its item's audio had gone out, the ledger never knew of the item.
        if part.item_id not in self._cut_off_items:
            self._cut_off_items.add(part.item_id)
            self._tell_cut_off((Heard(part, 0),))

    def _send_unless_more_waits(self) -> None:
        # A queue forms where the actor does not keep up; then one write for all of it costs less than one for each.
        if self._unsent and (len(self._unsent) >= AT_ONCE or not self.mailbox.audio_waits):
            self._send()

    def _send(self, *texts: str) -> None:
        unsent, self._unsent = self._unsent, []
        if not self._writable:
            return
        try:
            self._socket.send(*unsent, *texts)
        except OSError as error:
            # Mostly the caller's hang-up, seen here before the reader tells it. The call ends in the usual order.
            self._writable = False
            post(self.parent, StreamStopped(f"media socket cannot be written: {error}"))
