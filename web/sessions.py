"""Who is signed in to the console: sessions that a cookie carries, signed, so that every worker knows them.

Nothing is stored. What signs is derived from CONSOLE_TOKEN, which is the same in all workers and on all machines;
with another token nobody is signed in any more. Without one the pages are for this machine only, and there every
browser gets a session for the asking: a forged one would be worth no more, so what signs need be no secret. What
makes a session its owner's is the random id in it.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

SESSION_SECONDS = 12 * 3600.0
"""From signing in; then it is to be done again."""
BROWSER_SECONDS = 90 * 86400.0
"""How long a browser is remembered as one that had the token."""

GUESSES = 10
GUESSES_PER_SECOND = 1.0
"""A process takes so many wrong tokens at once, and then so many a second."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser, from signing in to signing out."""

    id: str
    """random, and known to nobody but that browser"""
    expires_at: float
    """seconds since 1970"""


class Sessions:
    """Begins sessions, and recognises them. Any thread."""

    def __init__(self, console_token: str | None, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970, which the machines agree about."""
        self.guarded = console_token is not None
        """Whether a session is only for those who have the token."""
        self._token = console_token
        self._clock = clock
        self._key = (console_token or "this machine only").encode()

    def begin(self) -> Session:
        """A new session, for somebody who may have one."""
        return Session(secrets.token_urlsafe(16), self._clock() + SESSION_SECONDS)

    def accepts(self, token: str) -> bool:
        """Whether this is the token. It takes as long for a wrong one, however wrong it is."""
        if self._token is None:
            return False
        # Of digests, because a comparison tells the length.
        offered, expected = (
            hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (token, self._token)
        )
        return hmac.compare_digest(offered, expected)

    def cookie(self, session: Session) -> str:
        """The session as a cookie's value."""
        return self._signed("session", session.id, session.expires_at)

    def read(self, cookie: str | None) -> Session | None:
        """The session of that cookie; None: there is none, it is forged, or it is over."""
        return self._verified("session", cookie)

    def browser_cookie(self) -> str:
        """Remembers a browser that had the token, for `is_known`."""
        return self._signed("browser", secrets.token_urlsafe(8), self._clock() + BROWSER_SECONDS)

    def is_known(self, cookie: str | None) -> bool:
        """Whether that browser had the token before."""
        return self._verified("browser", cookie) is not None

    def csrf_token(self, session: Session) -> str:
        """What a request must bring to change anything: the session's own pages know it, other sites do not."""
        return self.seal(session, "csrf")

    def seal(self, session: Session, text: str) -> str:
        """64 hexadecimal digits that only this session has for that text."""
        return hmac.new(self._key, f"{session.id} {text}".encode(), hashlib.sha256).hexdigest()

    def _signed(self, kind: str, name: str, expires_at: float) -> str:
        return str(self._serializer(kind).dumps([name, expires_at]))

    def _verified(self, kind: str, cookie: str | None) -> Session | None:
        try:
            name, expires_at = self._serializer(kind).loads(cookie or "")
        except BadData:
            return None
        return Session(name, expires_at) if expires_at > self._clock() else None

    def _serializer(self, kind: str) -> URLSafeSerializer:
        # The salt keeps one kind of cookie from being taken for another.
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._key, salt=f"switchboard {kind}", signer_kwargs=options)


class Guesses:
    """How many more tokens may be tried: a bucket that each wrong one empties, and time fills. Any thread.

    It slows down whoever guesses without making a thread wait. And it locks nobody out: browsers that had the token
    before are not counted; see `Sessions.is_known`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left = float(GUESSES)
        self._at = clock()

    def take(self) -> bool:
        """Uses one up; False: there is none at the moment."""
        with self._lock:
            now = self._clock()
            self._left = min(self._left + (now - self._at) * GUESSES_PER_SECOND, GUESSES)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def give_back(self) -> None:
        """It was right."""
        with self._lock:
            self._left = min(self._left + 1, GUESSES)
