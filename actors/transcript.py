"""TranscriptActor: writes down who said what, when, and how much of it was heard."""

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import orjson
from pykka import ActorRef

from actors.call_file import ONLY_OURS, TRANSCRIPT_SUFFIXES, create, erase_files, write_all
from actors.listener import Listener
from actors.member import post
from actors.messages import DigitPressed, RecordingBegan, TranscriptBegan
from actors.minutes import WANTED, Minutes
from wire.journal import CallRecord
from wire.latency import InterruptionLatency, TurnLatency
from wire.transcript_text import WITHHELD, Spoken, plain_text, web_vtt


class TranscriptActor(Listener):
    """Writes JSON Lines as it happens, one object a line, and at the end the same as plain text and as WebVTT.

    A line stands for an entry of the conversation when that is complete; where one changes later, another line with
    the same `item_id` takes its place. Times are in seconds of the recording, or of the stream where there is none:
    exact for the assistant, and for the caller as late as turn detection is. What is said while the
    recording is paused stays out, and so does what tools are given and return.
    """

    wants = (*WANTED, TurnLatency, InterruptionLatency, DigitPressed, RecordingBegan)
    folder: ClassVar[Path] = Path("recordings")
    kept_days: ClassVar[float | None] = None
    """How long files are kept; None: for ever."""

    def __init__(self, call: ActorRef[Any] | None, record: CallRecord) -> None:
        super().__init__(call, record)
        self._minutes = Minutes()
        self._descriptor: int | None = None
        self._path = Path()
        self._length = 0

    def open(self) -> None:
        try:
            self._descriptor, self._path = create(
                self.folder, self.call_sid, TRANSCRIPT_SUFFIXES[0], time.time(), self.kept_days
            )
        except OSError as error:
            self._give_up(error)
            return
        post(self.parent, TranscriptBegan(str(self._path)))
        self._write("call", **asdict(self.record))

    def handle(self, message: Any) -> Any:
        match message:
            case TurnLatency():
                self._write("answered", **asdict(message), answer_ms=message.answer_ms)
            case InterruptionLatency():
                self._write("interrupted", **asdict(message), silence_ms=message.silence_ms)
            case DigitPressed():
                self._write("key pressed")  # which one may be part of a card number
            case RecordingBegan(path=path, began_at=began_at):
                self._minutes.began_at = began_at
                self._write("recording", path=path)
            case _ if isinstance(message, WANTED):
                self._write_entries(self._minutes.take_down(message))
            case _:
                return super().handle(message)

    def close(self) -> None:
        self._write_entries(self._minutes.news(at_the_end=True))
        self._write("ended")
        if self._descriptor is None:
            return
        try:
            if not self._is_erased(self._descriptor):
                self._write_texts()
            # Not before, because it may be erased just then.
            if self._is_erased(self._descriptor):
                erase_files([str(self._path)])
        except OSError as error:
            self._give_up(error)
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_erased(self, descriptor: int) -> bool:
        """Whether the call was forgotten while it went on: then nothing new is written of it."""
        return os.fstat(descriptor).st_nlink == 0

    def _write_texts(self) -> None:
        conversation = self._minutes.all()
        texts = (plain_text(conversation), web_vtt(conversation))
        for suffix, text in zip(TRANSCRIPT_SUFFIXES[1:], texts, strict=True):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            descriptor = os.open(self._path.with_suffix(suffix), flags, ONLY_OURS)
            try:
                write_all(descriptor, text.encode(), 0)
            finally:
                os.close(descriptor)

    def _write_entries(self, entries: list[Spoken]) -> None:
        for spoken in entries:
            self._write_entry(spoken)

    def _write_entry(self, spoken: Spoken) -> None:
        entry, times = spoken.entry, {"began": spoken.began, "ended": spoken.ended}
        if entry.tool is not None:
            tool = asdict(entry.tool)
            if spoken.withheld:
                tool |= {"arguments": WITHHELD, "output": WITHHELD}
            self._write("tool", item_id=entry.item_id, **tool, **times)
            return
        self._write(
            "said",
            item_id=entry.item_id,
            speaker=entry.speaker,
            text=spoken.text,
            heard_text=spoken.heard_text,
            heard_ms=entry.heard_ms,
            total_ms=entry.total_ms,
            failed=entry.failed,
            **times,
        )

    def _write(self, kind: str, **data: Any) -> None:
        if self._descriptor is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        seconds = round(time.monotonic() - self._minutes.began_at, 3)
        line = orjson.dumps({"at": at, "seconds": seconds, "kind": kind, **data}) + b"\n"
        try:
            write_all(self._descriptor, line, self._length)
            self._length += len(line)
        except OSError as error:
            os.ftruncate(self._descriptor, self._length)
            os.close(self._descriptor)
            self._descriptor = None
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        path = self.folder if self._path == Path() else self._path
        self.log.error(
            "transcript ended: %s: %s; see that there is room, and that this user may write there",
            path,
            error.strerror or error,
        )
