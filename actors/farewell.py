"""How a call comes to its end on this stream: what the caller hears before, and who may still change it.

    why                                what is said first                      the caller speaks before that was heard
    the model hangs up                 its own goodbye, or one is asked for    the call goes on
    somebody orders a goodbye          it, in the next pause                   the call goes on
    the caller says nothing            two questions, then a goodbye           the call goes on
    a transfer, keys to be pressed     what the model says by itself           it happens behind the answer
    limit, budget                      a goodbye that tells why                it happens behind the answer
    a machine has answered our call    the message for it, and nothing else    it is not heard

What is to be said has to be heard: the call leaves when nothing is left to be played. It also does after
GOODBYE_SECONDS, but not while the assistant is heard or has just been, nor while a caller speaks who may take it
back; and after LONGEST_SECONDS in any case. Source: protocol-gotchas 25 to 27 and 30.
"""

import time
from dataclasses import replace
from typing import Any, Protocol

from actors.departure import Departure
from actors.messages import DeadlinePassed, Respond, StopTalking
from actors.meter import Outcome
from actors.setup import CallSetup
from actors.talk import Talk
from wire import caller_silence
from wire.caller_silence import CallerSilence
from wire.instructions import GOODBYE, NOBODY_THERE, REPROMPT, UNHEARD, WRAP_UP, adding, word_for_word

GOODBYE_SECONDS = 20.0
"""After so long the call leaves its stream all the same. A goodbye that was ordered waits no longer for a pause."""

GAP_SECONDS = 5.0
"""How long the assistant may then be silent in between, as where one session takes another's place."""

LONGEST_SECONDS = 180.0
"""How long all of it may take: a long answer, and a goodbye behind it."""

LOOKS_AGAIN_SECONDS = 1.0
"""How long after that it is seen whether it still is."""

MACHINES = ("machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other")
"""What Twilio calls a machine that answers. Source: twilio-media-streams.md, 10.4."""


class Call(Protocol):
    """What a farewell may do to the call that it belongs to."""

    @property
    def talking(self) -> bool:
        """Whether it has not left yet."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""

    def remind(self, what: str, seconds: float, about: object = None) -> None:
        """Call `due` after so many seconds."""

    def have_said(self, words: Respond | StopTalking) -> None:
        """Have the assistant say something, perhaps in place of what it is saying."""

    def go_on(self) -> None:
        """Do what had to wait for the end of what was being said."""

    def leave(self, departure: Departure) -> None:
        """Leave the stream, now."""


class Farewell:
    """Belongs to a CallActor, in whose thread everything is done."""

    def __init__(self, call: Call, setup: CallSetup, talk: Talk) -> None:
        self._call = call
        self._setup = setup
        self._talk = talk
        # Where the call broke off, or the caller's words wait for an answer, the assistant speaks first anyway.
        handed_over = bool(setup.history) and not setup.broke_off and not talk.conversation.awaits_assistant
        self._caller_silence = CallerSilence(setup.caller_patience, unheard=handed_over)
        self.departure: Departure | None = None
        """Where the call goes when what is being said has been heard; None: it stays."""
        self.words: Respond | None = None
        """What the assistant has to have said before; a session that begins meanwhile is told so too."""
        self.instead: StopTalking | None = None
        """The same, where it is all that is said, and nothing is heard any more."""
        self._words_wait = False
        self._ordered: Departure | None = None
        """A goodbye is to be said in the next pause."""
        self._leaves_by = 0.0

    def depart(self, departure: Departure) -> None:
        """Leave, when what is being said has been heard."""
        if self._call.talking:
            self.departure = departure
            self._leaves_by = time.monotonic() + LONGEST_SECONDS
            # This one and no other: the same words may be the reason again after it was taken back.
            self._call.remind(DeadlinePassed.GOODBYE, GOODBYE_SECONDS, departure)

    def stay(self, departure: Departure, why: str) -> None:
        """Do not leave that way after all. Where the call leaves for another reason, it still does."""
        if self.departure is departure and self._call.talking:
            self._call.note("does not leave", reason=why)
            self.departure = self.words = None

    def turn_taken(self) -> None:
        """The caller interrupts, or has said something: some departures end with that."""
        if self.departure is not None and self.departure.taken_back:
            self.stay(self.departure, "the caller speaks")

    def hang_up(self, reason: str, said: bool) -> None:
        """Say goodbye and hang up, unless the caller has something to say to that.

        `said`: the assistant itself does, and has said goodbye if it had the last word. Else there is one when
        everybody has finished: it is an answer to nothing, and who speaks has not heard it yet.
        """
        departure = Departure(reason, Outcome.ENDED, taken_back=True)
        if said:
            self._say_goodbye(departure, None if self._talk.assistant_had_last_word else GOODBYE)
        else:
            self._ordered = departure
            self._call.remind(DeadlinePassed.GOODBYE, GOODBYE_SECONDS, departure)
            self._call.go_on()

    def pause(self) -> bool:
        """Nobody speaks, or is about to. True: something is said first that was to be said then."""
        ordered, self._ordered = self._ordered, None
        if ordered is None or self.departure is not None:
            return False
        self._say_goodbye(replace(ordered), GOODBYE)  # another, whose 20 s begin now
        return True

    def wrap_up(self, why: str) -> bool:
        """The call may not last any longer. False: it is leaving already, for what may still come to nothing."""
        if self._leaves:
            return False
        departure = Departure(f"ended with a goodbye, because {why}", Outcome.ENDED)
        self._say_goodbye(departure, WRAP_UP.format(why))
        return True

    def answered_by(self, verdict: str) -> None:
        """Who has answered a call that we placed. A machine is left a message, if there is one, and nothing else."""
        if verdict == "fax":
            self._call.leave(Departure("a fax machine answered", Outcome.FAX))
        elif verdict in MACHINES and self._setup.voicemail is None:
            self._call.leave(Departure("a machine answered", Outcome.VOICEMAIL))
        elif verdict in MACHINES and self._setup.voicemail is not None and self._call.talking:
            message = Respond(word_for_word(self._setup.voicemail), must=True)
            self.instead = StopTalking(deaf=True, instead=message)
            self.depart(Departure("a machine has been left a message", Outcome.VOICEMAIL))
            self._call.have_said(self.instead)

    def tool_answered(self) -> None:
        """The model has the output of a function: it may have waited for that to say goodbye."""
        if self.words is not None and self._words_wait and not self._talk.conversation.tools_running:
            self._words_wait = False
            self._call.have_said(self.words)

    def caller_s_turn(self, caller_s: bool, now: float) -> None:
        """Whether it is for the caller to speak, and nothing is being done for them."""
        self._ask_after(self._caller_silence.turn(caller_s and self.departure is None, now))

    def caller_alive(self, now: float) -> None:
        """The caller has said something, as far as anybody knows, or pressed a key."""
        self._ask_after(self._caller_silence.alive(now))

    def due(self, what: str, about: object, now: float) -> None:
        """A reminder has come."""
        departure = self.departure
        if what == DeadlinePassed.CALLER_SILENCE:
            self._ask_after(self._caller_silence.due(now))
        elif about is self._ordered and self._ordered is not None:
            # There was no pause. It is said behind what is being said or done, whoever speaks.
            ordered, self._ordered = self._ordered, None
            self._say_goodbye(replace(ordered, taken_back=False), GOODBYE)
        elif departure is None or about is not departure:
            pass  # it was taken back
        elif now < self._leaves_by and self._goes_on(departure, now):
            self._call.remind(what, LOOKS_AGAIN_SECONDS, departure)
        else:
            self._call.leave(replace(departure, reason=f"{departure.reason}; it was not heard"))

    def _goes_on(self, departure: Departure, now: float) -> bool:
        """Whether somebody is just being heard, as far as that matters: the assistant, or who may take it back."""
        if self._talk.assistant_audible:
            return True
        if self._talk.caller_has_floor:
            return departure.taken_back
        return self._talk.assistant_silent_seconds(now) < GAP_SECONDS

    @property
    def _leaves(self) -> bool:
        return self.departure is not None and not self.departure.taken_back

    def _say_goodbye(self, departure: Departure, instructions: str | None) -> None:
        """Without instructions the assistant has said it already."""
        if self._leaves or not self._call.talking:
            return
        self.depart(departure)
        if instructions is not None:
            words = adding(self._setup.session.instructions, instructions)
            self.words = Respond(words, must=not departure.taken_back)
            # While the model waits for the output of a function, it would speak without knowing it.
            self._words_wait = True
            self.tool_answered()
        self._call.go_on()

    def _ask_after(self, commands: list[caller_silence.Command]) -> None:
        for command in commands:
            match command:
                case caller_silence.Reprompt():
                    self._call.note("reprompt")
                    self._ask(REPROMPT)
                case caller_silence.AskAgain():
                    self._call.note("asks again")
                    self._ask(UNHEARD)
                case caller_silence.Goodbye():
                    departure = Departure("the caller says nothing", Outcome.CALLER_SILENT, taken_back=True)
                    self._say_goodbye(departure, NOBODY_THERE)
                case caller_silence.Remind(seconds=seconds):
                    self._call.remind(DeadlinePassed.CALLER_SILENCE, seconds)

    def _ask(self, what: str) -> None:
        self._call.have_said(Respond(adding(self._setup.session.instructions, what)))
