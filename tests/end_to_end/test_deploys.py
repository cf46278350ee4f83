"""What becomes of calls when the processes that hold them end: on purpose, by a reload, or killed."""

import json
import os
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.phone_events import Spoke
from simulator.server_process import START_SECONDS, ServerProcess, server_settings
from tests.end_to_end.stage import AUTH_TOKEN, EVER, PATIENCE, SPOKEN_FALLBACK, Stage
from tests.probe import wait_until

CALLS = 6


@contextmanager
def deployed(stage: Stage, directory: Path, count: int = CALLS) -> Iterator[tuple[Stage, list[Phone]]]:
    """A server of its own with so many calls, each from another number, whose greeting has been heard."""
    settings = server_settings(stage.model.url, AUTH_TOKEN, directory) | {"DRAIN_SECONDS": "3"}
    with ServerProcess(settings, directory) as server, ExitStack() as stack:
        own = Stage(server, stage.model, stage.script)
        numbers = [f"+141555501{number:02}" for number in range(count)]
        phones = [
            stack.enter_context(own.phone(from_number=number, speak=lambda text: b"")) for number in numbers
        ]
        for phone in phones:
            phone.dial()
        for phone in phones:
            phone.await_assistant(PATIENCE, EVER)
            phone.await_silence(300, PATIENCE)
        yield own, phones


def hung_up(phones: list[Phone]) -> list[CallResult]:
    for phone in phones:
        phone.hang_up()
    return [phone.await_end(PATIENCE) for phone in phones]


def readiness(server: Stage) -> dict[str, object]:
    try:
        answer = urllib.request.urlopen(f"{server.server.url}/ready", timeout=PATIENCE)
    except urllib.error.HTTPError as refusal:  # by a worker that drains
        answer = refusal
    with answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def children(server: Stage) -> list[int]:
    path = Path(f"/proc/{server.server.pid}/task/{server.server.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.slow
def test_a_reload_cuts_no_call_and_asks_who_may_have_spoken_meanwhile(stage: Stage, tmp_path: Path) -> None:
    with deployed(stage, tmp_path) as (server, phones):
        greeted_at = time.monotonic()
        os.kill(server.server.pid, signal.SIGHUP)
        for phone in phones:
            server.await_log(f"{phone.call_sid}: stream [2-9] started")
        # A worker that drains leaves connections to the new ones for a moment only: where they are busy it answers.
        wait_until(
            lambda: readiness(server)["status"] == "ready",
            "a new worker says that it is ready",
            START_SECONDS,
        )
        for phone in phones:
            phone.await_assistant(PATIENCE, greeted_at)
        results = hung_up(phones)
    assert [result.reason for result in results] == ["caller"] * CALLS
    assert not any(isinstance(event, Spoke) for result in results for event in result.events)


@pytest.mark.slow
def test_the_calls_of_killed_workers_go_on_in_new_ones(stage: Stage, tmp_path: Path) -> None:
    with deployed(stage, tmp_path) as (server, phones):
        for pid in children(server):
            os.kill(pid, signal.SIGKILL)
        for phone in phones:
            server.await_log(f"{phone.call_sid}: stream [2-9] started")
        results = hung_up(phones)
    assert [result.reason for result in results] == ["caller"] * CALLS


@pytest.mark.slow
def test_a_worker_that_cannot_open_the_database_waits_for_it_and_ends_no_other(
    stage: Stage, tmp_path: Path
) -> None:
    settings = server_settings(stage.model.url, AUTH_TOKEN, tmp_path) | {"WORKERS": "1"}
    with ServerProcess(settings, tmp_path) as server:
        own = Stage(server, stage.model, stage.script)
        [other] = children(own)
        with closing(sqlite3.connect(tmp_path / "switchboard.db", isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            os.kill(server.pid, signal.SIGTTIN)  # one worker more
            own.await_log("this worker serves as soon as it has the database: .* locked")
            [waiting] = set(children(own)) - {other}
            assert readiness(own)["status"] == "ready"
        own.await_log("this worker has the database, and serves")
        assert set(children(own)) == {waiting, other}
        assert readiness(own)["status"] == "ready"


@pytest.mark.slow
def test_a_worker_that_waits_for_the_database_can_be_stopped(stage: Stage, tmp_path: Path) -> None:
    settings = server_settings(stage.model.url, AUTH_TOKEN, tmp_path) | {"WORKERS": "1"}
    with ServerProcess(settings, tmp_path) as server:
        own = Stage(server, stage.model, stage.script)
        with closing(sqlite3.connect(tmp_path / "switchboard.db", isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            os.kill(children(own)[0], signal.SIGKILL)
            own.await_log("this worker serves as soon as it has the database: .* locked")
            assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_and_has_no_other_speaks_the_fallback(
    stage: Stage, tmp_path: Path
) -> None:
    """Twilio asks again and again who takes the call; when nobody does, the caller is told."""
    with deployed(stage, tmp_path, count=2) as (server, phones):
        assert server.server.stop() == 0
        results = [phone.await_end(PATIENCE) for phone in phones]
    for result in results:
        assert [result.reason, result.streams[0].close_code] == ["hangup", 1000]
        assert any(isinstance(event, Spoke) and SPOKEN_FALLBACK in event.text for event in result.events)
        assert not result.errors
