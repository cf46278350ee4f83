"""Which core each worker is kept on; that it stays there is seen end to end, in test_at_rest.py."""

import os
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.cores import least_taken, pinning, pins

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="nothing can be kept on a core here"
)


@given(st.sets(st.integers(0, 31), min_size=1, max_size=8), st.data())
def test_workers_that_come_and_go_are_spread_evenly(cores: set[int], data: st.DataObject) -> None:
    taken: list[int] = []
    for _ in range(data.draw(st.integers(1, 20))):
        taken.append(least_taken(cores, taken))
        counts = Counter(dict.fromkeys(cores, 0) | Counter(taken))
        assert max(counts.values()) - min(counts.values()) <= 1
    # One dies, and another one takes its place.
    gone = taken.pop(data.draw(st.integers(0, len(taken) - 1)))
    before = Counter(taken)
    assert before[least_taken(cores, taken)] <= before[gone]


@pytest.mark.parametrize(("workers", "cores", "pinned"), [(1, 2, True), (2, 2, True), (3, 2, False)])
def test_each_has_a_core_or_none_has(workers: int, cores: int, pinned: bool) -> None:
    assert pins(workers, cores) is pinned


def test_an_interpreter_whose_threads_run_at_the_same_time_needs_its_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert pinning(1) == {}


@pytest.mark.parametrize(("policy", "then"), [("SCHED_OTHER", "SCHED_BATCH"), ("SCHED_IDLE", "SCHED_IDLE")])
def test_a_worker_is_a_batch_unless_it_was_scheduled_in_another_way(policy: str, then: str) -> None:
    core = min(os.sched_getaffinity(0))
    found: list[object] = []

    def work() -> None:  # in a thread, of which alone this is true then
        os.sched_setscheduler(0, getattr(os, policy), os.sched_param(0))
        pinning(1)["post_fork"](None, SimpleNamespace(core=core))
        found.extend((os.sched_getaffinity(0), os.sched_getscheduler(0)))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert found == [{core}, getattr(os, then)]


def test_where_it_is_not_allowed_the_worker_serves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, cores: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    pinning(1)["post_fork"](None, SimpleNamespace(core=0))


def test_a_worker_gets_the_core_that_a_dead_one_has_left() -> None:
    cores = os.sched_getaffinity(0)
    hooks = pinning(len(cores))
    live = {pid: SimpleNamespace(core=core) for pid, core in enumerate(sorted(cores)[1:])}
    worker = SimpleNamespace()
    hooks["pre_fork"](SimpleNamespace(WORKERS=live), worker)
    assert worker.core == min(cores)
    assert pinning(len(cores) + 1) == {}


def test_a_reload_may_begin_to_pin_where_the_workers_that_leave_were_not_pinned() -> None:
    """gunicorn's master ends with what its hooks raise, and every call with it."""
    worker = SimpleNamespace()
    pinning(1)["pre_fork"](SimpleNamespace(WORKERS={1: SimpleNamespace()}), worker)
    assert worker.core in os.sched_getaffinity(0)
