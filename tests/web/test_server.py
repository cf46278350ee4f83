"""gunicorn's settings; how a server ends is in the end-to-end tests."""

import runpy
from pathlib import Path

import pytest

from config import Settings
from web.calls import HANDOVER_SECONDS
from web.server import FAREWELL_SECONDS, graceful_seconds
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
