"""Twilio's HTTP side: signed requests for TwiML and signed stream status callbacks.

Source: Twilio, "TwiML Voice: Twilio's request", "Validating requests" and "TwiML Stream". A redirect
by HTTP status is not followed; `<Redirect>` is.
"""

import http.client
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from wire.signature import SIGNATURE_HEADER, sign

TIMEOUT_S = 15.0
"""Twilio gives up on a webhook after about this long (not documented)."""


class WebhookError(Exception):
    """A webhook could not be had or answered with an HTTP error: Twilio's error 11200."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Route:
    """Which URL is signed and which one is connected to.

    They differ where the server knows itself by the origin of a proxy that is not there: `public` and
    `local` are such a pair of origins, as `https://voice.example.com` and `http://127.0.0.1:5000`.
    """

    public: str | None
    local: str

    def public_url(self, url: str) -> str:
        """The URL that Twilio would request for one given with the local origin."""
        return url if self.public is None else _moved(url, self.local, self.public)

    def local_url(self, url: str) -> str:
        """Where to connect for a URL that Twilio would request; http and ws map alike."""
        return url if self.public is None else _moved(url, self.public, self.local)


def _moved(url: str, origin: str, to: str) -> str:
    parts, target = urlsplit(url), urlsplit(to)
    if parts.netloc != urlsplit(origin).netloc:
        return url
    if parts.scheme not in ("http", "https", "ws", "wss"):
        return url  # for whoever opens it to refuse
    kind = "http" if parts.scheme.startswith("http") else "ws"
    scheme = kind + ("s" if target.scheme in ("https", "wss") else "")
    return urlunsplit(parts._replace(scheme=scheme, netloc=target.netloc))


class Requester:
    """Makes one call's requests. Any thread; holds nothing open between two requests."""

    def __init__(self, auth_token: str | None, route: Route) -> None:
        self._auth_token = auth_token
        self.route = route

    def headers(self, url: str, fields: dict[str, str]) -> dict[str, str]:
        """The signature over `url` and a form's fields; nothing without an auth token."""
        if self._auth_token is None:
            return {}
        return {SIGNATURE_HEADER: sign(self._auth_token, url, fields.items())}

    def request(self, method: Literal["GET", "POST"], url: str, fields: dict[str, str]) -> Answer:
        """Request the public `url` with form fields, blank ones included. Raises WebhookError."""
        form = urlencode(fields)
        if method == "GET":
            if form:
                url += ("&" if "?" in url else "?") + form
            headers, body = self.headers(url, {}), None
        else:
            headers, body = self.headers(url, fields), form.encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        try:
            answer = self._exchange(method, self.route.local_url(url), body, headers)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise WebhookError(f"{method} {url} failed: {type(problem).__name__}: {problem}") from problem
        if not 200 <= answer.status < 300:
            raise WebhookError(f"{method} {url} answered {answer.status}: {answer.body[:300]!r}")
        return answer

    @staticmethod
    def _exchange(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no absolute http or https URL")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request(method, target, body, headers | {"Connection": "close"})
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers.get_content_type())
        finally:
            connection.close()


class StatusCallbacks:
    """Delivers status callbacks in order, from a thread of its own, as the call does not wait
    for them.

    The thread runs from the first callback until `close`.
    """

    def __init__(self, requester: Requester, name: str, failed: Callable[[str], None]) -> None:
        """`name` is the thread's. `failed` is told the text of each failure, from that thread."""
        self._requester = requester
        self._failed = failed
        self._queue: queue.SimpleQueue[tuple[Literal["GET", "POST"], str, dict[str, str]] | None]
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._deliver, name=name, daemon=True)
        self._started = False
        self._lock = threading.Lock()

    def post(self, method: Literal["GET", "POST"], url: str, fields: dict[str, str]) -> None:
        """Queue one callback. Any thread, before `close`."""
        self._queue.put((method, url, fields))
        with self._lock:
            if not self._started:
                self._started = True
                self._thread.start()

    def close(self) -> None:
        """Wait until all are delivered or have failed, at most `TIMEOUT_S` for each."""
        if self._started:
            self._queue.put(None)
            self._thread.join()

    def _deliver(self) -> None:
        while (callback := self._queue.get()) is not None:
            try:
                self._requester.request(*callback)
            except WebhookError as problem:
                self._failed(str(problem))
