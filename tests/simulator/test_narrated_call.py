"""`run_call` against a small server that greets and answers."""

import base64
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulator.narrated_call import DemoError, run_call
from simulator.script import silence, tone
from simulator.server_process import RUN
from tests.simulator.test_phone import Media, Server
from wire.g711 import decode_ulaw

PATIENCE = 2.5
LOUD_FRAME = base64.b64encode(tone(20)).decode()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.documents["/twiml"] = server.stream()
    yield server
    server.close()


def write(path: Path, speech: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(decode_ulaw(speech))
    return path


def until_heard(media: Media) -> None:
    while not any(base64.b64decode(media.expect("media")["media"]["payload"]).strip(b"\xff")):
        pass


def call(server: Server, tmp_path: Path, speech: bytes, assistant: Callable[[Media], None]) -> list[str]:
    """Call the server, where `assistant` plays the other side; returns what was told."""
    thread = threading.Thread(target=lambda: assistant(server.connection()))
    thread.start()
    told: list[str] = []
    try:
        file = write(tmp_path / "speech.wav", speech)
        run_call(file, f"{server.url}/twiml", None, tmp_path / "call.wav", 0, told.append, PATIENCE)
    finally:
        thread.join()
    return told


@pytest.mark.slow
def test_an_answer_before_the_end_of_a_long_file_is_heard(server: Server, tmp_path: Path) -> None:
    def assistant(media: Media) -> None:
        media.expect("start")
        media.play(tone(100))
        until_heard(media)
        media.play(silence(400) + tone(200))

    told = call(server, tmp_path, tone(300) + silence(2500), assistant)
    assert any(line.startswith("turn 1     answer after ") for line in told)


@pytest.mark.slow
def test_an_answer_may_be_longer_than_anybodys_patience(server: Server, tmp_path: Path) -> None:
    def assistant(media: Media) -> None:
        media.expect("start")
        media.play(tone(3000))
        until_heard(media)
        media.play(silence(400) + tone(3500))

    told = call(server, tmp_path, tone(300), assistant)
    assert any(line.startswith("turn 1     answer after ") for line in told)
    assert (tmp_path / "call.wav").stat().st_size > 4 * 8000 * (3.0 + 0.7 + 0.3 + 3.5 + 0.7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("greeting", "complaint"),
    [(b"", "the assistant was not heard"), (tone(100) + silence(9000), "no 700 ms of silence")],
)
def test_a_server_that_says_nothing_is_given_up(
    server: Server, tmp_path: Path, greeting: bytes, complaint: str
) -> None:
    def assistant(media: Media) -> None:
        media.expect("start")
        media.play(greeting)

    with pytest.raises(DemoError, match=complaint):
        call(server, tmp_path, tone(100), assistant)


@pytest.mark.parametrize(
    ("output", "latency_ms", "complaint"),
    [
        ("call.wav", -1, "a latency of -1 ms is not possible"),
        ("nowhere/call.wav", 0, "cannot be written to .*nowhere/call.wav: No such file or directory"),
        (".", 0, "Is a directory"),
    ],
)
def test_impossible_options_are_refused_before_anybody_is_called(
    server: Server, tmp_path: Path, output: str, latency_ms: float, complaint: str
) -> None:
    file = write(tmp_path / "speech.wav", tone(100))
    with pytest.raises(DemoError, match=complaint):
        run_call(file, f"{server.url}/twiml", None, tmp_path / output, latency_ms, print)
    assert server.asked.empty()
    assert not (tmp_path / "call.wav").exists()


def test_a_call_that_is_refused_leaves_recordings_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "old.wav").write_text("precious")
    for name in ("old.wav", "new.wav"):
        with pytest.raises(DemoError, match="No such file"):
            run_call(tmp_path / "missing.wav", "http://127.0.0.1:9", None, tmp_path / name, 0, print)
    assert (tmp_path / "old.wav").read_text() == "precious"
    assert not (tmp_path / "new.wav").exists()


def test_a_call_needs_no_optional_package() -> None:
    program = (
        "import sys\n"
        "for name in ('websockets', 'webrtcvad', 'pocketsphinx', 'espeakng_loader'): sys.modules[name] = None\n"
        "from simulator.narrated_call import run_call\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=RUN.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
