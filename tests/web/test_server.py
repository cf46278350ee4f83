"""gunicorn's settings, and who takes a connection; how a server ends is in the end-to-end tests."""

import runpy
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.workers.gthread import ThreadWorker

from config import Settings
from tests.web.conftest import IdleCall, Line, ToldPulse
from web import CALLS
from web.calls import HANDOVER_SECONDS, Calls
from web.server import FAREWELL_SECONDS, SPREAD_SECONDS, CallWorker, graceful_seconds
from web.twiml import WAIT_SECONDS

ROOT = Path(__file__).parents[2]
LONGEST_DRAIN_SECONDS = 120.0


@pytest.mark.parametrize("drain_seconds", [0.0, 20.0, 120.0])
def test_gunicorn_waits_for_a_drain_and_what_follows_it(drain_seconds: float) -> None:
    assert graceful_seconds(drain_seconds) > drain_seconds + HANDOVER_SECONDS + FAREWELL_SECONDS


def test_a_caller_who_is_sent_elsewhere_and_comes_back_is_answered_to_the_last() -> None:
    answer_seconds = 0.1
    assert sum(seconds + answer_seconds for seconds in WAIT_SECONDS) < FAREWELL_SECONDS


def test_who_starts_gunicorn_without_us_gets_the_longest_wait() -> None:
    Settings(openai_api_key="sk-test", drain_seconds=LONGEST_DRAIN_SECONDS)
    with pytest.raises(ValueError, match="drain_seconds"):
        Settings(openai_api_key="sk-test", drain_seconds=LONGEST_DRAIN_SECONDS + 1)
    settings = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert settings["graceful_timeout"] >= graceful_seconds(LONGEST_DRAIN_SECONDS)


def test_the_fuller_or_later_a_worker_is_the_longer_it_leaves_a_caller_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hesitated: list[float] = []
    monkeypatch.setattr("web.server.time", SimpleNamespace(sleep=hesitated.append))
    monkeypatch.setattr(ThreadWorker, "accept", lambda worker, listener: hesitated.append(-1))
    pulse = ToldPulse()
    calls = Calls(threads=8, actor=IdleCall, pulse=pulse)
    worker = object.__new__(CallWorker)
    worker.cfg = SimpleNamespace(workers=2)
    worker.wsgi = SimpleNamespace(extensions={CALLS: calls})
    with socket.socket() as listener:
        worker.accept(listener)
        with Line(calls, "CA1"):
            worker.accept(listener)
            pulse.told_late = True
            worker.accept(listener)
    assert hesitated == [-1, pytest.approx(SPREAD_SECONDS / 6), -1, SPREAD_SECONDS, -1]
