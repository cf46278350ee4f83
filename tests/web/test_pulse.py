"""A thread beats as long as there are calls, and says how late it is."""

import queue
import threading
import time

import pytest

from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS
from tests.web.conftest import IdleCall, Line
from web.calls import Calls
from web.pulse import BEAT_SECONDS, Pulse


class Machine:
    """A clock, and how late its threads wake."""

    def __init__(self, late_seconds: float) -> None:
        self.now = 0.0
        self.cpu_seconds = 0.0
        self.late_seconds = late_seconds
        self.busy = 0.0
        self.reports: queue.SimpleQueue[tuple[float, bool]] = queue.SimpleQueue()

    def sleep(self, seconds: float) -> None:
        time.sleep(0.0001)
        self.now += seconds + self.late_seconds
        self.cpu_seconds += (seconds + self.late_seconds) * self.busy

    def pulse(self, limit_ms: float = 20) -> Pulse:
        return Pulse(
            limit_ms,
            lambda ms, late: self.reports.put((ms, late)),
            lambda: self.now,
            self.sleep,
            lambda: self.cpu_seconds,
        )

    def await_report(self, late: bool) -> float:
        """How late it was, the next time that this was said."""
        while True:
            ms, said = self.reports.get(timeout=PATIENCE_SECONDS)
            if said is late:
                return ms


NEVER_LATE_MS = 60_000
"""For what beats by the real clock and is not to be found late, however busy this machine is."""


def beating() -> bool:
    return any(thread.name == "pulse" for thread in threading.enumerate())


def test_who_becomes_late_says_so_and_again_when_it_is_over(logs: ExpectedLogs) -> None:
    logs.expect("late by 25 ms with 1 calls: no new ones are taken; add WORKERS or machines")
    machine = Machine(late_seconds=0.025)
    pulse = machine.pulse()
    pulse.begin()
    assert machine.await_report(late=True) == pytest.approx(25)
    assert pulse.late
    machine.late_seconds = 0.001
    machine.await_report(late=False)
    pulse.end()


def test_who_will_soon_be_late_says_so_before(logs: ExpectedLogs) -> None:
    logs.expect("late by 15 ms with 1 calls: no new ones are taken")
    machine = Machine(late_seconds=0.015)
    machine.busy = 1.0
    pulse = machine.pulse(limit_ms=20)
    pulse.begin()
    assert machine.await_report(late=True) == pytest.approx(15)
    machine.busy, machine.late_seconds = 0.5, 0.001
    machine.await_report(late=False)
    pulse.end()


def test_a_process_without_calls_is_not_late_and_does_not_beat(logs: ExpectedLogs) -> None:
    logs.expect("late by 100 ms")
    machine = Machine(late_seconds=0.1)
    pulse = machine.pulse()
    assert not beating()
    pulse.begin()
    machine.await_report(late=True)
    pulse.end()
    assert machine.await_report(late=False) == 0
    assert (pulse.late, pulse.late_ms) == (False, 0)
    pulse.begin()
    machine.await_report(late=True)
    pulse.end()


def test_without_a_limit_no_thread_is_started() -> None:
    pulse = Pulse(0)
    pulse.begin()
    assert not beating()
    pulse.end()


def test_one_thread_beats_for_all_calls_and_ends_with_the_last() -> None:
    calls = Calls(threads=8, actor=IdleCall, pulse=Pulse(NEVER_LATE_MS))
    lines = [Line(calls, f"CA{number}") for number in range(3)]
    assert sum(thread.name == "pulse" for thread in threading.enumerate()) == 1
    for line in lines:
        line.hang_up()
    for thread in threading.enumerate():
        if thread.name == "pulse":
            thread.join(PATIENCE_SECONDS)
    assert not beating()
    with Line(calls, "CA9"):
        assert beating()


def test_a_real_thread_is_found_to_be_held_up() -> None:
    reports: queue.SimpleQueue[float] = queue.SimpleQueue()
    pulse = Pulse(10_000, lambda ms, late: reports.put(ms), sleep=lambda seconds: time.sleep(seconds + 0.05))
    pulse.begin()
    assert reports.get(timeout=PATIENCE_SECONDS) >= 50 > BEAT_SECONDS * 1000
    pulse.end()


def test_where_no_thread_can_be_started_calls_go_on(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("how late this process is is not known: can't start new thread")
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "pulse":
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    calls = Calls(threads=8, actor=IdleCall, pulse=Pulse(NEVER_LATE_MS))
    with Line(calls, "CA1"):
        monkeypatch.undo()
        with Line(calls, "CA2"):
            assert beating()
