"""RecorderActor: writes what is said and heard in a call to a stereo WAV file, the caller left."""

import time
from base64 import b64decode
from pathlib import Path
from typing import Any, ClassVar

from pykka import ActorRef

from actors.listener import Listener
from actors.member import post
from actors.messages import (
    Audio,
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
from actors.wav_file import WavFile
from wire.journal import CallRecord
from wire.recording import Recording

BLOCK_BYTES = 8000
"""Of both tracks together, between two writes: half a second."""


class RecorderActor(Listener):
    """Records one media stream; how the two voices come to stand where they were heard is `wire.recording`'s.

    A call that goes on with another stream gets another file: that stream may be another machine's, has a timeline
    of its own, and what the caller heard in between was Twilio's. A second and a half of the call, and four seconds
    at its beginning, may be missing where the process is killed; the file can be played in any case.
    """

    wants = (CallerAudio, Queued, Played, Cleared, StartRecording, PauseRecording, StopRecording)
    audio_limit_ms: ClassVar[float] = 120_000
    """A whole answer comes at once, faster than it is played."""
    folder: ClassVar[Path] = Path("recordings")
    kept_days: ClassVar[float | None] = None
    """How long files are kept; None: for ever."""
    at_once: ClassVar[bool] = True
    """Whether it begins with the call, or when it is told to."""

    def __init__(self, call: ActorRef[Any] | None, record: CallRecord) -> None:
        super().__init__(call, record)
        self._recording = Recording() if self.at_once else None
        self._file: WavFile | None = None
        self._waiting = bytearray()

    def handle(self, message: Any) -> Any:
        recording = self._recording
        match message:
            case StartRecording(at=at):
                if recording is None:
                    self._recording = Recording()
                else:
                    recording.unmute(at)
            case CallEnded():
                self._hear_the_rest()
                return super().handle(message)
            case CallerAudio() | Queued() | Played() | Cleared() | PauseRecording() | StopRecording():
                if recording is not None:
                    self._record(recording, message)
            case _:
                return super().handle(message)

    def _record(self, recording: Recording, message: Any) -> None:
        match message:
            case CallerAudio(payload=payload, position_ms=position_ms, arrived_at=at):
                self._write(recording, recording.caller(position_ms, b64decode(payload), at))
            case Queued(payload=payload, mark=mark, generation=generation, offset_ms=offset_ms, sent_at=at):
                recording.queued(mark, generation, offset_ms, b64decode(payload), at)
            case Played(mark=mark, position_ms=position_ms, echoed_at=at):
                recording.passed(mark, position_ms, at)
            case Cleared(generation=generation, heard_ms=heard_ms):
                recording.cleared(generation, heard_ms)
            case PauseRecording(at=at):
                recording.mute(at)
            case StopRecording():
                self._finish()

    def _hear_the_rest(self) -> None:
        # The end overtakes audio. A clear that waits behind it still has to keep out what was not heard.
        while not self.mailbox.empty():
            envelope = self.mailbox.get()
            if not isinstance(envelope.message, Audio):
                self.mailbox.put(envelope)
                return
            self.handle(envelope.message)

    def _write(self, recording: Recording, samples: bytes, to_the_end: bool = False) -> None:
        try:
            if self._file is None and recording.began_at is not None:
                self._create(recording.began_at)
            self._waiting += samples
            if self._file is not None and (to_the_end or len(self._waiting) >= BLOCK_BYTES):
                self._file.append(bytes(self._waiting))
                self._waiting.clear()
        except OSError as error:
            self._give_up(error)

    def _create(self, began_at: float) -> None:
        began = time.time() - time.monotonic() + began_at
        self._file = WavFile(self.folder, self.call_sid, began, self.kept_days)
        self.log.info("recording to %s", self._file.path)
        post(self.parent, RecordingBegan(str(self._file.path), began_at))

    def _finish(self) -> None:
        if self._recording is not None:
            self._write(self._recording, self._recording.finish(), to_the_end=True)
        self._stop_recording()

    def _give_up(self, error: OSError) -> None:
        # Nothing of it is tried again: it would fail, and say so, twice a second.
        path = str(self.folder if self._file is None else self._file.path)
        reason = error.strerror or str(error)
        self.log.error(
            "recording ended: %s: %s; see that there is room, and that this user may write there",
            path,
            reason,
        )
        post(self.parent, RecordingFailed(path, reason))
        self._stop_recording()

    def _stop_recording(self) -> None:
        self._recording = None
        self._waiting.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        if dropped := self.mailbox.dropped_ms:
            self.log.warning("the recording lacks %.0f ms of audio: it was not written in time", dropped)
        self._finish()
