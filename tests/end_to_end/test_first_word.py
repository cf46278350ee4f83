"""How soon the first word is heard where the model is far away: the greeting is kept, and sessions are warm."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulator.call_result import CallResult
from simulator.phone_events import AssistantAudible, StreamOpened
from simulator.realtime import OfflineModel
from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from tests.end_to_end.relay import Relay
from tests.end_to_end.stage import EVER, PATIENCE, Greeting, Stage, finished, server_settings
from tests.probe import wait_until

ONE_WAY_MS = 100
"""To the model: 200 there and back."""

GREETING = "one two three four five six seven eight nine ten eleven twelve"
GREETING_MS = 4000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Obedient(Greeting):
    """Says the words that it is told to say, in a long tone."""

    def follow(self, instructions: str) -> ScriptedReply:
        return ScriptedReply(instructions.split('"')[1], audio=tone(GREETING_MS))


@contextmanager
def far_model() -> Iterator[tuple[OfflineModel, Obedient, str]]:
    """A model, and its URL at the far end of a long way."""
    script = Obedient()
    with OfflineModel(pace=100, **script.equipment()) as model:
        address = urlsplit(model.url)
        with Relay(lambda: address.netloc, ONE_WAY_MS) as relay:
            yield model, script, address._replace(netloc=relay.address).geturl()


def write_assistant(directory: Path, greeting: str = GREETING) -> None:
    (directory / "assistant.toml").write_text(f'instructions = "You are a test."\ngreeting = "{greeting}"\n')


@contextmanager
def served(model: OfflineModel, script: Obedient, url: str, directory: Path, **more: str) -> Iterator[Stage]:
    settings = server_settings(model, directory) | {
        "OPENAI_REALTIME_URL": url,
        "ASSISTANT": str(directory / "assistant.toml"),
        **more,
    }
    with ServerProcess(settings, directory) as server:
        yield Stage(server, model, script)


def asked_to_greet(session: RealtimeSession) -> bool:
    return "response.create" in [event["type"] for event in session.received]


def told(session: RealtimeSession) -> list[str]:
    """The texts that the session was told."""
    return [
        event["item"]["content"][0]["text"]
        for event in session.received
        if event["type"] == "conversation.item.create"
    ]


def first_word_ms(result: CallResult) -> float:
    """From the stream's `start` to the first audible sample at the phone."""
    opened = next(event.at for event in result.events if isinstance(event, StreamOpened))
    return (heard_at(result) - opened) * 1000


def heard_at(result: CallResult) -> float:
    """When the first audible sample was at the phone, in seconds since it dialled."""
    return next(event.at for event in result.events if isinstance(event, AssistantAudible))


def greet(stage: Stage) -> tuple[float, RealtimeSession]:
    """A call that is hung up when the greeting has been heard."""
    with stage.call() as (phone, session):
        phone.hang_up()
        return first_word_ms(finished(phone)), session


def test_the_first_word_is_heard_before_the_models_session_is_ready(tmp_path: Path) -> None:
    write_assistant(tmp_path)
    with far_model() as (model, script, url):
        with served(model, script, url, tmp_path) as stage:
            from_the_model, session = greet(stage)
            assert asked_to_greet(session)
            before = len(model.sessions)
            with stage.phone() as phone:
                dialled_at = time.monotonic()
                phone.dial()
                phone.await_assistant(PATIENCE, EVER)
                phone.await_silence(300, PATIENCE)
                phone.hang_up()
                result = finished(phone)
                kept = first_word_ms(result)
            session = model.await_session(before + 1, PATIENCE)
            configured_after = session.await_event("session.update", PATIENCE).at - dialled_at
            assert heard_at(result) < configured_after, (
                "the first word was heard before it was even configured"
            )
            assert session.closed.wait(PATIENCE)
            assert not asked_to_greet(session), "it is said once"
            assert told(session) == [GREETING]
            print(f"first word: {from_the_model:.0f} ms from the model, {kept:.0f} ms kept")

        other = tmp_path / "other"
        other.mkdir()
        database = {"DATABASE_URL": f"sqlite:///{tmp_path / 'switchboard.db'}"}
        write_assistant(other)
        with served(model, script, url, other, **database) as stage:
            in_another_process, session = greet(stage)
            assert not asked_to_greet(session)
            print(f"first word: {in_another_process:.0f} ms kept by another process")
            write_assistant(other, "Good evening to you all")
            wait_until(lambda: asked_to_greet(greet(stage)[1]), "the new greeting is asked for")
            assert "one two" not in str(model.sessions[-1].received), "a changed greeting is not the old one"


def test_who_interrupts_the_kept_greeting_is_answered_by_who_knows_what_was_heard(tmp_path: Path) -> None:
    write_assistant(tmp_path)
    with far_model() as (model, script, url), served(model, script, url, tmp_path) as stage:
        greet(stage)
        before = len(model.sessions)
        with stage.phone() as phone:
            phone.dial()
            phone.await_assistant(PATIENCE, EVER)
            phone.say(silence(1200) + tone(400)).wait(PATIENCE)
            session = model.await_session(before + 1, PATIENCE)
            session.await_event("conversation.item.delete", PATIENCE)
            phone.await_silence(300, PATIENCE)
            phone.hang_up()
            result = finished(phone)
        whole, heard = told(session)
        (clear,) = [clear for clear in result.streams[0].clears if clear.dropped]
    assert whole == GREETING
    share = clear.position / 8 / GREETING_MS
    assert GREETING.startswith(heard)
    assert len(heard) == pytest.approx(len(GREETING) * share, abs=8), "to a word"


def test_a_warm_session_is_used_replaced_and_gone_with_the_server(tmp_path: Path) -> None:
    write_assistant(tmp_path)
    with far_model() as (model, script, url):
        with served(model, script, url, tmp_path, WARM_SESSIONS="2") as stage:
            model.await_session(4, PATIENCE)  # two for each of two workers
            assert not any(session.received for session in model.sessions)
            with ExitStack() as stack:
                phone = stack.enter_context(stage.phone())
                phone.dial()
                phone.await_assistant(PATIENCE, EVER)
                model.await_session(5, PATIENCE)
                (used,) = [session for session in model.sessions if session.received]
                assert used in model.sessions[:4]
                phone.hang_up()
                finished(phone)
                assert used.closed.wait(PATIENCE)
                assert not any(session.closed.is_set() for session in model.sessions if session is not used)
            ready = re.findall(r"session ready after (\d+) ms", stage.log())
            print(f"session ready after {ready} ms, 200 ms away")
        for session in model.sessions:
            assert session.closed.wait(PATIENCE), "none is left when the server has ended"
