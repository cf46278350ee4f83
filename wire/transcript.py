"""The conversation in order, with what the caller has really heard of it.

Texts come when they come: the assistant's ahead of its voice, the caller's before, during or after the reply, or
never. The order is that of the conversation's items, each of which names the one before it:

    root <- item_1 <- item_2 <- item_3          an item goes right behind its predecessor, and before
                        ^------ item_4          what was put there earlier: 1, 2, 4, 3

An item whose predecessor is not known yet begins a chain of its own, and so does one that names none; such chains
stand in the order in which they began to be known, those at the root first. A new session with the model is told
only some of the conversation, and names what it was told: its items come behind everything that was there before.

Pure. Source: OpenAI Realtime reference, on `conversation.item.added` and transcripts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from wire.heard_text import heard_of_partial_text, heard_text, pace

Speaker = Literal["caller", "assistant", "tool"]

ROOT = "root"
SPEAKERS: dict[str, Speaker] = {"user": "caller", "assistant": "assistant"}
"""By an item's role; items of other roles, and those without one, are spoken by nobody."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a function by the model."""

    call_id: str
    name: str
    arguments: str
    """JSON as the model wrote it"""
    output: str | None = None
    """JSON that the model was answered with; None: it still waits"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was said in one item, by one of the two, or the function that the model called in it."""

    item_id: str
    speaker: Speaker
    text: str
    """empty while there is none: not transcribed yet, not at all, or with `failed`"""
    heard_text: str
    """how `text` begins, as far as it was heard; all of what the caller said"""
    heard_ms: int
    """of the assistant's voice, as far as was told; 0 for the caller"""
    total_ms: int
    """of the assistant's voice as received; 0 for the caller"""
    failed: bool = False
    """the transcription of the caller failed"""
    tool: ToolUse | None = None
    """of the speaker "tool", which has no text"""


@dataclass(slots=True)
class _Part:
    text: str = ""
    whole: bool = False
    """no more text will come"""
    queued_ms: int = 0
    heard_ms: int = 0
    cut_ms: int | None = None
    cut_of_ms: int = 0
    played: bool = False

    @property
    def total_ms(self) -> int:
        return max(self.queued_ms, self.cut_of_ms, self.heard_ms)


@dataclass(slots=True, eq=False)
class _Item:
    item_id: str
    known_since: int
    previous: "_Item | None" = None
    followers: "list[_Item]" = field(default_factory=list)
    at_root: bool = False
    role: str = ""
    caller_text: str | None = None
    transcription_failed: bool = False
    deleted: bool = False
    parts: dict[int, _Part] = field(default_factory=dict)
    tool: ToolUse | None = None
    earlier: Entry | None = None
    """what it was in an earlier life of the call; nothing of this one's changes it, but the answer of its tool"""
    entry: Entry | None = None
    """what it comes to, when it was last looked at"""
    heard_out: tuple[tuple[str, int], ...] = ()
    """the texts in it whose whole audio was heard, each with its length in ms"""

    @property
    def is_partial(self) -> bool:
        """Whether more of its text is to come, or was."""
        return any(not part.whole for part in self.parts.values())


class Transcript:
    """What was said in one call. Not thread-safe: it belongs to one actor."""

    def __init__(self, earlier: Iterable[Entry] = ()) -> None:
        """`earlier`: the entries with which an earlier life of the call ended; they come first."""
        self._items: dict[str, _Item] = {}
        self._at_root: list[_Item] = []
        self._before: dict[str, _Item] = {}
        self._order: tuple[_Item, ...] | None = None
        """None: to be found out"""
        self._changed: dict[str, _Item] = {}
        self._pace = pace(())
        self._entries: tuple[Entry, ...] = ()
        self._places: dict[str, int] = {}
        """Where among them an item's is."""
        for entry in earlier:
            item = self._item(entry.item_id)
            item.earlier, item.tool = entry, entry.tool
        self.session_began()

    def add(self, item_id: str, previous_item_id: str | None, role: str) -> None:
        """An item is in the conversation: `conversation.item.added`, or `input_audio_buffer.committed` ("user").

        It may be said several times, and of an item that is known already. An empty role leaves what is known.
        """
        item = self._item(item_id)
        item.role = role or item.role
        if previous_item_id is None:
            return
        before_session = self._before.get(previous_item_id)
        if item_id in self._before:
            # The session was told of it: it stays where it is, and what the session puts behind it does not.
            self._before[item_id] = before_session or self._item(previous_item_id)
            return
        if item.previous is not None or item.at_root:
            return
        self._order = None
        if previous_item_id == ROOT and before_session is None:
            item.at_root = True
            self._at_root.append(item)
            return
        item.previous = before_session or self._item(previous_item_id)
        item.previous.followers.append(item)
        # A chain counts as known since the first that was heard of any of its items.
        before: _Item | None = item.previous
        while before is not None and before.known_since > item.known_since:
            before.known_since = item.known_since
            before = before.previous

    def session_began(self) -> None:
        """A new session takes over: what is added from now on comes behind all that is known."""
        items = self._in_order()
        self._at_root = list(items[:1])
        for item, previous in zip(items, [None, *items], strict=False):
            item.previous, item.at_root, item.followers = previous, previous is None, []
            if previous is not None:
                previous.followers.append(item)
        self._order = None
        self._before = dict.fromkeys([ROOT, *self._items], items[-1]) if items else {}

    def assistant_said(self, item_id: str, content_index: int, text: str) -> None:
        """The whole text of a part of what the assistant says, heard or not."""
        part = self._part(item_id, content_index)
        part.text, part.whole = text, True

    def assistant_saying(self, item_id: str, content_index: int, text: str) -> None:
        """Some more text of a part of what the assistant says; after the whole text it means nothing."""
        part = self._part(item_id, content_index)
        if not part.whole:
            part.text += text

    def tool_called(self, item_id: str, call_id: str, name: str, arguments: str) -> None:
        """The model called a function."""
        self._item(item_id).tool = ToolUse(call_id, name, arguments)

    def tool_answered(self, call_id: str, output: str) -> None:
        """The function's output went to the model. Of a call that is not known, nothing is kept."""
        for item in self._items.values():
            if item.tool is not None and item.tool.call_id == call_id:
                self._item(item.item_id).tool = replace(item.tool, output=output)

    def caller_said(self, item_id: str, text: str | None) -> None:
        """What the caller said; None: the transcription failed, which a text puts right."""
        item = self._item(item_id)
        if text is None:
            item.transcription_failed = True
        else:
            item.caller_text = text

    def heard(self, item_id: str, content_index: int, heard_ms: int, queued_ms: int) -> None:
        """So much of a part has been heard so far, of so much that went to the phone; it may be going on."""
        part = self._part(item_id, content_index)
        part.heard_ms = max(part.heard_ms, heard_ms)
        part.queued_ms = max(part.queued_ms, queued_ms)

    def cut_off(self, item_id: str, content_index: int, heard_ms: int, total_ms: int) -> None:
        """The caller interrupted a part. Where a resumed one is interrupted again, the longer of the two counts."""
        part = self._part(item_id, content_index)
        part.cut_ms = max(part.cut_ms or 0, heard_ms)
        part.cut_of_ms = max(part.cut_of_ms, total_ms, heard_ms)

    def played(self, item_id: str, content_index: int) -> None:
        """The caller heard a part to its end."""
        self._part(item_id, content_index).played = True

    def deleted(self, item_id: str) -> None:
        """The item is not in the conversation any more, and neither is it in the transcript. Its place stays."""
        self._item(item_id).deleted = True

    def entries(self) -> tuple[Entry, ...]:
        """What was said so far, in the order of the conversation.

        Asked several times a second, also when hundreds have been said: only what has changed is looked at again.
        """
        if self._changed:
            looked_at = self._look_again()
            if self._order is None or not all(self._stays(item) for item in looked_at):
                found = (item.entry for item in self._in_order() if not item.deleted)
                self._entries = tuple(entry for entry in found if entry is not None)
                self._places = {entry.item_id: place for place, entry in enumerate(self._entries)}
            else:
                entries = list(self._entries)
                for item in looked_at:
                    if item.entry is not None and not item.deleted:
                        entries[self._places[item.item_id]] = item.entry
                self._entries = tuple(entries)
        return self._entries

    def _stays(self, item: _Item) -> bool:
        """Whether it is among the entries if it was before, and not if it was not."""
        return (item.item_id in self._places) is (item.entry is not None and not item.deleted)

    def _look_again(self) -> Iterable[_Item]:
        """Find out what has changed comes to; returns what was looked at."""
        changed, self._changed = self._changed, {}
        heard_out = {item: tuple(_heard_to_the_end(item)) for item in changed.values()}
        if any(item.heard_out != texts for item, texts in heard_out.items()):
            for item, texts in heard_out.items():
                item.heard_out = texts
            self._pace = pace(chain.from_iterable(item.heard_out for item in self._items.values()))
            # How much was heard of what is still being said, or broke off, is estimated by that pace.
            changed = {**changed, **{key: item for key, item in self._items.items() if item.is_partial}}
        for item in changed.values():
            item.entry = _entry(item, self._pace)
        return changed.values()

    def _item(self, item_id: str) -> _Item:
        """To be altered by whoever asks."""
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(item_id, len(self._items))
            self._order = None
        self._changed[item_id] = item
        return item

    def _part(self, item_id: str, content_index: int) -> _Part:
        return self._item(item_id).parts.setdefault(content_index, _Part())

    def _in_order(self) -> tuple[_Item, ...]:
        if self._order is None:
            self._order = tuple(self._ordered())
        return self._order

    def _ordered(self) -> Iterator[_Item]:
        by_time = sorted(self._items.values(), key=lambda item: item.known_since)
        firsts = (item for item in by_time if item.previous is None and not item.at_root)
        seen: set[str] = set()
        # Once more all of them: items that name each other in a circle are behind no first one.
        for first in chain(reversed(self._at_root), firsts, by_time):
            waiting = [first]
            while waiting:
                item = waiting.pop()
                if item.item_id not in seen:
                    seen.add(item.item_id)
                    yield item
                    waiting += item.followers  # the latest is popped first


def _heard_to_the_end(item: _Item) -> Iterator[tuple[str, int]]:
    """The texts whose whole audio was heard, each with its length in ms."""
    earlier = item.earlier
    if earlier is None:
        yield from ((part.text, part.total_ms) for part in item.parts.values() if part.whole and part.played)
    elif earlier.speaker == "assistant" and earlier.heard_text == earlier.text:
        yield earlier.text, earlier.total_ms


def _entry(item: _Item, spoken: float) -> Entry | None:
    if item.earlier is not None:
        return replace(item.earlier, tool=item.tool)
    if item.tool is not None:
        return Entry(item.item_id, "tool", "", "", 0, 0, tool=item.tool)
    has_caller = item.caller_text is not None or item.transcription_failed
    speaker = SPEAKERS.get(item.role) or ("caller" if has_caller else "assistant" if item.parts else None)
    match speaker:
        case "caller":
            text = item.caller_text or ""
            failed = item.transcription_failed and item.caller_text is None
            return Entry(item.item_id, speaker, text, text, 0, 0, failed)
        case "assistant":
            parts = [part for _, part in sorted(item.parts.items())]
            heard = _heard(parts)
            return Entry(
                item.item_id,
                speaker,
                " ".join(part.text for part in parts if part.text),
                " ".join(_heard_texts(zip(parts, heard, strict=True), spoken)),
                sum(part.total_ms if ms is None else ms for part, ms in zip(parts, heard, strict=True)),
                sum(part.total_ms for part in parts),
            )
        case _:
            return None


def _heard(parts: list[_Part]) -> list[int | None]:
    """Milliseconds heard of each part; None: it was heard to its end."""
    # Parts are played in order: where a later one was heard, this one was too, unless it was cut off.
    latest = max(
        (index for index, part in enumerate(parts) if part.played or part.cut_ms or part.heard_ms), default=-1
    )
    return [
        None
        if part.played or (part.cut_ms is None and index < latest)
        else max(part.heard_ms, part.cut_ms or 0)
        for index, part in enumerate(parts)
    ]


def _heard_texts(parts: Iterable[tuple[_Part, int | None]], spoken: float) -> Iterator[str]:
    """The heard text of each part, up to the first that was not heard to its end."""
    for part, heard_ms in parts:
        if heard_ms is None:
            heard = part.text
        elif part.whole:
            heard = heard_text(part.text, heard_ms, part.total_ms)
        else:
            heard = heard_of_partial_text(part.text, heard_ms, part.total_ms, spoken)
        if heard:
            yield heard
        if heard != part.text:
            return
