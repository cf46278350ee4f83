"""How far a call has come, in whatever order that is told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.call_progress import COMPLETED, IN_PROGRESS, OUTCOMES, QUEUED, is_final, later

STATUSES = ("queued", "initiated", "ringing", "in-progress", "completed", *OUTCOMES)


@pytest.mark.parametrize(
    ("known", "told", "expected"),
    [
        ("queued", "initiated", "initiated"),
        ("queued", "ringing", "ringing"),
        ("ringing", "initiated", "ringing"),
        ("ringing", "ringing", "ringing"),
        ("ringing", "in-progress", "in-progress"),
        ("in-progress", "ringing", "in-progress"),
        ("in-progress", "completed", "completed"),
        ("ringing", "busy", "busy"),
        ("queued", "failed", "failed"),
        ("completed", "in-progress", "completed"),
        ("busy", "completed", "busy"),
        ("ringing", "levitating", "ringing"),
        ("ringing", "", "ringing"),
    ],
)
def test_what_is_told_counts_if_it_is_news(known: str, told: str, expected: str) -> None:
    assert later(known, told) == expected


@pytest.mark.parametrize("end", [COMPLETED, *OUTCOMES])
def test_callbacks_may_come_in_any_order(end: str) -> None:
    for order in itertools.permutations(("initiated", "ringing", IN_PROGRESS, end)):
        status = QUEUED
        for told in order:
            status = later(status, told)
        assert status == end
        assert is_final(status)


@given(st.lists(st.sampled_from(STATUSES)))
def test_a_call_never_goes_back(told: list[str]) -> None:
    status, was_final = QUEUED, False
    for each in told:
        before, status = status, later(status, each)
        assert not was_final or status == before
        was_final = is_final(status)
