"""The calls of one process: limited, counted, ended together."""

import threading
from collections.abc import Iterator

import pytest

from actors import CallSetup, HangUp, post
from tests.actors.test_call import SESSION
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket
from web.calls import Calls, LiveCall
from wire.dialect import OPENAI


def setup(number: int) -> CallSetup:
    return CallSetup(
        call_sid=f"CA{number}",
        stream_sid=f"MZ{number}",
        media_socket=FakeMediaSocket(),
        dial_model=FakeModelSocket,
        dialect=OPENAI,
        session=SESSION,
        greeting=None,
    )


@pytest.fixture
def calls() -> Iterator[Calls]:
    calls = Calls(threads=8)
    yield calls
    calls.drain(PATIENCE_SECONDS)


def forget_when_ended(calls: Calls, call: LiveCall) -> None:
    """What the thread that reads the media socket does."""

    def wait() -> None:
        call.ended.wait(PATIENCE_SECONDS)
        calls.forget(call)

    threading.Thread(target=wait, name=f"route of {call.ref}", daemon=True).start()


def started(calls: Calls, number: int) -> LiveCall:
    call = calls.start(setup(number))
    assert call is not None
    forget_when_ended(calls, call)
    return call


@pytest.mark.parametrize(("threads", "limit"), [(1, 1), (2, 1), (4, 3), (8, 6), (16, 12), (100, 96)])
def test_some_threads_are_kept_free_for_webhooks(threads: int, limit: int) -> None:
    assert Calls(threads).limit == limit


def test_a_call_beyond_the_limit_is_refused_until_one_ends(calls: Calls, logs: ExpectedLogs) -> None:
    logs.expect("CA6: refused, this process has 6 calls; raise THREADS")
    live = [started(calls, number) for number in range(6)]
    assert calls.start(setup(6)) is None
    post(live[0].ref, HangUp("done"))
    assert live[0].ended.wait(PATIENCE_SECONDS)
    calls.forget(live[0])
    started(calls, 7)


def test_a_drain_ends_every_call_and_takes_no_more(calls: Calls) -> None:
    live = [started(calls, number) for number in range(3)]
    assert calls.drain(PATIENCE_SECONDS) == 0
    assert all(call.ended.is_set() for call in live)
    assert calls.start(setup(9)) is None
