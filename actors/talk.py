"""Who speaks, what is heard, and what a session that takes over has to know: the state of one call's conversation.

It outlives the model's sessions. A session may be lost at any moment; what its successor begins with depends on
what was going on:

    when it was lost                      its successor
    nobody spoke                          knows the conversation
    the caller spoke, or had spoken and   knows what was said before, hears that turn from its beginning, and
    nobody has the words of it            answers it by itself
    an answer was due, or broke off       knows what was heard, and goes on from there
    and the phone still plays of it       the same, but when that has been played
    the assistant had not spoken yet      greets
    the phone plays the kept greeting     counts it as said, and learns when it was cut off
    a function was running                knows of it, and gets its output

Times are in seconds of the monotonic clock.
"""

from actors.conversation import SAID_AFTER_MS, Conversation
from actors.messages import Begin, Floor, HeardLess, Playback, Remember, Respond
from actors.phone_reader import KEPT_SECONDS
from actors.setup import CallSetup
from wire import realtime, restore
from wire.dead_air import Command, DeadAir, Remind
from wire.playback import Heard

PREFIX_SECONDS = 1.0
"""How much earlier than it was noticed the caller's speech may have begun."""

MCP_SECONDS = 30.0
"""How long an MCP server may take. Nobody else sees to it that the caller does not wait for one for ever."""


class Talk:
    """Belongs to a CallActor, which carries out the commands that its methods return."""

    def __init__(self, setup: CallSetup, now: float) -> None:
        self._setup = setup
        self.conversation = Conversation(setup.call_sid, setup.journal, setup.history)
        self._dead_air = DeadAir(setup.patience)
        self._dead_air.recovering(True, now)  # the first session is made as any other
        self._floor = Floor.NOBODY
        self._playback = Playback(assistant=False, sound=False)
        self._turn_began_at: float | None = None
        self._turn_open = False
        self._turn_repeated = False
        self._repeated_item: str | None = None
        self._voiced_item = ""
        self._voice_due = False
        self._complete = False
        self._audible_since_due = False
        self._unnoticed_at: float | None = None
        self._alive_at = now
        self._unfinished_item: str | None = None
        self._kept_greeting: str | None = None
        self._kept_told = False
        """The session that talks takes all of the kept greeting to have been heard."""
        self._mcp_until = 0.0
        self._audible_until = float("-inf")

    @property
    def busy(self) -> bool:
        """Whether anybody speaks, or is about to: no moment to change anything in."""
        return (
            self._floor is not Floor.NOBODY
            or self._dead_air.assistant_turn
            or self._playback.assistant
            or self._playback.sound
            or self.conversation.tools_running
        )

    @property
    def assistant_audible(self) -> bool:
        """Whether something of the assistant's is left for the caller to hear."""
        return self._playback.assistant

    def assistant_silent_seconds(self, now: float) -> float:
        """For how long nothing of the assistant's has been left to be heard; 0 while something is."""
        return 0.0 if self._playback.assistant else now - self._audible_until

    @property
    def caller_has_floor(self) -> bool:
        """Whether the caller speaks, as far as the session knows."""
        return self._floor is Floor.CALLER

    @property
    def playback(self) -> Playback:
        """Whether something is left for the caller to hear, and whose it is."""
        return self._playback

    @property
    def assistant_had_last_word(self) -> bool:
        """Whether the assistant has said something since the caller has, heard or not."""
        words = [entry.speaker for entry in self.conversation.entries if entry.speaker != "tool"]
        return bool(words) and words[-1] == "assistant"

    @property
    def longest_silence_ms(self) -> int:
        """The longest in which it was the assistant's turn and nothing was heard."""
        return self._dead_air.longest_ms

    @property
    def unheard_turn(self) -> bool:
        """Whether a session that takes over now has to hear the caller's last turn itself."""
        return self._turn_began_at is not None

    @property
    def unanswered_since(self) -> float:
        """From when on a session has to hear the caller that takes over now."""
        return self._alive_at if self._turn_began_at is None else self._turn_began_at

    def answered(self, now: float) -> list[Command]:
        """The call begins here, or goes on here: mostly it is for the assistant to speak.

        Also where what the caller was saying is lost with another process: both would wait for each other.
        """
        due = self._setup.broke_off or self.conversation.awaits_assistant
        return self._reply_due(now) if due and not self._setup.listens_first else []

    @property
    def at_the_beginning(self) -> bool:
        """Whether nothing was said yet, on no stream of the call."""
        return not self._setup.broke_off and not self._setup.history and not self.conversation.entries

    def greeted(self, item_id: str, now: float) -> list[Command]:
        """The greeting went to the phone whole, kept from another call; that item is in the conversation."""
        self._kept_greeting = item_id
        self._complete = True
        return self.playback_changed(Playback(assistant=True, sound=False), now)

    def learn(self, event: realtime.Event, now: float) -> None:
        """The session tells of the conversation."""
        self._alive_at = now
        self.conversation.learn(event)
        match event:
            case realtime.AudioCommitted() if self._repeated_item is not None:
                # The turn that was heard again is another item now.
                self.conversation.learn(realtime.ItemDeleted(self._repeated_item))
                self._repeated_item = None
            case realtime.CallerTranscript() | realtime.ItemDeleted() | realtime.FunctionCall():
                self._review_turn()
            case realtime.ItemAdded(role="assistant", item_id=item_id):
                self._voiced_item = item_id
                self._voice_due = False
            case (
                realtime.AssistantTranscript(item_id=item_id)
                | realtime.AssistantTranscriptDelta(item_id=item_id)
            ) if item_id == self._voiced_item:
                # Once for an item. Its voice is on another way, and may be heard of later than that it is complete.
                self._voiced_item = ""
                self._voice_due = not self._playback.assistant

    def heard(self, heard: Heard, to_the_end: bool) -> None:
        """The caller has come so far in what the assistant says."""
        self.conversation.heard(heard, to_the_end)
        self._review_turn()

    def cut_off(self, cut: tuple[Heard, ...]) -> None:
        """The caller interrupted."""
        self._audible_since_due = True
        self.conversation.cut_off(cut)
        self._review_turn()

    def floor_changed(self, floor: Floor, now: float) -> list[Command]:
        """The session tells whose turn it is."""
        self._floor = floor
        self._alive_at = now
        self._unnoticed_at = None
        self._complete = floor is Floor.NOBODY
        match floor:
            case Floor.CALLER:
                if self._turn_began_at is None:
                    self._turn_began_at = now - PREFIX_SECONDS
                    self._turn_repeated = False
                # Else a new session hears the same turn again, or the caller goes on before there was an answer.
                self._turn_open = True
                return self._dead_air.caller_speaks(now)
            case Floor.ASSISTANT:
                self._turn_open = False
                return self._reply_due(now)
            case Floor.NOBODY:
                self._turn_open = False
                self._review_turn()
                return self._settle(now)

    def speech_unnoticed(self, seconds_ago: float, now: float) -> None:
        """The caller has spoken, and the session does not seem to know. It may turn out to be lost."""
        self._unnoticed_at = now - seconds_ago
        self._alive_at = min(self._alive_at, self._unnoticed_at - KEPT_SECONDS)

    def session_silent(self) -> None:
        """The session says nothing, and is given up. What it was given to hear once more, is not tried again."""
        if self._turn_repeated:
            self._turn_began_at = None
            self._turn_open = False

    def playback_changed(self, playback: Playback, now: float) -> list[Command]:
        """The phone begins or ends to play something."""
        if self._playback.assistant:
            self._audible_until = now
        self._playback = playback
        commands = [
            *self._dead_air.playing(playback.assistant, now),
            *self._dead_air.sounding(playback.sound, now),
        ]
        if playback.assistant:
            self._voiced_item, self._voice_due = "", False
            self._audible_since_due = True
            commands += self._settle(now)
        return commands

    def reply_due(self, now: float) -> list[Command]:
        """The assistant was asked to say something: now, or when the caller has finished."""
        return [] if self._floor is Floor.CALLER else self._reply_due(now)

    def tool_running(self, now: float) -> list[Command]:
        """The model called a function."""
        return self._dead_air.tool_running(True, now)

    def tool_answered(self, call_id: str, output: str, respond: bool, now: float) -> list[Command]:
        """A function's output goes to the model, which is to say something about it or not."""
        self.conversation.tool_answered(call_id, output)
        return [] if self.conversation.tools_running else self._tools_ended(respond, now)

    def _tools_ended(self, respond: bool, now: float) -> list[Command]:
        if respond:
            return [*self.reply_due(now), *self._dead_air.tool_running(False, now)]
        self._audible_since_due = True  # there is nothing to wait for but what is on its way
        return [*self._settle(now), *self._dead_air.tool_running(False, now)]

    def mcp_call(self, now: float) -> list[Command]:
        """The model has a tool of an MCP server called."""
        self._mcp_until = now + MCP_SECONDS
        return [*self.tool_running(now), Remind(MCP_SECONDS)]

    def mcp_call_ended(self, now: float, respond: bool = True) -> list[Command]:
        """It has a result, or failed, or is not waited for; the model is to say something about it or not."""
        return [] if self.conversation.tools_running else self._tools_ended(respond, now)

    def session_lost(self, again: bool, now: float) -> list[Command]:
        """The session is gone, and a new one is made. `again`: not for the first time in a row."""
        self._floor = Floor.NOBODY
        commands = [*self._forget_mcp(now), *self._dead_air.recovering(True, now)]
        unnoticed_at, self._unnoticed_at = self._unnoticed_at, None
        if unnoticed_at is not None and now - unnoticed_at > KEPT_SECONDS:
            unnoticed_at = None  # the session lived on after that: it was a noise
        if again or unnoticed_at is not None or self.unheard_turn:
            # The caller waits for us, or will soon: what is being said now, nobody hears.
            since = now if unnoticed_at is None else unnoticed_at
            commands += self._reply_due(since) + self._dead_air.due(now)
        return commands

    def begin(self, now: float) -> tuple[Begin, list[Command]]:
        """What a session begins with that is ready now."""
        self._floor = Floor.NOBODY
        entries = self.conversation.entries
        unfinished = self.conversation.unfinished_answer() if self._playback.assistant else None
        self._kept_told = False
        if self.unheard_turn:
            unheard = self.conversation.unanswered_turn()
            self._turn_repeated = True
            self._repeated_item = None if unheard is None else entries[unheard].item_id
            begin = Begin(entries[:unheard])
        elif unfinished is not None and unfinished.item_id == self._kept_greeting:
            # Now and not when it has been heard: what the caller says meanwhile is answered by who knows of it.
            self._kept_told = True
            begin = Begin(entries[:-1], playing=unfinished)
        elif unfinished is not None:
            self._unfinished_item = unfinished.item_id
            begin = Begin(entries[:-1])
        elif self._dead_air.assistant_turn and not self.conversation.tools_running:
            begin = Begin(entries, (self._opening(),))
        else:
            begin = Begin(entries)
        self._voiced_item, self._voice_due, self._complete = "", False, False
        self.conversation.session_began()
        return begin, self._dead_air.recovering(False, now)

    def leftover(self) -> list[Remember | HeardLess | Respond]:
        """What the session is told once the caller has heard, or cut off, what it has not said itself."""
        item_id = self._kept_greeting if self._kept_told else self._unfinished_item
        if item_id is None or self._playback.assistant:
            return []
        entry = next((each for each in self.conversation.entries if each.item_id == item_id), None)
        told: list[Remember | HeardLess | Respond] = []
        if entry is not None and not self._kept_told:
            told.append(Remember((entry,)))
        elif entry is not None and entry.heard_text != entry.text:
            told.append(HeardLess(entry))
        self._unfinished_item, self._kept_told = None, False
        if self._floor is not Floor.CALLER and self._dead_air.assistant_turn:
            told.append(Respond(self._opening()))
        return told

    def write(self) -> None:
        """Tell the journal what is new."""
        self.conversation.write(turn_open=self._turn_open)

    def due(self, now: float) -> list[Command]:
        """The time has come that a command reminded of."""
        late = self._forget_mcp(now) if now >= self._mcp_until else []
        return [*late, *self._dead_air.due(now)]

    def _forget_mcp(self, now: float) -> list[Command]:
        if not self.conversation.mcp_running:
            return []
        self.conversation.forget_mcp()
        return self.mcp_call_ended(now)

    def _opening(self) -> str | None:
        """Instructions for what the assistant has to say first in a session."""
        entries = self.conversation.entries
        if not any(entry.heard_text or entry.tool for entry in entries):
            return self._setup.greeting
        return restore.continuation(self._setup.session.instructions, entries)

    def _reply_due(self, now: float) -> list[Command]:
        self._complete = False
        self._audible_since_due = self._playback.assistant
        return self._dead_air.reply_due(now)

    def _settle(self, now: float) -> list[Command]:
        # An answer that nobody hears is a silence, however complete the model takes it to be.
        voice_due = self._voice_due or not self._audible_since_due
        waits = voice_due or self.conversation.tools_running or self._unfinished_item is not None
        return [] if waits or not self._complete else self._dead_air.settled(now)

    def _review_turn(self) -> None:
        # No session has to hear a turn again whose words are known, or whose answer was heard or will be: to hear
        # it, and to answer it once more, would cut off what plays.
        if self._turn_open or self._turn_began_at is None:
            return
        answer = self.conversation.unfinished_answer() if self._playback.assistant else None
        will_be_heard = answer is not None and answer.total_ms > SAID_AFTER_MS
        if will_be_heard or self.conversation.unanswered_turn() is None:
            self._turn_began_at = None
