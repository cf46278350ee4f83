"""One call, followed: what is new in it since the last look, for a stream or for a page that asks again and again."""

import time
from typing import Any

from store.live import LAST_NUMBER, LiveAudio
from store.news import GoingOn, Happened, LiveCalls, News, SaidNow
from web.call_view import call_json, entry_json, event_json
from web.watches import Watches


class Following:
    """What a page has been told of a call. A `web.streams.Source`; belongs to the thread that asks.

    Events: `news` {call, entries, events, count, now}, where `count` is of all entries: fewer than a page has means
    that some were removed. `gone`: the call was forgotten. `levels` {pieces: [{began_at, caller, assistant}]}: for
    each 100 ms a level from 0 to 100.
    """

    def __init__(
        self,
        call_sid: str,
        live: LiveCalls,
        audio: LiveAudio,
        watches: Watches,
        *,
        place: str = "",
        full: bool = False,
    ) -> None:
        """`place` is where an earlier one was; empty: all of it is told."""
        self._call_sid = call_sid
        self._live = live
        self._audio = audio
        self._watches = watches
        self._full = full
        self._since, self._piece = _place(place)
        self._told: dict[str | int, object] = {}
        self._told_call: tuple[GoingOn, bool, int] | None = None
        self.over = False

    @property
    def place(self) -> str:
        """Where to go on."""
        return f"{self._since!r}-{self._piece}"

    def next(self) -> list[tuple[str, object]]:
        """What is new. Raises StoreError."""
        call = self._live.find(self._call_sid)
        if call is None:
            self.over = True
            return [("gone", {})]
        over = self._live.over(call)
        # The call first: what is told of it after it is over is read below all the same.
        news = self._live.news([self._call_sid], self._since)
        entries, events = self._unseen(news)
        now_told = (call, over, self._live.entries(self._call_sid))
        told: list[tuple[str, object]] = []
        self._since = max(self._since, news.latest_at)
        if entries or events or now_told != self._told_call:
            self._told_call = now_told
            told.append(("news", self._news(entries, events)))
        if not over:
            self._watches.renew(self._call_sid)
            told += self._levels()
        self.over = over
        return told

    def _unseen(self, news: News) -> tuple[list[SaidNow], list[Happened]]:
        said = [each for each in news.said if self._told.get(each.entry.item_id) != each]
        happened = [each for each in news.happened if each.number not in self._told]
        self._told.update({each.entry.item_id: each for each in said})
        self._told.update({each.number: True for each in happened})
        return said, happened

    def _news(self, entries: list[SaidNow], events: list[Happened]) -> dict[str, Any]:
        assert self._told_call is not None
        call, over, count = self._told_call
        paused = self._live.paused(self._call_sid) if entries else ()
        return {
            "call": call_json(call, not over, self._full),
            "entries": [entry_json(each, paused) for each in entries],
            "events": [event_json(each) for each in events],
            "count": count,
            "now": time.time(),
        }

    def _levels(self) -> list[tuple[str, object]]:
        pieces = self._audio.since(self._call_sid, self._piece)
        if not pieces:
            return []
        self._piece = pieces[-1].number
        shown = [
            {"began_at": each.began_at, "caller": list(each.caller), "assistant": list(each.assistant)}
            for each in pieces
        ]
        return [("levels", {"pieces": shown})]


def _place(place: str) -> tuple[float, int]:
    since, _, piece = place.rpartition("-")
    try:
        # Of a number that is none of ours the database may not know what to do with it.
        return max(float(since), 0.0), min(int(piece), LAST_NUMBER)
    except ValueError:
        return 0.0, 0
