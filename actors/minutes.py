"""The minutes of a call, for listeners: who said what, when, how much of it was heard, and what is withheld."""

import time
from typing import Any

from actors.conversation import Conversation
from actors.messages import (
    CutOff,
    Floor,
    FloorChanged,
    HeardSoFar,
    PauseRecording,
    StartRecording,
    ToolFinished,
)
from wire import realtime
from wire.journal import NoJournal
from wire.playback import Heard, Part
from wire.transcript import Entry
from wire.transcript_text import Spoken

WANTED = (
    realtime.ItemAdded,
    realtime.ItemDeleted,
    realtime.AudioCommitted,
    realtime.CallerTranscript,
    realtime.AssistantTranscript,
    realtime.AssistantTranscriptDelta,
    realtime.FunctionCall,
    ToolFinished,
    HeardSoFar,
    CutOff,
    FloorChanged,
    StartRecording,
    PauseRecording,
)
"""The messages from which they are taken down."""


class Minutes:
    """Takes down one stream of a call. Not thread-safe: it belongs to one actor.

    Times are exact for the assistant, and for the caller as late as turn detection is. What is said in a turn while
    the recording is paused is withheld, and so is what tools are given and return then.
    """

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        """Time 0 of what is said, in seconds of the monotonic clock."""
        self._conversation = Conversation("", NoJournal(), ())
        self._times: dict[str, tuple[float, float]] = {}
        self._heard_ms: dict[Part, int] = {}
        self._tools: dict[str, str] = {}
        self._over: set[str] = set()
        self._whole: set[str] = set()
        self._told: dict[str, Spoken] = {}
        self._speaking_since: float | None = None
        self._paused = False
        self._withhold_turn = False
        self._withheld: set[str] = set()

    def take_down(self, message: Any) -> list[Spoken]:
        """Something was told, one of `WANTED`. Returns what is complete now and was not, or was another, before."""
        now = time.monotonic()
        match message:
            case FloorChanged(floor=floor):
                if floor is Floor.CALLER:
                    self._speaking_since = now
                    self._withhold_turn = self._paused
            case PauseRecording():
                self._paused = self._withhold_turn = True
            case StartRecording():
                self._paused = False
            case ToolFinished(call_id=call_id, output=output):
                if (tool := self._tools.get(call_id)) is not None:
                    self._times[tool] = (self._times[tool][0], now)
                self._conversation.tool_answered(call_id, output)
                return self.news()
            case HeardSoFar(heard=heard, to_the_end=to_the_end):
                self._conversation.heard(heard, to_the_end)
                self._heard(heard, now)
                if to_the_end:
                    self._over.add(heard.part.item_id)
                    return self.news()
            case CutOff(heard=cut):
                self._conversation.cut_off(cut)
                for heard in cut:
                    # Clear takes effect later than now, and playback may have ended before: how much was heard tells.
                    began, ended = self._times.get(heard.part.item_id, (now - heard.heard_ms / 1000, now))
                    self._heard(heard, now)
                    heard_ms = sum(
                        ms for part, ms in self._heard_ms.items() if part.item_id == heard.part.item_id
                    )
                    self._times[heard.part.item_id] = (began, max(ended, began + heard_ms / 1000))
                    self._over.add(heard.part.item_id)
                return self.news()
            case _:
                return self._learn(message, now)
        return []

    def _learn(self, event: Any, now: float) -> list[Spoken]:
        self._conversation.learn(event)
        match event:
            case realtime.AudioCommitted(item_id=item_id):
                self._times[item_id] = (self._speaking_since or now, now)
                self._speaking_since = None
                if self._withhold_turn:
                    self._withheld.add(item_id)
                self._withhold_turn = self._paused
            case realtime.ItemAdded(item_id=item_id, role=role) if self._paused and role != "user":
                self._withheld.add(item_id)
            case realtime.FunctionCall(item_id=item_id, call_id=call_id):
                if self._paused:
                    self._withheld.add(item_id)
                self._tools[call_id] = item_id
                self._times[item_id] = (now, now)
            case realtime.AssistantTranscript(item_id=item_id):
                self._whole.add(item_id)
                return self.news()
            case realtime.CallerTranscript():
                return self.news()
        return []

    def _heard(self, heard: Heard, now: float) -> None:
        item_id = heard.part.item_id
        began, ended = self._times.get(item_id, (now - heard.heard_ms / 1000, now))
        # It may be told again that it is over, and how much was heard of it, when it has not been heard for long.
        more = heard.heard_ms > self._heard_ms.get(heard.part, 0)
        self._times[item_id] = (began, now if more else ended)
        self._heard_ms[heard.part] = heard.heard_ms

    def news(self, at_the_end: bool = False) -> list[Spoken]:
        """What is complete, or there at all, and was not returned before as it is now."""
        news = []
        for spoken in self.all():
            entry = spoken.entry
            if (at_the_end or self._is_over(entry)) and self._told.get(entry.item_id) != spoken:
                self._told[entry.item_id] = spoken
                news.append(spoken)
        return news

    def all(self) -> list[Spoken]:
        """All that was said, in the order of the conversation."""
        return [self._spoken(entry) for entry in self._conversation.entries]

    def _is_over(self, entry: Entry) -> bool:
        match entry.speaker:
            case "caller":
                return bool(entry.text) or entry.failed
            case "tool":
                return entry.tool is not None and entry.tool.output is not None
            case _:
                return entry.item_id in self._over and entry.item_id in self._whole

    def _spoken(self, entry: Entry) -> Spoken:
        began, ended = self._times.get(entry.item_id, (None, None))
        return Spoken(
            entry,
            None if began is None else round(began - self.began_at, 3),
            None if ended is None else round(ended - self.began_at, 3),
            entry.item_id in self._withheld,
        )
