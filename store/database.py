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

from store.postgresql import opening_engine, working_engine
from store.schema import OtherSchema, complete
from store.sqlite_file import BUSY_TIMEOUT_MS, FileMoved, SqliteFile, sqlite_code

_CREATION_SECONDS = 5.0
_CREATION_PAUSE_SECONDS = 0.02

metadata = sa.MetaData()
"""The tables of every module of ours. A column that is new in a table is added to it where the table has rows
already, so it may be NULL or has a `server_default`."""

_BUSY_REMEDY = "find the process that keeps it locked"
_REMEDIES: dict[int | str | None, str] = {
    sqlite3.SQLITE_CANTOPEN: "see that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "let this user write to the file and to its folder",
    sqlite3.SQLITE_PERM: "let this user write to the file and to its folder",
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_BUSY: _BUSY_REMEDY,
    sqlite3.SQLITE_LOCKED: _BUSY_REMEDY,
    sqlite3.SQLITE_NOTADB: "move the file away or name another one",
    sqlite3.SQLITE_CORRUPT: "move the file away, and restore it from a backup if it is missed",
    # PostgreSQL's, by their SQLSTATE: a lock was not to be had, a statement took too long.
    "55P03": _BUSY_REMEDY,
    "57014": "find out what keeps it so busy",
}


class StoreError(Exception):
    """The database cannot do what it was asked to. The text says why and what to do; it holds no password."""


class Database:
    """One database with its tables."""

    def __init__(self, url: str) -> None:
        """Opens the database at `url`, as SQLAlchemy writes URLs, and creates the tables that are missing.

        Raises StoreError if it cannot be opened, or has tables that this version cannot use.
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
            self._file = SqliteFile(parsed) if is_sqlite else None
            if self._file:
                self._writing, self._reading = self._file.writing, self._file.reading
                self._opening = self._writing
            else:
                self._writing, self._opening = working_engine(parsed), opening_engine(parsed)
                self._reading = self._writing.execution_options(postgresql_readonly=True)
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise StoreError(
                "DATABASE_URL is not a database's URL; write it like sqlite:///switchboard.db or "
                "postgresql+psycopg://user:password@host/name"
            ) from None
        except ModuleNotFoundError as error:
            raise StoreError(f"DATABASE_URL needs the package {error.name}; install it") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A connection in a transaction, which is committed at the end and rolled back if anything raises.

        With SQLite there is one such transaction at a time, so keep it short; a second one waits for up to
        BUSY_TIMEOUT_MS. With PostgreSQL a statement has STATEMENT_TIMEOUT_MS, and its wait for a lock the former.
        Raises StoreError for whatever the database refuses or does not answer, and once if SQLite's file was moved
        or deleted: then a new one begins.
        """
        self._settle_in()
        with self._transaction(self._writing) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that only reads, of one moment's state, and waits for no writer.

        With SQLite a process has READERS of them at a time; others wait for up to BUSY_TIMEOUT_MS. Raises
        StoreError, as `begin` does.
        """
        self._settle_in()
        with self._transaction(self._reading) as connection:
            yield connection

    def create_tables(self) -> None:
        """Creates the tables that are missing, as opening does. Raises StoreError."""
        self._complete(self._writing)

    def empty_log(self) -> bool:
        """Moves what is in SQLite's write-ahead log into the file, so that the log keeps nothing that was deleted.

        Waits for readers and writers for up to BUSY_TIMEOUT_MS. False: they did not end, or it failed.
        """
        return self._file is None or self._file.empty_log()

    def close(self) -> None:
        """Closes the pooled connections. No thread may be inside `begin` or `read`."""
        self._reading.dispose()
        self._writing.dispose()

    def _open(self) -> None:
        deadline = time.monotonic() + _CREATION_SECONDS
        while True:
            try:
                self._complete(self._opening)
                return
            except StoreError as error:
                if not _may_pass(error.__cause__) or time.monotonic() > deadline:
                    raise
            time.sleep(_CREATION_PAUSE_SECONDS)

    def _complete(self, engine: sa.Engine) -> None:
        with self._transaction(engine) as connection:
            complete(connection, metadata)
        if self._file:
            self._file.moved = False

    def _settle_in(self) -> None:
        if self._file and self._file.moved:
            self.create_tables()

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        try:
            if self._file and engine is self._reading:
                self._file.look_for()
            with engine.begin() as connection:
                yield connection
        except OtherSchema as error:
            remedy = "move the file away, and a new one begins" if self._file else "name another database"
            raise StoreError(
                f"database {self._shown_url} is of another version of Switchboard: {error}; {remedy}"
            ) from error
        except FileMoved as error:
            raise StoreError(f"database {self._shown_url}: {error}") from error
        except SQLAlchemyError as error:
            raise self._store_error(error) from error

    def _store_error(self, error: SQLAlchemyError) -> StoreError:
        # The driver's own first line: SQLAlchemy's text and the driver's details quote the values of the row.
        reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        if isinstance(error, sa.exc.TimeoutError):
            return StoreError(
                f"database {self._shown_url}: busy for more than {BUSY_TIMEOUT_MS} ms; {_BUSY_REMEDY}"
            )
        code = sqlite_code(error) or getattr(getattr(error, "orig", None), "sqlstate", None)
        remedy = _REMEDIES.get(code, "see that DATABASE_URL is right and the database is running")
        return StoreError(f"database {self._shown_url}: {reason.strip().partition(chr(10))[0]}; {remedy}")


def _may_pass(cause: BaseException | None) -> bool:
    """Whether creating the tables may fail for no other reason than that another worker does so too.

    SQLite does not wait while another process switches the file to the write-ahead log (3 of 320 starts, eight
    at a time), and PostgreSQL lets two sessions create the same table until one of them commits.
    """
    return isinstance(cause, IntegrityError | ProgrammingError) or sqlite_code(cause) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
