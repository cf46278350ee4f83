"""What a child's failure means for the call: one table, and the count of what has happened already.

    child       restarts   within   pauses before them        after the last
    model       5          30 s     0, 0.2, 0.4, 0.8, 1.6 s   the call goes to the fallback
    phone       none                                          the call ends here; Twilio asks again, and it is resumed
    listener    1          60 s     1 s                       it is left out

A restart makes a new actor: nothing half-broken survives. What cannot pass by itself, such as a refused key, is not
tried again. A tool is no child: its failure is an answer to the model. A CallActor's own failure ends its call here.

Pure: time is an argument, in seconds of any clock that never goes back.
"""

import enum
from collections import defaultdict
from dataclasses import dataclass


class Role(enum.Enum):
    """What a child is to the call."""

    MODEL = "model"
    PHONE = "phone"
    LISTENER = "listener"


@dataclass(frozen=True, slots=True)
class Restart:
    """Make a new one, after a pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Go on without it."""


@dataclass(frozen=True, slots=True)
class FallBack:
    """End the call here; Twilio speaks the fallback."""


@dataclass(frozen=True, slots=True)
class EndHere:
    """End the call here; if the caller is still there, it is resumed on a new stream."""


Consequence = Restart | LeaveOut | FallBack | EndHere


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a child is replaced, and what comes then."""

    pauses: tuple[float, ...]
    """before each restart, in s"""
    within_seconds: float
    then: Consequence


POLICIES = {
    Role.MODEL: Policy((0.0, 0.2, 0.4, 0.8, 1.6), 30.0, FallBack()),
    Role.PHONE: Policy((), 0.0, EndHere()),
    Role.LISTENER: Policy((1.0,), 60.0, LeaveOut()),
}


class Supervision:
    """The failures of one call's children. Not thread-safe: it belongs to the CallActor."""

    def __init__(self) -> None:
        self._failures: dict[tuple[Role, str], list[float]] = defaultdict(list)

    def failed(self, role: Role, name: str, permanently: bool, now: float) -> Consequence:
        """A child has failed; `name` tells those of the same role apart."""
        policy = POLICIES[role]
        recent = [at for at in self._failures[role, name] if at > now - policy.within_seconds]
        self._failures[role, name] = [*recent, now]
        if permanently or len(recent) >= len(policy.pauses):
            return policy.then
        return Restart(policy.pauses[len(recent)])
