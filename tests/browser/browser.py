"""Chromium with a recording for a microphone, and an ear at what a page plays."""

import base64
import json
import shutil
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright

from simulator.demo import CALLER_SPEECH
from wire.g711 import SAMPLE_RATE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 15_000
QUIET = 0.002
"""Root mean square, of 1, at which nothing is heard."""

RECORDER = """
(() => {
  const sent = [], received = [], loudness = [];
  window.recorded = { sent, received, loudness };
  window.WebSocket = class extends WebSocket {
    constructor(...address) {
      super(...address);
      window.recorded.socket = this;
      this.addEventListener("message", ({ data }) => received.push([performance.now(), data]));
    }
    send(data) {
      sent.push([performance.now(), data]);
      super.send(data);
    }
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...more) {
    if (target === this.context.destination) {
      const ear = new AnalyserNode(this.context, { fftSize: 512 });
      const samples = new Float32Array(ear.fftSize);
      connect.call(this, ear);
      setInterval(() => {
        ear.getFloatTimeDomainData(samples);
        const squares = samples.reduce((sum, sample) => sum + sample * sample, 0);
        loudness.push([performance.now(), Math.sqrt(squares / samples.length)]);
      }, 10);
    }
    return connect.call(this, target, ...more);
  };
})();
"""
"""Notes what goes over a page's websockets and what its loudspeaker plays, each with its time in ms."""


def microphone(path: Path, *parts: str | float) -> Path:
    """A WAV file for the microphone: recordings of a caller by name, and seconds of silence.

    Chromium begins again when it is over, so there should be much silence at its end.
    """
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        for part in parts:
            if isinstance(part, str):
                with wave.open(str(CALLER_SPEECH / f"{part}.wav"), "rb") as speech:
                    assert speech.getparams()[:3] == (1, 2, SAMPLE_RATE)
                    out.writeframes(speech.readframes(speech.getnframes()))
            else:
                out.writeframes(bytes(2 * round(part * SAMPLE_RATE)))
    return path


@contextmanager
def browsing(
    playwright: Playwright,
    heard: Path | None = None,
    permitted: bool = True,
    **context: Any,
) -> Iterator[Page]:
    """A page in a browser of its own, whose microphone hears the file; with None it has no microphone.

    Fails if the page itself, or what forbids it to do things, complains.
    """
    arguments = []
    if heard is not None:
        assert heard.exists()  # Chromium would hear silence instead
        arguments = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={heard}"]
    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    try:
        granted = ["microphone"] if permitted else []
        made = chromium.new_context(permissions=granted, **context)
        made.set_default_timeout(PATIENCE_MS)
        made.add_init_script(RECORDER)
        page = made.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _note(message.type, message.text, complaints))
        yield page
        assert complaints == []
    finally:
        chromium.close()


EXPLAINED = (
    "Failed to load resource",
    "WebSocket connection to",
    "The Cross-Origin-Opener-Policy header has been ignored, because the URL's origin was untrustworthy",
)
"""Errors of the browser's of which the page tells in its own words."""


def _note(kind: str, text: str, complaints: list[str]) -> None:
    if kind == "error" and not text.startswith(EXPLAINED):
        complaints.append(text)


class Recording:
    """What RECORDER has noted by now."""

    def __init__(self, page: Page) -> None:
        noted = page.evaluate("({ ...window.recorded, socket: null })")
        self.sent = [(at, json.loads(text)) for at, text in noted["sent"]]
        self.received = [(at, json.loads(text)) for at, text in noted["received"]]
        self.loudness: list[tuple[float, float]] = noted["loudness"]

    def frames(self) -> list[tuple[float, bytes]]:
        """The audio that was sent: when, and its mu-law bytes."""
        return [
            (at, base64.b64decode(message["media"]["payload"]))
            for at, message in self.sent
            if message["event"] == "media"
        ]

    def events(self, event: str, received: bool = False) -> list[tuple[float, dict[str, Any]]]:
        messages = self.received if received else self.sent
        return [(at, message) for at, message in messages if message["event"] == event]

    def loudest(self, begin: float, end: float) -> float:
        """Of what was played between two times."""
        levels = [level for at, level in self.loudness if begin <= at <= end]
        assert levels, "nothing was listened to"
        return max(levels)


def until(page: Page, met: Callable[[Recording], bool], seconds: float = PATIENCE_MS / 1000) -> Recording:
    """What was recorded, as soon as it meets that."""
    deadline = time.monotonic() + seconds
    while not met(recording := Recording(page)):
        assert time.monotonic() < deadline, [
            message for _, message in recording.sent if message["event"] != "media"
        ]
        page.wait_for_timeout(50)
    return recording
