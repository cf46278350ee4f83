"""How long a caller waits for what while nothing is heard, and what is played then: the table `[dead_air]`."""

from pydantic import Field

from actors.table import SoundFile, Table
from wire.dead_air import Limits

_LIMITS = Limits()


class DeadAir(Table):
    """What is done, and when, while it is the assistant's turn and the caller hears nothing. Times are in seconds."""

    filler_seconds: float = Field(default=_LIMITS.filler_seconds or 0.0, ge=0, le=60)
    """Silence before the caller hears the filler; 0: never."""
    again_seconds: float = Field(default=_LIMITS.again_seconds or 0.0, ge=0, le=60)
    """Silence between fillers, until the apology; 0: there is only one."""
    recover_seconds: float = Field(default=_LIMITS.recover_seconds, gt=0, le=60)
    """From the filler to a new session with the model."""
    apologise_seconds: float = Field(default=_LIMITS.apologise_seconds, gt=0, le=60)
    """From there to the apology."""
    give_up_seconds: float = Field(default=_LIMITS.give_up_seconds, gt=0, le=60)
    """From the apology to the fallback."""
    filler: SoundFile | None = None
    """Instead of the one that is shipped."""
    apology: SoundFile | None = None
    """Instead of the one that is shipped."""

    def limits(self) -> Limits:
        """What `wire.dead_air` goes by."""
        return Limits(
            filler_seconds=self.filler_seconds,
            again_seconds=self.again_seconds,
            recover_seconds=self.recover_seconds,
            apologise_seconds=self.apologise_seconds,
            give_up_seconds=self.give_up_seconds,
        )
