"""The people who look at pages: who they are, and that what they send was sent by a page of ours."""

import hmac
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, g, redirect, request
from flask.typing import ResponseReturnValue

from config import Settings
from web.sessions import BROWSER_SECONDS, SESSION_SECONDS, Session, Sessions

SIGN_IN_PATH = "/sign-in"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
MAX_BODY_BYTES = 64 * 1024

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Visitors:
    """Checks requests for pages, and for data and actions of pages. Everything runs in WSGI threads."""

    def __init__(self, settings: Settings) -> None:
        token = settings.console_token
        self.sessions = Sessions(None if token is None else token.get_secret_value())
        self.closed = settings.authenticated and token is None
        """Whether nobody gets in: being on this machine proves nothing where a proxy is, and there is no token."""
        self.base_path = urlsplit(settings.public_url or "").path
        """What PUBLIC_URL has in front of every path of ours."""
        self._public_url = settings.public_url
        secure = (settings.public_url or "").startswith("https:")
        # Browsers take a cookie of that prefix only from this very host, over TLS.
        self._prefix = "__Host-" if secure else ""
        self._secure = secure

    def register(self, app: Flask) -> None:
        """Makes the app set the cookie of a session that has begun, and keep what is for one person out of caches."""

        @app.after_request
        def complete(response: Response) -> Response:
            if current_or_none() is not None:
                response.headers.setdefault("Cache-Control", "no-store")
            if (begun := g.get("begun")) is not None:
                self.remember(response, begun)
            return response

    def check(self) -> ResponseReturnValue | str | None:
        """Why the current request is refused, or the answer to it; None: the visitor may go on, and is `current()`.

        Who has not signed in is sent to the page for that if it is a page that they asked for, and else gets a 401.
        What changes something, or opens a websocket, must have been sent by a page of this server, and the former
        must bring the session's CSRF token, as header or form field.
        """
        if self.closed:
            # Before any cookie is looked at: without a token, what signs them is no secret.
            return self._sign_in()
        session = self.sessions.read(request.cookies.get(self._cookie("session")))
        if session is None:
            if self.sessions.guarded:
                return self._sign_in()
            session = g.begun = self.sessions.begin()
        g.visitor = session
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if request.method in _READS and not websocket:
            return None
        if not self.from_own_page():
            return "it was not sent by a page of this server; open it under PUBLIC_URL, where there is one"
        if websocket:
            return None
        request.max_content_length = MAX_BODY_BYTES
        offered = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
        if not hmac.compare_digest(offered.encode(), self.sessions.csrf_token(session).encode()):
            return "its CSRF token is missing, or of another session"
        return None

    def from_own_page(self) -> bool:
        """Whether a page of this server sent the current request, as the browser says in its Origin."""
        own = _origin(self._public_url or f"{request.scheme}://{request.host}")
        return own is not None and _origin(request.headers.get("Origin", "")) == own

    def remember(self, response: Response, session: Session) -> None:
        """Puts the session, and that this browser had the token, into cookies."""
        self._set(response, "session", self.sessions.cookie(session), SESSION_SECONDS)
        if self.sessions.guarded:
            self._set(response, "browser", self.sessions.browser_cookie(), BROWSER_SECONDS)

    def forget(self, response: Response) -> None:
        """Ends the session in this browser."""
        self._set(response, "session", "", 0)

    def is_known(self) -> bool:
        """Whether the browser of the current request had the token before."""
        return self.sessions.is_known(request.cookies.get(self._cookie("browser")))

    def _sign_in(self) -> ResponseReturnValue:
        if request.method != "GET" or "text/html" not in request.headers.get("Accept", ""):
            return {"error": "Sign in first."}, 401
        query = urlencode({"next": request.full_path.rstrip("?")})
        return redirect(f"{self.base_path}{SIGN_IN_PATH}?{query}", 303)

    def _cookie(self, name: str) -> str:
        return f"{self._prefix}switchboard-{name}"

    def _set(self, response: Response, name: str, value: str, seconds: float) -> None:
        response.set_cookie(
            self._cookie(name),
            value,
            max_age=int(seconds),
            httponly=True,
            secure=self._secure,
            samesite="Strict",
        )


def current() -> Session:
    """The session of the current request, in a view that is declared `security.console`."""
    session: Session = g.visitor
    return session


def current_or_none() -> Session | None:
    """The session of the current request; None where its view is another one, or it was refused."""
    session: Session | None = g.get("visitor")
    return session


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None: it has none, as the origin "null"."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme and parts.hostname else None
