"""The strictness of the offline server: which client events it refuses, and in which words."""

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.refusal import RefusalError
from simulator.schema import EVENTS, MAX_DEPTH, check, decode_audio, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)


def refusal(event: dict[str, Any]) -> tuple[str | None, str | None, str]:
    with pytest.raises(RefusalError) as refused:
        check(event)
    return refused.value.code, refused.value.param, refused.value.message


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def audio(**fields: Any) -> dict[str, Any]:
    return session(audio={"input": fields})


@pytest.mark.parametrize(
    "event",
    [
        session(),
        session(instructions="", tools=[], max_output_tokens="inf", truncation="auto", tracing=None),
        session(output_modalities=["text"], tool_choice={"type": "function", "name": "f"}),
        session(truncation={"type": "retention_ratio", "retention_ratio": 0.8}),
        session(tools=[{"type": "function", "name": "f", "description": "d", "parameters": {}}]),
        session(tools=[{"type": "mcp", "server_label": "l", "server_url": "https://example.com"}]),
        session(reasoning={"effort": "low"}, parallel_tool_calls=True),
        session(audio={"output": {"voice": {"id": "voice_1"}, "speed": 1}}),
        audio(format={"type": "audio/pcmu"}, turn_detection=None, noise_reduction=None, transcription=None),
        audio(format={"type": "audio/pcm", "rate": 24000}, noise_reduction={"type": "near_field"}),
        audio(turn_detection={"type": "server_vad", "threshold": 1, "idle_timeout_ms": None}),
        audio(turn_detection={"type": "semantic_vad", "eagerness": "low"}),
        audio(transcription={"model": "gpt-realtime-whisper", "delay": "low"}),
        audio(transcription={"model": "gpt-transcribe", "language": "en", "keywords": ["Tailwind"]}),
        {"type": "input_audio_buffer.append", "audio": "//8="},
        {"type": "input_audio_buffer.commit", "event_id": "e"},
        {"type": "input_audio_buffer.clear"},
        {"type": "output_audio_buffer.clear"},
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "VIP"}]},
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi"}],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "{}"},
        },
        {"type": "conversation.item.retrieve", "item_id": "i"},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1500},
        {"type": "conversation.item.delete", "item_id": "i"},
        {"type": "response.create"},
        {
            "type": "response.create",
            "response": {"instructions": "Greet.", "conversation": "none", "input": []},
        },
        {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "i"}]}},
        {"type": "response.cancel", "response_id": "resp_1"},
    ],
)
def test_documented_events_pass(event: dict[str, Any]) -> None:
    check(event)


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({}, "invalid_event", None),
        ({"type": "session.updated"}, "invalid_value", "type"),
        ({"type": 7}, "invalid_value", "type"),
        ({"type": ["session.update"]}, "invalid_value", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        (
            {"type": "session.update", "session": {"voice": "marin"}},
            "missing_required_parameter",
            "session.type",
        ),
        (session(voice="marin"), "unknown_parameter", "session.voice"),
        (session(temperature=0.8), "unknown_parameter", "session.temperature"),
        (session(modalities=["audio"]), "unknown_parameter", "session.modalities"),
        (session(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
        (session(instructions=None), "invalid_value", "session.instructions"),
        (session(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
        (session(max_output_tokens=4097), "invalid_value", "session.max_output_tokens"),
        (session(max_output_tokens=True), "invalid_value", "session.max_output_tokens"),
        (session(tool_choice={"type": "function"}), "missing_required_parameter", "session.tool_choice.name"),
        (
            session(tools=[{"type": "function", "function": {"name": "f"}}]),
            "missing_required_parameter",
            "session.tools.0.name",
        ),
        (
            session(tools=[{"type": "mcp", "server_url": "https://a.b"}]),
            "missing_required_parameter",
            "session.tools.0.server_label",
        ),
        (
            session(tools=[{"type": "mcp", "server_label": "l", "require_approval": "sometimes"}]),
            "invalid_value",
            "session.tools.0.require_approval",
        ),
        (
            session(tools=[{"type": "mcp", "server_label": "l", "url": "https://a.b"}]),
            "unknown_parameter",
            "session.tools.0.url",
        ),
        (session(audio={"output": {"voice": "nova"}}), "invalid_value", "session.audio.output.voice"),
        (session(audio={"output": {"speed": 1.6}}), "invalid_value", "session.audio.output.speed"),
        (
            audio(format={"type": "audio/pcmu", "rate": 8000}),
            "unknown_parameter",
            "session.audio.input.format.rate",
        ),
        (audio(format="g711_ulaw"), "invalid_value", "session.audio.input.format"),
        (audio(format={"type": "g711_ulaw"}), "invalid_value", "session.audio.input.format.type"),
        (audio(format={}), "missing_required_parameter", "session.audio.input.format.type"),
        (
            audio(format={"type": "audio/pcm", "rate": 8000}),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            audio(turn_detection={"type": "server_vad", "threshold": 1.5}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            audio(turn_detection={"type": "semantic_vad", "threshold": 0.5}),
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            audio(turn_detection={"type": "server_vad", "idle_timeout_ms": 100}),
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            audio(transcription={"language": "en"}),
            "missing_required_parameter",
            "session.audio.input.transcription.model",
        ),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": 1}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "", "extra": 1}, "unknown_parameter", "extra"),
        ({"type": "input_audio_buffer.commit", "event_id": "e" * 513}, "invalid_value", "event_id"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]},
            },
            "invalid_value",
            "item.content.0.type",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "message", "role": "narrator"}},
            "invalid_value",
            "item.role",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0},
            "missing_required_parameter",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 0.5},
            "invalid_value",
            "audio_end_ms",
        ),
        ({"type": "response.create", "response": {"voice": "ash"}}, "unknown_parameter", "response.voice"),
    ],
)
def test_wrong_events_are_refused_with_code_and_place(
    event: dict[str, Any], code: str, param: str | None
) -> None:
    assert refusal(event)[:2] == (code, param)


def test_the_messages_are_those_of_the_real_server() -> None:
    assert refusal(session(voice="marin"))[2] == "Unknown parameter: 'session.voice'."
    assert refusal({"event_id": "cfg-1"})[2] == "The 'type' field is missing."


def test_there_are_eleven_client_events() -> None:
    assert len(EVENTS) == 11


@given(
    event=st.dictionaries(st.sampled_from(["type", "session", "audio", "item", "response", "x"]), json_values)
)
def test_any_object_is_either_let_through_or_refused(event: dict[str, Any]) -> None:
    with contextlib.suppress(RefusalError):
        check(event)


@given(
    kind=st.sampled_from(sorted(EVENTS)), fields=st.dictionaries(st.text(max_size=6), json_values, max_size=3)
)
def test_no_event_passes_with_a_field_that_nobody_knows(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(RefusalError):
        check({**fields, "type": kind, "no such field": 1})


@given(text=st.text() | st.binary())
def test_any_frame_parses_to_an_object_or_is_refused(text: str | bytes) -> None:
    with contextlib.suppress(RefusalError):
        assert isinstance(parse(text), dict)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@given(depth=st.integers(1, 1100))
def test_a_hundred_levels_are_the_most(opened: str, closed: str, depth: int) -> None:
    inner = depth - 1  # the event itself is the first
    frame = '{"x":' + opened * inner + "1" + closed * inner + "}"
    if depth <= MAX_DEPTH:
        assert "x" in parse(frame)
    else:
        with pytest.raises(RefusalError) as refused:
            parse(frame)
        assert refused.value.code == "invalid_event"


@given(data=st.binary(max_size=400))
def test_audio_survives_base64(data: bytes) -> None:
    assert decode_audio(base64.b64encode(data).decode(), "audio") == data


@pytest.mark.parametrize("text", ["%%%", "AAA", "AA==A", "ä"])
def test_bad_base64_is_refused(text: str) -> None:
    with pytest.raises(RefusalError) as refused:
        decode_audio(text, "audio")
    assert refused.value.param == "audio"
