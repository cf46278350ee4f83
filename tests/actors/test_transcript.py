"""TranscriptActor: what it is told stands in its files, and what is nobody's business does not."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from actors.call_file import erase_files
from actors.messages import (
    CallEnded,
    CutOff,
    DigitPressed,
    Floor,
    FloorChanged,
    HeardSoFar,
    PauseRecording,
    RecordingBegan,
    StartRecording,
    ToolFinished,
    TranscriptBegan,
)
from actors.transcript import TranscriptActor
from tests.conftest import ExpectedLogs
from tests.probe import Probe
from wire.journal import CallRecord
from wire.latency import InterruptionLatency, TurnLatency
from wire.playback import Heard, Part
from wire.realtime import (
    AssistantTranscript,
    AssistantTranscriptDelta,
    AudioCommitted,
    CallerTranscript,
    FunctionCall,
    ItemAdded,
    ItemDeleted,
)
from wire.transcript_text import web_vtt

RECORD = CallRecord("CA1", "MZ1", "+491", "+492", "Test", "1")
A = Part("a", 0)
CALLER_SPEAKS = (FloorChanged(Floor.CALLER), AudioCommitted("q", None), FloorChanged(Floor.ASSISTANT))


class Transcribing:
    """An unstarted actor that the test drives by messages."""

    def __init__(self, folder: Path) -> None:
        self.call = Probe("call")
        self.folder = folder
        kind = type("TranscriptActor", (TranscriptActor,), {"folder": folder})
        self.actor: TranscriptActor = kind(self.call, RECORD)
        self.actor.on_receive(self.actor.mailbox.get().message)

    def tell(self, *messages: Any) -> None:
        for message in messages:
            assert isinstance(message, self.actor.wants)
            self.actor.handle(message)

    def lines(self, kind: str | None = None) -> list[dict[str, Any]]:
        [path] = self.folder.rglob("*.jsonl")
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in found if kind in (None, line["kind"])]

    def said(self) -> list[tuple[str, str, int, int]]:
        return [
            (line["text"], line["heard_text"], line["heard_ms"], line["total_ms"])
            for line in self.lines("said")
        ]

    def end(self) -> tuple[str, str]:
        """The text, and the captions."""
        self.actor.handle(CallEnded())
        self.actor.close()
        [text], [captions] = self.folder.rglob("*.txt"), self.folder.rglob("*.vtt")
        return text.read_text(), captions.read_text()

    def answer(self, *, cut_at_ms: int | None = None) -> None:
        self.tell(
            ItemAdded("a", None, "assistant", "message"),
            AssistantTranscriptDelta("a", 0, "One two "),
            AssistantTranscript("a", 0, "One two three four."),
            HeardSoFar(Heard(A, 500, 4000), False),
        )
        if cut_at_ms is None:
            self.tell(HeardSoFar(Heard(A, 4000, 4000), True))
        else:
            self.tell(CutOff((Heard(A, cut_at_ms, 4000),)))


@pytest.fixture
def transcribing(tmp_path: Path) -> Transcribing:
    return Transcribing(tmp_path / "recordings")


def test_what_was_said_is_written_as_soon_as_it_is_complete(transcribing: Transcribing) -> None:
    transcribing.tell(*CALLER_SPEAKS)
    assert transcribing.said() == []
    transcribing.tell(CallerTranscript("q", "Count, please."))
    assert transcribing.said() == [("Count, please.", "Count, please.", 0, 0)]
    transcribing.answer()
    assert transcribing.said()[1:] == [("One two three four.", "One two three four.", 4000, 4000)]


def test_an_answer_that_was_cut_off_is_written_with_what_was_heard(transcribing: Transcribing) -> None:
    transcribing.answer(cut_at_ms=2000)
    assert transcribing.said() == [("One two three four.", "One two", 2000, 4000)]


def test_an_entry_that_changes_is_written_again(transcribing: Transcribing) -> None:
    transcribing.tell(*CALLER_SPEAKS, CallerTranscript("q", None), CallerTranscript("q", "Hello."))
    assert [(line["item_id"], line["failed"], line["text"]) for line in transcribing.lines("said")] == [
        ("q", True, ""),
        ("q", False, "Hello."),
    ]


def test_what_is_not_complete_when_the_call_ends_is_written_then(transcribing: Transcribing) -> None:
    transcribing.tell(
        ItemAdded("a", None, "assistant", "message"), AssistantTranscriptDelta("a", 0, "One two ")
    )
    transcribing.tell(HeardSoFar(Heard(A, 500, 900), False))
    assert transcribing.said() == []
    text, _ = transcribing.end()
    assert [line["kind"] for line in transcribing.lines()] == ["call", "said", "ended"]
    assert "0.5 of 0.9 s heard" in text


def test_the_times_are_those_of_the_recording(transcribing: Transcribing) -> None:
    transcribing.answer()
    [line] = transcribing.lines("said")
    assert line["ended"] - line["began"] == pytest.approx(0.5, abs=0.1)
    began_at = transcribing.actor._minutes.began_at
    transcribing.tell(RecordingBegan("/r/call.wav", began_at - 100))
    assert transcribing.lines("recording")[0]["path"] == "/r/call.wav"
    transcribing.end()
    later = transcribing.lines("said")[-1]
    assert later["began"] == pytest.approx(line["began"] + 100, abs=0.002)


def test_tools_latencies_and_keys_are_written(transcribing: Transcribing) -> None:
    transcribing.tell(
        FunctionCall("r", "t", "c1", "look_up", '{"order": 7}'),
        ToolFinished("c1", "look_up", '"late"', False, 0.1),
        TurnLatency(500.0, 300.0, 1.0, 40.0),
        InterruptionLatency(100.0, 1.0, 40.0),
        DigitPressed("7"),
    )
    [tool], [answered], [interrupted], [key] = (
        transcribing.lines(kind) for kind in ("tool", "answered", "interrupted", "key pressed")
    )
    assert (tool["name"], tool["arguments"], tool["output"]) == ("look_up", '{"order": 7}', '"late"')
    assert answered["answer_ms"] == 841.0
    assert interrupted["silence_ms"] == 141.0
    assert set(key) == {"at", "seconds", "kind"}
    text, captions = transcribing.end()
    assert 'look_up({"order": 7}) = "late"' in text
    assert "look_up" not in captions


def test_what_was_deleted_is_not_in_the_text(transcribing: Transcribing) -> None:
    transcribing.tell(*CALLER_SPEAKS, CallerTranscript("q", "Ahem."), ItemDeleted("q"))
    text, captions = transcribing.end()
    assert text == ""
    assert captions == "WEBVTT\n"


SECRET = "four two four two"


def everything(transcribing: Transcribing) -> str:
    transcribing.end()
    return "".join(path.read_text() for path in transcribing.folder.rglob("*.*"))


@pytest.mark.parametrize("pause_at", [0, 1])
@pytest.mark.parametrize("goes_on_at", [2, 3, 4])
def test_what_the_caller_says_in_a_pause_is_nowhere(
    transcribing: Transcribing, pause_at: int, goes_on_at: int
) -> None:
    """Wherever in that turn the pause begins, and wherever behind its beginning it ends."""
    messages: list[Any] = [*CALLER_SPEAKS, CallerTranscript("q", SECRET)]
    messages.insert(goes_on_at, StartRecording())
    messages.insert(pause_at, PauseRecording())
    transcribing.tell(*messages)
    transcribing.tell(FloorChanged(Floor.CALLER), AudioCommitted("q2", "q"), CallerTranscript("q2", "Done."))
    text = everything(transcribing)
    assert SECRET not in text
    assert "[not recorded]" in text
    assert "Done." in text


def test_what_is_answered_and_looked_up_in_a_pause_is_nowhere(transcribing: Transcribing) -> None:
    transcribing.tell(
        PauseRecording(),
        FunctionCall("r", "t", "c1", "pay", f'"{SECRET}"'),
        ToolFinished("c1", "pay", f'"{SECRET}"', False, 0.1),
        ItemAdded("a", "t", "assistant", "message"),
        AssistantTranscript("a", 0, SECRET),
        HeardSoFar(Heard(A, 900, 900), True),
        StartRecording(),
    )
    assert SECRET not in everything(transcribing)


def test_its_files_are_for_nobody_else_to_read_and_the_call_is_told_where(transcribing: Transcribing) -> None:
    transcribing.answer()
    transcribing.end()
    paths = [path for path in transcribing.folder.rglob("*.*") if path.is_file()]
    assert sorted(path.suffix for path in paths) == [".jsonl", ".txt", ".vtt"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert Path(transcribing.call.expect(TranscriptBegan).path) in paths


def test_a_call_that_is_forgotten_while_it_goes_on_leaves_no_text(transcribing: Transcribing) -> None:
    transcribing.answer()
    erase_files([transcribing.call.expect(TranscriptBegan).path])
    transcribing.actor.handle(CallEnded())
    transcribing.actor.close()
    assert [path for path in transcribing.folder.rglob("*") if path.is_file()] == []


def test_what_is_forgotten_while_its_texts_are_written_goes_with_them(
    transcribing: Transcribing, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = transcribing.call.expect(TranscriptBegan).path

    def forget(conversation: Any) -> str:
        erase_files([path])
        return web_vtt(conversation)

    monkeypatch.setattr("actors.transcript.web_vtt", forget)
    transcribing.answer()
    transcribing.actor.handle(CallEnded())
    transcribing.actor.close()
    assert [path for path in transcribing.folder.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("transcript ended: .*: Not a directory")
    (tmp_path / "file").write_text("")
    transcribing = Transcribing(tmp_path / "file")
    transcribing.answer()
    transcribing.actor.handle(CallEnded())
    transcribing.actor.close()
    assert len(logs.records) == 1
    assert transcribing.call.told() == []
