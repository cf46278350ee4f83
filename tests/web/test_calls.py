"""The calls of one process: limited, counted, handed over together."""

import queue
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from actors.messages import Drain
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS
from tests.web.conftest import IdleCall, Line, setup
from web.calls import Calls
from web.turnover import SECONDS_A_CALL, SHORTEST_SECONDS

told: "queue.SimpleQueue[Drain]" = queue.SimpleQueue()


class TalkativeCall(IdleCall):
    """Comes to no pause: is handed over only at once."""

    def drain(self, message: Drain) -> None:
        told.put(message)
        if message.now:
            self.stop()


@pytest.fixture
def calls() -> Iterator[Calls]:
    calls = Calls(threads=8, actor=IdleCall)
    yield calls
    calls.drain(PATIENCE_SECONDS)


@pytest.mark.parametrize(("threads", "limit"), [(1, 1), (2, 1), (4, 3), (8, 6), (16, 12), (100, 96)])
def test_some_threads_are_kept_free_for_webhooks(threads: int, limit: int) -> None:
    assert Calls(threads).limit == limit


def test_a_call_beyond_the_limit_is_refused_until_one_ends(calls: Calls, logs: ExpectedLogs) -> None:
    logs.expect("CA6: refused, this process has 6 calls; raise THREADS")
    lines = [Line(calls, f"CA{number}") for number in range(6)]
    assert calls.full
    assert calls.start(setup("CA6")) is None
    lines[0].hang_up()
    assert not calls.full
    Line(calls, "CA7")


def test_the_more_calls_there_are_the_less_often_each_thread_asks_for_the_interpreter() -> None:
    """Else a thousand that wait for it leave no time to the one that has it."""
    before = sys.getswitchinterval()
    calls = Calls(threads=100, actor=IdleCall)
    try:
        lines = [Line(calls, f"CA{number}") for number in range(40)]
        assert sys.getswitchinterval() == pytest.approx(40 * SECONDS_A_CALL, abs=2e-6)
        lines.pop().hang_up()
        assert sys.getswitchinterval() == pytest.approx(39 * SECONDS_A_CALL, abs=2e-6)
        for line in lines:
            line.hang_up()
        assert sys.getswitchinterval() == pytest.approx(SHORTEST_SECONDS, abs=2e-6)
    finally:
        calls.drain(PATIENCE_SECONDS)
        sys.setswitchinterval(before)


def test_a_drain_hands_every_call_over_and_takes_no_more(calls: Calls) -> None:
    lines = [Line(calls, f"CA{number}") for number in range(3)]
    assert not calls.draining
    assert calls.drain(PATIENCE_SECONDS) == 0
    assert calls.draining
    assert all(line.call.ended.is_set() for line in lines)
    assert calls.start(setup("CA9")) is None


def test_a_call_that_comes_to_no_pause_is_handed_over_when_the_time_is_up() -> None:
    calls = Calls(threads=8, actor=TalkativeCall)
    Line(calls, "CA1")
    assert calls.drain(0.05) == 0
    assert [told.get_nowait(), told.get_nowait()] == [Drain(), Drain(now=True)]


def test_a_call_that_ends_by_itself_is_waited_for() -> None:
    calls = Calls(threads=8, actor=TalkativeCall)
    line = Line(calls, "CA1")
    left: list[int] = []
    draining = threading.Thread(target=lambda: left.append(calls.drain(PATIENCE_SECONDS)))
    draining.start()
    assert told.get(timeout=PATIENCE_SECONDS) == Drain()
    line.hang_up()
    draining.join(PATIENCE_SECONDS)
    assert left == [0]
    assert told.empty()


# Twilio's questions


QUESTION = 1.0


@pytest.fixture
def asked() -> Calls:
    """Twilio asks within QUESTION seconds."""
    return Calls(threads=8, actor=IdleCall, question_seconds=QUESTION)


def seconds_of_farewell(calls: Calls, limit: float = PATIENCE_SECONDS) -> float:
    began = time.monotonic()
    calls.await_questions(limit)
    return time.monotonic() - began


def test_who_had_no_call_does_not_wait_for_questions(asked: Calls) -> None:
    assert seconds_of_farewell(asked) < QUESTION


def test_after_a_stream_twilio_asks_and_is_waited_for(asked: Calls) -> None:
    began = time.monotonic()
    Line(asked, "CA1").hang_up()
    asked.await_questions(PATIENCE_SECONDS)
    assert QUESTION <= time.monotonic() - began < PATIENCE_SECONDS


def test_every_caller_who_was_sent_away_may_come_back_once_more(asked: Calls) -> None:
    began = time.monotonic()
    asked.expect_question()
    late = threading.Timer(0.1, asked.expect_question)
    late.start()
    asked.await_questions(PATIENCE_SECONDS)
    assert QUESTION + 0.1 <= time.monotonic() - began < PATIENCE_SECONDS
    late.join()


def test_the_farewell_has_an_end(calls: Calls) -> None:
    calls.expect_question()
    assert seconds_of_farewell(calls, 0.1) < 0.5
