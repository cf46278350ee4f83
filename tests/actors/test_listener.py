"""Listeners: told what they want, restarted once, and never a burden to the call."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.listener import Listener, Listeners
from actors.messages import CallEnded, CallerAudio, DeadlinePassed, DigitPressed, Exited, HangUp
from actors.supervision import Supervision
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, HandClock, Probe, wait_until
from wire.journal import CallRecord

RECORD = CallRecord("CA1", "MZ1", "+491", "+492", "Test", "1")
heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
released = threading.Event()


class Keys(Listener):
    wants = (DigitPressed, CallerAudio)
    audio_limit_ms = 100

    def handle(self, message: Any) -> Any:
        match message:
            case DigitPressed(digit="#"):
                raise ValueError("no hash, please")
            case DigitPressed(digit="x"):
                raise SystemExit(1)
            case DigitPressed(digit="."):
                released.wait(PATIENCE_SECONDS)
            case DigitPressed() | CallerAudio():
                heard.put(message)
            case _:
                return super().handle(message)


class Party:
    """The listeners of a call, and a probe for the call."""

    def __init__(self) -> None:
        self.call = Probe("call")
        self.clock = HandClock()
        self.listeners = Listeners(self.call, RECORD, self.clock, Supervision())

    def tell(self, *digits: str) -> None:
        for digit in digits:
            self.listeners.tell(DigitPressed(digit))

    def fail(self, digit: str) -> None:
        """The listener fails, and the call does what it does then."""
        self.tell(digit)
        exited = self.call.expect(object)
        assert self.listeners.exited(exited.member)  # type: ignore[attr-defined]


def next_heard() -> Any:
    return heard.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def party() -> Iterator[Party]:
    released.clear()
    party = Party()
    party.listeners.start((Keys,))
    yield party
    released.set()
    party.listeners.end()
    wait_until(lambda: not any("Keys CA1" in each.name for each in threading.enumerate()), "it ended")
    assert heard.empty()


def test_it_is_told_what_it_wants_and_nothing_else(party: Party) -> None:
    party.listeners.tell(HangUp("not wanted"))
    party.tell("1")
    assert next_heard() == DigitPressed("1")


def test_what_it_was_told_before_the_end_it_still_handles(party: Party) -> None:
    party.tell("1", "2")
    party.listeners.end()
    assert [next_heard(), next_heard()] == [DigitPressed("1"), DigitPressed("2")]


@pytest.mark.parametrize("digit", ["#", "x"])
def test_one_that_fails_is_started_once_more_and_then_left_out(
    party: Party, digit: str, logs: ExpectedLogs
) -> None:
    logs.expect("failed at DigitPressed")
    logs.expect("failed again and is left out")
    party.fail(digit)
    assert party.clock.expire(DeadlinePassed(DeadlinePassed.RESTART_LISTENER, Keys)) == 1.0
    assert party.call.expect(DeadlinePassed).about is Keys
    party.listeners.restart(Keys)
    party.tell("1")
    assert next_heard() == DigitPressed("1")
    party.fail(digit)
    party.tell("2")
    assert party.clock.timers == []


def test_another_actor_is_none_of_its_business(party: Party) -> None:
    assert not party.listeners.exited(Probe("somebody"))


def test_one_that_is_stuck_loses_audio_and_no_control_message(party: Party) -> None:
    party.tell(".")
    for number in range(20):
        party.listeners.tell(CallerAudio(20.0, f"{number:04}"))
    party.tell("1")
    released.set()
    assert next_heard() == DigitPressed("1")
    assert [next_heard().payload for _ in range(5)] == ["0015", "0016", "0017", "0018", "0019"]


def test_one_that_cannot_be_started_is_left_out(party: Party, logs: ExpectedLogs) -> None:
    class Broken(Keys):
        def __init__(self, *arguments: Any) -> None:
            raise OSError("no disk")

    logs.expect("cannot be started")
    party.listeners.start((Broken,))
    party.tell("1")
    assert next_heard() == DigitPressed("1")


class Visitor(Keys):
    on_demand = True


def test_one_that_comes_on_demand_comes_once_and_knows_first_what_it_has_to(party: Party) -> None:
    party.listeners.join(Visitor, DigitPressed("1"), DigitPressed("2"))
    party.listeners.join(Visitor, DigitPressed("3"))
    party.tell("4")
    assert sorted(next_heard().digit for _ in range(4)) == ["1", "2", "4", "4"]


def test_one_that_came_on_demand_may_go_and_come_again(party: Party) -> None:
    party.listeners.join(Visitor, CallEnded())
    exited = party.call.expect(Exited)
    assert not party.listeners.exited(exited.member, exited.error)
    assert party.clock.timers == []
    party.listeners.join(Visitor, DigitPressed("1"))
    assert next_heard() == DigitPressed("1")


def test_one_that_came_on_demand_and_fails_is_not_started_again_by_itself(
    party: Party, logs: ExpectedLogs
) -> None:
    logs.expect("failed at DigitPressed")
    logs.expect("comes again when it is needed")
    party.listeners.join(Visitor, DigitPressed("#"))
    exited = party.call.expect(Exited)
    assert party.listeners.exited(exited.member, exited.error)
    assert party.clock.timers == []
