"""OpenAIActor: owns one call's model socket, and with it the conversation as the model knows it."""

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from pykka import ActorRef

from actors.clock import Clock
from actors.member import CallError, Member, post
from actors.messages import (
    AssistantSaid,
    CallerAudio,
    CallerSaid,
    CutOff,
    DeadlinePassed,
    Interrupt,
    SessionReady,
    SocketLost,
)
from actors.meter import Meter, NoMeter
from actors.model_reader import ModelReader
from actors.model_socket import ModelSocket, ModelSocketError
from actors.transcoder import CallerTranscoder
from wire import errors, realtime
from wire.dialect import Dialect, Session
from wire.latency import CallerTurns, Onset
from wire.playback import Heard
from wire.turns import Ask, Command, GiveUp, Remind, Turns

READER_END_SECONDS = 1.0


class OpenAIActor(Member):
    """Configures the session, feeds it the caller's audio, and tells it what the caller has really heard."""

    audio_limit_ms: ClassVar[float] = 2000
    """What the caller says while the session is being set up is kept, and sent when it is ready: this much of it."""

    def __init__(
        self,
        parent: ActorRef[Any] | None,
        call_sid: str,
        phone: ActorRef[Any] | None,
        socket: ModelSocket,
        dialect: Dialect,
        session: Session,
        greeting: str | None,
        clock: Clock,
        meter: Meter | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent, call_sid)
        self._clock = clock
        self._meter = meter or NoMeter()
        detection = session.turn_detection
        self._caller = CallerTurns(detection.get("prefix_padding_ms"), detection.get("silence_duration_ms"))
        self._now = now
        self._transcoder = CallerTranscoder() if session.audio.transcoded else None
        self._turns = Turns(server_answers=session.answers_turns)
        self._phone = phone
        self._socket = socket
        self._dialect = dialect
        self._session = session
        self._greeting = greeting
        self._ready = False
        self._unwritable = False
        self._active_responses: set[str] = set()
        self._responses_since_interruption: set[str] = set()
        self._reader = threading.Thread(
            target=ModelReader(socket, session, self.actor_ref, phone, call_sid).run,
            name=f"model reader {call_sid}",
            daemon=True,
        )

    def handle(self, message: Any) -> Any:
        match message:
            case CallerAudio(payload=payload, duration_ms=duration_ms, arrived_at=arrived_at):
                self._caller.appended(duration_ms, arrived_at)
                if self._transcoder is not None:
                    payload = self._transcoder.transcode(payload)
                if payload:
                    self._send(realtime.append_audio(payload))
            case realtime.SpeechStarted():
                self._interrupt(message)
            case Onset():
                if latency := self._caller.heard(message):
                    post(self.parent, latency)
            case CutOff(heard=heard):
                self._forget_unheard(heard)
            case realtime.ResponseCreated(response_id=response_id):
                self._active_responses.add(response_id)
                self._responses_since_interruption.add(response_id)
                self._caller.response_created(response_id)
                self._carry_out(self._turns.response_created(response_id, self._now()))
            case realtime.ResponseDone():
                self._response_done(message)
            case realtime.CallerTranscript(item_id=item_id, text=text):
                if text:
                    post(self.parent, CallerSaid(item_id, text))
            case realtime.AssistantTranscript(item_id=item_id, text=text):
                post(self.parent, AssistantSaid(item_id, text))
            case realtime.SessionCreated():
                # Not before: an invalid key is accepted with 101 and refused afterwards.
                self._send(self._dialect.session_update(self._session))
            case realtime.SessionUpdated():
                self._session_updated(message)
            case realtime.Error():
                self._error_reported(message)
            case SocketLost(reason=reason):
                raise CallError(reason)
            case realtime.SpeechStopped():
                self._caller.speech_stopped(message.audio_end_ms, self._now())
                self._carry_out(self._turns.speech_stopped(self._now()))
            case DeadlinePassed():
                self._carry_out(self._turns.due(self._now()))
            case _:
                return super().handle(message)

    def open(self) -> None:
        self.mailbox.hold_audio()
        self._reader.start()

    def close(self) -> None:
        self._socket.close()
        if self._reader.ident is not None:
            self._reader.join(READER_END_SECONDS)
        # Not by the reader: this thread might be sending, and then write to whatever has got the descriptor since.
        self._socket.release()
        if dropped := self.mailbox.dropped_ms:
            self.log.warning("%.0f ms of the caller's audio were dropped: the model was slow", dropped)
            self._meter.audio_dropped("caller", dropped)

    def _session_updated(self, updated: realtime.SessionUpdated) -> None:
        if self._ready:
            return
        # A session that answers in another format would be loud static in the caller's ear.
        for direction, found in (("input", updated.input_format), ("output", updated.output_format)):
            if not self._session.audio.is_named(found):
                raise CallError(
                    f"session has {direction} format {found or 'none'!r} instead of {self._session.audio.setting};"
                    " a server that speaks 24 kHz PCM only needs OPENAI_REALTIME_AUDIO=pcm24"
                )
        self._ready = True
        self._carry_out(self._turns.owe(self._greeting, self._now()))
        self.mailbox.release_audio()
        post(self.parent, SessionReady())

    def _interrupt(self, started: realtime.SpeechStarted) -> None:
        caller = self._caller.speech_started(started.audio_start_ms, self._now())
        if self._session.interruptible:
            # A response that the server has not finished may still send audio; one that it has may be on its way.
            dead = frozenset(self._responses_since_interruption | self._active_responses)
            post(self._phone, Interrupt(dead, caller))
            self._responses_since_interruption.clear()
        # After that: what follows from it may write to the model's socket, and the caller hears us until the clear.
        self._carry_out(self._turns.speech_started(self._now()))

    def _forget_unheard(self, heard: tuple[Heard, ...]) -> None:
        by_item: dict[str, list[Heard]] = {}
        for cut in heard:
            by_item.setdefault(cut.part.item_id, []).append(cut)
        for item_id, parts in by_item.items():
            # Parts are played in order: where the first is not among those cut off, it was heard to its end.
            if parts[0].part.content_index == 0 and not any(cut.heard_ms for cut in parts):
                self._send(realtime.delete_item(item_id))
                continue
            for cut in parts:
                self._send(realtime.truncate_item(item_id, cut.part.content_index, cut.heard_ms))

    def _response_done(self, done: realtime.ResponseDone) -> None:
        self._active_responses.discard(done.response_id)
        self._caller.response_done(done.response_id, followed=done.status == "failed")
        self._meter.response_done(done.status)
        if done.status == "failed":
            self.log.warning("response failed: %s", done.error)
        self._carry_out(
            self._turns.response_done(done.response_id, done.status, done.reason, done.error, self._now())
        )

    def _send(self, text: str) -> None:
        if self._unwritable:
            return
        try:
            self._socket.send(text)
        except ModelSocketError:
            # How it ended, with the close code, is for the reader to tell, which this wakes.
            self._unwritable = True
            self._socket.abort()

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Ask(instructions=instructions):
                    self._send(realtime.create_response(instructions))
                case Remind(seconds=seconds):
                    self._clock.after(seconds, self.actor_ref, DeadlinePassed(DeadlinePassed.TURN))
                case GiveUp(error=error):
                    raise CallError(f"the model cannot answer: {error}")

    def _error_reported(self, error: realtime.Error) -> None:
        if not self._ready:
            raise CallError(f"session refused: {error}")
        if errors.fatal(error):
            raise CallError(f"session ended: {error}")
        if errors.already_active(error):
            self._carry_out(self._turns.refused(error, self._now()))
        elif errors.benign(error):
            self.log.info("model refused, harmlessly: %s", error)
        else:
            self.log.warning("model refused: %s", error)
