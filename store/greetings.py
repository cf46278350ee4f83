"""The greetings that are kept from one call for the others, of all workers.

    a call's first response --keep--> memory --write, when the call is over--> greetings
    another call            --find--> memory, else greetings

It is what the assistant says to everybody, and nothing of any caller's.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from store.database import Database, StoreError, metadata
from store.insertion import insert
from wire.kept_greeting import MAX_MS, KeptGreeting

logger = logging.getLogger(__name__)

KEPT = 64
"""Greetings that are kept at most, in the database and in memory; the oldest go. Half a minute each: 15 MiB."""

SECONDS_A_DAY = 86_400

_greetings = sa.Table(
    "greetings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("kept_at", sa.Double, nullable=False, index=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("ulaw", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    greeting: KeptGreeting
    kept_at: float


class Greetings:
    """Any thread. A greeting is played for `days` days; then a call gets it from the model, and keeps that one."""

    def __init__(self, database: Database, days: float, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970, which the machines that share the database agree about."""
        self._database = database
        self._seconds = days * SECONDS_A_DAY
        self._clock = clock
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._unwritten: dict[str, _Kept] = {}
        self._in_trouble = False

    def find(self, key: str) -> KeptGreeting | None:
        """The one of that key. Waits for the database, if it is not in memory; raises nothing."""
        oldest = self._clock() - self._seconds
        with self._lock:
            kept = self._memory.get(key)
        if kept is None or kept.kept_at < oldest:
            kept = self._read(key, oldest)
            if kept is None:
                return None
            self._remember(key, kept)
        return kept.greeting

    def keep(self, key: str, greeting: KeptGreeting) -> None:
        """Keep it: here from now on, and for the other workers from the next `write` on."""
        kept = _Kept(greeting, self._clock())
        self._remember(key, kept)
        with self._lock:
            self._unwritten[key] = kept

    def write(self) -> None:
        """Write what was kept since the last time, if there is any. Waits for the database; raises nothing."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, {}
        if not unwritten:
            return
        column = _greetings.c
        newest = sa.select(column.key).order_by(column.kept_at.desc()).limit(KEPT).subquery()
        too_old = column.kept_at < self._clock() - self._seconds
        too_many = column.key.not_in(sa.select(newest.c.key))
        try:
            with self._database.begin() as connection:
                for key, kept in unwritten.items():
                    row = {
                        "kept_at": kept.kept_at,
                        "text": kept.greeting.text,
                        "ulaw": kept.greeting.ulaw,
                        "digest": _digest(kept.greeting),
                    }
                    statement = insert(connection.dialect.name, _greetings).values(key=key, **row)
                    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))
                connection.execute(sa.delete(_greetings).where(sa.or_(too_old, too_many)))
        except StoreError as error:
            logger.warning("a greeting is kept in this worker only: %s", error)

    def clear(self) -> None:
        """Delete what is not played any more: where no greeting is kept, nobody else does. Raises StoreError."""
        too_old = _greetings.c.kept_at < self._clock() - self._seconds
        with self._database.read() as connection:
            if connection.execute(sa.select(_greetings.c.key).where(too_old).limit(1)).first() is None:
                return
        with self._database.begin() as connection:
            connection.execute(sa.delete(_greetings).where(too_old))

    def _read(self, key: str, oldest: float) -> _Kept | None:
        column = _greetings.c
        query = sa.select(column.text, column.ulaw, column.kept_at, column.digest)
        try:
            with self._database.read() as connection:
                row = connection.execute(query.where(column.key == key, column.kept_at >= oldest)).first()
            self._in_trouble = False
        except StoreError as error:
            if not self._in_trouble:
                logger.warning("the model greets, as kept greetings cannot be read: %s", error)
            self._in_trouble = True
            return None
        if row is None:
            return None
        greeting = KeptGreeting(row.text, bytes(row.ulaw))
        if row.digest != _digest(greeting) or not 0 < greeting.duration_ms <= MAX_MS:
            logger.warning("a kept greeting is damaged: the model greets, and its greeting is kept instead")
            return None
        return _Kept(greeting, row.kept_at)

    def _remember(self, key: str, kept: _Kept) -> None:
        with self._lock:
            self._memory[key] = kept
            self._memory.move_to_end(key)
            while len(self._memory) > KEPT:
                self._memory.popitem(last=False)


def _digest(greeting: KeptGreeting) -> str:
    return hashlib.sha256(greeting.text.encode() + b"\0" + greeting.ulaw).hexdigest()
