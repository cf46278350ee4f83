"""OpenAIActor: owns one model session's socket, and with it the conversation as the model knows it."""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from pykka import ActorRef

from actors.clock import Clock
from actors.greeting import KEPT_RESPONSE, GreetingKeeper
from actors.member import CallError, Member, post
from actors.messages import (
    Begin,
    CallerAudio,
    CheckAlive,
    CutOff,
    DeadlinePassed,
    HeardLess,
    Inject,
    KeysPressed,
    Playback,
    Remember,
    Respond,
    SessionReady,
    SocketLost,
    StopTalking,
    ToolOutput,
)
from actors.meter import Meter, NoMeter
from actors.model_reader import ModelReader
from actors.model_socket import ModelSocket
from actors.model_writer import ModelWriter
from actors.transcoder import CallerTranscoder
from actors.turn_taking import TurnTaking
from wire import client_events, errors, liveness, realtime, restore
from wire.dialect import Dialect, Session
from wire.false_start import Gating
from wire.latency import Onset
from wire.liveness import Liveness
from wire.model_memory import ModelMemory
from wire.transcript import Entry

READER_END_SECONDS = 1.0


class OpenAIActor(Member):
    """Configures the session, feeds it the caller's audio, and tells it what the caller has really heard.

    The audio is handled in the thread of the phone's reader, while it has nothing else to do and the socket takes it.
    """

    audio_limit_ms: ClassVar[float] = 35_000
    """There must be room for all that was kept of the caller's audio: it comes at once when the session begins."""

    def __init__(
        self,
        parent: ActorRef[Any] | None,
        call_sid: str,
        phone: ActorRef[Any] | None,
        socket: ModelSocket,
        dialect: Dialect,
        session: Session,
        clock: Clock,
        gating: Gating | None = None,
        meter: Meter | None = None,
        now: Callable[[], float] = time.monotonic,
        keeper: GreetingKeeper | None = None,
    ) -> None:
        super().__init__(parent, call_sid)
        self._clock = clock
        self._meter = meter or NoMeter()
        self._now = now
        self._socket = socket
        self._dialect = dialect
        self._session = session
        self._ready = False
        self._expires_at: float | None = None
        self._liveness = Liveness()
        self._memory = ModelMemory(f"told_{secrets.token_hex(8)}")
        self._writer = writer = ModelWriter(socket, CallerTranscoder() if session.audio.transcoded else None)
        self._turns = TurnTaking(
            session, dialect, gating, writer, self.actor_ref, phone, parent, clock, now, self.log
        )
        self._reader = ModelReader(socket, session, self.actor_ref, phone, parent, call_sid, keeper)
        self._reading = threading.Thread(
            target=self._reader.run, name=f"model reader {call_sid}", daemon=True
        )
        self.mailbox.borrow_threads(self.on_receive, socket.has_room)

    def handle(self, message: Any) -> Any:
        match message:
            case CallerAudio():
                if self._turns.caller_audio(message):
                    self._look_after(self._liveness.check(self._now()))
                self._writer.append(message.payload, self.mailbox.audio_waits)
            case realtime.SpeechStarted(audio_start_ms=audio_start_ms, item_id=item_id):
                self._turns.speech_started(audio_start_ms, item_id)
            case realtime.SpeechStopped(audio_end_ms=audio_end_ms, item_id=item_id):
                self._turns.speech_stopped(audio_end_ms, item_id)
            case Playback(assistant=assistant):
                self._turns.playback(assistant)
            case Onset():
                self._turns.heard(message)
            case CutOff(heard=heard):
                self._writer.send(*self._memory.cut_off(heard))
            case realtime.ResponseCreated(response_id=response_id):
                self._turns.response_created(response_id)
            case realtime.ResponseDone():
                self._response_done(message)
            case realtime.CallerTranscript(item_id=item_id, text=text):
                post(self.parent, message)
                self._turns.transcript(item_id, text)
            case realtime.FunctionCall():
                self._turns.function_called(message)
            case realtime.McpCall():
                self._turns.mcp_called(message)
            case realtime.McpCallEnded():
                self._turns.mcp_ended(message)
            case ToolOutput(call_id=call_id, output=output, last=last, respond=respond):
                self._writer.send(client_events.create_function_output(call_id, output))
                self._turns.output_came(call_id, last, respond)
            case Respond(instructions=instructions, must=must):
                self._turns.owe(instructions, must)
            case Begin():
                self._begin(message)
            case Inject(text=text, respond=respond):
                self._writer.send(client_events.create_message(None, "system", text))
                if respond:
                    self._turns.owe(None)
            case KeysPressed(item_id=item_id, text=text):
                self._writer.send(client_events.create_message(item_id, "user", text))
                self._turns.owe(None)
            case StopTalking(deaf=deaf, instead=instead):
                self._turns.stop_talking()
                if deaf:
                    self._turns.go_deaf(instead)
            case Remember(entries=entries):
                self._send_history(entries)
            case HeardLess(entry=entry):
                self._writer.send(*self._memory.greeting_cut_off(entry.heard_text))
            case CheckAlive():
                self._look_after(self._liveness.check(self._now()))
            case realtime.SessionCreated(expires_at=expires_at):
                # Not before: an invalid key is accepted with 101 and refused afterwards.
                self._expires_at = expires_at
                self._writer.send(self._dialect.session_update(self._session))
            case realtime.SessionUpdated():
                self._session_updated(message)
            case realtime.Error():
                self._error_reported(message)
            case SocketLost(reason=reason, permanent=permanent):
                # A code that ends every new session the same way says nothing of one that was taken and has worked.
                raise CallError(reason, permanent and not self._ready)
            case DeadlinePassed(what=DeadlinePassed.TURN):
                self._turns.turn_due()
            case DeadlinePassed(what=DeadlinePassed.GATE):
                self._turns.gate_due()
            case DeadlinePassed(what=DeadlinePassed.ALIVE):
                self._look_after(self._liveness.due(self._reader.heard_at, self._now()))
            case _:
                return super().handle(message)

    def open(self) -> None:
        self.mailbox.hold_audio()  # a session hears nothing of the caller before it knows the conversation
        self._reading.start()

    def close(self) -> None:
        self._socket.close()
        if self._reading.ident is not None:
            self._reading.join(READER_END_SECONDS)
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
                    " a server that speaks 24 kHz PCM only needs OPENAI_REALTIME_AUDIO=pcm24",
                    permanent=True,
                )
        self._ready = True
        self._look_after(self._liveness.due(self._reader.heard_at, self._now()))
        post(self.parent, SessionReady(self.actor_ref, self._expires_at))

    def _begin(self, begin: Begin) -> None:
        self._send_history(begin.history)
        if begin.playing is not None:
            # As if a response here had said it: what is still on its way must not be heard when the caller speaks.
            self._turns.plays(KEPT_RESPONSE)
            self._writer.send(self._memory.greeting_plays(begin.playing.item_id, begin.playing.text))
        for text in begin.injected:
            self._writer.send(client_events.create_message(None, "system", text))
        for instructions in begin.owed:
            self._turns.owe(instructions)
        self.mailbox.release_audio()

    def _send_history(self, entries: tuple[Entry, ...]) -> None:
        for event in restore.events(entries):
            self._writer.send(event)

    def _response_done(self, done: realtime.ResponseDone) -> None:
        self._meter.response_done(done.status)
        post(self.parent, done.usage)
        if done.status == "failed":
            self.log.warning("response failed: %s", done.error)
        self._turns.response_done(done)

    def _look_after(self, commands: list[liveness.Command]) -> None:
        for command in commands:
            match command:
                case liveness.Ping():
                    self._writer.ping()
                case liveness.Remind(seconds=seconds):
                    self._clock.after(seconds, self.actor_ref, DeadlinePassed(DeadlinePassed.ALIVE))
                case liveness.Lost():
                    self._socket.abort()
                    raise CallError("the model's server does not answer any more")

    def _error_reported(self, error: realtime.Error) -> None:
        if not self._ready:
            permanent = errors.permanent(error) or error.kind == "invalid_request_error"
            raise CallError(f"session refused: {error}", permanent)
        if errors.fatal(error):
            raise CallError(f"session ended: {error}", errors.permanent(error))
        if errors.already_active(error):
            self._turns.refused(error)
        elif errors.benign(error):
            self.log.info("model refused, harmlessly: %s", error)
        else:
            self.log.warning("model refused: %s", error)
