"""Each worker on a core of its own.

One interpreter runs one thread at a time. Where its threads are spread over several cores, each that wakes takes it
from one core to another, with all that it works on: two workers on two cores took 1.6 times as much processor time
for a call, and were 85 ms late with 150 calls where they are 3 ms late now (docs/performance.md).

And there its threads are a batch to the kernel: one that is woken waits until the one that woke it has finished, in
place of taking its turn for a moment and finding the interpreter locked. That is half of all switches, and with 150
calls 5 ms and not 150.
"""

import contextlib
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any


def least_taken(cores: Collection[int], taken: Iterable[int | None]) -> int:
    """The core that the fewest of `taken` name; of several any: another server may have its workers here as well.

    None among them is a worker that keeps to no core.
    """
    times = Counter(taken)
    least = min(times[core] for core in cores)
    return random.choice([core for core in cores if times[core] == least])


def pins(workers: int, cores: int) -> bool:
    """Whether each of so many workers gets one of so many cores to itself.

    Not with more of them than cores, and not on an interpreter whose threads run at the same time.
    """
    return (
        hasattr(os, "sched_setaffinity")
        and workers <= cores
        and getattr(sys, "_is_gil_enabled", lambda: True)()
    )


def pinning(workers: int) -> dict[str, Callable[[Any, Any], None]]:
    """gunicorn's hooks that keep each worker on a core, as a batch; none, where that would not help."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not pins(workers, len(cores)):
        return {}

    def choose(arbiter: Any, worker: Any) -> None:
        # In the master: of a worker that died its own core is free again, and at a reload there are two on each.
        # Those that leave may be of before PIN_WORKERS; what this raised would end the master, and all calls.
        taken = (getattr(each, "core", None) for each in arbiter.WORKERS.values())
        worker.core = least_taken(cores, taken)

    def pin(arbiter: Any, worker: Any) -> None:
        # In the worker, while its only thread is this one: those to come inherit it.
        with contextlib.suppress(OSError):  # of a container that does not allow it; it works without
            os.sched_setaffinity(0, {worker.core})
            # Who is scheduled in real time was so on purpose, and does not take turns in this way.
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    return {"pre_fork": choose, "post_fork": pin}
