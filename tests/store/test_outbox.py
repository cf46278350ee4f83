"""The outbox against a real server that fails, hangs and comes back."""

import logging
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.database import Database
from store.outbox import CLAIM_SECONDS, GIVE_UP_SECONDS, Outbox, _first
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, wait_until
from tests.store.receiver import Receiver, receiving
from wire.event_signature import valid

SECRET = "a secret of sixteen or more"
NOT_TAKEN = "does not take the webhook's events"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    yield database
    database.close()


@contextmanager
def sending(database: Database, retry_seconds: float = 0.02, **options: float) -> Iterator[Outbox]:
    outbox = Outbox(
        database,
        SECRET,
        retry_seconds=(retry_seconds, max(retry_seconds, 0.2)),
        timeout_seconds=options.get("timeout_seconds", PATIENCE_SECONDS),
        poll_seconds=0.05,
        idle_seconds=options.get("idle_seconds", PATIENCE_SECONDS),
    )
    try:
        yield outbox
    finally:
        outbox.close(PATIENCE_SECONDS)


@pytest.fixture
def outbox(database: Database) -> Iterator[Outbox]:
    with sending(database) as outbox:
        yield outbox


def empty(outbox: Outbox) -> None:
    wait_until(lambda: outbox.waiting == 0, "all were taken")


def test_an_event_is_sent_signed_and_forgotten(outbox: Outbox, receiver: Receiver) -> None:
    outbox.put("e1", "CA1", receiver.url, b'{"a": 1}')
    path, body, signature = receiver.expect()
    assert (path, body) == ("/events?key=1", b'{"a": 1}')
    assert signature is not None
    assert valid(SECRET, body, signature, float(signature[2:12]))
    empty(outbox)
    assert receiver.received.empty()


@pytest.mark.parametrize("status", [500, 503, 404, 301])
def test_an_event_that_is_refused_is_sent_again(
    outbox: Outbox, receiver: Receiver, logs: ExpectedLogs, status: int
) -> None:
    logs.expect(f"127.0.0.1:{receiver.server_port} {NOT_TAKEN}: status {status}")
    for _ in range(3):
        receiver.statuses.put(status)
    outbox.put("e1", "CA1", receiver.url, b"{}")
    bodies = [receiver.expect()[1] for _ in range(4)]
    assert bodies == [b"{}"] * 4
    empty(outbox)
    assert len(logs.records) == 1


def test_a_server_that_hangs_is_not_waited_for_and_gets_it_later(
    database: Database, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.expect(f"{NOT_TAKEN}: timed out")
    receiver.hangs.set()
    with sending(database, timeout_seconds=0.1) as outbox:
        outbox.put("e1", "CA1", receiver.url, b"{}")
        receiver.expect()
        receiver.expect()
        receiver.hangs.clear()
        receiver.expect()
        empty(outbox)


def test_a_server_that_hangs_holds_up_one_event_and_not_those_of_others(
    database: Database, receiver: Receiver, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.receivers.RESTS", 1000.0)  # longer than the others take on a busy machine
    logs.expect(f"{NOT_TAKEN}: timed out")
    receiver.hangs.set()
    with sending(database) as ended:
        pass
    for number in range(3):
        ended.put(f"hangs {number}", "CA1", receiver.url, b"{}")
    with receiving() as other:
        for number in range(3):
            ended.put(f"e{number}", "CA1", other.url, b"{}")
        with sending(database, timeout_seconds=1.0):
            for _ in range(3):
                other.expect()
            assert receiver.received.qsize() == 1


def test_who_may_be_tried_again_is_tried_after_the_others(
    database: Database, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.expect(f"{NOT_TAKEN}: .*without response")
    receiver.answers.put(b"")
    with sending(database) as ended:
        pass
    # It did not keep anybody waiting, so its own events are due as soon as there is nothing else.
    ended.put("e1", "CA1", receiver.url, b"{}")
    ended.put("e2", "CA1", receiver.url, b"{}")
    with receiving() as other:
        ended.put("e3", "CA1", other.url, b"{}")
        with sending(database) as outbox:
            receiver.expect()
            other.expect()
            receiver.expect()
            receiver.expect()
            empty(outbox)


def test_a_server_is_passed_over_and_none_whose_name_begins_like_its(url: str) -> None:
    database = Database(url)
    with sending(database) as ended:
        pass
    for number, path in enumerate(["", "/", "/x", "?x", ".org/y", "0/y"]):
        ended.put(f"e{number}", "CA1", f"http://a_b.example:8{path}", b"{}")
    with database.begin() as connection:
        assert connection.execute(_first([])).one().event_id == "e0"
        assert connection.execute(_first(["http://a_b.example:8"])).one().event_id == "e4"
        both = ["http://a_b.example:8", "http://a_b.example:8.org"]
        assert connection.execute(_first(both)).one().event_id == "e5"
    database.close()


def test_a_connection_is_kept_for_the_next_event_and_closed_when_there_is_none(
    database: Database, receiver: Receiver
) -> None:
    with sending(database) as outbox:
        for number in range(3):
            outbox.put(f"e{number}", "CA1", receiver.url, b"{}")
            empty(outbox)
        assert len(receiver.connections) == 1
    receiver.expect_end()
    with sending(database, idle_seconds=0.1) as outbox:
        outbox.put("e3", "CA1", receiver.url, b"{}")
        receiver.expect_end()


def test_a_server_that_is_away_gets_it_when_it_is_back(
    outbox: Outbox, logs: ExpectedLogs, caplog: pytest.LogCaptureFixture
) -> None:
    logs.expect(f"{NOT_TAKEN}: .*refused")
    caplog.set_level(logging.INFO, "store.outbox")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    outbox.put("e1", "CA1", f"http://127.0.0.1:{port}/", b"{}")
    wait_until(lambda: NOT_TAKEN in caplog.text, "it was tried")
    with receiving(port) as receiver:
        receiver.expect()
        empty(outbox)
    wait_until(lambda: "takes the webhook's events again" in caplog.text, "that is said")


def test_what_a_process_did_not_get_rid_of_the_next_one_sends(
    database: Database, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.expect(NOT_TAKEN)
    receiver.statuses.put(500)
    with sending(database, retry_seconds=1.5) as outbox:
        outbox.put("e1", "CA1", receiver.url, b"{}")
        receiver.expect()
        wait_until(lambda: bool(logs.records), "it was refused")
    assert receiver.received.empty()
    with sending(database) as outbox:
        receiver.expect()
        empty(outbox)


def test_several_senders_send_no_event_twice(tmp_path: Path, receiver: Receiver) -> None:
    databases = [Database(f"sqlite:///{tmp_path}/calls.db") for _ in range(4)]
    outboxes = [Outbox(database, SECRET, poll_seconds=0.01) for database in databases]
    try:
        for number in range(60):
            outboxes[number % 4].put(f"e{number}", "CA1", receiver.url, str(number).encode())
        got = Counter(receiver.expect()[1] for _ in range(60))
        empty(outboxes[0])
        assert got == {str(number).encode(): 1 for number in range(60)}
        assert receiver.received.empty()
    finally:
        for outbox, database in zip(outboxes, databases, strict=True):
            outbox.close(PATIENCE_SECONDS)
            database.close()


def test_an_event_whose_sender_died_is_sent_when_its_claim_has_run_out(
    tmp_path: Path, database: Database, receiver: Receiver
) -> None:
    with sending(database) as outbox:
        pass
    outbox.put("e1", "CA1", receiver.url, b"{}")
    now = outbox._clock()
    with sqlite3.connect(tmp_path / "calls.db") as connection:
        connection.execute("UPDATE webhook_events SET claim = 'dead', due_at = ?", (now + CLAIM_SECONDS,))
    connection.close()
    late = Outbox(database, SECRET, poll_seconds=0.01, clock=lambda: now + CLAIM_SECONDS + 1)
    try:
        receiver.expect()
        empty(late)
    finally:
        late.close(PATIENCE_SECONDS)


def test_an_event_that_nobody_took_for_three_days_is_given_up(
    database: Database, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.expect("was not taken by 127.0.0.1:.* in three days and is given up")
    with sending(database) as outbox:
        pass
    outbox.put("e1", "CA1", receiver.url, b"{}")
    now = outbox._clock()
    late = Outbox(database, SECRET, poll_seconds=0.01, clock=lambda: now + GIVE_UP_SECONDS + 1)
    try:
        empty(late)
    finally:
        late.close(PATIENCE_SECONDS)
    assert receiver.received.empty()


def test_a_url_that_nobody_can_send_to_holds_up_no_other(
    outbox: Outbox, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.allow(NOT_TAKEN)
    outbox.put("e1", "CA1", "http://127.0.0.1:notaport/", b"1")
    outbox.put("e2", "CA1", receiver.url, b"2")
    assert receiver.expect()[1] == b"2"
    wait_until(lambda: outbox.waiting == 1, "the other one was taken")


def test_an_event_that_cannot_be_kept_is_said_to_be_lost(
    database: Database, receiver: Receiver, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: an event for the webhook is lost: database")
    with sending(database) as outbox:
        outbox.put("e1", "CA1", receiver.url, b"1")
        receiver.expect()
    outbox.put("e2", "CA1", receiver.url, b"2")
    outbox.put("e2", "CA1", receiver.url, b"2")
    assert outbox.waiting == 1
