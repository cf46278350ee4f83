"""One-time tokens that tie a media stream to the answer that announced it.

The answer may be given by one worker and the stream taken by another, so what was issued is in the database.
A signature alone would not do: the one of an upgrade is the same for every call, for ever.

A call's streams are numbered. The first is announced in the answer to the webhook, which says `issue(call_sid)`;
stream n + 1 in the answer to Twilio's question what to do now that stream n has ended, which says
`issue(call_sid, after=n)`. A request that was captured stays validly signed for ever, but opens nothing:

    newest stream announced   what `issue(call_sid, after=n)` does
    n                         issues n + 1, unless the call has been resumed too often
    n + 1, not begun          issues another token for it while the first could still be used: Twilio may ask twice
    anything else             refuses: the request was replayed, or the call is none of ours

A stream that was announced may never begin: whoever it came to had no room for it, and did not spend its token.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from store.database import Database, metadata
from store.insertion import insert

TOKEN_BYTES = 32
"""256 random bits."""

KEPT_SECONDS = 600.0
"""How long an expired row stays, so that a late or second use is called by its name in the log."""

CALL_KEPT_SECONDS = 7 * 86400.0
"""How long a call's streams are remembered, from the last one that was announced: for so long a captured webhook
cannot be used again."""

MAX_RESUMES = 10
"""How often a call may go on with a further stream."""
RESUMES_AT_ONCE = 3
AT_ONCE_SECONDS = 60.0
"""A call that needs more than so many further streams in so short a time breaks whatever takes it."""
MAX_PLANNED = 100
"""How often it may leave a stream on purpose and come back."""
MAX_MISSED = 13
"""How many streams in a row may be announced and not begin."""

_tokens = sa.Table(
    "stream_tokens",
    metadata,
    # Only the hash is stored: whoever reads the database cannot open a stream.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("call_sid", sa.String(64), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
    sa.Column("spent_at", sa.Double, nullable=True),
    sa.Column("planned", sa.Boolean, nullable=False, server_default=sa.false()),
)

_calls = sa.Table(
    "streamed_calls",
    metadata,
    sa.Column("call_sid", sa.String(64), primary_key=True),
    # The newest stream that was announced, when it first was, the newest that has begun, and how many have.
    sa.Column("announced", sa.Integer, nullable=False),
    sa.Column("announced_at", sa.Double, nullable=False, index=True),
    sa.Column("begun", sa.Integer, nullable=False),
    sa.Column("streams", sa.Integer, nullable=False),
    # How many of its streams it left on purpose, to press keys or for a transfer that nobody took.
    sa.Column("planned", sa.Integer, nullable=False, server_default="0"),
)


class Refusal(StrEnum):
    """Why a token was refused."""

    UNKNOWN = "unknown"
    OTHER_CALL = "other call"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    RESUMED_TOO_OFTEN = "resumed too often"


class TokenRefused(Exception):  # noqa: N818  # an answer to a stranger, not an error of ours
    """The token does not open this call's stream, or there is none for it."""

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

    def issue(self, call_sid: str, after: int = 0, planned: bool = False) -> str:
        """A new token for that call, 43 URL-safe characters, valid for `ttl_seconds`.

        It is for the call's first stream, or the one `after` the stream of that number, which the call left on
        purpose if that was `planned`. Raises StoreError, and TokenRefused by the rules above.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        number, now = after + 1, self._clock()
        mine = _calls.c.call_sid == call_sid
        with self._database.begin() as connection:
            connection.execute(sa.delete(_tokens).where(_tokens.c.expires_at < now - KEPT_SECONDS))
            connection.execute(sa.delete(_calls).where(_calls.c.announced_at < now - CALL_KEPT_SECONDS))
            _insert_if_new(connection, call_sid=call_sid, announced=0, announced_at=now, begun=0, streams=0)
            row = connection.execute(sa.select(_calls).where(mine).with_for_update()).one()
            if row.announced == after:
                self._check_resumes(connection, row, planned, now)
                connection.execute(
                    sa.update(_calls)
                    .where(mine)
                    .values(announced=number, announced_at=now, planned=_calls.c.planned + int(planned))
                )
            elif (
                row.announced != number or row.begun == number or now >= row.announced_at + self._ttl_seconds
            ):
                raise TokenRefused(Refusal.UNKNOWN if row.announced == 0 else Refusal.REPLAYED)
            connection.execute(
                sa.insert(_tokens).values(
                    digest=_digest(token),
                    call_sid=call_sid,
                    number=number,
                    expires_at=now + self._ttl_seconds,
                    planned=planned,
                )
            )
        return token

    def call_of(self, ticket: str) -> str | None:
        """The SID of the call whose token has that ticket, as long as the token is good; None: there is none.

        A ticket says that its bearer has a token, to where the token itself should not be seen; see `ticket`. Raises
        StoreError.
        """
        good = sa.select(_tokens.c.call_sid).where(
            _tokens.c.digest == ticket, _tokens.c.spent_at.is_(None), _tokens.c.expires_at > self._clock()
        )
        with self._database.read() as connection:
            return connection.execute(good).scalar_one_or_none()

    def missed(self, call_sid: str, after: int) -> int:
        """How many streams of the call, the one of that number and those before it, were announced and did not begin.

        Counted from the last that did. Raises StoreError.
        """
        with self._database.read() as connection:
            begun = sa.select(_calls.c.begun).where(_calls.c.call_sid == call_sid)
            return max(after - (connection.execute(begun).scalar_one_or_none() or 0), 0)

    def _check_resumes(self, connection: sa.Connection, call: sa.Row[Any], planned: bool, now: float) -> None:
        lately = sa.select(sa.func.count()).where(
            _tokens.c.call_sid == call.call_sid,
            _tokens.c.number > 1,
            _tokens.c.spent_at > now - AT_ONCE_SECONDS,
            _tokens.c.planned.is_(False),
        )
        if planned:
            too_often = call.planned >= MAX_PLANNED
        else:
            too_often = (
                call.streams - call.planned > MAX_RESUMES
                or connection.execute(lately).scalar_one() >= RESUMES_AT_ONCE
            )
        if too_often or call.announced - call.begun > MAX_MISSED:
            raise TokenRefused(Refusal.RESUMED_TOO_OFTEN)

    def spend(self, token: str, call_sid: str) -> int:
        """Takes the token, which must have been issued for that call; returns the number of its stream, from 1.

        Each stream begins once, and only the newest. Raises TokenRefused, and StoreError. A refused attempt does
        not use the token up.
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
            row = connection.execute(sa.select(_tokens).where(mine)).one_or_none()
            if row is not None and taken.rowcount == 1:
                begun = connection.execute(
                    sa.update(_calls)
                    .where(
                        _calls.c.call_sid == call_sid,
                        _calls.c.announced == row.number,
                        _calls.c.begun < row.number,
                    )
                    .values(begun=row.number, streams=_calls.c.streams + 1)
                )
                if begun.rowcount != 1:
                    raise TokenRefused(Refusal.REPLAYED)
                return int(row.number)
        if row is None:
            raise TokenRefused(Refusal.UNKNOWN)
        if row.call_sid != call_sid:
            raise TokenRefused(Refusal.OTHER_CALL)
        raise TokenRefused(Refusal.EXPIRED if row.spent_at is None else Refusal.REPLAYED)


def ticket(token: str) -> str:
    """The ticket of a token: 64 hexadecimal digits, of which nobody makes the token. Good for as long as that is."""
    return _digest(token)


def _insert_if_new(connection: sa.Connection, **row: Any) -> None:
    statement = insert(connection.dialect.name, _calls).values(**row)
    connection.execute(statement.on_conflict_do_nothing())


def _digest(token: str) -> str:
    # A stranger's token may be any text, even one that UTF-8 cannot hold.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
