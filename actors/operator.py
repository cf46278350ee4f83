"""What a switchboard's operator does for a call: connects it with others, presses keys for it, takes keys down."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from secrets import token_hex
from typing import Any, Protocol

from actors.call_context import CallContext
from actors.clock import Clock
from actors.departure import Departure
from actors.member import CallError, call_log, post
from actors.messages import (
    Asked,
    CollectDigits,
    ConsultAccepted,
    ConsultEnded,
    ConsultPlaced,
    DeadlinePassed,
    DigitPressed,
    Playback,
    SendDigits,
    Transfer,
)
from actors.meter import Outcome
from actors.telephony import COLLECT_TOOL, KEYS, Number, Target, Telephony
from actors.tool import ToolError
from wire import consultation
from wire.consultation import Consultation, State
from wire.digits import Digits, Entered, Form, NotEntered, Remind
from wire.journal import Then
from wire.transcript import Entry

UNPROMPTED = Form(1, None, None, 2.0)
"""Keys that nobody has asked for: over after a pause, or with the hash key."""

TAIL_SECONDS = 0.5
"""A key's tone may go on so long after Twilio has told of it; until then the caller stays unheard in card mode."""

REST_SECONDS = 10.0
"""So long after a pause has ended a secret number a key still belongs to it: the caller was looking for the rest."""

CONNECTING = (
    "The caller is being connected now; say nothing more. If you find the caller still with you after this, nobody "
    "has answered there: say so, and ask what else you can do."
)
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

    def keys_entered(self, digits: str) -> None:
        """Tell the model what the caller has entered without being asked."""

    def stop_talking(self) -> None:
        """The assistant falls silent, where it can be heard."""

    def mute_caller(self, muted: bool) -> None:
        """Whether nobody hears the caller, neither the model nor a listener."""


class Operator:
    """Belongs to a CallActor, in whose thread everything but the calling itself is done."""

    def __init__(
        self,
        call: Call,
        farewell: Departing,
        ref: Any,
        telephony: Telephony,
        context: CallContext,
        digits: dict[str, str],
        desk: Desk | None,
        clock: Clock,
    ) -> None:
        """`digits` is where tools find what was entered. `desk` is None where nobody can be called."""
        self._call = call
        self._farewell = farewell
        self._ref = ref
        self._telephony = telephony
        self._context = context
        self._digits = digits
        self._desk = desk
        self._clock = clock
        self._log = call_log(__name__, context.call_sid)
        self._entry = Digits(UNPROMPTED, 0.0)
        self._number: tuple[str, Number] | None = None
        self._number_reply: Future[str] | None = None
        self._muted_until: float | None = None
        self._secret_until = 0.0
        self._consultation: Consultation | None = None
        self._room = ""
        self._target: tuple[str, Target] | None = None
        self._consult_reply: Future[str] | None = None
        self._joining: Departure | None = None

    @property
    def card_mode(self) -> bool:
        """Whether what the caller enters now is nobody's business."""
        if self._muted_until is not None:
            return True
        return self._number[1].secret if self._number is not None else time.monotonic() < self._secret_until

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
                self._carry_out(message, Future())
            case DigitPressed() if self._number is None and self.card_mode:
                # It belongs to the secret, though that is complete, or was given up.
                self._call.mute_caller(True)
                self._unmute_later()
                if time.monotonic() < self._secret_until:
                    self._expect_rest()
            case DigitPressed(digit=digit):
                if self._number is not None:
                    self._call.stop_talking()  # who enters something has understood what is asked
                self._enter(self._entry.press(digit, time.monotonic()))
            case Playback(assistant=False) if self._number is not None and not self._entry.begun:
                self._await_number(self._number[1])  # the caller has been asked for it only now
            case ConsultPlaced(room=room, leg_sid=leg_sid) if self._consultation and room == self._room:
                self._consult(self._consultation.placed(leg_sid))
            case ConsultAccepted(room=room, leg_sid=leg_sid) if self._consultation and room == self._room:
                self._consult(self._consultation.accepted(leg_sid))
            case ConsultEnded(room=room, status=status) if self._consultation and room == self._room:
                self._consult(self._consultation.ended(status))
            case ConsultPlaced(leg_sid=leg_sid) | ConsultAccepted(leg_sid=leg_sid) if self._desk is not None:
                # Of a process that has died, or of one before: that person would wait for the caller for ever.
                self._in_background(self._give_up, self._desk, leg_sid)

    def due(self, what: str, about: object) -> None:
        """A deadline of the operator's has passed."""
        match what:
            case DeadlinePassed.DIGITS:
                in_the_middle = self.card_mode and self._entry.begun
                if (commands := self._entry.due(time.monotonic())) and in_the_middle:
                    self._expect_rest()
                self._enter(commands)
            case DeadlinePassed.UNMUTE if self._muted_until == about:
                self._muted_until = None
                self._call.mute_caller(False)
            case DeadlinePassed.CONSULT if about == self._room and self._consultation is not None:
                if self._consultation.state is not State.ACCEPTED:  # else the caller is on the way there
                    self._consult(self._consultation.given_up("nobody took it in time"))

    def goes_on(self, history: tuple[Entry, ...]) -> None:
        """The call goes on here: its process may have died while a secret number was being entered."""
        for tool in (entry.tool for entry in history if entry.tool is not None):
            if tool.output is None and tool.name == COLLECT_TOOL and self._is_secret(tool.arguments):
                self._expect_rest()

    def departed(self, then: Then) -> None:
        """The call leaves this stream: whatever is still open is closed."""
        if self._consultation is not None:
            if then is Then.JOIN:
                self._consultation.joined()
            self._consult(self._consultation.given_up("the caller is gone"))
        self._settle_number(CallError("the call has left its stream"))

    def _carry_out(self, order: Transfer | SendDigits | CollectDigits, reply: Future[str]) -> None:
        try:
            match order:
                case Transfer():
                    self._transfer(order, reply)
                case SendDigits(digits=digits):
                    self._send(digits)
                    reply.set_result(SENT)
                case CollectDigits(what=what):
                    self._collect(what, reply)
        except ToolError as error:
            self._log.warning("not done: %s", error)
            reply.set_exception(error)

    # Transfers

    def _transfer(self, order: Transfer, reply: Future[str]) -> None:
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
            reply.set_result(CONNECTING)
            return
        if self._desk is None:
            raise ToolError("Nobody can be called at the moment.")
        self._consultation, self._target, self._consult_reply = Consultation(), found, reply
        self._room = f"consult-{token_hex(16)}"
        self._clock.after(
            target.consult_seconds, self._ref, DeadlinePassed(DeadlinePassed.CONSULT, self._room)
        )
        if not self._in_background(self._place, self._desk, self._room, target, order.summary):
            self._consult(self._consultation.ended(NOT_CALLED))

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
        if self._consult_reply is not None and not self._consult_reply.done():
            self._consult_reply.set_exception(
                ToolError(
                    f"The caller is not connected: {why}. Tell the caller, and ask what else you can do."
                )
            )

    def _in_background(self, work: Callable[..., None], *arguments: Any) -> bool:
        name = f"operator {self._context.call_sid}"
        try:
            threading.Thread(target=work, args=arguments, name=name, daemon=True).start()
        except RuntimeError as error:  # no thread to be had, for which the call is not to end
            self._log.warning("Twilio is not asked: %s", error)
            return False
        return True

    # Keys

    def _send(self, digits: str) -> None:
        if not KEYS.fullmatch(digits):
            raise ToolError("These are no keys: only 0 to 9, *, #, w and W, at most 64 of them.")
        self._call.note("keys sent", count=len(digits))
        self._farewell.depart(
            Departure("leaves its stream to press keys", Outcome.SENT_DIGITS, Then.SEND_DIGITS, digits)
        )

    def _collect(self, what: str, reply: Future[str]) -> None:
        number = self._telephony.digits.get(what)
        if number is None:
            raise ToolError("There is nothing of that name that callers may be asked to enter.")
        if self._number is not None:
            raise ToolError("The caller is entering something else. Wait for that.")
        self._number, self._number_reply = (what, number), reply
        self._digits.pop(what, None)
        if number.secret:
            self._muted_until = None
            self._call.mute_caller(True)
            self._call.note("card mode began")
        self._await_number(number)

    def _is_secret(self, arguments: str) -> bool:
        """`arguments`: the model's, which may be anything."""
        return any(
            number.secret and f'"{what}"' in arguments for what, number in self._telephony.digits.items()
        )

    def _await_number(self, number: Number) -> None:
        now = time.monotonic()
        self._entry = Digits(number.form(), now)
        self._remind(self._entry.begin(now))

    def _enter(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case Entered(digits=digits) if self._number is not None:
                    what, number = self._number
                    self._digits[what] = digits
                    self._entered(
                        f"The caller has entered it: {len(digits)} digits, which are kept from you."
                        if number.secret
                        else f"The caller has entered: {digits}"
                    )
                case NotEntered(count=count) if self._number is not None:
                    self._settle_number(
                        ToolError(
                            f"The caller has entered {count or 'no'} digits in time, which is not enough. "
                            "Ask whether they want to try again."
                        )
                    )
                case Entered(digits=digits) if self._telephony.hear_keys:
                    self._call.keys_entered(digits)
        self._remind(commands)

    def _entered(self, text: str) -> None:
        reply = self._number_reply
        self._settle_number(None)
        if reply is not None:
            reply.set_result(text)

    def _settle_number(self, error: Exception | None) -> None:
        if self._number is None:
            return
        (_, number), reply = self._number, self._number_reply
        self._number = self._number_reply = None
        self._entry = Digits(UNPROMPTED, 0.0)
        if number.secret:
            self._call.note("card mode ended")
            self._unmute_later()
        if error is not None and reply is not None:
            reply.set_exception(error)

    def _unmute_later(self) -> None:
        self._muted_until = time.monotonic() + TAIL_SECONDS
        unmute = DeadlinePassed(DeadlinePassed.UNMUTE, self._muted_until)
        self._clock.after(TAIL_SECONDS, self._ref, unmute)

    def _expect_rest(self) -> None:
        self._secret_until = time.monotonic() + REST_SECONDS

    def _remind(self, commands: list[Any]) -> None:
        for command in commands:
            if isinstance(command, Remind):
                self._clock.after(command.seconds, self._ref, DeadlinePassed(DeadlinePassed.DIGITS))
