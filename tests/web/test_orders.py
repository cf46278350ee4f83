"""Orders reach the call wherever it lives: in this process, in another one, or on its way between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages import HangUp, Say
from store.database import Database, StoreError
from store.orders import Orders
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS
from tests.web.conftest import IdleCall, Line
from web.calls import Calls
from web.orders import OrderDesk


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'calls.db'}")
    yield database
    database.close()


def desk(database: Database) -> tuple[Calls, OrderDesk]:
    """A process."""
    calls = Calls(threads=8, actor=IdleCall)
    return calls, OrderDesk(Orders(database), calls, look_seconds=0.01)


def test_an_order_to_a_call_of_this_process_needs_no_database(
    database: Database, tmp_path: Path, logs: ExpectedLogs
) -> None:
    logs.allow("orders to calls wait")
    logs.allow("the file was moved or deleted")
    calls, here = desk(database)
    line = Line(calls, "CA1")
    (tmp_path / "calls.db").unlink()
    here.give("CA1", HangUp("enough"))
    assert line.call.ended.wait(PATIENCE_SECONDS)
    calls.drain(PATIENCE_SECONDS)


def test_an_order_to_a_call_of_another_process_gets_there(database: Database) -> None:
    calls, _ = desk(database)
    _, elsewhere = desk(database)
    line = Line(calls, "CA1")
    elsewhere.give("CA1", HangUp("enough"))
    assert line.call.ended.wait(PATIENCE_SECONDS)
    calls.drain(PATIENCE_SECONDS)


def test_an_order_waits_for_a_call_that_is_between_two_processes(database: Database) -> None:
    calls, here = desk(database)
    here.give("CA1", HangUp("enough"))
    line = Line(calls, "CA1")
    assert line.call.ended.wait(PATIENCE_SECONDS)
    calls.drain(PATIENCE_SECONDS)


def test_an_order_that_is_none_of_this_version_hurts_no_other(database: Database, logs: ExpectedLogs) -> None:
    logs.expect("CA1: an order is not carried out: not an order")
    calls, here = desk(database)
    Orders(database).give("CA1", '{"order": "Dance"}')
    here.give("CA1", HangUp("enough"))
    line = Line(calls, "CA1")
    assert line.call.ended.wait(PATIENCE_SECONDS)
    calls.drain(PATIENCE_SECONDS)


def test_who_gives_an_order_that_nobody_can_be_told_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'calls.db'}")
    _, here = desk(database)
    database.close()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(StoreError):
        here.give("CA9", Say("hello"))
