"""The table [outbound] of an assistant's file."""

from typing import Any

import pytest
from pydantic import ValidationError

from actors.assistant import Assistant

OURS = "+15550100000"


def assistant(**outbound: Any) -> Assistant:
    return Assistant.model_validate(
        {"instructions": "Be brief.", "greeting": "Hello.", "outbound": {"caller_id": OURS} | outbound}
    )


def test_without_the_table_an_assistant_makes_no_calls() -> None:
    assert Assistant(instructions="Be brief.").outbound is None


def test_it_greets_in_other_words_when_it_calls() -> None:
    calling = assistant(greeting="Good morning, we call about your bicycle.").calling()
    assert "we call about your bicycle" in (calling.greeting_instructions() or "")
    assert calling.instructions == "Be brief."


def test_and_in_the_same_where_no_others_are_given() -> None:
    assert assistant().calling().greeting == "Hello."
    assert Assistant(instructions="Be brief.", greeting="Hi.").calling().greeting == "Hi."


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"caller_id": "030123456"}, "caller_id"),
        ({"timeout_seconds": 601}, "timeout_seconds"),
        ({"detection_seconds": 2}, "detection_seconds"),
        ({"silence_timeout_ms": 100}, "silence_timeout_ms"),
        ({"voicemail": ""}, "voicemail"),
        ({"voice_mail": "Hello."}, "voice_mail"),
        ({"voicemail": "Hello.", "machine_detection": False}, "voicemail needs machine_detection"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        assistant(**wrong)
