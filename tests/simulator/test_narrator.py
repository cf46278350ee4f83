"""What the narrator makes of a call's events."""

from typing import Any

from simulator.narrator import LINE_WIDTH, Narrator
from simulator.phone_events import (
    AssistantAudible,
    AssistantSilent,
    CallerSpeechEnded,
    CallerSpeechStarted,
    Cleared,
    StreamOpened,
)


def told(*events: Any) -> list[str]:
    """The lines told without their times; a model event is a pair of its type and its fields."""
    lines: list[str] = []
    narrator = Narrator(lines.append)
    for event in events:
        if isinstance(event, tuple):
            narrator.model_event("sess_1", *event)
        else:
            narrator.phone_event(event)
    return [line[10:].strip() for line in lines]


def message(status: str, text: str) -> tuple[str, dict[str, Any]]:
    part = {"type": "output_audio", "transcript": text}
    item = {"type": "message", "role": "assistant", "status": status, "content": [part]}
    return "response.output_item.done", {"item": item}


def test_an_answer_is_told_as_what_will_be_said() -> None:
    assert told(message("completed", "We open at nine.")) == ['assistant will say: "We open at nine."']


def test_an_answer_that_was_cancelled_while_it_was_made_is_not_told_as_said() -> None:
    assert told(message("incomplete", "We open")) == ['assistant began to say: "We open"']


def test_what_is_not_spoken_is_not_told() -> None:
    call = {"type": "function_call", "status": "completed", "name": "f", "arguments": "{}"}
    assert told(("response.output_item.done", {"item": call}), message("incomplete", "")) == []


def test_latencies_are_told_as_the_caller_notices_them() -> None:
    assert told(
        StreamOpened(0.1, "MZ1", "wss://h/m"),
        AssistantAudible(0.3),
        CallerSpeechStarted(1.0, 0),
        AssistantSilent(1.25),
        Cleared(1.2, 2500.0),
        CallerSpeechEnded(2.0, 0),
        AssistantAudible(2.6),
    ) == [
        "phone     connected, the media stream is open",
        "greeting heard 200 ms after the stream was open",
        "caller    (talks over the assistant)",
        "assistant silent 250 ms after the caller's first word",
        "2.5 s of the answer were thrown away unheard",
        "answer heard 600 ms after the caller's last word",
    ]


def test_long_lines_are_broken_under_their_beginning() -> None:
    lines: list[str] = []
    Narrator(lines.append).model_event("sess_1", *message("completed", "word " * 60))
    rows = lines[0].splitlines()
    assert len(rows) > 2
    assert max(map(len, rows)) <= LINE_WIDTH
    assert all(row.startswith(" " * 20) for row in rows[1:])
