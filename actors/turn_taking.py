"""Turn-taking: who has the floor of one model session, who interrupts whom, and what the model is asked for when.

    decided by              what
    wire.turns              when a response is asked for
    wire.false_start        whether a sound interrupts, and is a turn
    wire.outputs            whether the model waits for what it has called
    wire.responses          what must not be heard any more after an interruption
    wire.hearing            whether the server hears the caller at all

They decide, and here it is carried out: events go to the model, `Interrupt` to the phone, `FloorChanged` to the call.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pykka import ActorRef

from actors.clock import Clock
from actors.member import CallError, CallLog, post
from actors.messages import (
    CallerAudio,
    DeadlinePassed,
    Floor,
    FloorChanged,
    Interrupt,
    Respond,
    Said,
    SpeechUnnoticed,
    TurnTaken,
)
from actors.model_writer import ModelWriter
from wire import client_events, errors, false_start, realtime, turns
from wire.dialect import Dialect, Session
from wire.false_start import Gate, Gating
from wire.hearing import Hearing, Missed
from wire.instructions import RESUME, adding
from wire.latency import CallerTurns, Onset, SpeechEdge
from wire.outputs import Outputs
from wire.responses import Responses
from wire.turns import Turns
from wire.vad_watchdog import SERVER_VAD_STOP_MS, SwitchToServerVad, server_vad


class TurnTaking:
    """Belongs to an OpenAIActor, and to whatever thread runs that.

    Whatever may ask for a response raises CallError where the model cannot answer any more.
    """

    def __init__(
        self,
        session: Session,
        dialect: Dialect,
        gating: Gating | None,
        writer: ModelWriter,
        actor: ActorRef[Any],
        phone: ActorRef[Any] | None,
        call: ActorRef[Any] | None,
        clock: Clock,
        now: Callable[[], float],
        log: CallLog,
    ) -> None:
        """`actor`: whom it belongs to; the clock reminds it, by DeadlinePassed. `now`: in s."""
        self._session = session
        self._dialect = dialect
        self._writer = writer
        self._actor = actor
        self._phone = phone
        self._call = call
        self._clock = clock
        self._now = now
        self._log = log
        detection = session.turn_detection
        self._caller = CallerTurns(detection.get("prefix_padding_ms"), detection.get("silence_duration_ms"))
        self._gate = Gate(gating)
        self._hearing = Hearing(self._gate.gating.stop_delay_ms, detection.get("type") == "semantic_vad")
        self._turns = Turns(server_answers=session.answers_turns)
        self._responses = Responses()
        self._outputs = Outputs()
        self._floor = Floor.NOBODY
        self._edge: SpeechEdge | None = None
        self._audible = False
        self._deaf = False

    def caller_audio(self, audio: CallerAudio) -> bool:
        """Listen along with the server, to know early what it says late, and what it does not say at all.

        50 times a second. True: the server may have missed something, and should be asked whether it lives.
        """
        if self._deaf:
            return False
        loud, duration_ms = audio.loud, audio.duration_ms
        self._caller.appended(duration_ms, audio.arrived_at)
        gate = self._gate
        if gate.listens and (commands := gate.caller_audio(loud, duration_ms, self._now())):
            self._carry_out(commands)
        # What is loud while the assistant can be heard may be its echo.
        words = loud and (self._turns.speaking or not self._audible)
        match self._hearing.caller_audio(loud, words, duration_ms, self._audible):
            case None:
                return False
            case Missed(late_ms=late_ms):
                post(self._call, SpeechUnnoticed(late_ms / 1000, self._actor))
                return True
            case SwitchToServerVad():
                self._log.warning("semantic_vad does not hear this caller: switching to server_vad")
                detection = server_vad(self._session.answers_turns, self._session.interruptible)
                self._writer.send(self._dialect.turn_detection_update(detection))
                gate.gating = replace(gate.gating, stop_delay_ms=SERVER_VAD_STOP_MS)
                return False

    def speech_started(self, audio_start_ms: int, item_id: str) -> None:
        """The server hears the caller."""
        now = self._now()
        self._edge = self._caller.speech_started(audio_start_ms, now)
        self._carry_out(self._gate.speech_started(item_id, now), goes_on=True)
        self._hearing.speech_started()
        # After that: what follows from it may write to the model's socket, and the caller hears us until the clear.
        self._take_turns(self._turns.speech_started(now))

    def speech_stopped(self, audio_end_ms: int, item_id: str) -> None:
        """The server hears the caller no more."""
        now = self._now()
        self._hearing.speech_stopped()
        self._caller.speech_stopped(audio_end_ms, now)
        if self._gate.gating.by_server:
            self._tell_of_turn()
            self._take_turns(self._turns.speech_stopped(now))
        else:
            self._carry_out(self._gate.speech_stopped(item_id, now))

    def transcript(self, item_id: str, text: str | None) -> None:
        """The caller's words; None if the transcription failed."""
        self._carry_out(self._gate.transcript(item_id, text))

    def playback(self, audible: bool) -> None:
        """Whether the caller hears the assistant now."""
        self._audible = audible
        self._tell_gate_of_playing()

    def plays(self, response_id: str) -> None:
        """The phone plays what counts as a response of this session's."""
        self._responses.plays(response_id)

    def heard(self, onset: Onset) -> None:
        """The caller hears a response begin."""
        if latency := self._caller.heard(onset):
            post(self._call, latency)

    def response_created(self, response_id: str) -> None:
        """A response has begun."""
        self._responses.began(response_id)
        self._caller.response_created(response_id)
        self._take_turns(self._turns.response_created(response_id, self._now()))
        self._tell_gate_of_playing()
        self._silence_what_crossed_speech(response_id)
        if self._deaf and not self._turns.asked_for:
            self.stop_talking()  # it answers what was heard before

    def response_done(self, done: realtime.ResponseDone) -> None:
        """A response has ended."""
        self._responses.ended(done.response_id)
        called = self._outputs.response_done(done.response_id)
        self._caller.response_done(done.response_id, followed=called or done.status == "failed")
        empty = done.silent and not called
        self._ask(
            self._turns.response_done(
                done.response_id, done.status, done.reason, done.error, self._now(), empty
            )
        )
        if done.status == "cancelled":
            for item_id in self._outputs.give_up(done.response_id):
                post(self._call, realtime.McpCallEnded(item_id))
        self._answer_outputs()
        self._tell_gate_of_playing()

    def function_called(self, call: realtime.FunctionCall) -> None:
        """The model waits for a function's output."""
        self._outputs.function_called(call.response_id, call.call_id)
        post(self._call, call)

    def mcp_called(self, call: realtime.McpCall) -> None:
        """The model waits for what its server runs."""
        self._outputs.mcp_called(call.response_id, call.item_id)
        post(self._call, call)

    def mcp_ended(self, ended: realtime.McpCallEnded) -> None:
        """What the server ran has ended."""
        if self._outputs.mcp_ended(ended.item_id):
            post(self._call, ended)
        self._answer_outputs()

    def output_came(self, call_id: str, last: bool, respond: bool) -> None:
        """The model was told a function's output. `last`: the call knows of no other; `respond`: it is answered."""
        self._outputs.came(call_id, last, respond)
        self._answer_outputs()

    def owe(self, instructions: str | None, must: bool = False) -> None:
        """A response is owed as soon as it may be asked for. `must`: also where the caller was answered meanwhile."""
        self._take_turns(self._turns.owe(instructions, self._now(), must))

    def refused(self, error: realtime.Error) -> None:
        """The server refused to begin a response, because another is active."""
        self._take_turns(self._turns.refused(error, self._now()))

    def turn_due(self) -> None:
        """DeadlinePassed.TURN has come."""
        self._take_turns(self._turns.due(self._now()))

    def gate_due(self) -> None:
        """DeadlinePassed.GATE has come."""
        self._carry_out(self._gate.due(self._now()))

    def stop_talking(self) -> None:
        """Silence the assistant, for another reason than the caller's speech."""
        self._silence(None)
        if self._responses.active:
            self._writer.send(client_events.cancel_response())

    def go_deaf(self, instead: Respond | None) -> None:
        """From now on nobody listens to the caller. `instead`: what is still said."""
        self._deaf = True
        self._writer.send(self._dialect.turn_detection_update(None))
        self._ask(self._turns.go_deaf(self._now()))
        if instead is not None:
            self._ask(self._turns.owe(instead.instructions, self._now(), must=True))
        self._tell_floor()

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

    def _silence(self, caller: SpeechEdge | None) -> None:
        post(self._phone, Interrupt(self._responses.interrupt(), caller))

    def _answer_outputs(self) -> None:
        if self._outputs.take_due():
            self._ask(self._turns.owe(None, self._now()))
        self._tell_floor()

    def _take_turns(self, commands: list[turns.Command]) -> None:
        self._ask(commands)
        self._tell_floor()

    def _ask(self, commands: list[turns.Command]) -> None:
        for command in commands:
            match command:
                case turns.Ask(instructions=instructions):
                    self._writer.send(client_events.create_response(instructions))
                case turns.Said(instructions=instructions):
                    post(self._call, Said(instructions, self._actor))
                case turns.Remind(seconds=seconds):
                    self._remind(DeadlinePassed.TURN, seconds)
                case turns.GiveUp(error=error):
                    raise CallError(f"the model cannot answer: {error}", errors.permanent(error))

    def _carry_out(self, commands: list[false_start.Command], goes_on: bool = False) -> None:
        """`goes_on`: the caller speaks again already, so that what is over is answered together with what comes."""
        if not commands or self._deaf:
            return
        for command in commands:
            match command:
                case false_start.Interrupt():
                    self._interrupt()
                    if not self._gate.gating.resume:  # else it may still turn out to have been nothing
                        self._tell_of_turn()
                case false_start.TurnOver() if goes_on:
                    self._tell_of_turn()
                    self._ask(self._turns.owe(None, self._now()))
                case false_start.TurnOver():
                    self._tell_of_turn()
                    self._ask(self._turns.speech_stopped(self._now()))
                case false_start.FalseStart(item_id=item_id):
                    self._caller.dismiss()
                    self._writer.send(client_events.delete_item(item_id))
                    self._ask(self._turns.false_start(self._now()))
                case false_start.Resume():
                    self._ask(self._turns.owe(adding(self._session.instructions, RESUME), self._now()))
                case false_start.Remind(seconds=seconds):
                    self._remind(DeadlinePassed.GATE, seconds)
        # Once, behind all of them: a floor that is nobody's in between would be taken for a pause.
        self._tell_floor()

    def _remind(self, what: str, seconds: float) -> None:
        self._clock.after(seconds, self._actor, DeadlinePassed(what))

    def _tell_of_turn(self) -> None:
        post(self._call, TurnTaken(self._actor))

    def _tell_floor(self) -> None:
        if self._turns.speaking:
            floor = Floor.CALLER
        elif self._turns.quiet(self._now()):
            floor = Floor.NOBODY
        else:
            floor = Floor.ASSISTANT
        if floor is not self._floor:
            self._floor = floor
            post(self._call, FloorChanged(floor, self._actor))
