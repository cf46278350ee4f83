"""The application as a whole: what it is made of, and how it says that it cannot start."""

import http.client
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from actors.call_file import DAY, erase_older
from config import STREAM_PATH, Settings
from store.database import Database
from store.journal import CallJournal
from tests.conftest import ExpectedLogs
from tests.probe import wait_until
from web import CALLS, DATABASE, JOURNAL, START_FAILED, configure_logging, create_app
from web.calls import Calls
from web.console_call import CALL
from web.preparation import Preparation

ROOT = Path(__file__).parents[2]
ASSISTANT = 'instructions = "Be brief."\nfallback = "Nobody is here."\nlanguage = "de"\n'


SEVERAL = {
    "desk": ASSISTANT,
    "sales": f'numbers = ["+4930111111"]\n{ASSISTANT}[webhook]\nurl = "https://crm.example.com/"\n',
    "service": f'numbers = ["+4930222222"]\n{ASSISTANT}[[mcp]]\nlabel = "crm"\nurl = "https://crm.example.com/"\n'
    'require_approval = "never"\nauthorization_variable = "CRM_TOKEN"\n',
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "assistant.toml").write_text(ASSISTANT)
    return Settings(
        openai_api_key="sk-test",
        assistant=tmp_path / "assistant.toml",
        database_url=f"sqlite:///{tmp_path}/calls.db",
    )


@pytest.fixture
def app(settings: Settings, logs: ExpectedLogs) -> Iterator[Flask]:
    logs.expect("signatures are not checked")
    made = create_app(settings)
    yield made
    journal: CallJournal = made.extensions[JOURNAL]
    journal.close()
    database: Database = made.extensions[DATABASE]
    database.close()


def test_health_is_public_in_every_mode(app: Flask) -> None:
    answer = app.test_client().get("/health", headers={"X-Forwarded-For": "192.0.2.1"})
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_readiness_is_public_in_every_mode(app: Flask) -> None:
    answer = app.test_client().get("/ready", headers={"X-Forwarded-For": "192.0.2.1"})
    assert (answer.status_code, answer.json) == (
        200,
        {"status": "ready", "calls": 0, "limit": 150, "late_ms": 0.0},
    )


def test_who_drains_is_alive_and_not_ready(app: Flask) -> None:
    calls: Calls = app.extensions[CALLS]
    assert calls.drain(0) == 0
    assert app.test_client().get("/health").status_code == 200
    assert app.test_client().get("/ready").status_code == 503


def test_the_app_has_these_routes_and_each_declares_its_policy(app: Flask, logs: ExpectedLogs) -> None:
    rules = {rule.rule: rule for rule in app.url_map.iter_rules()}
    assert set(rules) == {
        "/twiml", "/twiml/ended", "/twiml/transferred", "/twiml/recorded", "/twiml/stream-status",
        "/twiml/recording-status", "/twiml/consult", "/twiml/consult-status", "/twiml/dialed",
        "/twiml/call-status", "/twiml/answered-by", "/calls", "/calls/<call_id>", "/health", "/ready",
        "/metrics", STREAM_PATH, f"{STREAM_PATH}/<ticket>", "/sign-in", "/sign-out",
        "/static/<version>/<name>", "/", "/softphone/call", "/softphone/ended", "/softphone/story",
        "/console", "/console/live.json", "/console/live/events", "/console/calls", "/console/calls.json", CALL,
        *(f"{CALL}{what}" for what in (".json", ".txt", "/events", "/news.json", "/audio", "/<action>")),
        f"{CALL}/recordings/<int:which>.wav", "/console/system", "/console/system.json",
    }  # fmt: skip
    logs.expect("API_TOKEN is not set, so nobody may use this")
    logs.expect("is hung up: it was not placed with this token")
    logs.expect("what is told of call  is not heard")
    assert rules[STREAM_PATH].websocket
    # Every refusal would say so, unexpectedly: what has a policy lets this machine in, or says something else.
    logs.allow("it was not sent by a page of this server")
    client = app.test_client()
    for path, rule in rules.items():
        if not rule.websocket:
            # OPTIONS reaches no view: Flask answers it by itself.
            method = min((rule.methods or set()) - {"OPTIONS", "HEAD"})
            client.open(path, method=method, base_url="http://127.0.0.1")


def test_the_assistant_is_whose_fallback_is_spoken(app: Flask) -> None:
    answer = app.test_client().post(
        "/twiml", data={"CallSid": "CA" + "0" * 32}, base_url="http://127.0.0.1:5000"
    )
    assert '<Say language="de">Nobody is here.</Say>' in answer.text


def test_a_change_that_does_not_go_with_the_settings_is_refused_as_at_the_start(
    settings: Settings, tmp_path: Path, logs: ExpectedLogs
) -> None:
    logs.expect(r"assistant\.toml: \[webhook\] needs WEBHOOK_SECRET, .*; the assistants stay as they were")
    assistants = Preparation.of(settings).assistants
    before = assistants.default
    (tmp_path / "assistant.toml").write_text(ASSISTANT + '[webhook]\nurl = "https://crm.example.com/"\n')
    wait_until(lambda: assistants.default is before and bool(logs.records), "it is looked at again")
    assert assistants.default is before


def test_files_that_are_too_old_are_erased_when_a_worker_starts(
    settings: Settings, tmp_path: Path, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("signatures are not checked")
    now, done = datetime.now(UTC), queue.Queue[Path]()
    days = [(now - timedelta(days=age)).strftime(DAY) for age in (settings.retention_days + 2, 2)]
    for day in days:
        (tmp_path / "kept" / day).mkdir(parents=True)
        (tmp_path / "kept" / day / "101530-CA1.wav").write_bytes(b"")

    def erase(folder: Path, than: datetime) -> None:
        erase_older(folder, than)
        done.put(folder)

    monkeypatch.setattr("actors.call_file.erase_older", erase)
    made = create_app(Settings(**{**dict(settings), "recordings": tmp_path / "kept"}))
    try:
        assert done.get(timeout=5) == tmp_path / "kept"
    finally:
        made.extensions[JOURNAL].close()
        made.extensions[DATABASE].close()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == days[1:]


def test_a_refused_upgrade_is_answered_with_403(app: Flask, logs: ExpectedLogs) -> None:
    """Through every layer that `create_app` adds: the one that takes over the socket must leave it to a refusal."""
    logs.expect(f"refused GET {STREAM_PATH}: it was sent by a web page of another site")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="serve", daemon=True)
    thread.start()
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Origin": "https://evil.example.com",
    }
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("GET", STREAM_PATH, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, b"Forbidden" in answer.read()) == (403, True)
        connection.close()
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def start(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """gunicorn, asked to serve the app with this environment, until it gives up by itself."""
    return subprocess.run(
        [
            sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--threads", "2", "--no-control-socket",
            "--pythonpath", str(ROOT), "web:create_app()",
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )  # fmt: skip


def test_gunicorn_says_what_is_wrong_and_ends(tmp_path: Path) -> None:
    ended = start(tmp_path, PORT="x", TWILIO_AUTH_TOKEN="hidden", OPENAI_REALTIME_DIALECT="french")
    assert ended.returncode == START_FAILED
    assert "Traceback" not in ended.stderr
    assert "hidden" not in ended.stderr
    assert (
        "Switchboard cannot start:\n"
        "OPENAI_API_KEY is not set; give a key of platform.openai.com, "
        "or let OPENAI_REALTIME_URL name the offline model on this machine\n"
        "OPENAI_REALTIME_DIALECT is none of the values it may have; use 'openai', 'beta' or 'azure'\n"
        "PUBLIC_URL is not set, and signatures are checked against it; "
        "set it to the https URL under which Twilio reaches this server\n"
        "PORT is not a whole number; write digits only\n"
    ) in ended.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"database_url": "sqlite:////nowhere/calls.db"},
            "database sqlite:////nowhere/calls.db: unable to open",
        ),
        ({"assistant": Path("/nowhere.toml")}, "/nowhere.toml: cannot be read"),
        (
            {"daily_budget": 5.0},
            "{tmp_path}/assistant.toml: DAILY_BUDGET needs [prices]; add them, or unset it",
        ),
        (
            {"assistant": "several"},
            "{tmp_path}/several/sales.toml: [webhook] needs WEBHOOK_SECRET, to sign with; set it\n"
            "{tmp_path}/several/service.toml: mcp.0.authorization_variable: Value error, CRM_TOKEN is not set",
        ),
        ({"assistant": "hooked.toml"}, "{tmp_path}/hooked.toml: [webhook] needs WEBHOOK_SECRET"),
        ({"assistant": "deaf.toml"}, "{tmp_path}/deaf.toml: dead_air: {tmp_path}/hm.wav: is not a WAV file"),
    ],
)
def test_what_is_missing_is_said_before_the_end(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "hm.wav").write_bytes(b"hm")
    (tmp_path / "deaf.toml").write_text(ASSISTANT + '[dead_air]\nfiller = "hm.wav"\n')
    (tmp_path / "hooked.toml").write_text(ASSISTANT + '[webhook]\nurl = "https://crm.example.com/"\n')
    (tmp_path / "several").mkdir()
    for name, text in SEVERAL.items():
        (tmp_path / "several" / f"{name}.toml").write_text(text)
    if change.get("assistant") in ("deaf.toml", "hooked.toml", "several"):
        change = {"assistant": tmp_path / change["assistant"]}
    with pytest.raises(SystemExit) as ended:
        create_app(Settings(**{**dict(settings), **change}))
    assert ended.value.code == START_FAILED
    assert capsys.readouterr().err.startswith(
        f"Switchboard cannot start:\n{message.format(tmp_path=tmp_path)}"
    )


def test_importing_web_loads_nothing_else() -> None:
    heavy = ("flask", "config", "sqlalchemy", "pykka", "ssl")
    script = f"import sys, web; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_program_that_logs_already_is_left_alone() -> None:
    root, ours = logging.getLogger(), logging.getLogger("web")
    before = (list(root.handlers), root.level, ours.level)
    assert before[0], "pytest itself logs"
    configure_logging("debug")
    assert (root.handlers, root.level, ours.level) == before


def test_our_messages_are_logged_and_those_of_others_from_warning_on() -> None:
    script = (
        "import logging, web; web.configure_logging('info')\n"
        "for name in ('web.voice', 'actors.call', 'urllib3'):\n"
        "    for level in ('debug', 'info', 'warning'): getattr(logging.getLogger(name), level)(f'{name} {level}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [" ".join(line.split()[-2:]) for line in done.stderr.splitlines()]
    assert lines == [
        "web.voice info", "web.voice warning", "actors.call info", "actors.call warning", "urllib3 warning",
    ]  # fmt: skip
    assert "[MainThread]" in done.stderr


def test_gunicorn_gives_the_path_as_it_was_requested(tmp_path: Path) -> None:
    """The signature is over the raw path; this is the server that must not decode it."""
    (tmp_path / "bare.py").write_text(
        "import json\n"
        "def app(environ, start):\n"
        "    start('200 OK', [('Content-Type', 'application/json')])\n"
        "    return [json.dumps([environ.get('RAW_URI'), environ['PATH_INFO']]).encode()]\n"
        "def when_ready(server):\n"
        "    print('port', server.LISTENERS[0].sock.getsockname()[1], flush=True)\n"
    )
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        "127.0.0.1:0",
        "--no-control-socket",
        "--threads",
        "2",
    ]
    server = subprocess.Popen(
        [*command, "--config", "bare.py", "bare:app"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/a%2Fb/%7e?q=%41+&=")
        answer = json.loads(connection.getresponse().read())
        connection.close()
    finally:
        server.terminate()
        server.communicate(timeout=20)
    assert answer == ["/a%2Fb/%7e?q=%41+&=", "/a/b/~"]
