"""What somebody sees who waits for a call at a terminal."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.probe import PATIENCE_SECONDS
from tests.web.outbound_parts import CALL, OutboundServer, outbound_server
from web.dialing_progress import show_progress


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OutboundServer]:
    with outbound_server(tmp_path) as server:
        yield server


def watch(
    server: OutboundServer, *steps: Callable[[str], object], unread_seconds: float = PATIENCE_SECONDS
) -> tuple[list[str], bool]:
    """What is said of a call to which these things happen, one after each line; and whether it was reached."""
    server.place()
    token, said, waiting = server.carrier.token, list[str](), list(steps)
    placed = server.dialed.of_call(CALL)
    assert placed is not None

    def say(line: str) -> None:
        said.append(line)
        if waiting:
            threading.Thread(target=waiting.pop(0), args=(token,)).start()

    reached = show_progress(
        server.dialed, placed, say, wait=True, look_seconds=0.01, unread_seconds=unread_seconds
    )
    return said, reached


def test_every_step_is_a_line(server: OutboundServer) -> None:
    said, reached = watch(
        server,
        lambda token: server.dialed.told(token, CALL, "ringing"),
        lambda token: server.dialed.claim(token, CALL),
        lambda token: server.dialed.answered(token, CALL, "machine_end_beep"),
        lambda token: server.dialed.told(token, CALL, "completed"),
    )
    assert said[0].endswith("to …56: queued")
    assert said[1:] == [
        "ringing",
        "in-progress",
        "answered by: machine end beep",
        "completed",
        "outcome: hung up",
    ]
    assert reached


def test_where_nobody_answers_nobody_was_reached(server: OutboundServer) -> None:
    said, reached = watch(server, lambda token: server.dialed.told(token, CALL, "no-answer"))
    assert (said[1:], reached) == (["no-answer", "outcome: no answer"], False)


def test_who_does_not_wait_is_told_what_is_known(server: OutboundServer) -> None:
    server.place()
    placed = server.dialed.of_call(CALL)
    assert placed is not None
    said: list[str] = []
    assert show_progress(server.dialed, placed, said.append, wait=False)
    assert len(said) == 1


def test_a_call_that_is_erased_meanwhile_is_not_waited_for(server: OutboundServer) -> None:
    def erase(token: str) -> None:
        with server.database.begin() as connection:
            connection.exec_driver_sql("DELETE FROM dialed_calls")

    said, reached = watch(server, erase)
    assert (said[1:], reached) == (["it was erased"], False)


def test_a_database_that_fails_for_a_moment_is_no_end_of_the_call(server: OutboundServer) -> None:
    def go_on(token: str) -> None:
        server.mend_database()
        server.dialed.told(token, CALL, "completed")

    said, reached = watch(server, lambda token: server.break_database(), go_on)
    assert said[1].startswith("how it goes is not known at the moment: database")
    assert (said[2:], reached) == (["completed", "outcome: hung up"], True)


def test_a_database_that_goes_on_failing_is_not_waited_for_for_ever(server: OutboundServer) -> None:
    said, reached = watch(server, lambda token: server.break_database(), unread_seconds=0.05)
    assert said[1].startswith("how it goes is not known at the moment: database")
    assert (said[2:], reached) == (["outcome: not known"], False)
