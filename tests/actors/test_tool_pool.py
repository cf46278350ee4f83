"""A tool that runs in another process answers as it would here, and can be stopped; what it breaks is replaced."""

import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from actors import tool_pool
from actors.call_context import CallContext
from actors.messages import ToolFinished
from actors.tool import AnyTool, ToolError, tool
from actors.tool_pool import shut_down_pool
from actors.tool_runner import MAX_THREADS, ToolOverdue, ToolRunner
from tests.actors.tool_parts import call, runner_of, threads_of_tools
from tests.conftest import ExpectedLogs
from tests.probe import Probe, wait_until

# These stand at the top of the module, where the other process finds them.


@tool(process=True)
def whereabouts(whose: CallContext) -> dict[str, object]:
    """Say where this runs."""
    return {"pid": os.getpid(), "language": whose.parameters["language"]}


@tool(process=True)
def cores() -> list[int]:
    """Say where this may run."""
    return sorted(os.sched_getaffinity(0))


@tool(process=True)
def divide(a: int, b: int) -> float:
    """Divide."""
    if a < 0:
        raise ToolError("Negative numbers are not divided here.")
    return a / b


@tool(process=True)
def crash() -> None:
    """Take the process along."""
    os._exit(3)


@tool(process=True)
def leave() -> None:
    """Raise what would end a process."""
    raise SystemExit(3)


@tool(process=True, timeout_seconds=0.2)
def spin() -> None:
    """Hold the interpreter, and go on whatever happens."""
    while True:
        try:
            for _ in itertools.repeat(None):
                pass
        except Exception:
            pass


@tool(process=True, timeout_seconds=0.2)
def clench() -> int:
    """Hold the interpreter in C, where no signal handler of Python's runs."""
    return sum(itertools.repeat(1, 10**12))


@tool(process=True, timeout_seconds=30)
def linger(until: Path) -> None:
    """Wait until somebody opens this pipe for writing."""
    until.read_bytes()


@tool(process=True, timeout_seconds=0.3)
def brief() -> None:
    """Be done at once."""


@tool(process=True)
def touch(file: Path) -> None:
    """Leave a trace."""
    file.touch()


class Shelf:
    @staticmethod
    @tool(process=True)
    def double(x: int) -> int:
        """Double."""
        return 2 * x


def renamed_away(x: int) -> int:
    """Not a tool under this name."""
    return x


misplaced = tool(name="misplaced", process=True)(renamed_away)


def elsewhere() -> None:
    """Be where nobody finds it."""


elsewhere.__module__ = "a_folder_that_is_not_on_the_path"
lost = tool(name="lost", process=True)(elsewhere)


@pytest.fixture(scope="module")
def pool() -> Iterator[None]:
    """One for the tests that leave it whole. Warm, so that its thread is there before each of them."""
    owner = Probe()
    runner_of(owner, whereabouts).run(call("whereabouts"))
    assert not owner.expect(ToolFinished, timeout=30).failed
    yield
    shut_down_pool()


@pytest.fixture
def own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One for a test that breaks it."""
    with monkeypatch.context() as other:
        other.setattr(tool_pool, "_pool", None)
        yield
        shut_down_pool()


def answer(made: AnyTool, **arguments: Any) -> ToolFinished:
    owner = Probe()
    runner_of(owner, made).run(call(made.name, arguments=json.dumps(arguments)))
    return owner.expect(ToolFinished, timeout=30)


@pytest.mark.usefixtures("pool")
def test_a_tool_can_run_in_another_process_and_knows_the_call() -> None:
    output = json.loads(answer(whereabouts).output)
    assert output["pid"] != os.getpid()
    assert output["language"] == "en"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nothing can be kept on a core here")
@pytest.mark.usefixtures("own_pool")
def test_a_tool_has_all_cores_although_the_worker_keeps_to_one() -> None:
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(available)})
    try:
        output = answer(cores).output
    finally:
        os.sched_setaffinity(0, available)
    assert json.loads(output) == sorted(available)


@pytest.mark.usefixtures("own_pool")
def test_a_tool_runs_although_its_cores_are_not_to_be_had_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_pool, "_cores_at_first", {1023})
    assert answer(divide, a=1, b=2).output == "0.5"


@pytest.mark.usefixtures("pool")
def test_a_tool_in_another_process_answers_as_it_would_here(logs: ExpectedLogs) -> None:
    logs.expect("CA1: tool divide failed")
    assert answer(divide, a=1, b=2).output == "0.5"
    refused = answer(divide, a=-1, b=2)
    assert (refused.failed, json.loads(refused.output)) == (
        True,
        {"error": "Negative numbers are not divided here."},
    )
    assert "b: it is required" in answer(divide, a=1).output
    failed = answer(divide, a=1, b=0)
    assert "for a reason that is not known to you" in failed.output
    wait_until(lambda: bool(logs.records), "the failure is logged")
    assert "ZeroDivisionError: division by zero" in (logs.records[0].exc_text or "")


@pytest.mark.usefixtures("pool")
def test_system_exit_in_another_process_is_an_answer_like_any_other(logs: ExpectedLogs) -> None:
    logs.expect("CA1: tool leave failed")
    assert answer(leave).failed
    assert not answer(whereabouts).failed


@pytest.mark.usefixtures("pool")
def test_a_tool_that_stands_in_a_class_is_found_by_the_other_process() -> None:
    assert answer(Shelf.double, x=4).output == "8"


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lost, "a_folder_that_is_not_on_the_path.elsewhere is not found in the tool's process"),
        (
            misplaced,
            "test_tool_pool.renamed_away is not the tool: process=True must be set by @tool above the def",
        ),
    ],
)
def test_a_tool_that_the_other_process_cannot_import_says_so_in_the_log(
    made: AnyTool, why: str, logs: ExpectedLogs
) -> None:
    logs.expect(f"CA1: tool {made.name} failed")
    assert answer(made).failed
    assert why in (logs.records[0].exc_text or "")


@pytest.mark.usefixtures("pool")
def test_a_tool_that_spins_in_another_process_is_stopped_there_and_the_process_goes_on(
    logs: ExpectedLogs,
) -> None:
    logs.expect("CA1: tool spin was stopped in its process")
    process = json.loads(answer(whereabouts).output)["pid"]
    stopped = answer(spin)
    assert stopped.failed
    assert "spin gave no result within 0.2 seconds" in stopped.output
    assert "in spin" in logs.records[0].getMessage()
    assert json.loads(answer(whereabouts).output)["pid"] == process


@pytest.mark.usefixtures("own_pool")
def test_a_tool_that_no_signal_stops_loses_its_process_and_the_next_one_gets_another(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("CA1: tool clench failed")
    monkeypatch.setattr(tool_pool, "KILL_AFTER_SECONDS", 0.1)
    assert "for a reason that is not known to you" in answer(clench).output
    assert not answer(whereabouts).failed


@pytest.mark.usefixtures("own_pool")
def test_a_process_that_crashes_fails_its_tool_and_is_replaced(logs: ExpectedLogs) -> None:
    logs.expect("CA1: tool crash failed")
    assert "for a reason that is not known to you" in answer(crash).output
    assert not answer(whereabouts).failed


def close(runner: ToolRunner) -> None:
    runner.close()


def expire(runner: ToolRunner) -> None:
    for number in range(1, MAX_THREADS + 1):
        runner.expire(ToolOverdue(number))


@pytest.fixture
def busy_process(own_pool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Probe, Path]:
    """A pool of one process, in which a tool runs until the pipe is opened; its owner and the pipe."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not answer(whereabouts).failed
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    owner = Probe()
    runner_of(owner, linger).run(call("linger", arguments=json.dumps({"until": str(pipe)})))
    return owner, pipe


@pytest.mark.parametrize("give_up", [close, expire])
@pytest.mark.parametrize("handed_over", [True, False])
def test_what_nobody_waits_for_any_more_does_not_keep_the_processes_busy(
    give_up: Callable[[ToolRunner], None],
    handed_over: bool,
    busy_process: tuple[Probe, Path],
    tmp_path: Path,
    logs: ExpectedLogs,
) -> None:
    logs.allow("CA1: tool touch has not ended within 10 s")
    owner, pipe = busy_process
    runner = runner_of(Probe(), touch)
    # With the lock held, no task gets into the pool.
    with nullcontext() if handed_over else tool_pool._pool_lock:
        for number in range(MAX_THREADS):
            runner.run(call("touch", arguments=json.dumps({"file": str(tmp_path / f"touched {number}")})))
        if handed_over:
            wait_until(
                lambda: all(use.future for use in runner._started), "the pool has been given the tasks"
            )
        give_up(runner)
    # The executor hands up to two tasks over ahead of time, and those cannot be taken back.
    wait_until(lambda: len(threads_of_tools()) <= 3, "the tasks that have not begun are taken back")
    pipe.write_bytes(b"")
    assert not owner.expect(ToolFinished).failed
    wait_until(lambda: not threads_of_tools(), "the tools' threads end")
    assert len(list(tmp_path.glob("touched *"))) <= 2


def test_shutting_the_pool_down_ends_what_runs_in_it_and_what_waits(
    busy_process: tuple[Probe, Path], logs: ExpectedLogs
) -> None:
    logs.expect("CA1: tool linger failed")
    logs.allow("CA1: tool whereabouts failed")
    owner, pipe = busy_process
    waiting = Probe()
    runner = runner_of(waiting, whereabouts)
    for number in range(MAX_THREADS):
        runner.run(call("whereabouts", str(number)))
    # Opened for writing, the pipe tells that it is being read: the tool runs. It stays open, so that it goes on.
    with pipe.open("wb"):
        shut_down_pool()
        assert owner.expect(ToolFinished).failed
    for _ in range(MAX_THREADS):
        waiting.expect(ToolFinished, timeout=30)
    shut_down_pool()


@pytest.mark.usefixtures("own_pool")
def test_a_process_that_has_done_its_work_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_pool, "KILL_AFTER_SECONDS", 0.0)
    assert answer(brief).output == "null"
    processes = [process.sentinel for process in multiprocessing.active_children()]
    assert processes
    assert multiprocessing.connection.wait(processes, timeout=2 * brief.timeout_seconds) == []


@pytest.mark.usefixtures("pool")
def test_an_interrupt_from_the_keyboard_is_for_the_server_and_not_for_its_processes() -> None:
    process = json.loads(answer(whereabouts).output)["pid"]
    os.kill(process, signal.SIGINT)
    assert json.loads(answer(whereabouts).output)["pid"] == process


SERVER = """
import time
from actors.messages import ToolFinished
from tests.actors.test_tool_pool import whereabouts
from tests.actors.tool_parts import call, runner_of
from tests.probe import Probe
if __name__ == "__main__":
    owner = Probe()
    runner_of(owner, whereabouts).run(call("whereabouts"))
    print(owner.expect(ToolFinished, timeout=30).output, flush=True)
    time.sleep(60)
"""


def test_a_server_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    root = Path(__file__).parent.parent.parent
    server = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # multiprocessing complains about what it has to clear away
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert server.stdout is not None
    with server:
        try:
            process = json.loads(server.stdout.readline())["pid"]
            assert _lives(process)
        finally:
            server.kill()
    wait_until(lambda: not _lives(process), "the tool's process ends")


def _lives(pid: int) -> bool:
    """Whether the process runs: one that has ended, and that nobody has collected yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
