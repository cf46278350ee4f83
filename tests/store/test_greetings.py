"""Greetings that are kept: for all workers, for as long as they may be, and never a damaged one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from store.database import Database
from store.greetings import KEPT, Greetings
from tests.conftest import ExpectedLogs
from tests.store.conftest import NOON, Clock
from wire.kept_greeting import KeptGreeting

HELLO = KeptGreeting("Hello there", b"\x80\x00\xff" * 800)
DAY = 86_400.0


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def kept(database: Database, clock: Clock) -> Greetings:
    """A worker that has kept HELLO."""
    greetings = Greetings(database, 30, clock)
    greetings.keep("a", HELLO)
    return greetings


def other(database: Database, clock: Clock) -> Greetings:
    """Another worker."""
    return Greetings(database, 30, clock)


def test_a_greeting_is_there_at_once_and_for_other_workers_when_it_is_written(
    kept: Greetings, database: Database, clock: Clock
) -> None:
    assert kept.find("a") == HELLO
    assert other(database, clock).find("a") is None
    kept.write()
    assert other(database, clock).find("a") == HELLO
    assert kept.find("b") is None


def test_a_greeting_is_given_anew_by_the_model_when_it_is_old(
    kept: Greetings, database: Database, clock: Clock
) -> None:
    kept.write()
    clock.now += 30 * DAY + 1
    assert kept.find("a") is None
    assert other(database, clock).find("a") is None
    kept.keep("b", HELLO)
    kept.write()
    clock.now = NOON
    assert other(database, clock).find("a") is None, "it is not hidden, but deleted"


def test_what_is_old_is_deleted_also_where_nothing_new_is_kept(
    kept: Greetings, database: Database, clock: Clock
) -> None:
    kept.write()
    kept.clear()
    assert other(database, clock).find("a") == HELLO
    clock.now += 30 * DAY + 1
    kept.clear()
    clock.now = NOON
    assert other(database, clock).find("a") is None


def test_there_are_never_more_than_so_many(kept: Greetings, database: Database, clock: Clock) -> None:
    for number in range(KEPT):
        clock.now += 1
        kept.keep(f"{number}", HELLO)
    kept.write()
    assert kept.find("a") is None
    assert other(database, clock).find("0") == HELLO


def test_a_damaged_one_is_not_played_and_is_replaced(
    kept: Greetings, database: Database, clock: Clock, logs: ExpectedLogs
) -> None:
    logs.expect("a kept greeting is damaged")
    kept.write()
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE greetings SET text = 'Goodbye'"))
    assert other(database, clock).find("a") is None
    kept.keep("a", HELLO)
    kept.write()
    assert other(database, clock).find("a") == HELLO


def test_without_a_database_the_model_greets_and_nothing_fails(
    tmp_path: Path, clock: Clock, logs: ExpectedLogs
) -> None:
    logs.expect("the model greets, as kept greetings cannot be read")
    logs.expect("a greeting is kept in this worker only")
    database = Database(f"sqlite:///{tmp_path}/a.db")
    greetings = Greetings(database, 30, clock)
    with database.begin() as connection:
        connection.execute(sa.text("DROP TABLE greetings"))
    assert greetings.find("a") is None
    greetings.keep("a", HELLO)
    greetings.write()
    assert greetings.find("a") == HELLO
    database.close()
