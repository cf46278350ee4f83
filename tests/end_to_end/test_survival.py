"""Twenty calls whose process is killed, reloaded or told to stop: all of them go on."""

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.call_result import CallResult
from simulator.line import Utterance
from simulator.phone import Phone
from simulator.phone_events import Spoke
from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from store.database import Database
from store.journal import CallJournal
from tests.end_to_end.phrasebook import Phrasebook, spoken
from tests.end_to_end.relay import Relay, first_ready
from tests.end_to_end.stage import EVER, PATIENCE, Stage, ask, server_settings
from tests.probe import wait_until

CALLS = 20
DEAD_AIR_MS = 2000
MEASURED_MS = 300
"""How much of that may be the machine's, which runs twenty phones, the model and the servers."""
RESUMED_SECONDS = 20.0

ASSISTANT = """
name = "Tests"
instructions = "You are a test."
greeting = "Hello there"
greeting_kept = false
"""
GREETED, WENT_ON = "Say exactly these words", "goes on now"
GREETING_MS = 400
STORY = " ".join(f"word{number}" for number in range(200))
UNKNOWN_MS = 2000
"""How far the caller has heard an answer is told in steps of half a second, and written down a moment later: some
950 ms, and what a busy machine adds."""
NOON = "It is noon"
REST = "and so on until the end"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


def book() -> Phrasebook:
    return Phrasebook(
        {
            "Tell me a story": [spoken(STORY, 40_000)],
            "What time is it?": [spoken(NOON, 600)],
            "And what day?": [spoken("It is Monday", 600)],
            "I have a long question": [spoken("Here is a short answer", 600)],
        },
        {GREETED: [spoken("Hello there", GREETING_MS)], WENT_ON: [spoken(REST, 20_000)]},
    )


@dataclass
class Call:
    """One of the twenty. While its process ends, the assistant is telling a story, the caller speaks, or nobody."""

    phone: Phone
    listens: bool = False
    speech: Utterance | None = None


class LateBalancer(Relay):
    """Sends what begins like this, the first time, to a machine that is dead: whoever asked gets no answer."""

    def __init__(self, choose: Callable[[], str], lost: bytes) -> None:
        super().__init__(choose)
        self._lost = lost
        self.has_lost = False

    def _serve(self, client: socket.socket) -> None:
        if not self.has_lost and client.recv(len(self._lost), socket.MSG_PEEK) == self._lost:
            self.has_lost = True
            client.close()
            return
        super()._serve(client)


@contextmanager
def model_and_script() -> Iterator[tuple[OfflineModel, Phrasebook]]:
    script = book()
    with OfflineModel(pace=8, **script.equipment()) as model:
        yield model, script


def settings(model: OfflineModel, directory: Path, **more: str) -> dict[str, str]:
    assistant = directory / "assistant.toml"
    assistant.write_text(ASSISTANT)
    return server_settings(model, directory) | {"ASSISTANT": str(assistant), "THREADS": "32", **more}


def database_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'switchboard.db'}"


@contextmanager
def twenty_calls(stage: Stage, script: Phrasebook) -> Iterator[list[Call]]:
    """Twenty calls: half of them listen to a story, the others have had an answer."""
    with ExitStack() as stack:
        calls = [
            Call(
                stack.enter_context(stage.phone(from_number=f"+141555503{number:02}", speak=lambda text: b""))
            )
            for number in range(CALLS)
        ]
        for call in calls:
            call.phone.dial()
        for call in calls:
            call.phone.await_assistant(PATIENCE, EVER)
            call.phone.await_silence(300, PATIENCE)
        questions = []
        for number, call in enumerate(calls):
            call.listens = number % 2 == 0
            questions.append(
                call.phone.say(script.audio("Tell me a story" if call.listens else "What time is it?"))
            )
        for call, question in zip(calls, questions, strict=True):
            question.wait(PATIENCE)
            call.phone.await_assistant(PATIENCE, question.speech_ended)
        for call in calls:
            if not call.listens:
                call.phone.await_silence(300, PATIENCE)
        yield calls


def begin_to_speak(calls: list[Call], script: Phrasebook) -> None:
    """In a quarter of the calls; to be called right before the process ends, as they say it in six seconds.

    Three were over before a busy machine had opened the other streams, and of what nobody hears nobody knows.
    """
    for call in calls[1::4]:
        call.speech = call.phone.say(script.audio("I have a long question", 6000))


def await_written(database_url: str, calls: list[Call]) -> None:
    """Until the journal knows that the answers were heard: who is killed takes along what a moment ago was."""
    database = Database(database_url)
    journal = CallJournal(database)

    def written(call: Call) -> bool:
        known = journal.load(call.phone.call_sid)
        return known is not None and any(entry.heard_text == NOON for entry in known.entries)

    try:
        for call in calls:
            if not call.listens:
                wait_until(lambda call=call: written(call), f"{NOON} is in the journal", PATIENCE)  # type: ignore[misc]
    finally:
        journal.close()
        database.close()


def go_on(calls: list[Call], script: Phrasebook) -> list[CallResult]:
    """See to it that every call has come to another stream, and is answered there; then hang up."""
    for call in calls:
        call.phone.await_stream(RESUMED_SECONDS, number=2)
    spoken_last = [
        call.speech or (None if call.listens else call.phone.say(script.audio("And what day?")))
        for call in calls
    ]
    for call, speech in zip(calls, spoken_last, strict=True):
        if speech is not None:
            speech.wait(PATIENCE)
        call.phone.await_assistant(PATIENCE, None if speech is None else speech.speech_ended)
    for call in calls:
        call.phone.hang_up()
    return [call.phone.await_end(PATIENCE) for call in calls]


def check(results: list[CallResult], sessions: tuple[RealtimeSession, ...], script: Phrasebook) -> None:
    """None was cut, all know what was said before, none was greeted twice."""
    assert [result.reason for result in results] == ["caller"] * CALLS
    assert not any(isinstance(event, Spoke) for result in results for event in result.events)
    told = [[(item.role, item.text) for item in session.items] for session in last_of_each(sessions)]
    assert len(told) == CALLS
    assert [texts for texts in told if texts[:1] != [("assistant", "Hello there")]] == []
    stories = [texts for texts in told if texts[1:2] == [("user", "Tell me a story")]]
    assert len(stories) == CALLS // 2
    assert [texts for texts in stories if texts[-1] != ("assistant", REST)] == []
    others = [texts for texts in told if texts not in stories]
    known = [("user", "What time is it?"), ("assistant", NOON)]
    assert [texts for texts in others if texts[1:3] != known] == []
    assert sum(GREETED in question for _, question in script.asked) == CALLS


def last_of_each(sessions: tuple[RealtimeSession, ...]) -> list[RealtimeSession]:
    """The last session of each call that was told anything: where a worker ends slowly, a call may move twice.

    The first item is the greeting, which has the same identifier in all sessions of its call, and in no other's.
    """
    return list({session.items[0].id: session for session in sessions if session.items}.values())


def check_stories(
    database_url: str, calls: list[Call], results: list[CallResult], sessions: tuple[RealtimeSession, ...]
) -> None:
    """Of a story that broke off, the model is told what the caller had heard of it, and never more."""
    database = Database(database_url)
    journal = CallJournal(database)
    try:
        stored = [journal.load(result.call_sid) for result in results]
    finally:
        journal.close()
        database.close()
    behind, heirs = [], last_of_each(sessions)
    for call, result, known in zip(calls, results, stored, strict=True):
        assert known is not None
        if call.listens:
            [story] = [entry for entry in known.entries if entry.text and STORY.startswith(entry.text)]
            [told] = [item.text for session in heirs for item in session.items if item.id == story.item_id]
            assert told == story.heard_text
            assert STORY.startswith(told)
            played_ms = sum(media.played for media in result.streams[0].media) / 8
            behind.append(played_ms - GREETING_MS - story.heard_ms)
    print(f"not known to have been heard: the last {min(behind):.0f} to {max(behind):.0f} ms")
    assert min(behind) >= 0
    assert max(behind) < UNKNOWN_MS


def dead_air_ms(call: Call, result: CallResult) -> float:
    """From the end of the first stream to the next word of the assistant, if it was its turn, or was then."""
    closed = result.streams[0].closed
    assert closed is not None
    speech = result.utterances[-1]
    due = closed
    if not call.listens:
        assert speech.start is not None
        due = speech.start + speech.speech[1]
    if not any(end > due for _, end in result.audible):
        # The stream closed later than expected: the caller had said everything and been answered.
        assert call.speech is not None
        assert speech.start is not None
        due = closed = speech.start + speech.speech[1]
    # Where what comes next follows within a pause between words, it is one stretch with what was heard before.
    answered = next(max(start, due) for start, end in result.audible if end > due)
    return result.longest_dead_air_ms((due if call.speech is None else closed) / 8000, answered / 8000)


def report(what: str, calls: list[Call], results: list[CallResult]) -> float:
    """The longest dead air in ms, but for what the phones themselves were late: so busy was the machine."""
    waits: dict[str, list[float]] = {"assistant": [], "caller": [], "nobody": []}
    for call, result in zip(calls, results, strict=True):
        speaker = "assistant" if call.listens else "nobody" if call.speech is None else "caller"
        waits[speaker].append(dead_air_ms(call, result))
    longest = {speaker: round(max(each)) for speaker, each in waits.items()}
    late_ms = max(result.max_lateness_ms for result in results)
    print(f"{what}: {len(results)} of {CALLS} went on; longest dead air, in ms, by who spoke: {longest}")
    print(f"the phones were up to {late_ms:.0f} ms late themselves")
    return max(longest.values()) - late_ms


def readiness(server: ServerProcess) -> dict[str, object]:
    with urllib.request.urlopen(f"{server.url}/ready", timeout=PATIENCE) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def children(server: ServerProcess) -> list[int]:
    path = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def balanced(urls: list[str]) -> str:
    """Where a load balancer that knows these servers sends a connection, as host:port."""
    addresses = [url.removeprefix("http://") for url in urls]
    return addresses[0] if len(addresses) == 1 else first_ready(addresses)


def test_the_calls_of_a_killed_worker_go_on_in_the_other(tmp_path: Path) -> None:
    with (
        model_and_script() as (model, script),
        ServerProcess(settings(model, tmp_path, WORKERS="1"), tmp_path) as server,
        twenty_calls(Stage(server, model, script), script) as calls,
    ):
        [loaded] = children(server)
        os.kill(server.pid, signal.SIGTTIN)  # one worker more, which has no calls
        while readiness(server)["calls"]:
            time.sleep(0.05)  # another process has no event to give
        await_written(database_url(tmp_path), calls)
        begin_to_speak(calls, script)
        os.kill(loaded, signal.SIGKILL)
        results = go_on(calls, script)
    check(results, model.sessions[CALLS:], script)
    check_stories(database_url(tmp_path), calls, results, model.sessions[CALLS:])
    longest = report("kill -9 of one of two workers", calls, results)
    assert longest < DEAD_AIR_MS + MEASURED_MS


def test_the_calls_of_a_killed_worker_go_on_in_its_successor(tmp_path: Path) -> None:
    with (
        model_and_script() as (model, script),
        ServerProcess(settings(model, tmp_path, WORKERS="1"), tmp_path) as server,
        twenty_calls(Stage(server, model, script), script) as calls,
    ):
        await_written(database_url(tmp_path), calls)
        begin_to_speak(calls, script)
        os.kill(children(server)[0], signal.SIGKILL)
        results = go_on(calls, script)
    check(results, model.sessions[CALLS:], script)
    check_stories(database_url(tmp_path), calls, results, model.sessions[CALLS:])
    longest = report("kill -9 of the only worker", calls, results)
    assert longest < DEAD_AIR_MS + MEASURED_MS


def test_a_call_goes_on_though_what_twilio_asks_behind_its_stream_still_goes_to_the_dead(
    tmp_path: Path,
) -> None:
    with (
        model_and_script() as (model, script),
        LateBalancer(lambda: balanced([server.url]), b"POST /twiml/ended") as balancer,
    ):
        address = f"http://{balancer.address}"
        own = settings(model, tmp_path, WORKERS="1", PUBLIC_URL=address)
        with ServerProcess(own, tmp_path) as server:
            stage = Stage(server, model, script)
            stage.url = address
            with stage.call(fallback_url=f"{address}/twiml") as (phone, _):
                os.kill(children(server)[0], signal.SIGKILL)
                phone.await_stream(RESUMED_SECONDS, number=2)
                ask(phone, script.audio("What time is it?"))
                phone.hang_up()
                result = phone.await_end(PATIENCE)
    assert balancer.has_lost
    assert [error.code for error in result.errors if "/twiml/ended" in error.message] == [11200]
    assert not any(isinstance(event, Spoke) for event in result.events)
    [second] = last_of_each(model.sessions)
    texts = [item.text for item in second.items]
    assert (texts[0], texts[-1]) == ("Hello there", NOON), "the same conversation"


def test_a_reload_cuts_none_of_twenty_calls(tmp_path: Path) -> None:
    with (
        model_and_script() as (model, script),
        ServerProcess(settings(model, tmp_path, DRAIN_SECONDS="3"), tmp_path) as server,
        twenty_calls(Stage(server, model, script), script) as calls,
    ):
        begin_to_speak(calls, script)
        os.kill(server.pid, signal.SIGHUP)
        results = go_on(calls, script)
    check(results, model.sessions[CALLS:], script)
    check_stories(database_url(tmp_path), calls, results, model.sessions[CALLS:])
    longest = report("SIGHUP", calls, results)
    assert longest < DEAD_AIR_MS + MEASURED_MS


def test_the_calls_of_a_server_that_is_told_to_stop_go_on_in_the_other(tmp_path: Path) -> None:
    deployed: list[ServerProcess] = []
    known: list[str] = []
    with (
        model_and_script() as (model, script),
        Relay(lambda: balanced(known)) as balancer,
        ExitStack() as stack,
    ):
        address = f"http://{balancer.address}"
        for directory in (tmp_path / "first", tmp_path / "second"):
            directory.mkdir()
            own = settings(model, directory, PUBLIC_URL=address, DRAIN_SECONDS="3")
            own["DATABASE_URL"] = database_url(tmp_path)
            deployed.append(stack.enter_context(ServerProcess(own, directory)))
        first, second = deployed
        # Not both yet: a busy machine's may be late to say that it is ready, and the other take the call.
        known.append(first.url)
        stage = Stage(first, model, script)
        stage.url = address
        with twenty_calls(stage, script) as calls:
            assert "stream 1 started" not in second.log.read_text()
            begin_to_speak(calls, script)
            known.append(second.url)
            first.tell_to_stop()
            results = go_on(calls, script)
            assert first.stop() == 0
        assert second.log.read_text().count("stream 2 started") == CALLS
    check(results, model.sessions[CALLS:], script)
    check_stories(database_url(tmp_path), calls, results, model.sessions[CALLS:])
    longest = report("SIGTERM of one of two servers", calls, results)
    assert longest < DEAD_AIR_MS + MEASURED_MS
