"""Calls in greenlets: what holds for threads holds under gunicorn's gevent worker, with the same code."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator.realtime import OfflineModel
from simulator.server_process import RUN, ServerProcess
from tests.end_to_end.stage import PATIENCE, Greeting, Stage, server_settings
from tests.end_to_end.test_barge_in import LongAnswers
from tests.end_to_end.test_barge_in import (
    test_the_model_is_told_to_40_ms_what_the_caller_heard as told_what_was_heard,
)
from tests.end_to_end.test_call import (
    test_a_call_from_greeting_to_hang_up,
    test_a_model_that_is_lost_is_replaced_by_one_that_knows_the_conversation,
    test_a_phone_whose_connection_breaks_closes_the_model,
    test_an_answer_that_was_heard_to_its_end_is_not_truncated,
    test_an_interruption_truncates_at_what_the_caller_heard,
    test_every_byte_of_the_caller_reaches_the_model_in_order,
    test_keys_are_taken,
    test_the_session_is_configured_before_any_audio_goes_in,
)
from tests.end_to_end.test_survival import (
    CALLS,
    begin_to_speak,
    check,
    check_stories,
    database_url,
    go_on,
    model_and_script,
    settings,
    twenty_calls,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

COMMAND = [sys.executable, str(RUN), "serve", "--watch-parent", "--worker", "gevent"]

__all__ = [
    "test_a_call_from_greeting_to_hang_up",
    "test_a_model_that_is_lost_is_replaced_by_one_that_knows_the_conversation",
    "test_a_phone_whose_connection_breaks_closes_the_model",
    "test_an_answer_that_was_heard_to_its_end_is_not_truncated",
    "test_an_interruption_truncates_at_what_the_caller_heard",
    "test_every_byte_of_the_caller_reaches_the_model_in_order",
    "test_keys_are_taken",
    "test_the_session_is_configured_before_any_audio_goes_in",
]


@contextmanager
def green(script: Greeting, directory: Path) -> Iterator[Stage]:
    with (
        OfflineModel(pace=100, **script.equipment()) as model,
        ServerProcess(server_settings(model, directory), directory, COMMAND) as server,
    ):
        stage = Stage(server, model, script)
        yield stage
    errors = [line for line in stage.log().splitlines() if " ERROR " in line or "Traceback" in line]
    assert errors == []


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """In place of the server with threads."""
    with green(Greeting(), tmp_path_factory.mktemp("green")) as stage:
        yield stage


@pytest.mark.parametrize(("command", "limit"), [(COMMAND[:-2], 150), (COMMAND, 200)])
def test_there_is_room_for_as_many_calls_as_a_core_carries(
    tmp_path: Path, command: list[str], limit: int
) -> None:
    unset = server_settings(OfflineModel(), tmp_path)
    del unset["THREADS"]
    with (
        ServerProcess(unset, tmp_path, command) as server,
        urllib.request.urlopen(f"{server.url}/ready", timeout=PATIENCE) as answer,
    ):
        assert json.load(answer)["limit"] == limit


def test_the_model_is_told_what_the_caller_heard(tmp_path: Path) -> None:
    with green(LongAnswers(), tmp_path) as stage:
        told_what_was_heard(stage)


def test_a_reload_cuts_none_of_twenty_calls(tmp_path: Path) -> None:
    with (
        model_and_script() as (model, script),
        ServerProcess(settings(model, tmp_path, DRAIN_SECONDS="3"), tmp_path, COMMAND) as server,
        twenty_calls(Stage(server, model, script), script) as calls,
    ):
        begin_to_speak(calls, script)
        os.kill(server.pid, signal.SIGHUP)
        results = go_on(calls, script)
    check(results, model.sessions[CALLS:], script)
    check_stories(database_url(tmp_path), calls, results, model.sessions[CALLS:])
