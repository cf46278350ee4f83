"""What is said of a machine and its settings."""

import os
from typing import Any

import pytest

from config import Settings
from web.explanation import Machine, WorkerKind, explain

ROOMY = {"cores": 2, "memory_mib": 8192.0, "files": 65_536, "threads": 10**9}


def explained(
    kind: WorkerKind = "gthread", machine: dict[str, Any] | None = None, **settings: Any
) -> list[str]:
    given = Settings(openai_api_key="sk-test", **settings)
    return explain(given, Machine(**ROOMY | (machine or {})), kind)


def test_each_setting_is_said_with_its_reason() -> None:
    worker, workers, threads, calls, cores, *advice = explained(workers=2, threads=100)
    assert worker.startswith("worker: gthread, ")
    assert workers.startswith("WORKERS: 2, as set")
    assert threads == "THREADS: 100 a worker, as set; 96 of them for calls, the others answer webhooks"
    assert calls.startswith("calls: room for 192, limited by THREADS; ")
    assert cores.startswith("cores: they carry about 300 calls")
    assert advice == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nothing can be kept on a core here")
def test_where_workers_stay_on_cores_of_their_own_it_says_so() -> None:
    said = "each stays on a core of its own"
    assert said in explained(workers=2)[1]
    assert said not in explained(workers=3)[1]
    assert said not in explained(workers=2, pin_workers=False)[1]


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_there_is_no_advice_against_what_is_so_by_default(kind: WorkerKind) -> None:
    assert not any(line.startswith("advice: ") for line in explained(kind))


def test_greenlets_have_room_for_as_many_calls_as_a_core_carries_in_them() -> None:
    assert explained("gevent", workers=2)[3].startswith("calls: room for 400, limited by THREADS")
    assert explained("gevent", workers=2)[2].startswith(
        "THREADS: 204 a worker, about as many calls as a core"
    )
    assert explained("gevent", workers=2, threads=100)[2].startswith("THREADS: 100 a worker, as set")


def test_what_is_not_set_comes_from_the_machine() -> None:
    lines = "\n".join(explained())
    assert "one for each of the 2 cores" in lines
    assert "about as many calls as a core carries" in lines


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"files": 256}, "room for 128, limited by open files: ulimit -n"),
        ({"threads": 512}, "room for 99, limited by threads: pids.max"),
        ({"memory_mib": 170.0}, "room for 100, limited by memory"),
    ],
)
def test_the_narrowest_limit_is_named_and_what_to_raise(machine: dict[str, Any], said: str) -> None:
    lines = explained(machine=machine, workers=2, threads=100)
    assert said in lines[3]
    assert lines[-1].startswith("advice: raise ")


def test_more_calls_than_the_cores_carry_are_advised_against() -> None:
    assert "lower THREADS" in explained(workers=2, threads=500)[-1]
    assert "more than 2 gain nothing" in "\n".join(explained(workers=4, threads=20))


@pytest.mark.parametrize(
    ("limit_ms", "said"), [(12.5, "a worker that is 12.5 ms late"), (0, "however late they get")]
)
def test_what_happens_beyond_what_a_core_carries_is_said(limit_ms: float, said: str) -> None:
    assert said in explained(lateness_limit_ms=limit_ms)[4]


def test_greenlets_are_not_limited_by_threads() -> None:
    lines = explained("gevent", {"threads": 100}, workers=2, threads=100)
    assert "limited by THREADS" in lines[3]
    assert "pids.max" not in "\n".join(lines)


def test_this_machine_can_be_looked_at() -> None:
    machine = Machine.here()
    assert machine.cores >= 1
    assert machine.memory_mib > 100
    assert min(machine.files, machine.threads) > 0
