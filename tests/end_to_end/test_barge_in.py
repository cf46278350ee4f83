"""What the model is told that the caller heard, against what the simulated phone really played.

The cases and their truths are those in which other bridges were measured; the phone's playout buffer is the truth.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.refusal import RefusalError
from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from tests.end_to_end.stage import (
    AUTH_TOKEN,
    EVER,
    GREETING_MS,
    PATIENCE,
    Greeting,
    Stage,
    finished,
    server_settings,
)

LATENCIES_MS = (20, 100, 300)
TOLERANCE_MS = 40
FIRST_MS, SECOND_MS, LONG_MS = 3000, 4000, 10_000
INTERRUPTION = tone(300)


class LongAnswers(Greeting):
    """Answers every question at length."""

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        return ScriptedReply("a long answer", audio=tone(LONG_MS))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("barge-in")
    script = LongAnswers()
    with (
        OfflineModel(pace=100, **script.equipment()) as model,
        ServerProcess(server_settings(model, directory), directory) as server,
    ):
        yield Stage(server, model, script)


def interrupt_after(phone: Phone, milliseconds: int) -> None:
    """Speak so long after the assistant has begun to be heard, and see it fall silent."""
    phone.await_assistant(PATIENCE)
    phone.say(silence(milliseconds) + INTERRUPTION).wait(PATIENCE + 10)
    phone.await_silence(100, PATIENCE)


def in_the_first_answer(phone: Phone, session: RealtimeSession) -> None:
    phone.say(INTERRUPTION).wait(PATIENCE)
    interrupt_after(phone, 4000)


def in_the_second_answer(phone: Phone, session: RealtimeSession) -> None:
    session.say(tone(FIRST_MS))
    phone.await_assistant(PATIENCE)
    phone.await_silence(300, PATIENCE)
    in_the_first_answer(phone, session)


def queue_two_answers(session: RealtimeSession) -> None:
    session.say(tone(FIRST_MS))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return session.say(tone(SECOND_MS))
        except RefusalError:  # the first is still being generated, which takes 30 ms
            assert time.monotonic() < deadline
            time.sleep(0.01)


def in_the_first_of_two_queued(phone: Phone, session: RealtimeSession) -> None:
    queue_two_answers(session)
    interrupt_after(phone, 1700)


def in_the_second_of_two_queued(phone: Phone, session: RealtimeSession) -> None:
    queue_two_answers(session)
    interrupt_after(phone, FIRST_MS + 2000)


def three_in_a_row(phone: Phone, session: RealtimeSession) -> None:
    in_the_first_answer(phone, session)
    interrupt_after(phone, 1000)
    interrupt_after(phone, 600)


CASES: dict[Callable[[Phone, RealtimeSession], None], tuple[int, list[str]]] = {
    in_the_first_answer: (GREETING_MS, ["truncate"]),
    in_the_second_answer: (GREETING_MS + FIRST_MS, ["truncate"]),
    in_the_first_of_two_queued: (GREETING_MS, ["truncate", "delete"]),
    in_the_second_of_two_queued: (GREETING_MS + FIRST_MS, ["truncate"]),
    three_in_a_row: (GREETING_MS, ["truncate"] * 3),
}
"""What had been heard of earlier answers when the one that is interrupted began, in ms; what the model is told."""


def told(session: RealtimeSession) -> list[tuple[str, int]]:
    return [
        (event["type"].removeprefix("conversation.item."), event.get("audio_end_ms", 0))
        for event in session.received
        if event["type"] in ("conversation.item.truncate", "conversation.item.delete")
    ]


def heard_by_the_clears(result: CallResult, heard_before_ms: int) -> list[float]:
    positions = [clear.position / 8 for clear in result.streams[0].clears if clear.dropped]
    return [after - before for before, after in pairwise([heard_before_ms, *positions])]


@pytest.mark.slow
def test_the_model_is_told_to_40_ms_what_the_caller_heard(stage: Stage) -> None:
    """Five cases at three latencies, all at once; protocol-gotchas 8 to 12."""
    runs = []
    with ThreadPoolExecutor(len(CASES) * len(LATENCIES_MS)) as pool:
        for act in CASES:
            for latency_ms in LATENCIES_MS:
                before = len(stage.model.sessions)
                phone = Phone(f"{stage.server.url}/twiml", auth_token=AUTH_TOKEN, latency_ms=latency_ms)
                phone.dial()
                session = stage.model.await_session(before + 1, PATIENCE)
                runs.append((act, latency_ms, phone, session, pool.submit(play, act, phone, session)))
    errors, allowed = {}, {}
    for act, latency_ms, _, session, outcome in runs:
        heard_before_ms, commands = CASES[act]
        result = outcome.result()
        truth = heard_by_the_clears(result, heard_before_ms)
        what = f"{act.__name__} at {latency_ms} ms"
        assert [command for command, _ in told(session)] == commands, what
        said = [heard_ms for command, heard_ms in told(session) if command == "truncate"]
        errors[what] = [round(ours - real, 1) for ours, real in zip(said, truth, strict=True)]
        allowed[what] = TOLERANCE_MS + result.max_lateness_ms
    print("error of audio_end_ms, in ms:", errors)
    off = [what for what, each in errors.items() if any(abs(error) > allowed[what] for error in each)]
    assert off == [], errors


def play(act: Callable[[Phone, RealtimeSession], None], phone: Phone, session: RealtimeSession) -> CallResult:
    with phone:
        phone.await_assistant(PATIENCE, EVER)
        phone.await_silence(300, PATIENCE)
        act(phone, session)
        phone.hang_up()
        return finished(phone)
