"""The conversation of one call, over all of its model sessions: what was said, heard and left open."""

import secrets
from operator import is_

from wire import realtime
from wire.journal import Journal
from wire.playback import Heard, Part
from wire.transcript import Entry, Transcript

INTERRUPTED = '{"error": "This was interrupted by a failure of ours; whether it took effect is not known."}'
"""What the model is told of a function whose process died under it."""

SAID_AFTER_MS = 1000
"""Of an answer: where the caller has heard so much, a new session goes on with it and does not begin it again."""


class Conversation:
    """Belongs to a CallActor. Tells the journal what has changed when it is asked to."""

    def __init__(self, call_sid: str, journal: Journal, earlier: tuple[Entry, ...]) -> None:
        """`earlier`: the entries of the call's earlier streams."""
        self._call_sid = call_sid
        self._journal = journal
        self._transcript = Transcript(earlier)
        # All of them are written anew: there may be gaps between the places at which the journal has them.
        self._written: dict[str, tuple[int, Entry | None]] = {
            entry.item_id: (position, None) for position, entry in enumerate(earlier)
        }
        self._written_last: tuple[Entry, ...] = ()
        self._told: tuple[Entry, ...] = ()
        self._entries: tuple[Entry, ...] = ()
        """What is something of those that were told."""
        self._open_turn: tuple[Entry, ...] = ()
        self._running: set[str] = set()
        self._mcp_calls: set[str] = set()
        self._played = {entry.item_id for entry in earlier if entry.heard_text == entry.text}
        for entry in earlier:
            if entry.tool is not None and entry.tool.output is None:
                self._transcript.tool_answered(entry.tool.call_id, INTERRUPTED)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """In order, without answers of which nothing has come yet."""
        told = self._transcript.entries()
        if told is not self._told:
            # Mostly all but the last are what they were, and each was something.
            same = _unchanged(self._told, told) if len(self._entries) == len(self._told) else 0
            self._told, self._entries = told, told[:same] + tuple(filter(_is_something, told[same:]))
        return self._entries

    @property
    def tools_running(self) -> bool:
        """Whether the model waits for the output of a function, or of an MCP server's tool."""
        return bool(self._running or self._mcp_calls)

    @property
    def mcp_running(self) -> bool:
        """Whether it waits for an MCP server."""
        return bool(self._mcp_calls)

    def forget_mcp(self) -> None:
        """The session is gone in which MCP servers were called, or they are not waited for any more."""
        self._mcp_calls.clear()

    def session_began(self) -> None:
        """A new session takes over and is told of the conversation: what it adds comes behind all that there is."""
        self._transcript.session_began()

    def learn(self, event: realtime.Event) -> None:
        """Something was said, or came into the conversation or out of it."""
        match event:
            case realtime.ItemAdded(item_id=item_id, previous_item_id=previous, role=role):
                self._transcript.add(item_id, previous, role)
            case realtime.AudioCommitted(item_id=item_id, previous_item_id=previous):
                self._transcript.add(item_id, previous, "user")
            case realtime.CallerTranscript(item_id=item_id, text=text):
                self._transcript.caller_said(item_id, text)
            case realtime.AssistantTranscriptDelta(item_id=item_id, content_index=index, text=text):
                self._transcript.assistant_saying(item_id, index, text)
            case realtime.AssistantTranscript(item_id=item_id, content_index=index, text=text):
                self._transcript.assistant_said(item_id, index, text)
            case realtime.ItemDeleted(item_id=item_id):
                self._transcript.deleted(item_id)
            case realtime.FunctionCall(item_id=item_id, call_id=call_id, name=name, arguments=arguments):
                self._transcript.tool_called(item_id, call_id, name, arguments)
                self._running.add(call_id)
            case realtime.McpCall(item_id=item_id):
                self._mcp_calls.add(item_id)
            case realtime.McpCallEnded(item_id=item_id):
                self._mcp_calls.discard(item_id)

    def heard(self, heard: Heard, to_the_end: bool) -> None:
        """The caller has come so far in what the assistant says."""
        part = heard.part
        self._transcript.heard(part.item_id, part.content_index, heard.heard_ms, heard.queued_ms)
        if to_the_end:
            self._transcript.played(part.item_id, part.content_index)
            self._played.add(part.item_id)

    def received(self, part: Part, duration_ms: int) -> None:
        """So much audio has come of what the assistant says, and no more will."""
        self._transcript.heard(part.item_id, part.content_index, 0, duration_ms)

    def cut_off(self, cut: tuple[Heard, ...]) -> None:
        """The caller interrupted."""
        for heard in cut:
            part = heard.part
            self._transcript.cut_off(part.item_id, part.content_index, heard.heard_ms, heard.queued_ms)

    def tool_answered(self, call_id: str, output: str) -> None:
        """A function's output goes to the model."""
        self._running.discard(call_id)
        self._transcript.tool_answered(call_id, output)

    def unanswered_turn(self) -> int | None:
        """Where the caller's last turn stands, if nobody has its words and its answer was not heard.

        Heard is an answer of which the caller has heard SAID_AFTER_MS, or all where it is shorter.

        A new session has to hear that turn itself, for which the conversation before it is its history.
        """
        entries = self.entries
        for position in range(len(entries) - 1, -1, -1):
            entry = entries[position]
            if entry.speaker == "caller":
                return position if not entry.text and not entry.failed else None
            played = entry.item_id in self._played and entry.heard_ms >= entry.total_ms
            if entry.speaker == "tool" or played or entry.heard_ms > SAID_AFTER_MS:
                return None
        return None

    def unfinished_answer(self) -> Entry | None:
        """What the assistant was saying last, if not all of it has been heard."""
        entries = self.entries
        last = entries[-1] if entries else None
        if last is None or last.speaker != "assistant":
            return None
        return last if last.heard_text != last.text or last.heard_ms < last.total_ms else None

    @property
    def awaits_assistant(self) -> bool:
        """Whether it is for the assistant to speak: as nothing was said yet, or the last word wants an answer."""
        entries = self.entries
        return not entries or entries[-1].speaker != "assistant" or self.unfinished_answer() is not None

    def write(self, turn_open: bool = False) -> None:
        """Tell the journal what is new and what has gone.

        `turn_open`: the caller speaks, and nothing of it is an item yet. Whoever goes on with this call has not heard
        it, and has to know that there was something.
        """
        if not turn_open:
            self._open_turn = ()
        elif not self._open_turn:
            self._open_turn = (Entry(f"unfinished_{secrets.token_hex(8)}", "caller", "", "", 0, 0),)
        entries = self.entries + self._open_turn
        same = _unchanged(self._written_last, entries)
        self._written_last = entries
        for position, entry in enumerate(entries[same:], same):
            if self._written.get(entry.item_id) != (position, entry):
                self._written[entry.item_id] = (position, entry)
                self._journal.entry(self._call_sid, position, entry)
        if len(self._written) > len(entries):
            for item_id in self._written.keys() - {entry.item_id for entry in entries}:
                del self._written[item_id]
                self._journal.removed(self._call_sid, item_id)


def _unchanged(before: tuple[Entry, ...], now: tuple[Entry, ...]) -> int:
    """How many of the first are the very same. Asked several times a second, so none of them is looked into."""
    same = list(map(is_, before, now))
    return len(same) if all(same) else same.index(False)


def _is_something(entry: Entry) -> bool:
    return entry.speaker != "assistant" or bool(entry.text) or entry.total_ms > 0
