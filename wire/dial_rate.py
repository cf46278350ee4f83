"""How many calls may be placed: in any second, and on a day. Pure: the time is given.

    admit(rate, what was placed so far, now) -> what is placed then, or how long to wait

Whoever shares the limits keeps what was placed, and lets one at a time ask. A clock that was set back does not lock
anybody out: what seems to come from the future counts as placed just now, if it is near, and else not at all.
"""

import time
from dataclasses import dataclass

SECOND = 1.0
DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class DialRate:
    """The limits."""

    per_second: int
    """in any second"""
    per_day: int
    """of UTC"""


@dataclass(frozen=True, slots=True)
class Placed:
    """What was placed so far. Times are in seconds since 1970."""

    day: str = ""
    """the day of the latest one"""
    today: int = 0
    """how many on that day"""
    lately: tuple[float, ...] = ()
    """when, within the last second"""


@dataclass(frozen=True, slots=True)
class Wait:
    """No call now; after so long, one may be placed."""

    seconds: float
    of_day: bool
    """it is the limit of the day"""


def admit(rate: DialRate, placed: Placed, now: float) -> Placed | Wait:
    """Place a call now, if that is within the limits."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    today = placed.today if placed.day == day else 0
    if today >= rate.per_day:
        return Wait(DAY_SECONDS - now % DAY_SECONDS, of_day=True)
    lately = sorted(min(at, now) for at in placed.lately if now - SECOND < at < now + SECOND)
    if len(lately) >= rate.per_second:
        return Wait(lately[-rate.per_second] + SECOND - now, of_day=False)
    return Placed(day, today + 1, (*lately, now))
