"""Timers as messages: in the order of their times, not when cancelled, one thread for all."""

import threading
import time

import pytest

from actors.clock import SWEEP_AT_LEAST, Clock
from actors.messages import DeadlinePassed
from tests.probe import Probe, wait_until


def clock_threads() -> int:
    return sum(thread.name == "clock" for thread in threading.enumerate())


@pytest.fixture(scope="module")
def clock() -> Clock:
    """One for all tests here, as it is one for all calls: its thread stays."""
    return Clock()


def test_a_message_comes_at_its_time_and_not_before(clock: Clock) -> None:
    probe = Probe()
    started_at = time.monotonic()
    clock.after(0.03, probe, DeadlinePassed("x"))
    assert probe.expect(DeadlinePassed) == DeadlinePassed("x")
    assert time.monotonic() - started_at >= 0.03


def test_messages_come_in_the_order_of_their_times_whatever_the_order_of_asking(clock: Clock) -> None:
    probe = Probe()
    for seconds in (0.9, 0.1, 0.5):
        clock.after(seconds, probe, DeadlinePassed(str(seconds)))
    assert [probe.expect(DeadlinePassed).what for _ in range(3)] == ["0.1", "0.5", "0.9"]


def test_who_asks_later_for_what_is_due_earlier_does_not_wait_for_the_rest() -> None:
    clock, probe = Clock(), Probe()
    for seconds in (3600.0, 1800.0, 1900.0):
        clock.after(seconds, probe, DeadlinePassed("much later"))
    wait_until(lambda: bool(clock._changed._waiters), "its thread waits for the first of them")  # type: ignore[attr-defined]
    clock.after(0.1, probe, DeadlinePassed("soon"))
    assert probe.expect(DeadlinePassed).what == "soon"


def test_messages_of_one_time_come_in_the_order_of_asking(clock: Clock) -> None:
    probe = Probe()
    for number in range(20):
        clock.after(0.0, probe, DeadlinePassed(str(number)))
    assert [probe.expect(DeadlinePassed).what for _ in range(20)] == [str(number) for number in range(20)]


def test_a_cancelled_timer_tells_nothing_and_may_be_cancelled_again(clock: Clock) -> None:
    probe = Probe()
    timer = clock.after(0.8, probe, DeadlinePassed("cancelled"))
    timer.cancel()
    clock.after(0.81, probe, DeadlinePassed("kept"))
    assert probe.expect(DeadlinePassed).what == "kept"
    timer.cancel()
    assert probe.told() == []


def test_a_dead_receiver_does_not_stop_the_clock(clock: Clock) -> None:
    dead, living = Probe("dead"), Probe("living")
    dead.die()
    clock.after(0.0, dead, DeadlinePassed("to the dead"))
    clock.after(0.01, living, DeadlinePassed("on it goes"))
    assert living.expect(DeadlinePassed).what == "on it goes"


def test_there_is_one_thread_for_all_timers_and_none_before_the_first(clock: Clock) -> None:
    probe = Probe()
    clock.after(0.0, probe, DeadlinePassed("x"))
    probe.expect(DeadlinePassed)
    before = clock_threads()
    Clock()
    for _ in range(10):
        clock.after(0.0, probe, DeadlinePassed("y"))
    for _ in range(10):
        probe.expect(DeadlinePassed)
    assert clock_threads() == before


def test_a_clock_whose_thread_could_not_start_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of threads one call is refused; the timers of every later call must not be lost with it."""
    clock = Clock()
    probe = Probe()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            clock.after(0.0, probe, DeadlinePassed("refused"))
    clock.after(0.0, probe, DeadlinePassed("served"))
    assert probe.expect(DeadlinePassed).what == "served"


def test_what_was_to_be_told_to_the_dead_is_not_kept(clock: Clock) -> None:
    living = Probe("living")
    for number in range(10):
        clock.after(0.05, living, DeadlinePassed(str(number)))
    for number in range(3 * SWEEP_AT_LEAST):
        dead = Probe("dead")
        timer = clock.after(3600.0, dead, DeadlinePassed("much later"))
        if number % 2:
            dead.die()
        else:
            timer.cancel()
        del dead, timer
    assert clock.waiting <= SWEEP_AT_LEAST
    assert [living.expect(DeadlinePassed).what for _ in range(10)] == [str(number) for number in range(10)]
