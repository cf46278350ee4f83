"""WebhookActor: which events become of what it is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.messages import (
    CallEnded,
    CutOff,
    Floor,
    FloorChanged,
    PauseRecording,
    RecordingBegan,
    StartRecording,
    ToolFinished,
    TranscriptBegan,
)
from actors.webhook import VERSION, WebhookActor
from tests.probe import Probe
from wire.journal import CallRecord
from wire.latency import InterruptionLatency, TurnLatency
from wire.playback import Heard, Part
from wire.realtime import AssistantTranscript, AudioCommitted, CallerTranscript, FunctionCall, ItemAdded

RECORD = CallRecord("CA1", "MZ1", "+491", "+492", "Test", "1")
QUESTION = (
    FloorChanged(Floor.CALLER),
    AudioCommitted("q", None),
    FloorChanged(Floor.ASSISTANT),
    CallerTranscript("q", "Count, please."),
)
ANSWER = (
    ItemAdded("a", "q", "assistant", "message"),
    AssistantTranscript("a", 0, "One two three four."),
    CutOff((Heard(Part("a", 0), 2000, 4000),)),
)


class Box:
    """Keeps what is put."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def put(self, event_id: str, call_sid: str, url: str, body: bytes) -> None:
        event = json.loads(body)
        assert (event["id"], event["call_sid"], event["version"]) == (event_id, call_sid, VERSION)
        assert url == "https://crm.example.com/"
        self.events.append(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def tell(box: Box) -> Callable[..., None]:
    return telling(box)


def telling(box: Box, **given: Any) -> Callable[..., None]:
    kind = type("WebhookActor", (WebhookActor,), {"url": "https://crm.example.com/", "events": box, **given})
    actor: WebhookActor = kind(Probe("call"), RECORD)
    actor.on_receive(actor.mailbox.get().message)

    def tell(*messages: Any) -> None:
        for message in messages:
            assert isinstance(message, (*actor.wants, CallEnded))
            actor.handle(message)

    return tell


def test_the_start_says_who_calls_whom(box: Box, tell: Callable[..., None]) -> None:
    [started] = box.events
    assert started.pop("id")
    assert started.pop("at") > 1_700_000_000
    assert started == {
        "version": 1,
        "type": "started",
        "call_sid": "CA1",
        "stream_sid": "MZ1",
        "direction": "inbound",
        "caller": "+491",
        "called": "+492",
        "assistant": "Test",
        "assistant_version": "1",
    }


def test_a_turn_is_told_with_what_was_heard_of_it(box: Box, tell: Callable[..., None]) -> None:
    tell(*QUESTION, *ANSWER)
    question, answer = box.of("turn")
    assert (question["speaker"], question["text"]) == ("caller", "Count, please.")
    assert (
        answer["speaker"],
        answer["text"],
        answer["heard_text"],
        answer["heard_ms"],
        answer["total_ms"],
    ) == (
        "assistant",
        "One two three four.",
        "One two",
        2000,
        4000,
    )


def test_a_tool_is_told_without_what_it_was_given_and_returned(box: Box, tell: Callable[..., None]) -> None:
    tell(FunctionCall("r", "t", "c1", "pay", '"secret"'), ToolFinished("c1", "pay", '"secret"', True, 0.25))
    [event] = box.of("tool")
    assert (event["name"], event["failed"], event["seconds"]) == ("pay", True, 0.25)
    assert "secret" not in json.dumps(box.events)


def test_the_end_sums_the_call_up(box: Box, tell: Callable[..., None]) -> None:
    tell(
        *QUESTION,
        *(TurnLatency(500.0, model_ms, 0.0, 0.0) for model_ms in (100.0, 400.0, 200.0)),
        TurnLatency(None, 1.0, 1.0, 1.0),
        *ANSWER,
        InterruptionLatency(100.0, 1.0, 40.0),
        ToolFinished("c1", "pay", "1", False, 0.25),
        RecordingBegan("/r/a.wav", 1.0),
        TranscriptBegan("/r/a.jsonl"),
        CallEnded("hung up", "caller hung up", False, 61.5, 0.25),
    )
    [ended] = box.of("ended")
    known = {"version", "id", "type", "at", "call_sid", "stream_sid"}
    assert {name: value for name, value in ended.items() if name not in known} == {
        "outcome": "hung up",
        "reason": "caller hung up",
        "goes_on": False,
        "seconds": 61.5,
        "cost": 0.25,
        "turns": 2,
        "interruptions": 1,
        "answer_ms": 700.0,
        "tools": ["pay"],
        "files": ["/r/a.wav", "/r/a.jsonl"],
    }


def test_what_is_not_complete_is_told_at_the_end_and_before_it(box: Box, tell: Callable[..., None]) -> None:
    tell(FloorChanged(Floor.CALLER), AudioCommitted("q", None), CallEnded())
    assert [event["type"] for event in box.events] == ["started", "turn", "ended"]
    assert box.events[-1]["answer_ms"] is None


def test_what_is_said_in_a_pause_is_withheld(box: Box, tell: Callable[..., None]) -> None:
    tell(PauseRecording(), *QUESTION, *ANSWER, StartRecording(), CallEnded())
    assert [event["text"] for event in box.of("turn")] == ["[not recorded]"] * 2
    assert "Count" not in json.dumps(box.events)


def test_only_the_kinds_that_are_asked_for_are_told(box: Box) -> None:
    telling(box, kinds=("ended",))(*QUESTION, CallEnded())
    assert [event["type"] for event in box.events] == ["ended"]
