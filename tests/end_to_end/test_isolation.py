"""One call's troubles are nobody else's: what another call in the same process hears meanwhile."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest

from simulator.call_result import StreamRecord
from simulator.realtime import OfflineModel
from simulator.script import ScriptedCall, ScriptedReply
from simulator.server_process import ServerProcess
from tests.end_to_end.extensions import TROUBLEMAKER
from tests.end_to_end.phrasebook import Phrasebook, spoken
from tests.end_to_end.stage import PATIENCE, Stage, finished, server_settings

GAP_MS = 300
DELTA_MS = 100
ANSWER_MS = 4000

ASSISTANT = """
name = "Tests"
instructions = "You are a test."
greeting = "Hello there"
greeting_kept = false
tools = ["tests.end_to_end.extensions:look_up_order", "tests.end_to_end.extensions:reckon"]
listeners = ["tests.end_to_end.extensions:Blocked", "tests.end_to_end.extensions:Failing"]
"""


def book() -> Phrasebook:
    tool = ScriptedCall("look_up_order", json.dumps({"number": 17, "seconds": 4.0}))
    reckon = ScriptedCall("reckon", json.dumps({"seconds": 4.0}))
    return Phrasebook(
        {
            "Where is my order?": [ScriptedReply(calls=(tool,))],
            "What does it all add up to?": [ScriptedReply(calls=(reckon,))],
            "Sing me a song": [spoken("La la la", ANSWER_MS)],
            "Tell me a story": [spoken("Once upon a time", ANSWER_MS)],
        },
        {"Say exactly these words": [spoken("Hello there", 400)]},
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker, and a model that speaks no faster than it is heard: every delay of ours is a gap at the phone."""
    directory = tmp_path_factory.mktemp("isolation")
    (directory / "assistant.toml").write_text(ASSISTANT)
    script = book()
    with OfflineModel(pace=1, delta_ms=DELTA_MS, **script.equipment()) as model:
        settings = server_settings(model, directory) | {
            "ASSISTANT": str(directory / "assistant.toml"),
            "WORKERS": "1",
        }
        with ServerProcess(settings, directory) as server:
            yield Stage(server, model, script)


def longest_gap_ms(stream: StreamRecord) -> float:
    """Between the arrivals of two pieces of the last answer at the phone."""
    pieces = stream.media[-ANSWER_MS // DELTA_MS :]
    assert sum(piece.played for piece in pieces) == ANSWER_MS * 8
    return max(later.received - earlier.received for earlier, later in pairwise(pieces)) / 8


@pytest.mark.slow
def test_a_tool_that_holds_the_interpreter_s_lock_leaves_no_gap_in_another_call(stage: Stage) -> None:
    script = stage.script
    assert isinstance(script, Phrasebook)
    with (
        stage.call(from_number="+14155550106") as (reckoning, _),
        stage.call(from_number="+14155550105") as (phone, _),
    ):
        reckoning.say(script.audio("What does it all add up to?"))
        phone.say(script.audio("Sing me a song"))
        began = script.await_answer("Sing me a song", PATIENCE)
        ended = script.await_answer("reckon", PATIENCE)
        phone.await_silence(400, PATIENCE)
        assert began < ended - 2, "the answer was given while the tool ran"
        for each in (phone, reckoning):
            each.hang_up()
        result = finished(phone)
        finished(reckoning)
    gap_ms = longest_gap_ms(result.streams[0])
    print(f"longest gap of another call: {gap_ms:.0f} ms")
    assert gap_ms < GAP_MS + result.max_lateness_ms


@pytest.mark.slow
def test_a_call_with_bad_listeners_and_a_slow_tool_leaves_no_gap_in_another(stage: Stage) -> None:
    script = stage.script
    assert isinstance(script, Phrasebook)
    with (
        stage.call(from_number=TROUBLEMAKER) as (troubled, _),
        stage.call(from_number="+14155550105") as (phone, _),
    ):
        troubled.say(script.audio("Where is my order?"))
        phone.say(script.audio("Tell me a story"))
        began = script.await_answer("Tell me a story", PATIENCE)
        ended = script.await_answer("look_up_order", PATIENCE)
        troubled.await_assistant(PATIENCE, ended)
        phone.await_silence(400, PATIENCE)
        assert began < ended - 2, "the answer was given while the tool ran"
        for each in (phone, troubled):
            each.hang_up()
        result, other = finished(phone), finished(troubled)
    gap_ms = longest_gap_ms(result.streams[0])
    print(f"longest gap of another call: {gap_ms:.0f} ms")
    assert gap_ms < GAP_MS + result.max_lateness_ms
    stage.await_log("listener Failing failed again and is left out")
    assert stage.log().count("this listener fails on purpose") >= 2, "it was started once more"
    assert other.longest_dead_air_ms() < 3000, "nor has the troubled call suffered"
