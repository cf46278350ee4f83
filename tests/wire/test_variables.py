"""What an assistant's texts leave open until there is a call."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.variables import OF_EVERY_CALL, VALUE_CHARACTERS, as_data, check, fill, has_any, of_call

NOW = datetime(2026, 11, 28, 14, 5, 59, tzinfo=ZoneInfo("Europe/Berlin"))
VALUES = of_call("+4930123456", "+4989654321", {"name": "Ada", "empty": ""}, NOW)

anything = st.text(st.characters(codec="utf-8"), max_size=300)
words = st.text(st.characters(exclude_characters="{}", codec="utf-8"), max_size=40)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("no variable", "no variable"),
        ("from {caller} to {called}", "from +4930123456 to +4989654321"),
        ("{weekday}, {date}, {time}", "Saturday, 2026-11-28, 14:05"),
        ("Hello {parameters.name}.", "Hello Ada."),
        ("Hello {parameters.name|there}.", "Hello Ada."),
        ("Hello {parameters.other|there}.", "Hello there."),
        ("Hello {parameters.empty|there}.", "Hello there."),
        ("Hello {parameters.other}.", "Hello ."),
        ("Hello {parameters.other|}.", "Hello ."),
        ("{parameters.other|a longer | one}", "a longer | one"),
        ("{parameters.two-words_and.dots}", ""),
        ("{{caller}}", "{caller}"),
        ('{{"a": {{"b": "{caller}"}}}}', '{"a": {"b": "+4930123456"}}'),
        ("{{{caller}}}", "{+4930123456}"),
        ("on\ntwo lines {caller}", "on\ntwo lines +4930123456"),
    ],
)
def test_variables_are_filled_in(text: str, filled: str) -> None:
    check(text)
    assert fill(text, VALUES) == filled


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{caler}", r"no \{caler\}; there are caller, called, time, date, weekday and parameters\.NAME"),
        ("{}", r"there is no \{\}"),
        ("{ caller }", r"there is no \{ caller \}"),
        ("{parameters}", r"there is no \{parameters\}"),
        ("{parameters.}", r"there is no \{parameters\.\}"),
        ("{parameters.a b}", r"there is no \{parameters\.a b\}"),
        ("{caller.__class__}", "there is no"),
        ("{caller!r:>10}", "there is no"),
        ("{0}", "there is no"),
        ("open { end", r"single \{; write \{\{"),
        ("close } end", r"single \}; write \}\}"),
        ("{caller", r"single \{"),
        ("{a{caller}}", "single"),
        ("{{caller}", r"single \}"),
    ],
)
def test_what_no_call_has_is_said_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check(text)


@pytest.mark.parametrize("caller", ["+266696687", "+7378742833"])
def test_a_number_that_is_withheld_is_no_number(caller: str) -> None:
    values = of_call(caller, "+4989654321", {}, NOW)
    assert fill("{caller|somebody}", values) == "somebody"


def test_every_name_that_is_listed_has_a_value() -> None:
    assert all(fill(f"{{{name}}}", VALUES) for name in OF_EVERY_CALL)


def test_a_parameter_cannot_take_the_place_of_what_every_call_has() -> None:
    values = of_call("+4930123456", "+4989654321", {"caller": "+1", "x}{called": "y"}, NOW)
    assert values["caller"] == "+4930123456"


@given(anything)
def test_what_a_call_brings_is_one_short_line_without_braces(value: str) -> None:
    data = as_data(value)
    assert len(data) <= VALUE_CHARACTERS
    assert not {"{", "}"} & set(data)
    assert len(data.splitlines()) <= 1
    assert data == data.strip()
    assert as_data(data) == data


@given(anything, words, words)
def test_a_value_is_put_in_once_and_never_looked_at_again(value: str, before: str, after: str) -> None:
    values = of_call("+4930123456", "+4989654321", {"name": value}, NOW)
    assert fill(f"{before}{{parameters.name}}{after}", values) == before + as_data(value) + after


@given(st.sampled_from(["{caller}", "{parameters.name}", "{{caller}}", "{", "}}"]), words)
def test_a_value_cannot_name_a_variable_even_if_it_is_filled_in_again(brought: str, other: str) -> None:
    values = of_call("+4930123456", "+4989654321", {"name": brought + other}, NOW)
    once = fill("{parameters.name}", values)
    assert fill(once, values) == once == as_data(brought + other)


@given(anything)
def test_text_with_doubled_braces_says_what_it_says(text: str) -> None:
    assert fill(text.replace("{", "{{").replace("}", "}}"), VALUES) == text


@given(st.text(st.sampled_from("{}|ab.\n parmetscl"), max_size=30))
def test_whatever_is_checked_can_be_filled(text: str) -> None:
    try:
        check(text)
    except ValueError:
        with pytest.raises(ValueError, match="brace"):
            fill(text, VALUES)
    else:
        fill(text, VALUES)


@pytest.mark.parametrize(
    ("text", "differs"),
    [("Hello.", False), ("{{caller}}", False), ("{caller}", True), ("a {time|b} c", True)],
)
def test_a_text_with_a_variable_is_another_one_in_another_call(text: str, differs: bool) -> None:
    assert has_any(text) is differs
