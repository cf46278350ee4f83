"""Orders on their way to the process that holds the call, in SQLite and PostgreSQL."""

import threading
from collections.abc import Iterator

import pytest

from store.database import Database
from store.journal import CallJournal
from store.orders import WAITS_SECONDS, Orders
from tests.store.conftest import Clock
from wire.journal import CallRecord


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def orders(database: Database, clock: Clock) -> Orders:
    return Orders(database, clock)


def test_each_order_is_taken_once_and_in_order_by_who_holds_the_call(orders: Orders) -> None:
    for call_sid, body in (("CA1", "a"), ("CA2", "b"), ("CA1", "c")):
        orders.give(call_sid, body)
    assert orders.take(["CA3"]) == []
    assert orders.take([]) == []
    assert orders.take(["CA1", "CA3"]) == [("CA1", "a"), ("CA1", "c")]
    assert orders.take(["CA1", "CA2"]) == [("CA2", "b")]
    assert orders.take(["CA1", "CA2"]) == []


def test_an_order_waits_for_a_call_that_goes_over_and_not_for_ever(orders: Orders, clock: Clock) -> None:
    orders.give("CA1", "early")
    clock.now += WAITS_SECONDS / 2
    orders.give("CA1", "late")
    clock.now += WAITS_SECONDS / 2 + 1
    assert orders.take(["CA1"]) == [("CA1", "late")]


def test_of_two_processes_one_gets_an_order(orders: Orders) -> None:
    for number in range(20):
        orders.give("CA1", str(number))
    taken: list[tuple[str, str]] = []
    threads = [threading.Thread(target=lambda: taken.extend(orders.take(["CA1"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(body) for _, body in taken) == list(range(20))


def test_an_order_to_a_call_is_forgotten_with_the_call(database: Database) -> None:
    orders, journal = Orders(database), CallJournal(database)
    journal.began(CallRecord("CA1", "MZ1", "+4930111", "+4930222", "", ""))
    orders.give("CA1", "say something")
    assert journal.forget("+4930111") == 1
    assert orders.take(["CA1"]) == []
    journal.close()


def test_an_order_that_nobody_takes_is_not_kept_until_the_next_one(
    orders: Orders, clock: Clock, database: Database
) -> None:
    orders.give("CA1", "what is to be said")
    orders.clear()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar_one() == 1
    clock.now += WAITS_SECONDS + 1
    orders.clear()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar_one() == 0
