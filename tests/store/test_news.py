"""Calls that go on, and what is new in them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from store.database import Database
from store.journal import CallJournal
from store.news import AWAY_SECONDS, OVERLAP_SECONDS, LiveCalls
from tests.store.conftest import Clock
from wire.journal import CallRecord, Then
from wire.transcript import Entry

LONGEST_SECONDS = 1800.0
FIRST = CallRecord("CA1", "MZ1", "+15550100001", "+15550199999", "reception", "v1")
SECOND = replace(FIRST, call_sid="CA2", stream_sid="MZ2")
QUESTION = Entry("i1", "caller", "What do you have?", "What do you have?", 0, 0)
ANSWER = Entry("i2", "assistant", "We have one and two.", "We have", 600, 1500)


class Telling:
    def __init__(self, database: Database, clock: Clock) -> None:
        self.journal = CallJournal(database, clock=clock)
        self.live = LiveCalls(database, lambda: LONGEST_SECONDS, clock)

    def settle(self) -> None:
        assert self.journal.flush(20)

    def going_on(self) -> list[str]:
        self.settle()
        return [call.call_sid for call in self.live.going_on()]


@pytest.fixture
def telling(url: str, clock: Clock) -> Iterator[Telling]:
    database = Database(url)
    telling = Telling(database, clock)
    yield telling
    telling.journal.close()
    database.close()


def test_calls_go_on_until_they_are_hung_up_and_while_they_change_their_stream(
    telling: Telling, clock: Clock
) -> None:
    telling.journal.began(FIRST)
    clock.now += 1
    telling.journal.began(SECOND)
    assert telling.going_on() == ["CA2", "CA1"]
    telling.journal.ended("CA2", "hung_up", Then.HANG_UP)
    telling.journal.ended("CA1", "handed_over", Then.RESUME)
    assert telling.going_on() == ["CA1"]
    clock.now += AWAY_SECONDS + 1
    assert telling.going_on() == []
    telling.journal.began(FIRST)
    assert telling.going_on() == ["CA1"]


def test_a_call_whose_process_died_is_over_when_no_call_lasts_so_long(telling: Telling, clock: Clock) -> None:
    telling.journal.began(FIRST)
    telling.settle()
    call = telling.live.find("CA1")
    assert call is not None
    assert not telling.live.over(call)
    clock.now += LONGEST_SECONDS
    assert telling.going_on() == []
    assert telling.live.over(call)


def test_a_call_that_is_not_known_is_not_found(telling: Telling) -> None:
    assert telling.live.find("CA9") is None
    assert telling.live.going_on() == []
    assert telling.live.news([]).said == ()


def test_only_what_is_new_is_told_and_an_entry_is_new_when_it_changes(telling: Telling, clock: Clock) -> None:
    journal, live = telling.journal, telling.live
    journal.began(FIRST)
    journal.entry("CA1", 0, QUESTION)
    journal.event("CA1", "answered", answer_ms=700.0)
    telling.settle()
    all_of_it = live.news(["CA1"])
    assert [(each.entry, each.position) for each in all_of_it.said] == [(QUESTION, 0)]
    assert [(each.kind, each.data) for each in all_of_it.happened] == [("answered", {"answer_ms": 700.0})]
    first_told = all_of_it.latest_at
    clock.now += 60
    journal.entry("CA1", 1, ANSWER)
    telling.settle()
    [answer] = live.news(["CA1"], first_told + OVERLAP_SECONDS).said
    told_at = clock.now
    clock.now += 60
    heard = replace(ANSWER, heard_text=ANSWER.text, heard_ms=1500)
    journal.entry("CA1", 1, heard)
    telling.settle()
    [changed] = live.news(["CA1"], answer.changed_at or 0.0).said[-1:]
    assert (changed.entry, changed.told_at, changed.changed_at) == (heard, told_at, clock.now)
    assert live.news(["CA1"], clock.now + OVERLAP_SECONDS).said == ()


def test_what_was_written_late_is_not_missed(telling: Telling, clock: Clock) -> None:
    telling.journal.began(FIRST)
    telling.journal.event("CA1", "filler")
    telling.settle()
    seen_until = clock.now
    clock.now -= OVERLAP_SECONDS - 1
    telling.journal.event("CA1", "apology")
    telling.journal.entry("CA1", 0, QUESTION)
    telling.settle()
    assert [each.kind for each in telling.live.news(["CA1"], seen_until).happened] == ["filler", "apology"]
    assert [each.entry for each in telling.live.news(["CA1"], seen_until).said] == [QUESTION]


def test_other_calls_are_not_told_of_and_removed_entries_are_counted(telling: Telling) -> None:
    telling.journal.began(FIRST)
    telling.journal.began(SECOND)
    telling.journal.entry("CA2", 0, QUESTION)
    telling.journal.entry("CA2", 1, ANSWER)
    telling.settle()
    assert telling.live.news(["CA1"]).said == ()
    assert telling.live.entries("CA2") == 2
    telling.journal.removed("CA2", "i1")
    telling.settle()
    assert telling.live.entries("CA2") == 1
