"""A phone network with its REST stand-in, Twilio's own SDK as its client, and a small server that gives TwiML."""

import threading
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.carrier import Carrier
from simulator.line import AUDIBLE
from simulator.network import PhoneNetwork
from simulator.phone import Phone
from simulator.tone import tone
from simulator.twilio_rest import TwilioRest
from tests.simulator.test_phone import SILENCE, SOON, TOKEN, Asked, Server
from wire.g711 import encode_ulaw

OURS = "+15550100002"
THEM = "+15550100009"
OTHER = "+15550100010"
WORDS = tone(440, 300)
"""What somebody says: 300 ms."""


class Telephony:
    """All of it, and the phones that a test makes; `closing` ends them."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.network = PhoneNetwork(TOKEN, server_url=server.url, recordings=folder)
        self.rest = TwilioRest(self.network)
        self.rest.start()
        self.carrier = Carrier(self.network.account_sid, TOKEN, self.rest.url)
        self.client = self.carrier.client
        self.phones: list[Phone] = []

    def caller(self, twiml: str, path: str = "/twiml", **options: Any) -> Phone:
        """A phone that has dialled, and was given that TwiML."""
        self.server.documents[path] = twiml
        phone = Phone(self.server.url + path, network=self.network, **options)
        self.phones.append(phone)
        phone.dial()
        return phone

    def create(self, to: str = THEM, **options: Any) -> Any:
        """An outbound call by the SDK; by default it runs /outbound."""
        if "twiml" not in options:
            options.setdefault("url", self.server.url + "/outbound")
        return self.client.calls.create(to=to, from_=OURS, **options)

    def statuses(self, path: str, last: str = "completed") -> list[dict[str, str]]:
        """The forms posted to `path` up to the one with that CallStatus."""
        forms = [self.server.request(path).form]
        while forms[-1]["CallStatus"] != last:
            forms.append(self.server.request(path).form)
        return forms

    def event(self, path: str, kind: str) -> Asked:
        """The next conference event of that kind at `path`."""
        while True:
            asked = self.server.request(path)
            if asked.form["StatusCallbackEvent"] == kind:
                return asked

    def close(self) -> None:
        for phone in self.phones:
            phone.close()
        self.network.close()
        self.carrier.close()
        self.rest.close()


@contextmanager
def telephony(folder: Path) -> Iterator[Telephony]:
    server = Server()
    try:
        stage = Telephony(server, folder)
        try:
            yield stage
        finally:
            stage.close()
    finally:
        server.close()


def eventually(happened: Callable[[], bool], what: str) -> None:
    """Wait for what the REST API tells only when asked: ask until it is so, or SOON seconds have passed."""
    deadline = time.monotonic() + SOON
    pause = threading.Event()
    while not happened():
        assert time.monotonic() < deadline, what
        pause.wait(0.01)  # for the threads that are to make it happen


def live_through(phone: Phone, moment: float) -> None:
    """Until `phone` has heard what there was to hear by that moment of `time.monotonic()`, however late it is."""
    ended: float | None = None
    while ended is None or ended < moment:
        silence = phone.say(SILENCE)
        silence.wait(SOON)
        ended = silence.ended


def side(path: Path, channel: int) -> bytes:
    """Mu-law of one side of a phone's recording: 0 what it said, 1 what it heard."""
    with wave.open(str(path), "rb") as recording:
        frames = memoryview(recording.readframes(recording.getnframes())).cast("h")
    return encode_ulaw(array("h", frames[channel::2]).tobytes())


def bursts(ulaw: bytes) -> list[tuple[int, int]]:
    """From when to when, in samples, something was audible, 50 ms and more of silence between."""
    found: list[tuple[int, int]] = []
    for position, audible in enumerate(ulaw.translate(AUDIBLE)):
        if audible:
            if found and position - found[-1][1] < 400:
                found[-1] = (found[-1][0], position + 1)
            else:
                found.append((position, position + 1))
    return found
