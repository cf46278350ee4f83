"""A Switchboard server in a child process, for whoever calls it: the demo and the end-to-end tests."""

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

RUN = Path(__file__).parent.parent / "run.py"
START_SECONDS = 60.0
"""It takes a second or two; several servers that start on a busy machine take many."""
STOP_SECONDS = 30.0
PORTS = range(10_000, 32_000)
"""None of those that a kernel gives to whoever connects (32768 and up): one of them may be in use, as the near end of
somebody's connection, when the server gets round to listening."""


def free_port() -> int:
    """A TCP port of this machine that nobody listens on just now."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def server_settings(model_url: str, auth_token: str, directory: Path) -> dict[str, str]:
    """The settings of a server that has the Realtime API at `model_url` behind it and listens on a free port.

    It has two workers, checks signatures with `auth_token`, keeps its database in `directory`, and takes calls
    however late it is.
    """
    port = free_port()
    return {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_AUTH_TOKEN": auth_token,
        "OPENAI_REALTIME_URL": model_url,
        "ASSISTANT": str(RUN.parent / "assistant.toml"),
        "DATABASE_URL": f"sqlite:///{directory / 'switchboard.db'}",
        "WORKERS": "2",
        "THREADS": "16",
        "MAX_CALLS_PER_CALLER": "1000",  # simulated callers share a number
        "DRAIN_SECONDS": "3",
        "LATENESS_LIMIT_MS": "0",  # the machine may be busy with other things, tests for one
    }


class ServerError(Exception):
    """The server did not start or did not stop. The text has the end of its log."""


class ServerProcess:
    """`run.py serve`, or another command, with the given settings and no others, in a folder of its own.

    It ends when its parent does: it watches its standard input.
    """

    def __init__(
        self, settings: Mapping[str, str], directory: Path, command: Sequence[str] | None = None
    ) -> None:
        """`settings` are environment variables; HOST and PORT are required. `directory` takes the log.

        `command` is another way to start the server than `run.py serve`.
        """
        self._command = command or [sys.executable, str(RUN), "serve", "--watch-parent"]
        self._address = f"{settings['HOST']}:{settings['PORT']}"
        self.url = f"http://{self._address}"
        self.log = directory / "server.log"
        self._directory = directory
        self._environment = {**_bare_environment(), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_stop = False

    def start(self) -> None:
        """Start and wait until it answers. Raises ServerError."""
        with self.log.open("ab") as log:
            self._process, self._told_to_stop = self._spawn(log), False
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"the server did not start:\n{self._log_end()}")

    @property
    def pid(self) -> int:
        """Of gunicorn's master; the workers are its children."""
        assert self._process is not None
        return self._process.pid

    def tell_to_stop(self) -> None:
        """As a deploy does, with SIGTERM; `stop` waits until it has."""
        assert self._process is not None
        self._told_to_stop = True
        self._process.terminate()

    def stop(self) -> int:
        """End it as a deploy does, with SIGTERM; returns the exit status. Raises ServerError if it must be killed."""
        process = self._process
        if process is None:
            return 0
        if (
            not self._told_to_stop
        ):  # a second time would end an interpreter that is clearing up, with another status
            self.tell_to_stop()
        self._process = None
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(
                f"the server did not stop within {STOP_SECONDS:.0f} s:\n{self._log_end()}"
            ) from None
        finally:
            if process.stdin is not None:
                process.stdin.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the parent: it hangs up first and stops the server then.
            start_new_session=True,
        )

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(self._address, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            # Refused: not listening yet. The wait is for another process, which has no event to give.
            time.sleep(0.05)
            return False
        finally:
            connection.close()

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _bare_environment() -> dict[str, str]:
    """What a process needs to run at all, and none of the user's own settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}
