"""WatcherActor: lets people see and hear a call that goes on, while somebody does."""

import time
from base64 import b64decode
from typing import Any, ClassVar, Protocol

from pykka import ActorRef

from actors.listener import Listener
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
from wire.g711 import SAMPLE_RATE
from wire.journal import CallRecord
from wire.levels import LEVEL_BYTES, levels
from wire.recording import Recording

WATCH_SECONDS = 8.0
"""How long a `Watch` holds: longer than whoever looks takes to say again that he does."""

PIECE_LEVELS = 5
"""In one piece: half a second."""

_TRACKS = 2


class LiveBox(Protocol):
    """Where pieces go. Any thread; its methods may take their time, and raise nothing."""

    def put(self, call_sid: str, began_at: float, caller: bytes, assistant: bytes, audio: bytes) -> None:
        """Half a second from `began_at`, seconds since 1970, on: levels of both, and mu-law of both in turn."""

    def drop(self, call_sid: str) -> None:
        """Nobody watches the call any more: nothing of it is kept."""


class NoLiveBox:
    """Nobody can look."""

    def put(self, call_sid: str, began_at: float, caller: bytes, assistant: bytes, audio: bytes) -> None:
        """Puts nothing anywhere."""

    def drop(self, call_sid: str) -> None:
        """There is nothing."""


class WatcherActor(Listener):
    """Comes when somebody begins to watch, and goes by itself when nobody has said for a while that he still does.

    What it shows is aligned as a recording is, and comes a second later than it is heard. Of an answer that plays
    already when it comes nothing is known, so that it begins with what is said next. While the recording is paused
    both lanes are silent, as they are in the recording.
    """

    wants = (CallerAudio, Queued, Played, Cleared, PauseRecording, StartRecording, Playback, Watch)
    on_demand: ClassVar[bool] = True
    audio_limit_ms: ClassVar[float] = 120_000
    """A whole answer comes at once, faster than it is played."""
    box: ClassVar[LiveBox] = NoLiveBox()

    def __init__(self, call: ActorRef[Any] | None, record: CallRecord) -> None:
        super().__init__(call, record)
        self._recording = Recording()
        self._until = time.monotonic() + WATCH_SECONDS
        self._audio_until = 0.0
        self._unknown_answer: bool | None = None
        self._waiting = bytearray()
        self._put_bytes = 0

    def handle(self, message: Any) -> Any:
        recording = self._recording
        match message:
            case CallerAudio(payload=payload, position_ms=position_ms, arrived_at=at):
                self._waiting += recording.caller(position_ms, b64decode(payload), at)
                self._put()
                if time.monotonic() > self._until:
                    self.stop()
            case Queued(payload=payload, mark=mark, generation=generation, offset_ms=offset_ms, sent_at=at):
                if not self._unknown_answer:
                    recording.queued(mark, generation, offset_ms, b64decode(payload), at)
            case Played(mark=mark, position_ms=position_ms, echoed_at=at):
                recording.passed(mark, position_ms, at)
            case Cleared(generation=generation, heard_ms=heard_ms):
                recording.cleared(generation, heard_ms)
                self._unknown_answer = False
            case Playback(assistant=assistant, sound=sound):
                # The first one is what was going on when the watcher came.
                self._unknown_answer = self._unknown_answer is not False and (assistant or sound)
            case PauseRecording(at=at):
                recording.mute(at)
            case StartRecording(at=at):
                recording.unmute(at)
            case Watch(listen=listen):
                self._until = time.monotonic() + WATCH_SECONDS
                if listen:
                    self._audio_until = self._until
            case _:
                return super().handle(message)

    def close(self) -> None:
        self.box.drop(self.call_sid)

    def _put(self) -> None:
        piece_bytes = PIECE_LEVELS * LEVEL_BYTES * _TRACKS
        while len(self._waiting) >= piece_bytes and self._recording.began_at is not None:
            piece = bytes(self._waiting[:piece_bytes])
            del self._waiting[:piece_bytes]
            began = self._recording.began_at + self._put_bytes / _TRACKS / SAMPLE_RATE
            self._put_bytes += piece_bytes
            self.box.put(
                self.call_sid,
                time.time() - time.monotonic() + began,
                levels(piece[0::2]),
                levels(piece[1::2]),
                piece if time.monotonic() < self._audio_until else b"",
            )
