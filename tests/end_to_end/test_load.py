"""`run.py load` against a real server, and a server that is offered more calls than it carries."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.server_process import RUN
from tests.end_to_end.stage import AUTH_TOKEN, Stage

pytestmark = pytest.mark.slow


def test_ten_calls_are_answered_and_what_their_phones_saw_is_printed(stage: Stage, tmp_path: Path) -> None:
    options = ["--calls", "10", "--rate", "5", "--seconds", "12", "--auth-token", AUTH_TOKEN, "--json"]
    done = subprocess.run(
        [sys.executable, str(RUN), "load", f"{stage.url}/twiml", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["answered"], found["overflow"], found["failed"], found["silent"]) == (10, 0, 0, 0)
    assert found["set_up_ms"]["count"] == found["first_audio_ms"]["count"] == 10
    assert found["answer_ms"]["count"] >= 10
    assert found["marks_echoed"] >= 10
    assert found["problems"] == []


def test_a_wrong_signature_fails_every_call_and_the_command(stage: Stage, tmp_path: Path) -> None:
    options = ["--calls", "2", "--rate", "5", "--seconds", "1", "--auth-token", "wrong"]
    done = subprocess.run(
        [sys.executable, str(RUN), "load", f"{stage.url}/twiml", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 1
    assert "2 calls: 0 answered, 0 overflow, 2 failed" in done.stdout
    assert "answered 403" in done.stdout


def test_a_worker_that_is_late_turns_calls_away_and_loses_nothing_of_those_it_has() -> None:
    """How late is late here hardly matters: that calls are turned away from then on does."""
    options = ["--calls", "60", "--per-second", "8", "--seconds", "2", "--limit-ms", "0.05", "--no-compare"]
    ran = subprocess.run(
        [sys.executable, str(RUN.parent / "benchmarks" / "overload.py"), *options],
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    row = re.search(r"^ +0\.05 +60 +(\d+) +(\d+) ", ran.stdout, re.MULTILINE)
    assert row is not None, ran.stdout
    taken, refused = map(int, row.groups())
    assert taken > 0
    assert refused > 0
    assert taken + refused == 60
