"""Which numbers may be called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.dial_plan import SPECIAL, DialPlan, NotAllowed

PREFIXES = st.from_regex(r"\+[1-9][0-9]{1,4}", fullmatch=True)
NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)


@pytest.mark.parametrize(
    ("entries", "number", "expected"),
    [
        # Nobody, unless somebody was let in.
        ((), "+4930123456", NotAllowed.NOT_LISTED),
        (("+49",), "+4930123456", None),
        (("+49",), "+43123456789", NotAllowed.NOT_LISTED),
        (("+49", "+43"), "+43123456789", None),
        # The longest prefix decides, in whatever order they are written.
        (("+49", "!+4930"), "+4930123456", NotAllowed.NOT_LISTED),
        (("!+4930", "+49"), "+4930123456", NotAllowed.NOT_LISTED),
        (("!+4930", "+49", "+493012"), "+4930123456", None),
        (("!+49",), "+4930123456", NotAllowed.NOT_LISTED),
        # One number alone.
        (("+4930123456",), "+4930123456", None),
        (("+4930123456",), "+4930123457", NotAllowed.NOT_LISTED),
        # What costs extra, and whom a code has besides the country that is meant.
        (("+49",), "+499001234567", NotAllowed.SPECIAL),
        (("+49",), "+491371234567", NotAllowed.SPECIAL),
        (("+44",), "+449098765432", NotAllowed.SPECIAL),
        (("+44",), "+447911123456", None),
        (("+1",), "+14158675310", None),
        (("+1",), "+18765551234", NotAllowed.SPECIAL),
        (("+1",), "+19005551234", NotAllowed.SPECIAL),
        (("+7",), "+74951234567", None),
        (("+7",), "+77271234567", NotAllowed.SPECIAL),
        (("+7", "+77"), "+77271234567", None),
        (("+88",), "+881612345678", NotAllowed.SPECIAL),
        (("+1", "+1876"), "+18765551234", None),
        (("+49", "+49900"), "+499001234567", None),
        # Emergency numbers are no whole numbers, with or without a country.
        (("+49",), "+49112", NotAllowed.NO_NUMBER),
        (("+49",), "+49110110", NotAllowed.SPECIAL),
        (("+49",), "112", NotAllowed.NO_NUMBER),
        (("+1",), "911", NotAllowed.NO_NUMBER),
        (("+1",), "+1911", NotAllowed.NO_NUMBER),
        # What is not written as it should be is not guessed at.
        (("+49",), "004930123456", NotAllowed.NO_NUMBER),
        (("+49",), "030123456", NotAllowed.NO_NUMBER),
        (("+49",), "+49 30 123456", NotAllowed.NO_NUMBER),
        (("+49",), "+4930123456\n", NotAllowed.NO_NUMBER),
        (("+49",), "+49３０123456", NotAllowed.NO_NUMBER),
        (("+49",), "client:anna", NotAllowed.NO_NUMBER),
        (("+49",), "sip:+4930123456@example.com", NotAllowed.NO_NUMBER),
        (("+49",), "", NotAllowed.NO_NUMBER),
    ],
)
def test_a_number_is_called_if_the_longest_prefix_that_fits_it_allows_it(
    entries: tuple[str, ...], number: str, expected: NotAllowed | None
) -> None:
    assert DialPlan(entries).refusal(number) is expected


@given(st.lists(PREFIXES, max_size=5), NUMBERS)
def test_no_number_is_called_outside_of_what_was_written(entries: list[str], number: str) -> None:
    if DialPlan(entries).refusal(number) is None:
        assert any(number.startswith(entry) for entry in entries)


@given(st.lists(PREFIXES, max_size=5), PREFIXES, NUMBERS)
def test_what_is_taken_out_opens_nothing_that_was_closed(entries: list[str], out: str, number: str) -> None:
    if DialPlan(entries).refusal(number) is not None:
        without = [entry for entry in entries if entry != out]
        assert DialPlan([*without, f"!{out}"]).refusal(number) is not None


def test_what_is_special_is_written_as_prefixes() -> None:
    assert all(re.fullmatch(r"\+[1-9][0-9]{1,5}", prefix) for prefix in SPECIAL)
