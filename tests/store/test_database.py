"""The database: opened by many at once, and clear about what it cannot do."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

import store.tokens
from store.database import Database, StoreError, metadata

ROOT = Path(__file__).parents[2]

ROUNDS = 10

OPEN_AT_A_SIGN = """
import sys
import store.tokens
from store.database import Database
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    Database(f"{sys.argv[1]}.{number}").close()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def pragma(database: Database, name: str) -> object:
    with database.begin() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_the_tables_of_every_module_are_created(database: Database) -> None:
    with database.begin() as connection:
        assert set(sa.inspect(connection).get_table_names()) == set(metadata.tables)
        indexes = sa.inspect(connection).get_indexes("stream_tokens")
    assert store.tokens.__name__ == "store.tokens"
    assert [index["column_names"] for index in indexes] == [["expires_at"]]


def test_sqlite_has_its_write_ahead_log_and_a_short_wait(database: Database) -> None:
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "busy_timeout") == 3000
    assert pragma(database, "synchronous") == 1


def test_opening_again_keeps_what_is_there(url: str, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("INSERT INTO stream_tokens VALUES ('d', 'CA1', 1.0, NULL)")
    again = Database(url)
    with again.begin() as connection:
        assert connection.exec_driver_sql("SELECT call_sid FROM stream_tokens").scalar_one() == "CA1"
    again.close()


def test_a_failed_block_leaves_nothing(database: Database) -> None:
    def insert_and_fail() -> None:
        with database.begin() as connection:
            connection.exec_driver_sql("INSERT INTO stream_tokens VALUES ('d', 'CA1', 1.0, NULL)")
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0


def test_workers_may_all_open_a_new_database_at_once(url: str) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_A_SIGN, url, str(ROUNDS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    errors = [worker.communicate(timeout=30)[1] for worker in workers]
    assert errors == [""] * len(workers)
    assert [worker.returncode for worker in workers] == [0] * len(workers)


def test_opening_tries_again_where_sqlite_does_not_wait(tmp_path: Path, url: str) -> None:
    # A new file that another process is writing to cannot be switched to the write-ahead log, and fails at once.
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts: list[object] = []

    def give_way_at_the_second(connection: object, _: object) -> None:
        attempts.append(connection)
        if len(attempts) == 2:
            other.execute("ROLLBACK")

    sa.event.listen(sa.pool.Pool, "connect", give_way_at_the_second)
    try:
        Database(url).close()
    finally:
        sa.event.remove(sa.pool.Pool, "connect", give_way_at_the_second)
        other.close()
    assert len(attempts) >= 2


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"in memory.*name a file"):
        Database(url)


@pytest.mark.parametrize("url", ["", "switchboard.db", "nosuch://x/y", "postgresql://h:port/d"])
def test_what_is_no_database_url_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"DATABASE_URL is not a database's URL; write it like"):
        Database(url)


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(StoreError, match="needs the package cx_Oracle; install it"):
        Database("oracle+cx_oracle://scott:tiger@host/name")


def test_a_folder_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/calls\.db: unable to open.*see that its folder exists"):
        Database(f"sqlite:///{tmp_path}/nowhere/calls.db")


def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    sqlite3.connect(file).close()
    with pytest.raises(StoreError, match="readonly database; let this user write"):
        Database(f"sqlite:///file:{file}?mode=ro&uri=true")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    file.write_bytes(b"a letter to my mother" * 100)
    with pytest.raises(StoreError, match="file is not a database; move the file away"):
        Database(f"sqlite:///{file}")
    assert file.read_bytes().startswith(b"a letter")


def test_a_full_disk_is_one_clear_error_and_loses_nothing(database: Database) -> None:
    def insert_too_much() -> None:
        with database.begin() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.exec_driver_sql(
                "INSERT INTO stream_tokens VALUES ('d', ?, 1.0, NULL)", ("x" * 100_000,)
            )

    with pytest.raises(StoreError, match="is full; free some disk space"):
        insert_too_much()
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0


def test_a_database_locked_by_another_is_one_clear_error(tmp_path: Path, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="locked; find the process"), database.begin():
            pytest.fail("the other one has it")
    finally:
        other.close()
    with database.begin():
        pass


def test_an_error_does_not_quote_the_row(database: Database) -> None:
    def insert_twice() -> None:
        with database.begin() as connection:
            for _ in range(2):
                connection.exec_driver_sql(
                    "INSERT INTO stream_tokens VALUES ('secret-digest', 'CA1', 1.0, NULL)"
                )

    with pytest.raises(StoreError) as caught:
        insert_twice()
    assert "secret-digest" not in str(caught.value)
    assert "UNIQUE constraint failed" in str(caught.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Database(f"sqlite://user:hidden@/{tmp_path}/calls.db")
    assert "hidden" not in str(caught.value)


def test_the_tables_are_sql_that_postgresql_has_too() -> None:
    create = CreateTable(metadata.tables["stream_tokens"], if_not_exists=True)
    sql = str(create.compile(dialect=sa.make_url("postgresql://").get_dialect()()))
    assert sql.split()[:6] == ["CREATE", "TABLE", "IF", "NOT", "EXISTS", "stream_tokens"]
    assert "DOUBLE PRECISION" in sql
