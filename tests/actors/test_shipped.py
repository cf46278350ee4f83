"""The listeners that are shipped, as an assistant's file asks for them."""

from pathlib import Path

import pytest

from actors.assistant import Assistant, AssistantError
from actors.recorder import RecorderActor
from actors.transcript import TranscriptActor
from actors.webhook import NoEventBox, WebhookActor


def assistant(folder: Path, text: str) -> Assistant:
    (folder / "a.toml").write_text(f'instructions = "Be brief."\n{text}')
    return Assistant.load(folder / "a.toml")


def test_none_is_there_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert assistant(tmp_path, "").listener_classes() == ()


def test_a_table_alone_is_enough(tmp_path: Path) -> None:
    folder, box = tmp_path / "calls", NoEventBox()
    text = '[recording]\n[transcript]\n[webhook]\nurl = "https://crm.example.com/calls"'
    recorder, transcript, webhook = assistant(tmp_path, text).listener_classes(folder, 7, box)
    assert issubclass(recorder, RecorderActor)
    assert (recorder.folder, recorder.kept_days, recorder.at_once) == (folder, 7, True)
    assert issubclass(transcript, TranscriptActor)
    assert (transcript.folder, transcript.kept_days) == (folder, 7)
    assert issubclass(webhook, WebhookActor)
    assert (webhook.url, webhook.events) == ("https://crm.example.com/calls", box)
    assert webhook.kinds == ("started", "turn", "tool", "ended")


def test_what_a_table_says_counts(tmp_path: Path) -> None:
    text = '[recording]\nbegin = "told"\n[webhook]\nurl = "http://127.0.0.1:9/"\nevents = ["ended"]'
    recorder, webhook = assistant(tmp_path, text).listener_classes()
    assert issubclass(recorder, RecorderActor)
    assert not recorder.at_once
    assert issubclass(webhook, WebhookActor)
    assert webhook.kinds == ("ended",)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[webhook]\nurl = "http://crm.example.com/"', "webhook.url: .*is not an https URL"),
        ('[webhook]\nurl = "crm.example.com"', "webhook.url: .*is not an https URL"),
        (
            '[webhook]\nurl = "https://user:secret@crm.example.com/"',
            "webhook.url: .*a user name or a password",
        ),
        ('[webhook]\nurl = "https://a.b/"\nevents = ["hangup"]', "webhook.events"),
        ("[webhook]", "webhook.url: Field required"),
        ('[recording]\nbegin = "never"', "recording.begin"),
        ('[transcript]\nformat = "vtt"', "transcript.format"),
    ],
)
def test_a_mistake_is_called_by_its_name(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(AssistantError, match=problem):
        assistant(tmp_path, table)
