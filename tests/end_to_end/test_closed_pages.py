"""Pages of the console that are opened and closed, on a real server: it has as many threads for calls as before."""

import http.client
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from tests.end_to_end.stage import EVER, PATIENCE, Greeting, server_settings
from tests.probe import wait_until

pytestmark = pytest.mark.slow

PAGES = 50
STREAMS = "/console/live/events"
MOST_CALLS = 6
"""Of eight threads, two are kept for webhooks."""


def opened_and_closed(address: tuple[str, int]) -> int:
    """The status with which a page was answered that wanted to be told what is new, and is gone."""
    with socket.create_connection(address, timeout=PATIENCE) as page:
        page.sendall(f"GET {STREAMS} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n\r\n".encode())
        return int(page.recv(1000).split()[1])


def test_fifty_closed_pages_leave_every_thread_for_calls(tmp_path: Path) -> None:
    with OfflineModel(pace=100, **Greeting().equipment()) as model:
        settings = server_settings(model, tmp_path) | {"WORKERS": "1", "THREADS": "8"}
        del settings["TWILIO_AUTH_TOKEN"], settings["PUBLIC_URL"]
        with ServerProcess(settings, tmp_path) as server:
            parts = urlsplit(server.url)
            address = (parts.hostname or "", parts.port or 0)
            statuses = {opened_and_closed(address) for _ in range(PAGES)}
            assert 200 in statuses
            assert statuses <= {200, 503}
            phones = [Phone(f"{server.url}/twiml") for _ in range(MOST_CALLS)]
            try:
                for phone in phones:
                    phone.dial()
                    phone.await_assistant(PATIENCE, EVER)
                # Every call has its thread, no page has one, and webhooks and who asks are answered.
                assert opened_and_closed(address) == 503
                connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
                connection.request("GET", "/console/live.json")
                assert connection.getresponse().status == 200
                connection.close()
            finally:
                for phone in phones:
                    phone.close()

            wait_until(lambda: opened_and_closed(address) == 200, "there is room for pages again")
