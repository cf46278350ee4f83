"""What the model is told about the parameters of a function: every one that it could give, and no other."""

import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from actors.call_context import CallContext
from actors.tool import Tool, ToolError, tool
from tests.actors.tool_parts import Guest, Point, Size, answer


def test_enums_literals_optionals_and_nested_models_reach_the_function_as_such() -> None:
    seen: list[object] = []

    @tool
    def order(
        size: Size, kind: Literal["tea", "coffee"], guests: list[Guest], at: Point, note: str | None = None
    ) -> None:
        """Order."""
        seen.extend((size, kind, guests, at, note))

    schema = order.definition["parameters"]
    assert schema["properties"]["kind"]["enum"] == ["tea", "coffee"]
    assert schema["$defs"]["Size"]["enum"] == ["small", "large"]
    assert schema["required"] == ["size", "kind", "guests", "at"]
    answer(order, size="large", kind="tea", guests=[{"title": "Dr"}], at={"x": 1})
    assert seen == [Size.LARGE, "tea", [Guest(title="Dr")], Point(1), None]


def test_titles_that_pydantic_makes_up_are_left_out_and_arguments_of_that_name_are_not() -> None:
    @tool
    def greet(
        title: str,
        default: int,
        properties: list[int],
        guest: Guest,
        texts: dict[str, str] = {"title": "x"},  # noqa: B006
    ) -> None:
        """Greet."""

    schema = greet.definition["parameters"]
    assert schema["properties"] == {
        "title": {"type": "string"},
        "default": {"type": "integer"},
        "properties": {"type": "array", "items": {"type": "integer"}},
        "guest": {"$ref": "#/$defs/Guest"},
        "texts": {"type": "object", "additionalProperties": {"type": "string"}, "default": {"title": "x"}},
    }
    assert "title" not in schema
    assert schema["$defs"]["Guest"]["properties"]["title"] == {"type": "string"}
    assert "title" not in schema["$defs"]["Guest"]


def test_what_an_argument_means_stands_in_annotated_or_in_the_docstring_and_the_former_wins() -> None:
    @tool
    def transfer(
        amount: Annotated[int, Field(description="in cents", ge=1)],
        to: str,
        reason: Annotated[str, Field(max_length=20)] = "",
    ) -> str:
        """Transfer money.

        The bank answers at once.

        Args:
            amount: never shown
            to (str, optional): the account: IBAN only

            reason:
                what for

        Returns:
            the number of the transfer

        Raises:
            ToolError: the bank refuses
        """
        return to

    properties = transfer.definition["parameters"]["properties"]
    assert properties["amount"] == {"type": "integer", "minimum": 1, "description": "in cents"}
    assert properties["to"]["description"] == "the account: IBAN only"
    assert properties["reason"] == {
        "type": "string",
        "maxLength": 20,
        "default": "",
        "description": "what for",
    }
    assert transfer.description == (
        "Transfer money.\n\nThe bank answers at once.\n\nReturns:\n    the number of the transfer"
    )
    with pytest.raises(ToolError, match="amount: Input should be greater than or equal to 1"):
        answer(transfer, amount=0, to="x")


def test_names_that_pydantic_keeps_for_itself_are_good_names_for_arguments() -> None:
    @tool
    def keep(
        json: int, copy: int, model_config: int, _private: int, argument_0: int, schema: int = 6
    ) -> list[int]:
        """Keep."""
        return [json, copy, model_config, _private, argument_0, schema]

    assert list(keep.definition["parameters"]["properties"]) == [
        "json",
        "copy",
        "model_config",
        "_private",
        "argument_0",
        "schema",
    ]
    assert answer(keep, json=1, copy=2, model_config=3, _private=4, argument_0=5) == [1, 2, 3, 4, 5, 6]


def test_a_default_that_json_cannot_hold_is_left_to_python() -> None:
    class Unset:
        __hash__ = None  # type: ignore[assignment]

    unset: Any = Unset()
    seen: list[object] = []

    @tool
    def find(number: int = unset) -> None:
        """Find."""
        seen.append(number)

    assert find.definition["parameters"]["properties"] == {"number": {"type": "integer"}}
    answer(find)
    assert seen[0] is unset


def many(*numbers: int) -> None:
    """Add."""


def keywords(**options: int) -> None:
    """Set."""


def positional(x: int, /) -> None:
    """Set."""


def no_hint(x) -> None:  # type: ignore[no-untyped-def]
    """Set."""


def unresolved(x: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Set."""


def no_schema(x: threading.Event) -> None:
    """Set."""


def callback(x: Callable[[], None]) -> None:
    """Set."""


def field_as_default(x: int = Field(3)) -> None:
    """Set."""


def default_in_field(x: Annotated[int, Field(default=3)]) -> None:
    """Set."""


def perhaps_context(x: CallContext | None = None) -> None:
    """Set."""


def misspelt(number: int) -> None:
    """Set.

    Args:
        numbr: a number
    """


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (many, "tool many: parameter 'numbers' is variadic positional"),
        (keywords, "tool keywords: parameter 'options' is variadic keyword"),
        (positional, "tool positional: parameter 'x' is positional-only"),
        (no_hint, "tool no_hint: parameter 'x' has no type hint"),
        (unresolved, "tool unresolved: its type hints cannot be resolved: name 'Nowhere' is not defined"),
        (no_schema, "tool no_schema: parameter 'x': the model cannot give a <class 'threading.Event'>"),
        (callback, "tool callback: parameter 'x': the model cannot give a "),
        (field_as_default, "tool field_as_default: parameter 'x': a Field belongs into Annotated"),
        (default_in_field, "tool default_in_field: parameter 'x': a Field belongs into Annotated"),
        (perhaps_context, "tool perhaps_context: parameter 'x': its type hint must be CallContext"),
        (misspelt, "tool misspelt: its docstring describes 'numbr', which is none of its parameters"),
    ],
)
def test_a_parameter_that_the_model_cannot_give_is_refused_when_the_tool_is_made(
    function: Callable[..., Any], complaint: str
) -> None:
    with pytest.raises(TypeError) as raised:
        tool(function)
    assert complaint in str(raised.value)


@given(st.text(st.sampled_from("Args: \n()xRaises"), max_size=80))
def test_no_docstring_is_too_odd_to_be_read(text: str) -> None:
    def odd(x: int, A: int, r: int) -> None: ...  # noqa: N803

    odd.__doc__ = text
    try:
        made: Tool[..., Any] = tool(odd)
    except TypeError as error:
        assert "docstring" in str(error)  # noqa: PT017
    else:
        assert made.description
