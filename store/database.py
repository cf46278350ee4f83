"""The database that every worker shares: SQLite by default, PostgreSQL where SQLAlchemy is given its URL.

Each kind of row has a module of its own, which adds its table to `metadata` when it is imported; opening a
Database after that creates what is missing. Any thread may call its methods. A process that was forked opens a
Database of its own.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateIndex, CreateTable

BUSY_TIMEOUT_MS = 3000
"""How long a transaction waits while another one writes to the SQLite file. Short, because Twilio gives up on a
webhook after some 15 s, and because under gevent the wait holds up every call of the worker."""

_CREATION_SECONDS = 5.0
_CREATION_PAUSE_SECONDS = 0.02

metadata = sa.MetaData()
"""The tables of every module of ours."""

_BUSY_REMEDY = "find the process that keeps it locked"
_REMEDIES: dict[int | None, str] = {
    sqlite3.SQLITE_CANTOPEN: "see that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "let this user write to the file and to its folder",
    sqlite3.SQLITE_PERM: "let this user write to the file and to its folder",
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_BUSY: _BUSY_REMEDY,
    sqlite3.SQLITE_LOCKED: _BUSY_REMEDY,
    sqlite3.SQLITE_NOTADB: "move the file away or name another one",
    sqlite3.SQLITE_CORRUPT: "move the file away, and restore it from a backup if it is missed",
}


class StoreError(Exception):
    """The database cannot do what it was asked to. The text says why and what to do; it holds no password."""


class Database:
    """One database with its tables."""

    def __init__(self, url: str) -> None:
        """Opens the database at `url`, as SQLAlchemy writes URLs, and creates the tables that are missing.

        Raises StoreError if it cannot be opened.
        """
        try:
            parsed = sa.make_url(url)
            is_sqlite = parsed.get_backend_name() == "sqlite"
            if is_sqlite and parsed.database in (None, "", ":memory:"):
                raise StoreError(
                    "DATABASE_URL is a database in memory, which threads and workers cannot share; "
                    "name a file, as in sqlite:///switchboard.db"
                )
            self._shown_url = parsed.render_as_string(hide_password=True)
            # SQLite has one writer, so a process needs one connection; more would only leave descriptors behind,
            # which SQLite cannot close while another connection of the process holds a lock.
            pool = {"pool_size": 1, "max_overflow": 0} if is_sqlite else {"pool_pre_ping": True}
            self._engine = sa.create_engine(
                parsed, poolclass=sa.QueuePool, pool_timeout=BUSY_TIMEOUT_MS / 1000, **pool
            )
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise StoreError(
                "DATABASE_URL is not a database's URL; write it like sqlite:///switchboard.db or "
                "postgresql+psycopg://user:password@host/name"
            ) from None
        except ModuleNotFoundError as error:
            raise StoreError(f"DATABASE_URL needs the package {error.name}; install it") from None
        if is_sqlite:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        try:
            self._create_tables()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A connection in a transaction, which is committed at the end and rolled back if anything raises.

        With SQLite there is one such transaction at a time, so keep it short; a second one waits for up to
        BUSY_TIMEOUT_MS. Raises StoreError for whatever the database refuses.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._store_error(error) from error

    def close(self) -> None:
        """Closes the pooled connections. No thread may be inside `begin`."""
        self._engine.dispose()

    def _create_tables(self) -> None:
        deadline = time.monotonic() + _CREATION_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    for table in metadata.sorted_tables:
                        connection.execute(CreateTable(table, if_not_exists=True))
                        for index in table.indexes:
                            connection.execute(CreateIndex(index, if_not_exists=True))
                return
            except SQLAlchemyError as error:
                if not _may_pass(error) or time.monotonic() > deadline:
                    raise self._store_error(error) from error
            time.sleep(_CREATION_PAUSE_SECONDS)

    def _store_error(self, error: SQLAlchemyError) -> StoreError:
        # The driver's own first line: SQLAlchemy's text and the driver's details quote the values of the row.
        reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        if isinstance(error, sa.exc.TimeoutError):
            return StoreError(
                f"database {self._shown_url}: busy for more than {BUSY_TIMEOUT_MS} ms; {_BUSY_REMEDY}"
            )
        remedy = _REMEDIES.get(
            _sqlite_code(error), "see that DATABASE_URL is right and the database is running"
        )
        return StoreError(f"database {self._shown_url}: {reason.strip().partition(chr(10))[0]}; {remedy}")


def _may_pass(error: SQLAlchemyError) -> bool:
    """Whether creating the tables may fail for no other reason than that another worker does so too.

    SQLite does not wait while another process switches the file to the write-ahead log (3 of 320 starts, eight
    at a time), and PostgreSQL's IF NOT EXISTS lets two sessions create the same table.
    """
    return isinstance(error, IntegrityError | ProgrammingError) or _sqlite_code(error) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _sqlite_code(error: SQLAlchemyError) -> int | None:
    """SQLite's primary result code, which is the low byte of the extended one."""
    code = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, DBAPIError) else None
    return code & 0xFF if isinstance(code, int) else None


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin too late, at the first write, and then fail at once instead of waiting.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    # With the write-ahead log a power cut may cost the last transactions, and never the file.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
