"""The doctor on real sockets: the offline model, the REST stand-in, and its own stand-in for the server."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from config import Settings
from simulator.network import PhoneNetwork
from simulator.realtime import OfflineModel
from simulator.server_process import RUN, free_port
from simulator.twilio_rest import TwilioRest
from tests.conftest import ExpectedLogs
from web.doctor import entrance
from web.doctor.examination import examine
from web.doctor.stand_in import stand_in
from web.doctor.verdict import Level, Verdict

TOKEN = "12345"
NUMBER = "+15550100002"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    port = free_port()
    return {
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_AUTH_TOKEN": TOKEN,
        "OPENAI_REALTIME_URL": "ws://127.0.0.1:1",
        "ASSISTANT": str(RUN.parent / "assistant.toml"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'calls.db'}",
        "RECORDINGS": str(tmp_path),
    }


@pytest.fixture
def network() -> Iterator[PhoneNetwork]:
    with PhoneNetwork(TOKEN) as network:
        yield network


def levels(verdicts: Iterator[Verdict]) -> dict[str, Level]:
    return {verdict.check: verdict.level for verdict in verdicts}


def test_what_is_well_is_found_to_be_so(
    environ: dict[str, str], network: PhoneNetwork, logs: ExpectedLogs
) -> None:
    logs.expect("refused POST /twiml: it has no X-Twilio-Signature")
    owned = network.own(NUMBER)
    owned.voice_url = owned.voice_fallback_url = f"{environ['PUBLIC_URL']}/twiml"
    owned.status_callback = f"{environ['PUBLIC_URL']}/twiml/ended"
    with TwilioRest(network) as rest, OfflineModel() as model:
        environ |= {
            "TWILIO_API_URL": rest.url,
            "TWILIO_ACCOUNT_SID": network.account_sid,
            "OPENAI_REALTIME_URL": model.url,
        }
        found = levels(examine(environ, env_file=None))
    for check in ("settings", "assistant", "database", "recordings", "port", "model", "Twilio"):
        assert found[check] is Level.OK, check
    for check in ("reachable", "signature", "media stream"):
        assert found[check] is Level.OK, check
    # Loopback is nothing for Twilio, and nothing has its own clock there.
    assert (found["public URL"], found["name"], found["clock"]) == (
        Level.WARNING,
        Level.WARNING,
        Level.SKIPPED,
    )


def test_a_wrong_token_and_a_model_that_is_away_are_found(
    environ: dict[str, str], network: PhoneNetwork, logs: ExpectedLogs
) -> None:
    logs.allow("refused POST /twiml")
    with TwilioRest(network) as rest:
        environ |= {
            "TWILIO_AUTH_TOKEN": "another",
            "TWILIO_API_URL": rest.url,
            "TWILIO_ACCOUNT_SID": network.account_sid,
            "OPENAI_REALTIME_URL": "ws://127.0.0.1:9",
        }
        found = {each.check: each for each in examine(environ, env_file=None)}
    assert found["Twilio"].level is Level.FAILED
    assert "20003" in found["Twilio"].finding
    assert "copy both" in found["Twilio"].advice
    assert found["model"].level is Level.FAILED
    assert found["signature"].level is Level.OK, "and the rest was looked at all the same"


def test_without_keys_what_cannot_be_checked_is_said_to_be_so() -> None:
    found = levels(examine({"ASSISTANT": str(RUN.parent / "assistant.toml"), "PORT": "0"}, env_file=None))
    assert {check for check, level in found.items() if level is Level.SKIPPED} >= {
        "model",
        "Twilio",
        "public URL",
    }
    assert Level.FAILED not in found.values()


def test_settings_that_cannot_be_used_are_each_named_and_the_machine_is_looked_at() -> None:
    verdicts = list(examine({"PORT": "x", "THREADS": "0", "OPENAI_API_KEY": "sk"}, env_file=None))
    wrong = [each for each in verdicts if each.check == "settings"]
    assert [each.finding.split()[0] for each in wrong] == ["PORT", "THREADS"]
    assert {"python", "packages"} <= {each.check for each in verdicts}


def test_an_assistant_that_cannot_be_used_is_found(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("voice = 1")
    environ |= {"ASSISTANT": str(tmp_path / "bad.toml"), "RECORDINGS": str(tmp_path / "bad.toml")}
    found = levels(examine(environ, env_file=None, online=False))
    assert (found["assistant"], found["recordings"]) == (Level.FAILED, Level.FAILED)
    assert found["network"] is Level.SKIPPED


def test_a_stranger_on_the_port_is_told_from_this_server(environ: dict[str, str]) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    settings = Settings.load(environ, env_file=None)
    with HTTPServer(("127.0.0.1", settings.port), Stranger) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        (verdict,) = entrance.check_port(settings)
        thread.join()
    assert verdict.level is Level.FAILED
    with stand_in(settings):
        (verdict,) = entrance.check_port(settings)
        assert verdict.level is Level.OK
        other = Settings.load(environ | {"TWILIO_AUTH_TOKEN": "other"}, env_file=None)
        assert entrance.check_port(other)[0].level is Level.FAILED


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_command_prints_json_and_fails_where_a_check_does(tmp_path: Path) -> None:
    good = run("doctor", "--offline", "--json", cwd=tmp_path, ASSISTANT=str(RUN.parent / "assistant.toml"))
    assert (good.returncode, good.stderr) == (0, "")
    assert {"check", "level", "finding", "advice"} == set(json.loads(good.stdout)[0])
    bad = run("doctor", "--offline", cwd=tmp_path, ASSISTANT="absent.toml")
    assert bad.returncode == 1
    assert "failed   assistant" in bad.stdout
    assert "\x1b" not in bad.stdout + bad.stderr


def test_a_number_is_set_up_once_and_taken_from_nobody_silently(
    network: PhoneNetwork, tmp_path: Path
) -> None:
    owned = network.own(NUMBER)
    owned.voice_url = "https://other.example.com/"
    with TwilioRest(network) as rest:
        environ = {
            "TWILIO_API_URL": rest.url,
            "TWILIO_ACCOUNT_SID": network.account_sid,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": "https://voice.example.com",
        }
        taken = run("setup-number", NUMBER, "--yes", cwd=tmp_path, **environ)
        assert (taken.returncode, owned.voice_url) == (1, "https://other.example.com/")
        assert "--force" in taken.stderr
        unasked = run("setup-number", NUMBER, cwd=tmp_path, **environ)
        assert (unasked.returncode, owned.voice_url) == (1, "https://other.example.com/")
        shown = run("setup-number", NUMBER, "--dry-run", cwd=tmp_path, **environ)
        assert (shown.returncode, owned.voice_url) == (0, "https://other.example.com/")
        assert "voice url: https://other.example.com/ -> https://voice.example.com/twiml" in shown.stdout
        done = run("setup-number", NUMBER, "--force", cwd=tmp_path, **environ)
        assert (done.returncode, owned.voice_url) == (0, "https://voice.example.com/twiml")
        again = run("setup-number", NUMBER, "--yes", cwd=tmp_path, **environ)
        assert (again.returncode, "nothing changes" in again.stdout) == (0, True)
        unknown = run("setup-number", "+4930123456", "--yes", cwd=tmp_path, **environ)
        assert (unknown.returncode, NUMBER in unknown.stderr) == (1, True)
