"""The caller's silence: asked after, and at last taken for the end of the call.

It is the caller's turn when everything that the assistant had to say was heard, nothing is being done for the caller,
and the caller does not speak:

    it has been the caller's turn for        command
    reprompt_seconds                         Reprompt: ask whether the caller is still there
    and after it was heard, again            Reprompt, `reprompts` times in all
    and once more                            Goodbye: say goodbye and hang up; again, where that is taken back

A call is handed over to another process at a pause, and mostly that is when the assistant has just asked something.
Between the two streams nobody hears the caller: a short answer may fall into that gap, and then both sides wait for
each other. So the first silence of a call that goes on is not waited out:

    UNHEARD_SECONDS, or reprompt_seconds     AskAgain: have the caller say once more what was not heard

Only words, or a key, are a sign of life: what is taken for speech and has no words, such as a television, or the
hum of a line on which nobody is any more, interrupts a silence but does not begin it anew (protocol-gotchas 25).
Where nothing is transcribed nobody knows, and every turn is one.

Pure: time is an argument, in seconds of any clock that never goes back.
"""

from dataclasses import dataclass

UNHEARD_SECONDS = 4.0
"""After so long in which the caller says nothing, they have probably said it already."""

CLOCK_SECONDS = 0.001
"""How much too early a timer may be."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the caller may be silent. Raises ValueError for what makes no sense."""

    reprompt_seconds: float | None = 12.0
    """None: for as long as the call may last"""
    reprompts: int = 2
    """how often the caller is asked before the call is ended"""

    def __post_init__(self) -> None:
        if self.reprompt_seconds is not None and not self.reprompt_seconds > 0:
            raise ValueError(f"reprompt_seconds must be positive, not {self.reprompt_seconds}")
        if self.reprompts < 0:
            raise ValueError(f"reprompts must not be negative, as {self.reprompts} is")


@dataclass(frozen=True, slots=True)
class Reprompt:
    """Ask the caller whether they are still there."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The caller may have said something that was not heard: ask for it. Counts for none of the `reprompts`."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Nobody seems to be there: say goodbye, and end the call."""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` after this many seconds. Reminders that have become pointless do no harm."""

    seconds: float


Command = Reprompt | AskAgain | Goodbye | Remind


class CallerSilence:
    """Belongs to the actor of one call; not thread-safe. Every input returns the commands that it causes.

    `unheard`: the caller may have spoken before this, where nobody heard them.
    """

    def __init__(self, patience: Patience, *, unheard: bool = False) -> None:
        self._patience = patience
        self._unheard = unheard
        self._since: float | None = None
        self._asked = 0
        self._reminded_of: float | None = None

    def turn(self, caller_s: bool, now: float) -> list[Command]:
        """Whether it is the caller's turn. Saying again what is known changes nothing."""
        if not caller_s:
            if self._since is not None:  # something was heard now, or is said to the caller
                self._unheard = False
            self._since = None
        elif self._since is None:
            self._since = now
        return self._commands(now)

    def alive(self, now: float) -> list[Command]:
        """There is a sign of life."""
        self._asked = 0
        self._unheard = False
        if self._since is not None:
            self._since = now
        return self._commands(now)

    def due(self, now: float) -> list[Command]:
        """The time of a `Remind` has come. Harmless at any other time."""
        self._reminded_of = None
        return self._commands(now)

    def _commands(self, now: float) -> list[Command]:
        seconds = self._patience.reprompt_seconds
        if seconds is None or self._since is None:
            return []
        due_at = self._since + (min(seconds, UNHEARD_SECONDS) if self._unheard else seconds)
        if due_at <= now + CLOCK_SECONDS:
            # Until what is said now has been heard, it is not the caller's turn.
            self._since = None
            if self._unheard:
                self._unheard = False
                return [AskAgain()]
            self._asked += 1
            return [Goodbye() if self._asked > self._patience.reprompts else Reprompt()]
        if due_at == self._reminded_of:
            return []
        self._reminded_of = due_at
        return [Remind(due_at - now)]
