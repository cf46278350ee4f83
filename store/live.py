"""What is said in calls that somebody watches, for the few seconds until that has been seen and heard.

    WatcherActor --put--> live_audio --since--> the page of whoever watches, perhaps in another process

Nothing is kept here: a row is gone KEPT_SECONDS after it was written, or when nobody watches its call any more.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from store.database import Database, StoreError, metadata

logger = logging.getLogger(__name__)

KEPT_SECONDS = 20.0
"""How long a piece can be fetched."""

AT_ONCE = 40
"""Pieces that are fetched in one go: twenty seconds."""

LAST_NUMBER = 2**63 - 1
"""A piece can have no higher one: databases know no larger integer."""

_live_audio = sa.Table(
    "live_audio",
    metadata,
    # SQLite numbers the rows of a table only if their key is an INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("call_sid", sa.Text, nullable=False),
    sa.Column("put_at", sa.Double, nullable=False, index=True),
    sa.Column("began_at", sa.Double, nullable=False),
    sa.Column("caller", sa.LargeBinary, nullable=False),
    sa.Column("assistant", sa.LargeBinary, nullable=False),
    sa.Column("audio", sa.LargeBinary, nullable=False),
    sa.Index("ix_live_audio_call_sid", "call_sid", "id"),
)


@dataclass(frozen=True, slots=True)
class LivePiece:
    """About half a second of a call."""

    number: int
    """it grows from piece to piece"""
    began_at: float
    """when it was said and heard, in seconds since 1970"""
    caller: bytes
    """a byte for each 100 ms, as `wire.levels` has them"""
    assistant: bytes
    audio: bytes
    """mu-law, both tracks in turn, the caller's first; empty where nobody listens"""


class LiveAudio:
    """The pieces of all calls that are watched. Any thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970, which the machines that share the database agree about."""
        self._database = database
        self._clock = clock
        self._in_trouble = False

    def put(self, call_sid: str, began_at: float, caller: bytes, assistant: bytes, audio: bytes) -> None:
        """Let it be seen and heard. Waits for the database; a piece that it refuses is left out. Raises nothing."""
        now = self._clock()
        row = {
            "call_sid": call_sid,
            "put_at": now,
            "began_at": began_at,
            "caller": caller,
            "assistant": assistant,
            "audio": audio,
        }
        try:
            with self._database.begin() as connection:
                connection.execute(sa.delete(_live_audio).where(_live_audio.c.put_at < now - KEPT_SECONDS))
                connection.execute(sa.insert(_live_audio).values(row))
            self._in_trouble = False
        except StoreError as error:
            if not self._in_trouble:
                logger.warning("who watches a call misses some of it: %s", error)
            self._in_trouble = True

    def since(self, call_sid: str, number: int, with_audio: bool = False) -> list[LivePiece]:
        """The call's pieces behind the one of that number; 0: from the oldest. Raises StoreError."""
        live = _live_audio.c
        audio = live.audio if with_audio else sa.literal(b"", sa.LargeBinary).label("audio")
        query = (
            sa.select(live.id, live.began_at, live.caller, live.assistant, audio)
            .where(live.call_sid == call_sid, live.id > number, live.put_at >= self._clock() - KEPT_SECONDS)
            .order_by(live.id)
            .limit(AT_ONCE)
        )
        with self._database.read() as connection:
            return [LivePiece(*row) for row in connection.execute(query)]

    def drop(self, call_sid: str) -> None:
        """Delete what there is of the call. Waits for the database; raises nothing."""
        try:
            with self._database.begin() as connection:
                connection.execute(sa.delete(_live_audio).where(_live_audio.c.call_sid == call_sid))
        except StoreError as error:
            logger.warning("what was watched of a call stays until somebody watches another: %s", error)

    def clear(self) -> None:
        """Delete what nobody can fetch any more: a process that was killed leaves something. Raises StoreError."""
        too_old = _live_audio.c.put_at < self._clock() - KEPT_SECONDS
        with self._database.read() as connection:
            if connection.execute(sa.select(_live_audio.c.id).where(too_old).limit(1)).first() is None:
                return
        with self._database.begin() as connection:
            connection.execute(sa.delete(_live_audio).where(too_old))
