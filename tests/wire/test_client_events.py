"""What is said to the server: the SDK's types know all of it, and whatever the text, it is valid JSON."""

import base64
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, TypeAdapter

from tests.wire.test_dialect import SESSION, unknown_fields
from wire import client_events
from wire.dialect import OPENAI

PAYLOAD = base64.b64encode(b"\xff" * 1600).decode()

SENT = [
    client_events.append_audio(PAYLOAD),
    client_events.create_response(),
    client_events.create_response('Say "hello" and stop.\n'),
    client_events.truncate_item("item_a1", 0, 1500),
    client_events.delete_item("item_a1"),
    client_events.cancel_response(),
    client_events.cancel_response("resp_1"),
    client_events.create_message(None, "system", "The caller is known."),
    client_events.create_message("item_u1", "user", "When do you open?"),
    client_events.create_message("item_a1", "assistant", "At nine."),
    client_events.create_message(None, "assistant", "At nine.", behind="item_u1"),
    client_events.create_function_call("item_f1", "call_1", "hours", '{"day": "Monday"}'),
    client_events.create_function_call(None, "call_1", "hours", "{}"),
    client_events.create_function_output("call_1", '{"opens": 9}'),
    OPENAI.session_update(SESSION),
    OPENAI.turn_detection_update({"type": "server_vad", "silence_duration_ms": 500}),
]


@pytest.mark.parametrize("text", SENT, ids=lambda text: str(orjson.loads(text)["type"]))
def test_the_sdk_accepts_what_we_send_and_knows_every_field(text: str) -> None:
    parsed: BaseModel = TypeAdapter(RealtimeClientEvent).validate_json(text)
    assert unknown_fields(parsed) == []
    assert orjson.loads(parsed.model_dump_json(exclude_unset=True)) == orjson.loads(text)


@given(st.binary(max_size=300), st.text(), st.text(), st.integers(0, 10**7))
def test_what_is_encoded_is_valid_json(audio: bytes, text: str, other: str, milliseconds: int) -> None:
    payload = base64.b64encode(audio).decode()
    sent = [
        client_events.append_audio(payload),
        client_events.create_response(text),
        client_events.truncate_item(text, 1, milliseconds),
        client_events.delete_item(text),
        client_events.create_function_call(text, other, other, text),
        client_events.create_function_output(text, other),
    ]
    item = {"type": "function_call", "call_id": other, "name": other, "arguments": text}
    assert [orjson.loads(event) for event in sent] == [
        {"type": "input_audio_buffer.append", "audio": payload},
        {"type": "response.create", "response": {"instructions": text}},
        {
            "type": "conversation.item.truncate",
            "item_id": text,
            "content_index": 1,
            "audio_end_ms": milliseconds,
        },
        {"type": "conversation.item.delete", "item_id": text},
        {"type": "conversation.item.create", "item": {"id": text} | item},
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": text, "output": other},
        },
    ]


@pytest.mark.parametrize(
    ("role", "kind"), [("user", "input_text"), ("system", "input_text"), ("assistant", "output_text")]
)
def test_a_message_is_text_of_the_kind_that_its_role_may_have(role: str, kind: str) -> None:
    """protocol-gotchas 24: what the assistant said cannot be put back as audio."""
    assert orjson.loads(client_events.create_message("item_1", role, "Good day."))["item"] == {
        "id": "item_1",
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": "Good day."}],
    }


def test_half_a_surrogate_pair_in_a_text_costs_a_character_and_not_the_session() -> None:
    """A tool's own text may hold one, or a visitor's, and orjson refuses it."""
    half = "open \ud83d now"
    assert orjson.loads(client_events.create_message(None, "system", half))["item"]["content"] == [
        {"type": "input_text", "text": "open ? now"}
    ]
    assert orjson.loads(client_events.create_response(half))["response"] == {"instructions": "open ? now"}
    described = OPENAI.session_update(replace(SESSION, instructions=half))
    assert orjson.loads(described)["session"]["instructions"] == "open ? now"


def test_an_item_without_an_id_gets_one_from_the_server() -> None:
    for event in (
        client_events.create_message(None, "user", "Hello?"),
        client_events.create_function_call(None, "call_1", "hours", "{}"),
        client_events.create_function_output("call_1", "{}"),
    ):
        assert "id" not in orjson.loads(event)["item"]


def test_a_response_without_instructions_leaves_those_of_the_session() -> None:
    assert orjson.loads(client_events.create_response()) == {"type": "response.create"}


def test_a_cancellation_names_a_response_where_another_may_be_active_by_now() -> None:
    assert orjson.loads(client_events.cancel_response()) == {"type": "response.cancel"}
    assert orjson.loads(client_events.cancel_response("r1")) == {
        "type": "response.cancel",
        "response_id": "r1",
    }
