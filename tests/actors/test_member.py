"""The base of every actor: opens first, closes once, tells its parent once, and takes nobody along."""

import threading
from typing import Any

import pykka
import pytest
from pykka import ActorRef

from actors.member import CallError, Member, post
from actors.messages import CallerAudio, Exited, Open
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, Probe, wait_until


class Say(Exception):  # noqa: N818  # a message of the tests, which happens to be raised
    """Told to a Subject: raise this."""


class Subject(Member):
    """Raises what it is told, and writes down what happens to it."""

    def __init__(self, parent: ActorRef[Any] | None, journal: list[str]) -> None:
        super().__init__(parent, "CA1")
        self.journal = journal
        self.opening: BaseException | None = None
        self.closing: BaseException | None = None

    def handle(self, message: Any) -> Any:
        match message:
            case BaseException():
                raise message
            case str():
                self.journal.append(message)
                return message.upper()
            case _:
                return super().handle(message)

    def open(self) -> None:
        self.journal.append(f"open in {threading.current_thread().name}")

    def close(self) -> None:
        self.journal.append("close")


class BrokenOpening(Subject):
    def open(self) -> None:
        raise CallError("no way up")


class BrokenClosing(Subject):
    def close(self) -> None:
        super().close()
        raise RuntimeError("no way down")


class ExitingClosing(Subject):
    def close(self) -> None:
        super().close()
        raise SystemExit(1)


@pytest.fixture
def parent() -> Probe:
    return Probe("parent")


@pytest.fixture
def journal() -> list[str]:
    return []


def ended(ref: ActorRef[Any], parent: Probe) -> Exception | None:
    """How the actor ended, after its thread has; and that it told so exactly once."""
    exited = parent.expect(Exited)
    assert exited.member == ref
    wait_until(
        lambda: all(not thread.name.endswith(" CA1") for thread in threading.enumerate()), "its thread ended"
    )
    assert parent.told() == []
    return exited.error


def test_the_first_thing_is_to_open_in_the_actors_own_named_thread(parent: Probe, journal: list[str]) -> None:
    ref = Subject.start(parent, journal)
    assert ref.ask("hello", timeout=PATIENCE_SECONDS) == "HELLO"
    ref.stop(block=False)
    assert ended(ref, parent) is None
    assert journal == ["open in Subject CA1", "hello", "close"]


def test_an_orderly_stop_closes_once_and_tells_the_parent_without_an_error(
    parent: Probe, journal: list[str]
) -> None:
    ref = Subject.start(parent, journal)
    ref.stop(block=False)
    ref.stop(block=False)
    assert ended(ref, parent) is None
    assert journal.count("close") == 1


def test_a_failure_tells_the_parent_exactly_once_with_the_error(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("actors.* CA1: failed at KeyError|CA1: failed at KeyError")
    ref = Subject.start(parent, journal)
    problem = KeyError("what was it")
    ref.tell(problem)
    assert ended(ref, parent) is problem
    assert journal.count("close") == 1


def test_a_failure_that_was_thought_of_is_one_line_without_a_traceback(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("CA1: the model said no$")
    ref = Subject.start(parent, journal)
    ref.tell(CallError("the model said no"))
    assert str(ended(ref, parent)) == "the model said no"
    assert [record.exc_info for record in logs.records] == [None]


def test_after_a_failure_nothing_more_is_handled(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("CA1: stop here")
    subject = Subject(parent, journal)
    subject.on_receive(CallError("stop here"))
    assert subject.on_receive("late") is None
    assert journal == []


def test_failing_to_open_is_an_ordinary_failure(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("CA1: no way up")
    ref = BrokenOpening.start(parent, journal)
    assert str(ended(ref, parent)) == "no way up"
    assert journal == ["close"]


@pytest.mark.parametrize("how", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_system_exit_in_a_handler_ends_only_that_actor(
    parent: Probe, journal: list[str], logs: ExpectedLogs, how: BaseException
) -> None:
    logs.expect("CA1: failed at")
    bystander = Subject.start(None, [])
    ref = Subject.start(parent, journal)
    ref.tell(how)
    error = ended_beside(ref, parent)
    assert isinstance(error, CallError)
    assert type(how).__name__ in str(error)
    assert bystander.ask("still", timeout=PATIENCE_SECONDS) == "STILL"
    bystander.stop(timeout=PATIENCE_SECONDS)
    assert journal.count("close") == 1


def ended_beside(ref: ActorRef[Any], parent: Probe) -> Exception | None:
    exited = parent.expect(Exited)
    assert exited.member == ref
    assert parent.told() == []
    return exited.error


@pytest.mark.parametrize("how", [SystemExit(3), ValueError("x"), CallError("y")])
def test_a_failure_while_being_asked_ends_the_actor_and_answers_the_asker(
    parent: Probe, journal: list[str], logs: ExpectedLogs, how: BaseException
) -> None:
    logs.expect("CA1: ")
    ref = Subject.start(parent, journal)
    assert ref.ask(how, timeout=PATIENCE_SECONDS) is None
    assert ended(ref, parent) is not None
    assert journal.count("close") == 1


def test_failing_to_close_still_tells_the_parent_once(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("CA1: failed to close")
    ref = BrokenClosing.start(parent, journal)
    ref.stop(block=False)
    ended(ref, parent)
    assert journal.count("close") == 1


def test_a_system_exit_while_closing_ends_only_that_actor_and_closes_once(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.allow("CA1|pykka")
    bystander = Subject.start(None, [])
    ref = ExitingClosing.start(parent, journal)
    ref.stop(block=False)
    wait_until(
        lambda: "ExitingClosing CA1" not in {each.name for each in threading.enumerate()}, "its thread ended"
    )
    assert journal.count("close") == 1
    assert [message.member for message in parent.told()] == [ref]
    assert bystander.ask("still", timeout=PATIENCE_SECONDS) == "STILL"
    bystander.stop(timeout=PATIENCE_SECONDS)


def test_telling_the_dead_harms_nobody() -> None:
    probe = Probe()
    assert post(probe, Open()) is True
    probe.die()
    assert post(probe, Open()) is False
    assert post(None, Open()) is False


def test_a_stopped_actor_is_dead_to_post(parent: Probe, journal: list[str]) -> None:
    ref = Subject.start(parent, journal)
    ref.stop(timeout=PATIENCE_SECONDS)
    assert post(ref, "late") is False


def test_a_dead_parent_does_not_disturb_the_end(parent: Probe, journal: list[str]) -> None:
    parent.die()
    ref = Subject.start(parent, journal)
    ref.stop(timeout=PATIENCE_SECONDS)
    assert journal.count("close") == 1


def test_an_unknown_message_is_a_warning_and_no_end(
    parent: Probe, journal: list[str], logs: ExpectedLogs
) -> None:
    logs.expect("pykka: Unexpected message received by Subject")
    subject = Subject(parent, journal)
    subject.on_receive(CallerAudio(20, "AAAA"))
    assert subject.on_receive("go on") == "GO ON"


class Unthreadable(Subject):
    """An actor for whose thread the machine has no room."""

    def _actor_loop(self) -> None:
        raise AssertionError("never started")

    @property
    def use_daemon_thread(self) -> bool:  # type: ignore[override]
        raise RuntimeError("can't start new thread")


def test_an_actor_whose_thread_cannot_start_leaves_no_phantom(parent: Probe, journal: list[str]) -> None:
    before = pykka.ActorRegistry.get_all()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Unthreadable.start(parent, journal)
    assert pykka.ActorRegistry.get_all() == before
