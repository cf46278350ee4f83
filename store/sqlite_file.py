"""The file of a SQLite database and the connections to it: one that writes, a few that read beside it."""

import logging
import os
import sqlite3
from functools import partial

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS = 3000
"""How long a transaction waits while another one writes to the SQLite file. Short, because Twilio gives up on a
webhook after some 15 s, and because under gevent the wait holds up every call of the worker."""

READERS = 2
"""How many transactions of a process can read a SQLite file at a time."""

logger = logging.getLogger(__name__)

_FILE, _READ_ONLY = "file", "read only"
"""What is remembered of a connection: its file's device and inode, and that it turned out not to write."""


class FileMoved(Exception):  # noqa: N818  # said on as a StoreError
    """The file is not there any more, or another one is."""

    def __init__(self) -> None:
        super().__init__("the file was moved or deleted; put it back, or a new one begins")


class SqliteFile:
    """Any thread may use its engines. `FileMoved` is raised once, when somebody notices; then a new file begins."""

    def __init__(self, url: sa.URL) -> None:
        """Opens nothing yet."""
        self._shown_url = url.render_as_string(hide_password=True)
        self._path: str | None = None
        self.moved = False
        """Whether the file was found to be another one, of which nobody has said since that it has its tables"""
        # SQLite has one writer, so a process needs one connection for it. All stay open, because SQLite cannot close
        # a file's descriptor while another connection of the process holds a lock.
        self.writing = self._engine(url, 1, "BEGIN IMMEDIATE")
        sa.event.listen(self.writing, "connect", self._writer_connected)
        sa.event.listen(self.writing, "checkout", self._writer_checked_out)
        self.reading = self._engine(url, READERS, "BEGIN")
        sa.event.listen(self.reading, "connect", self._reader_connected)
        sa.event.listen(self.reading, "checkout", self._reader_checked_out)

    def look_for(self) -> None:
        """Raises FileMoved if the file is not there; otherwise whoever reads would create it."""
        if self._path is not None and _file_at(self._path) is None:
            raise self._notice_move()

    def empty_log(self) -> bool:
        """Moves what is in the write-ahead log into the file; waits for others for up to BUSY_TIMEOUT_MS.

        False: they did not end, or it failed.
        """
        try:
            with self.writing.connect() as connection:
                # The driver's own connection, because SQLAlchemy would begin a transaction, in which this cannot be.
                driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
                [(busy, _, _)] = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return int(busy) == 0
        except (SQLAlchemyError, sqlite3.Error, FileMoved):
            return False

    def _engine(self, url: sa.URL, connections: int, begin: str) -> sa.Engine:
        engine = sa.create_engine(
            url,
            poolclass=sa.QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT_MS / 1000,
        )
        sa.event.listen(engine, "begin", partial(_begin, begin))
        sa.event.listen(engine, "handle_error", _notice_read_only)
        return engine

    def _connected(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        # The driver's own transactions begin too late, at the first write, and then fail at once instead of waiting.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        # SQLite lists this one first, and behind it the one that it may keep temporary tables in.
        path: str = connection.execute("PRAGMA database_list").fetchall()[0][2]
        self._path = path
        record.info[_FILE] = _file_at(path)

    def _writer_connected(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        self._connected(connection, record)
        connection.execute("PRAGMA journal_mode = WAL")
        # With the write-ahead log a power cut may cost the last transactions, and never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        # What is deleted is overwritten, so that what was forgotten cannot be read from the file.
        connection.execute("PRAGMA secure_delete = ON")

    def _reader_connected(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        self._connected(connection, record)
        connection.execute("PRAGMA query_only = ON")

    def _writer_checked_out(self, _: sqlite3.Connection, record: ConnectionPoolEntry, __: object) -> None:
        # SQLite goes on writing to a file that was deleted or replaced, where nobody will ever read it.
        if self._has_other_file(record) and not self.moved:
            raise self._notice_move()
        self._reader_checked_out(_, record, __)

    def _reader_checked_out(self, _: sqlite3.Connection, record: ConnectionPoolEntry, __: object) -> None:
        # What SQLite has opened for reading only stays so, whatever becomes of the file.
        if _READ_ONLY in record.info or self._has_other_file(record):
            raise DisconnectionError  # whereupon the pool connects again

    def _has_other_file(self, record: ConnectionPoolEntry) -> bool:
        remembered: tuple[int, int] | None = record.info[_FILE]
        return self._path is None or _file_at(self._path) != remembered

    def _notice_move(self) -> FileMoved:
        self.moved = True
        error = FileMoved()
        # Whoever is told may keep it to himself, as /ready does.
        logger.warning("database %s: %s", self._shown_url, error)
        return error


def sqlite_code(error: BaseException | None) -> int | None:
    """SQLite's primary result code, which is the low byte of the extended one; None: it is no error of SQLite's."""
    code = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, DBAPIError) else None
    return code & 0xFF if isinstance(code, int) else None


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin(statement: str, connection: sa.Connection) -> None:
    connection.exec_driver_sql(statement)


def _notice_read_only(context: sa.ExceptionContext) -> None:
    if context.connection and sqlite_code(context.sqlalchemy_exception) == sqlite3.SQLITE_READONLY:
        context.connection.info[_READ_ONLY] = True
