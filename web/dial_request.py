"""A request to place a call, and why it is refused: in words for people, and in a word for programs."""

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from store.dialed import DialedCall

MAX_VARIABLES = 50

_VARIABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_Value = Annotated[str, StringConstraints(max_length=2000)]


class Problem(StrEnum):
    """Why a call is not placed or not found, in a word for programs."""

    NOT_CONFIGURED = "not_configured"
    INVALID_REQUEST = "invalid_request"
    INVALID_NUMBER = "invalid_number"
    NUMBER_NOT_ALLOWED = "number_not_allowed"
    UNKNOWN_ASSISTANT = "unknown_assistant"
    TOO_MANY_CALLS = "too_many_calls"
    BUDGET_SPENT = "budget_spent"
    KEY_REUSED = "idempotency_key_reused"
    CARRIER_REFUSED = "carrier_refused"
    CARRIER_SILENT = "carrier_silent"
    NO_SUCH_CALL = "no_such_call"


_STATUSES = {
    Problem.NOT_CONFIGURED: HTTPStatus.SERVICE_UNAVAILABLE,
    Problem.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    Problem.INVALID_NUMBER: HTTPStatus.UNPROCESSABLE_ENTITY,
    Problem.NUMBER_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Problem.UNKNOWN_ASSISTANT: HTTPStatus.UNPROCESSABLE_ENTITY,
    Problem.TOO_MANY_CALLS: HTTPStatus.TOO_MANY_REQUESTS,
    Problem.BUDGET_SPENT: HTTPStatus.TOO_MANY_REQUESTS,
    Problem.KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Problem.CARRIER_REFUSED: HTTPStatus.BAD_GATEWAY,
    Problem.CARRIER_SILENT: HTTPStatus.GATEWAY_TIMEOUT,
    Problem.NO_SUCH_CALL: HTTPStatus.NOT_FOUND,
}


class DialError(Exception):
    """The call is not placed, or not ended. The text says why and what to do, without phone numbers."""

    def __init__(
        self,
        problem: Problem,
        text: str,
        retry_seconds: float | None = None,
        call: DialedCall | None = None,
        carrier_code: int | None = None,
    ) -> None:
        super().__init__(text)
        self.problem = problem
        self.retry_seconds = retry_seconds
        """after so long it may work"""
        self.call = call
        """what is known of the call, if it got so far"""
        self.carrier_code = carrier_code
        """Twilio's"""

    @property
    def status(self) -> int:
        """HTTP's."""
        return int(_STATUSES[self.problem])


class DialRequest(BaseModel):
    """Whom to call, and what the assistant is told of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: str
    assistant: str | None = None
    variables: dict[str, _Value] = Field(default={}, max_length=MAX_VARIABLES)

    @field_validator("variables")
    @classmethod
    def _check_names(cls, variables: dict[str, str]) -> dict[str, str]:
        for name in variables:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"a name has 1 to 64 of A-Z a-z 0-9 _ . -, unlike {name[:80]!r}")
        return variables


def no_such_call() -> DialError:
    """It was never placed, or is not remembered any more."""
    return DialError(Problem.NO_SUCH_CALL, "there is no such call, or not any more")
