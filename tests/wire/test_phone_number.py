"""Phone numbers: what is one, and what is shown of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.phone_number import is_e164, shortened


@pytest.mark.parametrize("number", ["+4930123456", "+15550100009", "+1234567"])
def test_a_number_in_e164_is_one(number: str) -> None:
    assert is_e164(number)


@pytest.mark.parametrize(
    "number",
    ["", "15550100009", "+0555010000", "+123456", "+1234567890123456", "client:me", "+15550100009\n"],
)
def test_anything_else_is_none(number: str) -> None:
    assert not is_e164(number)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+15550100010", "…10"),
        ("sip:+4930123456@example.com", "…56"),
        ("anonymous", "…"),
        ("", "…"),
        ("911", "…"),
        ("client:anna", "…"),
        ("client:softphone", "softphone"),
    ],
)
def test_a_number_is_shortened_so_that_it_can_be_told_from_another_and_not_called(
    number: str, shown: str
) -> None:
    assert shortened(number) == shown


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_no_more_than_two_digits_of_a_number_are_shown(number: str) -> None:
    assert is_e164(number)
    assert shortened(number) == f"…{number[-2:]}"
