"""When something was heard, by what real transcripts say of the recordings of their streams."""

from pathlib import Path

import pytest

from actors.messages import Floor, FloorChanged, RecordingBegan
from store.news import Happened
from tests.actors.test_transcript import Transcribing
from web.recordings import Recordings
from wire.realtime import AudioCommitted, CallerTranscript

BUSY_SECONDS = 10.0
"""How late a busy machine may write something down; what the tests tell apart lies a minute and more apart."""
Times = dict[str, tuple[float, float | None]]


class Call:
    """The files of one call, and what its journal tells of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.happened: list[Happened] = []

    def tell(self, kind: str, path: Path, **data: float) -> None:
        told = Happened("CA1", len(self.happened), 0.0, kind, {"path": str(path), **data})
        self.happened.append(told)

    def times(self) -> Times:
        return Recordings(self.folder).times(tuple(self.happened))


class Stream:
    """One of its streams, which began at that time; everything is said as it begins."""

    def __init__(self, call: Call, at: float) -> None:
        self.call, self.at = call, at
        self.transcribing = Transcribing(call.folder / f"{at}")
        self.began_at = self.transcribing.actor._minutes.began_at
        [path] = self.transcribing.folder.rglob("*.jsonl")
        call.tell("transcript", path)

    def record(self, after: float) -> None:
        """A recording begins so many seconds after the stream has."""
        path = self.transcribing.folder / f"{after}.wav"
        path.touch()
        self.transcribing.tell(RecordingBegan(str(path), self.began_at + after))
        self.call.tell("recording", path, began_at=self.at + after)

    def say(self, item_id: str) -> None:
        self.transcribing.tell(
            FloorChanged(Floor.CALLER),
            AudioCommitted(item_id, None),
            FloorChanged(Floor.ASSISTANT),
            CallerTranscript(item_id, "Hello."),
        )


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(tmp_path)


def begins(times: Times) -> dict[str, float]:
    return {item_id: began for item_id, (began, _) in times.items()}


def about(**begins: float) -> object:
    return pytest.approx(begins, abs=BUSY_SECONDS)


def test_each_stream_has_the_times_of_its_own_recording(call: Call) -> None:
    for item_id, at, after in (("a", 1000.0, 0.0), ("b", 2000.0, -100.0)):
        stream = Stream(call, at)
        stream.record(after)
        stream.say(item_id)
        stream.transcribing.end()
    assert begins(call.times()) == about(a=1000, b=2000)


def test_a_stream_that_was_not_recorded_has_not_the_times_of_the_next(call: Call) -> None:
    first, second = Stream(call, 1000), Stream(call, 2000)
    first.say("a")
    first.transcribing.end()
    second.say("b")
    assert call.times() == {}
    second.record(300)
    second.say("c")
    assert begins(call.times()) == about(b=2000, c=2000)


def test_what_was_said_before_a_second_recording_of_one_stream_stays_where_it_was(call: Call) -> None:
    stream = Stream(call, 1000)
    stream.record(-100)
    stream.say("a")
    before = call.times()
    stream.record(300)
    assert call.times() == before, "written down relative to the first one"
    stream.say("b")
    assert begins(call.times()) == about(a=1000, b=1000)
    assert begins(call.times())["a"] == pytest.approx(before["a"][0], abs=0.002), "and again, to the second"


def test_of_a_recording_that_nobody_tells_of_no_time_is_known(call: Call) -> None:
    stream = Stream(call, 1000)
    stream.record(-100)
    stream.say("a")
    call.happened.pop()
    assert call.times() == {}
