"""Whether a load balancer should send calls here."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database
from tests.probe import wait_until
from tests.web.conftest import IdleCall, Line, ToldPulse
from web.calls import Calls
from web.readiness import Readiness


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/calls.db")
    yield opened
    opened.close()


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls(threads=2, actor=IdleCall)
    yield made
    made.drain(5)


def test_who_has_room_is_ready(calls: Calls, database: Database) -> None:
    assert Readiness(calls, database).answer() == (
        {"status": "ready", "calls": 0, "limit": 1, "late_ms": 0.0},
        200,
    )


def test_who_is_full_is_not_ready_until_a_call_ends(calls: Calls, database: Database) -> None:
    readiness = Readiness(calls, database)
    with Line(calls, "CA1"):
        assert readiness.answer() == ({"status": "full", "calls": 1, "limit": 1, "late_ms": 0.0}, 503)
    assert readiness.answer()[1] == 200


def test_who_is_late_is_not_ready_and_says_how_late(database: Database) -> None:
    pulse = ToldPulse()
    readiness = Readiness(Calls(threads=2, actor=IdleCall, pulse=pulse), database)
    pulse.told_late, pulse.told_ms = True, 31.25
    assert readiness.answer() == ({"status": "late", "calls": 0, "limit": 1, "late_ms": 31.2}, 503)
    pulse.told_late = False
    assert readiness.answer()[1] == 200


def test_who_is_about_to_end_is_not_ready(calls: Calls, database: Database) -> None:
    readiness = Readiness(calls, database)
    calls.drain(0)
    assert readiness.answer() == ({"status": "draining", "calls": 0, "limit": 1, "late_ms": 0.0}, 503)


def test_without_its_database_nobody_is_ready(calls: Calls, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    database.close()
    (tmp_path / "calls.db").unlink()
    (tmp_path / "calls.db").mkdir()
    try:
        assert Readiness(calls, database).answer() == (
            {"status": "no database", "calls": 0, "limit": 1, "late_ms": 0.0},
            503,
        )
    finally:
        database.close()


def test_who_cannot_write_at_the_moment_is_ready(calls: Calls, database: Database) -> None:
    with database.begin():
        assert Readiness(calls, database).answer()[1] == 200


def test_a_stuck_database_holds_up_one_who_asks_and_no_more(calls: Calls, database: Database) -> None:
    readiness = Readiness(calls, database)
    outcomes: list[int] = []
    with database.read(), database.read():  # as many as can: whoever asks now has to wait
        first = threading.Thread(target=lambda: outcomes.append(readiness.answer()[1]))
        first.start()
        others = [threading.Thread(target=lambda: readiness.answer()) for _ in range(8)]
        for other in others:
            other.start()
        # All of these but the one that asks have the last answer at once.
        everybody = [first, *others]
        wait_until(lambda: sum(not thread.is_alive() for thread in everybody) >= 8, "they had their answers")
        assert sum(thread.is_alive() for thread in everybody) == 1
    first.join(5)
    for other in others:
        other.join(5)
    assert readiness.answer()[1] == 200


def test_a_database_that_owes_an_answer_for_long_is_none(calls: Calls, database: Database) -> None:
    readiness = Readiness(calls, database, answer_seconds=0.1)
    with database.read(), database.read():
        asking = threading.Thread(target=readiness.answer)
        asking.start()
        wait_until(lambda: readiness.answer()[1] == 503, "somebody has been waiting for too long")
        assert asking.is_alive()
        assert readiness.answer()[0]["status"] == "no database"
    asking.join(5)
    assert readiness.answer()[1] == 200
