"""One-time tokens that tie a media stream to the webhook that announced it.

The webhook may be answered by one worker and the stream taken by another, so what was issued is in the database.
A signature alone would not do: the one of an upgrade is the same for every call, for ever.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from enum import StrEnum

import sqlalchemy as sa

from store.database import Database, metadata

TOKEN_BYTES = 32
"""256 random bits."""

KEPT_SECONDS = 600.0
"""How long an expired row stays, so that a late or second use is called by its name in the log."""

_tokens = sa.Table(
    "stream_tokens",
    metadata,
    # Only the hash is stored: whoever reads the database cannot open a stream.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("call_sid", sa.String(64), nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
    sa.Column("spent_at", sa.Double, nullable=True),
)

CALL_KEPT_SECONDS = 7 * 86400.0
"""How long a call's one stream is remembered. A captured webhook stays validly signed for ever; for so long it
cannot be used again."""

_streamed_calls = sa.Table(
    "streamed_calls",
    metadata,
    sa.Column("call_sid", sa.String(64), primary_key=True),
    sa.Column("streamed_at", sa.Double, nullable=False, index=True),
)


class Refusal(StrEnum):
    """Why a token was refused."""

    UNKNOWN = "unknown"
    OTHER_CALL = "other call"
    REPLAYED = "replayed"
    EXPIRED = "expired"


class TokenRefused(Exception):  # noqa: N818  # an answer to a stranger, not an error of ours
    """The token does not open this call's stream."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(f"stream token refused: {reason}")
        self.reason = reason


class StreamTokens:
    """Issues tokens and takes each of them once, whichever thread or process it comes back to."""

    def __init__(
        self, database: Database, ttl_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives seconds since 1970, which the machines that share the database agree about."""
        self._database = database
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    def issue(self, call_sid: str) -> str:
        """A new token for that call, 43 URL-safe characters, valid for `ttl_seconds`.

        Raises StoreError, and TokenRefused if the call has had its stream: then the webhook was replayed.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock()
        with self._database.begin() as connection:
            connection.execute(sa.delete(_tokens).where(_tokens.c.expires_at < now - KEPT_SECONDS))
            forgotten = _streamed_calls.c.streamed_at < now - CALL_KEPT_SECONDS
            connection.execute(sa.delete(_streamed_calls).where(forgotten))
            if _has_streamed(connection, call_sid):
                raise TokenRefused(Refusal.REPLAYED)
            connection.execute(
                sa.insert(_tokens).values(
                    digest=_digest(token), call_sid=call_sid, expires_at=now + self._ttl_seconds
                )
            )
        return token

    def spend(self, token: str, call_sid: str) -> None:
        """Takes the token, which must have been issued for that call; and a call has one stream.

        Raises TokenRefused, and StoreError. A refused attempt does not use the token up.
        """
        now = self._clock()
        mine = _tokens.c.digest == _digest(token)
        with self._database.begin() as connection:
            # One statement decides, so of two that bring the same token at the same time one gets it.
            taken = connection.execute(
                sa.update(_tokens)
                .where(
                    mine,
                    _tokens.c.call_sid == call_sid,
                    _tokens.c.spent_at.is_(None),
                    _tokens.c.expires_at > now,
                )
                .values(spent_at=now)
            )
            if taken.rowcount == 1:
                if _has_streamed(connection, call_sid):
                    raise TokenRefused(Refusal.REPLAYED)
                connection.execute(sa.insert(_streamed_calls).values(call_sid=call_sid, streamed_at=now))
                return
            row = connection.execute(
                sa.select(_tokens.c.call_sid, _tokens.c.spent_at).where(mine)
            ).one_or_none()
        if row is None:
            raise TokenRefused(Refusal.UNKNOWN)
        if row.call_sid != call_sid:
            raise TokenRefused(Refusal.OTHER_CALL)
        raise TokenRefused(Refusal.EXPIRED if row.spent_at is None else Refusal.REPLAYED)


def _has_streamed(connection: sa.Connection, call_sid: str) -> bool:
    streamed = sa.select(_streamed_calls.c.call_sid).where(_streamed_calls.c.call_sid == call_sid)
    return connection.execute(streamed).one_or_none() is not None


def _digest(token: str) -> str:
    # A stranger's token may be any text, even one that UTF-8 cannot hold.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
