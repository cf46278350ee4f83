"""What a call is told from outside, on its way to whichever process holds it.

    webhook, console --give--> orders --take--> the process that holds the call --> its CallActor

Of several processes that share the database only one takes an order, and only one that says it holds the call. An
order for a call that is just going over to another process waits for it, and is forgotten if nobody comes.
"""

import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from store.database import Database, metadata

WAITS_SECONDS = 30.0
"""How long an order waits for the call's process: longer than a call may take to get from one to another."""

_orders = sa.Table(
    "orders",
    metadata,
    # SQLite numbers the rows of a table only if their key is an INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("call_sid", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("given_at", sa.Double, nullable=False),
)


class Orders:
    """The orders that wait. Any thread; every method raises StoreError."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970, which the machines that share the database agree about."""
        self._database = database
        self._clock = clock

    def give(self, call_sid: str, body: str) -> None:
        """Leave an order for a call."""
        now = self._clock()
        with self._database.begin() as connection:
            connection.execute(sa.delete(_orders).where(self._forgotten()))
            connection.execute(sa.insert(_orders).values(call_sid=call_sid, body=body, given_at=now))

    def clear(self) -> None:
        """Delete what nobody has taken in time: what was to be said in a call is not kept until the next order."""
        with self._database.read() as connection:
            if connection.execute(sa.select(_orders.c.id).where(self._forgotten()).limit(1)).first() is None:
                return
        with self._database.begin() as connection:
            connection.execute(sa.delete(_orders).where(self._forgotten()))

    def _forgotten(self) -> sa.ColumnElement[bool]:
        return _orders.c.given_at < self._clock() - WAITS_SECONDS

    def take(self, call_sids: Sequence[str]) -> list[tuple[str, str]]:
        """The orders for these calls, as (call_sid, body), in the order in which they were given; each once."""
        theirs = sa.and_(
            _orders.c.call_sid.in_(call_sids), _orders.c.given_at >= self._clock() - WAITS_SECONDS
        )
        # Mostly there is none, and who only looks waits for no writer.
        with self._database.read() as connection:
            if connection.execute(sa.select(_orders.c.id).where(theirs).limit(1)).first() is None:
                return []
        with self._database.begin() as connection:
            waiting = sa.select(_orders).where(theirs).order_by(_orders.c.id)
            rows = connection.execute(waiting.with_for_update(skip_locked=True)).all()
            connection.execute(sa.delete(_orders).where(_orders.c.id.in_([row.id for row in rows])))
        return [(row.call_sid, row.body) for row in rows]
