"""What the model is told about a Python function, and how one call of it is answered."""

import inspect
import json
import math
import uuid
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from actors.call_context import CallContext
from actors.tool import MAX_OUTPUT_CHARACTERS, AnyTool, ToolError, tool
from simulator.settings_schema import FunctionTool
from tests.actors.tool_parts import CONTEXT, Guest, Point, Size, answer
from tests.conftest import ExpectedLogs


@tool
def book_table(day: date, guests: int, window: bool = False) -> str:
    """Book a table at the restaurant.

    Args:
        day: the day
        guests (int): how many people come,
            children included
    """
    return f"{guests} on {day:%d %B}{' at the window' if window else ''}"


def returning(result: object) -> AnyTool:
    @tool
    def look_up() -> object:
        """Look it up."""
        return result

    return look_up


def test_the_model_is_told_name_docstring_and_schema_in_the_flat_shape_of_the_realtime_api() -> None:
    assert book_table.definition == {
        "type": "function",
        "name": "book_table",
        "description": "Book a table at the restaurant.",
        "parameters": {
            "type": "object",
            "properties": {
                "day": {"type": "string", "format": "date", "description": "the day"},
                "guests": {"type": "integer", "description": "how many people come, children included"},
                "window": {"type": "boolean", "default": False},
            },
            "required": ["day", "guests"],
            "additionalProperties": False,
        },
    }


def test_a_definition_is_what_the_realtime_api_takes_and_may_be_altered() -> None:
    TypeAdapter(FunctionTool).validate_python(book_table.definition, strict=True)
    book_table.definition["parameters"]["properties"].clear()
    assert "day" in book_table.definition["parameters"]["properties"]


def test_a_tool_is_still_the_function_that_it_was_made_of() -> None:
    assert book_table(date(2026, 5, 1), guests=2) == "2 on 01 May"
    assert list(inspect.signature(book_table).parameters) == ["day", "guests", "window"]
    assert inspect.unwrap(book_table).__name__ == "book_table"
    assert (inspect.getdoc(book_table) or "").startswith("Book a table")
    assert (book_table.timeout_seconds, book_table.confirm, book_table.filler, book_table.process) == (
        10.0,
        False,
        True,
        False,
    )


def test_a_tool_may_be_given_another_name_and_description_and_then_needs_no_docstring() -> None:
    @tool(name="orders-find", description="Find an order.", timeout_seconds=3, filler=False)
    def find(number: int) -> int:
        return number

    assert (find.name, find.description, find.timeout_seconds, find.filler) == (
        "orders-find",
        "Find an order.",
        3,
        False,
    )
    assert answer(find, number=7) == 7


def test_the_context_of_the_call_is_filled_in_and_not_shown() -> None:
    @tool
    def whose(number: int, call: CallContext, *, again: CallContext) -> list[object]:
        """Whose.

        Args:
            number: a number
            call: filled in
        """
        return [number, call.caller, again.parameters["language"]]

    assert list(whose.definition["parameters"]["properties"]) == ["number"]
    assert answer(whose, number=1) == [1, "+15550001", "en"]
    with pytest.raises(ToolError, match="call: there is no such argument"):
        answer(whose, number=1, call={"caller": "+1900"})


@pytest.mark.parametrize("arguments", ["", " \n", "{}"])
def test_a_function_without_arguments_takes_empty_ones_however_the_model_writes_them(arguments: str) -> None:
    assert json.loads(returning("found").run(arguments, CONTEXT)) == "found"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"day": "2026-05-01", "gue', "all of them: Invalid JSON"),
        ("[1]", "all of them: Input should be an object"),
        ("null", "all of them: Input should be an object"),
        ("", "day: it is required; guests: it is required"),
        ('{"day": "2026-05-01"}', "guests: it is required"),
        ('{"day": "tomorrow", "guests": 2}', "day: Input should be a valid date"),
        ('{"day": "2026-05-01", "guests": 2, "vip": true}', "vip: there is no such argument"),
        ('{"day": "2026-05-01", "guests": 2, "argument_0": 1}', "argument_0: there is no such argument"),
        ('{"day": "2026-05-01", "guests": "two"}', "guests: Input should be a valid integer"),
    ],
)
def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: str, complaint: str) -> None:
    with pytest.raises(ToolError) as raised:
        book_table.run(arguments, CONTEXT)
    text = str(raised.value)
    assert complaint in text
    assert text.startswith("book_table has not run, because its arguments are wrong.")
    assert text.endswith("Correct them and call it again.")


def test_what_is_wrong_deep_inside_an_argument_is_located() -> None:
    @tool
    def seat(guests: list[Guest]) -> None:
        """Seat."""

    with pytest.raises(ToolError, match=r"guests\.1\.title: it is required; guests\.2\.age: Input should"):
        answer(seat, guests=[{"title": "Dr"}, {}, {"title": "Ms", "age": "old"}])
    with pytest.raises(ToolError) as raised:
        answer(seat, guests=[{}] * 1000)
    assert len(str(raised.value)) < 1000


def test_what_the_caller_said_does_not_come_into_the_log_with_a_complaint() -> None:
    with pytest.raises(ToolError) as raised:
        answer(book_table, day="2026-05-01", guests="4111 1111")
    assert "4111" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_of_the_model_raises_anything_but_a_tool_error(arguments: str) -> None:
    with pytest.raises(ToolError):
        book_table.run(arguments, CONTEXT)


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, "null"),
        ("Grüße", '"Grüße"'),
        ({"a": (1, 2.5)}, '{"a":[1,2.5]}'),
        (Point(1, 2), '{"x":1,"y":2}'),
        ([Guest(title="Dr", age=3)], '[{"title":"Dr","age":3}]'),
        (datetime(2026, 5, 1, 12, tzinfo=timezone.utc), '"2026-05-01T12:00:00Z"'),  # noqa: UP017
        (Decimal("1.10"), '"1.10"'),
        (Size.LARGE, '"large"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({"rate": math.nan, "top": math.inf}, '{"rate":null,"top":null}'),
    ],
)
def test_a_result_is_written_as_json(result: object, output: str) -> None:
    assert returning(result).run("{}", CONTEXT) == output


def _endless() -> list[object]:
    items: list[object] = []
    items.append(items)
    return items


@pytest.mark.parametrize("result", [object(), {"socket": [object()]}, b"\xff", "\ud800", _endless()])
def test_a_result_that_json_cannot_hold_is_explained_to_the_model_and_logged(
    result: object, logs: ExpectedLogs
) -> None:
    logs.expect(f"CA1: tool look_up returned a {type(result).__name__}, which cannot be written as JSON: ")
    with pytest.raises(ToolError, match="look_up has run, but its result cannot be shown"):
        returning(result).run("{}", CONTEXT)


def test_a_long_result_is_cut_and_the_model_is_told() -> None:
    fits = "x" * (MAX_OUTPUT_CHARACTERS - 2)
    assert json.loads(returning(fits).run("{}", CONTEXT)) == fits
    output = returning(fits + "y").run("{}", CONTEXT)
    assert len(output) <= MAX_OUTPUT_CHARACTERS
    cut = json.loads(output)
    assert cut["note"] == "The result was too long. Only the beginning of its 7999 characters is here."
    assert fits.startswith(cut["beginning"])
    assert len(cut["beginning"]) > MAX_OUTPUT_CHARACTERS * 0.9


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.booleans())
def test_a_cut_result_is_json_and_short_enough_whatever_stands_in_it(text: str, listed: bool) -> None:
    whole = text * (3 * MAX_OUTPUT_CHARACTERS // len(text))
    output = returning([whole] if listed else whole).run("{}", CONTEXT)
    assert MAX_OUTPUT_CHARACTERS // 2 < len(output) <= MAX_OUTPUT_CHARACTERS
    written = json.dumps([whole], ensure_ascii=False, separators=(",", ":"))
    assert len(json.loads(output)["beginning"]) > 1000
    assert listed or whole.startswith(json.loads(output)["beginning"])
    assert not listed or json.loads(output)["beginning"][:2] == written[:2]


def test_the_half_of_a_text_that_grows_when_it_is_written_does_not_undo_the_cut() -> None:
    output = returning("\x00" * 4000 + "x" * 8000).run("{}", CONTEXT)
    assert len(output) <= MAX_OUTPUT_CHARACTERS
    assert set(json.loads(output)["beginning"]) == {"\x00"}


def test_a_tool_that_wants_confirmation_asks_for_it_and_runs_only_with_it() -> None:
    cancelled = []

    @tool(confirm=True)
    def cancel(order: int) -> str:
        """Cancel an order."""
        cancelled.append(order)
        return "cancelled"

    definition = cancel.definition
    assert definition["description"].startswith("Cancel an order.\n\nBefore you call this, tell the caller")
    assert definition["parameters"]["properties"]["confirmed_by_caller"] == {
        "type": "boolean",
        "description": "true only if the caller has just agreed to this",
    }
    assert definition["parameters"]["required"] == ["order", "confirmed_by_caller"]
    for arguments in ({}, {"confirmed_by_caller": False}):
        with pytest.raises(ToolError, match="the caller has not agreed"):
            answer(cancel, order=1, **arguments)
    for wrong in ("yes", 1, None):
        with pytest.raises(ToolError, match="confirmed_by_caller: Input should be a valid boolean"):
            answer(cancel, order=1, confirmed_by_caller=wrong)
    assert cancelled == []
    assert answer(cancel, order=1, confirmed_by_caller=True) == "cancelled"
    assert cancelled == [1]


def test_a_tool_without_other_arguments_can_want_confirmation() -> None:
    @tool(confirm=True)
    def close_account() -> str:
        """Close the account."""
        return "closed"

    assert close_account.definition["parameters"]["required"] == ["confirmed_by_caller"]
    assert answer(close_account, confirmed_by_caller=True) == "closed"


def test_without_confirmation_an_argument_of_that_name_is_an_ordinary_one() -> None:
    @tool
    def note(confirmed_by_caller: str) -> str:
        """Note."""
        return confirmed_by_caller

    assert answer(note, confirmed_by_caller="perhaps") == "perhaps"


@pytest.mark.parametrize("error", [ToolError("no such order"), KeyError("x"), SystemExit(3)])
def test_what_the_function_raises_comes_out_as_it_is(error: BaseException) -> None:
    @tool
    def fail() -> None:
        """Fail."""
        raise error

    with pytest.raises(type(error)) as raised:
        answer(fail)
    assert raised.value is error


def test_a_validation_error_inside_the_function_does_not_blame_the_arguments() -> None:
    @tool
    def parse() -> Guest:
        """Parse."""
        return Guest.model_validate({})

    with pytest.raises(ValueError, match="1 validation error for Guest"):
        answer(parse)


def no_docstring(x: int) -> None: ...


async def later(x: int) -> None:
    """Set."""


async def stream(x: int) -> Any:
    """Set."""
    yield x


def agreed(confirmed_by_caller: bool) -> None:
    """Set."""


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (no_docstring, "tool no_docstring has no docstring"),
        (later, "tool later is async"),
        (stream, "tool stream is async"),
        (print, "@tool takes a function, not <built-in function print>"),
        (book_table, "@tool takes a function, not Tool"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_when_it_is_made(
    function: Callable[..., Any], complaint: str
) -> None:
    with pytest.raises(TypeError) as raised:
        tool(function)
    assert complaint in str(raised.value)


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "naïve", "a\n"])
def test_a_name_that_the_realtime_api_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"tool agreed: the name .* must be 1 to 64 of"):
        tool(name=name)(agreed)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e300])
def test_a_timeout_that_no_clock_can_wait_for_is_refused(seconds: float) -> None:
    with pytest.raises(
        ValueError, match="tool agreed: timeout_seconds must be more than 0, and 3600 at most"
    ):
        tool(timeout_seconds=seconds)(agreed)


def test_the_argument_of_a_confirmation_cannot_be_the_functions_own() -> None:
    with pytest.raises(TypeError, match="tool agreed: with confirm=True the parameter 'confirmed_by_caller'"):
        tool(confirm=True)(agreed)


def test_a_function_inside_another_cannot_run_in_a_process() -> None:
    def inner() -> None:
        """Do."""

    with pytest.raises(TypeError, match=r"inner: with process=True the function must stand at the top"):
        tool(process=True)(inner)
