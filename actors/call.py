"""CallActor: one call, from Twilio's `start` to its end, and the supervisor of everything in it."""

import enum
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from pykka import ActorRef

from actors.clock import Clock
from actors.departure import Departure
from actors.farewell import GOODBYE_SECONDS, Farewell
from actors.first_words import greet
from actors.journal_note import journal_note
from actors.keypad import Keypad
from actors.listener import Listeners
from actors.member import CallError, Member
from actors.messages import (
    AnsweredBy,
    Asked,
    CallEnded,
    ConsultAccepted,
    ConsultEnded,
    ConsultPlaced,
    DeadlinePassed,
    DigitPressed,
    Drain,
    Exited,
    HangUp,
    Inject,
    Open,
    PauseRecording,
    RecordingBegan,
    RecordingFailed,
    Respond,
    Said,
    Say,
    SendDigits,
    SessionReady,
    StartRecording,
    StopRecording,
    StopTalking,
    StreamStopped,
    TranscriptBegan,
    Transfer,
    Watch,
)
from actors.meter import Outcome
from actors.moderator import Moderator
from actors.operator import Operator
from actors.phone_line import PhoneLine
from actors.phone_reader import PhoneReader
from actors.sessions import Sessions
from actors.setup import CallSetup
from actors.succession import Succession
from actors.supervision import Consequence, EndHere, Role, Supervision
from actors.talk import Talk
from actors.tool_runner import ToolRunner
from wire import realtime
from wire.instructions import adding, word_for_word
from wire.journal import Then
from wire.latency import InterruptionLatency, TurnLatency

PHONE_CLOSED_SECONDS = 0.4
"""How long the phone may take to close before its socket is cut."""
FLUSH_SECONDS = 0.5
"""How long the end waits for the journal, from which Twilio's next question is answered."""


class Phase(enum.Enum):
    """Where a call is. Rule 1: only CallActor's own handlers change it. Rule 2: it only ever goes forward."""

    CONNECTING = "connecting"
    """The caller is there, the model has not been yet."""
    TALKING = "talking"
    CLOSING_MODEL = "closing model"
    """First, because it costs money."""
    CLOSING_PHONE = "closing phone"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Answer:
    """Media route → CallActor, as an ask: start the call. Answered with the PhoneReader, or None."""


class CallActor(Member):
    """Starts and supervises a TwilioActor and OpenAIActors, and ends them, the model's first, when the call ends.

    It starts, connects and closes; the rest is done by its parts, which run in its thread: `moderator` leads the
    conversation, `succession` replaces the model's sessions, `farewell` says goodbye, `operator` and `keypad` see to
    transfers and keys. What a child's failure means stands in `actors.supervision`, and what is done about a silence
    in `wire.dead_air`. `ended` is set when everything below it is closed, or told to close where this actor itself
    failed.
    """

    def __init__(self, setup: CallSetup, clock: Clock, ended: threading.Event) -> None:
        super().__init__(None, setup.call_sid)
        self._setup = setup
        self._clock = clock
        self._meter = setup.meter
        self._departure = Departure("the call's actor failed", Outcome.FAILED, Then.RESUME)
        """Why and where to, once the call leaves; else what it comes to if this actor fails."""
        self._phase = Phase.CONNECTING
        self._started_at = time.monotonic()
        self._ended = ended
        self._supervision = Supervision()
        self._sessions = Sessions(self.actor_ref, setup, clock, self._supervision)
        self._listeners = Listeners(self.actor_ref, setup.record, clock, self._supervision)
        self._line = PhoneLine(self.actor_ref, setup, self._listeners, clock)
        self._talk = Talk(setup, self._started_at)
        self._farewell = Farewell(self, setup, self._talk)
        digits: dict[str, str] = {}
        context = replace(setup.context, call=self.actor_ref, digits=digits)
        self._tools = ToolRunner(self.actor_ref, setup.call_sid, setup.tools, context, clock)
        self._keypad = Keypad(self, self.actor_ref, setup.telephony, digits, clock)
        self._operator = Operator(
            self, self._farewell, self.actor_ref, setup.telephony, context, self._keypad, setup.desk, clock
        )
        self._moderator = Moderator(
            self,
            setup,
            self._sessions,
            self._talk,
            self._line,
            self._tools,
            self._farewell,
            self._keypad,
            self._operator,
        )
        self._succession = Succession(
            self, setup.call_sid, self._sessions, self._talk, self._farewell, self._line, self._moderator
        )
        self._draining = False
        self._cost = setup.cost

    def handle(self, message: Any) -> Any:
        if not (isinstance(message, DigitPressed) and self._keypad.card_mode):
            self._listeners.tell(message)
        if noted := journal_note(message):
            self.note(noted[0], **noted[1])
        answer = self._handle(message, time.monotonic())
        self._farewell.caller_s_turn(self._caller_s_turn, time.monotonic())
        return answer

    def _handle(self, message: Any, now: float) -> Any:
        match message:
            case Open():
                self._meter.call_started()  # and else idle: the route asks it to answer
            case Answer():
                return self._answer()
            case SessionReady(model=model, expires_at=expires_at):
                self._succession.ready(model, expires_at)
            case realtime.Usage():
                self._spent(message)
            case TurnLatency():
                self.log.info("%s", message)
                self._meter.answered(message)
            case InterruptionLatency():
                self.log.info("%s", message)
                self._meter.silenced(message)
            case DigitPressed():
                self.log.info("caller pressed a key")  # which one may be part of a card number
                self._farewell.caller_alive(now)
                self._keypad.handle(message)
            case Asked(reply=reply) if not self.talking:
                reply.set_exception(CallError("the call is over"))
            case Asked() | Transfer() | SendDigits() | ConsultPlaced() | ConsultAccepted() | ConsultEnded():
                self._operator.handle(message)
                self.go_on()
            case Say(text=text):
                self._succession.say(Respond(word_for_word(text), must=True))
            case Said():
                self._succession.said(message)
            case Inject(respond=respond):
                self._succession.inject(message)
                if respond:
                    self._moderator.reply_due()
            case AnsweredBy(verdict=verdict):
                self._farewell.answered_by(verdict)
            case RecordingBegan() | RecordingFailed() | TranscriptBegan():
                pass  # it is noted
            case StartRecording() | PauseRecording() | StopRecording():
                self._listeners.recording(message)
            case Watch():
                if self._setup.watcher is not None and self.talking:
                    self._listeners.join(self._setup.watcher, message, self._talk.playback)
            case StreamStopped(reason=reason, by_twilio=by_twilio):
                if by_twilio:
                    self.leave(Departure(reason, Outcome.HUNG_UP))
                else:  # the caller may still be there, and the call goes on elsewhere
                    self._break_off(Departure(reason, Outcome.HUNG_UP, Then.RESUME))
            case HangUp(reason=reason, goodbye=goodbye, said=said):
                if goodbye:
                    self._farewell.hang_up(reason, said)
                else:
                    self.leave(Departure(reason, Outcome.ENDED))
            case Drain(now=at_once):
                self._draining = True
                if at_once:
                    self._hand_over()
                self.go_on()
            case Exited(member=member, error=error):
                self._child_exited(member, error)
            case DeadlinePassed(what=what, about=about):
                self._deadline_passed(what, about)
            case _:
                if not self._moderator.handle(message):
                    return super().handle(message)
        return None

    @property
    def _caller_s_turn(self) -> bool:
        return (
            self._phase is Phase.TALKING
            and not self._draining
            and self._sessions.talking is not None
            and not self._talk.busy
        )

    def _answer(self) -> PhoneReader | None:
        if self._phase is not Phase.CONNECTING:
            return None  # hung up already: a drain came first
        setup = self._setup
        setup.journal.began(setup.record)
        self._keypad.goes_on(setup.history)
        self._listeners.start(setup.listeners)
        reader = self._line.answer()
        self._sessions.speak_to(self._line.phone)
        self._moderator.carry_out(self._talk.answered(self._started_at))
        greet(self, setup, self._sessions, self._talk, self._line, self._moderator)
        self._sessions.start()
        self.remind(DeadlinePassed.LIMIT, max(setup.limits.max_minutes * 60 - setup.lasted_seconds, 0.0))
        return reader

    def _spent(self, usage: realtime.Usage) -> None:
        prices, budget = self._setup.prices, self._setup.limits.budget
        if prices is None:
            return
        cost = prices.cost(usage)
        self._cost += cost
        self._setup.journal.spent(self.call_sid, cost)
        if budget is not None and self._cost >= budget:
            self._farewell.wrap_up("the budget for one call is used up")

    # What its parts may do to it

    @property
    def talking(self) -> bool:
        """Whether the call has not begun to leave its stream."""
        return self._phase in (Phase.CONNECTING, Phase.TALKING)

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""
        self._setup.journal.event(self.call_sid, kind, **data)

    def remind(self, what: str, seconds: float, about: object = None) -> None:
        """Have a deadline pass after so many seconds."""
        self._clock.after(seconds, self.actor_ref, DeadlinePassed(what, about))

    def connected(self) -> None:
        """A session is about to begin, perhaps the first one."""
        if self._phase is Phase.CONNECTING:
            self._phase = Phase.TALKING
            self.log.info("session ready after %.0f ms", (time.monotonic() - self._started_at) * 1000)

    def go_on(self) -> None:
        """Do what had to wait for the end of what was being said."""
        for message in self._talk.leftover():
            self._sessions.tell(message)
        if self._phase is not Phase.TALKING or self._talk.busy:
            return
        if self._farewell.pause():
            return
        if self._farewell.departure is not None:
            self.leave(self._farewell.departure)
        elif self._draining:
            self._hand_over()
        else:
            self._succession.pause()

    def have_said(self, words: Respond | StopTalking) -> None:
        """Have the assistant say something, perhaps in place of what it is saying."""
        self._moderator.have_said(words)

    def keys_entered(self, digits: str) -> None:
        """The caller has entered something that nobody asked for."""
        self._moderator.keys_entered(digits)

    def have_told(self, what: str) -> None:
        """Have the assistant tell the caller something, by instructions for that."""
        if self.talking:
            words = adding(self._setup.session.instructions, what)
            self._succession.say(Respond(words, must=True))

    def stop_talking(self) -> None:
        """The assistant falls silent, where it can be heard."""
        if self._talk.assistant_audible:
            self._sessions.tell(StopTalking())

    def mute_caller(self, muted: bool) -> None:
        """Whether nobody hears the caller, neither the model nor a listener."""
        self._line.mute(muted)

    def give_session_up(self, why: str) -> None:
        """Replace the session, which does not do its work."""
        self._succession.give_up(self._sessions.current, why)

    def not_heard(self) -> None:
        """Nothing has helped: the assistant stays silent."""
        self._break_off(Departure("the assistant cannot be heard", Outcome.SILENT, Then.FALLBACK))

    # The end

    def cannot_go_on(self, consequence: Consequence, error: Exception | None) -> None:
        """Do what the table says of a child without which the call cannot go on, and that is not replaced."""
        match consequence:
            case EndHere():
                self._break_off(Departure(f"phone failed: {error}", Outcome.PHONE_FAILED, Then.RESUME))
            case _:
                self._break_off(Departure(f"model failed: {error}", Outcome.MODEL_FAILED, Then.FALLBACK))

    def _hand_over(self) -> None:
        outcome = Outcome.TORN_AWAY if self._talk.busy else Outcome.HANDED_OVER
        self._break_off(Departure("handed over, this process ends", outcome, Then.RESUME))

    def _break_off(self, end: Departure) -> None:
        """End here, not by the caller's will nor by ours: who is about to go to somebody else, still gets there."""
        departure = self._farewell.departure
        self.leave(end if departure is None or departure.then is Then.HANG_UP else departure)

    def leave(self, departure: Departure) -> None:
        """Leave the stream, now."""
        if not self.talking:
            return
        self._departure = departure
        self.log.info("ending after %.1f s: %s", time.monotonic() - self._started_at, departure.reason)
        self._phase = Phase.CLOSING_MODEL
        self.note("ended", reason=departure.reason, longest_silence_ms=self._talk.longest_silence_ms)
        self._tools.close()
        self._keypad.departed()
        self._operator.departed(departure.then)
        self._sessions.end_all()
        self._close_phone_when_models_are()

    def _close_phone_when_models_are(self) -> None:
        if self._phase is not Phase.CLOSING_MODEL or self._sessions.all:
            return
        self._phase = Phase.CLOSING_PHONE
        self._talk.write()
        end = self._departure
        self._setup.journal.ended(self.call_sid, end.outcome.value, end.then, end.detail)
        # When the phone's socket is closed, Twilio asks what comes next, and perhaps another process.
        asked_by_twilio = end.outcome is Outcome.HUNG_UP and end.then is Then.HANG_UP
        if not asked_by_twilio and not self._setup.journal.flush(FLUSH_SECONDS):
            self.log.warning("the journal was not written in time")
        if self._line.phone is None:
            self._finish()
            return
        self._line.close()
        self.remind(DeadlinePassed.PHONE_CLOSED, PHONE_CLOSED_SECONDS)

    def _finish(self) -> None:
        self._phase = Phase.ENDED
        self.stop()

    def _child_exited(self, member: ActorRef[Any], error: Exception | None) -> None:
        session = self._sessions.find(member)
        if session is not None:
            self._succession.lost(session, error or CallError("the session ended"))
            self._close_phone_when_models_are()
        elif self._listeners.exited(member, error):
            self.note("listener failed", reason=str(error))
        elif member == self._line.phone:
            self._line.closed()
            self.cannot_go_on(self._supervision.failed(Role.PHONE, "", False, time.monotonic()), error)
            if self._phase is Phase.CLOSING_PHONE:
                self._finish()

    def _deadline_passed(self, what: str, about: object) -> None:
        session = self._sessions.find(about)
        match what:
            case DeadlinePassed.SILENCE:
                self._moderator.due()
            case DeadlinePassed.SESSION_READY | DeadlinePassed.RETRY_MODEL | DeadlinePassed.ROLL_OVER:
                self._succession.due(what, about)
            case DeadlinePassed.RESTART_LISTENER if self.talking and isinstance(about, type):
                self._listeners.restart(about)
            case DeadlinePassed.LIMIT:
                if not self._farewell.wrap_up("it has lasted as long as a call may"):
                    self.remind(DeadlinePassed.LIMIT, GOODBYE_SECONDS)
            case DeadlinePassed.GOODBYE | DeadlinePassed.CALLER_SILENCE:
                self._farewell.due(what, about, time.monotonic())
            case DeadlinePassed.DIGITS | DeadlinePassed.UNMUTE:
                self._keypad.due(what, about)
            case DeadlinePassed.CONSULT:
                self._operator.due(about)
            case DeadlinePassed.MODEL_CLOSED if session is not None:
                session.socket.abort()
                self._sessions.forget(session)
                self._close_phone_when_models_are()
            case DeadlinePassed.PHONE_CLOSED if self._phase is Phase.CLOSING_PHONE:
                self._line.abort()
                self._finish()

    def close(self) -> None:
        if self._phase is not Phase.ENDED:
            # This actor itself failed: nothing below it may live on, and Twilio asks what comes next.
            self._tools.close()
            self._keypad.departed()
            self._operator.departed(self._departure.then)
            self._sessions.abort()
            self._line.close()
            self._line.abort()
        self._listeners.end(
            CallEnded(
                self._departure.outcome.value,
                self._departure.reason,
                self._departure.then in (Then.RESUME, Then.SEND_DIGITS),
                time.monotonic() - self._started_at + self._setup.lasted_seconds,
                None if self._setup.prices is None else self._cost,
            )
        )
        self._meter.call_ended(self._departure.outcome)
        self._ended.set()
