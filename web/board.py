"""The calls that go on, summed up: one board for all pages that this process shows it on.

{"calls": [{call_sid, from, to, assistant, began_at, streams, cost, turns, answer_ms, interruptions, reconnects,
            silences, failed_tools, paused, last: null or {speaker, text, withheld}, news_at}]}
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from store.news import GoingOn, Happened, LiveCalls, News, SaidNow
from web.call_view import number
from wire.withheld import GOES_ON, LATE_SECONDS, PAUSED

LOOK_SECONDS = 0.25
"""The database is asked no more often than that, however many pages there are."""

CALLS_AT_ONCE = 20
"""So many calls that are new to the board are read at once, so that all that is told of them is read."""

LAST_LETTERS = 160
"""Of what was said last: its end, because that is what is new."""


@dataclass(slots=True)
class _Line:
    """What is known of one call."""

    call: GoingOn
    turns: set[str] = field(default_factory=set)
    answers: dict[int, float] = field(default_factory=dict)
    counts: dict[str, set[int]] = field(default_factory=dict)
    last: SaidNow | None = None
    paused: bool = False
    shown_from: float = 0.0
    """what was told before is withheld"""
    news_at: float = 0.0

    def learn_said(self, said: SaidNow) -> None:
        if said.entry.speaker == "caller":
            self.turns.add(said.entry.item_id)
        if said.entry.text and (self.last is None or said.position >= self.last.position):
            self.last = said
        self.news_at = max(self.news_at, said.changed_at or 0.0)

    def learn_happened(self, event: Happened) -> None:
        self.news_at = max(self.news_at, event.at)
        match event.kind:
            case "answered" if event.data.get("answer_ms") is not None:
                self.answers[event.number] = event.data["answer_ms"]
            case "tool" if event.data.get("failed"):
                self._count("failed tool", event)
            case kind if kind in (PAUSED, GOES_ON):
                if event.at >= self.shown_from - LATE_SECONDS:
                    self.paused = kind == PAUSED
                    self.shown_from = event.at + LATE_SECONDS
            case kind:
                self._count(kind, event)

    def _count(self, kind: str, event: Happened) -> None:
        self.counts.setdefault(kind, set()).add(event.number)

    def count(self, *kinds: str) -> int:
        return sum(len(self.counts.get(kind, ())) for kind in kinds)

    def shown(self, full: bool) -> dict[str, Any]:
        call = self.call
        return {
            "call_sid": call.call_sid,
            "from": number(call.caller, full),
            "to": number(call.called, full),
            "assistant": call.assistant,
            "began_at": call.began_at,
            "streams": call.streams,
            "cost": call.cost,
            "turns": len(self.turns),
            "answer_ms": statistics.median(self.answers.values()) if self.answers else None,
            "interruptions": self.count("interrupted"),
            "reconnects": self.count("session lost"),
            "silences": self.count("filler", "apology"),
            "failed_tools": self.count("failed tool"),
            "paused": self.paused,
            "last": self._last(),
            "news_at": self.news_at or call.began_at,
        }

    def _last(self) -> dict[str, Any] | None:
        if self.last is None:
            return None
        entry = self.last.entry
        withheld = self.paused or (self.last.told_at or 0.0) < self.shown_from
        text = "" if withheld else entry.text[-LAST_LETTERS:]
        if len(text) < len(entry.text) and not withheld:
            text = f"…{text.partition(' ')[2]}"
        return {"speaker": entry.speaker, "text": text, "withheld": withheld}


class Board:
    """Any thread looks; one of them at a time asks the database, and only for what is new."""

    def __init__(self, live: LiveCalls, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._looked_at = float("-inf")
        self._latest = 0.0

    def calls(self, full: bool) -> list[dict[str, Any]]:
        """The calls that go on, the latest first. Raises StoreError."""
        with self._lock:
            if self._clock() >= self._looked_at + LOOK_SECONDS:
                self._look()
                self._looked_at = self._clock()
            return [line.shown(full) for line in self._lines.values()]

    def _look(self) -> None:
        going_on = self._live.going_on()
        known = [call.call_sid for call in going_on if call.call_sid in self._lines]
        unknown = [call.call_sid for call in going_on if call.call_sid not in self._lines]
        news = [
            # Whatever is too much to be read at once, what is withheld is known of.
            News((), tuple(self._live.pauses(unknown))),
            self._live.news(known, self._latest),
            *(
                self._live.news(unknown[first : first + CALLS_AT_ONCE])
                for first in range(0, len(unknown), CALLS_AT_ONCE)
            ),
        ]
        lines = {call.call_sid: self._lines.get(call.call_sid) or _Line(call) for call in going_on}
        for call in going_on:
            lines[call.call_sid].call = call
        for each in news:
            _learn(lines, each)
            self._latest = max(self._latest, each.latest_at)
        self._lines = lines


def _learn(lines: dict[str, _Line], news: News) -> None:
    for event in news.happened:
        lines[event.call_sid].learn_happened(event)
    for said in news.said:
        lines[said.call_sid].learn_said(said)


class BoardSource:
    """The board for one page. A `web.streams.Source`.

    Event `calls` {calls, order, now}: the calls that are new or have changed, and the SIDs of all, the latest first.
    """

    place = ""
    over = False

    def __init__(self, board: Board, full: bool) -> None:
        self._board = board
        self._full = full
        self._told: dict[str, dict[str, Any]] | None = None

    def next(self) -> list[tuple[str, object]]:
        """What has changed. Raises StoreError."""
        calls = {call["call_sid"]: call for call in self._board.calls(self._full)}
        if calls == self._told:
            return []
        known = self._told or {}
        changed = [call for call_sid, call in calls.items() if known.get(call_sid) != call]
        self._told = calls
        return [("calls", {"calls": changed, "order": list(calls), "now": time.time()})]
