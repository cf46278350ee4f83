"""Model sockets that are connected before there is a call: it saves the call the way to the server and back, thrice.

    dial -> upgraded -> session.created read -> waits, not configured -> taken by a call
                                                      |
                            closed by the server, silent, or MAX_AGE_SECONDS old -> another one

A session that waits is not configured: that is the call's. Known is that tokens are what a session is billed for, and
that without audio and responses there are none (protocol-gotchas 29, 44). Not known is whether sessions that wait
count against an account's limit of sessions, which is why there are only as many as somebody asks for.
"""

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from actors.endpoints import Endpoint, Endpoints
from actors.model_socket import ModelSocket, ModelSocketError
from wire import errors, realtime, realtime_parser
from wire.protocol import ProtocolError

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 300.0
"""A session may last for an hour, and a call that takes this one needs most of it."""

PING_SECONDS = 20.0
"""How often a socket that waits is pinged. One that has not answered by the next time is gone."""

FIRST_EVENT_SECONDS = 4.0
CLOSED_SECONDS = 0.5
"""How long `close` waits for the thread. What it is dialling then, it closes itself."""

RETRY_SECONDS = (5.0, 60.0)
"""After a socket could not be had: doubled each time, up to the second. What is avoided is not tried at all."""


class WarmSocket(ModelSocket):
    """One that may be connected already when a session's reader connects it."""

    def __init__(self, url: str, headers: Sequence[str]) -> None:
        super().__init__(url, headers)
        self._first: str | None = None
        self._warm = False
        self.made_at = 0.0
        self.heard_at = 0.0

    def warm_up(self) -> None:
        """Connect, and wait for the first event. Raises ModelSocketError, permanent if the key was refused."""
        super().connect()
        assert self._connection is not None
        self._connection.settimeout(FIRST_EVENT_SECONDS)
        first = super().receive()
        event = None
        with contextlib.suppress(ProtocolError):
            event = None if first is None else realtime_parser.parse(first)
        if isinstance(event, realtime.Error):
            raise ModelSocketError(f"refused: {event}", errors.permanent(event))
        if not isinstance(event, realtime.SessionCreated):
            raise ModelSocketError("did not begin with session.created")
        self._connection.settimeout(0.0)
        self.made_at = self.heard_at = time.monotonic()
        self._first, self._warm = first, True

    def look(self) -> None:
        """While it waits and something came: answer pings. Raises ModelSocketError where it is of no use any more."""
        while True:
            try:
                said = super().receive()
            except ModelSocketError as error:
                # Nothing, or nothing but TLS's own: its tickets come when the handshake is long over.
                if isinstance(error.__context__, BlockingIOError | ssl.SSLWantReadError):
                    return
                raise
            if said is not None:
                raise ModelSocketError("said something to nobody")
            self.heard_at = time.monotonic()

    def fileno(self) -> int:
        """For a selector."""
        assert self._connection is not None
        return self._connection.fileno()

    def connect(self) -> None:
        """As for any other; nothing is left to do where it was warmed up."""
        if not self._warm:
            super().connect()
            return
        assert self._connection is not None
        self._connection.settimeout(None)

    def receive(self) -> str | None:
        """As for any other; what came while it was warmed up comes first."""
        first, self._first = self._first, None
        return super().receive() if first is None else first


class WarmSockets:
    """Keeps `count` of them for one endpoint, whose `dial` is `take`. One thread; any thread may take."""

    def __init__(self, dial: Callable[[], WarmSocket], count: int) -> None:
        self._dial = dial
        self._count = count
        self._lock = threading.Lock()
        self._waiting: list[WarmSocket] = []
        self._dialling: WarmSocket | None = None
        self._closed = False
        self._failures = 0
        self._next_try_at = 0.0
        self._thread: threading.Thread | None = None
        self._wake_reading, self._wake_writing = socket.socketpair()
        self._wake_reading.setblocking(False)
        self._wake_writing.setblocking(False)

    def start(self, endpoints: Endpoints, endpoint: Endpoint) -> None:
        """Begin to dial. `endpoint`: theirs, which is told of failures and left alone while it is avoided."""
        run = threading.Thread(
            target=self._run, args=(endpoints, endpoint), name="warm model sockets", daemon=True
        )
        self._thread = run
        run.start()

    @property
    def waiting(self) -> int:
        """How many there are to take."""
        with self._lock:
            return len(self._waiting)

    def take(self) -> WarmSocket:
        """The one that has waited longest and lives, as far as can be seen; else one that is not connected."""
        found: WarmSocket | None = None
        while found is None:
            with self._lock:
                found = self._waiting.pop(0) if self._waiting else None
                if found is None:
                    break
                try:
                    found.look()
                except ModelSocketError:
                    _end(found)
                    found = None
        self._wake()
        return found or self._dial()

    def close(self) -> None:
        """Close those that wait, and dial no more; `take` still gives some that are not connected. Once, or again."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            dialling = self._dialling
        for each in waiting:
            _end(each)
        if dialling is not None:
            dialling.abort()
        self._wake()
        if self._thread is not None:
            self._thread.join(CLOSED_SECONDS)
        self._wake_reading.close()
        self._wake_writing.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is awake, or has ended
            self._wake_writing.send(b"\0")

    def _run(self, endpoints: Endpoints, endpoint: Endpoint) -> None:
        ping_at = time.monotonic() + PING_SECONDS
        while not self._closed:
            now = time.monotonic()
            if now >= ping_at:
                self._ping()
                ping_at = now + PING_SECONDS
            self._drop(lambda each: each.made_at + MAX_AGE_SECONDS <= time.monotonic())
            if self.waiting < self._count and now >= self._next_try_at:
                self._warm_one(endpoints, endpoint)
                continue
            due_at = ping_at if self.waiting == self._count else min(ping_at, self._next_try_at)
            self._await_news(max(due_at - now, 0.0))
            self._drop(lambda each: not _lives(each))

    def _await_news(self, seconds: float) -> None:
        # Not select.select, which knows no descriptor above 1023.
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reading, selectors.EVENT_READ)
            with self._lock:
                for each in self._waiting:
                    selector.register(each, selectors.EVENT_READ)
            selector.select(seconds)
        with contextlib.suppress(BlockingIOError):
            self._wake_reading.recv(64)

    def _warm_one(self, endpoints: Endpoints, endpoint: Endpoint) -> None:
        if endpoints.avoids(endpoint):
            self._next_try_at = time.monotonic() + RETRY_SECONDS[0]
            return
        fresh: WarmSocket | None = self._dial()
        assert fresh is not None
        with self._lock:
            if self._closed:
                return
            self._dialling = fresh
        try:
            fresh.warm_up()
            self._failures = 0
        except ModelSocketError as error:
            _end(fresh)
            if not self._closed:
                seconds = min(RETRY_SECONDS[0] * 2**self._failures, RETRY_SECONDS[1])
                self._failures += 1
                self._next_try_at = time.monotonic() + seconds
                logger.warning(
                    "no warm session at %s, tried again in %.0f s: %s", endpoint.name, seconds, error
                )
                endpoints.failed(endpoint, error.permanent)
            fresh = None
        with self._lock:
            self._dialling = None
            if fresh is not None and not self._closed:
                self._waiting.append(fresh)
                fresh = None
        if fresh is not None:
            _end(fresh)

    def _ping(self) -> None:
        def silent(each: WarmSocket) -> bool:
            if each.heard_at + 2 * PING_SECONDS <= time.monotonic():
                return True
            try:
                each.ping()
            except ModelSocketError:
                return True
            return False

        self._drop(silent)

    def _drop(self, unfit: Callable[[WarmSocket], bool]) -> None:
        with self._lock:
            dropped = [each for each in self._waiting if unfit(each)]
            self._waiting = [each for each in self._waiting if each not in dropped]
        for each in dropped:
            _end(each)


def _lives(socket: WarmSocket) -> bool:
    try:
        socket.look()
    except ModelSocketError:
        return False
    return True


def _end(socket: WarmSocket) -> None:
    socket.close()
    socket.release()
