"""A running server, the model behind it, and phones to call it with."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator import server_process
from simulator.call_result import CallResult
from simulator.handset import Handset
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.script import Script, ScriptedReply, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession

PATIENCE = 10.0
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
GREETING_MS = 400
SPOKEN_FALLBACK = "cannot take your call"
EVER = 0.0
"""Since when something was heard that may be over before a busy machine lets the test look."""
STILL_THEIR_TURN_SECONDS = 0.4
"""The server takes half a second of silence for the end of the caller's turn: what is heard sooner is no answer."""


def server_settings(model: OfflineModel, directory: Path) -> dict[str, str]:
    return server_process.server_settings(model.url, AUTH_TOKEN, directory)


class Stage:
    """A running server with two workers, the model behind it, and phones to call it with."""

    def __init__(self, server: ServerProcess, model: OfflineModel, script: Script) -> None:
        self.server = server
        self.model = model
        self.script = script
        self.url = server.url
        """Where the phones call."""

    @contextmanager
    def phone(self, **options: object) -> Iterator[Phone]:
        arguments = {"auth_token": AUTH_TOKEN, **options}
        with Phone(f"{self.url}/twiml", **arguments) as phone:  # type: ignore[arg-type]
            yield phone

    @contextmanager
    def call(self, **options: object) -> Iterator[tuple[Phone, RealtimeSession]]:
        """A call whose greeting has been heard, and the model session behind it."""
        before = len(self.model.sessions)
        with self.phone(**options) as phone:
            phone.dial()
            session = self.model.await_session(before + 1, PATIENCE)
            phone.await_assistant(PATIENCE, EVER)
            phone.await_silence(300, PATIENCE)
            yield phone, session

    def log(self) -> str:
        return self.server.log.read_text()

    def await_log(self, pattern: str) -> None:
        """Wait until another process has logged a line; it has no event to give."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.log()):
            assert time.monotonic() < deadline, f"{pattern} was never logged:\n{self.log()[-3000:]}"
            time.sleep(0.05)


class Greeting(Script):
    """Greets with a short tone and answers with what a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[ScriptedReply] = []

    def follow(self, instructions: str) -> ScriptedReply:
        return ScriptedReply("hello", audio=tone(GREETING_MS))

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        return self.answers.pop(0) if self.answers else ScriptedReply("yes", audio=tone(300))


def ask(phone: Handset, audio: bytes) -> None:
    """Say it and wait until its answer is heard, or was: a busy machine may let the test know of it later."""
    said = phone.say(audio)
    said.wait(PATIENCE)
    assert said.speech_ended is not None
    phone.await_assistant(PATIENCE, said.speech_ended + STILL_THEIR_TURN_SECONDS)


def finished(phone: Phone) -> CallResult:
    result = phone.await_end(PATIENCE)
    assert not result.errors, result.errors
    return result
