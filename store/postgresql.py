"""The connections to a PostgreSQL server: be it locked, overloaded or silent, nobody waits long for it."""

import functools
import time
from collections.abc import Generator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from store.sqlite_file import BUSY_TIMEOUT_MS

STATEMENT_TIMEOUT_MS = BUSY_TIMEOUT_MS + 1000
"""How long a statement may take. It may wait for a lock for BUSY_TIMEOUT_MS, as with SQLite, and for the same reason;
the server tells of that one, with its better remedy, if it comes first."""

ANSWER_SECONDS = STATEMENT_TIMEOUT_MS / 1000 + 1
"""How long a statement is waited for where the server does not keep to its limit: it was stopped, its disk hangs, or
a proxy before it has lost it."""

_LIBPQ = {
    "connect_timeout": str(BUSY_TIMEOUT_MS // 1000),
    # A server that is gone without a word, and a connection that waits for it: asked after 2 s whether it is there.
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": str(BUSY_TIMEOUT_MS),
}
"""What libpq is told, which counts seconds, and milliseconds in the last; what the URL says goes before it."""

# Not as libpq's `options`, which PgBouncer and other proxies refuse. What the URL set in its own is left alone.
_SET_LIMITS = f"""
SELECT set_config(name, ms, false)
FROM pg_settings JOIN (VALUES ('lock_timeout', '{BUSY_TIMEOUT_MS}'), ('statement_timeout', '{STATEMENT_TIMEOUT_MS}'))
AS ours (name, ms) USING (name) WHERE source <> 'client'
"""


def opening_engine(url: sa.URL) -> sa.Engine:
    """For creating tables, which may take a while where one has many rows: only connecting has its time."""
    return sa.create_engine(_with_timeouts(url), poolclass=sa.NullPool)


def working_engine(url: sa.URL) -> sa.Engine:
    """For everything else."""
    engine = sa.create_engine(
        _with_timeouts(url), poolclass=sa.QueuePool, pool_timeout=BUSY_TIMEOUT_MS / 1000, pool_pre_ping=True
    )
    sa.event.listen(engine, "connect", _set_limits)
    if url.get_driver_name() == "psycopg":
        sa.event.listen(engine, "do_connect", _connect)
    return engine


def _with_timeouts(url: sa.URL) -> sa.URL:
    if url.get_driver_name() not in ("psycopg", "psycopg2"):
        return url
    return url.set(query={**_LIBPQ, **url.query})


def _set_limits(connection: Any, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(_SET_LIMITS)
    cursor.close()
    connection.commit()


def _connect(dialect: sa.Dialect, _: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]) -> Any:
    psycopg: Any = dialect.loaded_dbapi
    return _impatient(psycopg).connect(*args, **options)


@functools.cache
def _impatient(psycopg: Any) -> Any:
    """The class of connections that are closed if there is no answer within ANSWER_SECONDS."""

    class Impatient(psycopg.Connection):  # type: ignore[misc]
        def wait(self, generator: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
            return super().wait(self._in_time(generator), *args, **options)

        def _in_time(self, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            # Psycopg asks ten times a second whether to go on, with nothing ready, while it waits for the socket.
            deadline = time.monotonic() + ANSWER_SECONDS
            try:
                wanted = next(generator)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > deadline:
                        self.close()
                        raise psycopg.OperationalError(f"no answer for {ANSWER_SECONDS:g} s")
                    wanted = generator.send(ready)
            except StopIteration as end:
                return end.value

    return Impatient
