"""Events on their way to somebody's server: in the database until that has taken them.

    WebhookActor --put--> webhook_events --claim--> sender thread --POST--> server
                                ^------- not taken: later ------'

Each process has one sender. A claim is a date: the event is not due again until the claim has run out, so a sender
that dies holds nobody up, and of several only one sends an event at a time. An event may still come twice, where its
sender died, or was cut off, between the server's answer and the deletion, or where the server closed the connection
without a word; its id tells. A server that is slow comes after the others, and one that hangs is passed over a while.
"""

import http.client
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from store.database import Database, StoreError, metadata
from store.receivers import IDLE_SECONDS, Receivers
from wire.event_signature import SIGNATURE_HEADER, sign

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
"""How long the server may take to connect, and then to answer."""

CLAIM_SECONDS = 60.0
"""How long an event is one sender's: longer than it may take to send it."""

RETRY_SECONDS = (2.0, 3600.0)
"""How long an event waits that was not taken: first, and at most. It doubles in between, less a random part."""

GIVE_UP_SECONDS = 3 * 86400.0
"""How old an event gets."""

POLL_SECONDS = 10.0
"""How often a sender that has nothing to do looks for what other processes left behind."""

PUT_SECONDS = 30.0
"""How long it is tried to put an event into a database that refuses it."""

_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("event_id", sa.String(64), primary_key=True),
    sa.Column("call_sid", sa.Text, nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("put_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("claim", sa.String(32), nullable=True),
)


@dataclass(frozen=True, slots=True)
class _Claimed:
    event_id: str
    url: str
    body: bytes
    put_at: float
    attempts: int
    claim: str

    @property
    def host(self) -> str:
        """All of the URL that may be logged: the rest of it may be secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class Outbox:
    """Keeps events and sends them. A process that was forked opens one of its own."""

    def __init__(
        self,
        database: Database,
        secret: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts the sender, a daemon thread. `secret` signs; `clock` gives seconds since 1970."""
        self._database = database
        self._secret = secret
        self._receivers = Receivers(timeout_seconds, idle_seconds)
        self._retry_seconds = retry_seconds
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._news = threading.Event()
        self._closed = threading.Event()
        self._in_trouble: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="webhook sender", daemon=True)
        self._thread.start()

    def put(self, event_id: str, call_sid: str, url: str, body: bytes) -> None:
        """Send this there, until it is taken. Any thread; raises nothing.

        Waits for the database, so it is no call's own thread that does this.
        """
        now = self._clock()
        row = {
            "event_id": event_id,
            "call_sid": call_sid,
            "url": url,
            "body": body,
            "put_at": now,
            "due_at": now,
            "attempts": 0,
        }
        give_up_at, pause = time.monotonic() + PUT_SECONDS, 0.1
        while True:
            try:
                with self._database.begin() as connection:
                    connection.execute(sa.insert(_events).values(row))
                self._news.set()
                return
            except StoreError as error:
                if time.monotonic() + pause > give_up_at or self._closed.wait(pause):
                    logger.error("%s: an event for the webhook is lost: %s", call_sid, error)
                    return
                pause = min(2 * pause, 5.0)

    @property
    def waiting(self) -> int:
        """How many events have not been taken, of all processes. Raises StoreError."""
        with self._database.begin() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_events)).scalar_one())

    def close(self, seconds: float = 2.0) -> None:
        """End the sender; what it is sending has so long. What was not taken is sent by whoever is there next."""
        self._closed.set()
        self._news.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._news.clear()
            try:
                wait = self._send_next()
                self._recovered("database")
            except Exception as error:  # whatever it is, the next events must not be lost for it
                self._trouble("database", f"events for the webhook wait: {error}")
                wait = self._poll_seconds
            self._receivers.close_idle()
            if wait > 0:
                self._news.wait(wait)
        self._receivers.close()

    def _send_next(self) -> float:
        """Send what is due, one event at most. Returns how many seconds there is nothing more to do."""
        now = self._clock()
        slow, passed_over = self._receivers.slow(), self._receivers.passed_over()
        with self._database.begin() as connection:
            row = connection.execute(_first(slow)).one_or_none()
            if slow != passed_over.keys() and (row is None or row.due_at > now):
                row = connection.execute(_first(passed_over)).one_or_none()
            if row is None or row.due_at > now:
                due_in = math.inf if row is None else row.due_at - now
                return min([self._poll_seconds, due_in, *passed_over.values()])
            event = _Claimed(row.event_id, row.url, row.body, row.put_at, row.attempts, token_hex(16))
            mine = _events.c.event_id == event.event_id
            if now - event.put_at > GIVE_UP_SECONDS:
                connection.execute(sa.delete(_events).where(mine))
                logger.error("an event was not taken by %s in three days and is given up", event.host)
                return 0.0
            connection.execute(
                sa.update(_events).where(mine).values(due_at=now + CLAIM_SECONDS, claim=event.claim)
            )
        self._settle(event, self._send(event))
        return 0.0

    def _settle(self, event: _Claimed, refusal: str | None) -> None:
        mine = sa.and_(_events.c.event_id == event.event_id, _events.c.claim == event.claim)
        if refusal is None:
            self._recovered(event.host)
            statement: sa.Update | sa.Delete = sa.delete(_events).where(mine)
        else:
            self._trouble(event.host, f"{event.host} does not take the webhook's events: {refusal}")
            first, longest = self._retry_seconds
            seconds = min(first * 2.0 ** min(event.attempts, 30), longest) * random.uniform(0.5, 1)
            later = {"due_at": self._clock() + seconds, "attempts": event.attempts + 1, "claim": None}
            statement = sa.update(_events).where(mine).values(later)
        with self._database.begin() as connection:
            connection.execute(statement)

    def _send(self, event: _Claimed) -> str | None:
        """Returns why it was not taken; None: it was."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Switchboard",
            SIGNATURE_HEADER: sign(self._secret, event.body, self._clock()),
        }
        try:
            status = self._receivers.post(event.url, event.body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return str(error) or type(error).__name__
        return None if 200 <= status < 300 else f"status {status}"

    def _trouble(self, where: str, text: str) -> None:
        if where not in self._in_trouble:
            self._in_trouble.add(where)
            logger.warning("%s; they are kept and sent again for three days", text)

    def _recovered(self, where: str) -> None:
        if where in self._in_trouble:
            self._in_trouble.discard(where)
            logger.info("%s takes the webhook's events again", where)


def _first(without: Iterable[str]) -> sa.Select[Any]:
    """Selects the event that is due first, now or later, of those that do not go to these origins."""
    query = sa.select(_events).order_by(_events.c.due_at, _events.c.put_at).limit(1)
    for origin in without:
        # The one may begin like the other: http://a and http://a.example.
        there = sa.func.substr(_events.c.url, 1, len(origin)) == origin
        whole = sa.func.substr(_events.c.url, len(origin) + 1, 1).in_(("", "/", "?", "#"))
        query = query.where(sa.not_(sa.and_(there, whole)))
    return query.with_for_update(skip_locked=True)
