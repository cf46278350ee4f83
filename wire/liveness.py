"""Whether the model's server still answers, and whether it has missed what the caller said.

A server that hangs, or a network that has swallowed the connection, closes no socket: nothing comes, and that looks
like a caller who is silent. So a server from which nothing has come for a while is pinged, and one that may have
missed something is pinged at once and given less time.

Pure: time is an argument, in seconds of any clock that never goes back. Source: RFC 6455, 5.5.2: a pong follows a
ping as soon as is practical.
"""

from dataclasses import dataclass

IDLE_SECONDS = 5.0
"""After so long without a word from the server it is pinged."""
PATIENCE_SECONDS = 5.0
"""How long it may take to answer then; a busy network is no reason to give a session up."""
URGENT_SECONDS = 1.0
"""How long it may take where the caller waits."""

CLOCK_SECONDS = 0.001
"""How much too early a timer may be."""

SPOKEN_MS = 400
"""Loud audio from the caller that is taken for words."""
GAP_MS = 1000
"""Quiet that parts what was said from what is said next."""
GRACE_MS = 800
"""How long after the silence that ends a turn the server may take to say so."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a ping."""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The server does not answer."""


Command = Ping | Remind | Lost


class Liveness:
    """One connection. Not thread-safe: it belongs to the actor that owns the socket."""

    def __init__(self) -> None:
        self._asked: list[tuple[float, float]] = []
        """When each open question was asked, and by when it has to be answered. A word from the server answers those
        that came before it, and no later one: the answer to an idle ping says nothing of a server that is urgent."""
        self._due_at = float("-inf")

    def check(self, now: float) -> list[Command]:
        """Something is wrong, or looks so: ask at once."""
        return self._ask(now, URGENT_SECONDS)

    def due(self, heard_at: float, now: float) -> list[Command]:
        """A reminder has come; the first one comes by itself. `heard_at`: when the server last said anything."""
        if now < self._due_at - CLOCK_SECONDS:
            return []  # an earlier reminder, which a check has made pointless
        self._asked = [(at, answer_by) for at, answer_by in self._asked if at > heard_at]
        if self._asked:
            left = self._answer_by - now
            return self._remind(now, left) if left > CLOCK_SECONDS else [Lost()]
        left = heard_at + IDLE_SECONDS - now
        return self._remind(now, left) if left > CLOCK_SECONDS else self._ask(now, PATIENCE_SECONDS)

    def _ask(self, now: float, patience: float) -> list[Command]:
        self._asked.append((now, now + patience))
        return [Ping(), *self._remind(now, max(self._answer_by - now, 0.0))]

    @property
    def _answer_by(self) -> float:
        return min(answer_by for _, answer_by in self._asked)

    def _remind(self, now: float, seconds: float) -> list[Command]:
        self._due_at = now + seconds
        return [Remind(seconds)]


class UnnoticedSpeech:
    """What the caller said and the server has not taken notice of. Time is the audio's own."""

    def __init__(self, stop_delay_ms: float) -> None:
        """`stop_delay_ms`: the silence after which the server takes a turn to be over."""
        self._wait_ms = stop_delay_ms + GRACE_MS
        self._spoken_ms = 0.0
        self._quiet_ms = 0.0

    def caller_audio(self, loud: bool, duration_ms: float) -> float | None:
        """A piece was passed on. Returns, once, the ms since the server should have said that the turn is over."""
        if loud:
            if self._quiet_ms > GAP_MS:
                self._spoken_ms = 0.0
            self._quiet_ms = 0.0
            self._spoken_ms += duration_ms
            return None
        self._quiet_ms += duration_ms
        if self._spoken_ms < SPOKEN_MS or self._quiet_ms < self._wait_ms:
            return None
        self._spoken_ms = 0.0
        return self._quiet_ms - self._wait_ms + GRACE_MS

    def noticed(self) -> None:
        """The server has said that the caller's turn is over."""
        self._spoken_ms = 0.0
