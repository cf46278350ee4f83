"""RecorderActor: what it is told becomes a file that can be played, whatever happens to it."""

import os
import signal
import stat
import struct
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from actors.messages import (
    CallEnded,
    CallerAudio,
    Cleared,
    PauseRecording,
    Played,
    Queued,
    RecordingBegan,
    RecordingFailed,
    StartRecording,
    StopRecording,
)
from actors.recorder import RecorderActor
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, Probe
from wire.journal import CallRecord

RECORD = CallRecord("CA1", "MZ1", "+491", "+492", "Test", "1")
FRAME = b64encode(b"\x10" * 160).decode()
ROOT = Path(__file__).parents[2]


def tracks(path: Path) -> tuple[bytes, bytes]:
    """The two tracks, by the rules that players have for RIFF."""
    content = path.read_bytes()
    assert content[:4] == b"RIFF"
    assert content[8:12] == b"WAVE"
    chunks, place = {}, 12
    end = 8 + struct.unpack("<I", content[4:8])[0]
    while place < end:
        name, size = struct.unpack_from("<4sI", content, place)
        chunks[name] = content[place + 8 : place + 8 + size]
        assert len(chunks[name]) == size
        place += 8 + size
    assert struct.unpack("<HHIIHHH", chunks[b"fmt "]) == (7, 2, 8000, 16000, 2, 8, 0)
    data = chunks[b"data"]
    assert struct.unpack("<I", chunks[b"fact"]) == (len(data) // 2,)
    return data[0::2], data[1::2]


class Recorder:
    """An unstarted recorder that the test drives by messages."""

    def __init__(self, folder: Path, at_once: bool = True) -> None:
        self.call = Probe("call")
        self.folder = folder
        kind = type("RecorderActor", (RecorderActor,), {"folder": folder, "at_once": at_once})
        self.actor: RecorderActor = kind(self.call, RECORD)
        self.actor.on_receive(self.actor.mailbox.get().message)
        self.frames = 0

    def tell(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def at(self) -> float:
        return 1000.0 + self.frames * 0.02

    def hear_caller(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.frames += 1
            self.actor.handle(CallerAudio(20.0, FRAME, self.at(), (self.frames - 1) * 20.0))

    def queue(self, mark: str, ms: int, generation: int = 0, offset_ms: float = 0.0) -> None:
        payload = b64encode(b"\x20" * 8 * ms).decode()
        self.actor.handle(Queued(ms, payload, mark, generation, offset_ms, self.at()))

    def end(self) -> None:
        self.tell(CallEnded())
        self.actor.close()

    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.wav"))


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recordings")


def test_both_voices_are_in_the_file_where_they_were_heard(recorder: Recorder) -> None:
    recorder.hear_caller(1)
    recorder.queue("0-1", 500)
    recorder.hear_caller(0.5)
    recorder.tell(Played(0.0, "0-1", 1500.0, recorder.at()))
    recorder.hear_caller(2)
    recorder.end()
    [path] = recorder.files()
    began = recorder.call.expect(RecordingBegan)
    assert began == RecordingBegan(str(path), began.began_at)
    assert began.began_at == pytest.approx(1000.0)
    caller, assistant = tracks(path)
    assert caller == b"\x10" * 28000
    assert assistant == b"\xff" * 8000 + b"\x20" * 4000 + b"\xff" * 16000


def test_the_file_is_by_date_and_call_and_for_nobody_else_to_read(recorder: Recorder) -> None:
    recorder.hear_caller(0.1)
    recorder.end()
    [path] = recorder.files()
    assert path.parent.name.count("-") == 2
    assert path.name.endswith("-CA1.wav")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_clear_that_waits_when_the_call_ends_still_counts(recorder: Recorder) -> None:
    recorder.hear_caller(1)
    recorder.queue("0-1", 3000)
    recorder.hear_caller(1)
    # Control overtakes audio: the end is handled before what was told before it.
    for message in (Cleared(0.0, 0, 400.0), CallerAudio(20.0, FRAME, recorder.at() + 0.02, 2000.0)):
        recorder.actor.actor_ref.tell(message)
    recorder.end()
    [path] = recorder.files()
    caller, assistant = tracks(path)
    assert len(caller) == 16160
    assert assistant.count(b"\x20") == 3200


def test_a_pause_is_silence_and_a_start_goes_on(recorder: Recorder) -> None:
    recorder.hear_caller(2)
    recorder.tell(PauseRecording(at=recorder.at()))
    recorder.hear_caller(1)
    recorder.tell(StartRecording(at=recorder.at()))
    recorder.hear_caller(1)
    recorder.end()
    [path] = recorder.files()
    caller, _ = tracks(path)
    assert caller == b"\x10" * 16000 + b"\xff" * 8000 + b"\x10" * 8000


def test_it_can_wait_to_be_started_and_be_stopped_and_started_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, at_once=False)
    recorder.tell(PauseRecording())
    recorder.hear_caller(1)
    assert recorder.files() == []
    for seconds in (1.5, 2.5):
        recorder.tell(StartRecording())
        recorder.hear_caller(seconds)
        recorder.tell(StopRecording())
        recorder.hear_caller(1)
    recorder.end()
    assert sorted(len(tracks(path)[0]) for path in recorder.files()) == [12000, 20000]


def test_a_call_in_which_nobody_is_heard_leaves_no_file(recorder: Recorder) -> None:
    recorder.end()
    assert recorder.files() == []
    assert recorder.call.told() == []


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("recording ended: .*Not a directory; see that there is room")
    (tmp_path / "file").write_text("")
    recorder = Recorder(tmp_path / "file")
    recorder.hear_caller(3)
    recorder.end()
    failures = [each for each in recorder.call.told() if isinstance(each, RecordingFailed)]
    assert failures == [RecordingFailed(str(tmp_path / "file"), "Not a directory")]
    assert len(logs.records) == 1


RECORD_UNTIL_THE_DISK_IS_FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from tests.actors.test_recorder import Recorder
recorder = Recorder(Path(sys.argv[1]))
recorder.hear_caller(10)
recorder.end()
"""

RECORD_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from tests.actors.test_recorder import Recorder
recorder = Recorder(Path(sys.argv[1]))
recorder.hear_caller(10)
print("recorded", flush=True)
sys.stdin.read()
"""


def test_a_full_disk_leaves_what_was_written_and_is_said_once(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it: to the program it is the same, a write that takes less."""
    command = [sys.executable, "-c", RECORD_UNTIL_THE_DISK_IS_FULL, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS * 4
    )
    assert done.stderr.count("recording ended") == 1
    assert "File too large" in done.stderr
    [path] = tmp_path.rglob("*.wav")
    assert 40_000 < path.stat().st_size < 50_000
    caller, _ = tracks(path)
    assert caller == b"\x10" * len(caller)


def test_a_process_that_is_killed_leaves_a_file_that_can_be_played(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RECORD_UNTIL_KILLED, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recorded\n"
        os.kill(process.pid, signal.SIGKILL)
    [path] = tmp_path.rglob("*.wav")
    caller, _ = tracks(path)
    assert 8000 * 8 <= len(caller) <= 8000 * 9
