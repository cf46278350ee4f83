"""What a call may cost: the tables `[prices]` and `[limits]`."""

from pydantic import Field

from actors.table import Table
from wire.realtime import Usage

TOKENS = 1_000_000
"""Prices are for so many."""


class Prices(Table):
    """What a million tokens cost, in one currency: that of every budget, here and in DAILY_BUDGET."""

    text_in: float = Field(ge=0, allow_inf_nan=False)
    text_cached: float = Field(ge=0, allow_inf_nan=False)
    text_out: float = Field(ge=0, allow_inf_nan=False)
    audio_in: float = Field(ge=0, allow_inf_nan=False)
    audio_cached: float = Field(ge=0, allow_inf_nan=False)
    audio_out: float = Field(ge=0, allow_inf_nan=False)

    def cost(self, usage: Usage) -> float:
        """What that much usage costs."""
        return (
            usage.text_in * self.text_in
            + usage.text_cached * self.text_cached
            + usage.text_out * self.text_out
            + usage.audio_in * self.audio_in
            + usage.audio_cached * self.audio_cached
            + usage.audio_out * self.audio_out
        ) / TOKENS


class CallLimits(Table):
    """Where a call ends at the latest."""

    max_minutes: float = Field(default=30.0, gt=0, le=1440, allow_inf_nan=False)
    """How long a call may last, over all of its streams."""
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What a call may cost; needs [prices]."""
