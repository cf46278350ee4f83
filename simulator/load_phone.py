"""One call of a load test, and what can be told of it from outside. Everything runs in the event loop's thread."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import urljoin

from simulator.lean_phone import ACCOUNT_SID, CallError, LeanPhone
from simulator.media_messages import SILENT_FRAME
from simulator.screen import loudness
from simulator.twiml import Connect, Hangup, Pause, StreamRefusedError, TwimlError, Verb, parse
from simulator.webhook import Requester, Route, WebhookError
from wire.g711 import FRAME_BYTES

PAUSE_SECONDS = 1.0
"""The assistant has finished when it has been silent for so long."""
PATIENCE_SECONDS = 10.0
"""Whoever gets no answer in that time speaks again."""
GAP_SECONDS = 0.02
"""Nobody hears a shorter one within what the assistant says. Longer than PAUSE_SECONDS is none: the next answer."""
QUIET = 8
"""Below it, on the scale of `loudness`, nobody says anything."""
TRIES = 6
"""How often a call asks what to do now that its stream has ended; there is no room for it, or a server has gone."""


class Outcome(StrEnum):
    """What became of a call."""

    ANSWERED = "answered"
    OVERFLOW = "overflow"
    """it got an answer, and no stream: there was no room for it, or the server has trouble"""
    FAILED = "failed"


@dataclass(slots=True)
class Figures:
    """What was seen of one call. Times in ms."""

    outcome: Outcome | None = None
    set_up_ms: float | None = None
    """from asking the webhook to the open stream"""
    first_audio_ms: float | None = None
    """from there to the first of the assistant's audio"""
    answers_ms: list[float] = field(default_factory=list)
    """from the end of what the caller said to the next audio, which includes the model's time"""
    unanswered: int = 0
    gaps_ms: list[float] = field(default_factory=list)
    """silences within what the assistant said: audio that came too late"""
    moved: int = 0
    """how often the call went on with another stream"""


@dataclass(frozen=True, slots=True)
class Speech:
    """What a caller says, in frames of 20 ms, without the silence around it."""

    frames: Sequence[bytes]

    @classmethod
    def of(cls, ulaw: bytes) -> Self:
        """Raises ValueError if nothing can be heard in it."""
        frames = [ulaw[at : at + FRAME_BYTES] for at in range(0, len(ulaw) - FRAME_BYTES + 1, FRAME_BYTES)]
        loud = [number for number, frame in enumerate(frames) if loudness(frame) >= QUIET]
        if not loud:
            raise ValueError("nothing can be heard in it")
        return cls(frames[loud[0] : loud[-1] + 1])


class LoadPhone(LeanPhone):
    """Listens to the greeting, says the same again and again, and listens to each answer."""

    def __init__(self, number: int, speech: Speech, account_sid: str = ACCOUNT_SID) -> None:
        super().__init__(number, account_sid)
        self.figures = Figures()
        self._speech = speech
        self._said: int | None = None
        """Frames that have been said of it; None: the caller listens."""
        self._asked_at: float | None = None
        self._heard_at = 0.0
        self._opened_at = 0.0
        self._talks = False
        """Whether the assistant has said something since the caller did."""
        self._requester: Requester
        self._action: str | None = None
        self._moving: asyncio.Task[None] | None = None

    async def call(self, webhook_url: str, auth_token: str | None) -> None:
        """Place it, and note what came of it. Raises nothing of the network's."""
        self._requester = Requester(auth_token, Route(None, webhook_url))
        began_at = self._loop.time()
        try:
            await self.place(webhook_url, auth_token)
        except CallError as error:
            self.figures.outcome = Outcome.OVERFLOW
            if not error.verbs:
                self._fail("the webhook's answer is empty")
        except (WebhookError, TwimlError, StreamRefusedError, OSError) as error:
            self._fail(str(error) or type(error).__name__)
        except asyncio.CancelledError:
            self._fail("it was not answered before the end")
            raise
        else:
            self.figures.outcome = Outcome.ANSWERED
            self.figures.set_up_ms = (self._loop.time() - began_at) * 1000

    async def open(self, connect_verb: Connect, document_url: str, requester: Requester) -> None:
        """Open a stream, and remember where to ask when it ends."""
        action = connect_verb.action
        self._action = None if action is None else urljoin(document_url, action)
        self._asked_at, self._said, self._talks = None, None, False
        await super().open(connect_verb, document_url, requester)
        self._opened_at = self._heard_at = self._loop.time()

    def frame(self) -> bytes:
        """What the caller says now, if anything."""
        now = self._loop.time()
        if self._said is None:
            since = max(self._silent_at, self._heard_at)
            if now - since < (PAUSE_SECONDS if self._talks else PATIENCE_SECONDS):
                return SILENT_FRAME
            if self._asked_at is not None:
                self.figures.unanswered += 1
            self._said, self._asked_at, self._talks = 0, None, False
        frame = self._speech.frames[self._said]
        self._said += 1
        if self._said == len(self._speech.frames):
            self._said = None
            self._asked_at = self._heard_at = now
        return frame

    def hear(self, audio: bytes) -> None:
        """Note when it came."""
        now, figures = self._loop.time(), self.figures
        if figures.first_audio_ms is None:
            figures.first_audio_ms = (now - self._opened_at) * 1000
        if self._asked_at is not None:
            if now >= self._silent_at:
                figures.answers_ms.append((now - self._asked_at) * 1000)
                self._asked_at = None
        elif self._talks and GAP_SECONDS <= now - self._silent_at < PAUSE_SECONDS:
            figures.gaps_ms.append((now - self._silent_at) * 1000)
        # What it still says while the caller speaks is no answer to that.
        self._talks = self._said is None
        self._heard_at = now

    def ended(self, code: int) -> None:
        """The server has ended the stream: ask what to do now, as Twilio does."""
        if self._action is None or self.figures.moved >= TRIES:
            self._fail(f"the server ended it with code {code}")
            return
        self._moving = self._loop.create_task(self._move(self._action, code))

    async def hang_up(self) -> None:
        """End the call, wherever it is."""
        if self._moving is not None and not self._moving.done():
            self._moving.cancel()
            self.abort()
        elif self.figures.outcome is Outcome.ANSWERED:
            await super().hang_up()

    async def _move(self, url: str, code: int) -> None:
        try:
            answer = await asyncio.to_thread(self._requester.request, "POST", url, self.form("in-progress"))
            verbs = parse(answer.body)
            if verbs and all(isinstance(verb, Hangup) for verb in verbs):
                return  # the conversation is over
            if not await self._go_on(verbs, url):
                self._fail(f"the server ended it with code {code}")
        except (WebhookError, TwimlError, StreamRefusedError, OSError) as error:
            self._fail(str(error) or type(error).__name__)

    async def _go_on(self, verbs: Sequence[Verb], url: str) -> bool:
        for verb in verbs:
            match verb:
                case Pause(seconds=seconds):
                    await asyncio.sleep(seconds)
                case Connect():
                    await self.open(verb, url, self._requester)
                    self.figures.moved += 1
                    return True
        return False

    def _fail(self, why: str) -> None:
        self.figures.outcome = Outcome.FAILED
        self.problems.append(f"call {self.number}: {why}")
