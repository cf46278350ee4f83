"""Dialogues in which everything happens: tools, interruptions, failed and incomplete responses, false starts."""

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.refusal import FailureError
from simulator.script import ScriptedCall, ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from store.database import Database
from store.journal import CallJournal, StoredCall
from tests.end_to_end.phrasebook import SENTENCE_MS, Phrasebook, spoken
from tests.end_to_end.relay import Relay
from tests.end_to_end.stage import EVER, PATIENCE, Stage, finished, server_settings

pytestmark = pytest.mark.slow

DEAD_AIR_MS = 3000
"""Half a second in which the turn might go on, two until the filler, and the rest for a busy machine."""

ASSISTANT = """
name = "Tests"
instructions = "You are a test."
greeting = "Hello there"
greeting_kept = false
tools = ["tests.end_to_end.extensions:look_up_order"]
"""
GATED = """
[turn_detection]
mode = "gated"
resume = true
"""

IMPROVISED_DEAD_AIR_MS = 2500 + DEAD_AIR_MS
"""The caller may begin to speak so late."""

FAILED = FailureError("server_error", "The model failed.")
TOO_FAST = FailureError("rate_limit_exceeded", "Rate limit reached.", kind="rate_limit_exceeded")
GREETED, FINISHED, DECLINED = "Say exactly these words", "was cut short", "cannot help with that"
WENT_ON, RESUMED = "goes on now", "What interrupted your last answer was a noise"


READY = "Both of your orders are ready and wait for you"
GOING_ON = "and then somebody rode it all the same"
WORD_MS = 1000
LONG_TOOL_SECONDS = 2.8
COUGH, NOISE = tone(120, 3100), tone(WORD_MS, 3100)
STORY = "Once upon a time there was a bicycle that nobody could ride"


def arguments(number: int, seconds: float) -> str:
    return json.dumps({"number": number, "seconds": seconds})


def look_up(*orders: tuple[int, float]) -> tuple[ScriptedCall, ...]:
    return tuple(ScriptedCall("look_up_order", arguments(number, seconds)) for number, seconds in orders)


MANNERS: dict[str, list[ScriptedReply | Exception]] = {
    "Fail now and then": [FAILED, spoken("It worked", 700)] * 500,
    "Fail twice now and then": [FAILED, TOO_FAST, spoken("It worked at last", 700)] * 300,
    "Break off now and then": [spoken("It is", 500, cut_short="max_output_tokens"), spoken("It is it", 700)]
    * 500,
    "Look up one": [spoken("Let me see", 400, calls=look_up((20, 0.3)))],
    "Look up three": [ScriptedReply(calls=look_up((21, 0.1), (22, 0.7), (23, 1.2)))],
}
"""How the model behaves again and again, whoever asks."""
GOODBYES = [f"Goodbye, says the caller with the number {number}" for number in range(8)]


def book() -> Phrasebook:
    return Phrasebook(
        {
            **MANNERS,
            **{goodbye: [spoken("Bye", 500)] for goodbye in GOODBYES},
            "Where are my two orders?": [spoken("One moment", 500, calls=look_up((17, 0.2), (18, 0.5)))],
            "Look again": [ScriptedReply(calls=look_up((19, LONG_TOOL_SECONDS)))],
            "Are you there?": [spoken("Yes I am", 600)],
            "Fail twice": [FAILED, FAILED, spoken("This is the third attempt", 800)],
            "Ask too often": [TOO_FAST, TOO_FAST, TOO_FAST, spoken("This is the fourth", 800)],
            "Fail when I go on": [FAILED, FAILED, FAILED],
            "Never mind": [spoken("All right", 500)],
            "Leave it": [spoken("As you like", 500)],
            "Tell me all": [spoken("All of it is", 1000, cut_short="max_output_tokens")],
            "Tell me what you must not": [ScriptedReply(cut_short="content_filter")],
            "Fail for good": [FAILED, FAILED, FAILED, FAILED, spoken("Now I can", 500)],
            "Tell me a story": [spoken(STORY, 5000)],
            "Stop": [spoken("I have stopped", 500)],
        },
        {
            GREETED: [FAILED, spoken("Hello there", 3000)],
            FINISHED: [FAILED, spoken("finished", 400)],
            DECLINED: [spoken("I cannot help with that", 600)],
            WENT_ON: [spoken("as I was saying", 800)],
            RESUMED: [spoken(GOING_ON, 4000)],
        },
        spoken(READY, 3000),
    )


class Theatre(Stage):
    """A stage whose model keeps the errors that it had to answer with."""

    def __init__(
        self,
        server: ServerProcess,
        model: OfflineModel,
        script: Phrasebook,
        errors: list[Any],
        directory: Path,
    ) -> None:
        super().__init__(server, model, script)
        self.book = script
        self.errors = errors
        self.directory = directory

    def stored(self, call_sid: str) -> StoredCall:
        """The call as the journal has it when it is over; the server writes it a little later."""
        database = Database(f"sqlite:///{self.directory / 'switchboard.db'}")
        journal = CallJournal(database)
        try:
            deadline = time.monotonic() + PATIENCE
            while (stored := journal.load(call_sid)) is None or stored.ended_at is None:
                assert time.monotonic() < deadline, stored
                time.sleep(0.05)
            return stored
        finally:
            journal.close()
            database.close()


@contextmanager
def theatre(directory: Path, assistant: str, latency_ms: float = 0) -> Iterator[Theatre]:
    """`latency_ms` is that of the way to the model."""
    file = directory / "assistant.toml"
    file.write_text(assistant)
    script = book()
    errors: list[Any] = []

    def observe(session_id: str, kind: str, event: Any) -> None:
        # Whoever cancels a response cannot know whether its end is on the way.
        if kind == "error" and event["error"]["code"] != "response_cancel_not_active":
            errors.append(event["error"])

    with (
        OfflineModel(pace=8, observer=observe, **script.equipment()) as model,
        Relay(lambda: urlsplit(model.url).netloc, latency_ms) as way,
    ):
        settings = server_settings(model, directory) | {"ASSISTANT": str(file), "WORKERS": "1"}
        settings["OPENAI_REALTIME_URL"] = model.url.replace(urlsplit(model.url).netloc, way.address)
        with ServerProcess(settings, directory) as server:
            yield Theatre(server, model, script, errors, directory)


@pytest.fixture(scope="module")
def by_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("busy"), ASSISTANT) as found:
        yield found


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("gated"), ASSISTANT + GATED) as found:
        yield found


class Caller:
    """A phone in one call, and what its user does."""

    def __init__(self, phone: Phone, script: Phrasebook) -> None:
        self.phone = phone
        self.book = script

    def say(self, text: str, after_ms: int = 0, milliseconds: int = SENTENCE_MS) -> None:
        self.phone.say(silence(after_ms) + self.book.audio(text, milliseconds)).wait(PATIENCE)

    def ask(
        self,
        text: str,
        after_ms: int = 0,
        about: str | None = None,
        count: int = 1,
        milliseconds: int = SENTENCE_MS,
    ) -> None:
        """Say it, and wait until the answer to it, or to what it leads to, begins to be heard."""
        self.say(text, after_ms, milliseconds)
        self.phone.await_assistant(PATIENCE, self.book.await_answer(about or text, PATIENCE, count))

    def hear_out(self) -> None:
        self.phone.await_silence(350, PATIENCE)


def asks_for_orders(caller: Caller) -> None:
    """Over the greeting, and again over the answer; then speaks while the tool runs."""
    caller.ask("Where are my two orders?", after_ms=500, about="look_up_order")
    caller.say("Look again", after_ms=700)
    # While the tool runs, however late this thread is.
    caller.ask("Are you there?", after_ms=700)
    caller.phone.await_assistant(PATIENCE, caller.book.await_answer("look_up_order", PATIENCE, 3))
    caller.ask("Never mind", after_ms=700)


def meets_failures(caller: Caller) -> None:
    """And goes on speaking while the model is given a pause."""
    caller.hear_out()
    caller.ask("Fail twice")
    caller.say("Fail when I go on", after_ms=500)
    caller.ask("Leave it", after_ms=700)


def asks_too_often(caller: Caller) -> None:
    caller.hear_out()
    caller.ask("Ask too often")


def gets_half_answers(caller: Caller) -> None:
    caller.hear_out()
    caller.ask("Tell me all", about=FINISHED)
    caller.hear_out()
    caller.ask("Tell me what you must not", about=DECLINED)
    caller.hear_out()
    caller.ask("Tell me all", about=FINISHED, count=2)


def is_failed_for_good(caller: Caller) -> None:
    """The session is given up, and the next one answers."""
    caller.hear_out()
    caller.ask("Fail for good", about=WENT_ON)


def coughs(caller: Caller, session: RealtimeSession) -> None:
    """In gated mode. Then there is a noise as long as a word, and in the end a word."""
    caller.ask("Tell me a story")
    caller.phone.say(silence(500) + COUGH)
    cough = session.await_event("conversation.item.delete", PATIENCE)
    caller.phone.await_assistant(PATIENCE, cough.at)
    caller.phone.say(NOISE).wait(PATIENCE)
    caller.phone.await_assistant(PATIENCE, caller.book.await_answer(RESUMED, PATIENCE))
    caller.ask("Stop", after_ms=500, milliseconds=WORD_MS)
    caller.hear_out()


def play(stage: Theatre, number: int, act: Callable[[Caller], None]) -> CallResult:
    with stage.phone(from_number=f"+1415555010{number}", latency_ms=40) as phone:
        phone.dial()
        phone.await_assistant(PATIENCE, EVER)
        act(Caller(phone, stage.book))
        phone.await_silence(600, PATIENCE)
        phone.hang_up()
        return finished(phone)


@dataclass(frozen=True)
class Performance:
    """All calls of the tests that are not slow; they go on at the same time."""

    by_server: dict[str, CallResult]
    gated: CallResult
    session: RealtimeSession


ACTS = (asks_for_orders, meets_failures, asks_too_often, gets_half_answers, is_failed_for_good)


@pytest.fixture(scope="module")
def performance(by_server: Theatre, gated: Theatre) -> Performance:
    with ThreadPoolExecutor(len(ACTS)) as pool:
        calls = [pool.submit(play, by_server, number, act) for number, act in enumerate(ACTS)]
        with gated.call(latency_ms=40) as (phone, session):
            coughs(Caller(phone, gated.book), session)
            phone.hang_up()
            result = finished(phone)
    results = {act.__name__: call.result() for act, call in zip(ACTS, calls, strict=True)}
    return Performance(results, result, session)


def test_no_busy_dialogue_is_told_that_a_response_is_active(
    by_server: Theatre, performance: Performance
) -> None:
    assert by_server.errors == []
    assert len(by_server.model.sessions) == len(performance.by_server) + 1, "one was failed for good"


def test_no_failed_response_leaves_a_silence(performance: Performance) -> None:
    dead_air = {name: round(result.longest_dead_air_ms()) for name, result in performance.by_server.items()}
    print("longest dead air, in ms:", dead_air)
    # So busy was the machine itself.
    late_ms = max(result.max_lateness_ms for result in performance.by_server.values())
    assert max(dead_air.values()) < DEAD_AIR_MS + late_ms, dead_air


def test_the_journal_has_what_was_said_and_done_in_order(
    by_server: Theatre, performance: Performance
) -> None:
    entries = by_server.stored(performance.by_server["asks_for_orders"].call_sid).entries
    assert [(entry.speaker, entry.text or (entry.tool and entry.tool.arguments)) for entry in entries] == [
        ("assistant", "Hello there"),
        ("caller", "Where are my two orders?"),
        ("assistant", "One moment"),
        ("tool", arguments(17, 0.2)),
        ("tool", arguments(18, 0.5)),
        ("assistant", f"{READY} {READY}"),
        ("caller", "Look again"),
        ("tool", arguments(19, LONG_TOOL_SECONDS)),
        ("caller", "Are you there?"),
        ("assistant", "Yes I am"),
        ("assistant", READY),
        ("caller", "Never mind"),
        ("assistant", "All right"),
    ]
    cut_off = [entry for entry in entries if entry.speaker == "assistant" and entry.heard_text != entry.text]
    assert [entry.text for entry in cut_off] == ["Hello there", f"{READY} {READY}", READY]
    assert all(entry.text.startswith(entry.heard_text) for entry in cut_off)
    assert all(entry.heard_text for entry in cut_off[1:])
    assert all(entry.tool.output for entry in entries if entry.tool is not None)


def test_a_cough_stops_no_answer_a_noise_only_for_a_moment_and_a_word_for_good(
    gated: Theatre, performance: Performance
) -> None:
    result, session = performance.gated, performance.session
    assert gated.errors == []
    assert result.longest_dead_air_ms() < DEAD_AIR_MS
    clears = [clear.at for clear in result.streams[0].clears if clear.dropped]
    starts = [utterance.start + utterance.speech[0] for utterance in result.utterances if utterance.start]
    waited_ms = [(clear - start) / 8 for clear, start in zip(clears, starts[2:], strict=True)]
    assert all(250 < milliseconds < WORD_MS for milliseconds in waited_ms), waited_ms
    deleted = {event["item_id"] for event in session.received if event["type"] == "conversation.item.delete"}
    assert len(deleted) == 2, "the cough and the noise"
    assert not deleted & {item.id for item in session.items}
    speakers = ["assistant", "user", "assistant", "assistant", "user", "assistant"]
    assert [item.role for item in session.items] == speakers
    entries = gated.stored(result.call_sid).entries
    assert [(entry.speaker, entry.text) for entry in entries] == [
        ("assistant", "Hello there"),
        ("caller", "Tell me a story"),
        ("assistant", STORY),
        ("assistant", GOING_ON),
        ("caller", "Stop"),
        ("assistant", "I have stopped"),
    ]
    truncated = [item.truncated_at for item in session.items if item.truncated_at is not None]
    assert [entry.heard_ms for entry in entries[2:4]] == truncated
    for entry in entries[2:4]:
        assert entry.heard_text
        assert entry.heard_text != entry.text
        assert entry.text.startswith(entry.heard_text)


def improvise(caller: Caller, chance: random.Random, seconds: float, goodbye: str) -> None:
    """Says anything at any time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        sentence = chance.choice([*MANNERS, "Are you there?", "Never mind", "Tell me a story"])
        caller.say(
            sentence, after_ms=chance.randrange(0, 2500, 20), milliseconds=chance.choice((200, 300, 900))
        )
    caller.ask(goodbye, after_ms=500)


@pytest.fixture(scope="module")
def far_from_the_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("far"), ASSISTANT, latency_ms=80) as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_no_improvised_dialogue_is_told_so_either(by_server: Theatre) -> None:
    improvise_many(by_server)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nor_is_one_in_gated_mode(gated: Theatre) -> None:
    improvise_many(gated)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nor_is_one_far_from_the_model_where_much_crosses_on_the_way(far_from_the_model: Theatre) -> None:
    improvise_many(far_from_the_model)


def improvise_many(theatre: Theatre) -> None:
    acts = [
        partial(improvise, chance=random.Random(seed), seconds=30, goodbye=goodbye)
        for seed, goodbye in enumerate(GOODBYES)
    ]
    with ThreadPoolExecutor(len(acts)) as pool:
        calls = [pool.submit(play, theatre, number, act) for number, act in enumerate(acts)]
    results = [call.result() for call in calls]
    assert theatre.errors == []
    dead_air = [round(result.longest_dead_air_ms()) for result in results]
    print("longest dead air, in ms:", dead_air)
    assert max(dead_air) < IMPROVISED_DEAD_AIR_MS
    for result in results:
        entries = theatre.stored(result.call_sid).entries
        assert all(entry.text.startswith(entry.heard_text) for entry in entries)
        assert any(entry.heard_text.endswith("Bye") for entry in entries[-3:])
