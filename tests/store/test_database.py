"""The database: opened by many at once, and clear about what it cannot do."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

import store.calls
import store.tokens
from store.database import Database, StoreError, metadata
from tests.conftest import ExpectedLogs
from tests.store.conftest import PostgreSQL

ROOT = Path(__file__).parents[2]

ROUNDS = 10

TOKEN = "INSERT INTO stream_tokens (digest, call_sid, number, expires_at) VALUES ('d', 'CA1', 1, 1.0)"

# Forks them, because each would take a second to import what it needs.
OPEN_AT_ONCE = """
import os
import sys
import store.calls
import sqlalchemy as sa
from store.database import Database
sa.make_url(sys.argv[1]).get_dialect().import_dbapi()
url, rounds, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sign, give = os.pipe()
for _ in range(workers):
    if os.fork() == 0:
        os.close(give)
        os.read(sign, 1)
        for number in range(rounds):
            Database(f"{url}.{number}").close()
        sys.exit()
os.close(give)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(workers)))
"""

HOLD_THE_LOCK = """
import sqlite3
import sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("UPDATE stream_tokens SET call_sid = 'CA2'")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def pragma(database: Database, name: str) -> object:
    with database.begin() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_the_tables_of_every_module_are_created(database: Database) -> None:
    with database.begin() as connection:
        assert set(sa.inspect(connection).get_table_names()) == set(metadata.tables)
        indexes = sa.inspect(connection).get_indexes("stream_tokens")
    assert store.tokens.TOKEN_BYTES, store.calls.HOLD_CALL_SIDS
    assert sorted(index["column_names"] for index in indexes) == [["call_sid"], ["expires_at"]]


def test_sqlite_has_its_write_ahead_log_and_a_short_wait(database: Database) -> None:
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "busy_timeout") == 3000
    assert pragma(database, "synchronous") == 1


def test_opening_again_keeps_what_is_there(sqlite_url: str, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)
    again = Database(sqlite_url)
    with again.begin() as connection:
        assert connection.exec_driver_sql("SELECT call_sid FROM stream_tokens").scalar_one() == "CA1"
    again.close()


def test_a_failed_block_leaves_nothing(database: Database) -> None:
    def insert_and_fail() -> None:
        with database.begin() as connection:
            connection.exec_driver_sql(TOKEN)
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0


def test_workers_may_all_open_a_new_database_at_once(sqlite_url: str) -> None:
    command = [sys.executable, "-c", OPEN_AT_ONCE, sqlite_url, str(ROUNDS), "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_workers_may_all_open_a_new_database_of_postgresql_at_once(postgresql: PostgreSQL) -> None:
    for _ in range(2):
        command = [
            sys.executable,
            "-c",
            OPEN_AT_ONCE,
            postgresql.emptied() + "&application_name=worker",
            "1",
            "8",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
        assert (done.returncode, done.stderr) == (0, "")


def test_opening_tries_again_where_sqlite_does_not_wait(file: Path, sqlite_url: str) -> None:
    # A new file that another process is writing to cannot be switched to the write-ahead log, and fails at once.
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts: list[object] = []

    def give_way_at_the_second(connection: object, _: object) -> None:
        attempts.append(connection)
        if len(attempts) == 2:
            other.execute("ROLLBACK")

    sa.event.listen(sa.pool.Pool, "connect", give_way_at_the_second)
    try:
        Database(sqlite_url).close()
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
            connection.exec_driver_sql(TOKEN.replace("CA1", "x" * 100_000))

    with pytest.raises(StoreError, match="is full; free some disk space"):
        insert_too_much()
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0


def test_a_database_locked_by_another_is_one_clear_error(file: Path, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(file, isolation_level=None)
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
                connection.exec_driver_sql(TOKEN.replace("'d'", "'secret-digest'"))

    with pytest.raises(StoreError) as caught:
        insert_twice()
    assert "secret-digest" not in str(caught.value)
    assert "UNIQUE constraint failed" in str(caught.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Database(f"sqlite://user:hidden@/{tmp_path}/calls.db")
    assert "hidden" not in str(caught.value)


# Other versions


@pytest.fixture
def pets() -> Iterator[sa.Table]:
    """A table of this version's; the older one had neither its last two columns nor its index."""
    table = sa.Table(
        "pets",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("colour", sa.Text, nullable=True, index=True),
        sa.Column("legs", sa.Integer, nullable=False, server_default=sa.text("4")),
    )
    yield table
    metadata.remove(table)


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


def test_columns_and_indexes_that_an_older_version_did_not_have_are_added(url: str, pets: sa.Table) -> None:
    with connected(url) as connection:
        connection.exec_driver_sql("CREATE TABLE pets (name TEXT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO pets VALUES ('Rex')")
    for _ in range(2):
        database = Database(url)
        with database.begin() as connection:
            assert connection.execute(sa.select(pets)).all() == [("Rex", None, 4)]
            indexes = sa.inspect(connection).get_indexes("pets")
        database.close()
        assert [index["column_names"] for index in indexes] == [["colour"]]


@pytest.mark.parametrize(
    ("older", "complaint"),
    [
        ("digest TEXT PRIMARY KEY, call_sid TEXT NOT NULL", "stream_tokens lacks number, expires_at; "),
        (
            "digest TEXT PRIMARY KEY, call_sid TEXT NOT NULL, number INT NOT NULL, expires_at FLOAT NOT NULL, "
            "colour TEXT NOT NULL",
            "stream_tokens wants a value for colour; ",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named_and_left_alone(url: str, older: str, complaint: str) -> None:
    with connected(url) as connection:
        connection.exec_driver_sql(f"CREATE TABLE stream_tokens ({older})")
    with pytest.raises(
        StoreError, match=f"of another version of Switchboard: its table {complaint}"
    ) as caught:
        Database(url)
    assert ("move the file away" in str(caught.value)) == url.startswith("sqlite")
    with connected(url) as connection:
        assert sa.inspect(connection).get_table_names() == ["stream_tokens"]
        assert len(sa.inspect(connection).get_columns("stream_tokens")) == older.count(",") + 1


def test_opening_waits_for_nobody_who_writes(postgresql: PostgreSQL) -> None:
    url = postgresql.emptied() + "&options=-c%20lock_timeout%3D500"
    database = Database(url)
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)
        Database(url).close()
    database.close()


# Reading


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_reading_does_not_wait_for_another_process_that_writes(
    file: Path, database: Database, lock: str
) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(file), lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match="locked; find the process"), database.begin():
        pytest.fail("the other one has it")
    with database.read() as one, database.read() as two:
        for connection in (one, two):
            assert connection.exec_driver_sql("SELECT call_sid FROM stream_tokens").scalar_one() == "CA1"
    writer.communicate("go\n", timeout=30)


def test_reading_does_not_write(url: str) -> None:
    database = Database(url)

    def write() -> None:
        with database.read() as connection:
            connection.exec_driver_sql(TOKEN)

    try:
        with pytest.raises(StoreError, match=r"read-?only"):
            write()
        with database.begin() as connection:
            connection.exec_driver_sql(TOKEN)
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT call_sid FROM stream_tokens").scalar_one() == "CA1"
    finally:
        database.close()


# SQLite's file


def test_what_was_opened_for_reading_only_is_opened_again(database: Database) -> None:
    def write_as_if_it_may_not_be() -> None:
        with database.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql(TOKEN)

    with pytest.raises(StoreError, match="let this user write"):
        write_as_if_it_may_not_be()
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("first", ["begin", "read"])
def test_a_moved_file_is_said_once_and_a_new_one_begins(
    file: Path, database: Database, logs: ExpectedLogs, first: str, replaced: bool
) -> None:
    logs.expect("the file was moved or deleted; put it back")
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 1
    for path in file.parent.iterdir():
        path.unlink()
    if replaced:
        sqlite3.connect(file).close()
        first = "begin"  # which finds out that there is another
    with pytest.raises(StoreError, match="the file was moved or deleted"), getattr(database, first)():
        pytest.fail("it is gone")
    assert file.exists() == replaced
    for transaction in (database.read, database.begin, database.read, database.begin):
        with transaction() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0
    assert len(logs.records) == 1


def test_a_file_that_was_replaced_by_one_with_tables_is_read_at_once(
    file: Path, sqlite_url: str, database: Database
) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 0
    for path in file.parent.iterdir():
        path.unlink()
    other = Database(sqlite_url)
    with other.begin() as connection:
        connection.exec_driver_sql(TOKEN)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM stream_tokens").scalar_one() == 1
    other.close()


def test_what_was_deleted_is_in_none_of_its_files(file: Path, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN.replace("CA1", "a secret of mine"))
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM stream_tokens")
    log = file.with_name(file.name + "-wal")
    assert b"a secret of mine" in log.read_bytes()
    assert database.empty_log()
    for path in (file, log):
        assert b"a secret of mine" not in path.read_bytes()


def test_the_log_is_not_emptied_under_a_reader(file: Path, database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(TOKEN)
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with database.read() as connection:
        connection.exec_driver_sql("SELECT * FROM stream_tokens")
        with database.begin() as other:
            other.exec_driver_sql("DELETE FROM stream_tokens")
        assert not database.empty_log()
    assert database.empty_log()
    assert file.with_name(file.name + "-wal").stat().st_size == 0


def test_postgresql_has_no_log_to_empty(postgresql: PostgreSQL) -> None:
    database = Database(postgresql.emptied())
    assert database.empty_log()
    database.close()


def test_the_tables_are_sql_that_postgresql_has_too() -> None:
    create = CreateTable(metadata.tables["stream_tokens"], if_not_exists=True)
    sql = str(create.compile(dialect=sa.make_url("postgresql://").get_dialect()()))
    assert sql.split()[:6] == ["CREATE", "TABLE", "IF", "NOT", "EXISTS", "stream_tokens"]
    assert "DOUBLE PRECISION" in sql
