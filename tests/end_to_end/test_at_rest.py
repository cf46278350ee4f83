"""What a worker takes while nobody calls. Heavy modules load when they are used, and not before."""

import os
import platform
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.process_tree import use_of
from run import ONE_HEAP, STARTED_AGAIN
from simulator.server_process import RUN, START_SECONDS, ServerProcess, server_settings
from tests.probe import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc"),
]

WORKER_MIB = 60
"""Of proportional set size: memory that processes share counts once."""
LOADED_MIB = 10
WORKERS = 2


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_worker_at_rest_stays_small(kind: str, tmp_path: Path) -> None:
    settings = server_settings("ws://127.0.0.1:9/v1/realtime", "0" * 32, tmp_path)
    command = [sys.executable, str(RUN), "serve", "--watch-parent", "--worker", kind]
    with ServerProcess(settings | {"WORKERS": str(WORKERS)}, tmp_path, command) as server:
        workers = _workers(server)
        assert len(workers) == WORKERS
        wait_until(lambda: min(sizes_of(workers)) > LOADED_MIB, "both have started", START_SECONDS)
        sizes = sizes_of(workers)
    assert max(sizes) < WORKER_MIB, sizes


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap in any case")
@pytest.mark.parametrize(
    ("told", "held"),
    [
        ({}, ONE_HEAP),
        ({"MALLOC_ARENA_MAX": "4"}, {"MALLOC_ARENA_MAX": "4"}),
        ({STARTED_AGAIN: "1"}, {}),  # the loader has taken the others away
    ],
)
def test_all_threads_of_a_worker_share_one_heap_unless_told_otherwise(
    told: dict[str, str], held: dict[str, str], tmp_path: Path
) -> None:
    settings = server_settings("ws://127.0.0.1:9/v1/realtime", "0" * 32, tmp_path)
    with ServerProcess(settings | told, tmp_path) as server:
        for process in (server.pid, *_workers(server)):
            began_with = Path(f"/proc/{process}/environ").read_text().split("\0")
            found = dict(each.split("=", 1) for each in began_with if each)
            assert {name: found[name] for name in ONE_HEAP if name in found} == held


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < WORKERS, reason="needs a core for each worker")
def test_each_worker_keeps_to_a_core_of_its_own_and_so_does_one_that_takes_its_place(tmp_path: Path) -> None:
    settings = server_settings("ws://127.0.0.1:9/v1/realtime", "0" * 32, tmp_path)
    with ServerProcess(settings | {"WORKERS": str(WORKERS)}, tmp_path) as server:
        first, second = _workers(server)
        wait_until(lambda: None not in (_core(first), _core(second)), "both keep to a core", START_SECONDS)
        before = {first: _core(first), second: _core(second)}
        assert before[first] != before[second]
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: len({*_workers(server)} - {first}) == WORKERS, "another worker is there", START_SECONDS
        )
        (third,) = {*_workers(server)} - {first, second}
        wait_until(lambda: _core(third) == before[first], "it keeps to the core that was left", START_SECONDS)
        assert _core(second) == before[second]


def sizes_of(workers: list[int]) -> list[float]:
    return [use_of(worker).memory_mib for worker in workers]


def _workers(server: ServerProcess) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(child) for child in children if _runs_the_server(int(child))]


def _core(pid: int) -> int | None:
    """The one core that all of its threads keep to, as a batch."""
    tasks = [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    cores = {core for task in tasks for core in os.sched_getaffinity(task)}
    batch = all(os.sched_getscheduler(task) == os.SCHED_BATCH for task in tasks)
    return cores.pop() if batch and len(cores) == 1 else None


def _runs_the_server(pid: int) -> bool:
    try:
        return os.fsencode(RUN) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it ends
        return False
