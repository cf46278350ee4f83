"""Calls, from greeting to hang-up."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.phone import Phone
from simulator.phone_events import Spoke
from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from tests.end_to_end.stage import (
    AUTH_TOKEN,
    EVER,
    GREETING_MS,
    PATIENCE,
    Stage,
    ask,
    finished,
    server_settings,
)


def test_a_call_from_greeting_to_hang_up(stage: Stage) -> None:
    question = tone(600)
    with stage.call() as (phone, session):
        ask(phone, question)
        phone.await_silence(100, PATIENCE)
        phone.hang_up()
        result = finished(phone)
    assert session.closed.wait(PATIENCE), "the model's session is closed"
    assert session.close_code == 1000
    assert question in session.audio
    assert [item.role for item in session.items] == ["assistant", "user", "assistant"]
    assert result.turns()[0].response_ms is not None


def test_the_session_is_configured_before_any_audio_goes_in(stage: Stage) -> None:
    with stage.call() as (phone, session):
        update = session.received[0]
        phone.hang_up()
        phone.await_end(PATIENCE)
    assert update["type"] == "session.update"
    audio = update["session"]["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}
    assert [event["type"] for event in session.received].count("response.create") == 1


def test_every_byte_of_the_caller_reaches_the_model_in_order(stage: Stage) -> None:
    """Also what is said while the session is being set up."""
    spoken = bytes(secrets.randbelow(256) for _ in range(160 * 60))
    before = len(stage.model.sessions)
    with stage.phone() as phone:
        phone.dial()
        phone.await_stream(PATIENCE)  # what is said before it is open, Twilio has nobody to send to
        phone.say(spoken + silence(300)).wait(PATIENCE)
        session = stage.model.await_session(before + 1, PATIENCE)
        phone.hang_up()
        phone.await_end(PATIENCE)
    assert session.closed.wait(PATIENCE)
    assert spoken in session.audio


@pytest.mark.parametrize("latency_ms", [pytest.param(20, marks=pytest.mark.slow), 100])
def test_an_interruption_truncates_at_what_the_caller_heard(stage: Stage, latency_ms: int) -> None:
    stage.script.answers = [ScriptedReply("a long answer", audio=tone(8000))]
    with stage.call(latency_ms=latency_ms) as (phone, session):
        ask(phone, tone(300))
        phone.say(tone(1500)).wait(PATIENCE)
        truncation = session.await_event("conversation.item.truncate", PATIENCE)
        phone.await_silence(100, PATIENCE)
        phone.hang_up()
        result = finished(phone)
    [clear] = [clear for clear in result.streams[0].clears if clear.dropped]
    heard_ms = (clear.position / 8) - GREETING_MS
    assert truncation["audio_end_ms"] == pytest.approx(heard_ms, abs=40 + result.max_lateness_ms)
    assert clear.dropped_ms > 4000, "the rest of the answer was thrown away"


@pytest.mark.slow
def test_an_answer_that_was_heard_to_its_end_is_not_truncated(stage: Stage) -> None:
    """protocol-gotchas 12"""
    with stage.call() as (phone, session):
        for _ in range(2):
            ask(phone, tone(300))
            phone.await_silence(300, PATIENCE)
        phone.hang_up()
        finished(phone)
    kinds = {event["type"] for event in session.received}
    assert not {"conversation.item.truncate", "conversation.item.delete"} & kinds


def test_keys_are_taken(stage: Stage) -> None:
    with stage.call() as (phone, _):
        phone.press("5")
        stage.await_log(f"{phone.call_sid}: caller pressed a key")
        phone.hang_up()
        finished(phone)


@pytest.mark.slow
def test_a_model_that_speaks_pcm_only_is_transcoded_for(stage: Stage, tmp_path: Path) -> None:
    settings = server_settings(stage.model, tmp_path) | {"OPENAI_REALTIME_AUDIO": "pcm24"}
    before = len(stage.model.sessions)
    with ServerProcess(settings, tmp_path) as server:
        with Phone(f"{server.url}/twiml", auth_token=AUTH_TOKEN) as phone:
            phone.dial()
            phone.await_assistant(PATIENCE, EVER)
            phone.await_silence(300, PATIENCE)
            ask(phone, tone(600))
            phone.await_silence(300, PATIENCE)
            phone.hang_up()
            result = finished(phone)
        session = stage.model.sessions[before]
        assert session.closed.wait(PATIENCE)
    formats = session.received[0]["session"]["audio"]
    assert formats["input"]["format"] == formats["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert result.turns()[0].response_ms is not None, "the caller was understood, and heard the answer"
    played_ms = sum(media.played for media in result.streams[0].media) / 8
    assert played_ms == pytest.approx(GREETING_MS + 300, abs=20), (
        "neither longer nor shorter than it was said"
    )


# Endings


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda session: session.close(1000, "done"), id="closed", marks=pytest.mark.slow),
        pytest.param(RealtimeSession.drop, id="broken"),
    ],
)
def test_a_model_that_is_lost_is_replaced_by_one_that_knows_the_conversation(
    stage: Stage, end: Callable[[RealtimeSession], None]
) -> None:
    with stage.call(speak=lambda text: b"") as (phone, session):
        before = len(stage.model.sessions)
        end(session)
        successor = stage.model.await_session(before + 1, PATIENCE)
        successor.await_event("conversation.item.create", PATIENCE)
        ask(phone, tone(600))
        phone.await_silence(300, PATIENCE)
        phone.hang_up()
        result = finished(phone)
    assert [item.role for item in successor.items] == ["assistant", "user", "assistant"]
    assert successor.items[0].id == session.items[0].id
    assert not any(isinstance(event, Spoke) for event in result.events)


def test_a_phone_whose_connection_breaks_closes_the_model(stage: Stage) -> None:
    with stage.call() as (phone, session):
        phone.drop()
        assert session.closed.wait(PATIENCE)


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_lets_go_of_its_calls_first(stage: Stage, tmp_path: Path) -> None:
    with ServerProcess(server_settings(stage.model, tmp_path), tmp_path) as server:
        before = len(stage.model.sessions)
        with Phone(f"{server.url}/twiml", auth_token=AUTH_TOKEN, speak=lambda text: b"") as phone:
            phone.dial()
            phone.await_assistant(PATIENCE, EVER)
            session = stage.model.await_session(before + 1, PATIENCE)
            assert server.stop() == 0
            assert session.closed.wait(PATIENCE)
            assert session.close_code == 1000
            result = finished(phone)
    assert result.streams[0].close_code == 1000
    assert result.reason == "hangup", "somebody was still there to answer Twilio's next question"
