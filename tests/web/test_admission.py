"""The limits that a new call meets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database, StoreError
from store.journal import CallJournal
from tests.web.conftest import IdleCall, Line, ToldPulse
from web.admission import PASSING, Admission, Refusal
from web.calls import Calls
from wire.journal import CallRecord, Then
from wire.phone_number import WITHHELD

CALLER = "+14158675310"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/calls.db")
    yield opened
    opened.close()


@pytest.fixture
def journal(database: Database) -> Iterator[CallJournal]:
    made = CallJournal(database)
    yield made
    made.close()


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls(threads=2, actor=IdleCall)
    yield made
    made.drain(5)


def admission(
    calls: Calls, journal: CallJournal, database: Database, budget: float | None = None
) -> Admission:
    return Admission(calls, journal, 2, budget, lambda: 1800)


def begin(journal: CallJournal, call_sid: str, caller: str = CALLER) -> None:
    journal.began(CallRecord(call_sid, "MZ1", caller, "+18005551299", "Desk", "1"))
    assert journal.flush(20)


def test_a_call_is_taken_while_there_is_room(calls: Calls, journal: CallJournal, database: Database) -> None:
    admitting = admission(calls, journal, database)
    assert admitting.refusal(CALLER) is None
    with Line(calls, "CA1"):
        assert calls.full
        assert admitting.refusal(CALLER) is Refusal.FULL
    assert admitting.refusal(CALLER) is None


def test_no_call_is_taken_while_those_that_live_are_late(journal: CallJournal, database: Database) -> None:
    pulse = ToldPulse()
    admitting = admission(Calls(threads=8, actor=IdleCall, pulse=pulse), journal, database)
    assert admitting.refusal(CALLER) is None
    pulse.told_late = True
    assert admitting.refusal(CALLER) is Refusal.LATE
    pulse.told_late = False
    assert admitting.refusal(CALLER) is None


def test_who_may_wait_waits_for_what_passes() -> None:
    assert {each for each in Refusal if each in PASSING} == {Refusal.FULL, Refusal.LATE}


def test_a_number_has_so_many_calls_at_once(calls: Calls, journal: CallJournal, database: Database) -> None:
    admitting = admission(calls, journal, database)
    begin(journal, "CA1")
    assert admitting.refusal(CALLER) is None
    begin(journal, "CA2")
    assert admitting.refusal(CALLER) is Refusal.CALLER
    assert admitting.refusal("+14158675311") is None
    journal.ended("CA1", "hung_up", Then.HANG_UP)
    assert journal.flush(20)
    assert admitting.refusal(CALLER) is None


@pytest.mark.parametrize(
    "caller", ["", "anonymous", "client:alice", "sip:alice@example.com", *sorted(WITHHELD)]
)
def test_who_withholds_a_number_is_not_taken_for_one_caller(
    calls: Calls, journal: CallJournal, database: Database, caller: str
) -> None:
    for number in range(4):
        begin(journal, f"CA{number}", caller)
    assert admission(calls, journal, database).refusal(caller) is None


def test_withheld_numbers_are_words_on_a_telephones_keys() -> None:
    keys = {letter: key for key, letters in enumerate(
        ["abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz"], start=2
    ) for letter in letters}  # fmt: skip
    words = ("anonymous", "restricted", "blocked", "unknown", "unavailable")
    assert {"+" + "".join(str(keys[letter]) for letter in word) for word in words} == WITHHELD


def test_a_day_has_its_budget(calls: Calls, journal: CallJournal, database: Database) -> None:
    admitting = admission(calls, journal, database, budget=1.5)
    begin(journal, "CA1", "+14158675311")
    journal.spent("CA1", 1.0)
    assert journal.flush(20)
    assert admitting.refusal(CALLER) is None
    journal.spent("CA1", 0.5)
    assert journal.flush(20)
    assert admitting.refusal(CALLER) is Refusal.BUDGET
    assert admission(calls, journal, database).refusal(CALLER) is None


def test_what_the_database_refuses_is_said(calls: Calls, journal: CallJournal, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE calls")
    with pytest.raises(StoreError):
        admission(calls, journal, database).refusal(CALLER)
