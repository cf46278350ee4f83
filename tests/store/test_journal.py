"""The journal: telling it never waits, what was told comes back, and no trouble of the database's loses the rest.

Every test that needs no file runs with PostgreSQL too, where its programs and psycopg are installed.
"""

import json
import logging
import os
import pwd
import queue
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.schema import CreateIndex, CreateTable

import store.writer
from store.calls import upserts
from store.database import Database, StoreError, metadata
from store.journal import CallJournal, StoredCall
from store.outbox import Outbox
from store.tokens import StreamTokens, TokenRefused
from store.writer import DELETED_AT_ONCE, WAITING_LIMIT
from tests.conftest import ExpectedLogs
from tests.probe import wait_until
from tests.store.conftest import NOON, Clock, PostgreSQL
from wire.journal import (
    Backlog,
    CallRecord,
    EntryRemoved,
    EntryTold,
    EventTold,
    Journal,
    NoJournal,
    Operation,
    Then,
)
from wire.transcript import Entry, ToolUse

ROOT = Path(__file__).parents[2]
DAY = 86400.0
CALL = "CA" + "0" * 32
OTHER_CALL = "CA" + "1" * 32
CALLER = "+15550100001"
CALLED = "+15550199999"
RECORD = CallRecord(CALL, "MZ1", CALLER, CALLED, "reception", "v1")
IN_TROUBLE = "journal cannot be written"

WRITE_FOR_EVER = """
import sys
from store.database import Database
from store.journal import CallJournal
from wire.journal import CallRecord
from wire.transcript import Entry
journal = CallJournal(Database(sys.argv[1]))
journal.began(CallRecord(sys.argv[2], "MZ1", "", "", "", ""))
for number in range(1_000_000):
    text = str(number) * 100
    journal.entry(sys.argv[2], number, Entry(f"item_{number}", "caller", text, text, 0, 0))
    journal.event(sys.argv[2], "said", number=number)
    if number % 10 == 0 and journal.flush(20):
        print(number, flush=True)
"""

# Forks them, because each would take a second to import what it needs.
WRITE_AT_ONCE = """
import os
import sys
from store.database import Database
from store.journal import CallJournal
from wire.journal import CallRecord
url, *call_sids = sys.argv[1:]
sign, give = os.pipe()
for call_sid in call_sids:
    if os.fork() == 0:
        os.close(give)
        database = Database(url)
        journal = CallJournal(database)
        os.read(sign, 1)
        journal.began(CallRecord(call_sid, "MZ1", "", "", "", ""))
        for number in range(300):
            journal.event(call_sid, "number", number=number)
            journal.spent(call_sid, 0.5)
            if number % 50 == 0:
                assert journal.flush(20)
        journal.close()
        database.close()
        sys.exit()
os.close(give)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in call_sids))
"""

TELL_WHILE_READ_ONLY = """
import logging
import os
import sys
sys.path.insert(0, sys.argv[4])
import sqlalchemy as sa
from store.database import Database
from store.journal import CallJournal
from wire.journal import CallRecord, Then
sa.create_engine("sqlite://")  # imports what it needs, while that may be read
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
logging.basicConfig(level=logging.INFO)
path = sys.argv[1].removeprefix("sqlite:///")
database = Database(sys.argv[1])
journal = CallJournal(database)
journal.began(CallRecord(sys.argv[2], "MZ1", "", "", "", ""))
assert journal.flush(20)
os.rename(path, path + "2")  # so that the file has to be opened again
os.chmod(path + "2", 0o400)
os.rename(path + "2", path)
with database.begin() as connection:
    connection.invalidate()
    connection.get_transaction().rollback()
journal.ended(sys.argv[2], "hung up", Then.HANG_UP)
assert not journal.flush(0.2)
for name in os.listdir("."):
    os.chmod(name, 0o600)  # SQLite gives its two other files the permissions of the first
assert journal.flush(20)
journal.close()
database.close()
"""


@pytest.fixture
def said() -> Iterator["queue.Queue[str]"]:
    """What the journal logs, at INFO and above."""
    messages: queue.Queue[str] = queue.Queue()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.put(record.getMessage())

    logger, listener = logging.getLogger("store.journal"), Listener()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(listener)


@contextmanager
def opened(
    url: str,
    retention_days: float | None = None,
    clock: Callable[[], float] = time.time,
    busy_timeout_ms: int | None = None,
) -> Iterator[CallJournal]:
    database = Database(url)
    if busy_timeout_ms is not None:
        with database.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {busy_timeout_ms}")
    journal = CallJournal(database, retention_days, clock)
    try:
        yield journal
    finally:
        journal.close()
        database.close()


@pytest.fixture
def journal(url: str, clock: Clock) -> Iterator[CallJournal]:
    with opened(url, clock=clock) as opened_journal:
        yield opened_journal


@pytest.fixture
def sqlite_journal(file: Path, clock: Clock) -> Iterator[CallJournal]:
    """One that soon gives up waiting for a lock."""
    with opened(f"sqlite:///{file}", clock=clock, busy_timeout_ms=20) as opened_journal:
        yield opened_journal


@contextmanager
def another(url: str) -> Iterator[Database]:
    """As another process has the database."""
    database = Database(url)
    yield database
    database.close()


def database_is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else holds what the writer needs."""
    with another(url) as database, database.begin() as connection:
        if not database_is_sqlite(url):
            connection.exec_driver_sql("LOCK TABLE calls, entries, events IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """As a tool of the operator's reads the database, which has no tables to create."""
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        yield connection


def loaded(url: str, call_sid: str = CALL) -> StoredCall | None:
    with opened(url) as elsewhere:
        return elsewhere.load(call_sid)


def events(url: str, call_sid: str = CALL) -> list[tuple[str, object]]:
    table = metadata.tables["events"]
    in_order = sa.select(table.c.kind, table.c.data).where(table.c.call_sid == call_sid).order_by(table.c.id)
    with connected(url) as connection:
        return [(kind, json.loads(data)) for kind, data in connection.execute(in_order)]


def rows(url: str, table: str) -> int:
    with connected(url) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(metadata.tables[table])).scalar_one()


def of_caller(item_id: str, text: str = "hello") -> Entry:
    return Entry(item_id, "caller", text, text, 0, 0)


# The backlog


def told(number: int) -> EventTold:
    return EventTold(CALL, str(number), {}, 0.0)


def entry_told(item_id: str, text: str) -> EntryTold:
    return EntryTold(CALL, 0, of_caller(item_id, text))


def test_the_last_of_several_entries_for_an_item_waits_at_the_place_of_the_first() -> None:
    backlog = Backlog(10)
    for operation in (entry_told("a", "1"), told(1), entry_told("b", "1"), entry_told("a", "2")):
        backlog.add(operation)
    assert backlog.take(10) == [entry_told("a", "2"), told(1), entry_told("b", "1")]


def test_an_entry_that_is_removed_before_it_was_written_is_one_operation() -> None:
    backlog = Backlog(10)
    for operation in (entry_told("item_1", "hello"), told(1), EntryRemoved(CALL, "item_1")):
        backlog.add(operation)
    assert backlog.take(10) == [EntryRemoved(CALL, "item_1"), told(1)]
    backlog.add(entry_told("item_1", "hello again"))
    backlog.settle(0)
    assert backlog.take(10) == [entry_told("item_1", "hello again"), told(1)]


def test_the_same_item_of_two_calls_is_two() -> None:
    backlog = Backlog(10)
    backlog.add(EntryTold(CALL, 0, of_caller("a")))
    backlog.add(EntryTold(OTHER_CALL, 0, of_caller("a")))
    assert len(backlog) == 2


def test_an_operation_is_held_until_all_before_it_are_done() -> None:
    backlog = Backlog(10)
    for operation in (entry_told("a", "1"), told(1), entry_told("a", "2")):
        backlog.add(operation)
    assert [backlog.holds(number) for number in range(4)] == [False, True, True, True]
    backlog.take(1)
    assert backlog.holds(1)
    backlog.settle(1)
    assert [backlog.holds(number) for number in (1, 2)] == [False, True]


def test_over_the_limit_the_oldest_events_go_and_then_the_oldest_of_all() -> None:
    backlog = Backlog(3)
    for operation in (entry_told("a", ""), told(1), told(2), entry_told("b", "")):
        backlog.add(operation)
    assert (len(backlog), backlog.dropped) == (3, 1)
    backlog.add(entry_told("c", ""))
    backlog.add(entry_told("d", ""))
    assert backlog.dropped == 3
    assert backlog.take(9) == [entry_told("b", ""), entry_told("c", ""), entry_told("d", "")]


def test_what_was_not_done_comes_first_again_unless_it_was_replaced() -> None:
    backlog = Backlog(10)
    for operation in (told(1), entry_told("a", "1"), told(2), told(3)):
        backlog.add(operation)
    backlog.take(3)
    backlog.add(entry_told("a", "2"))
    backlog.settle(1)
    assert backlog.take(10) == [entry_told("a", "2"), told(2), told(3)]


def test_what_is_put_back_over_the_limit_is_dropped_as_if_it_had_stayed() -> None:
    backlog = Backlog(2)
    backlog.add(told(1))
    backlog.add(told(2))
    backlog.take(2)
    backlog.add(told(3))
    assert (len(backlog), backlog.dropped) == (2, 1)
    backlog.settle(0)
    backlog.add(told(4))
    assert backlog.take(9) == [told(2), told(4)]


@given(
    st.lists(
        st.one_of(
            st.sampled_from("abc").map(lambda item: ("entry", item)),
            st.just(("event", "")),
            st.tuples(st.integers(1, 4), st.integers(0, 4)),
        ),
        max_size=60,
    )
)
def test_all_is_written_once_in_order_and_of_an_item_the_last(steps: list[tuple[object, object]]) -> None:
    backlog, all_told, written = Backlog(1000), list[Operation](), list[Operation]()
    for step in steps:
        match step:
            case ("entry", item):
                all_told.append(entry_told(str(item), str(len(all_told))))
                backlog.add(all_told[-1])
            case ("event", _):
                all_told.append(told(len(all_told)))
                backlog.add(all_told[-1])
            case (int(taken), int(done)):
                operations = backlog.take(taken)
                # Something is told while these are written.
                all_told.append(entry_told("a", str(len(all_told))))
                backlog.add(all_told[-1])
                backlog.settle(min(done, len(operations)))
                written += operations[:done]
    number = len(all_told)
    assert backlog.holds(number) == (len(backlog) > 0)
    rest = backlog.take(1000)
    backlog.settle(len(rest))
    written += rest
    assert not backlog.holds(number)
    assert [o for o in written if isinstance(o, EventTold)] == [
        o for o in all_told if isinstance(o, EventTold)
    ]
    for item in "abc":
        versions = [
            [o for o in operations if isinstance(o, EntryTold) and o.entry.item_id == item]
            for operations in (written, all_told)
        ]
        assert versions[0][-1:] == versions[1][-1:]
        assert [all_told.index(o) for o in versions[0]] == sorted({all_told.index(o) for o in versions[0]})


# What is told comes back


def test_what_is_told_is_loaded_elsewhere(url: str, journal: CallJournal, clock: Clock) -> None:
    entries = (
        Entry("item_1", "caller", "What's the time? ☎", "What's the time? ☎", 0, 0),
        Entry("item_2", "tool", "", "", 0, 0, tool=ToolUse("call_1", "clock", '{"zone": "UTC"}', '"noon"')),
        Entry("item_3", "assistant", "It is noon.", "It is", 700, 1500),
        Entry("item_4", "caller", "", "", 0, 0, failed=True),
        Entry("item_5", "tool", "", "", 0, 0, tool=ToolUse("call_2", "hang_up", "")),
    )
    journal.began(RECORD)
    for position, entry in enumerate(entries):
        journal.entry(CALL, position, entry)
    assert journal.flush(20)
    assert loaded(url) == StoredCall(RECORD, entries, 1, 0.0, clock.now, None, "", Then.RESUME)


def test_a_call_that_is_not_known_is_none(journal: CallJournal) -> None:
    journal.began(RECORD)
    assert journal.load(OTHER_CALL) is None


def test_loading_sees_what_was_told_just_now(journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.entry(CALL, 0, of_caller("item_1"))
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.entries == (of_caller("item_1"),)


def test_entries_are_in_the_order_of_their_positions_and_the_last_told(journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.entry(CALL, 0, of_caller("item_2", "first"))
    journal.entry(CALL, 1, of_caller("item_3"))
    assert journal.flush(20)
    journal.entry(CALL, 0, of_caller("item_1"))
    journal.entry(CALL, 1, of_caller("item_2", "second"))
    journal.entry(CALL, 2, of_caller("item_3"))
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.entries == (of_caller("item_1"), of_caller("item_2", "second"), of_caller("item_3"))


def test_an_entry_that_is_removed_is_not_loaded(url: str, journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.began(replace(RECORD, call_sid=OTHER_CALL))
    for position in range(3):
        journal.entry(CALL, position, of_caller(f"item_{position}"))
    journal.entry(OTHER_CALL, 0, of_caller("item_1"))
    assert journal.flush(20)
    journal.removed(CALL, "item_1")
    journal.removed(CALL, "item that nobody told")
    stored, other = journal.load(CALL), journal.load(OTHER_CALL)
    assert stored is not None
    assert other is not None
    assert stored.entries == (of_caller("item_0"), of_caller("item_2"))
    assert other.entries == (of_caller("item_1"),)
    assert rows(url, "entries") == 3


def test_a_call_that_begins_again_counts_its_streams_and_keeps_the_rest(
    journal: CallJournal, clock: Clock
) -> None:
    journal.began(RECORD)
    journal.entry(CALL, 0, of_caller("item_1"))
    journal.ended(CALL, "handed over", Then.RESUME)
    began_at, clock.now = clock.now, clock.now + 60
    journal.began(replace(RECORD, stream_sid="MZ2", caller="", called="", assistant_version="v2"))
    journal.began(replace(RECORD, stream_sid="MZ3", assistant="", assistant_version=""))
    assert journal.load(CALL) == StoredCall(
        replace(RECORD, stream_sid="MZ3", assistant_version="v2"),
        (of_caller("item_1"),),
        3,
        0.0,
        began_at,
        None,
        "",
        Then.RESUME,
    )


@pytest.mark.parametrize("between", [True, False])
def test_the_last_end_of_a_call_counts(journal: CallJournal, clock: Clock, between: bool) -> None:
    journal.began(RECORD)
    journal.ended(CALL, "cut off", Then.RESUME)
    if between:
        assert journal.flush(20)
    clock.now += 5
    journal.ended(CALL, "model failed", Then.FALLBACK)
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.ended_at, stored.outcome, stored.then) == (clock.now, "model failed", Then.FALLBACK)


@pytest.mark.parametrize("between", [True, False])
def test_a_call_that_goes_on_has_not_ended_as_its_last_stream_did(
    journal: CallJournal, between: bool
) -> None:
    journal.began(RECORD)
    journal.ended(CALL, "transferred", Then.TRANSFER, "+4930333")
    if between:
        assert journal.flush(20)
    journal.began(replace(RECORD, stream_sid="MZ2"))
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.streams, stored.ended_at, stored.outcome) == (2, None, "")
    assert (stored.then, stored.detail) == (Then.RESUME, ""), "else a crash would transfer it once more"


def test_where_a_call_goes_from_its_stream_is_kept(journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.ended(CALL, "transferred", Then.TRANSFER, "+4930333")
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.then, stored.detail) == (Then.TRANSFER, "+4930333")


def test_events_are_kept_in_order_with_their_time_and_data(
    url: str, journal: CallJournal, clock: Clock
) -> None:
    journal.began(RECORD)
    for number in range(1200):  # several transactions
        journal.event(CALL, "counted", number=number)
    journal.event(CALL, "kinds", kind="a \0 b", call_sid=None, ratio=0.5, sure=True)
    assert journal.flush(20)
    found = events(url)
    assert found[:-1] == [("counted", {"number": number}) for number in range(1200)]
    assert found[-1] == ("kinds", {"kind": "a \0 b", "call_sid": None, "ratio": 0.5, "sure": True})
    with another(url) as database, database.begin() as connection:
        times = connection.execute(sa.select(metadata.tables["events"].c.at).distinct()).scalars().all()
    assert times == [clock.now]


def test_what_is_told_of_a_call_that_has_not_begun_is_not_kept(url: str, journal: CallJournal) -> None:
    journal.entry(CALL, 0, of_caller("item_1"))
    journal.event(CALL, "lost")
    journal.ended(CALL, "lost", Then.HANG_UP)
    assert journal.flush(20)
    journal.began(RECORD)
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.entries, stored.outcome, events(url)) == ((), "", [])


def test_a_text_that_no_database_can_hold_is_repaired(journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.entry(CALL, 0, of_caller("item_1", "a\0b\ud83dc"))
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.entries == (of_caller("item_1", "a\ufffdb?c"),)


@pytest.mark.parametrize(
    "tell",
    [
        lambda journal: journal.entry(CALL, 0, Entry("item_1", "assistant", "", "", 2**70, 0)),
        lambda journal: journal.event(CALL, "unspeakable", data=object()),
        lambda journal: journal.spent(CALL, float("nan")),
    ],
)
def test_what_can_never_be_written_is_left_out_alone(
    url: str, journal: CallJournal, logs: ExpectedLogs, tell: Callable[[CallJournal], None]
) -> None:
    logs.expect(f"journal of call {CALL}: one .* is left out")
    with locked(url):  # so that they all wait together
        logs.allow(IN_TROUBLE)
        journal.began(RECORD)
        for number in range(5):
            journal.event(CALL, "before", number=number)
        tell(journal)
        for number in range(5):
            journal.event(CALL, "after", number=number)
    journal.flush(20)
    assert (journal.waiting, journal.lost) == (0, 1)
    assert events(url) == [(kind, {"number": number}) for kind in ("before", "after") for number in range(5)]


def test_costs_are_added_to_the_call_and_to_the_day(url: str, journal: CallJournal, clock: Clock) -> None:
    assert journal.spent_today() == 0.0
    journal.began(RECORD)
    for cost in (0.25, 0.5, 1.0):
        journal.spent(CALL, cost)
    assert journal.flush(20)
    with opened(url, clock=clock) as elsewhere:
        elsewhere.spent(CALL, 0.125)
        elsewhere.spent("CA of a call that is not known", 0.125)
        assert elsewhere.flush(20)
    assert journal.spent_today() == 2.0
    with another(url) as database, database.begin() as connection:
        assert connection.execute(sa.select(metadata.tables["calls"].c.cost)).scalar_one() == 1.875


def test_a_day_ends_at_midnight_utc(journal: CallJournal, clock: Clock) -> None:
    clock.now = NOON + DAY / 2 - 1
    journal.spent(CALL, 1.0)
    clock.now += 1
    journal.spent(CALL, 2.0)
    assert journal.flush(20)
    assert journal.spent_today() == 2.0
    clock.now -= 1
    assert journal.spent_today() == 1.0


# How many calls a number has


LONGEST_SECONDS = 1800.0


def test_a_number_has_the_calls_that_go_on(journal: CallJournal) -> None:
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 0
    for call_sid, caller in (("CA1", CALLER), ("CA2", "+1 (555) 010-0001"), ("CA3", "+15550100002")):
        journal.began(replace(RECORD, call_sid=call_sid, caller=caller))
    assert journal.flush(20)
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 2
    assert journal.calls_at_once(CALLED, LONGEST_SECONDS) == 0


@pytest.mark.parametrize("then", [Then.HANG_UP, Then.FALLBACK])
def test_a_call_that_is_over_does_not_count(journal: CallJournal, then: Then) -> None:
    journal.began(RECORD)
    journal.ended(CALL, "ended", then)
    assert journal.flush(20)
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 0


def test_a_call_that_changes_hands_counts_once(journal: CallJournal) -> None:
    journal.began(RECORD)
    journal.ended(CALL, "moved", Then.RESUME)
    assert journal.flush(20)
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 1
    journal.began(RECORD)
    assert journal.flush(20)
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 1


def test_a_call_whose_end_nobody_told_counts_no_longer_than_a_call_lasts(
    journal: CallJournal, clock: Clock
) -> None:
    journal.began(RECORD)
    assert journal.flush(20)
    clock.now += LONGEST_SECONDS - 1
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 1
    clock.now += 1
    assert journal.calls_at_once(CALLER, LONGEST_SECONDS) == 0


def test_all_threads_may_tell(url: str, journal: CallJournal) -> None:
    def tell(call_sid: str) -> None:
        journal.began(replace(RECORD, call_sid=call_sid))
        for number in range(200):
            journal.event(call_sid, "counted", number=number)

    threads = [threading.Thread(target=tell, args=[f"CA{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.flush(20)
    for number in range(8):
        assert events(url, f"CA{number}") == [("counted", {"number": index}) for index in range(200)]


ITEMS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ENTRIES = st.builds(
    Entry,
    ITEMS,
    st.sampled_from(["caller", "assistant", "tool"]),
    TEXTS,
    TEXTS,
    st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.booleans(),
    st.none() | st.builds(ToolUse, TEXTS, TEXTS, TEXTS, st.none() | TEXTS),
)
STEPS = st.one_of(
    st.tuples(st.integers(0, 5), ENTRIES),
    st.tuples(TEXTS, st.sampled_from(Then)),
    st.builds(EntryRemoved, st.just(CALL), ITEMS),
    st.just("began"),
    st.just("flush"),
)


@dataclass
class Model:
    entries: dict[str, tuple[int, Entry]] = field(default_factory=dict)
    streams: int = 1
    outcome: str = ""
    then: Then = Then.RESUME

    def in_order(self) -> tuple[Entry, ...]:
        placed = sorted(self.entries.values(), key=lambda place: (place[0], place[1].item_id))
        return tuple(entry for _, entry in placed)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=25))
def test_whatever_is_told_loads_as_it_was_last(
    steps: list[object], journal: CallJournal, call_sids: Iterator[str]
) -> None:
    call_sid, model = next(call_sids), Model()
    journal.began(replace(RECORD, call_sid=call_sid))
    for step in steps:
        match step:
            case (int(position), Entry() as entry):
                journal.entry(call_sid, position, entry)
                model.entries[entry.item_id] = (position, entry)
            case EntryRemoved(item_id=item_id):
                journal.removed(call_sid, item_id)
                model.entries.pop(item_id, None)
            case (str(outcome), Then() as then):
                journal.ended(call_sid, outcome, then)
                model.outcome, model.then = outcome, then
            case "began":
                journal.began(replace(RECORD, call_sid=call_sid))
                model.streams += 1
                model.outcome, model.then = "", Then.RESUME
            case "flush":
                assert journal.flush(20)
    stored = journal.load(call_sid)
    assert stored is not None
    assert stored.entries == model.in_order()
    assert (stored.streams, stored.outcome, stored.then) == (model.streams, model.outcome, model.then)


@pytest.fixture
def call_sids() -> Iterator[str]:
    return (f"CA{number}" for number in count())


# Forgetting


@pytest.mark.parametrize("number", [CALLER, "15550100001", "+1 (555) 010-0001", " 1.555.010.0001\n"])
def test_a_number_is_forgotten_with_all_that_was_kept_of_it(
    url: str, journal: CallJournal, number: str
) -> None:
    with another(url) as database:
        tokens = StreamTokens(database, 60)
        for call_sid, caller, called in (
            (CALL, CALLER, CALLED),
            (OTHER_CALL, "+15550100002", CALLER),
            ("CA of somebody else", "+15550100002", CALLED),
        ):
            tokens.spend(tokens.issue(call_sid), call_sid)
            journal.began(CallRecord(call_sid, "MZ1", caller, called, "", ""))
            journal.entry(call_sid, 0, of_caller("item_1"))
            journal.event(call_sid, "greeted")
            journal.spent(call_sid, 1.0)
    assert journal.forget(number) == 2
    assert journal.forget(number) == 0
    assert [journal.load(call_sid) for call_sid in (CALL, OTHER_CALL)] == [None, None]
    for table in ("calls", "entries", "events", "stream_tokens"):
        assert rows(url, table) == 1
    assert journal.load("CA of somebody else") is not None
    assert journal.spent_today() == 3.0


@pytest.mark.parametrize("number", ["", "+", "0001", "+1555010000", "5550100001", "client:alice ", "Alice"])
def test_only_the_whole_number_is_forgotten(journal: CallJournal, number: str) -> None:
    journal.began(RECORD)
    journal.began(replace(RECORD, call_sid="CA1", caller="", called="client:alice2"))
    journal.began(replace(RECORD, call_sid="CA2", caller="client:alice", called=""))
    assert journal.forget(number) == (number == "client:alice ")


def test_what_is_told_of_a_forgotten_call_is_not_kept(url: str, journal: CallJournal) -> None:
    journal.began(RECORD)
    assert journal.forget(CALLER) == 1
    journal.entry(CALL, 0, of_caller("item_1"))
    journal.event(CALL, "said")
    journal.ended(CALL, "hung up", Then.HANG_UP)
    assert journal.flush(20)
    assert [rows(url, table) for table in ("calls", "entries", "events")] == [0, 0, 0]


def test_a_call_that_was_forgotten_while_it_goes_on_can_be_resumed_and_not_be_replayed(
    url: str, journal: CallJournal
) -> None:
    with another(url) as database:
        tokens = StreamTokens(database, 60)
        tokens.spend(tokens.issue(CALL), CALL)
        journal.began(RECORD)
        assert journal.forget(CALLER) == 1
        with pytest.raises(TokenRefused, match="replayed"):
            tokens.issue(CALL)
        assert tokens.spend(tokens.issue(CALL, after=1), CALL) == 2


def test_what_was_forgotten_is_not_in_the_files_either(file: Path) -> None:
    with opened(f"sqlite:///{file}") as journal:
        journal.began(RECORD)
        for number in range(50):
            journal.entry(CALL, number, of_caller(f"item_{number}", "a secret of mine " * 20))
        assert journal.flush(20)
        assert journal.forget(CALLER) == 1
        for path in file.parent.iterdir():
            assert b"secret of mine" not in path.read_bytes()
            assert CALLER.encode() not in path.read_bytes()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert b"secret of mine" not in file.read_bytes()


def test_forgetting_says_if_a_reader_keeps_the_log_from_being_emptied(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect("what was erased may be in the database's -wal file")
    sqlite_journal.began(RECORD)
    assert sqlite_journal.flush(20)
    with another(f"sqlite:///{file}") as database, database.read() as connection:
        connection.exec_driver_sql("SELECT * FROM calls")
        assert sqlite_journal.forget(CALLER) == 1


def test_forgetting_says_why_it_cannot(file: Path, sqlite_journal: CallJournal) -> None:
    with locked(f"sqlite:///{file}"), pytest.raises(StoreError, match="locked; find the process"):
        sqlite_journal.forget(CALLER)


# Retention


def test_old_calls_are_deleted_at_the_start_in_small_batches(
    url: str, clock: Clock, said: "queue.Queue[str]"
) -> None:
    with opened(url, clock=clock) as journal:
        for number in range(2 * DELETED_AT_ONCE + 10):
            clock.now = NOON + number
            journal.began(replace(RECORD, call_sid=f"CA{number}"))
            journal.entry(f"CA{number}", 0, of_caller("item_1"))
            journal.event(f"CA{number}", "greeted")
        assert journal.flush(20)
    clock.now = NOON + 30 * DAY + 2 * DELETED_AT_ONCE + 5
    with opened(url, 30, clock):
        for deleted in (DELETED_AT_ONCE, DELETED_AT_ONCE, 5):
            assert said.get(timeout=20) == f"journal: calls deleted for being older than 30 d: {deleted}"
    assert [rows(url, table) for table in ("calls", "entries", "events")] == [5, 5, 5]


def test_old_calls_are_deleted_every_hour(url: str, clock: Clock, said: "queue.Queue[str]") -> None:
    with opened(url, 1, clock) as journal:
        journal.began(RECORD)
        assert journal.flush(20)
        clock.now += DAY - 1
        journal.began(replace(RECORD, call_sid=OTHER_CALL))
        assert journal.flush(20)
        assert said.empty()
        clock.now += 3600
        journal.event(OTHER_CALL, "woke the writer")
        assert said.get(timeout=20) == "journal: calls deleted for being older than 1 d: 1"
        assert journal.load(CALL) is None
        assert journal.load(OTHER_CALL) is not None


def test_events_for_the_webhook_are_not_kept_longer_than_their_calls(
    url: str, clock: Clock, said: "queue.Queue[str]"
) -> None:
    forgotten, recent = "CA of a forgotten call", OTHER_CALL
    with opened(url, clock=clock) as journal, another(url) as database:
        outbox = Outbox(database, "a secret of sixteen or more", clock=clock)
        outbox.close()
        journal.began(RECORD)
        for call_sid in (CALL, forgotten):
            outbox.put(f"event of {call_sid}", call_sid, "http://127.0.0.1:9/", b"{}")
        clock.now += DAY + 1
        journal.began(replace(RECORD, call_sid=recent))
        for call_sid in (CALL, recent):
            outbox.put(f"late event of {call_sid}", call_sid, "http://127.0.0.1:9/", b"{}")
        assert journal.flush(20)
    with opened(url, 1, clock):
        assert said.get(timeout=20) == "journal: calls deleted for being older than 1 d: 1"
    with connected(url) as connection:
        left = connection.execute(sa.select(metadata.tables["webhook_events"].c.call_sid)).scalars().all()
    assert left == [recent]


def test_files_are_erased_at_the_start_and_every_hour(sqlite_url: str, clock: Clock) -> None:
    erased: queue.Queue[float] = queue.Queue()
    database = Database(sqlite_url)
    journal = CallJournal(database, 1, clock, lambda: erased.put(clock.now))
    try:
        assert erased.get(timeout=20) == NOON
        clock.now += 3599
        journal.began(RECORD)
        assert journal.flush(20)
        clock.now += 1
        journal.event(CALL, "woke the writer")
        assert erased.get(timeout=20) == NOON + 3600
    finally:
        journal.close()
        database.close()


def test_what_cannot_be_deleted_is_tried_again_a_minute_later(
    file: Path, clock: Clock, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.expect(f"{IN_TROUBLE}: .* keep them; .* 0 operations wait")
    url = f"sqlite:///{file}"
    refuse = "CREATE TRIGGER kept BEFORE DELETE ON calls BEGIN SELECT RAISE (ABORT, 'keep them'); END"
    with opened(url, clock=clock) as journal, another(url) as database:
        journal.began(RECORD)
        with database.begin() as connection:
            connection.exec_driver_sql(refuse)
    clock.now += 2 * DAY
    with opened(url, 1, clock) as journal, another(url) as database:
        assert IN_TROUBLE in said.get(timeout=20)
        with database.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER kept")
        journal.event(CALL, "woke the writer")
        assert "written again" in said.get(timeout=20)
        assert said.empty()
        clock.now += 60
        journal.event(CALL, "woke the writer")
        assert "older than 1 d: 1" in said.get(timeout=20)


def test_without_a_limit_nothing_is_deleted(url: str, journal: CallJournal, clock: Clock) -> None:
    journal.began(RECORD)
    clock.now += 10_000 * DAY
    assert journal.load(CALL) is not None


# Trouble


def test_telling_does_not_wait_for_the_database(url: str, journal: CallJournal, logs: ExpectedLogs) -> None:
    logs.allow(IN_TROUBLE)
    journal.began(RECORD)
    assert journal.flush(20)
    with locked(url):
        before = time.monotonic()
        for number in range(2000):
            journal.entry(CALL, 0, of_caller("item_1", str(number)))
        # Where each of them waited for the lock, this would take 40 s with SQLite, and for ever with PostgreSQL.
        assert time.monotonic() - before < 5
        assert not journal.flush(0.05)
        # One may have been on its way already.
        assert 1 <= journal.waiting <= 2
    assert journal.flush(20)
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.entries == (of_caller("item_1", "1999"),)


def test_what_is_stored_is_read_while_another_process_writes(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs
) -> None:
    sqlite_journal.began(RECORD)
    sqlite_journal.spent(CALL, 1.5)
    assert sqlite_journal.flush(20)
    with locked(f"sqlite:///{file}"):
        stored = sqlite_journal.load(CALL)
        assert stored is not None
        assert (stored.record, stored.cost) == (RECORD, 1.5)
        assert sqlite_journal.spent_today() == 1.5
        assert sqlite_journal.calls_at_once(CALLER, LONGEST_SECONDS) == 1


def test_a_locked_database_costs_one_warning_and_nothing_that_was_told(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.expect(IN_TROUBLE)
    url = f"sqlite:///{file}"
    with locked(url):
        sqlite_journal.began(RECORD)
        assert "locked; find the process that keeps it locked" in said.get(timeout=20)
        for number in range(700):  # more than one batch
            sqlite_journal.event(CALL, "counted", number=number)
            sqlite_journal.entry(CALL, 0, of_caller("item_1", str(number)))
        assert not sqlite_journal.flush(0.05)
        # An attempt may go on, with an older one of the entries.
        wait_until(lambda: sqlite_journal.waiting == 702, "all of them wait")
    assert sqlite_journal.flush(20)
    assert "journal is written again, after" in said.get(timeout=20)
    assert said.empty()
    assert events(url) == [("counted", {"number": number}) for number in range(700)]
    assert (sqlite_journal.waiting, sqlite_journal.lost) == (0, 0)


def test_a_second_trouble_is_told_too(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.expect(IN_TROUBLE)
    for _ in range(2):
        with locked(f"sqlite:///{file}"):
            sqlite_journal.began(RECORD)
            assert IN_TROUBLE in said.get(timeout=20)
        assert "written again" in said.get(timeout=20)


def test_a_full_disk_loses_nothing(file: Path, logs: ExpectedLogs, said: "queue.Queue[str]") -> None:
    logs.expect(IN_TROUBLE)
    database = Database(f"sqlite:///{file}")
    journal = CallJournal(database)
    journal.began(RECORD)
    assert journal.flush(20)
    limit_pages(database, 1)
    for number in range(20):
        journal.entry(CALL, number, of_caller(f"item_{number:02}", str(number) * 1000))
        journal.event(CALL, "said", number=number)
    assert "free some disk space" in said.get(timeout=20)
    limit_pages(database, 100_000)
    assert journal.flush(20)
    assert "0 operations were lost" in said.get(timeout=20)
    stored = journal.load(CALL)
    assert stored is not None
    assert [entry.item_id for entry in stored.entries] == [f"item_{number:02}" for number in range(20)]
    assert len(events(f"sqlite:///{file}")) == 20
    journal.close()
    database.close()


def limit_pages(database: Database, more: int) -> None:
    with database.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_deleted_file_is_noticed_and_a_new_one_begins(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs, said: "queue.Queue[str]", replaced: bool
) -> None:
    logs.expect(IN_TROUBLE)
    logs.expect("sqlite_file: .* the file was moved or deleted")
    sqlite_journal.began(RECORD)
    assert sqlite_journal.flush(20)
    for path in file.parent.iterdir():
        path.unlink()
    if replaced:
        sqlite3.connect(file).close()
    sqlite_journal.began(replace(RECORD, call_sid=OTHER_CALL))
    sqlite_journal.entry(OTHER_CALL, 0, of_caller("item_1"))
    assert "the file was moved or deleted" in said.get(timeout=20)
    assert sqlite_journal.flush(20)
    assert "0 operations were lost" in said.get(timeout=20)
    stored = loaded(f"sqlite:///{file}", OTHER_CALL)
    assert stored is not None
    assert stored.entries == (of_caller("item_1"),)


def test_a_folder_that_is_gone_for_a_while_costs_nothing(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.expect(IN_TROUBLE)
    logs.expect("sqlite_file: .* the file was moved or deleted")
    sqlite_journal.began(RECORD)
    assert sqlite_journal.flush(20)
    elsewhere = file.parent.rename(file.parent.with_name("elsewhere"))
    sqlite_journal.entry(CALL, 0, of_caller("item_1"))
    assert IN_TROUBLE in said.get(timeout=20)
    sqlite_journal.ended(CALL, "hung up", Then.HANG_UP)
    assert not sqlite_journal.flush(0.05)
    with pytest.raises(StoreError, match="see that its folder exists"):
        sqlite_journal.spent_today()
    elsewhere.rename(file.parent)
    assert sqlite_journal.flush(20)
    assert "written again" in said.get(timeout=20)
    stored = loaded(f"sqlite:///{file}")
    assert stored is not None
    assert (stored.entries, stored.outcome) == ((of_caller("item_1"),), "hung up")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another user try")
def test_a_file_that_may_not_be_written_any_more_costs_nothing(file: Path) -> None:
    """Root may write everything, so a process of another user's tells."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="switchboard-nobody-") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_uid)
        path = Path(folder) / "calls.db"
        url = f"sqlite:///{path}"
        done = subprocess.run(
            [sys.executable, "-c", TELL_WHILE_READ_ONLY, url, CALL, str(nobody.pw_uid), str(ROOT)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr.count("\n")) == (0, 2), done.stderr
        assert "let this user write to the file" in done.stderr
        assert "journal is written again" in done.stderr
        stored = loaded(url)
        assert stored is not None
        assert stored.outcome == "hung up"


@pytest.mark.slow
def test_a_server_that_restarts_costs_nothing(
    postgresql: PostgreSQL, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.expect(IN_TROUBLE)
    url = postgresql.emptied()
    with opened(url) as journal:
        journal.began(RECORD)
        assert journal.flush(20)
        postgresql.stop()
        try:
            for number in range(700):
                journal.event(CALL, "counted", number=number)
            assert IN_TROUBLE in said.get(timeout=20)
            assert not journal.flush(0.05)
        finally:
            postgresql.start()
        assert journal.flush(20)
        assert "0 operations were lost" in said.get(timeout=20)
    assert events(url) == [("counted", {"number": number}) for number in range(700)]


def test_tables_that_were_dropped_come_back(url: str, journal: CallJournal, logs: ExpectedLogs) -> None:
    logs.allow(IN_TROUBLE)
    with another(url) as database, database.begin() as connection:
        metadata.drop_all(connection)
    journal.began(RECORD)
    assert journal.flush(20)
    assert loaded(url) is not None
    assert journal.lost == 0


def test_in_long_trouble_the_oldest_events_are_lost_and_counted(
    url: str, journal: CallJournal, logs: ExpectedLogs, said: "queue.Queue[str]"
) -> None:
    logs.allow(IN_TROUBLE)
    with locked(url):
        journal.began(RECORD)
        for number in range(WAITING_LIMIT + 700):
            journal.event(CALL, "counted", number=number)
        journal.entry(CALL, 0, of_caller("item_1"))
        journal.ended(CALL, "hung up", Then.HANG_UP)
        assert journal.waiting == WAITING_LIMIT
    assert not journal.flush(0) or journal.lost
    assert journal.flush(20)
    lost = journal.lost
    # Some may have been on their way when the limit was reached; those are kept.
    assert 703 <= lost <= 703 + 500
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.entries, stored.outcome) == ((of_caller("item_1"),), "hung up")
    numbers = [data["number"] for _, data in events(url) if isinstance(data, dict)]
    assert numbers == sorted(numbers)
    assert len(numbers) == WAITING_LIMIT + 700 - lost
    if not said.empty():
        assert IN_TROUBLE in said.get()
        assert f"{lost} operations were lost" in said.get(timeout=20)


def test_flushing_has_the_writer_make_no_pause(journal: CallJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.writer, "PAUSE_SECONDS", 60.0)
    journal.began(RECORD)
    for _ in range(3):
        journal.event(CALL, "counted")
        assert journal.flush(20)


def test_flushing_has_the_writer_try_again_at_once(
    file: Path,
    sqlite_journal: CallJournal,
    logs: ExpectedLogs,
    said: "queue.Queue[str]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs.expect(IN_TROUBLE)
    monkeypatch.setattr(store.writer, "RETRY_SECONDS", (60.0, 60.0))
    with locked(f"sqlite:///{file}"):
        sqlite_journal.began(RECORD)
        assert IN_TROUBLE in said.get(timeout=20)
    assert sqlite_journal.flush(20)
    monkeypatch.undo()


# The end


def test_closing_writes_what_waits(url: str) -> None:
    with opened(url) as journal:
        journal.began(RECORD)
        for number in range(1200):
            journal.event(CALL, "counted", number=number)
    assert len(events(url)) == 1200


def test_after_closing_what_is_told_is_lost_in_silence(url: str) -> None:
    with opened(url) as journal:
        journal.began(RECORD)
        journal.close()
        journal.close()
        journal.event(CALL, "too late")
        assert (journal.lost, journal.waiting) == (1, 0)
        assert journal.flush(20)
        assert journal.load(CALL) is not None
    assert events(url) == []


def test_closing_in_trouble_takes_no_longer_than_it_was_given(
    file: Path, sqlite_journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect(IN_TROUBLE)
    logs.expect("journal closed with 1 operations not written")
    with locked(f"sqlite:///{file}"):
        sqlite_journal.began(RECORD)
        before = time.monotonic()
        sqlite_journal.close(0.2)
        assert 0.2 <= time.monotonic() - before < 5
    assert sqlite_journal.waiting == 1
    assert not sqlite_journal.flush(5)


def test_what_was_flushed_survives_a_kill(url: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, url, CALL], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 100:
            break
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate(timeout=30)[0].split()
    flushed = int(rest[-1]) if rest else int(line)
    stored = loaded(url)
    assert stored is not None
    assert [entry.item_id for entry in stored.entries[: flushed + 1]] == [
        f"item_{number}" for number in range(flushed + 1)
    ]
    told_events = events(url)
    assert told_events == [("said", {"number": number}) for number in range(len(told_events))]
    assert len(told_events) > flushed


def test_several_processes_write_at_once(url: str) -> None:
    Database(url).close()
    # A call may have two for a moment.
    command = [sys.executable, "-c", WRITE_AT_ONCE, url, CALL, OTHER_CALL, CALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(events(url)) == 600
    assert events(url, OTHER_CALL) == [("number", {"number": number}) for number in range(300)]
    stored = loaded(url)
    assert stored is not None
    assert stored.streams == 2
    with opened(url) as journal:
        assert journal.spent_today() == 450.0


def test_no_journal_keeps_nothing() -> None:
    journal: Journal = NoJournal()
    journal.began(RECORD)
    journal.entry(CALL, 0, of_caller("item_1"))
    journal.removed(CALL, "item_1")
    journal.event(CALL, "greeted", kind="first", call_sid=1)
    journal.spent(CALL, 1.0)
    journal.ended(CALL, "hung up", Then.HANG_UP)
    assert journal.flush(0)


# The SQL


@pytest.mark.parametrize("table", ["calls", "entries", "events", "spending"])
def test_the_tables_are_sql_that_postgresql_has_too(table: str) -> None:
    dialect = sa.make_url("postgresql://").get_dialect()()
    sql = str(CreateTable(metadata.tables[table], if_not_exists=True).compile(dialect=dialect))
    assert sql.split()[:6] == ["CREATE", "TABLE", "IF", "NOT", "EXISTS", table]
    for index in metadata.tables[table].indexes:
        assert " ON " in str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect))
    assert ("BIGSERIAL" in sql) == (table == "events")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_upserts_are_sql_of_both(dialect: str) -> None:
    compiled = sa.make_url(f"{dialect}://").get_dialect()()
    for statement in upserts(dialect):
        sql = " ".join(str(statement.compile(dialect=compiled)).split())
        assert sql.startswith("INSERT INTO")
        assert " ON CONFLICT (" in sql
        assert "DO UPDATE SET" in sql
        assert "excluded." in sql


def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="SQLite or PostgreSQL, not in mysql"):
        upserts("mysql")
