"""The suite's conscience: a test leaves no thread, no socket, no actor and no unexplained warning behind.

And a certificate, for servers on this machine.
"""

import gc
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pykka
import pytest
from hypothesis import HealthCheck, settings

SETTLING_SECONDS = 3.0
"""How long what a test started may take to end; the issue asks for one second, CI machines get some grace."""

PROCESS_WIDE_THREADS = {"clock"}

# How long an example takes says more of the machine than of the code.
settings.register_profile("switchboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("switchboard")


class ExpectedLogs:
    """What a test expects to be logged at WARNING or above. Anything else logged there fails the test."""

    def __init__(self) -> None:
        self._expected: dict[str, bool] = {}
        self.records: list[logging.LogRecord] = []

    def expect(self, pattern: str) -> None:
        """The regular expression must match some warning of this test, and may match several."""
        self._expected[pattern] = True

    def allow(self, pattern: str) -> None:
        """The regular expression may match warnings of this test."""
        self._expected.setdefault(pattern, False)

    def complaints(self) -> list[str]:
        messages = [f"{record.name}: {record.getMessage()}" for record in self.records]
        unexpected = [
            f"unexpected {record.levelname} from {message}\n{record.exc_text or ''}".rstrip()
            for record, message in zip(self.records, messages, strict=True)
            if not any(re.search(pattern, message) for pattern in self._expected)
        ]
        missing = [
            f"never logged: {pattern}"
            for pattern, required in self._expected.items()
            if required and not any(re.search(pattern, message) for message in messages)
        ]
        return unexpected + missing


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._records = records
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        self._records.append(record)


@pytest.fixture(autouse=True, scope="session")
def imported_once_and_for_all() -> None:
    """Phones and models live here: a full collection with all that was imported would halt them for 0.2 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key in one file, signed by itself, for 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    made = subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(path), "-out", str(path.with_suffix(".crt")), "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    with path.open("a") as file:
        file.write(path.with_suffix(".crt").read_text())
    return path


@pytest.fixture(autouse=True)
def logs() -> Iterator[ExpectedLogs]:
    """Fails the test for warnings and errors it did not announce: an actor's death is one of them."""
    expected = ExpectedLogs()
    collector = _Collector(expected.records)
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield expected
    finally:
        root.removeHandler(collector)
    complaints = expected.complaints()
    if complaints:
        pytest.fail("\n".join(complaints))


@pytest.fixture(autouse=True)
def nothing_left_behind(logs: ExpectedLogs) -> Iterator[None]:
    """Fails the test if a thread, a socket or an actor that it started is still there a moment later."""
    threads_before = set(threading.enumerate())
    sockets_before = _open_sockets()
    actors_before = set(pykka.ActorRegistry.get_all())
    yield
    deadline = time.monotonic() + SETTLING_SECONDS
    leaked_threads = [
        thread.name
        for thread in threading.enumerate()
        if thread not in threads_before and not _ends_by(thread, deadline)
    ]
    leaked_actors = set(pykka.ActorRegistry.get_all()) - actors_before
    for actor in leaked_actors:
        actor.stop(block=False)
    leaked_sockets = _open_sockets() - sockets_before
    while leaked_sockets and time.monotonic() < deadline:
        # Exceptions kept by a report or a cycle hold sockets that nobody uses; only reachable ones are leaks. And a
        # server of this process that outlives the test may just be answering somebody.
        gc.collect()
        threading.Event().wait(0.01)
        leaked_sockets = _open_sockets() - sockets_before
    left = {"threads": leaked_threads, "actors": leaked_actors, "sockets": leaked_sockets}
    if any(left.values()):
        pytest.fail("left behind: " + ", ".join(f"{kind} {what}" for kind, what in left.items() if what))


def _ends_by(thread: threading.Thread, deadline: float) -> bool:
    if thread.name in PROCESS_WIDE_THREADS:
        return True
    # It is listed as soon as it is about to start, and cannot be joined before.
    while thread.ident is None and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    thread.join(max(deadline - time.monotonic(), 0))
    return not thread.is_alive()


def _open_sockets() -> set[str]:
    descriptors = Path("/proc/self/fd")
    found = set()
    for descriptor in os.listdir(descriptors) if descriptors.exists() else ():
        try:
            target = os.readlink(descriptors / descriptor)
        except OSError:  # the descriptor of the listing itself
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
