"""CallActor: one call, from Twilio's `start` to its end, and the supervisor of everything in it."""

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from actors.clock import Clock
from actors.member import Member, post
from actors.messages import (
    AssistantSaid,
    Attach,
    CallerSaid,
    DeadlinePassed,
    DigitPressed,
    Exited,
    HangUp,
    Open,
    SessionReady,
    StreamStopped,
)
from actors.meter import Meter, NoMeter, Outcome
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.twilio import MediaSocket, PhoneReader, TwilioActor
from wire.dialect import Dialect, Session
from wire.latency import InterruptionLatency, TurnLatency

SESSION_READY_SECONDS = 8.0
"""From `start` to a configured session. The caller is listening to silence meanwhile."""
MODEL_CLOSED_SECONDS = 0.4
PHONE_CLOSED_SECONDS = 0.4
"""How long a child may take to close before its socket is cut; both are well within the second a call may take."""


class Phase(enum.Enum):
    """Where a call is. Rule 1: only CallActor's own handlers change it. Rule 2: it only ever goes forward."""

    CONNECTING = "connecting"
    """The caller is there, the model is not yet."""
    TALKING = "talking"
    CLOSING_MODEL = "closing model"
    """First, because it costs money."""
    CLOSING_PHONE = "closing phone"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CallSetup:
    """What a call is made of, before any of it is connected."""

    call_sid: str
    stream_sid: str
    media_socket: MediaSocket
    dial_model: Callable[[], ModelSocket]
    """A model socket that is not connected yet."""
    dialect: Dialect
    session: Session
    greeting: str | None
    """Instructions for the response with which the assistant speaks first; None leaves it to the session's own."""
    meter: Meter = field(default_factory=NoMeter)


@dataclass(frozen=True, slots=True)
class Answer:
    """Media route → CallActor, as an ask: start the call. Answered with the PhoneReader, or None."""


class CallActor(Member):
    """Starts and supervises a TwilioActor and an OpenAIActor, and ends both, the model's first, when either ends.

    `ended` is set when everything below it is closed, or told to close where this actor itself failed.
    """

    def __init__(self, setup: CallSetup, clock: Clock, ended: threading.Event) -> None:
        super().__init__(None, setup.call_sid)
        self._setup = setup
        self._clock = clock
        self._meter = setup.meter
        self._meter.call_started()
        self._outcome = Outcome.FAILED
        self._phase = Phase.CONNECTING
        self._started_at = time.monotonic()
        self._phone: ActorRef[TwilioActor] | None = None
        self._model: ActorRef[OpenAIActor] | None = None
        self._model_socket: ModelSocket | None = None
        self._ended = ended

    def handle(self, message: Any) -> Any:
        match message:
            case Open():
                pass  # born idle: the route asks it to answer
            case Answer():
                return self._answer()
            case SessionReady():
                self._talk()
            case TurnLatency():
                self.log.info("%s", message)
                self._meter.answered(message)
            case InterruptionLatency():
                self.log.info("%s", message)
                self._meter.silenced(message)
            case CallerSaid(text=text):
                self.log.debug("caller: %s", text)
            case AssistantSaid(text=text):
                self.log.debug("assistant: %s", text)
            case DigitPressed():
                self.log.info("caller pressed a key")  # which one may be part of a card number
            case StreamStopped(reason=reason):
                self._hang_up(reason, Outcome.HUNG_UP)
            case HangUp(reason=reason):
                self._hang_up(reason, Outcome.ENDED)
            case Exited(member=member, error=error):
                self._child_exited(member, error)
            case DeadlinePassed(what=what):
                self._deadline_passed(what)
            case _:
                return super().handle(message)

    def _answer(self) -> PhoneReader | None:
        if self._phase is not Phase.CONNECTING:
            return None  # hung up already: a drain came first
        setup = self._setup
        self._phone = TwilioActor.start(
            self.actor_ref, setup.call_sid, setup.stream_sid, setup.media_socket, setup.meter
        )
        self._model_socket = setup.dial_model()
        self._model = OpenAIActor.start(
            self.actor_ref,
            setup.call_sid,
            self._phone,
            self._model_socket,
            setup.dialect,
            setup.session,
            setup.greeting,
            self._clock,
            setup.meter,
        )
        post(self._phone, Attach(self._model))
        self._remind(DeadlinePassed.SESSION_READY, SESSION_READY_SECONDS)
        return PhoneReader(setup.stream_sid, self.actor_ref, self._phone, self._model)

    def _talk(self) -> None:
        if self._phase is Phase.CONNECTING:
            self._phase = Phase.TALKING
            self.log.info("session ready after %.0f ms", (time.monotonic() - self._started_at) * 1000)

    def _hang_up(self, reason: str, outcome: Outcome) -> None:
        if self._phase not in (Phase.CONNECTING, Phase.TALKING):
            return
        self._outcome = outcome
        self.log.info("ending after %.1f s: %s", time.monotonic() - self._started_at, reason)
        self._phase = Phase.CLOSING_MODEL
        if self._model is None:
            self._close_phone()
            return
        self._model.stop(block=False)
        self._remind(DeadlinePassed.MODEL_CLOSED, MODEL_CLOSED_SECONDS)

    def _close_phone(self) -> None:
        self._phase = Phase.CLOSING_PHONE
        if self._phone is None:
            self._finish()
            return
        self._phone.stop(block=False)
        self._remind(DeadlinePassed.PHONE_CLOSED, PHONE_CLOSED_SECONDS)

    def _finish(self) -> None:
        self._phase = Phase.ENDED
        self.stop()

    def _child_exited(self, member: ActorRef[Any], error: Exception | None) -> None:
        if member == self._model:
            self._model = None
            self._hang_up(f"model failed: {error}", Outcome.MODEL_FAILED)
            if self._phase is Phase.CLOSING_MODEL:
                self._close_phone()
        elif member == self._phone:
            self._phone = None
            self._hang_up(f"phone failed: {error}", Outcome.PHONE_FAILED)
            if self._phase is Phase.CLOSING_PHONE:
                self._finish()

    def _deadline_passed(self, what: str) -> None:
        match what, self._phase:
            case DeadlinePassed.SESSION_READY, Phase.CONNECTING:
                self.log.warning("model session was not ready within %.0f s", SESSION_READY_SECONDS)
                self._hang_up("model session not ready", Outcome.NOT_READY)
            case DeadlinePassed.MODEL_CLOSED, Phase.CLOSING_MODEL:
                self._abort_model()
                self._close_phone()
            case DeadlinePassed.PHONE_CLOSED, Phase.CLOSING_PHONE:
                self._setup.media_socket.abort()
                self._finish()

    def _remind(self, what: str, seconds: float) -> None:
        self._clock.after(seconds, self.actor_ref, DeadlinePassed(what))

    def _abort_model(self) -> None:
        if self._model_socket is not None:
            self._model_socket.abort()

    def close(self) -> None:
        if self._phase is not Phase.ENDED:
            # This actor itself failed: nothing below it may live on, and Twilio goes on with the TwiML.
            self._abort_model()
            for child in (self._model, self._phone):
                if child is not None:
                    child.stop(block=False)
            self._setup.media_socket.abort()
        self._meter.call_ended(self._outcome)
        self._ended.set()
