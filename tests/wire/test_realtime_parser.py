"""A Realtime server's frames as events: its documented examples, the SDK's own types, and whatever else may come."""

import base64
import contextlib
import typing
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from wire import realtime, realtime_parser
from wire.protocol import ProtocolError

DELTA = base64.b64encode(b"\xff" * 1600).decode()

SESSION_UPDATED = """{"type":"session.updated","event_id":"event_1","session":{"type":"realtime","object":
"realtime.session","id":"sess_1","model":"gpt-realtime-2.1","output_modalities":["audio"],"instructions":"…",
"tools":[],"tool_choice":"auto","max_output_tokens":"inf","tracing":null,"prompt":null,"expires_at":1756324832,
"audio":{"input":{"format":{"type":"audio/pcmu"},"transcription":null,"noise_reduction":null,"turn_detection":
{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,"silence_duration_ms":500,"idle_timeout_ms":null,
"create_response":true,"interrupt_response":true}},"output":{"format":{"type":"audio/pcmu"},"voice":"marin",
"speed":1}},"include":null}}"""
STARTED = (
    '{"type":"input_audio_buffer.speech_started","event_id":"e2","audio_start_ms":1000,"item_id":"item_u1"}'
)
STOPPED = '{"type":"input_audio_buffer.speech_stopped","event_id":"event_3","audio_end_ms":2000,"item_id":"item_u1"}'
COMMITTED = (
    '{"type":"input_audio_buffer.committed","event_id":"e4","previous_item_id":"item_a0","item_id":"item_u1"}'
)
ADDED = """{"type":"conversation.item.added","event_id":"event_12","previous_item_id":"item_u1","item":{
"id":"item_a1","object":"realtime.item","type":"message","status":"in_progress","role":"assistant","content":[]}}"""
AUDIO = (
    '{"type":"response.output_audio.delta","event_id":"event_5","response_id":"resp_1","item_id":"item_a1",'
    '"output_index":0,"content_index":0,"delta":"//////////8="}'
)
HEARD = """{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_6","item_id":"item_u1",
"content_index":0,"transcript":"Hey, can you hear me?","usage":{"type":"tokens","total_tokens":22,"input_tokens":13,
"input_token_details":{"text_tokens":0,"audio_tokens":13},"output_tokens":9}}"""
ARGUMENTS = """{"type":"response.function_call_arguments.done","event_id":"event_7","response_id":"resp_2",
"item_id":"item_f1","output_index":0,"call_id":"call_001","name":"get_weather","arguments":"{\\"city\\":\\"Paris\\"}"}"""
TRUNCATED = (
    '{"type":"conversation.item.truncated","event_id":"event_8","item_id":"item_a1","content_index":0,'
    '"audio_end_ms":1500}'
)
ERROR = """{"type":"error","event_id":"event_9","error":{"type":"invalid_request_error","code":"invalid_event",
"message":"The 'type' field is missing.","param":null,"event_id":"cfg-1"}}"""
TIMEOUT = """{"type":"input_audio_buffer.timeout_triggered","event_id":"event_10","audio_start_ms":13216,
"audio_end_ms":19232,"item_id":"item_u9"}"""
DONE = """{"type":"response.done","event_id":"event_11","response":{
  "object":"realtime.response","id":"resp_1","status":"completed","status_details":null,
  "output":[{"id":"item_a1","type":"message","status":"completed","role":"assistant",
             "content":[{"type":"output_audio","transcript":"Loud and clear!"}]}],
  "conversation_id":"conv_1","output_modalities":["audio"],"max_output_tokens":"inf",
  "audio":{"output":{"format":{"type":"audio/pcmu"},"voice":"marin"}},
  "usage":{"total_tokens":253,"input_tokens":132,"output_tokens":121,
    "input_token_details":{"text_tokens":119,"audio_tokens":13,"image_tokens":0,"cached_tokens":64,
      "cached_tokens_details":{"text_tokens":64,"audio_tokens":0,"image_tokens":0}},
    "output_token_details":{"text_tokens":30,"audio_tokens":91}},
  "metadata":null}}"""

SAYING = (
    '{"type":"response.output_audio_transcript.delta","event_id":"event_13","response_id":"resp_1",'
    '"item_id":"item_a1","output_index":0,"content_index":0,"delta":"Loud and","obfuscation":"x8"}'
)
CALLED = """{"type":"response.output_item.done","event_id":"event_14","response_id":"resp_2","output_index":0,"item":{
"id":"item_f1","object":"realtime.item","type":"function_call","status":"completed","name":"get_weather",
"call_id":"call_001","arguments":"{\\"city\\":\\"Paris\\"}"}}"""
DELETED = '{"type":"conversation.item.deleted","event_id":"event_15","item_id":"item_a1"}'
CREATED = """{"type":"session.created","event_id":"event_16","session":{"type":"realtime","object":"realtime.session",
"id":"sess_1","model":"gpt-realtime-2.1","expires_at":1756324832}}"""

USAGE = realtime.Usage(text_in=55, text_cached=64, text_out=30, audio_in=13, audio_cached=0, audio_out=91)

GOLDEN = {
    SESSION_UPDATED: realtime.SessionUpdated("audio/pcmu", "audio/pcmu"),
    STARTED: realtime.SpeechStarted(1000, "item_u1"),
    STOPPED: realtime.SpeechStopped(2000, "item_u1"),
    COMMITTED: realtime.AudioCommitted("item_u1", "item_a0"),
    ADDED: realtime.ItemAdded("item_a1", "item_u1", "assistant", "message"),
    AUDIO: realtime.AudioDelta("resp_1", "item_a1", 0, "//////////8=", 1.0),
    HEARD: realtime.CallerTranscript("item_u1", "Hey, can you hear me?"),
    ARGUMENTS: realtime.Other("response.function_call_arguments.done", orjson.loads(ARGUMENTS)),
    TRUNCATED: realtime.Other("conversation.item.truncated", orjson.loads(TRUNCATED)),
    ERROR: realtime.Error("invalid_request_error", "invalid_event", "The 'type' field is missing.", "cfg-1"),
    TIMEOUT: realtime.Other("input_audio_buffer.timeout_triggered", orjson.loads(TIMEOUT)),
    SAYING: realtime.AssistantTranscriptDelta("item_a1", 0, "Loud and"),
    CALLED: realtime.FunctionCall("resp_2", "item_f1", "call_001", "get_weather", '{"city":"Paris"}'),
    DELETED: realtime.ItemDeleted("item_a1"),
    CREATED: realtime.SessionCreated(1756324832.0),
    DONE: realtime.ResponseDone("resp_1", "completed", "", None, USAGE),
}
NAMES = [orjson.loads(frame)["type"] for frame in GOLDEN]

UNDERSTOOD = [
    "session.created",
    "session.updated",
    "response.output_audio.delta",
    "response.audio.delta",
    "response.output_audio.done",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.created",
    "response.created",
    "response.done",
    "response.output_audio_transcript.done",
    "response.output_audio_transcript.delta",
    "response.output_item.done",
    "response.mcp_call_arguments.done",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "mcp_list_tools.failed",
    "conversation.item.deleted",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
    "error",
]
KEYS = [
    *(
        "type",
        "session",
        "response",
        "error",
        "delta",
        "response_id",
        "item_id",
        "content_index",
        "transcript",
    ),
    *(
        "audio_start_ms",
        "audio_end_ms",
        "id",
        "status",
        "status_details",
        "reason",
        "code",
        "message",
        "event_id",
    ),
    *("item", "previous_item_id", "role", "call_id", "name", "arguments", "expires_at"),
    *("usage", "input_token_details", "output_token_details", "cached_tokens_details"),
    *("text_tokens", "audio_tokens"),
    *("audio", "input", "output", "format", "input_audio_format", "output_audio_format"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=16,
)

SERVER_EVENTS: tuple[type[BaseModel], ...] = typing.get_args(typing.get_args(RealtimeServerEvent)[0])


def event(kind: str, **fields: Any) -> str:
    return orjson.dumps({"type": kind, "event_id": "event_1", **fields}).decode()


PART = {"response_id": "resp_1", "item_id": "item_a1", "output_index": 0, "content_index": 0}


@pytest.mark.parametrize(("frame", "expected"), GOLDEN.items(), ids=NAMES)
def test_the_documented_examples_are_understood(frame: str, expected: realtime.Event) -> None:
    assert realtime_parser.parse(frame) == expected


@pytest.mark.parametrize("frame", GOLDEN, ids=NAMES)
def test_an_example_cut_off_anywhere_is_refused(frame: str) -> None:
    for end in range(len(frame)):
        with pytest.raises(ProtocolError):
            realtime_parser.parse(frame[:end])


@given(st.text() | st.binary())
def test_any_text_or_bytes_are_refused_with_a_protocol_error(text: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        realtime_parser.parse(text)


@given(st.sampled_from([*UNDERSTOOD, "novel"]), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_wrong_types_anywhere_are_refused_with_a_protocol_error(kind: str, fields: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        realtime_parser.parse(orjson.dumps(fields | {"type": kind}).decode())


@given(st.sampled_from(list(GOLDEN)), JSON, st.data())
def test_an_example_with_one_value_exchanged_is_refused_or_an_event(
    frame: str, stranger: Any, data: st.DataObject
) -> None:
    message = orjson.loads(frame)
    place = message
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = stranger
        break
    with contextlib.suppress(ProtocolError):
        realtime_parser.parse(orjson.dumps(message).decode())


@pytest.mark.parametrize("details", ["failed", 7, ["failed"], True])
def test_status_details_that_are_no_object_are_refused_or_ignored(details: object) -> None:
    frame = event("response.done", response={"id": "resp_1", "status": "failed", "status_details": details})
    with contextlib.suppress(ProtocolError):
        assert realtime_parser.parse(frame) == realtime.ResponseDone("resp_1", "failed", "", None)


def test_a_deeply_nested_event_is_refused() -> None:
    with pytest.raises(ProtocolError):
        realtime_parser.parse('{"type":"error","error":' + '{"x":' * 100_000 + "1" + "}" * 100_001)


def test_a_binary_frame_is_refused() -> None:
    with pytest.raises(ProtocolError, match="binary"):
        realtime_parser.parse(AUDIO.encode())


@pytest.mark.parametrize("delta", ["AAA", 'AA=="', 'AA","x":"', "\n", "AAAA\nAAAA"])
def test_audio_that_is_not_base64_is_refused(delta: str) -> None:
    with pytest.raises(ProtocolError, match="base64"):
        realtime_parser.parse(event("response.output_audio.delta", **PART, delta=delta))


def test_an_escape_in_the_audio_that_decodes_to_a_quote_is_refused() -> None:
    frame = AUDIO.replace("//////////8=", r"AA==\u0022,\u0022event\u0022:\u0022")
    with pytest.raises(ProtocolError, match="base64"):
        realtime_parser.parse(frame)


def test_audio_says_how_long_it_lasts() -> None:
    assert realtime_parser.parse(
        event("response.output_audio.delta", **PART, delta=DELTA)
    ) == realtime.AudioDelta("resp_1", "item_a1", 0, DELTA, 200.0)


@pytest.mark.parametrize(
    ("beta", "ga", "fields"),
    [
        ("response.audio.delta", "response.output_audio.delta", PART | {"delta": DELTA}),
        ("response.audio.done", "response.output_audio.done", PART),
        (
            "response.audio_transcript.done",
            "response.output_audio_transcript.done",
            PART | {"transcript": "Hello."},
        ),
        (
            "response.audio_transcript.delta",
            "response.output_audio_transcript.delta",
            PART | {"delta": "Hel"},
        ),
        (
            "conversation.item.created",
            "conversation.item.added",
            {"previous_item_id": "item_a0", "item": {"id": "item_u1", "type": "message", "role": "user"}},
        ),
    ],
)
def test_the_beta_names_mean_the_same(beta: str, ga: str, fields: dict[str, Any]) -> None:
    parsed = realtime_parser.parse(event(ga, **fields))
    assert realtime_parser.parse(event(beta, **fields)) == parsed
    assert not isinstance(parsed, realtime.Other)


def test_a_session_of_the_beta_says_its_formats_in_its_own_words() -> None:
    session = {"id": "sess_1", "input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}
    assert realtime_parser.parse(event("session.updated", session=session)) == realtime.SessionUpdated(
        "g711_ulaw", "pcm16"
    )


@pytest.mark.parametrize(
    "audio", [None, {}, {"input": None, "output": {}}, {"input": {"format": None}, "output": {"format": {}}}]
)
def test_a_session_that_does_not_say_its_formats_has_none(audio: object) -> None:
    session = {"type": "realtime", "audio": audio}
    assert realtime_parser.parse(event("session.updated", session=session)) == realtime.SessionUpdated("", "")


@pytest.mark.parametrize(
    ("details", "reason", "error"),
    [
        ({"type": "cancelled", "reason": "turn_detected"}, "turn_detected", None),
        ({"type": "incomplete", "reason": "max_output_tokens"}, "max_output_tokens", None),
        (
            {"type": "failed", "error": {"type": "server_error", "code": None, "message": "Sorry."}},
            "",
            realtime.Error("server_error", "", "Sorry."),
        ),
        ({"type": "failed", "error": None}, "", None),
    ],
)
def test_how_a_response_ended_is_told(
    details: dict[str, Any], reason: str, error: realtime.Error | None
) -> None:
    frame = event("response.done", response={"id": "r", "status": details["type"], "status_details": details})
    assert realtime_parser.parse(frame) == realtime.ResponseDone("r", details["type"], reason, error)


@pytest.mark.parametrize("previous", [{}, {"previous_item_id": None}, {"previous_item_id": ""}])
def test_the_first_item_has_no_predecessor(previous: dict[str, Any]) -> None:
    call = {
        "id": "item_f1",
        "type": "function_call",
        "name": "lookup",
        "call_id": "call_1",
        "arguments": "{}",
    }
    assert realtime_parser.parse(
        event("conversation.item.added", item=call, **previous)
    ) == realtime.ItemAdded("item_f1", None, "", "function_call")
    committed = event("input_audio_buffer.committed", item_id="item_u1", **previous)
    assert realtime_parser.parse(committed) == realtime.AudioCommitted("item_u1", None)


def test_a_failed_transcription_is_a_transcript_without_text() -> None:
    frame = event(
        "conversation.item.input_audio_transcription.failed",
        item_id="item_u1",
        content_index=0,
        error={"type": "transcription_error", "code": None, "message": "too quiet", "param": None},
    )
    assert realtime_parser.parse(frame) == realtime.CallerTranscript("item_u1", None)


CALL = {
    "id": "item_f1",
    "type": "function_call",
    "status": "completed",
    "name": "lookup",
    "call_id": "call_1",
    "arguments": "{}",
}


def test_a_call_of_an_mcp_servers_tool_begins_with_its_arguments_and_has_an_end() -> None:
    """openai-realtime.md 10: the server runs it."""
    fields = {"response_id": "resp_1", "item_id": "item_m", "output_index": 0}
    arguments = event("response.mcp_call_arguments.done", arguments="{}", **fields)
    assert realtime_parser.parse(arguments) == realtime.McpCall("resp_1", "item_m")
    for kind in ("completed", "failed"):
        ended = event(f"response.mcp_call.{kind}", item_id="item_m", output_index=0)
        assert realtime_parser.parse(ended) == realtime.McpCallEnded("item_m")
    for kind in ("response.mcp_call.in_progress", "mcp_list_tools.completed", "mcp_list_tools.in_progress"):
        assert isinstance(realtime_parser.parse(event(kind, item_id="item_m")), realtime.Other)


def test_what_an_mcp_server_could_not_do_is_said_without_the_callers_words() -> None:
    error = {"type": "http_error", "code": 502, "message": "no customer called Ada Lovelace"}
    item = {"id": "item_m", "type": "mcp_call", "name": "find", "server_label": "crm", "error": error}
    failed = realtime_parser.parse(
        event("response.output_item.done", response_id="resp_1", output_index=0, item=item)
    )
    assert failed == realtime.McpFailed("find of crm failed: http_error 502")
    listing = realtime_parser.parse(event("mcp_list_tools.failed", item_id="item_l"))
    assert isinstance(listing, realtime.McpFailed)


@pytest.mark.parametrize(
    "item",
    [
        CALL | {"status": "incomplete", "arguments": '{"city": "Pa'},
        CALL | {"status": "in_progress"},
        {"id": "item_a1", "type": "message", "status": "completed", "role": "assistant", "content": []},
        {"id": "item_m1", "type": "mcp_call", "name": "lookup", "arguments": "{}"},
        {"id": "item_m1", "type": "mcp_call", "name": "lookup", "arguments": "{}", "error": None},
    ],
    ids=["interrupted", "going on", "a message", "run by the server itself", "without an error"],
)
def test_an_item_that_is_no_complete_call_of_a_function_calls_none(item: dict[str, Any]) -> None:
    """protocol-gotchas G: the arguments of an interrupted call are half of their JSON."""
    frame = event("response.output_item.done", response_id="resp_1", output_index=0, item=item)
    assert isinstance(realtime_parser.parse(frame), realtime.Other)


def test_a_server_that_does_not_say_whether_a_call_is_complete_means_it() -> None:
    item = {name: value for name, value in CALL.items() if name != "status"}
    frame = event("response.output_item.done", response_id="resp_1", output_index=0, item=item)
    assert realtime_parser.parse(frame) == realtime.FunctionCall(
        "resp_1", "item_f1", "call_1", "lookup", "{}"
    )


@pytest.mark.parametrize("missing", ["id", "call_id", "name", "arguments"])
def test_a_call_that_cannot_be_answered_is_refused(missing: str) -> None:
    item = {name: value for name, value in CALL.items() if name != missing}
    with pytest.raises(ProtocolError, match=missing):
        realtime_parser.parse(event("response.output_item.done", response_id="resp_1", item=item))


@pytest.mark.parametrize("session", [None, "sess_1", {}, {"expires_at": None}, {"expires_at": "soon"}])
def test_a_session_that_does_not_say_when_it_ends_is_not_known_to(session: object) -> None:
    assert realtime_parser.parse(event("session.created", session=session)) == realtime.SessionCreated(None)


def test_a_response_says_what_it_is_billed_for_and_cached_tokens_count_once() -> None:
    """Source: openai-realtime.md 12. Cached tokens are among the input tokens, by kind."""
    usage = {
        "input_token_details": {
            "text_tokens": 200,
            "audio_tokens": 1000,
            "cached_tokens": 864,
            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 800},
        },
        "output_token_details": {"text_tokens": 40, "audio_tokens": 160},
    }
    done = realtime_parser.parse(
        event("response.done", response={"id": "r", "status": "completed", "usage": usage})
    )
    assert isinstance(done, realtime.ResponseDone)
    assert done.usage == realtime.Usage(
        text_in=136, text_cached=64, text_out=40, audio_in=200, audio_cached=800, audio_out=160
    )


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {"input_token_details": None, "output_token_details": "many"},
        {"input_token_details": {"text_tokens": None, "audio_tokens": -5, "cached_tokens_details": 7}},
        {"output_token_details": {"audio_tokens": "12"}},
        {"input_token_details": {"text_tokens": 3, "cached_tokens_details": {"text_tokens": -4}}},
    ],
)
def test_tokens_that_are_not_counted_or_make_no_sense_cost_nothing(usage: object) -> None:
    done = realtime_parser.parse(
        event("response.done", response={"id": "r", "status": "completed", "usage": usage})
    )
    assert isinstance(done, realtime.ResponseDone)
    assert done.usage in (realtime.Usage(), realtime.Usage(text_in=3))


def test_an_unknown_event_is_no_error() -> None:
    assert realtime_parser.parse('{"type":"response.smell.delta","delta":"roses"}') == realtime.Other(
        "response.smell.delta", {"type": "response.smell.delta", "delta": "roses"}
    )


def test_the_sdk_has_the_46_server_events_of_the_reference() -> None:
    assert len(SERVER_EVENTS) == 46


@pytest.mark.parametrize("model", SERVER_EVENTS, ids=lambda model: model.__name__)
def test_what_the_sdk_takes_for_a_server_event_is_understood(model: type[BaseModel]) -> None:
    """A minimal event by the SDK's own fields: our parser may ask for nothing that the SDK calls optional."""
    made = minimal(model)
    text = model.model_validate(made).model_dump_json(exclude_none=True)
    parsed = realtime_parser.parse(text)
    # The end of an item is understood where it is a call of a function, and the first kind of item is a message.
    known = made["type"] in UNDERSTOOD and made["type"] != "response.output_item.done"
    assert isinstance(parsed, realtime.Other) is not known


def minimal(annotation: Any) -> Any:
    """The least value that an annotation of the SDK allows."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return minimal(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is list:
        return []
    if origin is dict:
        return {}
    if origin is typing.Union:
        return minimal(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        # `id` and `status` of a response are optional in the SDK, which shares the type with requests.
        always = {"id", "status"}
        return {
            name: minimal(info.annotation)
            for name, info in annotation.model_fields.items()
            if info.is_required() or name in always
        }
    return {str: "", int: 0, float: 0.0, bool: False, object: None}[annotation]
