"""A PostgreSQL server that is locked, overloaded, stopped or silent costs seconds, and not the call."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

import store.tokens
from store.database import Database, StoreError
from store.postgresql import ANSWER_SECONDS
from tests.store.conftest import PostgreSQL

# A server of its own is started for them, and two of them wait for what has to pass.
pytestmark = pytest.mark.slow

TOKEN = "INSERT INTO stream_tokens (digest, call_sid, number, expires_at) VALUES ('d', 'CA1', 1, 1.0)"
SHORT = "&options=-c%20lock_timeout%3D100%20-c%20statement_timeout%3D300"


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def limits(connection: sa.Connection) -> list[str]:
    return [connection.exec_driver_sql(f"SHOW {name}_timeout").scalar_one() for name in ("lock", "statement")]


def test_waiting_has_its_limits_and_creating_tables_has_none(postgresql: PostgreSQL) -> None:
    with opened(postgresql.emptied()) as database:
        for transaction in (database.begin, database.read, database.begin):
            with transaction() as connection:
                assert limits(connection) == ["3s", "4s"]
        with database._opening.connect() as connection:
            assert limits(connection) == ["0", "0"]


def test_limits_that_the_url_sets_are_kept(postgresql: PostgreSQL) -> None:
    with opened(postgresql.emptied() + "&tcp_user_timeout=7000&options=-c%20lock_timeout%3D20s") as database:
        with database.begin() as connection:
            assert limits(connection) == ["20s", "4s"]
            told = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
        assert (
            told.items()
            >= {"tcp_user_timeout": "7000", "connect_timeout": "2", "keepalives_idle": "2"}.items()
        )


def test_a_row_that_another_one_holds_is_one_clear_error(postgresql: PostgreSQL) -> None:
    with opened(postgresql.emptied() + SHORT) as database:
        assert store.tokens.TOKEN_BYTES  # whose table this is
        with database.begin() as connection:
            connection.exec_driver_sql(TOKEN)

        def update() -> None:
            with database.begin() as connection:
                connection.exec_driver_sql("UPDATE stream_tokens SET call_sid = 'CA2'")

        with database.begin() as holder:
            holder.exec_driver_sql("UPDATE stream_tokens SET call_sid = 'CA3'")
            with pytest.raises(
                StoreError, match="due to lock timeout; find the process that keeps it locked"
            ):
                update()
        update()


def test_a_statement_that_takes_too_long_is_one_clear_error(postgresql: PostgreSQL) -> None:
    def sleep(database: Database) -> None:
        with database.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(30)")

    with opened(postgresql.emptied() + SHORT) as database:
        with pytest.raises(StoreError, match="due to statement timeout; find out what keeps it so busy"):
            sleep(database)
        with database.read() as connection:
            assert connection.scalar(sa.select(1)) == 1


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(StoreError, match="see that DATABASE_URL is right and the database is running"):
            Database(f"postgresql+psycopg://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres")
        assert 2 < time.monotonic() - began < 6


def stop(connection: sa.Connection) -> Callable[[], None]:
    """Stop the process that serves this connection, whose kernel goes on saying that all is well."""
    process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    os.kill(process, signal.SIGSTOP)
    return lambda: os.kill(process, signal.SIGCONT)


def test_a_server_that_falls_silent_is_given_up_and_connected_to_again(postgresql: PostgreSQL) -> None:
    with opened(postgresql.emptied()) as database:
        go_on = []

        def fall_silent() -> None:
            with database.begin() as connection:
                go_on.append(stop(connection))
                connection.exec_driver_sql(TOKEN)

        try:
            began = time.monotonic()
            with pytest.raises(StoreError, match="no answer for 5 s; see that"):
                fall_silent()
            assert ANSWER_SECONDS <= time.monotonic() - began < ANSWER_SECONDS + 3
            began = time.monotonic()
            with database.begin() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0
            assert time.monotonic() - began < 3
        finally:
            for each in go_on:
                each()
