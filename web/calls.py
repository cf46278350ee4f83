"""The calls that this process holds: started, counted, and ended together when the process ends."""

import logging
import threading
from dataclasses import dataclass
from typing import Any

import pykka
from pykka import ActorRef

from actors import Answer, CallActor, CallSetup, Clock, HangUp, PhoneReader, post

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
RESERVED_THREADS = 4
"""Of a server's threads, these never hold a call: where all do, nobody answers the next caller at all."""


@dataclass(slots=True)
class LiveCall:
    """A started call, as the thread that reads its media socket sees it."""

    ref: ActorRef[CallActor]
    reader: PhoneReader
    ended: threading.Event
    """Set when everything below the call is closed."""


class Calls:
    """Starts calls and knows those that live. Any thread."""

    def __init__(self, threads: int) -> None:
        """`threads` is how many the server has: a call holds one, and some are kept free to answer webhooks with."""
        self.limit = max(threads - min(RESERVED_THREADS, max(threads // 4, 1)), 1)
        self._clock = Clock()
        self._changed = threading.Condition()
        self._live: dict[str, ActorRef[Any]] = {}
        self._draining = False

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
            ref = CallActor.start(setup, self._clock, ended)
            self._live[ref.actor_urn] = ref
        try:
            reader = ref.ask(Answer(), timeout=ANSWER_SECONDS)
        except (pykka.ActorDeadError, pykka.Timeout):
            reader = None
        if not isinstance(reader, PhoneReader):
            # It failed and has logged why; or it is stuck, and then ends when it is not any more.
            ref.stop(block=False)
            self._forget(ref)
            return None
        return LiveCall(ref, reader, ended)

    def forget(self, call: LiveCall) -> None:
        """The call has ended."""
        self._forget(call.ref)

    def _forget(self, ref: ActorRef[Any]) -> None:
        with self._changed:
            self._live.pop(ref.actor_urn, None)
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many calls live."""
        with self._changed:
            return len(self._live)

    def drain(self, seconds: float) -> int:
        """Take no more calls, end those that live, and wait for them. Returns how many did not end in time."""
        with self._changed:
            self._draining = True
            for ref in self._live.values():
                post(ref, HangUp("this server is shutting down"))
            self._changed.wait_for(lambda: not self._live, seconds)
            return len(self._live)
