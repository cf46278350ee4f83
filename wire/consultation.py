"""A warm transfer: somebody is called, told of the caller, and agrees or not; then the two are joined.

    state      event                      next        commands
    placing    placed                     ringing     -
    any        accepted                   accepted    Join
    placing    given up                   doomed      Failed
    ringing    given up                   over        GiveUp, Failed
    accepted   given up                   over        GiveUp, Failed
    any        ended                      over        Failed
    doomed     placed                     over        GiveUp
    doomed     accepted                   over        GiveUp
    joined     anything                   joined      -

To place a call takes a while, and what is heard of it may overtake the answer that it was placed: so it may be
accepted, or over, before it is known to ring. Given up is what the caller no longer waits for, or who hangs up.

Pure.
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a consultation is."""

    PLACING = "placing"
    """Twilio was asked to call, and has not answered."""
    RINGING = "ringing"
    """Or talking, to a machine perhaps: until it is accepted there is no telling."""
    ACCEPTED = "accepted"
    """The person waits for the caller."""
    JOINED = "joined"
    """The two are left to each other."""
    DOOMED = "doomed"
    """Given up before it was known which call it is."""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the call to that person."""

    leg_sid: str


@dataclass(frozen=True, slots=True)
class Join:
    """Take the caller there."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It came to nothing."""

    why: str


Command = GiveUp | Join | Failed


class Consultation:
    """One of them. Not thread-safe. Every input returns the commands that it causes."""

    def __init__(self) -> None:
        self.state = State.PLACING
        self.leg_sid = ""
        """Of the call to that person; empty while it is not known."""

    @property
    def open(self) -> bool:
        """Whether it may still come to something."""
        return self.state in (State.PLACING, State.RINGING, State.ACCEPTED)

    def placed(self, leg_sid: str) -> list[Command]:
        """That person is being called."""
        self.leg_sid = leg_sid
        if self.state is State.DOOMED:
            return self._over(GiveUp(leg_sid))
        if self.state is State.PLACING:
            self.state = State.RINGING
        return []

    def accepted(self, leg_sid: str) -> list[Command]:
        """That person takes the call, and waits for the caller."""
        self.leg_sid = leg_sid
        if self.state is State.DOOMED:
            return self._over(GiveUp(leg_sid))
        if self.state in (State.PLACING, State.RINGING):
            self.state = State.ACCEPTED
            return [Join()]
        return []

    def ended(self, why: str) -> list[Command]:
        """The call to that person is over, or was not to be had."""
        if self.state is State.DOOMED:
            return self._over()
        return self._over(Failed(why)) if self.open else []

    def given_up(self, why: str) -> list[Command]:
        """Nobody waits for it any more."""
        if self.state is State.PLACING:
            self.state = State.DOOMED
            return [Failed(why)]
        return self._over(GiveUp(self.leg_sid), Failed(why)) if self.open else []

    def joined(self) -> None:
        """The caller is on the way there: from now on it is between the two."""
        if self.state is State.ACCEPTED:
            self.state = State.JOINED

    def _over(self, *commands: Command) -> list[Command]:
        self.state = State.OVER
        return list(commands)
