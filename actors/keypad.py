"""The keys that a caller presses: what was asked for, what nobody asked for, and card mode."""

import time
from concurrent.futures import Future
from typing import Any, Protocol

from actors.clock import Clock
from actors.member import CallError
from actors.messages import DeadlinePassed, DigitPressed, Playback
from actors.telephony import COLLECT_TOOL, Number, Telephony
from actors.tool import ToolError
from wire.digits import Digits, Entered, Form, NotEntered, Remind
from wire.transcript import Entry

UNPROMPTED = Form(1, None, None, 2.0)
"""Keys that nobody has asked for: over after a pause, or with the hash key."""

TAIL_SECONDS = 0.5
"""A key's tone may go on so long after Twilio has told of it; until then the caller stays unheard in card mode."""

REST_SECONDS = 10.0
"""So long after a pause has ended a secret number a key still belongs to it: the caller was looking for the rest."""


class Call(Protocol):
    """What a keypad may do to the call that it belongs to."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""

    def keys_entered(self, digits: str) -> None:
        """Tell the model what the caller has entered without being asked."""

    def stop_talking(self) -> None:
        """The assistant falls silent, where it can be heard."""

    def mute_caller(self, muted: bool) -> None:
        """Whether nobody hears the caller, neither the model nor a listener."""


class Keypad:
    """Belongs to a CallActor, in whose thread everything is done."""

    def __init__(
        self, call: Call, ref: Any, telephony: Telephony, digits: dict[str, str], clock: Clock
    ) -> None:
        """`digits` is where tools find what was entered."""
        self._call = call
        self._ref = ref
        self._telephony = telephony
        self._digits = digits
        self._clock = clock
        self._entry = Digits(UNPROMPTED, 0.0)
        self._number: tuple[str, Number] | None = None
        self._reply: Future[str] | None = None
        self._muted_until: float | None = None
        self._secret_until = 0.0

    @property
    def card_mode(self) -> bool:
        """Whether what the caller enters now is nobody's business."""
        if self._muted_until is not None:
            return True
        return self._number[1].secret if self._number is not None else time.monotonic() < self._secret_until

    def handle(self, message: DigitPressed | Playback) -> None:
        """The caller has pressed a key, or may have been asked for something by now."""
        match message:
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

    def due(self, what: str, about: object) -> None:
        """A deadline of the keypad's has passed."""
        match what:
            case DeadlinePassed.DIGITS:
                in_the_middle = self.card_mode and self._entry.begun
                if (commands := self._entry.due(time.monotonic())) and in_the_middle:
                    self._expect_rest()
                self._enter(commands)
            case DeadlinePassed.UNMUTE if self._muted_until == about:
                self._muted_until = None
                self._call.mute_caller(False)

    def goes_on(self, history: tuple[Entry, ...]) -> None:
        """The call goes on here: its process may have died while a secret number was being entered."""
        for tool in (entry.tool for entry in history if entry.tool is not None):
            if tool.output is None and tool.name == COLLECT_TOOL and self._is_secret(tool.arguments):
                self._expect_rest()

    def departed(self) -> None:
        """The call leaves this stream: whoever waits for a number is told so."""
        self._settle(CallError("the call has left its stream"))

    def collect(self, what: str, reply: Future[str]) -> None:
        """Have the caller enter a number of that name. Raises ToolError where that is not to be had."""
        number = self._telephony.digits.get(what)
        if number is None:
            raise ToolError("There is nothing of that name that callers may be asked to enter.")
        if self._number is not None:
            raise ToolError("The caller is entering something else. Wait for that.")
        self._number, self._reply = (what, number), reply
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
                    self._settle(
                        ToolError(
                            f"The caller has entered {count or 'no'} digits in time, which is not enough. "
                            "Ask whether they want to try again."
                        )
                    )
                case Entered(digits=digits) if self._telephony.hear_keys:
                    self._call.keys_entered(digits)
        self._remind(commands)

    def _entered(self, text: str) -> None:
        reply = self._reply
        self._settle(None)
        if reply is not None:
            reply.set_result(text)

    def _settle(self, error: Exception | None) -> None:
        if self._number is None:
            return
        (_, number), reply = self._number, self._reply
        self._number = self._reply = None
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
