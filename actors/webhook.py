"""WebhookActor: tells somebody's server what happens in a call, without ever waiting for it."""

import statistics
import time
from dataclasses import asdict
from typing import Any, ClassVar, Literal, Protocol
from uuid import uuid4

import orjson
from pykka import ActorRef

from actors.listener import Listener
from actors.messages import CallEnded, RecordingBegan, ToolFinished, TranscriptBegan
from actors.minutes import WANTED, Minutes
from wire.journal import CallRecord
from wire.latency import InterruptionLatency, TurnLatency
from wire.transcript_text import Spoken

Kind = Literal["started", "turn", "tool", "ended"]
KINDS: tuple[Kind, ...] = ("started", "turn", "tool", "ended")

VERSION = 1
"""Of what an event holds. A field that is added changes nothing; anything else does."""


class EventBox(Protocol):
    """Where events wait to be sent. Any thread; returns at once, whatever becomes of the sending."""

    def put(self, event_id: str, call_sid: str, url: str, body: bytes) -> None:
        """Send this there, until it is taken."""


class NoEventBox:
    """Nobody sends anything."""

    def put(self, event_id: str, call_sid: str, url: str, body: bytes) -> None:
        """Sends nothing."""


class WebhookActor(Listener):
    """Makes an event of what it is told and puts it into `events`, whose sender does the rest.

        {"version": 1, "id": "…", "type": "turn", "at": 1795372538.25, "call_sid": "CA…", "stream_sid": "MZ…", …}

    `started`: caller, called, assistant, assistant_version. `turn`: what one of the two said, when it is over and its
    words are known: item_id, speaker, text, heard_text, heard_ms, total_ms, failed; an entry that changes comes
    again. `tool`: call_id, name, failed, seconds; neither arguments nor output. `ended`: outcome, reason, goes_on,
    seconds, cost, turns, interruptions, answer_ms (the median), tools, files.

    A call that goes on with another stream starts and ends again, with another stream_sid; `seconds` and `cost` are
    of all its streams, the counts of this one. What is said while the recording is paused is left out. `id` is the
    same however often an event is sent; events may come in another order, of which `at` tells the true one.
    """

    wants = (*WANTED, TurnLatency, InterruptionLatency, RecordingBegan, TranscriptBegan)
    url: ClassVar[str] = ""
    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    events: ClassVar[EventBox] = NoEventBox()

    def __init__(self, call: ActorRef[Any] | None, record: CallRecord) -> None:
        super().__init__(call, record)
        self._minutes = Minutes()
        self._answer_ms: list[float] = []
        self._interruptions = 0
        self._tools: list[str] = []
        self._files: list[str] = []

    def open(self) -> None:
        record = self.record
        self._put(
            "started",
            direction=record.direction,
            caller=record.caller,
            called=record.called,
            assistant=record.assistant,
            assistant_version=record.assistant_version,
        )

    def handle(self, message: Any) -> Any:
        match message:
            case TurnLatency(answer_ms=answer_ms):
                if answer_ms is not None:
                    self._answer_ms.append(answer_ms)
            case InterruptionLatency():
                self._interruptions += 1
            case RecordingBegan(path=path) | TranscriptBegan(path=path):
                self._files.append(path)
            case CallEnded():
                self._put_turns(self._minutes.news(at_the_end=True))
                self._ended(message)
                return super().handle(message)
            case _ if isinstance(message, WANTED):
                self._put_turns(self._minutes.take_down(message))
                if isinstance(message, ToolFinished):
                    self._tool_finished(message)
            case _:
                return super().handle(message)

    def _tool_finished(self, finished: ToolFinished) -> None:
        self._tools.append(finished.name)
        self._put(
            "tool",
            call_id=finished.call_id,
            name=finished.name,
            failed=finished.failed,
            seconds=round(finished.seconds, 3),
        )

    def _put_turns(self, spoken: list[Spoken]) -> None:
        for each in spoken:
            entry = each.entry
            if entry.tool is None:
                self._put(
                    "turn",
                    item_id=entry.item_id,
                    speaker=entry.speaker,
                    text=each.text,
                    heard_text=each.heard_text,
                    heard_ms=entry.heard_ms,
                    total_ms=entry.total_ms,
                    failed=entry.failed,
                )

    def _ended(self, ended: CallEnded) -> None:
        self._put(
            "ended",
            **asdict(ended),
            turns=sum(spoken.entry.tool is None for spoken in self._minutes.all()),
            interruptions=self._interruptions,
            answer_ms=round(statistics.median(self._answer_ms), 1) if self._answer_ms else None,
            tools=self._tools,
            files=self._files,
        )

    def _put(self, kind: Kind, **data: Any) -> None:
        if kind not in self.kinds:
            return
        event_id = uuid4().hex
        event = {
            "version": VERSION,
            "id": event_id,
            "type": kind,
            "at": round(time.time(), 3),
            "call_sid": self.call_sid,
            "stream_sid": self.record.stream_sid,
        }
        self.events.put(event_id, self.call_sid, self.url, orjson.dumps(event | data))
