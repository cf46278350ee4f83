"""How the calls went, in numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from store.database import Database
from store.figures import FiguresOf, Spread, spread
from store.journal import CallJournal
from tests.store.conftest import Clock
from wire.journal import CallRecord, Then

FIRST = CallRecord("CA1", "MZ1", "+15550100001", "+15550199999", "reception", "v1")
SECOND = replace(FIRST, call_sid="CA2", stream_sid="MZ2")
HOUR = 3600.0


@dataclass
class System:
    journal: CallJournal
    figures: FiguresOf


@pytest.fixture
def system(url: str, clock: Clock) -> Iterator[System]:
    database = Database(url)
    journal = CallJournal(database, clock=clock)
    yield System(journal, FiguresOf(database, clock))
    journal.close()
    database.close()


def test_percentiles_are_values_that_there_were() -> None:
    assert spread([]) == Spread(0)
    assert spread([7.0]) == Spread(1, 7.0, 7.0, 7.0, 7.0, 7.0)
    assert spread(map(float, range(1, 101))) == Spread(100, 50.0, 90.0, 95.0, 99.0, 100.0)


def test_everything_is_counted_in_its_hour(system: System, clock: Clock) -> None:
    journal = system.journal
    journal.began(FIRST)
    for answer_ms in (500.0, 700.0, None):
        journal.event("CA1", "answered", answer_ms=answer_ms)
    journal.event("CA1", "interrupted", silence_ms=150.0)
    journal.event("CA1", "filler")
    journal.spent("CA1", 0.25)
    clock.now += 60
    journal.event("CA1", "ended", reason="the caller hung up", longest_silence_ms=1200)
    journal.ended("CA1", "hung_up", Then.HANG_UP)
    clock.now += HOUR
    journal.began(SECOND)
    journal.event("CA2", "answered", answer_ms=900.0)
    journal.event("CA2", "session lost", endpoint="a", reason="closed: 1006")
    journal.event("CA2", "tool", name="look_up", seconds=0.4, failed=True)
    journal.event("CA2", "tool", name="look_up", seconds=0.2, failed=False)
    assert journal.flush(20)
    figures = system.figures.last(24 * HOUR, 24)
    assert (figures.calls, figures.outcomes) == (2, (("", 1), ("hung_up", 1)))
    assert [each.calls for each in figures.slices] == [0] * 22 + [1, 1]
    assert [each.answer.p50 for each in figures.slices[-2:]] == [500.0, 900.0]
    assert (figures.answer.count, figures.answer.p50, figures.silence.p50) == (3, 700.0, 150.0)
    assert (figures.longest_silence.most, figures.talk_seconds, figures.cost) == (1200.0, 60.0, 0.25)
    assert dict(figures.trouble) == {
        "session lost": 1,
        "listener failed": 0,
        "recording failed": 0,
        "filler": 1,
        "apology": 0,
    }
    assert figures.reasons == (("closed: 1006", 1),)
    assert figures.tools == (("look_up", 2, 1, 0.2),)
    assert figures.days[-1] == ("2027-01-15", 0.25)
    assert len(figures.days) == 14
    assert not figures.partial


def test_what_was_before_is_left_out(system: System, clock: Clock) -> None:
    system.journal.began(FIRST)
    system.journal.event("CA1", "answered", answer_ms=500.0)
    assert system.journal.flush(20)
    clock.now += 3 * HOUR
    figures = system.figures.last(HOUR, 12)
    assert (figures.calls, figures.answer.count, len(figures.slices)) == (0, 0, 12)
    assert figures.slice_seconds == 300.0
