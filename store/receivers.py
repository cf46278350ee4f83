"""The servers that events are sent to: one connection to each, kept for the next event, and who of them is slow.

One thread at a time may use this; which one does not matter.
"""

import functools
import http.client
import ssl
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

IDLE_SECONDS = 30.0
"""How long a connection is kept without an event. Those of a call come every few seconds, and routers forget a
connection without a word, though mostly after minutes."""

SLOW_SECONDS = 1.0
"""Whoever takes longer to answer comes after everybody who does not."""

RESTS = 5.0
"""Whoever does not answer is passed over for so many times as long as that was waited for."""

_BODY_BYTES = 1 << 16
_BODY_SECONDS = 1.0
"""How much of an answer's body is read for the sake of the connection, and how long for a part of it."""

_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What it looks like where a connection is closed, and not a byte of an answer has come."""


class Receivers:
    """Sends to one after another; each of them keeps the others waiting only once in a while."""

    def __init__(self, timeout_seconds: float, idle_seconds: float = IDLE_SECONDS) -> None:
        """Connects to nobody yet. `timeout_seconds` is for connecting, and then for the answer."""
        self._timeout_seconds = timeout_seconds
        self._idle_seconds = idle_seconds
        self._kept: dict[str, tuple[http.client.HTTPConnection, float]] = {}
        """Those that are open, and since when they are idle."""
        self._slow: dict[str, float] = {}
        """Until when they are passed over, where that is in the past: they come after the others."""

    def slow(self) -> set[str]:
        """The origins of those who kept us waiting when last sent to; the others are to come first."""
        return set(self._slow)

    def passed_over(self) -> dict[str, float]:
        """The origins of those who are not to be sent to now, and for how many seconds yet."""
        now = time.monotonic()
        return {origin: until - now for origin, until in self._slow.items() if until > now}

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send this and return the status; blocks for the timeouts.

        Raises OSError, HTTPException or ValueError if there is no answer. The server may have got it then, and in
        rare cases gets it twice though all went well: the body tells it.
        """
        origin, began, rests = origin_of(url), time.monotonic(), RESTS
        try:
            status = self._post(origin, urlsplit(url), body, headers)
            rests = 0.0
            return status
        finally:
            now = time.monotonic()
            if rests or now - began > SLOW_SECONDS:
                self._slow[origin] = now + rests * (now - began)
            else:
                self._slow.pop(origin, None)

    def close_idle(self) -> None:
        """Close the connections that nothing was sent on for a while."""
        idle_since = time.monotonic() - self._idle_seconds
        for origin in [origin for origin, (_, since) in self._kept.items() if since < idle_since]:
            self._kept.pop(origin)[0].close()

    def close(self) -> None:
        """Close all connections."""
        while self._kept:
            self._kept.popitem()[1][0].close()

    def _post(self, origin: str, url: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
        kept, _ = self._kept.pop(origin, (None, 0.0))
        if kept is not None:
            try:
                return self._ask(origin, kept, url, body, headers)
            except _GONE:
                # Servers close what is idle, many after 5 s, and may do so while the event is on its way. If it had
                # arrived, it arrives twice now, with the same id; otherwise it would wait for no fault of theirs.
                pass
        return self._ask(origin, self._connection(url), url, body, headers)

    def _ask(
        self,
        origin: str,
        connection: http.client.HTTPConnection,
        url: SplitResult,
        body: bytes,
        headers: Mapping[str, str],
    ) -> int:
        keep = False
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", path, body, dict(headers))
            # A redirect is for whoever entered the URL to follow.
            with connection.getresponse() as response:
                keep = self._read_off(connection, response)
                return response.status
        finally:
            if keep:
                self._kept[origin] = connection, time.monotonic()
            else:
                connection.close()

    def _read_off(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> bool:
        """Whether the connection is ready for the next event. The body is read for that, and is nobody's business."""
        if connection.sock is None:  # the server wants it closed
            return False
        try:
            connection.sock.settimeout(_BODY_SECONDS)
            response.read(_BODY_BYTES)
            connection.sock.settimeout(self._timeout_seconds)
        except (OSError, http.client.HTTPException):
            return False  # which is no reason to send again: it was answered
        return response.isclosed()

    def _connection(self, url: SplitResult) -> http.client.HTTPConnection:
        host = url.netloc.rpartition("@")[2]
        if url.scheme == "https":
            return http.client.HTTPSConnection(host, timeout=self._timeout_seconds, context=self._tls)
        return http.client.HTTPConnection(host, timeout=self._timeout_seconds)

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        # One, and when it is needed: making one costs 25 to 64 ms, in which no call of a gevent worker goes on.
        return ssl.create_default_context()


def origin_of(url: str) -> str:
    """What the URL begins with, as it is written there: scheme, host and port."""
    parts = urlsplit(url)
    return url[: len(parts.scheme) + len("://") + len(parts.netloc)]
