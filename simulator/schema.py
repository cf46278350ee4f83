"""The client events of the Realtime API, checked as strictly as the real server checks them.

Source: openai-realtime.md sections 5 and 13. `parse` is the way in; what it lets through has the shape of the
TypedDict of its type.
"""

import binascii
from typing import Annotated, Any, Literal, Required

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from simulator.item_schema import FunctionCallItem, FunctionCallOutput, Item, ItemReference, Message
from simulator.refusal import RefusalError
from simulator.settings_schema import (
    Format,
    Modalities,
    OutputTokens,
    Prompt,
    Reasoning,
    Session,
    ToolChoice,
    Tools,
    Voice,
    strict,
)

MAX_APPEND_BYTES = 15 * 1024 * 1024
"""The most audio one append may carry (openai-realtime.md, 8)."""

MAX_DEPTH = 100
"""Of the objects and arrays in an event. Our own: what goes back to the client nests a little deeper still, and
must stay below the 254 that orjson writes."""

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


@strict
class ResponseAudioOutput(TypedDict, total=False):
    format: Format
    voice: Voice


@strict
class ResponseAudio(TypedDict, total=False):
    output: ResponseAudioOutput


@strict
class Response(TypedDict, total=False):
    instructions: str
    output_modalities: Modalities
    audio: ResponseAudio
    tools: Tools
    tool_choice: ToolChoice
    max_output_tokens: OutputTokens
    conversation: Literal["auto", "none"]
    input: list[
        Annotated[
            Message | FunctionCallItem | FunctionCallOutput | ItemReference, Field(discriminator="type")
        ]
    ]
    metadata: Metadata | None
    prompt: Prompt | None
    reasoning: Reasoning
    parallel_tool_calls: bool


_EventId = Annotated[str, Field(max_length=512)]


def _event(type_name: str, **fields: Any) -> TypeAdapter[dict[str, Any]]:
    shape = {"type": Required[Literal[type_name]], "event_id": _EventId, **fields}
    return TypeAdapter(strict(TypedDict("Event", shape, total=False)))  # type: ignore[operator]


_FIELDS: dict[str, dict[str, Any]] = {
    "session.update": {"session": Required[Session]},
    "input_audio_buffer.append": {"audio": Required[str]},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "output_audio_buffer.clear": {},
    "conversation.item.create": {"item": Required[Item], "previous_item_id": str | None},
    "conversation.item.retrieve": {"item_id": Required[str]},
    "conversation.item.truncate": {
        "item_id": Required[str],
        "content_index": Required[Annotated[int, Field(ge=0)]],
        "audio_end_ms": Required[Annotated[int, Field(ge=0)]],
    },
    "conversation.item.delete": {"item_id": Required[str]},
    "response.create": {"response": Response | None},
    "response.cancel": {"response_id": str},
}

EVENTS = {type_name: _event(type_name, **fields) for type_name, fields in _FIELDS.items()}
"""The eleven client events, by type."""

_APPEND_FIELDS = frozenset({"type", "event_id", "audio"})


def parse(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a websocket message. Raises RefusalError (`invalid_event`) otherwise."""
    if isinstance(text, bytes):
        raise RefusalError("invalid_event", "Events are text frames; a binary frame was received.")
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RefusalError("invalid_event", f"The event is not valid JSON: {error}.") from None
    if not isinstance(event, dict):
        raise RefusalError("invalid_event", "The event is not a JSON object.")
    if _deeper_than(MAX_DEPTH, event):
        raise RefusalError(
            "invalid_event", f"The event is nested more deeply than {MAX_DEPTH} objects and arrays."
        )
    return event


def check(event: dict[str, Any]) -> None:
    """Raise RefusalError unless the event has a known type and exactly the fields and values of that type.

    Appends, fifty a second in every call, are looked at by hand; pydantic sees only those that are wrong.
    """
    name = event.get("type")
    if name is None:
        raise RefusalError("invalid_event", "The 'type' field is missing.")
    if (
        name == "input_audio_buffer.append"
        and event.keys() <= _APPEND_FIELDS
        and isinstance(event.get("audio"), str)
        and isinstance(event.get("event_id", ""), str)
    ):
        return
    if not isinstance(name, str) or name not in EVENTS:
        raise RefusalError("invalid_value", f"Invalid value: {_quoted(name)}. {_supported(EVENTS)}", "type")
    try:
        EVENTS[name].validate_python(event)
    except ValidationError as error:
        raise _refusal(error, event) from None


def decode_audio(audio: str, param: str) -> bytes:
    """Return the bytes of a base64 field. Raises RefusalError (`invalid_value`) if bad or over 15 MiB."""
    try:
        data = binascii.a2b_base64(audio, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise RefusalError(
            "invalid_value", f"Invalid '{param}': expected base64-encoded audio bytes ({error}).", param
        ) from None
    if len(data) > MAX_APPEND_BYTES:
        raise RefusalError(
            "invalid_value",
            f"Invalid '{param}': {len(data)} bytes are more than the {MAX_APPEND_BYTES} allowed.",
            param,
        )
    return data


def _deeper_than(depth: int, event: dict[str, Any]) -> bool:
    level: list[Any] = [event]
    for _ in range(depth):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _refusal(failure: ValidationError, event: dict[str, Any]) -> RefusalError:
    # A union of several shapes reports an error for each; the one that got furthest into the data is meant.
    # A missing type comes first: without session.type the real server does not look at the rest.
    error = min(
        failure.errors(include_url=False),
        key=lambda error: (
            error["type"] != "missing" or error["loc"][-1] != "type",
            -len(_steps(error, event)),
        ),
    )
    path = ".".join(_steps(error, event))
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return RefusalError("missing_required_parameter", f"Missing required parameter: '{path}'.", path)
        case "union_tag_not_found":
            path = f"{path}.{context['discriminator'].strip(chr(39))}"
            return RefusalError("missing_required_parameter", f"Missing required parameter: '{path}'.", path)
        case "extra_forbidden":
            return RefusalError("unknown_parameter", f"Unknown parameter: '{path}'.", path)
        case "union_tag_invalid":
            path = f"{path}.{context['discriminator'].strip(chr(39))}"
            supported = f"Supported values are: {context['expected_tags']}."
            return RefusalError("invalid_value", f"Invalid value: '{context['tag']}'. {supported}", path)
        case "literal_error":
            supported = f"Supported values are: {context['expected']}."
            return RefusalError(
                "invalid_value", f"Invalid value: {_quoted(error['input'])}. {supported}", path
            )
    return RefusalError("invalid_value", f"Invalid value for '{path}': {error['msg']}.", path)


def _steps(error: ErrorDetails, event: dict[str, Any]) -> list[str]:
    """The place as keys and indexes of the event, without the names pydantic gives to union members."""
    steps = []
    here: Any = event
    tag: Any = None
    place = error["loc"]
    for position, step in enumerate(place):
        last = position == len(place) - 1
        if not last and step == tag:
            tag = None
            continue
        inside = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int)
        )
        if inside:
            here = here[step]
            # The value of a discriminator may also be the name of a field: {"type": "function", "function": …}.
            tag = here.get("type") if isinstance(here, dict) else None
        if inside or (error["type"] == "missing" and last):
            steps.append(str(step))
    return steps


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _supported(values: dict[str, Any]) -> str:
    return f"Supported values are: {', '.join(map(repr, values))}."
