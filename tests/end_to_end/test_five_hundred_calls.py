"""Five hundred short calls in a row: what a server holds does not grow, and no model session outlives its call."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.server_process import ServerProcess
from tests.end_to_end.stage import AUTH_TOKEN, EVER, PATIENCE, Stage, server_settings
from tests.end_to_end.test_many_calls import ALL_THREADS, await_census, made_when_needed

AT_ONCE = 10
CLOSED_SECONDS = 1.0
"""After the hang-up, but for three calls in a hundred: one stall of the machine delays all ten that end together."""
IDLE_SOCKETS = 3
"""The one that listens, in the master and in two workers."""
GROWTH_MIB = 5.0
"""Of all processes together, from call 100 to call 500. They settle by some 3 MiB until call 700 and then stay where
they are; what is more would be 5 KiB a call."""


def memory_mib(server: ServerProcess) -> float:
    """Resident, of gunicorn's master and its workers."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    sizes = [
        re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        for pid in [str(server.pid), *children]
    ]
    return sum(int(size[1]) for size in sizes if size is not None) / 1024


def ten_calls(stage: Stage, pool: ThreadPoolExecutor) -> list[float]:
    """Calls that are hung up in the middle of the greeting. Returns when each of their sessions had closed, in s."""
    before = len(stage.model.sessions)
    phones = list(pool.map(lambda number: dial(stage, number), range(AT_ONCE)))
    stage.model.await_session(before + AT_ONCE, PATIENCE)  # the greeting is kept, and may be heard before
    hung_up_at = time.monotonic()
    for phone in phones:
        phone.hang_up()
    waits = []
    for session in stage.model.sessions[before:]:
        assert session.closed.wait(PATIENCE)
        waits.append(time.monotonic() - hung_up_at)
    assert len(waits) == AT_ONCE
    for result in pool.map(ended, phones):
        assert result.reason == "caller"
        assert not result.errors
    return waits


def dial(stage: Stage, number: int) -> Phone:
    phone = Phone(f"{stage.url}/twiml", auth_token=AUTH_TOKEN, from_number=f"+141555506{number:02}")
    phone.dial()
    phone.await_assistant(PATIENCE, EVER)
    return phone


def ended(phone: Phone) -> CallResult:
    with phone:
        return phone.await_end(PATIENCE)


def idle(census: Counter[str]) -> bool:
    """What is there only while there are calls, such as who looks for orders to them, is gone as well."""
    return census["socket"] <= IDLE_SOCKETS and census["threads"] <= ALL_THREADS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_hundred_calls_leave_nothing_behind(stage: Stage, tmp_path: Path) -> None:
    settings = server_settings(stage.model, tmp_path)
    with (
        ServerProcess(settings, tmp_path) as server,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        own = Stage(server, stage.model, stage.script)
        held: dict[int, tuple[Counter[str], float]] = {}
        waits = []
        for number in range(AT_ONCE, 501, AT_ONCE):
            waits += ten_calls(own, pool)
            if number in (100, 300, 500):
                settled = await_census(own, idle)
                held[number] = settled | made_when_needed(), memory_mib(server)
                print(f"after {number} calls: {memory_mib(server):.1f} MiB, {dict(settled)}")
    print(f"a session was closed {max(waits):.2f} s after the hang-up at the latest")
    assert sorted(waits)[len(waits) * 97 // 100 - 1] < CLOSED_SECONDS
    assert held[500][0] <= held[100][0], held
    assert held[500][1] - held[100][1] < GROWTH_MIB, held
