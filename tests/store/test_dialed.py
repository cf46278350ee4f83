"""Calls that were placed: by their token, in whatever order Twilio tells of them, in SQLite and PostgreSQL."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from store.database import Database
from store.dialed import (
    CLAIM_SECONDS,
    EXPIRED,
    HUNG_UP,
    REFUSED,
    UNPLACED_KEPT_SECONDS,
    DialedCall,
    DialedCalls,
    NotOurs,
    TooManyDialed,
)
from store.history import History
from store.journal import CallJournal
from tests.store.conftest import Clock
from wire.dial_rate import DAY_SECONDS, DialRate
from wire.journal import OUTBOUND, CallRecord, Then

PERSON, OURS = "+4930123456", "+15550100000"
CALL, OTHER = "CA" + "1" * 32, "CA" + "2" * 32
RATE = DialRate(100, 1000)
RING_SECONDS, LONGEST = 30.0, 1860.0


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def dialed(database: Database, clock: Clock) -> DialedCalls:
    return DialedCalls(database, clock)


def place(dialed: DialedCalls, **changes: Any) -> tuple[DialedCall, str]:
    order: dict[str, Any] = {
        "number": PERSON,
        "caller_id": OURS,
        "assistant": "desk",
        "assistant_name": "Desk",
        "variables": {"name": "Anna"},
        "ring_seconds": RING_SECONDS,
        "longest_seconds": LONGEST,
        "rate": RATE,
    }
    call, token = dialed.open(**(order | changes))
    return call, token or ""


def known(dialed: DialedCalls, call: DialedCall) -> DialedCall:
    found = dialed.get(call.id)
    assert found is not None
    return found


def test_a_call_is_known_from_the_moment_it_is_asked_for(dialed: DialedCalls, clock: Clock) -> None:
    call, token = place(dialed)
    assert known(dialed, call) == call
    assert (call.number, call.caller_id, call.assistant, call.variables) == (
        PERSON,
        OURS,
        "desk",
        {"name": "Anna"},
    )
    assert (call.status, call.call_sid, call.outcome, call.over) == ("queued", None, "", False)
    assert call.placed_at == clock.now
    assert len(token) == 43


def test_it_belongs_to_the_first_call_that_comes_with_its_token(dialed: DialedCalls) -> None:
    call, token = place(dialed)
    claimed = dialed.claim(token, CALL)
    assert (claimed.id, claimed.call_sid, claimed.status) == (call.id, CALL, "in-progress")
    assert dialed.of_call(CALL) == claimed
    for told in (
        lambda: dialed.claim(token, OTHER),
        lambda: dialed.told(token, OTHER, "completed"),
        lambda: dialed.answered(token, OTHER, "human"),
        lambda: dialed.claim(call.id, CALL),
        lambda: dialed.claim("", CALL),
        lambda: dialed.claim("\ud800", CALL),
    ):
        with pytest.raises(NotOurs):
            told()
    assert known(dialed, call) == claimed


def test_what_twilio_says_first_counts_whatever_it_is(database: Database, clock: Clock) -> None:
    """The answer with the CallSid, the request for TwiML, the verdict and the callbacks come in every order."""

    def tell(dialed: DialedCalls, call: DialedCall, token: str, what: str, call_sid: str) -> None:
        match what:
            case "rest":
                dialed.placed(call.id, call_sid)
            case "twiml":
                dialed.claim(token, call_sid)
            case "verdict":
                dialed.answered(token, call_sid, "human")
            case status:
                dialed.told(token, call_sid, status)

    dialed = DialedCalls(database, clock)
    orders = itertools.permutations(("rest", "twiml", "verdict", "ringing", "completed"))
    for number, order in enumerate(itertools.islice(orders, 0, None, 7)):
        call, token = place(dialed)
        for what in order:
            tell(dialed, call, token, what, f"CA{number:032x}")
        told = known(dialed, call)
        assert (told.call_sid, told.status, told.answered_by) == (f"CA{number:032x}", "completed", "human")
        assert told.over
        clock.now += 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed"), ("canceled", "canceled")],
)
def test_a_call_that_nobody_answers_is_in_the_history_without_a_stream(
    dialed: DialedCalls, database: Database, clock: Clock, status: str, outcome: str
) -> None:
    began = clock.now
    call, token = place(dialed)
    dialed.told(token, CALL, "ringing")
    clock.now += 12
    dialed.told(token, CALL, status)
    assert (known(dialed, call).outcome, known(dialed, call).over) == (outcome, True)
    [past] = History(database).latest(10)
    assert (past.call_sid, past.direction, past.caller, past.called) == (CALL, OUTBOUND, OURS, PERSON)
    assert (past.outcome, past.streams, past.began_at, past.seconds) == (outcome, 0, began, 12)


def test_the_conversation_knows_best_how_it_ended(dialed: DialedCalls, database: Database) -> None:
    journal = CallJournal(database)
    call, token = place(dialed)
    dialed.claim(token, CALL)
    journal.began(CallRecord(CALL, "MZ1", OURS, PERSON, "Desk", "v1", OUTBOUND))
    journal.ended(CALL, "voicemail", Then.HANG_UP)
    assert journal.flush(20)
    assert known(dialed, call).outcome == "", "it may go on"
    dialed.told(token, CALL, "completed")
    assert known(dialed, call).outcome == "voicemail"
    [past] = History(database).latest(10)
    assert (past.outcome, past.streams, past.direction) == ("voicemail", 1, OUTBOUND)
    journal.close()


def test_a_conversation_that_did_not_say_how_it_ended_is_over_all_the_same(
    dialed: DialedCalls, database: Database
) -> None:
    journal = CallJournal(database)
    _, token = place(dialed)
    dialed.claim(token, CALL)
    journal.began(CallRecord(CALL, "MZ1", OURS, PERSON, "Desk", "v1", OUTBOUND))
    assert journal.flush(20)
    assert dialed.told(token, CALL, "completed").outcome == HUNG_UP
    assert [past.outcome for past in History(database).latest(10)] == [HUNG_UP]
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.then, stored.record.direction) == (Then.HANG_UP, OUTBOUND)
    journal.close()


def test_nothing_is_news_of_a_call_that_is_over(dialed: DialedCalls) -> None:
    call, token = place(dialed)
    dialed.told(token, CALL, "busy")
    before = known(dialed, call)
    dialed.told(token, CALL, "completed")
    dialed.claim(token, CALL)
    assert known(dialed, call) == before


def test_a_verdict_counts_once(dialed: DialedCalls) -> None:
    call, token = place(dialed)
    assert dialed.answered(token, CALL, "machine_start")[1]
    assert not dialed.answered(token, CALL, "human")[1]
    assert known(dialed, call).answered_by == "machine_start"


def test_a_call_that_twilio_refuses_is_over(dialed: DialedCalls, database: Database) -> None:
    call, _ = place(dialed)
    dialed.refused(call.id, "error 21215: allow it", certain=True)
    refused = known(dialed, call)
    assert (refused.status, refused.outcome, refused.error) == ("failed", REFUSED, "error 21215: allow it")
    assert History(database).latest(10) == []


def test_a_call_of_which_nobody_knows_whether_it_was_placed_may_still_come(dialed: DialedCalls) -> None:
    call, token = place(dialed)
    dialed.refused(call.id, "no answer", certain=False)
    assert not known(dialed, call).over
    assert dialed.claim(token, CALL).status == "in-progress"


def test_a_repeated_request_gets_the_call_of_the_first(dialed: DialedCalls) -> None:
    first, _ = place(dialed, request_key="order 66")
    again, token = place(dialed, request_key="order 66", rate=DialRate(1, 1))
    assert (again, token) == (first, "")
    assert place(dialed, request_key="order 67")[0].id != first.id


def test_of_many_at_once_with_one_key_one_places_a_call(database: Database) -> None:
    assert len({call.id for call, _ in at_once(database, 8, request_key="key")}) == 1


@pytest.mark.parametrize("rate", [DialRate(3, 100), DialRate(100, 3)])
def test_limits_hold_for_many_at_once(database: Database, rate: DialRate) -> None:
    assert len(at_once(database, 12, rate=rate)) == 3


def at_once(database: Database, count: int, **changes: Any) -> list[tuple[DialedCall, str]]:
    """What so many get who ask at the same moment; those whom a limit refuses get nothing."""
    barrier, placed, clock = threading.Barrier(count), [], Clock()

    def ask() -> None:
        dialed = DialedCalls(database, clock)
        barrier.wait()
        try:
            placed.append(place(dialed, **changes))
        except TooManyDialed:
            return

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return placed


def test_who_is_refused_is_told_for_how_long(dialed: DialedCalls, clock: Clock) -> None:
    place(dialed, rate=DialRate(1, 2))
    clock.now += 0.25
    with pytest.raises(TooManyDialed) as refused:
        place(dialed, rate=DialRate(1, 2))
    assert (refused.value.wait.seconds, refused.value.wait.of_day) == (0.75, False)
    clock.now += 0.75
    place(dialed, rate=DialRate(1, 2))
    clock.now += 1
    with pytest.raises(TooManyDialed) as refused:
        place(dialed, rate=DialRate(1, 2))
    assert (refused.value.wait.seconds, refused.value.wait.of_day) == (DAY_SECONDS / 2 - 2, True)


@pytest.mark.parametrize("has_call_sid", [False, True])
def test_a_call_of_which_nothing_is_heard_expires(
    dialed: DialedCalls, database: Database, clock: Clock, has_call_sid: bool
) -> None:
    call, token = place(dialed)
    if has_call_sid:
        dialed.placed(call.id, CALL)
    clock.now += RING_SECONDS + CLAIM_SECONDS - 1
    assert known(dialed, call).status == "queued"
    clock.now += 2
    assert (known(dialed, call).status, known(dialed, call).outcome) == ("failed", EXPIRED)
    assert [past.outcome for past in History(database).latest(10)] == ([EXPIRED] if has_call_sid else [])
    late = dialed.claim(token, CALL)
    assert (late.status, late.outcome) == ("failed", EXPIRED), "it opens nothing any more"


def test_a_call_that_was_answered_expires_when_it_can_last_no_longer(
    dialed: DialedCalls, clock: Clock
) -> None:
    call, token = place(dialed)
    dialed.claim(token, CALL)
    clock.now += LONGEST + CLAIM_SECONDS - 1
    assert known(dialed, call).status == "in-progress"
    clock.now += 2
    assert (known(dialed, call).status, known(dialed, call).outcome) == ("completed", EXPIRED)


def test_a_call_that_never_was_one_is_forgotten_after_a_day(dialed: DialedCalls, clock: Clock) -> None:
    call, _ = place(dialed)
    dialed.refused(call.id, "no", certain=True)
    clock.now += UNPLACED_KEPT_SECONDS + 1
    place(dialed)
    assert dialed.get(call.id) is None


def test_nobody_has_to_place_another_call_for_that(
    dialed: DialedCalls, database: Database, clock: Clock
) -> None:
    place(dialed)
    silent, _ = place(dialed)
    dialed.placed(silent.id, CALL)
    clock.now += UNPLACED_KEPT_SECONDS + 1
    dialed.clear()
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT id, outcome FROM dialed_calls").all()
    assert [tuple(row) for row in rows] == [(silent.id, EXPIRED)]
    assert [past.outcome for past in History(database).latest(10)] == [EXPIRED], "where retention finds it"


def test_who_places_a_call_reads_no_others(tmp_path: Path, clock: Clock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'plans.db'}")
    dialed, plans = DialedCalls(database, clock), list[str]()
    with database.begin() as connection:

        def explain(*event: Any) -> None:
            if "dialed_calls" in event[2] and not event[2].startswith(("EXPLAIN", "INSERT")):
                rows = event[0].exec_driver_sql(f"EXPLAIN QUERY PLAN {event[2]}", event[3])
                plans.extend(str(row) for row in rows)

        sa.event.listen(connection.engine, "before_cursor_execute", explain)
    place(dialed)
    database.close()
    assert plans
    assert not [plan for plan in plans if "SCAN" in plan]


def test_a_number_that_is_forgotten_is_in_no_call_that_was_placed(
    dialed: DialedCalls, database: Database
) -> None:
    journal = CallJournal(database)
    refused, _ = place(dialed)
    dialed.refused(refused.id, "no", certain=True)
    over, token = place(dialed)
    dialed.told(token, CALL, "busy")
    rings, token = place(dialed)
    dialed.told(token, OTHER, "ringing")
    other, _ = place(dialed, number="+4930999999")
    assert journal.forget(PERSON) == 1
    assert [dialed.get(call.id) for call in (refused, over, rings)] == [None] * 3
    assert dialed.get(other.id) is not None
    with pytest.raises(NotOurs):
        dialed.claim(token, OTHER)
    with pytest.raises(TooManyDialed):
        place(dialed, rate=DialRate(100, 4))  # what was placed today was placed
    journal.close()


def test_calls_that_were_placed_go_with_the_history_they_belong_to(database: Database, clock: Clock) -> None:
    dialed = DialedCalls(database, clock)
    call, token = place(dialed)
    dialed.told(token, CALL, "busy")
    clock.now += 8 * DAY_SECONDS
    journal = CallJournal(database, retention_days=7, clock=clock)
    journal.began(CallRecord(OTHER, "MZ2", PERSON, OURS, "", ""))
    assert journal.flush(20)
    journal.close()
    assert dialed.get(call.id) is None


def test_who_gives_a_call_up_is_remembered(dialed: DialedCalls) -> None:
    call, token = place(dialed)
    canceled = dialed.cancel(call.id)
    assert canceled is not None
    assert canceled.canceled
    assert dialed.claim(token, CALL).canceled
    assert dialed.cancel("nobody's") is None


def test_calls_that_we_place_do_not_count_as_calls_from_our_number(database: Database) -> None:
    journal = CallJournal(database)
    journal.began(CallRecord(CALL, "MZ1", OURS, PERSON, "", "", OUTBOUND))
    journal.began(CallRecord(OTHER, "MZ2", OURS, "+15550100001", "", ""))
    assert journal.flush(20)
    assert journal.calls_at_once(OURS, 3600) == 1
    journal.close()


def test_a_token_is_nowhere_in_the_database(dialed: DialedCalls, database: Database) -> None:
    _, token = place(dialed)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM dialed_calls").all()
    assert len(rows) == 1
    assert token not in str(rows)
