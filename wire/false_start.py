"""False starts: telling a caller who interrupts from a cough, an echo and an "mhm".

Who decides is the mode, and with it what the session asks of the server's turn detection:

    mode     interrupt_response  create_response   the caller makes a sound while the assistant speaks
    server   true                true              any speech_started interrupts: the server cancels its response,
                                                   commits the sound as an item and answers it when it is over
    gated    false               false             the server reports and commits, nothing else; the gate decides

In gated mode the server must not answer by itself either: it would answer every cough, and its attempt fails while
a response is active. So the end of a real turn owes a response, which the turn sequencer asks for; a false start
owes none, and its item is deleted, or the model would answer the cough together with the next turn.

    a speech, gated                                         commands
    the assistant is silent until it ends                   TurnOver at its end, however short: "yes" is an answer
    long enough while the assistant can be heard            Interrupt at once, TurnOver at its end
    short, and at its end the assistant can still be heard  FalseStart at its end
    short, and the assistant came to its end meanwhile      TurnOver: the caller may be answering early

How long a caller has spoken, speech_stopped tells too late: it comes only after `silence_duration_ms` of silence,
some 500 ms: a cough looks as long as a word, until it is too late to stop for the word. Therefore the gate listens
itself: `minimum_speech_ms` of loud audio is an interruption. Quiet sounds are none, however long, because most of
them are the assistant's own echo. On lines without echo `quiet_interrupts` lets callers with weak voices interrupt
as well, later: a speech that is not over after `minimum_speech_ms` and that silence cannot have been shorter.

With `resume`, an interruption may still turn out to have been nothing. Its turn then waits for the transcript, at
most a second. One without a word in it makes the speech a FalseStart and asks to Resume the answer. Words make it
a TurnOver, and so do a transcription that failed and one that is late: to talk on over a caller who did say
something is worse than to answer a noise, and the model has heard for itself what it was.

Pure: time is an argument, in seconds of any clock that never goes back. Source: openai-realtime.md 4, 7 and 9,
protocol-gotchas.md 14 and 15.
"""

from dataclasses import dataclass
from typing import Literal

TRANSCRIPT_SECONDS = 1.0
"""How long the turn after an interruption waits for its words, where `resume` is on."""

PAUSE_MS = 200
"""Quiet that parts one sound from the next. The stops inside words are shorter."""

CLOCK_SECONDS = 0.001
"""How much too early a timer may be."""


@dataclass(frozen=True, slots=True)
class Gating:
    """Who decides what an interruption is. Raises ValueError for what cannot work."""

    mode: Literal["server", "gated"] = "server"
    minimum_speech_ms: int = 250
    """Speech that interrupts, in ms; gated only. 0: any speech_started does."""
    quiet_interrupts: bool = False
    """Whether speech need not be loud to interrupt; gated only, and wrong where the assistant hears its echo."""
    stop_delay_ms: int = 500
    """The silence after which the server says speech_stopped: `silence_duration_ms`, or for semantic_vad the longest
    wait of its eagerness, 2000 to 8000 ms; for `quiet_interrupts`."""
    resume: bool = False
    """Whether an answer is resumed after an interruption without words; gated only, and needs transcription."""

    def __post_init__(self) -> None:
        if self.minimum_speech_ms < 0 or self.stop_delay_ms < 0:
            raise ValueError("minimum_speech_ms and stop_delay_ms are not negative")
        if self.resume and self.mode == "server":
            raise ValueError(
                "resume needs mode gated: in mode server the server itself answers whatever interrupted"
            )

    @property
    def by_server(self) -> bool:
        """What `create_response` and `interrupt_response` of the session's turn detection must both be."""
        return self.mode == "server"


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the assistant: clear the phone, and in gated mode cancel the active response, if there is one."""


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The caller has finished: a response is owed. The turn sequencer asks for it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class FalseStart:
    """It was nothing: no response is owed, and the item goes out of the model's memory."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The answer that was interrupted for nothing goes on where the caller stopped hearing it. A response is owed."""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` in so many seconds."""

    seconds: float


Command = Interrupt | TurnOver | FalseStart | Resume | Remind


@dataclass(slots=True)
class _Speech:
    item_id: str
    started_at: float
    interrupted: bool = False
    wordless: bool | None = None
    """what the transcript said, if it came"""


class Gate:
    """The false starts of one session. Not thread-safe: it belongs to the actor that owns the model's socket.

    Every input returns the commands it causes, to be carried out in their order.
    """

    def __init__(self, gating: Gating | None = None) -> None:
        self.gating = gating or Gating()
        """May be replaced by another of the same mode when turn detection is configured anew."""
        self.listens = not self.gating.by_server
        """Whether `caller_audio` can cause anything; if not, none has to be told."""
        self._speech: _Speech | None = None
        self._awaited: _Speech | None = None
        self._awaited_until = 0.0
        self._last_stopped = ""
        self._playing = False
        self._loud_ms = 0.0
        self._quiet_ms = 0.0

    def speech_started(self, item_id: str, now: float) -> list[Command]:
        """The server hears the caller."""
        if self.gating.mode == "server":
            return [Interrupt()]
        commands: list[Command] = []
        if self._awaited is not None:
            # The caller goes on, so there were words. One response answers both speeches.
            commands.append(TurnOver(self._take_awaited().item_id))
        self._speech = _Speech(item_id, now)
        commands += self._decide(now)
        if self.gating.quiet_interrupts and not self._speech.interrupted:
            commands.append(Remind(self._certain_seconds))
        return commands

    def speech_stopped(self, item_id: str, now: float) -> list[Command]:
        """The server hears the caller no more. Said twice, or in server mode, it causes nothing."""
        if self.gating.mode == "server" or item_id == self._last_stopped:
            return []
        self._last_stopped = item_id
        speech = self._speech
        if speech is None or speech.item_id != item_id:
            return [TurnOver(item_id)]  # its start was lost: better an answer too many than a caller ignored
        commands = self._decide(now)
        self._speech = None
        if not speech.interrupted:
            return [FalseStart(item_id) if self._playing else TurnOver(item_id)]
        if not self.gating.resume:
            return [*commands, TurnOver(item_id)]
        if speech.wordless is not None:
            return commands + _verdict(item_id, speech.wordless)
        self._awaited = speech
        self._awaited_until = now + TRANSCRIPT_SECONDS
        return [*commands, Remind(TRANSCRIPT_SECONDS)]

    def caller_audio(self, loud: bool, duration_ms: float, now: float) -> list[Command]:
        """A piece of the caller's audio was passed on; `loud` is what `wire.loudness` says of it.

        Called 50 times a second, also while nobody speaks: what interrupts began before the server noticed it.
        """
        if loud:
            self._loud_ms += duration_ms
            self._quiet_ms = 0.0
        else:
            self._quiet_ms += duration_ms
            if self._quiet_ms >= PAUSE_MS:
                self._loud_ms = 0.0
        return self._decide(now) if self._speech is not None else []

    def playing(self, playing: bool, now: float) -> list[Command]:
        """Whether there is something to interrupt: audio at the phone that has not been heard, or an active response.

        Tell every change. A response counts from when it is created, or a caller who talks on would be answered
        with what has become stale.
        """
        self._playing = playing
        return self._decide(now)

    def transcript(self, item_id: str, text: str | None) -> list[Command]:
        """The caller's words; None if the transcription failed."""
        wordless = text is not None and not any(map(str.isalnum, text))
        if self._awaited is not None and self._awaited.item_id == item_id:
            self._take_awaited()
            return _verdict(item_id, wordless)
        if self._speech is not None and self._speech.item_id == item_id:
            self._speech.wordless = wordless
        return []

    def due(self, now: float) -> list[Command]:
        """The time of a `Remind` has come. Harmless at any other time."""
        if self._awaited is not None:
            left = self._awaited_until - now
            if left > CLOCK_SECONDS:
                return [Remind(left)]
            return [TurnOver(self._take_awaited().item_id)]
        if self._speech is None or self._speech.interrupted or not self.gating.quiet_interrupts:
            return []
        left = self._speech.started_at + self._certain_seconds - now
        return [Remind(left)] if left > CLOCK_SECONDS else self._decide(now)

    @property
    def _certain_seconds(self) -> float:
        return (self.gating.minimum_speech_ms + self.gating.stop_delay_ms) / 1000

    def _decide(self, now: float) -> list[Command]:
        speech = self._speech
        if speech is None or speech.interrupted or not self._playing:
            return []
        lasted = now - speech.started_at + CLOCK_SECONDS
        long_enough = self._loud_ms >= self.gating.minimum_speech_ms or (
            self.gating.quiet_interrupts and lasted >= self._certain_seconds
        )
        if not long_enough:
            return []
        speech.interrupted = True
        return [Interrupt()]

    def _take_awaited(self) -> _Speech:
        speech = self._awaited
        assert speech is not None, "only what waits for its transcript is taken"
        self._awaited = None
        return speech


def _verdict(item_id: str, wordless: bool) -> list[Command]:
    return [FalseStart(item_id), Resume()] if wordless else [TurnOver(item_id)]
