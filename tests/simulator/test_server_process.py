"""A server in a child process, with a small stand-in for the server."""

import os
import sys
from pathlib import Path

import pytest

from simulator.server_process import ServerError, ServerProcess, free_port, server_settings

HEALTHY = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def settings() -> dict[str, str]:
    return {"HOST": "127.0.0.1", "PORT": str(free_port())}


def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    """A terminal sends it to the whole process group in front."""
    with ServerProcess(settings(), tmp_path, [sys.executable, "-c", HEALTHY]) as server:
        assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"did not start:\n(.*\n)*no such luck"),
        ServerProcess(settings(), tmp_path, [sys.executable, "-c", "raise SystemExit('no such luck')"]),
    ):
        pass


def test_every_server_has_a_port_and_a_database_of_its_own(tmp_path: Path) -> None:
    first = server_settings("ws://127.0.0.1:1/v1/realtime", "secret", tmp_path / "a")
    second = server_settings("ws://127.0.0.1:1/v1/realtime", "secret", tmp_path / "b")
    assert first["PUBLIC_URL"] == f"http://127.0.0.1:{first['PORT']}"
    assert (first["OPENAI_REALTIME_URL"], first["TWILIO_AUTH_TOKEN"]) == (
        "ws://127.0.0.1:1/v1/realtime",
        "secret",
    )
    for name in ("PORT", "DATABASE_URL"):
        assert first[name] != second[name]
