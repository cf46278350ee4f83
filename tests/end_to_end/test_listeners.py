"""The shipped listeners in a real call: their files agree with the recording of the phone, and with each other."""

import json
import re
import subprocess
import sys
import time
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator.call_result import CallResult
from simulator.realtime import OfflineModel
from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import RUN, ServerProcess
from tests.actors.test_recorder import tracks
from tests.end_to_end.stage import PATIENCE, Greeting, Stage, ask, finished, server_settings
from tests.store.receiver import Receiver, receiving
from wire.event_signature import valid
from wire.g711 import decode_ulaw

pytestmark = pytest.mark.slow

SECRET = "a secret of sixteen or more"
TOLERANCE_SAMPLES = 160
"""20 ms."""
LATENCY_MS = 100
QUIET = 200
PAUSE_SAMPLES = 640


@dataclass
class Call:
    """What one call has left behind."""

    ours: "tuple[array[int], array[int]]"
    phones: "tuple[array[int], array[int]]"
    recordings: Path
    events: list[dict[str, Any]]
    settings: dict[str, str]
    call_sid: str
    late_samples: int
    """how late the phone itself was, whose marks say what was heard"""


class LongAnswer(Greeting):
    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        return ScriptedReply("one two three four five six seven eight", audio=tone(3000))


def samples(ulaw: bytes) -> "array[int]":
    return array("h", decode_ulaw(ulaw))


def sounds(track: "array[int]") -> list[tuple[int, int]]:
    """Where in the track something is heard, first sample and last."""
    found: list[tuple[int, int]] = []
    for place, sample in enumerate(track):
        if abs(sample) > QUIET:
            if found and place - found[-1][1] < PAUSE_SAMPLES:
                found[-1] = (found[-1][0], place)
            else:
                found.append((place, place))
    return found


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    directory = tmp_path_factory.mktemp("listeners")
    with receiving() as receiver, OfflineModel(pace=100, **LongAnswer().equipment()) as model:
        (directory / "listening.toml").write_text(
            f'instructions = "Count."\n[recording]\n[transcript]\n[webhook]\nurl = "{receiver.url}"\n'
        )
        settings = server_settings(model, directory) | {
            "ASSISTANT": str(directory / "listening.toml"),
            "RECORDINGS": str(directory / "recordings"),
            "WEBHOOK_SECRET": SECRET,
        }
        with ServerProcess(settings, directory) as server:
            stage = Stage(server, model, LongAnswer())
            result = talk(stage, directory / "phone.wav")
            events = received(receiver)
    [recording] = (directory / "recordings").rglob("*.wav")
    caller, assistant = tracks(recording)
    with wave.open(str(directory / "phone.wav")) as wav:
        both = array("h", wav.readframes(wav.getnframes()))
    return Call(
        (samples(caller), samples(assistant)),
        (both[0::2], both[1::2]),
        directory / "recordings",
        events,
        settings,
        result.call_sid,
        round(result.max_lateness_ms * 8),
    )


def talk(stage: Stage, recording: Path) -> CallResult:
    """The greeting, a question whose answer is interrupted, and another one whose answer is heard out."""
    with stage.call(recording=recording, latency_ms=LATENCY_MS) as (phone, _):
        ask(phone, tone(800, 700))
        ask(phone, silence(1200) + tone(400, 700))
        phone.await_silence(1000, PATIENCE)
        phone.hang_up()
        return finished(phone)


def received(receiver: Receiver) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] != "ended":
        _, body, signature = receiver.expect()
        assert valid(SECRET, body, signature, time.time())
        events.append(json.loads(body))
    return events


def test_both_voices_are_where_the_phone_has_them_within_20_ms(call: Call) -> None:
    ours, phones = sounds(call.ours[0]), sounds(call.phones[0])
    assert len(ours) == len(phones) == 2
    shift = phones[0][0] - ours[0][0]
    assert phones[1][0] - ours[1][0] == pytest.approx(shift, abs=8)
    spoken, heard = sounds(call.ours[1]), sounds(call.phones[1])
    assert len(spoken) == len(heard) == 3
    for (start, end), (true_start, true_end) in zip(spoken, heard, strict=True):
        assert start + shift == pytest.approx(true_start, abs=TOLERANCE_SAMPLES + call.late_samples)
        assert end + shift == pytest.approx(true_end, abs=TOLERANCE_SAMPLES + call.late_samples)


def test_the_answer_that_was_interrupted_ends_there(call: Call) -> None:
    _, (start, end), last = sounds(call.ours[1])
    assert 0.5 < (end - start) / 8000 < 2.5
    assert (last[1] - last[0]) / 8000 == pytest.approx(3.0, abs=0.05)


def test_transcript_events_and_history_agree(call: Call) -> None:
    [path] = call.recordings.rglob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    said = {line["item_id"]: line for line in lines if line["kind"] == "said"}
    told = {event["item_id"]: event for event in call.events if event["type"] == "turn"}
    assert said.keys() == told.keys()
    for item_id, line in said.items():
        assert all(
            told[item_id][name] == line[name] for name in ("speaker", "text", "heard_text", "heard_ms")
        )
    cut_off = [line for line in said.values() if 0 < line["heard_ms"] < line["total_ms"]]
    _, (start, end), _ = sounds(call.ours[1])
    assert [line["heard_ms"] for line in cut_off] == [
        pytest.approx((end - start) / 8, abs=25 + call.late_samples / 8)
    ]
    assert cut_off[0]["began"] == pytest.approx(start / 8000, abs=0.1)
    assert cut_off[0]["ended"] == pytest.approx(end / 8000, abs=0.1)
    ended = call.events[-1]
    assert ended["call_sid"] == call.call_sid
    assert {Path(file).suffix for file in ended["files"]} == {".wav", ".jsonl"}
    assert all(Path(file).is_file() for file in ended["files"])
    shown = run(call, "show", call.call_sid)
    assert cut_off[0]["heard_text"] in shown
    assert "heard; unheard:" in shown
    assert f"recording: path {next(call.recordings.rglob('*.wav'))}" in shown
    assert re.search(rf"…{call.call_sid[-8:]} .* 2  ", run(call, "calls"))
    captions = next(call.recordings.rglob("*.vtt")).read_text()
    assert captions.count("-->") >= 3


def test_what_is_forgotten_leaves_no_file(call: Call) -> None:
    assert len([path for path in call.recordings.rglob("*") if path.is_file()]) == 4
    assert run(call, "forget", "+15550100001") == "1 call erased\n"
    assert [path for path in call.recordings.rglob("*") if path.is_file()] == []


def run(call: Call, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        env=call.settings,
        cwd=call.recordings.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
