"""Dead air: noticed by what the caller hears, whatever it is that went wrong.

Sockets and events tell who is to blame for a silence, and every new fault tells it in another way. Their effect is
always the same: it is the assistant's turn, and the caller hears nothing. So this watches only that, and answers
with more the longer it lasts:

    it is the assistant's turn, and nothing is audible           command
    for filler_seconds since the turn began or audio ended       Filler: a short word
    for again_seconds after the filler's end, and so on          Filler
    for recover_seconds after the first filler's end             Recover: a new session with the model
    apologise_seconds after that                                 Apologise
    for give_up_seconds after the apology's end                  GiveUp: the call's fallback, and no command any more

    meanwhile                          what becomes of it
    the assistant is heard             all over; after the end of its audio again from the first
    the caller has the floor           all over; with the next reply that is due again from the first
    a tool runs                        waiting is right: a Filler every again_seconds, and nothing worse; then again
                                       from the first, without making the caller wait longer for the next Filler
    a lost session is being replaced   no Recover; the rest goes on
    the session has just begun         Recover waits, for FRESH_SECONDS of it; the rest goes on
    the apology has been heard         no Filler, unless a tool runs
    a sound of ours is heard           what is due then waits for its end

A turn ends when its answer is complete and has been played. An answer that breaks off half-way is therefore no
special case, and one that is late because the phone still plays what came before is not dead air.

A session that is lost and replaced again and again is no proof of life: neither a reply that is due once more nor
a new session makes this begin again from the first.

Pure: time is an argument, in seconds of any clock that never goes back.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import inf

FILLER_SECONDS = 2.0
"""The first wait where there is no filler: without one, a session is not given up any sooner."""

FRESH_SECONDS = 3.0
"""How long a new session may take to be heard; another one would have to begin from the first as well."""

CLOCK_SECONDS = 0.001
"""How much too early a timer may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the caller waits for what, in seconds. Raises ValueError for what is not positive."""

    filler_seconds: float | None = FILLER_SECONDS
    """silence before the first filler; None or 0: no filler is ever played"""
    again_seconds: float | None = 2.0
    """silence between fillers, until the apology; None or 0: the first is the only one"""
    recover_seconds: float = 1.0
    """between the filler's end and the end of a session that says nothing"""
    apologise_seconds: float = 4.0
    """between that and the apology"""
    give_up_seconds: float = 2.0
    """between the apology's end and the end of the call with the model"""

    def __post_init__(self) -> None:
        for name in ("recover_seconds", "apologise_seconds", "give_up_seconds"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be a positive number of seconds, not {getattr(self, name)}")
        for name in ("filler_seconds", "again_seconds"):
            if not 0 <= (getattr(self, name) or 0) < inf:
                raise ValueError(f"{name} must not be negative; 0 switches it off, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Filler:
    """Let the caller hear a short word: the answer takes its time."""


@dataclass(frozen=True, slots=True)
class Recover:
    """Replace the session with the model, although it may look healthy. Comes once in a silence."""


@dataclass(frozen=True, slots=True)
class Apologise:
    """Tell the caller that something is wrong."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The call goes to its fallback. Nothing comes after this."""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` after this many seconds. Reminders that have become pointless do no harm."""

    seconds: float


Command = Filler | Recover | Apologise | GiveUp | Remind


class _Rung(IntEnum):
    """The next thing to be done about a silence."""

    FILLER = 0
    RECOVER = 1
    APOLOGISE = 2
    GIVE_UP = 3
    OVER = 4


class DeadAir:
    """The silences of one call. Not thread-safe: it belongs to the actor of the call, and outlives its sessions.

    Every input returns the commands it causes. An input that says again what is known already changes nothing, and
    does not make the caller wait longer.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._filler_after = limits.filler_seconds or FILLER_SECONDS
        self._again_after = (limits.again_seconds or inf) if limits.filler_seconds else inf
        self._turn = False
        self._settled = False
        self._playing = False
        self._sounding = False
        self._tool_running = False
        self._recovering = False
        self._fresh_until = 0.0
        self._recovers_late = False
        self._rung = _Rung.FILLER
        self._rung_since = 0.0
        self._rung_sounds = False
        self._quiet_since = 0.0
        self._reminded_of: float | None = None
        self._silent_since: float | None = None
        self._longest_seconds = 0.0

    @property
    def assistant_turn(self) -> bool:
        """Whether a reply is due or being given, or still being played: a new session has to go on with it."""
        return self._turn

    @property
    def longest_ms(self) -> int:
        """The longest silence in the assistant's turns, in ms, up to the latest input; ours is not silence."""
        return round(self._longest_seconds * 1000)

    def reply_due(self, now: float) -> list[Command]:
        """The assistant's turn begins, or goes on: a reply was asked for, or was lost and has to be given again.

        The caller's turn is over, a greeting or the answer to a tool's result was asked for, a session was lost.
        """
        self._settled = False
        if not self._turn:
            self._turn = True
            self._begin(now)
        return self._commands(now)

    def caller_speaks(self, now: float) -> list[Command]:
        """The caller has the floor, from whoever had it. What is audible still, `playing` has to say for itself."""
        self._turn = False
        return self._commands(now)

    def playing(self, playing: bool, now: float) -> list[Command]:
        """The assistant's own audio begins to be audible, or has been played to its end or cleared.

        It begins when it is sent to a phone that has nothing left to play, and ends with the echo of its last mark.
        """
        if playing != self._playing:
            self._playing = playing
            self._begin(now)
        return self._commands(now)

    def sounding(self, sounding: bool, now: float) -> list[Command]:
        """A sound of ours, a filler or the apology, begins or ends to be audible."""
        if self._sounding and not sounding:
            self._quiet_since = now
            if self._rung_sounds:
                self._rung_since = now
                self._rung_sounds = False
        self._sounding = sounding
        return self._commands(now)

    def settled(self, now: float) -> list[Command]:
        """The answer is complete: it has been generated, and nothing more is owed. It may have to be played still."""
        self._settled = True
        return self._commands(now)

    def tool_running(self, running: bool, now: float) -> list[Command]:
        """The first of the tools begins to run, or the last of them has ended."""
        if self._tool_running and not running:
            # From here on it is the model who takes its time, but the caller has been waiting all along.
            first = self._rung is _Rung.FILLER and self._limits.filler_seconds
            filler_at = self._quiet_since + (self._filler_after if first else self._again_after)
            self._begin(min(filler_at - self._filler_after, now))
        self._tool_running = running
        return self._commands(now)

    def recovering(self, recovering: bool, now: float) -> list[Command]:
        """There is no session, and one is being made; or one has begun."""
        if self._recovering and not recovering:
            self._fresh_until = now + FRESH_SECONDS
        self._recovering = recovering
        return self._commands(now)

    def due(self, now: float) -> list[Command]:
        """The time of a `Remind` has come. Harmless at any other time."""
        self._reminded_of = None
        return self._commands(now)

    def _begin(self, quiet_since: float) -> None:
        if self._rung is not _Rung.OVER:
            self._rung = _Rung.FILLER
        self._recovers_late = False
        self._quiet_since = quiet_since

    def _commands(self, now: float) -> list[Command]:
        if self._settled and not self._playing:
            self._turn = False
        self._measure(now)
        commands: list[Command] = []
        if self._rung_at <= now + CLOCK_SECONDS:
            commands += self._climb(now)
        if self._recover_at <= now + CLOCK_SECONDS:
            self._recovers_late = False
            commands.append(Recover())
        if self._again_at <= now + CLOCK_SECONDS:
            self._quiet_since = now
            commands.append(Filler())
        next_at = min(self._rung_at, self._recover_at, self._again_at)
        if next_at < inf and next_at != self._reminded_of:
            commands.append(Remind(next_at - now))
        self._reminded_of = next_at
        return commands

    def _measure(self, now: float) -> None:
        if self._silent_since is not None:
            self._longest_seconds = max(self._longest_seconds, now - self._silent_since)
        if not self._silent:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now

    @property
    def _silent(self) -> bool:
        return self._turn and not self._playing and not self._sounding and self._rung is not _Rung.OVER

    @property
    def _rung_at(self) -> float:
        """When the next thing is to be done, if nothing changes until then."""
        if not self._silent:
            return inf
        match self._rung:
            case _Rung.FILLER:
                return self._quiet_since + self._filler_after
            case _ if self._tool_running:
                return inf
            case _Rung.RECOVER:
                return self._rung_since + self._limits.recover_seconds
            case _Rung.APOLOGISE:
                return self._rung_since + self._limits.apologise_seconds
            case _:
                return self._rung_since + self._limits.give_up_seconds

    @property
    def _recover_at(self) -> float:
        """When a session is to be given up that was too new for it before, if nothing changes until then."""
        waits = (
            self._silent and self._rung is _Rung.APOLOGISE and not self._recovering and not self._tool_running
        )
        return self._fresh_until if waits and self._recovers_late else inf

    @property
    def _again_at(self) -> float:
        """When another filler is to be played, if nothing changes until then."""
        if not self._silent or self._rung is _Rung.FILLER:
            return inf
        # Behind the apology there is only the end, or an answer: "one moment" would be neither.
        waits = self._tool_running or self._rung < _Rung.GIVE_UP
        return self._quiet_since + self._again_after if waits else inf

    def _climb(self, now: float) -> list[Command]:
        command = self._command(now)
        self._rung = _Rung(self._rung + 1)
        self._rung_since = now
        self._rung_sounds = isinstance(command, Filler | Apologise)
        if self._rung_sounds:
            self._quiet_since = now
        return [] if command is None else [command]

    def _command(self, now: float) -> Command | None:
        match self._rung:
            case _Rung.FILLER:
                return Filler() if self._limits.filler_seconds else None
            case _Rung.RECOVER:
                self._recovers_late = self._recovering or now < self._fresh_until
                return None if self._recovers_late else Recover()
            case _Rung.APOLOGISE:
                return Apologise()
            case _:
                return GiveUp()
