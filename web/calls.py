"""The calls that this process holds: started, counted, and handed over when the process ends."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka
from pykka import ActorRef

from actors.call import Answer, CallActor
from actors.clock import Clock
from actors.member import post
from actors.messages import Drain
from actors.phone_reader import PhoneReader
from actors.setup import CallSetup
from web import turnover
from web.pulse import Pulse

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
RESERVED_THREADS = 4
"""Of a server's threads, these never hold a call: where all do, nobody answers the next caller at all."""

HANDOVER_SECONDS = 3.0
"""How long calls have that are handed over at once: to stop in mid-word, and to write down where they were."""

QUESTION_SECONDS = 2.0
"""Within so long Twilio asks what to do now that a stream has ended, or asks again after a pause of a second."""


@dataclass(slots=True)
class LiveCall:
    """A started call, as the thread that reads its media socket sees it."""

    ref: ActorRef[CallActor]
    reader: PhoneReader
    ended: threading.Event
    """Set when everything below the call is closed."""


class Calls:
    """Starts calls and knows those that live. Any thread."""

    def __init__(
        self,
        threads: int,
        actor: type[CallActor] = CallActor,
        question_seconds: float = QUESTION_SECONDS,
        pulse: Pulse | None = None,
    ) -> None:
        """`threads` is how many the server has: a call holds one, and some are kept free to answer webhooks with.

        `actor`: what a call is. `question_seconds`: within so long Twilio asks. `pulse`: tells how late we are.
        """
        self._actor = actor
        self._pulse = pulse or Pulse()
        self._question_seconds = question_seconds
        self.limit = max(threads - min(RESERVED_THREADS, max(threads // 4, 1)), 1)
        self._clock = Clock()
        self._changed = threading.Condition()
        self._live: dict[str, tuple[str, ActorRef[Any]]] = {}
        self.when_begun: Callable[[], None] = lambda: None
        """Called when a call has begun, by the thread that started it."""
        self.when_ended: Callable[[int], None] = lambda left: None
        """Called when one has ended, with how many are left, by the thread that held it."""
        self._draining = False
        self._question_by = time.monotonic()

    def start(self, setup: CallSetup) -> LiveCall | None:
        """Start a call; None when it could not be started, or this process takes no more."""
        with self._changed:
            if self._draining:
                logger.info("%s: refused, this process is ending", setup.call_sid)
                return None
            if len(self._live) >= self.limit:
                logger.warning(
                    "%s: refused, this process has %d calls; raise THREADS", setup.call_sid, self.limit
                )
                return None
            ended = threading.Event()
            ref = self._actor.start(setup, self._clock, ended)
            self._live[ref.actor_urn] = (setup.call_sid, ref)
            self._pulse.begin()
            turnover.adapt_to(len(self._live))
        try:
            reader = ref.ask(Answer(), timeout=ANSWER_SECONDS)
        except (pykka.ActorDeadError, pykka.Timeout):
            reader = None
        if not isinstance(reader, PhoneReader):
            # It failed and has logged why; or it is stuck, and then ends when it is not any more.
            ref.stop(block=False)
            self._forget(ref)
            return None
        self.when_begun()
        return LiveCall(ref, reader, ended)

    def forget(self, call: LiveCall) -> None:
        """The call has ended."""
        self._forget(call.ref)

    def _forget(self, ref: ActorRef[Any]) -> None:
        with self._changed:
            if self._live.pop(ref.actor_urn, None) is not None:
                self._pulse.end()
                self._question_by = time.monotonic() + self._question_seconds
            left = len(self._live)
            turnover.adapt_to(left)
            self._changed.notify_all()
        self.when_ended(left)

    @property
    def live(self) -> list[str]:
        """The SIDs of the calls that live here."""
        with self._changed:
            return list({call_sid for call_sid, _ in self._live.values()})

    def tell(self, call_sid: str, message: object) -> bool:
        """Tell the call, which is an order; False: it does not live here."""
        with self._changed:
            # Of two streams of one call, the first of which is about to end, the later one.
            refs = [ref for sid, ref in self._live.values() if sid == call_sid]
        return any(post(ref, message) for ref in reversed(refs))

    def await_change(self, seconds: float) -> None:
        """Wait until a call has begun or ended, and no longer than that."""
        with self._changed:
            self._changed.wait(seconds)

    @property
    def count(self) -> int:
        """How many calls live."""
        with self._changed:
            return len(self._live)

    @property
    def full(self) -> bool:
        """Whether there is no room for another one."""
        return self.count >= self.limit

    @property
    def has_room(self) -> bool:
        """Whether a call could be started now."""
        return not self.draining and not self.full

    @property
    def late(self) -> bool:
        """Whether the audio of those that live is late, and one more would make it worse."""
        return self._pulse.late

    @property
    def late_ms(self) -> float:
        """How late threads of this process wake."""
        return self._pulse.late_ms

    @property
    def draining(self) -> bool:
        """Whether this process takes no more calls, because it is about to end."""
        with self._changed:
            return self._draining

    def drain(self, seconds: float) -> int:
        """Take no more calls, and wait until those that live have ended or were handed over.

        They have so many seconds to end by themselves or to come to a pause; those that do not are handed over then,
        wherever they are. Returns how many are still there when that has had its time too.
        """
        with self._changed:
            self._draining = True
            self._tell(Drain())
            if not self._changed.wait_for(lambda: not self._live, seconds):
                self._tell(Drain(now=True))
                self._changed.wait_for(lambda: not self._live, HANDOVER_SECONDS)
            return len(self._live)

    def _tell(self, message: Drain) -> None:
        for _, ref in self._live.values():
            post(ref, message)

    def expect_question(self) -> None:
        """Twilio will ask in a moment: a stream has ended, or a caller was told to come back."""
        with self._changed:
            self._question_by = time.monotonic() + self._question_seconds

    def await_questions(self, seconds: float) -> None:
        """Wait until no question of Twilio's is expected any more, and no longer than that."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (left := min(self._question_by, deadline) - time.monotonic()) > 0:
                self._changed.wait(left)
