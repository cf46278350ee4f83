"""How many calls a server has room for on this machine, what sets the limit, and where each number comes from."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from config import Settings
from web.calls import RESERVED_THREADS, Calls
from web.cores import pins

THREADS_A_CALL = 5
"""The socket's own, CallActor, TwilioActor, OpenAIActor, the model's reader; a listener takes one more each."""
FILES_A_CALL = 3
"""gunicorn's socket and our duplicate of it, the model's."""
CALL_MIB = {"gthread": 0.5, "gevent": 0.4}
WORKER_MIB = 60.0
CALLS_A_CORE = {"gthread": 150, "gevent": 200}
"""The most that was measured to add less than 20 ms to 99 frames of 100, at a frame of 20 ms every 20 ms both ways;
docs/performance.md."""
OTHER_FILES = 64
"""The database, the log, pipes, connections of webhooks."""
UNLIMITED = 10**9

WorkerKind = Literal["gthread", "gevent"]

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use."""

    cores: int
    memory_mib: float
    files: int
    """open at a time, in one process"""
    threads: int
    """of all processes in this one's group"""

    @classmethod
    def here(cls) -> Self:
        """This one; on Linux with what its control group may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return cls(
            cores,
            min(memory, _limit("memory.max")) / 2**20,
            files if files != resource.RLIM_INFINITY else UNLIMITED,
            min(_limit("pids.max"), UNLIMITED),
        )


def with_threads_for(kind: WorkerKind, settings: Settings) -> Settings:
    """The same settings; where THREADS is not set, with as many as a core carries calls in such a worker, and those
    that are kept free.
    """
    if "threads" in settings.model_fields_set:
        return settings
    fitted = settings.model_copy(update={"threads": CALLS_A_CORE[kind] + RESERVED_THREADS})
    fitted.model_fields_set.discard("threads")
    return fitted


def explain(settings: Settings, machine: Machine, kind: WorkerKind = "gthread") -> list[str]:
    """Lines for people. The last one is how many calls there is room for, and what to change for more."""
    settings = with_threads_for(kind, settings)
    workers, threads = settings.workers, settings.threads
    a_worker = Calls(threads).limit
    in_threads = kind == "gthread"
    given = {name: name in settings.model_fields_set for name in ("workers", "threads")}
    rooms = {
        "THREADS": workers * a_worker,
        "open files: ulimit -n": workers * max((machine.files - OTHER_FILES) // FILES_A_CALL, 0),
        "memory": max(int((machine.memory_mib - workers * WORKER_MIB) / CALL_MIB[kind]), 0),
    }
    if in_threads:
        spare = machine.threads - workers * (threads - a_worker + 4)
        if machine.threads < UNLIMITED:
            rooms["threads: pids.max of the control group"] = max(spare // THREADS_A_CALL, 0)
    least = min(rooms, key=rooms.__getitem__)
    carried = CALLS_A_CORE[kind] * min(workers, machine.cores)
    lines = [
        f"worker: {kind}, "
        + (
            "where calls share a core with a tool or a listener that computes; --worker gevent carries more"
            if in_threads
            else "where a tool or a listener that computes for long holds up all calls of its worker"
        ),
        f"WORKERS: {workers}, "
        + (
            "as set"
            if given["workers"]
            else f"one for each of the {machine.cores} cores this process may use"
        )
        + (f"; more than {machine.cores} gain nothing" if workers > machine.cores else "")
        + (
            "; each stays on a core of its own: PIN_WORKERS"
            * (settings.pin_workers and pins(workers, machine.cores))
        ),
        f"THREADS: {threads} a worker, "
        + ("as set" if given["threads"] else "about as many calls as a core carries")
        + f"; {a_worker} of them for calls, the others answer webhooks",
        f"calls: room for {rooms[least]}, limited by {least}; "
        + ", ".join(f"{name} would do for {room}" for name, room in rooms.items() if name != least),
        f"cores: they carry about {carried} calls at 20 ms a frame both ways; see docs/performance.md, and measure; "
        + (
            f"a worker that is {settings.lateness_limit_ms:g} ms late, LATENESS_LIMIT_MS, takes no new ones"
            if settings.lateness_limit_ms
            else "LATENESS_LIMIT_MS is 0, so that more are taken however late they get"
        ),
    ]
    if rooms[least] > carried:
        lines.append(
            f"advice: lower THREADS, so that at most {carried} calls are taken; others hear [overflow]"
        )
    elif least != "THREADS":
        lines.append(f"advice: raise {least}, or callers within THREADS will be refused in worse ways")
    return lines


def _limit(name: str) -> int:
    try:
        text = (_CGROUP / name).read_text(encoding="ascii").strip()
    except OSError:
        return UNLIMITED * 2**20
    return UNLIMITED * 2**20 if text == "max" else int(text)
