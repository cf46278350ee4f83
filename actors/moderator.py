"""Leads the conversation: what is done when somebody speaks, is heard, falls silent, or has a function run.

What it is that goes on, `actors.talk` knows, and it says what is due; here that is done.
"""

import time
from secrets import token_hex
from typing import Any, Protocol

from actors.farewell import Farewell
from actors.keypad import Keypad
from actors.member import call_log
from actors.messages import (
    AssistantAudioReceived,
    CheckAlive,
    CutOff,
    DeadlinePassed,
    Floor,
    FloorChanged,
    HeardSoFar,
    KeysPressed,
    Playback,
    PlaySound,
    Respond,
    SpeechUnnoticed,
    StopTalking,
    ToolFinished,
    ToolOutput,
    TurnTaken,
)
from actors.operator import Operator
from actors.phone_line import PhoneLine
from actors.phone_reader import KEPT_SECONDS, KEPT_SPEECH_SECONDS
from actors.sessions import Sessions
from actors.setup import CallSetup
from actors.sound import ringing
from actors.talk import Talk
from actors.tool_runner import ToolOverdue, ToolRunner
from wire import dead_air, realtime


class Call(Protocol):
    """What a moderator may do to the call that it belongs to."""

    @property
    def talking(self) -> bool:
        """Whether it has not left yet."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""

    def remind(self, what: str, seconds: float, about: object = None) -> None:
        """Call `due` after so many seconds."""

    def go_on(self) -> None:
        """Do what had to wait for the end of what was being said."""

    def give_session_up(self, why: str) -> None:
        """Replace the session, which does not do its work."""

    def not_heard(self) -> None:
        """Nothing has helped: the assistant stays silent."""


class Moderator:
    """Belongs to a CallActor, in whose thread everything is done."""

    def __init__(
        self,
        call: Call,
        setup: CallSetup,
        sessions: Sessions,
        talk: Talk,
        line: PhoneLine,
        tools: ToolRunner,
        farewell: Farewell,
        keypad: Keypad,
        operator: Operator,
    ) -> None:
        self._call = call
        self._sounds = setup.sounds
        self._transcribed = setup.session.transcription is not None
        self._sessions = sessions
        self._talk = talk
        self._line = line
        self._tools = tools
        self._farewell = farewell
        self._keypad = keypad
        self._operator = operator
        self._log = call_log(__name__, setup.call_sid)

    def handle(self, message: object) -> bool:
        """One of the messages that tell what goes on. False: it is something else."""
        now = time.monotonic()
        match message:
            case FloorChanged(model=model) | TurnTaken(model=model) | SpeechUnnoticed(model=model) if (
                not self._sessions.talks(model)
            ):
                pass  # said by a session that was given up, or replaced
            case TurnTaken():
                self._farewell.turn_taken()
            case FloorChanged(floor=floor):
                if floor is Floor.CALLER:
                    self._line.keep(KEPT_SPEECH_SECONDS)
                self.carry_out(self._talk.floor_changed(floor, now))
                if floor is not Floor.ASSISTANT:
                    # Else with the item of the caller's turn, which may be still to come: one has to be known.
                    self._talk.write()
                self._call.go_on()
            case SpeechUnnoticed(seconds_ago=seconds_ago):
                self._talk.speech_unnoticed(seconds_ago, now)
            case Playback():
                if message.assistant:
                    self._sessions.heard()
                self.carry_out(self._talk.playback_changed(message, now))
                self._keypad.handle(message)
                self._keep_what_is_needed()
                self._call.go_on()
            case HeardSoFar(heard=heard, to_the_end=to_the_end):
                self._talk.heard(heard, to_the_end)
                self._keep_what_is_needed()
                self._talk.write()
            case AssistantAudioReceived(part=part, duration_ms=duration_ms):
                self._talk.conversation.received(part, duration_ms)
                self._talk.write()
            case CutOff(heard=heard):
                self._talk.cut_off(heard)
                self._talk.write()
            case realtime.FunctionCall():
                self._learn(message)
                self._tools.run(message)
                self.carry_out(self._talk.tool_running(now))
            case realtime.McpCall():
                self._learn(message)
                self.carry_out(self._talk.mcp_call(now))
            case realtime.McpCallEnded():
                self._learn(message)
                self.carry_out(self._talk.mcp_call_ended(now, respond=self._farewell.instead is None))
            case ToolFinished():
                self._tool_finished(message)
            case ToolOverdue():
                self._tools.expire(message)
            case (
                realtime.ItemAdded()
                | realtime.ItemDeleted()
                | realtime.AudioCommitted()
                | realtime.CallerTranscript()
                | realtime.AssistantTranscript()
                | realtime.AssistantTranscriptDelta()
            ):
                self._learn(message)
            case _:
                return False
        return True

    def carry_out(self, commands: list[dead_air.Command]) -> None:
        """Do what the talk says is due."""
        if not self._call.talking:
            return
        for command in commands:
            match command:
                case dead_air.Filler():
                    self._sessions.tell(CheckAlive())
                    if self._operator.ringing:
                        self._line.tell(PlaySound("ringing", ringing()))
                    elif not self._tools.silent:
                        self._call.note("filler")
                        self._line.tell(PlaySound("filler", self._sounds.filler))
                case dead_air.Recover():
                    self._talk.session_silent()
                    self._call.give_session_up("nothing is heard of it")
                case dead_air.Apologise():
                    self._call.note("apology")
                    self._line.tell(PlaySound("apology", self._sounds.apology))
                case dead_air.GiveUp():
                    self._call.not_heard()
                case dead_air.Remind(seconds=seconds):
                    self._call.remind(DeadlinePassed.SILENCE, seconds)

    def have_said(self, words: Respond | StopTalking | KeysPressed) -> None:
        """Have the assistant say something, perhaps in place of what it is saying, or in answer to keys."""
        self._sessions.tell(words)
        self.reply_due(to_a_machine=words is self._farewell.instead)

    def reply_due(self, *, to_a_machine: bool = False) -> None:
        """The assistant was asked to say something, which to a machine only its message is."""
        if to_a_machine or self._farewell.instead is None:
            self.carry_out(self._talk.reply_due(time.monotonic()))

    def keys_entered(self, digits: str) -> None:
        """The caller has entered something that nobody asked for."""
        pressed = KeysPressed(f"keys_{token_hex(12)}", f"(The caller pressed the keys {' '.join(digits)}.)")
        self._learn(realtime.CallerTranscript(pressed.item_id, pressed.text))
        self.have_said(pressed)

    def due(self) -> None:
        """A reminder has come."""
        self.carry_out(self._talk.due(time.monotonic()))

    def _tool_finished(self, finished: ToolFinished) -> None:
        # Who is about to leave has nothing more to say about it.
        respond = self._farewell.departure is None
        commands = self._talk.tool_answered(finished.call_id, finished.output, respond, time.monotonic())
        self._talk.write()
        last = not self._talk.conversation.tools_running
        self._sessions.tell(ToolOutput(finished.call_id, finished.output, last, respond))
        self.carry_out(commands)
        self._farewell.tool_answered()
        self._call.go_on()

    def _learn(self, event: realtime.Event) -> None:
        match event:
            case realtime.CallerTranscript(text=text) if text:
                self._log.debug("caller: %s", text)
                self._farewell.caller_alive(time.monotonic())
            case realtime.AudioCommitted() if not self._transcribed:
                # Whether there were words, nobody will know: better a dead line held than a caller hung up on.
                self._farewell.caller_alive(time.monotonic())
            case realtime.AssistantTranscript(text=text):
                self._log.debug("assistant: %s", text)
        self._talk.learn(event, time.monotonic())
        self._talk.write()

    def _keep_what_is_needed(self) -> None:
        if self._sessions.talking and self._talk.assistant_audible and not self._talk.unheard_turn:
            self._line.keep(KEPT_SECONDS)
