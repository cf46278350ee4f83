"""What a worker takes while nobody calls. Heavy modules load when they are used, and not before."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.process_tree import use_of
from simulator.server_process import RUN, ServerProcess, server_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc"),
]

WORKER_MIB = 60
"""Of proportional set size: memory that processes share counts once."""
WORKERS = 2


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_worker_at_rest_stays_small(kind: str, tmp_path: Path) -> None:
    settings = server_settings("ws://127.0.0.1:9/v1/realtime", "0" * 32, tmp_path)
    command = [sys.executable, str(RUN), "serve", "--watch-parent", "--worker", kind]
    with ServerProcess(settings | {"WORKERS": str(WORKERS)}, tmp_path, command) as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        workers = [int(child) for child in children if _runs_the_server(int(child))]
        assert len(workers) == WORKERS
        sizes = [use_of(worker).memory_mib for worker in workers]
    assert all(10 < size < WORKER_MIB for size in sizes), sizes


def _runs_the_server(pid: int) -> bool:
    return os.fsencode(RUN) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
