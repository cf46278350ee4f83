"""Orders as text: what is written is read again, and nothing else is an order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import HangUp, PauseRecording, StartRecording, StopRecording
from actors.orders import Order, decode, encode

anything = st.one_of(st.from_type(kind) for kind in Order.__args__)


@given(anything)
def test_an_order_survives_the_way(order: Order) -> None:
    assert decode(encode(order)) == order


@pytest.mark.parametrize("kind", [StartRecording, PauseRecording, StopRecording])
def test_the_time_of_an_order_is_that_of_the_process_where_it_arrives(kind: type[StartRecording]) -> None:
    assert decode(encode(kind(at=-5.0))).at > 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '"HangUp"',
        '{"order": "Drain"}',
        '{"order": "HangUp"}',
        '{"order": "HangUp", "reason": []}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an order"):
        decode(text)


def test_a_field_that_a_message_does_not_have_yet_is_filled_with_its_default() -> None:
    assert decode('{"order": "HangUp", "reason": "enough"}') == HangUp("enough")
