"""How a call leaves its stream: not at once, but when what is being said has been heard."""

from dataclasses import dataclass

from actors.meter import Outcome
from wire.journal import Then


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the caller goes from here."""

    reason: str
    outcome: Outcome
    then: Then = Then.HANG_UP
    detail: str = ""
    """of `then`: a number, a room, or keys"""
    taken_back: bool = False
    """it is, if the caller speaks before it"""
