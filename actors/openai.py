"""OpenAIActor: owns one model session's socket, and with it the conversation as the model knows it."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
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
    Floor,
    FloorChanged,
    HeardLess,
    Inject,
    Interrupt,
    KeysPressed,
    Playback,
    Remember,
    Respond,
    SessionReady,
    SocketLost,
    SpeechUnnoticed,
    StopTalking,
    ToolOutput,
)
from actors.meter import Meter, NoMeter
from actors.model_reader import ModelReader
from actors.model_socket import ModelSocket
from actors.model_writer import ModelWriter
from actors.transcoder import CallerTranscoder
from wire import client_events, errors, false_start, liveness, realtime, restore, turns
from wire.dialect import Dialect, Session
from wire.false_start import Gate, Gating
from wire.hearing import Hearing, Missed
from wire.latency import CallerTurns, Onset, SpeechEdge
from wire.liveness import Liveness
from wire.loudness import is_loud
from wire.model_memory import ModelMemory
from wire.outputs import Outputs
from wire.responses import Responses
from wire.transcript import Entry
from wire.turns import Turns
from wire.vad_watchdog import SERVER_VAD_STOP_MS, SwitchToServerVad, server_vad

READER_END_SECONDS = 1.0
RESUME = (
    "What interrupted your last answer was a noise; the caller has said nothing. Go on with that answer in "
    "mid-sentence, exactly where it was cut off. Repeat nothing, and do not mention the interruption."
)


class OpenAIActor(Member):
    """Configures the session, feeds it the caller's audio, and tells it what the caller has really heard."""

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
        self._phone = phone
        self._socket = socket
        self._dialect = dialect
        self._session = session
        detection = session.turn_detection
        self._caller = CallerTurns(detection.get("prefix_padding_ms"), detection.get("silence_duration_ms"))
        self._gate = Gate(gating)
        self._hearing = Hearing(self._gate.gating.stop_delay_ms, detection.get("type") == "semantic_vad")
        self._liveness = Liveness()
        self._writer = ModelWriter(socket, CallerTranscoder() if session.audio.transcoded else None)
        self._turns = Turns(server_answers=session.answers_turns)
        self._floor = Floor.NOBODY
        self._edge: SpeechEdge | None = None
        self._audible = False
        self._ready = False
        self._deaf = False
        self._expires_at: float | None = None
        self._responses = Responses()
        self._outputs = Outputs()
        self._memory = ModelMemory(f"told_{secrets.token_hex(8)}")
        self._reader = ModelReader(socket, session, self.actor_ref, phone, parent, call_sid, keeper)
        self._reading = threading.Thread(
            target=self._reader.run, name=f"model reader {call_sid}", daemon=True
        )

    def handle(self, message: Any) -> Any:
        match message:
            case CallerAudio(payload=payload, duration_ms=duration_ms, arrived_at=arrived_at):
                self._append(payload, duration_ms, arrived_at)
            case realtime.SpeechStarted(audio_start_ms=audio_start_ms, item_id=item_id):
                self._speech_started(audio_start_ms, item_id)
            case realtime.SpeechStopped(audio_end_ms=audio_end_ms, item_id=item_id):
                self._speech_stopped(audio_end_ms, item_id)
            case Playback(assistant=assistant):
                self._audible = assistant
                self._tell_gate_of_playing()
            case Onset():
                if latency := self._caller.heard(message):
                    post(self.parent, latency)
            case CutOff(heard=heard):
                self._writer.send(*self._memory.cut_off(heard))
            case realtime.ResponseCreated(response_id=response_id):
                self._responses.began(response_id)
                self._caller.response_created(response_id)
                self._take_turns(self._turns.response_created(response_id, self._now()))
                self._tell_gate_of_playing()
                self._silence_what_crossed_speech(response_id)
                if self._deaf and not self._turns.asked_for:
                    self._stop_talking()  # it answers what was heard before
            case realtime.ResponseDone():
                self._response_done(message)
            case realtime.CallerTranscript(item_id=item_id, text=text):
                post(self.parent, message)
                self._carry_out(self._gate.transcript(item_id, text))
            case realtime.FunctionCall(response_id=response_id, call_id=call_id):
                self._outputs.function_called(response_id, call_id)
                post(self.parent, message)
            case realtime.McpCall(response_id=response_id, item_id=item_id):
                self._outputs.mcp_called(response_id, item_id)
                post(self.parent, message)
            case realtime.McpCallEnded(item_id=item_id):
                if self._outputs.mcp_ended(item_id):
                    post(self.parent, message)
                self._answer_outputs()
                self._tell_floor()
            case ToolOutput(call_id=call_id, output=output, last=last, respond=respond):
                self._writer.send(client_events.create_function_output(call_id, output))
                self._outputs.came(call_id, last and respond)
                self._answer_outputs()
                self._tell_floor()
            case Respond(instructions=instructions, must=must):
                self._take_turns(self._turns.owe(instructions, self._now(), must))
            case Begin():
                self._begin(message)
            case Inject(text=text, respond=respond):
                self._writer.send(client_events.create_message(None, "system", text))
                if respond:
                    self._take_turns(self._turns.owe(None, self._now()))
            case KeysPressed(item_id=item_id, text=text):
                self._writer.send(client_events.create_message(item_id, "user", text))
                self._take_turns(self._turns.owe(None, self._now()))
            case StopTalking(deaf=deaf, instead=instead):
                self._stop_talking()
                if deaf:
                    self._go_deaf(instead)
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
                self._take_turns(self._turns.due(self._now()))
            case DeadlinePassed(what=DeadlinePassed.GATE):
                self._carry_out(self._gate.due(self._now()))
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
            self._responses.plays(KEPT_RESPONSE)
            self._writer.send(self._memory.greeting_plays(begin.playing.item_id, begin.playing.text))
        for text in begin.injected:
            self._writer.send(client_events.create_message(None, "system", text))
        for instructions in begin.owed:
            self._take_turns(self._turns.owe(instructions, self._now()))
        self.mailbox.release_audio()

    def _send_history(self, entries: tuple[Entry, ...]) -> None:
        for event in restore.events(entries):
            self._writer.send(event)

    def _append(self, payload: str, duration_ms: float, arrived_at: float) -> None:
        self._caller.appended(duration_ms, arrived_at)
        self._listen(is_loud(payload), duration_ms)
        self._writer.append(payload, self.mailbox.audio_waits)

    def _listen(self, loud: bool, duration_ms: float) -> None:
        """Listens along with the server, to know early what it says late, and what it does not say at all."""
        gate = self._gate
        if gate.listens and (commands := gate.caller_audio(loud, duration_ms, self._now())):
            self._carry_out(commands)
        # What is loud while the assistant can be heard may be its echo.
        words = loud and (self._turns.speaking or not self._audible)
        match self._hearing.caller_audio(loud, words, duration_ms, self._audible):
            case None:
                pass
            case Missed(late_ms=late_ms):
                post(self.parent, SpeechUnnoticed(late_ms / 1000, self.actor_ref))
                self._look_after(self._liveness.check(self._now()))
            case SwitchToServerVad():
                self.log.warning("semantic_vad does not hear this caller: switching to server_vad")
                detection = server_vad(self._session.answers_turns, self._session.interruptible)
                self._writer.send(self._dialect.turn_detection_update(detection))
                gate.gating = replace(gate.gating, stop_delay_ms=SERVER_VAD_STOP_MS)

    def _speech_started(self, audio_start_ms: int, item_id: str) -> None:
        now = self._now()
        self._edge = self._caller.speech_started(audio_start_ms, now)
        self._carry_out(self._gate.speech_started(item_id, now), goes_on=True)
        self._hearing.speech_started()
        # After that: what follows from it may write to the model's socket, and the caller hears us until the clear.
        self._take_turns(self._turns.speech_started(now))

    def _speech_stopped(self, audio_end_ms: int, item_id: str) -> None:
        now = self._now()
        self._hearing.speech_stopped()
        self._caller.speech_stopped(audio_end_ms, now)
        if self._gate.gating.by_server:
            self._take_turns(self._turns.speech_stopped(now))
        else:
            self._carry_out(self._gate.speech_stopped(item_id, now))

    def _tell_gate_of_playing(self) -> None:
        self._carry_out(self._gate.playing(self._audible or self._turns.responding, self._now()))

    def _silence_what_crossed_speech(self, response_id: str) -> None:
        """End a response that was asked for before we knew that the caller speaks.

        The server ends what is active when speech begins, and not what begins after that: it would be heard over the
        caller, and be active still when the server wants to answer them, which it could not.
        """
        if self._turns.speaking and self._gate.gating.by_server and self._session.interruptible:
            self._interrupt()
            self._writer.send(client_events.cancel_response(response_id))

    def _interrupt(self) -> None:
        if self._gate.gating.by_server and not self._session.interruptible:
            return
        self._silence(self._edge)
        if self._responses.active and not self._gate.gating.by_server:
            self._writer.send(client_events.cancel_response())

    def _stop_talking(self) -> None:
        self._silence(None)
        if self._responses.active:
            self._writer.send(client_events.cancel_response())

    def _go_deaf(self, instead: Respond | None) -> None:
        self._deaf = True
        self._writer.send(self._dialect.turn_detection_update(None))
        if instead is not None:
            self._ask(self._turns.owe(instead.instructions, self._now(), instead.must))
        self._take_turns(self._turns.go_deaf(self._now()))

    def _silence(self, caller: SpeechEdge | None) -> None:
        post(self._phone, Interrupt(self._responses.interrupt(), caller))

    def _response_done(self, done: realtime.ResponseDone) -> None:
        self._responses.ended(done.response_id)
        called = self._outputs.response_done(done.response_id)
        self._caller.response_done(done.response_id, followed=called or done.status == "failed")
        self._meter.response_done(done.status)
        post(self.parent, done.usage)
        if done.status == "failed":
            self.log.warning("response failed: %s", done.error)
        empty = done.silent and not called
        self._ask(
            self._turns.response_done(
                done.response_id, done.status, done.reason, done.error, self._now(), empty
            )
        )
        if done.status == "cancelled":
            for item_id in self._outputs.give_up(done.response_id):
                post(self.parent, realtime.McpCallEnded(item_id))
        self._answer_outputs()
        self._tell_floor()
        self._tell_gate_of_playing()

    def _answer_outputs(self) -> None:
        if self._outputs.take_due():
            self._ask(self._turns.owe(None, self._now()))

    def _take_turns(self, commands: list[turns.Command]) -> None:
        self._ask(commands)
        self._tell_floor()

    def _ask(self, commands: list[turns.Command]) -> None:
        for command in commands:
            match command:
                case turns.Ask(instructions=instructions):
                    self._writer.send(client_events.create_response(instructions))
                case turns.Remind(seconds=seconds):
                    self._remind(DeadlinePassed.TURN, seconds)
                case turns.GiveUp(error=error):
                    raise CallError(f"the model cannot answer: {error}", errors.permanent(error))

    def _carry_out(self, commands: list[false_start.Command], goes_on: bool = False) -> None:
        """`goes_on`: the caller speaks again already, so that what is over is answered together with what comes."""
        if not commands:
            return
        for command in commands:
            match command:
                case false_start.Interrupt():
                    self._interrupt()
                case false_start.TurnOver() if goes_on:
                    self._ask(self._turns.owe(None, self._now()))
                case false_start.TurnOver():
                    self._ask(self._turns.speech_stopped(self._now()))
                case false_start.FalseStart(item_id=item_id):
                    self._caller.dismiss()
                    self._writer.send(client_events.delete_item(item_id))
                    self._ask(self._turns.false_start(self._now()))
                case false_start.Resume():
                    instructions = f"{self._session.instructions}\n\n{RESUME}"
                    self._ask(self._turns.owe(instructions, self._now()))
                case false_start.Remind(seconds=seconds):
                    self._remind(DeadlinePassed.GATE, seconds)
        # Once, behind all of them: a floor that is nobody's in between would be taken for a pause.
        self._tell_floor()

    def _look_after(self, commands: list[liveness.Command]) -> None:
        for command in commands:
            match command:
                case liveness.Ping():
                    self._writer.ping()
                case liveness.Remind(seconds=seconds):
                    self._remind(DeadlinePassed.ALIVE, seconds)
                case liveness.Lost():
                    self._socket.abort()
                    raise CallError("the model's server does not answer any more")

    def _remind(self, what: str, seconds: float) -> None:
        self._clock.after(seconds, self.actor_ref, DeadlinePassed(what))

    def _tell_floor(self) -> None:
        if self._turns.speaking:
            floor = Floor.CALLER
        elif self._turns.quiet(self._now()):
            floor = Floor.NOBODY
        else:
            floor = Floor.ASSISTANT
        if floor is not self._floor:
            self._floor = floor
            post(self.parent, FloorChanged(floor, self.actor_ref))

    def _error_reported(self, error: realtime.Error) -> None:
        if not self._ready:
            permanent = errors.permanent(error) or error.kind == "invalid_request_error"
            raise CallError(f"session refused: {error}", permanent)
        if errors.fatal(error):
            raise CallError(f"session ended: {error}", errors.permanent(error))
        if errors.already_active(error):
            self._take_turns(self._turns.refused(error, self._now()))
        elif errors.benign(error):
            self.log.info("model refused, harmlessly: %s", error)
        else:
            self.log.warning("model refused: %s", error)
