"""The fault matrix: every fault at every moment of a call, and what the caller hears.

It takes some minutes, so it is marked slow. FAULTS_TABLE, the path of `docs/faults.md`,
has that run write its table there.
"""

import itertools
import os
import queue
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.fault_row import Row, row_of
from tests.end_to_end.fault_stage import Lane, Moment, Scene
from tests.end_to_end.fault_table import write_table
from tests.end_to_end.faults import FAULTS, Fault, fault_named
from tests.end_to_end.stage import PATIENCE

LANES = 4
"""Servers side by side, each with five calls."""

Results = dict[tuple[str, Moment], Row | BaseException]


def play(lane: Lane, fault: Fault, moments: tuple[Moment, ...]) -> list[Row]:
    """One fault at these moments. Raises AssertionError for what the server or the model says against it."""
    log_before = len(lane.server.log.read_text())
    sessions_before = len(lane.model.sessions)
    scene = Scene(lane, moments)
    try:
        scene.play(fault.strike, fault.after, fault.dialled_later, fault.before)
    finally:
        fault.heal(scene)
    for session in lane.model.sessions[sessions_before:]:
        assert session.closed.wait(PATIENCE), "a session with the model outlives its call"
    errors = [
        line
        for line in lane.server.log.read_text()[log_before:].splitlines()
        if " ERROR " in line and not re.search(fault.errors or "$^", line)
    ]
    assert errors == []
    return [row_of(call) for call in scene.calls]


def play_all(plan: Mapping[Fault, tuple[Moment, ...]], lanes: int, directory: Path) -> Results:
    """Each fault at its moments; as many faults at a time as there are lanes, each in a server of its own."""
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in sorted(plan, key=lambda fault: -fault.seconds):
        waiting.put(fault)
    results: Results = {}
    numbers = itertools.count()

    def work() -> None:
        lane: Lane | None = None
        with ExitStack() as server:
            while not waiting.empty():
                try:
                    fault = waiting.get_nowait()
                except queue.Empty:
                    break
                try:
                    if lane is None:
                        home = directory / f"lane{next(numbers)}"
                        home.mkdir()
                        lane = server.enter_context(Lane(home))
                    rows = play(lane, fault, plan[fault])
                    results.update({(fault.name, row.moment): row for row in rows})
                except BaseException as problem:
                    results.update({(fault.name, moment): problem for moment in plan[fault]})
                if fault.ends_server:
                    lane = None
                    server.close()

    workers = [threading.Thread(target=work, name=f"lane {number}") for number in range(lanes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def check(results: Results, fault: Fault, moment: Moment) -> None:
    row = results[fault.name, moment]
    if isinstance(row, BaseException):
        raise row
    falls_back = moment in fault.falls_back and not (fault.once and row.goes_on)
    assert row.problems(falls_back, fault.longest) == [], row


# The most telling ones, with the ordinary tests

TELLING = {
    fault_named("model: connection reset"): (Moment.ASSISTANT,),
    fault_named("model: one connection stalls"): (Moment.CALLER,),
    fault_named("model: refuses for good"): (Moment.GREETING,),
    fault_named("process: worker killed (SIGKILL)"): (Moment.ASSISTANT,),
}


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return play_all(TELLING, 3, tmp_path_factory.mktemp("lanes"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", TELLING, ids=lambda fault: fault.name)
def test_the_call_goes_on_or_the_caller_is_told(telling: Results, fault: Fault) -> None:
    for moment in TELLING[fault]:
        check(telling, fault, moment)


# All of them


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Results:
    plan = dict.fromkeys(FAULTS, tuple(Moment))
    results = play_all(plan, LANES, tmp_path_factory.mktemp("lanes"))
    if path := os.environ.get("FAULTS_TABLE"):
        write_table(Path(path), results)
    return results


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.value)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_the_caller_hears(matrix: Results, fault: Fault, moment: Moment) -> None:
    check(matrix, fault, moment)
