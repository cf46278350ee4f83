"""What the assistant may do with the telephone itself: the tables `[telephony]` and `[caller_silence]`."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from actors.table import PhoneNumber, Sentence, Table
from wire.caller_silence import Patience
from wire.digits import Form

KEYS = re.compile(r"[0-9*#wW]{1,64}")
"""What can be sent by `<Play digits>`: w waits for half a second, W for a second."""

COLLECT_TOOL = "collect_digits"
"""The name of the tool that has callers enter something."""

DECISION_SECONDS = 60.0
"""How long somebody who has been rung may take, until the call is taken or not: the question is put twice."""

_PATIENCE = Patience()


class Target(Table):
    """Somebody whom callers may be connected with."""

    number: PhoneNumber
    description: str = Field(default="", max_length=500)
    """for the model: who it is, and what for"""
    warm: bool = False
    """Whether that person is called first and told about the caller, and takes the call by pressing 1."""
    ring_seconds: int = Field(default=25, ge=5, le=600)
    """How long it rings there."""

    @property
    def consult_seconds(self) -> float:
        """How long it takes at most until somebody there has taken the call, or has not."""
        return self.ring_seconds + DECISION_SECONDS


class Number(Table):
    """Something that the caller enters by keys."""

    digits: int | None = Field(default=None, ge=1, le=64)
    """How many it has; None: from `shortest` to `longest`, finished by # or by a pause."""
    shortest: int = Field(default=1, ge=1, le=64)
    longest: int = Field(default=64, ge=1, le=64)
    description: str = Field(default="", max_length=500)
    """for the model: what it is"""
    secret: bool = False
    """Card mode: while it is entered, neither the model nor a listener hears the caller, and the digits come into no
    log, no transcript, no recording and no database. Only tools are told them, in `CallContext.digits`."""
    first_seconds: float = Field(default=20.0, gt=0, le=300)
    """How long to wait for the first key."""
    between_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long to wait for the next one."""

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        self.form()  # raises ValueError for what nobody could enter
        return self

    def form(self) -> Form:
        """What it has to look like."""
        shortest, longest = (
            (self.shortest, self.longest) if self.digits is None else (self.digits, self.digits)
        )
        return Form(shortest, longest, self.first_seconds, self.between_seconds)


def _spelt_out(value: Any) -> Any:
    return {"number": value} if isinstance(value, str) else value


def _named(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if not re.fullmatch("[a-zA-Z][a-zA-Z0-9_]{0,63}", name):
            raise ValueError(f"{name!r} is not a name; use letters, digits and _, a letter first")
    return value


class Telephony(Table):
    """Each part of it is a tool that the model gets, or one that it does not get."""

    hang_up: bool = True
    """The model may end the call; the caller hears its goodbye before."""
    hear_keys: bool = True
    """What the caller enters by keys is told to the model, though nobody asked for it."""
    send_digits: bool = False
    """The model may press keys, for calls that are answered by a menu."""
    transfer: Annotated[dict[str, Annotated[Target, BeforeValidator(_spelt_out)]], AfterValidator(_named)] = (
        Field(default={}, max_length=50)
    )
    """Whom callers may be connected with, by name, and nobody else."""
    digits: Annotated[dict[str, Number], AfterValidator(_named)] = Field(default={}, max_length=50)
    """What callers may be asked to enter by keys, by name."""
    consult: Sentence = "You have a call from {caller}. {summary} Press 1 to take the call."
    """What Twilio says to whom it calls for a warm transfer, twice: {caller} is the caller's number, {summary} what
    the assistant has to say of the call. The key is 1."""
    consult_declined: Sentence = "Goodbye."
    """What it says to whoever presses another key, or none."""
    caller_id: PhoneNumber | None = None
    """Whom people see who are called for a warm transfer: a number of the account's own. None: the one that the
    caller has called."""

    def target(self, to: str) -> tuple[str, Target] | None:
        """Who that is on the list, by name or by number, with the name; None: nobody."""
        for name, target in self.transfer.items():
            if to in (name, target.number):
                return name, target
        return None


class CallerSilenceTable(Table):
    """What is done about a caller who says nothing, while it is the caller's turn."""

    reprompt_seconds: float = Field(default=_PATIENCE.reprompt_seconds or 0.0, ge=0, le=3600)
    """How long it takes until they are asked whether they are there; 0: never."""
    reprompts: int = Field(default=_PATIENCE.reprompts, ge=0, le=20)
    """How often they are asked; after so long once more, the assistant says goodbye and hangs up."""

    def patience(self) -> Patience:
        """The same for the state machine."""
        return Patience(self.reprompt_seconds or None, self.reprompts)
