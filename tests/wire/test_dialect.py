"""How the dialects differ, checked against the openai SDK's own types where they know better than we do."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.types.realtime import SessionUpdateEvent
from pydantic import BaseModel

from wire.audio_format import PCM24
from wire.dialect import AZURE, BETA, DIALECTS, OPENAI, Dialect, Session

VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
}
SESSION = Session(
    instructions="You answer the telephone.",
    voice="marin",
    turn_detection=VAD,
    transcription={"model": "gpt-transcribe", "language": "en", "keywords": ["Tailwind"]},
    noise_reduction="near_field",
    speed=1.1,
)
BARE = Session(instructions="", voice="cedar", turn_detection={"type": "semantic_vad", "eagerness": "low"})
TOOL = {"type": "function", "name": "look_up", "description": "Looks up", "parameters": {"type": "object"}}


def update(dialect: Dialect, session: Session) -> dict[str, Any]:
    event = orjson.loads(dialect.session_update(session))
    assert event["type"] == "session.update"
    found = event["session"]
    assert isinstance(found, dict)
    return found


def unknown_fields(model: object, path: str = "") -> list[str]:
    """Fields that the SDK's type does not have; it keeps them without a word."""
    if isinstance(model, BaseModel):
        own = [f"{path}.{name}" for name in model.model_extra or {}]
        return own + [
            each
            for name in type(model).model_fields
            for each in unknown_fields(getattr(model, name), f"{path}.{name}")
        ]
    if isinstance(model, list):
        return [each for index, item in enumerate(model) for each in unknown_fields(item, f"{path}[{index}]")]
    return []


@pytest.mark.parametrize("dialect", [OPENAI, AZURE], ids=lambda dialect: dialect.name)
def test_a_ga_session_names_its_type(dialect: Dialect) -> None:
    assert update(dialect, SESSION)["type"] == "realtime"


@pytest.mark.parametrize("dialect", [OPENAI, AZURE], ids=lambda dialect: dialect.name)
def test_a_ga_session_has_pcmu_without_a_rate_both_ways(dialect: Dialect) -> None:
    audio = update(dialect, SESSION)["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}


def test_a_ga_session_has_no_key_of_the_beta() -> None:
    beta_only = set(update(BETA, SESSION)) - {"instructions", "tools", "tool_choice"}
    assert beta_only
    assert not beta_only & set(update(OPENAI, SESSION))


def test_a_ga_session_carries_everything_that_was_configured() -> None:
    assert update(OPENAI, SESSION) == {
        "type": "realtime",
        "instructions": "You answer the telephone.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "gpt-transcribe", "language": "en", "keywords": ["Tailwind"]},
                "turn_detection": VAD,
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
        },
        "tools": [],
        "tool_choice": "auto",
    }


@pytest.mark.parametrize("session", [SESSION, BARE, Session("", "ash", VAD, tools=(TOOL,))])
def test_the_sdk_knows_every_field_of_a_ga_session(session: Session) -> None:
    event = SessionUpdateEvent.model_validate_json(OPENAI.session_update(session))
    assert unknown_fields(event) == []
    assert event.to_dict(mode="json")["session"] == update(OPENAI, session)


def test_a_field_that_the_sdk_does_not_know_would_be_noticed() -> None:
    wrong = orjson.loads(OPENAI.session_update(SESSION))
    wrong["session"]["temperature"] = 0.8
    assert unknown_fields(SessionUpdateEvent.model_validate(wrong)) == [".session.temperature"]


def test_what_is_switched_off_is_null_and_not_left_out() -> None:
    audio_input = update(OPENAI, BARE)["audio"]["input"]
    assert audio_input["noise_reduction"] is None
    assert audio_input["transcription"] is None
    beta = update(BETA, BARE)
    assert beta["input_audio_noise_reduction"] is None
    assert beta["input_audio_transcription"] is None


def test_a_beta_session_is_flat_and_uses_the_names_of_the_beta() -> None:
    session = update(BETA, SESSION)
    assert session["input_audio_format"] == session["output_audio_format"] == "g711_ulaw"
    assert session["modalities"] == ["audio", "text"]
    assert session["voice"] == "marin"
    assert session["turn_detection"] == VAD
    assert "type" not in session
    assert "audio" not in session


def test_only_the_beta_sends_the_beta_header() -> None:
    assert OPENAI.headers("sk-1") == ("Authorization: Bearer sk-1",)
    assert BETA.headers("sk-1") == ("Authorization: Bearer sk-1", "OpenAI-Beta: realtime=v1")


def test_azure_has_a_header_of_its_own() -> None:
    assert AZURE.headers("az-1") == ("api-key: az-1",)


def test_the_model_is_a_query_parameter_and_escaped() -> None:
    assert (
        OPENAI.address("wss://h/v1/realtime", "gpt-realtime-2.1")
        == "wss://h/v1/realtime?model=gpt-realtime-2.1"
    )
    assert AZURE.address("wss://h/r", "my model&x=/1") == "wss://h/r?model=my%20model%26x%3D%2F1"


def test_a_dialect_is_found_by_its_name() -> None:
    assert DIALECTS == {"openai": OPENAI, "azure": AZURE, "beta": BETA}


@pytest.mark.parametrize(
    ("turn_detection", "interruptible"),
    [({}, True), ({"interrupt_response": True}, True), ({"interrupt_response": False}, False)],
)
def test_a_session_is_interruptible_unless_it_says_not(
    turn_detection: dict[str, Any], interruptible: bool
) -> None:
    assert Session("", "ash", turn_detection).interruptible is interruptible


@pytest.mark.parametrize(
    ("turn_detection", "answers"),
    [({}, True), ({"create_response": True}, True), ({"create_response": False}, False)],
)
def test_a_server_answers_turns_by_itself_unless_it_is_told_not_to(
    turn_detection: dict[str, Any], answers: bool
) -> None:
    assert Session("", "ash", turn_detection).answers_turns is answers


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_an_update_of_turn_detection_stands_where_the_session_has_it_and_says_nothing_else(
    dialect: Dialect,
) -> None:
    """protocol-gotchas 3: a voice or a format in a later update resets the one or is refused for the other."""
    other = {"type": "server_vad", "threshold": 0.7}
    sent = orjson.loads(dialect.turn_detection_update(other))
    assert sent == {
        "type": "session.update",
        "session": {"turn_detection": other}
        if dialect is BETA
        else {"type": "realtime", "audio": {"input": {"turn_detection": other}}},
    }
    whole = update(dialect, replace(SESSION, turn_detection=other))
    assert (whole if dialect is BETA else whole["audio"]["input"])["turn_detection"] == other


def test_a_session_of_a_server_that_speaks_pcm_only_says_so_both_ways() -> None:
    session = replace(SESSION, audio=PCM24)
    audio = orjson.loads(OPENAI.session_update(session))["session"]["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    flat = orjson.loads(BETA.session_update(session))["session"]
    assert flat["input_audio_format"] == flat["output_audio_format"] == "pcm16"
