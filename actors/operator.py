"""What a switchboard's operator does for a call: connects it with others, and presses keys for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from secrets import token_hex
from typing import Any, Protocol

from actors.call_context import CallContext
from actors.clock import Clock
from actors.departure import Departure
from actors.keypad import Keypad
from actors.member import CallError, call_log, post
from actors.messages import (
    Asked,
    CollectDigits,
    ConsultAccepted,
    ConsultEnded,
    ConsultPlaced,
    DeadlinePassed,
    SendDigits,
    Transfer,
)
from actors.meter import Outcome
from actors.telephony import KEYS, Target, Telephony
from actors.tool import ToolError
from wire import consultation
from wire.consultation import Consultation, State
from wire.journal import Then

CONNECTING = (
    "The caller is being connected now; say nothing more. If you find the caller still with you after this, nobody "
    "has answered there: say so, and ask what else you can do."
)
NOT_CONNECTED = "The caller is not connected: {}. Tell the caller, and ask what else you can do."
NOT_CALLED = "it could not be called"
SENT = "The keys are pressed now. Say nothing, and listen to what comes."


class Desk(Protocol):
    """How somebody is called for a warm transfer. Any thread; both methods wait for Twilio."""

    def consult(self, room: str, target: Target, summary: str) -> str:
        """Call them, and have them meet the caller in that room if they agree; the call is told of that.

        Returns the SID of that call. Raises CallError.
        """

    def give_up(self, leg_sid: str) -> None:
        """End that call. Raises CallError."""


class Departing(Protocol):
    """How a call leaves its stream: the part of `actors.farewell.Farewell` that an operator needs."""

    def depart(self, departure: Departure) -> None:
        """Leave, when what is being said has been heard."""

    def stay(self, departure: Departure, why: str) -> None:
        """Do not leave that way after all."""


class Call(Protocol):
    """What an operator may do to the call that it belongs to."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""

    def have_told(self, what: str) -> None:
        """Have the assistant tell the caller something, by instructions for that."""


class Operator:
    """Belongs to a CallActor, in whose thread everything but the calling itself is done."""

    def __init__(
        self,
        call: Call,
        farewell: Departing,
        ref: Any,
        telephony: Telephony,
        context: CallContext,
        keypad: Keypad,
        desk: Desk | None,
        clock: Clock,
    ) -> None:
        """`desk` is None where nobody can be called."""
        self._call = call
        self._farewell = farewell
        self._ref = ref
        self._telephony = telephony
        self._context = context
        self._keypad = keypad
        self._desk = desk
        self._clock = clock
        self._log = call_log(__name__, context.call_sid)
        self._consultation: Consultation | None = None
        self._room = ""
        self._target: tuple[str, Target] | None = None
        self._consult_reply: Future[str] | None = None
        self._joining: Departure | None = None

    @property
    def ringing(self) -> bool:
        """Whether somebody is being called, and the caller waits for that."""
        return self._consultation is not None and self._consultation.open

    def handle(self, message: Any) -> None:
        """One of the messages that are the operator's business."""
        match message:
            case Asked(order=order, reply=reply):
                self._carry_out(order, reply)
            case Transfer() | SendDigits():
                self._carry_out(message, None)
            case ConsultPlaced(room=room, leg_sid=leg_sid) if self._consultation and room == self._room:
                self._consult(self._consultation.placed(leg_sid))
            case ConsultAccepted(room=room, leg_sid=leg_sid) if self._consultation and room == self._room:
                self._consult(self._consultation.accepted(leg_sid))
            case ConsultEnded(room=room, status=status) if self._consultation and room == self._room:
                self._consult(self._consultation.ended(status))
            case ConsultPlaced(leg_sid=leg_sid) | ConsultAccepted(leg_sid=leg_sid) if self._desk is not None:
                # Of a process that has died, or of one before: that person would wait for the caller for ever.
                self._in_background(self._give_up, self._desk, leg_sid)

    def due(self, about: object) -> None:
        """A consultation has lasted for long enough; `about` says which."""
        if about != self._room or self._consultation is None or self._consultation.state is State.ACCEPTED:
            return  # if it was accepted, the caller is on the way there
        self._consult(self._consultation.given_up("nobody took it in time"))

    def departed(self, then: Then) -> None:
        """The call leaves this stream: nobody goes on ringing for it."""
        if self._consultation is not None:
            if then is Then.JOIN:
                self._consultation.joined()
            self._consult(self._consultation.given_up("the caller is gone"))

    def _carry_out(self, order: Transfer | SendDigits | CollectDigits, reply: Future[str] | None) -> None:
        """`reply`: None where no tool waits for one."""
        told = None
        try:
            match order:
                case Transfer():
                    told = self._transfer(order, reply)
                case SendDigits(digits=digits):
                    told = self._send(digits)
                case CollectDigits(what=what):
                    self._keypad.collect(what, reply or Future())
        except ToolError as error:
            self._log.warning("not done: %s", error)
            if reply is not None:
                reply.set_exception(error)
        if reply is not None and told is not None:
            reply.set_result(told)

    def _transfer(self, order: Transfer, reply: Future[str] | None) -> str | None:
        """What the model is told of it; None: that follows."""
        found = self._telephony.target(order.to)
        if found is None:
            raise ToolError(
                "There is no such person on the list of those whom callers may be connected with."
            )
        name, target = found
        if self.ringing:
            raise ToolError("Somebody is being called already. Wait for that.")
        self._call.note("transfer", to=name, warm=target.warm)
        if not target.warm:
            self._farewell.depart(
                Departure(f"transferred to {name}", Outcome.TRANSFERRED, Then.TRANSFER, target.number)
            )
            return CONNECTING
        if self._desk is None:
            raise ToolError("Nobody can be called at the moment.")
        self._consultation, self._target, self._consult_reply = Consultation(), found, reply
        self._room = f"consult-{token_hex(16)}"
        self._clock.after(
            target.consult_seconds, self._ref, DeadlinePassed(DeadlinePassed.CONSULT, self._room)
        )
        if not self._in_background(self._place, self._desk, self._room, target, order.summary):
            self._consult(self._consultation.ended(NOT_CALLED))
        return None

    def _place(self, desk: Desk, room: str, target: Target, summary: str) -> None:
        """Runs in a thread of its own: Twilio takes its time."""
        try:
            told = post(self._ref, ConsultPlaced(room, leg_sid := desk.consult(room, target, summary)))
        except CallError as error:
            self._log.warning("nobody can be called: %s", error)
            post(self._ref, ConsultEnded(room, NOT_CALLED))
            return
        if not told:
            self._give_up(desk, leg_sid)

    def _give_up(self, desk: Desk, leg_sid: str) -> None:
        try:
            desk.give_up(leg_sid)
        except CallError as error:
            self._log.warning("the call to somebody else may go on ringing: %s", error)

    def _consult(self, commands: list[consultation.Command]) -> None:
        for command in commands:
            match command:
                case consultation.GiveUp(leg_sid=leg_sid) if self._desk is not None:
                    self._in_background(self._give_up, self._desk, leg_sid)
                case consultation.Join():
                    self._join()
                case consultation.Failed(why=why):
                    self._not_joined(why)

    def _join(self) -> None:
        assert self._target is not None, "a consultation is with somebody"
        assert self._consultation is not None
        detail = f"{self._room} {self._consultation.leg_sid}"
        self._call.note("transfer accepted", to=self._target[0])
        self._joining = Departure(f"transferred to {self._target[0]}", Outcome.TRANSFERRED, Then.JOIN, detail)
        self._farewell.depart(self._joining)
        if self._consult_reply is not None and not self._consult_reply.done():
            self._consult_reply.set_result(CONNECTING)

    def _not_joined(self, why: str) -> None:
        assert self._target is not None, "a consultation is with somebody"
        self._call.note("transfer failed", to=self._target[0], reason=why)
        if self._joining is not None:
            self._farewell.stay(self._joining, "transfer failed")
        told = NOT_CONNECTED.format(why)
        if self._consult_reply is not None and not self._consult_reply.done():
            self._consult_reply.set_exception(ToolError(told))
        else:
            # No tool waits for it: it came from elsewhere, or the caller was being connected already.
            self._call.have_told(told)

    def _in_background(self, work: Callable[..., None], *arguments: Any) -> bool:
        name = f"operator {self._context.call_sid}"
        try:
            threading.Thread(target=work, args=arguments, name=name, daemon=True).start()
        except RuntimeError as error:  # no thread to be had, for which the call is not to end
            self._log.warning("Twilio is not asked: %s", error)
            return False
        return True

    def _send(self, digits: str) -> str:
        if not KEYS.fullmatch(digits):
            raise ToolError("These are no keys: only 0 to 9, *, #, w and W, at most 64 of them.")
        self._call.note("keys sent", count=len(digits))
        self._farewell.depart(
            Departure("leaves its stream to press keys", Outcome.SENT_DIGITS, Then.SEND_DIGITS, digits)
        )
        return SENT
