"""Every call of a tool is answered once, in time, whatever the tool does; and it does it beside the call."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors import tool_runner
from actors.call_context import CallContext
from actors.clock import Clock
from actors.messages import ToolFinished
from actors.tool import AnyTool, ToolError, tool
from actors.tool_runner import MAX_THREADS, ToolOverdue
from tests.actors.tool_parts import call, runner_of, threads_of_tools
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, HandClock, Probe, wait_until


class Gate:
    """A tool that says when it has begun, and that waits until the test lets it end."""

    def __init__(self, name: str = "wait", **settings: Any) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.threads: list[threading.Thread] = []

        @tool(name=name, description="Wait.", **settings)
        def wait() -> str:
            self.threads.append(threading.current_thread())
            self.begun.release()
            assert self.open.wait(PATIENCE_SECONDS)
            return "waited"

        self.tool: AnyTool = wait

    def expect_begun(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def raising(error: BaseException) -> AnyTool:
    @tool
    def fail() -> None:
        """Fail."""
        raise error

    return fail


@tool
def add(a: int, b: int, whose: CallContext) -> list[object]:
    """Add."""
    return [a + b, whose.caller]


def test_a_result_is_told_to_the_owner_once() -> None:
    owner = Probe()
    runner = runner_of(owner, add)
    runner.run(call("add", "call_7", '{"a": 1, "b": 2}'))
    finished = owner.expect(ToolFinished)
    assert finished == ToolFinished("call_7", "add", '[3,"+15550001"]', False, finished.seconds)
    assert 0 <= finished.seconds < PATIENCE_SECONDS
    assert not runner.running
    assert runner.close() == 0
    assert owner.told() == []


def test_a_tool_that_blocks_holds_nobody_up_and_runs_in_a_daemon_thread_of_its_own(gate: Gate) -> None:
    owner = Probe()
    runner = runner_of(owner, gate.tool, add)
    assert not runner.running
    runner.run(call("wait", "slow"))
    gate.expect_begun()
    runner.run(call("add", "quick", '{"a": 1, "b": 2}'))
    assert owner.expect(ToolFinished).call_id == "quick"
    assert runner.running
    assert (gate.threads[0].name, gate.threads[0].daemon) == ("tool wait CA1", True)
    gate.open.set()
    assert owner.expect(ToolFinished).call_id == "slow"
    assert not runner.running


def test_not_more_than_eight_run_at_once_and_the_others_after_them(gate: Gate) -> None:
    owner = Probe()
    runner = runner_of(owner, gate.tool)
    for number in range(MAX_THREADS + 3):
        runner.run(call("wait", str(number)))
    for _ in range(MAX_THREADS):
        gate.expect_begun()
    assert len(threads_of_tools()) == MAX_THREADS
    assert owner.told() == []
    gate.open.set()
    finished = [owner.expect(ToolFinished).call_id for _ in range(MAX_THREADS + 3)]
    assert sorted(finished, key=int) == [str(number) for number in range(MAX_THREADS + 3)]


def test_what_waits_is_run_in_the_order_of_the_calls(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_runner, "MAX_THREADS", 1)
    owner = Probe()
    runner = runner_of(owner, gate.tool)
    for number in range(4):
        runner.run(call("wait", str(number)))
    gate.open.set()
    assert [owner.expect(ToolFinished).call_id for _ in range(4)] == ["0", "1", "2", "3"]


class UnprintableError(ToolError):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("secret"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        MemoryError(),
        UnprintableError(),
    ],
)
def test_an_unexpected_exception_is_logged_and_its_internals_are_kept_from_the_model(
    error: BaseException, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: tool fail failed")
    owner = Probe()
    runner_of(owner, raising(error)).run(call("fail"))
    finished = owner.expect(ToolFinished)
    assert finished.failed
    assert json.loads(finished.output) == {
        "error": "fail failed, for a reason that is not known to you. Tell the caller that it did not work."
    }
    wait_until(lambda: not threads_of_tools(), "the tool's thread ends")
    assert "in fail" in (logs.records[0].exc_text or "")


@pytest.mark.parametrize(
    ("text", "told"),
    [("There is no order 7.", "There is no order 7."), ("half \ud800", "half ?"), ("x" * 9999, "x" * 4000)],
)
def test_a_tool_error_is_told_to_the_model_in_its_own_words(text: str, told: str) -> None:
    owner = Probe()
    runner_of(owner, raising(ToolError(text))).run(call("fail"))
    finished = owner.expect(ToolFinished)
    assert finished.failed
    assert json.loads(finished.output) == {"error": told}


def test_bad_arguments_are_answered() -> None:
    owner = Probe()
    runner_of(owner, add).run(call("add", arguments='{"a": 1, "b"'))
    finished = owner.expect(ToolFinished)
    assert finished.failed
    assert "add has not run, because its arguments are wrong" in json.loads(finished.output)["error"]


def test_a_tool_that_does_not_exist_is_answered_at_once_with_those_that_do(
    logs: ExpectedLogs, gate: Gate
) -> None:
    logs.expect("CA1: the model called 'subtract', which is not a tool")
    owner = Probe()
    runner_of(owner, add, gate.tool).run(call("subtract"))
    (finished,) = owner.told()
    assert finished == ToolFinished("call_1", "subtract", finished.output, True, 0.0)
    assert json.loads(finished.output) == {"error": "There is no tool subtract. These there are: add, wait."}


def test_two_calls_of_one_id_are_both_answered(gate: Gate) -> None:
    owner = Probe()
    runner = runner_of(owner, gate.tool)
    runner.run(call("wait", "same"))
    runner.run(call("wait", "same"))
    gate.open.set()
    assert [owner.expect(ToolFinished).call_id for _ in range(2)] == ["same", "same"]


def test_a_tool_that_is_too_slow_is_answered_at_its_deadline_and_its_late_result_is_dropped(
    gate: Gate, logs: ExpectedLogs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "actors.tool_runner")
    logs.expect("CA1: tool wait has not ended within 10 s")
    owner, clock = Probe(), HandClock()
    runner = runner_of(owner, gate.tool, clock=clock)
    runner.run(call("wait"))
    gate.expect_begun()
    assert clock.expire(ToolOverdue(1)) == 10.0
    runner.expire(owner.expect(ToolOverdue))
    finished = owner.expect(ToolFinished)
    assert (finished.call_id, finished.failed) == ("call_1", True)
    assert json.loads(finished.output)["error"].startswith("wait gave no result within 10 seconds")
    assert not runner.running
    gate.open.set()
    gate.threads[0].join(PATIENCE_SECONDS)
    assert owner.told() == []
    assert "too late to be answered" in caplog.text


def test_the_clock_itself_ends_the_wait_for_a_tool(logs: ExpectedLogs) -> None:
    logs.expect("tool brief has not ended within 0.02 s")
    gate = Gate("brief", timeout_seconds=0.02)
    owner = Probe()
    runner = runner_of(owner, gate.tool, clock=Clock())
    runner.run(call("brief"))
    runner.expire(owner.expect(ToolOverdue))
    assert 0.02 <= owner.expect(ToolFinished).seconds < PATIENCE_SECONDS
    gate.open.set()


def test_a_deadline_after_the_result_changes_nothing() -> None:
    owner, clock = Probe(), HandClock()
    runner = runner_of(owner, add, clock=clock)
    runner.run(call("add", arguments='{"a": 1, "b": 2}'))
    assert not owner.expect(ToolFinished).failed
    ((_, timer),) = clock.timers
    assert timer.cancelled
    runner.expire(ToolOverdue(1))
    assert owner.told() == []


def test_a_result_and_a_deadline_at_the_same_moment_give_one_answer(logs: ExpectedLogs) -> None:
    logs.allow("has not ended within")
    owner = Probe()
    together = threading.Barrier(2)

    @tool
    def race() -> None:
        """Race."""
        together.wait(PATIENCE_SECONDS)

    runner = runner_of(owner, race)
    for number in range(1, 101):
        runner.run(call("race", str(number)))
        together.wait(PATIENCE_SECONDS)
        runner.expire(ToolOverdue(number))
        wait_until(lambda: not threads_of_tools(), "the tool's thread ends")
        (finished,) = owner.told()
        assert finished.call_id == str(number)


def test_a_tool_that_waits_for_its_turn_past_its_deadline_never_runs(gate: Gate, logs: ExpectedLogs) -> None:
    logs.expect("tool patient has not ended within 10 s")
    owner = Probe()
    patient = Gate("patient")
    patient.open.set()
    runner = runner_of(owner, gate.tool, patient.tool)
    for number in range(MAX_THREADS):
        runner.run(call("wait", str(number)))
    runner.run(call("patient", "late"))
    runner.expire(ToolOverdue(MAX_THREADS + 1))
    finished = owner.expect(ToolFinished)
    assert (finished.call_id, finished.failed) == ("late", True)
    assert json.loads(finished.output)["error"].startswith("patient has not run: too much else")
    gate.open.set()
    for _ in range(MAX_THREADS):
        assert owner.expect(ToolFinished).name == "wait"
    wait_until(lambda: not threads_of_tools(), "the tools' threads end")
    assert patient.threads == []


def test_tools_that_never_end_do_not_add_up_to_more_threads(gate: Gate, logs: ExpectedLogs) -> None:
    logs.expect("tool wait has not ended")
    owner = Probe()
    runner = runner_of(owner, gate.tool, add)
    for number in range(1, MAX_THREADS + 1):
        runner.run(call("wait", str(number)))
        gate.expect_begun()
        runner.expire(ToolOverdue(number))
        assert owner.expect(ToolFinished).failed
    runner.run(call("add", "next", '{"a": 1, "b": 2}'))
    assert len(threads_of_tools()) == MAX_THREADS
    assert owner.told() == []
    assert runner.running
    gate.open.set()
    assert not owner.expect(ToolFinished).failed


def test_after_the_call_nothing_is_told_and_what_still_runs_is_counted(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "actors.tool_runner")
    owner, clock = Probe(), HandClock()
    runner = runner_of(owner, gate.tool, clock=clock)
    for number in range(MAX_THREADS + 2):
        runner.run(call("wait", str(number)))
    for _ in range(MAX_THREADS):
        gate.expect_begun()
    assert runner.close() == MAX_THREADS
    assert not runner.running
    assert f"CA1: {MAX_THREADS} tools go on after the call: wait, wait" in caplog.text
    assert all(timer.cancelled for _, timer in clock.timers)
    runner.expire(ToolOverdue(1))
    runner.run(call("wait", "after"))
    runner.run(call("nothing", "after"))
    gate.open.set()
    wait_until(lambda: not threads_of_tools(), "the tools' threads end")
    assert owner.told() == []
    assert len(gate.threads) == MAX_THREADS
    assert runner.close() == 0


def test_a_close_at_the_moment_of_a_result_is_the_last_word() -> None:
    for _ in range(100):
        owner = Probe()
        runner = runner_of(owner, add)
        runner.run(call("add", arguments='{"a": 1, "b": 2}'))
        runner.close()
        told = owner.told()
        wait_until(lambda: not threads_of_tools(), "the tool's thread ends")
        assert len(told) <= 1
        assert owner.told() == []


def test_an_owner_that_has_died_is_no_failure(gate: Gate) -> None:
    owner = Probe()
    runner = runner_of(owner, gate.tool)
    runner.run(call("wait"))
    gate.expect_begun()
    owner.die()
    gate.open.set()
    gate.threads[0].join(PATIENCE_SECONDS)
    assert not runner.running


def test_while_only_tools_without_a_filler_are_waited_for_it_is_silent(
    gate: Gate, logs: ExpectedLogs
) -> None:
    logs.expect("tool quiet has not ended within 10 s")
    quiet = Gate("quiet", filler=False)
    owner = Probe()
    runner = runner_of(owner, gate.tool, quiet.tool)
    assert not runner.silent
    runner.run(call("quiet"))
    assert runner.silent
    runner.run(call("wait"))
    assert not runner.silent
    gate.open.set()
    assert owner.expect(ToolFinished).name == "wait"
    assert runner.silent
    runner.expire(ToolOverdue(1))
    assert not runner.silent
    quiet.open.set()
    wait_until(lambda: not threads_of_tools(), "the tools' threads end")


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_a_process_without_a_thread_to_spare_answers_too(
    monkeypatch: pytest.MonkeyPatch, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: tool add was not started")
    owner, clock = Probe(), HandClock()
    runner = runner_of(owner, add, clock=clock)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        runner.run(call("add", "refused"))
    finished = owner.expect(ToolFinished)
    assert (finished.call_id, finished.failed, runner.running) == ("refused", True, False)
    assert clock.timers[0][1].cancelled
    runner.run(call("add", "served", '{"a": 1, "b": 2}'))
    assert not owner.expect(ToolFinished).failed


def test_a_clock_that_cannot_start_is_answered_for_and_the_tool_does_not_run(
    monkeypatch: pytest.MonkeyPatch, logs: ExpectedLogs, gate: Gate
) -> None:
    logs.expect("CA1: tool wait was not started")
    owner, clock = Probe(), HandClock()
    runner = runner_of(owner, gate.tool, clock=clock)
    monkeypatch.setattr(clock, "after", refuse)
    runner.run(call("wait"))
    assert owner.expect(ToolFinished).failed
    assert not runner.running
    assert gate.threads == []
