"""What the demonstration refuses, and what it leaves behind when it is told to stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.demo import DemoError, run_demo
from simulator.server_process import RUN


@pytest.mark.parametrize(
    ("output", "latency_ms", "complaint"),
    [("call.wav", -1, "latency of -1 ms"), ("nowhere/call.wav", 0, "No such file or directory")],
)
def test_impossible_options_are_refused_before_anything_is_started(
    tmp_path: Path, output: str, latency_ms: float, complaint: str
) -> None:
    told: list[str] = []
    with pytest.raises(DemoError, match=complaint):
        run_demo(tmp_path / output, latency_ms, told.append)
    assert told == []


def test_without_websockets_the_demo_says_how_to_get_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "sys.modules['websockets'] = None\n"
        "from simulator.demo import DemoError, run_demo\n"
        "try: run_demo(pathlib.Path(sys.argv[1]), 0, print)\n"
        "except DemoError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "call.wav")],
        cwd=RUN.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "websockets is missing; install it with: pip install -e '.[offline]'\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_a_demo_that_is_terminated_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(RUN), "demo", "--output", str(tmp_path / "call.wav")],
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("server ")
        assert list(folder.glob("switchboard-*"))
        demo.send_signal(signal.SIGTERM)
        _, complaints = demo.communicate(timeout=30)
    assert demo.returncode == 128 + signal.SIGTERM
    assert complaints == ""
    assert list(folder.glob("switchboard-*")) == []
