"""The commands of run.py, and the application under a plain gunicorn, as users start them."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
import wave
from array import array
from pathlib import Path
from secrets import token_hex

import pytest

from simulator.demo import CALLER_SPEECH, run_demo
from simulator.phone import Phone
from simulator.phone_events import Cleared
from simulator.server_process import RUN, ServerProcess, free_port
from tests.end_to_end.stage import AUTH_TOKEN, EVER, PATIENCE, Stage, finished, server_settings
from tests.end_to_end.test_strangers import post
from wire.signature import SIGNATURE_HEADER, sign

AUDIBLE = 500
"""Of 32768."""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def channels(recording: Path) -> tuple["array[int]", "array[int]"]:
    with wave.open(str(recording)) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getsampwidth()) == (2, 8000, 2)
        samples = array("h", wav.readframes(wav.getnframes()))
    return samples[0::2], samples[1::2]


def audible_seconds(samples: "array[int]", start: float, end: float) -> float:
    part = samples[int(start * 8000) : int(end * 8000)]
    return sum(abs(sample) >= AUDIBLE for sample in part) / 8000


@pytest.mark.slow
def test_the_demo_shows_a_conversation_and_leaves_both_voices(tmp_path: Path) -> None:
    told: list[str] = []
    result = run_demo(tmp_path / "call.wav", 40, told.append)
    text = "\n".join(told)
    assert not result.errors
    caller, assistant = channels(tmp_path / "call.wav")
    [clear] = [event for event in result.events if isinstance(event, Cleared) and event.ms_dropped > 1000]
    interruption = result.utterances[1]
    assert interruption.start is not None
    began = interruption.start / 8000
    assert audible_seconds(caller, began, began + 2) > 0.3, "the caller talks over the answer"
    assert audible_seconds(assistant, began - 2, began) > 0.3, "the assistant was speaking until then"
    assert audible_seconds(assistant, clear.at + 0.02, clear.at + 0.5) == 0, (
        "and was silent from the clear on"
    )
    assert all(turn.response_ms is not None for turn in result.turns())
    assert 'will say: "Hello, this is the Tailwind bicycle workshop. How can I help you?"' in text
    assert re.search(r"the model is told that only \d+ ms of that answer were heard", text)
    assert re.search(r"interruption to silence \d+ ms", text)


@pytest.mark.slow
def test_serve_without_a_key_uses_the_offline_model_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "ASSISTANT": str(RUN.parent / "assistant.toml")}
    with ServerProcess(settings, tmp_path) as server:
        said = server.log.read_text()
        assert "No OPENAI_API_KEY: using the offline model ready at ws://127.0.0.1:" in said
        assert "TWILIO_AUTH_TOKEN is not set: signatures are not checked" in said
        done = run("call", str(CALLER_SPEECH / "goodbye.wav"), "--to", f"{server.url}/twiml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"turn 1 +answer after \d+ ms", done.stdout)
    caller, assistant = channels(tmp_path / "call.wav")
    assert audible_seconds(caller, 0, 60) > 0.3
    assert audible_seconds(assistant, 0, 60) > 0.3


@pytest.mark.parametrize("kind", ["gthread", pytest.param("gevent", marks=pytest.mark.slow)])
def test_a_plain_gunicorn_runs_the_application_with_nothing_but_the_environment(
    stage: Stage, tmp_path: Path, kind: str
) -> None:
    settings = server_settings(stage.model, tmp_path)
    command = [sys.executable, "-m", "gunicorn", "-k", kind, "--threads", "154", "--no-control-socket"]
    bind = ["-b", f"127.0.0.1:{settings['PORT']}", "web:create_app()"]
    with (
        ServerProcess(settings, tmp_path, [*command, *bind]) as server,
        Phone(f"{server.url}/twiml", auth_token=AUTH_TOKEN) as phone,
    ):
        phone.dial()
        phone.await_assistant(PATIENCE, EVER)
        phone.hang_up()
        finished(phone)


def test_call_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for arguments, complaint in (
        (["text.wav", "--to", "http://127.0.0.1:9/twiml"], "text.wav is no WAV file"),
        ([str(CALLER_SPEECH / "goodbye.wav"), "--to", "http://127.0.0.1:9/twiml"], "the call did not work"),
        (
            [str(CALLER_SPEECH / "goodbye.wav"), "--to", "http://127.0.0.1:9/twiml", "--latency", "-1"],
            "latency",
        ),
    ):
        done = run("call", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr


def test_serve_says_what_is_wrong_with_its_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-x\nPUBLIC_URL=voice.example.com\nPORT=many\n")
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 1
    for line in ("PUBLIC_URL is not a https URL", "PORT is not a whole number"):
        assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_auth_token_forwarded_calls_are_refused(stage: Stage, tmp_path: Path) -> None:
    settings = server_settings(stage.model, tmp_path)
    del settings["TWILIO_AUTH_TOKEN"], settings["PUBLIC_URL"]
    with ServerProcess(settings, tmp_path) as server:
        for headers, status in (({}, 200), ({"X-Forwarded-For": "203.0.113.7"}, 403)):
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/twiml", f"CallSid=CA{'1' * 32}", form | headers)
            assert connection.getresponse().status == status
            connection.close()


def test_every_command_has_help_that_names_its_options() -> None:
    for command in ("demo", "serve", "call", "load", "model"):
        done = run(command, "--help", cwd=Path(os.sep))
        assert done.returncode == 0
        assert "Usage:" in done.stdout


def test_a_reload_reads_everything_again_and_keeps_what_was_right_if_anything_is_wrong(
    stage: Stage, tmp_path: Path
) -> None:
    dotenv, assistant = tmp_path / ".env", tmp_path / "assistant.toml"
    right = Path(server_settings(stage.model, tmp_path)["ASSISTANT"]).read_text()
    assistant.write_text(right)
    settings = server_settings(stage.model, tmp_path) | {"WORKERS": "1", "ASSISTANT": str(assistant)}
    del settings["TWILIO_AUTH_TOKEN"]
    dotenv.write_text(f"TWILIO_AUTH_TOKEN={AUTH_TOKEN}\n")
    with ServerProcess(settings, tmp_path) as server:
        running = Stage(server, stage.model, stage.script)

        def reload(token: str, more: str, content: str, complaint: str) -> None:
            before = workers(server.pid)
            dotenv.write_text(f"TWILIO_AUTH_TOKEN={token}\n{more}")
            assistant.write_text(content)
            os.kill(server.pid, signal.SIGHUP)
            if complaint:
                running.await_log(f"reloading with the settings as they were: {complaint}")
            await_others(server.pid, before)

        webhook = '[webhook]\nurl = "https://crm.example.com/"\n'
        reload("rotated", "STREAM_TOKEN_TTL=soon\n", right, "STREAM_TOKEN_TTL is not a number")
        reload("rotated", "", f"{right}\ntypo = [", ".*assistant.toml: is not TOML")
        reload("rotated", "", f"{right}\n{webhook}", ".*WEBHOOK_SECRET, to sign with")
        assert status(running, "rotated") == 403
        # Not only the reload: a worker that is started later must not read what is wrong either.
        before = workers(server.pid)
        os.kill(before.pop(), signal.SIGKILL)
        await_others(server.pid, before)
        assert status(running, AUTH_TOKEN) == 200
        reload("rotated", "", right, "")
        assert status(running, "rotated") == 200


def workers(master: int) -> set[int]:
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return {int(pid) for pid in children}


def await_others(master: int, before: set[int]) -> None:
    """Wait until none of these workers is left, and there is another one."""
    deadline = time.monotonic() + PATIENCE
    while not (now := workers(master)) or now & before:
        assert time.monotonic() < deadline, (now, before)
        time.sleep(0.05)  # another process has no event to give


def status(running: Stage, token: str) -> int:
    """Of the answer to a webhook that is signed with the token."""
    fields = {"CallSid": f"CA{token_hex(16)}", "From": "+15550100001"}
    signature = sign(token, f"{running.server.url}/twiml", fields.items())
    return post(running, "/twiml", fields, **{SIGNATURE_HEADER: signature})
