"""Many calls at once, and what they leave behind."""

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from simulator.call_result import CallResult
from simulator.script import silence, tone
from tests.end_to_end.stage import PATIENCE, Stage


def census(master: int) -> Counter[str]:
    """Threads and open descriptors, by what they are, of a server's processes."""
    count: Counter[str] = Counter()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"^PPid:\t(\d+)", status.read_text(), re.MULTILINE)
            if parent is None or master not in (int(parent[1]), int(status.parent.name)):
                continue
            count["threads"] += len(list((status.parent / "task").iterdir()))
            count.update(
                os.readlink(descriptor).partition(":")[0] for descriptor in (status.parent / "fd").iterdir()
            )
        except OSError:  # a process or descriptor that has just gone
            continue
    return count


def await_census(stage: Stage, reached: Callable[[Counter[str]], bool]) -> Counter[str]:
    deadline = time.monotonic() + PATIENCE
    while not reached(now := census(stage.server.pid)):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)  # another process has no event to give
    return now


def start_every_thread(stage: Stage) -> None:
    """gunicorn's pools start a thread when none is idle: occupy all, then let them go."""
    host, port = stage.server.url.removeprefix("http://").split(":")
    before = census(stage.server.pid)
    with ExitStack() as stack:
        for _ in range(2 * 16):
            stack.enter_context(socket.create_connection((host, int(port)), PATIENCE))
        # The master's own, and in each worker the main thread, the drain's and the pool's.
        await_census(stage, lambda now: now["threads"] >= 1 + 2 * (2 + 16))
    await_census(stage, lambda now: now["socket"] <= before["socket"])


def twenty_calls(stage: Stage) -> list[CallResult]:
    with ExitStack() as stack:
        phones = [stack.enter_context(stage.phone()) for _ in range(20)]
        for phone in phones:
            phone.dial()
        questions = [phone.say(silence(600) + tone(600)) for phone in phones]
        for phone, question in zip(phones, questions, strict=True):
            question.wait(PATIENCE)
            phone.await_silence(2000, PATIENCE)
        for phone in phones:
            phone.hang_up()
        return [phone.await_end(PATIENCE) for phone in phones]


def test_twenty_calls_at_once_complete_and_leave_nothing_behind(stage: Stage) -> None:
    """Two workers of 16 threads each: ten calls a worker, if neither takes more than it has threads for."""
    start_every_thread(stage)
    twenty_calls(stage)
    idle = census(stage.server.pid)
    before = len(stage.model.sessions)
    results = twenty_calls(stage)
    assert all(result.reason == "caller" and not result.errors for result in results)
    assert all(result.turns()[0].response_ms is not None for result in results)
    sessions = stage.model.sessions[before:]
    assert len(sessions) == 20
    for session in sessions:
        assert session.closed.wait(1.0)
    await_census(stage, lambda now: now <= idle)
