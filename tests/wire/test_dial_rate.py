"""How many calls may be placed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.dial_rate import DAY_SECONDS, DialRate, Placed, Wait, admit

NOON = 1_800_014_400.0  # on 2027-01-15, UTC
DAY = "2027-01-15"


@pytest.mark.parametrize(
    ("rate", "placed", "now", "expected"),
    [
        (DialRate(1, 9), Placed(), NOON, Placed(DAY, 1, (NOON,))),
        # Within a second of the last.
        (DialRate(1, 9), Placed(DAY, 1, (NOON,)), NOON + 0.25, Wait(0.75, of_day=False)),
        (DialRate(1, 9), Placed(DAY, 1, (NOON,)), NOON + 1, Placed(DAY, 2, (NOON + 1,))),
        (DialRate(2, 9), Placed(DAY, 1, (NOON,)), NOON + 0.25, Placed(DAY, 2, (NOON, NOON + 0.25))),
        (DialRate(2, 9), Placed(DAY, 2, (NOON, NOON + 0.25)), NOON + 0.5, Wait(0.5, of_day=False)),
        # Somebody has lowered the limit.
        (DialRate(1, 9), Placed(DAY, 2, (NOON, NOON + 0.25)), NOON + 0.5, Wait(0.75, of_day=False)),
        # The day is full, until midnight.
        (DialRate(1, 9), Placed(DAY, 9, ()), NOON, Wait(DAY_SECONDS / 2, of_day=True)),
        (DialRate(1, 9), Placed("2027-01-14", 9, ()), NOON, Placed(DAY, 1, (NOON,))),
        # A clock was set back: a little, and by an hour.
        (DialRate(1, 9), Placed(DAY, 1, (NOON + 0.5,)), NOON, Wait(1.0, of_day=False)),
        (DialRate(1, 9), Placed(DAY, 1, (NOON + 3600,)), NOON, Placed(DAY, 2, (NOON,))),
    ],
)
def test_a_call_is_placed_within_the_limits(
    rate: DialRate, placed: Placed, now: float, expected: Placed | Wait
) -> None:
    assert admit(rate, placed, now) == expected


@given(
    st.builds(DialRate, st.integers(1, 4), st.integers(1, 12)),
    st.lists(st.floats(0, 1.5), max_size=40),
    st.floats(NOON, NOON + DAY_SECONDS),
)
def test_no_second_and_no_day_has_more_than_its_limit(
    rate: DialRate, pauses: list[float], now: float
) -> None:
    placed, times = Placed(), []
    for pause in pauses:
        now += pause
        verdict = admit(rate, placed, now)
        if isinstance(verdict, Placed):
            placed = verdict
            times.append(now)
    for at in times:
        assert sum(at <= other < at + 1 for other in times) <= rate.per_second
        day = time.gmtime(at)[:3]
        assert sum(time.gmtime(other)[:3] == day for other in times) <= rate.per_day


@given(st.integers(1, 3), st.integers(1, 5), st.floats(0.001, 0.5))
def test_who_waits_as_told_is_let_through(per_second: int, calls: int, pause: float) -> None:
    placed, now = Placed(), NOON
    for _ in range(calls):
        verdict = admit(DialRate(per_second, 100), placed, now)
        if isinstance(verdict, Wait):
            now += verdict.seconds + 1e-6  # what a float of this size can tell apart
            verdict = admit(DialRate(per_second, 100), placed, now)
        assert isinstance(verdict, Placed)
        placed = verdict
        now += pause
