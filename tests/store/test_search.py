"""Past calls by number, date and outcome."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from store.calls import calls, number_key
from store.database import Database
from store.search import Place, Search, Wanted
from tests.store.conftest import NOON


def row(number: int, **changes: object) -> dict[str, object]:
    caller, called = f"+4930{number:06}", "+15550199999"
    call: dict[str, object] = {
        "call_sid": f"CA{number:032}",
        "stream_sid": "MZ",
        "caller": caller,
        "called": called,
        "assistant": "reception",
        "assistant_version": "v1",
        "streams": 1,
        "cost": 0.0,
        "began_at": NOON + number // 2,  # two at a time
        "ended_at": NOON + number + 60,
        "outcome": "hung_up" if number % 3 else "ended",
        "next_answer": "hang up",
        **changes,
    }
    keys = {"caller_key": number_key(str(call["caller"])), "called_key": number_key(str(call["called"]))}
    return {**call, **keys}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    with database.begin() as connection:
        connection.execute(sa.insert(calls), [row(number) for number in range(10)])
    yield database
    database.close()


def numbers(search: Search, wanted: Wanted) -> list[int]:
    return [int(call.call_sid[2:]) for call in search.page(wanted).calls]


def test_pages_follow_each_other_without_a_gap_also_where_calls_began_together(database: Database) -> None:
    search, found, place = Search(database), [], None
    while True:
        page = search.page(Wanted(), place, size=3)
        found += [int(call.call_sid[2:]) for call in page.calls]
        place = page.more
        if place is None:
            break
    assert found == list(range(9, -1, -1))
    assert search.page(Wanted(), Place(0.0, "")).calls == ()


def test_a_number_is_found_however_it_is_written_and_by_its_beginning(database: Database) -> None:
    search = Search(database)
    assert numbers(search, Wanted("+49 (30) 000-007")) == [7]
    assert len(numbers(search, Wanted("4930"))) == 10
    assert len(numbers(search, Wanted("+1 555 0199999"))) == 10, "called ones too"
    assert numbers(search, Wanted("000007")) == []
    assert numbers(search, Wanted("%")) == numbers(search, Wanted("+")) == []


def test_the_beginning_of_a_number_may_end_in_nines(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(sa.insert(calls), [row(50, caller="+9990"), row(51, caller="anna@example.com")])
    search = Search(database)
    assert numbers(search, Wanted("999")) == [50]
    assert numbers(search, Wanted("anna@example.com")) == [51]


def test_a_call_is_found_by_its_sid(database: Database) -> None:
    assert numbers(Search(database), Wanted(f"CA{4:032}")) == [4]


def test_date_and_outcome_narrow_it_down(database: Database) -> None:
    search = Search(database)
    assert numbers(search, Wanted(since=NOON + 1, until=NOON + 3)) == [5, 4, 3, 2]
    assert numbers(search, Wanted(since=NOON + 1, until=NOON + 3, outcome="ended")) == [3]
    assert numbers(search, Wanted("4930", outcome="nothing")) == []


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(outcome="ended"), Wanted("+4930000007"), Wanted(since=NOON, until=NOON + 2)]
)
def test_no_search_reads_the_whole_table(sqlite_url: str, wanted: Wanted) -> None:
    database = Database(sqlite_url)
    plans: list[str] = []

    def explain(connection: sa.Connection, clause: sa.Executable, *_: object) -> None:
        text = str(clause.compile(connection, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
        if text.startswith("SELECT"):
            plans.extend(str(each) for each in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))

    with database.begin() as connection:
        connection.execute(sa.insert(calls), [row(number) for number in range(100)])
        connection.exec_driver_sql("ANALYZE")
    sa.event.listen(sa.Engine, "before_execute", explain)
    try:
        Search(database).page(wanted)
    finally:
        sa.event.remove(sa.Engine, "before_execute", explain)
        database.close()
    assert plans
    assert not [plan for plan in plans if "SCAN" in plan and "INDEX" not in plan]
    assert "ix_events_kind" not in str(plans), "it finds the events of all calls"
