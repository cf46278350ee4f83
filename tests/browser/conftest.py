"""A browser, and a server with the offline model behind it, for all tests of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it is in the extra `test`")

from playwright.sync_api import Playwright, sync_playwright

from simulator import server_process
from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from tests.browser.browser import CHROMIUM


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium; on Debian: apt-get install chromium")
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def model() -> Iterator[OfflineModel]:
    with OfflineModel() as running:
        yield running


@contextmanager
def serving(model: OfflineModel, directory: Path, **changes: str | None) -> Iterator[ServerProcess]:
    """A server for this machine only, as a newcomer starts it, but for the changes."""
    settings = server_process.server_settings(model.url, "0" * 32, directory)
    settings |= {name: value for name, value in changes.items() if value is not None}
    if "TWILIO_AUTH_TOKEN" not in changes:
        del settings["TWILIO_AUTH_TOKEN"], settings["PUBLIC_URL"]
    with ServerProcess(settings, directory) as server:
        yield server
    log = server.log.read_text()
    assert [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line] == []


@pytest.fixture(scope="session")
def server(model: OfflineModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(model, tmp_path_factory.mktemp("server")) as running:
        yield running
