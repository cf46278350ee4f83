"""WatcherActor: shows and lets hear what is said, while somebody looks, and never what is withheld."""

import time
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import pytest

from actors import watcher as module
from actors.member import post
from actors.messages import (
    CallerAudio,
    Cleared,
    PauseRecording,
    Playback,
    Played,
    Queued,
    StartRecording,
    Watch,
)
from actors.watcher import WatcherActor
from tests.actors.parts import LOUD as LOUD_FRAME
from tests.actors.test_call import Call
from tests.probe import Probe, wait_until
from wire.journal import CallRecord

RECORD = CallRecord("CA1", "MZ1", "+491", "+492", "Test", "1")
LOUD = b"\x80"
FRAME = b64encode(LOUD * 160).decode()


@dataclass
class Piece:
    call_sid: str
    began_at: float
    caller: bytes
    assistant: bytes
    audio: bytes


class Watching:
    """An unstarted watcher that the test drives by messages, and what it puts into its box."""

    def __init__(self, *told: Any) -> None:
        self.pieces: list[Piece] = []
        self.dropped: list[str] = []
        kind = type("WatcherActor", (WatcherActor,), {"box": self})
        self.actor: WatcherActor = kind(Probe("call"), RECORD)
        self.actor.on_receive(self.actor.mailbox.get().message)
        self.began = time.monotonic()
        self.frames = 0
        self.tell(*told)

    def put(self, *piece: Any) -> None:
        self.pieces.append(Piece(*piece))

    def drop(self, call_sid: str) -> None:
        self.dropped.append(call_sid)

    def tell(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def at(self) -> float:
        return self.began + self.frames * 0.02

    def hear_caller(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.frames += 1
            self.tell(CallerAudio(20.0, FRAME, self.at(), (self.frames - 1) * 20.0))

    def queue(self, mark: str, ms: int, offset_ms: float = 0.0, generation: int = 0) -> None:
        payload = b64encode(LOUD * 8 * ms).decode()
        self.tell(Queued(ms, payload, mark, generation, offset_ms, self.at()))

    def played(self, mark: str) -> None:
        self.tell(Played(0.0, mark, self.frames * 20.0, self.at()))

    @property
    def assistant(self) -> bytes:
        return b"".join(piece.assistant for piece in self.pieces)

    @property
    def caller(self) -> bytes:
        return b"".join(piece.caller for piece in self.pieces)


SILENCE = Playback(assistant=False, sound=False)
SPEAKING = Playback(assistant=True, sound=False)


def test_half_a_second_after_another_is_shown_where_it_was_heard() -> None:
    watching = Watching(Watch(), SILENCE)
    watching.hear_caller(1)
    watching.queue("0-1", 500)
    watching.hear_caller(0.5)
    watching.played("0-1")
    watching.hear_caller(1.5)
    assert [len(piece.caller) for piece in watching.pieces] == [5, 5, 5, 5]
    assert watching.caller == bytes([100] * 20)
    assert watching.assistant == bytes([0] * 10 + [100] * 5 + [0] * 5)
    assert {piece.audio for piece in watching.pieces} == {b""}, "nobody listens"
    first, second = watching.pieces[:2]
    assert second.began_at - first.began_at == pytest.approx(0.5, abs=0.01)
    assert first.began_at == pytest.approx(time.time() - time.monotonic() + watching.began, abs=2)


def test_who_listens_gets_both_tracks() -> None:
    watching = Watching(Watch(listen=True), SILENCE)
    watching.hear_caller(2)
    assert [len(piece.audio) for piece in watching.pieces] == [8000, 8000]
    assert watching.pieces[0].audio == (LOUD + b"\xff") * 4000


def test_of_an_answer_that_plays_already_nothing_is_shown_but_of_the_next() -> None:
    watching = Watching(Watch(), SPEAKING)
    watching.hear_caller(1)
    watching.queue("0-9", 500, offset_ms=3000)
    watching.hear_caller(4)
    assert set(watching.assistant) == {0}
    watching.tell(SILENCE)
    watching.queue("0-10", 500, offset_ms=9000)
    watching.hear_caller(0.5)
    watching.played("0-10")
    watching.tell(SPEAKING)
    watching.queue("0-11", 500, offset_ms=9500)
    watching.hear_caller(0.5)
    watching.played("0-11")
    watching.hear_caller(1)
    assert sum(level == 100 for level in watching.assistant) == 10


def test_an_interruption_ends_an_answer_that_is_not_known() -> None:
    watching = Watching(Watch(), SPEAKING)
    watching.hear_caller(1)
    watching.tell(Cleared(0.0, 0, 400.0))
    watching.queue("1-1", 500, generation=1)
    watching.hear_caller(0.5)
    watching.played("1-1")
    watching.hear_caller(1)
    assert 100 in watching.assistant


@pytest.mark.parametrize("before_it_came", [True, False])
def test_while_the_recording_is_paused_nothing_is_shown_of_either(before_it_came: bool) -> None:
    watching = Watching(Watch(listen=True), SILENCE)
    if before_it_came:
        watching.tell(PauseRecording(at=watching.at() - 60))
    else:
        watching.hear_caller(2)
        watching.tell(PauseRecording(at=watching.at()))
    shown = len(watching.pieces)
    watching.queue("0-1", 500)
    watching.hear_caller(0.5)
    watching.played("0-1")
    watching.hear_caller(2.5)
    withheld = watching.pieces[shown + (0 if before_it_came else 2) :]
    assert len(withheld) >= 4
    assert {byte for piece in withheld for byte in piece.audio} == {0xFF}
    assert {level for piece in withheld for level in piece.caller + piece.assistant} == {0}
    watching.tell(StartRecording(at=watching.at()))
    watching.hear_caller(3)
    assert set(watching.pieces[-1].caller) == {100}


def test_it_goes_when_nobody_has_said_for_a_while_that_he_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(Watch(), SILENCE)
    stopped: list[bool] = []
    monkeypatch.setattr(watching.actor, "stop", lambda: stopped.append(True))
    watching.hear_caller(0.5)
    assert stopped == []
    monkeypatch.setattr(module, "WATCH_SECONDS", -1.0)
    watching.tell(Watch())
    watching.hear_caller(0.02)
    assert stopped == [True]
    assert watching.dropped == []
    watching.actor.close()
    assert watching.dropped == ["CA1"], "and leaves nothing"


class KeptBox:
    def __init__(self) -> None:
        self.assistant: list[bytes] = []

    def put(self, call_sid: str, began_at: float, caller: bytes, assistant: bytes, audio: bytes) -> None:
        self.assistant.append(assistant)

    def drop(self, call_sid: str) -> None:
        self.assistant.append(b"dropped")


def test_a_call_that_is_watched_has_one_watcher_until_it_ends() -> None:
    box = KeptBox()
    call = Call(watcher=type("WatcherActor", (WatcherActor,), {"box": box}))
    call.greet()
    for _ in range(2):
        post(call.ref, Watch())
    call.settle()
    call.hear(LOUD_FRAME, 100)
    wait_until(lambda: len(box.assistant) >= 2, "pieces were put")
    call.hang_up()
    wait_until(lambda: box.assistant[-1] == b"dropped", "nothing is kept")
    assert box.assistant.count(b"dropped") == 1, "there was one watcher"


def test_a_watcher_that_comes_while_the_recording_is_paused_shows_nothing() -> None:
    levels: list[bytes] = []
    box = KeptBox()
    box.put = lambda call_sid, began_at, caller, assistant, audio: levels.append(caller)  # type: ignore[method-assign]
    call = Call(watcher=type("WatcherActor", (WatcherActor,), {"box": box}))
    call.greet()
    post(call.ref, PauseRecording())
    post(call.ref, Watch())
    call.settle()
    call.hear(LOUD_FRAME, 100)
    wait_until(lambda: len(levels) >= 2, "pieces were put")
    call.hang_up()
    assert {level for piece in levels for level in piece} == {0}


def test_a_call_without_a_watcher_is_not_watched() -> None:
    call = Call()
    call.greet()
    post(call.ref, Watch())
    call.hang_up()
