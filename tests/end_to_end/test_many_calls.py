"""Many calls at once, and what they leave behind."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from simulator.call_result import CallResult
from simulator.phone_events import Spoke
from simulator.script import tone
from simulator.server_process import ServerProcess, server_settings
from store.sqlite_file import READERS
from tests.end_to_end.stage import AUTH_TOKEN, EVER, PATIENCE, SPOKEN_FALLBACK, Stage


def census(master: int) -> Counter[str]:
    """Threads and open descriptors, by what they are or by the file's name, of a server's processes."""
    count: Counter[str] = Counter()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"^PPid:\t(\d+)", status.read_text(), re.MULTILINE)
            if parent is None or master not in (int(parent[1]), int(status.parent.name)):
                continue
            count["threads"] += len(list((status.parent / "task").iterdir()))
            count.update(_open_files(status.parent))
        except OSError:  # a process that has just gone
            continue
    return count


def _open_files(process: Path) -> Iterator[str]:
    for descriptor in (process / "fd").iterdir():
        try:
            name = os.readlink(descriptor).rpartition("/")[2].partition(":")[0]
        except OSError:  # closed in between; the others are still open
            continue
        yield name.replace(f"_{process.name}.db", "_worker.db")


def await_census(stage: Stage, reached: Callable[[Counter[str]], bool]) -> Counter[str]:
    deadline = time.monotonic() + PATIENCE
    while not reached(now := census(stage.server.pid)):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)  # another process has no event to give
    return now


def all_threads(pool: int) -> int:
    """The master with its watch on the parent; in each worker its main thread, drain, clock, journal and the pool.

    The pools start a thread when none is idle, so there may be fewer for a while.
    """
    return 2 + 2 * (4 + pool)


ALL_THREADS = all_threads(16)
ROOMY_THREADS = 32
"""So many that either worker has room for twenty calls: where the machine keeps one of them from running, the other
takes more than half."""
METRIC_FILES = ("counter", "histogram", "gauge_livemax", "gauge_livesum")
"""Each is open twice in a worker that has something to count: one that had no call yet, has not."""
DATABASE_FILES = 2 * (1 + READERS)
"""In each worker one for the connection that writes and those that read, which are made when they are needed."""


def made_when_needed(pool: int = 16) -> Counter[str]:
    """So much there may be at rest, as soon as it was needed once."""
    return Counter(
        {
            "threads": all_threads(pool),
            "switchboard.db": DATABASE_FILES,
            "switchboard.db-wal": DATABASE_FILES,
            "switchboard.db-shm": 2,
            **{f"{kind}_worker.db": 2 * 2 for kind in METRIC_FILES},
        }
    )


def twenty_calls(stage: Stage) -> list[CallResult]:
    with ExitStack() as stack:
        phones = [stack.enter_context(stage.phone()) for _ in range(20)]
        for phone in phones:
            phone.dial()
        for phone in phones:
            phone.await_assistant(PATIENCE, EVER)
            phone.await_silence(300, PATIENCE)
        questions = [phone.say(tone(600)) for phone in phones]
        for phone, question in zip(phones, questions, strict=True):
            question.wait(PATIENCE)
            phone.await_assistant(PATIENCE, question.speech_ended)
            phone.await_silence(300, PATIENCE)
        for phone in phones:
            phone.hang_up()
        return [phone.await_end(PATIENCE) for phone in phones]


@pytest.mark.slow
def test_twenty_calls_at_once_complete_and_leave_nothing_behind(stage: Stage, tmp_path: Path) -> None:
    settings = server_settings(stage.model.url, AUTH_TOKEN, tmp_path) | {"THREADS": str(ROOMY_THREADS)}
    with ServerProcess(settings, tmp_path) as server:
        completes_and_leaves_nothing(Stage(server, stage.model, stage.script))


def completes_and_leaves_nothing(stage: Stage) -> None:
    twenty_calls(stage)
    idle = census(stage.server.pid)
    idle |= made_when_needed(ROOMY_THREADS)
    before = len(stage.model.sessions)
    results = twenty_calls(stage)
    assert all(result.reason == "caller" and not result.errors for result in results)
    assert all(result.turns()[0].response_ms is not None for result in results)
    sessions = stage.model.sessions[before:]
    assert len(sessions) == 20
    for session in sessions:
        assert session.closed.wait(PATIENCE)
    try:
        await_census(stage, lambda now: now <= idle)
    except AssertionError:
        raise AssertionError(f"left behind: {census(stage.server.pid) - idle}") from None


@pytest.mark.slow
def test_who_calls_a_full_server_hears_the_fallback(stage: Stage, tmp_path: Path) -> None:
    """Of four threads one is kept for webhooks; without it the fourth caller would listen to nothing."""
    settings = server_settings(stage.model.url, AUTH_TOKEN, tmp_path) | {"WORKERS": "1", "THREADS": "4"}
    with ServerProcess(settings, tmp_path) as server, ExitStack() as stack:
        full = Stage(server, stage.model, stage.script)
        phones = [stack.enter_context(full.phone(speak=lambda text: b"")) for _ in range(4)]
        for phone in phones[:3]:
            phone.dial()
            phone.await_assistant(PATIENCE, EVER)
        phones[3].dial()
        refused = phones[3].await_end(PATIENCE)
        assert any(isinstance(event, Spoke) and SPOKEN_FALLBACK in event.text for event in refused.events)
        for phone in phones[:3]:
            phone.hang_up()
            assert phone.await_end(PATIENCE).reason == "caller"
