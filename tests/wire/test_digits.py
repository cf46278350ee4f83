"""Keys put together to a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.digits import Command, Digits, Entered, Form, NotEntered, Remind


def press(digits: Digits, keys: str, now: float = 0.0) -> list[Command]:
    """Press them all; what the last one causes."""
    commands: list[Command] = []
    for key in keys:
        commands = digits.press(key, now)
    return commands


@pytest.mark.parametrize(
    ("form", "keys", "expected"),
    [
        (Form(4, 4), "1234", Entered("1234")),
        (Form(4, 4), "12*1234", Entered("1234")),
        (Form(4, 4), "12#", NotEntered(2)),
        (Form(2, 6), "123#", Entered("123")),
        (Form(1), "12*3#", Entered("12*3")),
        (Form(1), "#", NotEntered(0)),
        (Form(1), "A1#", Entered("A1")),
    ],
)
def test_a_number_is_over_when_it_is_complete_or_finished(form: Form, keys: str, expected: Command) -> None:
    assert press(Digits(form, 0.0), keys) == [expected]


def test_a_pause_ends_a_number() -> None:
    digits = Digits(Form(1, None, 15.0, 5.0), 0.0)
    assert digits.begin(0.0) == [Remind(15.0)]
    assert press(digits, "12", 10.0) == [Remind(5.0)]
    assert digits.due(14.0) == []
    assert digits.due(15.0) == [Entered("12")]
    assert digits.due(100.0) == []


def test_who_enters_nothing_is_waited_for_no_longer_than_that() -> None:
    digits = Digits(Form(4, 4, 15.0, 5.0), 100.0)
    digits.begin(100.0)
    assert digits.due(114.0) == []
    assert digits.due(115.0) == [NotEntered(0)]


def test_a_number_that_nobody_asked_for_may_begin_at_any_time_and_again() -> None:
    digits = Digits(Form(1, None, None, 2.0), 0.0)
    assert digits.begin(0.0) == []
    assert digits.due(1000.0) == []
    assert press(digits, "7", 1000.0) == [Remind(2.0)]
    assert digits.due(1002.0) == [Entered("7")]
    assert press(digits, "8#", 2000.0) == [Entered("8")]


@pytest.mark.parametrize(
    "wrong",
    [{"shortest": 0}, {"shortest": 3, "longest": 2}, {"between_seconds": 0.0}, {"first_seconds": 0.0}],
)
def test_a_form_that_nobody_can_fill_in_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"cannot be entered|pause"):
        Form(**wrong)  # type: ignore[arg-type]


@given(st.text("0123456789", min_size=1, max_size=20), st.integers(1, 20))
def test_whatever_is_entered_is_a_number_of_the_form_and_made_of_the_keys(keys: str, length: int) -> None:
    digits, entered = Digits(Form(length, length), 0.0), ""
    for key in keys:
        for command in digits.press(key, 0.0):
            if isinstance(command, Entered):
                assert len(command.digits) == length
                entered += command.digits
            else:
                assert isinstance(command, Remind)
    assert entered == keys[: len(keys) // length * length]
