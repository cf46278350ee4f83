"""Databases to test with: a SQLite file, and a PostgreSQL server of our own where its programs are installed.

And somebody's server that events are sent to.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.receiver import Receiver, receiving

NOON = 1_800_014_400.0
"""on 2027-01-15, UTC"""

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
"""What the tests of the store run with: by default with the one that everybody has."""


class PostgreSQL:
    """A server of our own on 127.0.0.1, and how to stop and start it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k '' -F"
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def emptied(self) -> str:
        """The URL of a database with nothing in it."""
        url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres?connect_timeout=2"
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        return url

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / "programs.log").open("ab") as log:
            subprocess.run(
                [self._programs / program, *arguments],
                check=True,
                cwd=self._folder,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
                stdout=log,
                stderr=log,
                timeout=50,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    # Debian keeps them out of everyone's PATH.
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1] if programs else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL is installed, but not psycopg")
    # Not below pytest's own folder, which other users than the one who runs the tests cannot enter.
    with tempfile.TemporaryDirectory(prefix="switchboard-postgresql-") as folder:
        server = PostgreSQL(Path(found).resolve().parent, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "calls.db"


@pytest.fixture
def sqlite_url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('file')}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.emptied()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
