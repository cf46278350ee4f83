"""The demonstrations: a whole conversation against a server of our own, and one call to any server.

Both show what happens as it happens, with the latencies that the caller would notice, measured at the phone.
"""

import contextlib
import secrets
import socket
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulator.call_result import CallResult
from simulator.dialogue import Dialogue
from simulator.line import CallOverError
from simulator.phone import Phone
from simulator.phone_events import (
    AssistantAudible,
    AssistantSilent,
    CallEnded,
    CallerSpeechEnded,
    CallerSpeechStarted,
    Cleared,
    PhoneEvent,
    ProtocolError,
    Spoke,
    StreamOpened,
)
from simulator.realtime import OfflineModel
from simulator.rules import Rules
from simulator.server_process import RUN, ServerError, ServerProcess
from simulator.voice import Voice
from simulator.wav import load_wav
from simulator.webhook import WebhookError

CALLER_SPEECH = Path(__file__).parent / "audio" / "caller"
PATIENCE_SECONDS = 15.0
"""For anything the other side has to do."""
TURN_PAUSE_MS = 700
"""Silence after which the assistant is taken to have finished."""
INTERRUPT_AFTER_SECONDS = 3.0
LINE_WIDTH = 100
"""Characters."""

Echo = Callable[[str], object]


class DemoError(Exception):
    """The demonstration did not come to its end. The text says why."""


class Narrator:
    """Prints a call as it happens. Any thread."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self._lock = threading.Lock()
        self._dialled_at = time.monotonic()
        self._speech_started: float | None = None
        self._speech_ended: float | None = None
        self._assistant_speaks = False
        self._greeted = False
        self._connected_at = 0.0

    def dial(self) -> None:
        """Times are counted from here."""
        self._dialled_at = time.monotonic()

    def phone_event(self, event: PhoneEvent) -> None:
        """Tell what happened on the line."""
        match event:
            case StreamOpened():
                self._connected_at = event.at
                self._line(event.at, "phone", "connected, the media stream is open")
            case CallerSpeechStarted():
                self._speech_started = event.at if self._assistant_speaks else None
                text = "(talks over the assistant)" if self._assistant_speaks else "(speaks)"
                self._line(event.at, "caller", text)
            case CallerSpeechEnded():
                self._speech_ended = event.at
            case AssistantAudible():
                self._assistant_speaks = True
                if not self._greeted:
                    self._greeted = True
                    latency = (event.at - self._connected_at) * 1000
                    self._line(event.at, "", f"greeting heard {latency:.0f} ms after the stream was open")
                elif self._speech_ended is not None:
                    latency = (event.at - self._speech_ended) * 1000
                    self._line(event.at, "", f"answer heard {latency:.0f} ms after the caller's last word")
                    self._speech_ended = None
            case AssistantSilent():
                self._assistant_speaks = False
                if self._speech_started is not None:
                    latency = (event.at - self._speech_started) * 1000
                    self._line(
                        event.at, "", f"assistant silent {latency:.0f} ms after the caller's first word"
                    )
                    self._speech_started = None
            case Cleared():
                self._line(
                    event.at, "", f"{event.ms_dropped / 1000:.1f} s of the answer were thrown away unheard"
                )
            case Spoke():
                self._line(event.at, "Twilio", f'"{event.text}"')
            case ProtocolError():
                self._line(event.at, "Twilio", f"error {event.code}: {event.message}")
            case CallEnded():
                self._line(event.at, "phone", f"call over: {event.reason}")

    def model_event(self, session_id: str, kind: str, event: Mapping[str, Any]) -> None:
        """Tell what the model heard, said, and was told."""
        at = time.monotonic() - self._dialled_at
        match kind:
            case "conversation.item.input_audio_transcription.completed":
                self._line(at, "caller", f'"{event["transcript"] or "(not understood)"}"')
            case "response.output_audio_transcript.done":
                self._line(at, "assistant", f'"{event["transcript"]}"')
            case "conversation.item.truncate":
                heard = event["audio_end_ms"]
                self._line(at, "", f"the model is told that only {heard} ms of that answer were heard")

    def _line(self, at: float, who: str, text: str) -> None:
        head = f"{at:6.2f} s  {who:<9} "
        with self._lock:
            self._echo(
                textwrap.fill(text, LINE_WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
            )


def run_demo(output: Path, latency_ms: float, echo: Echo) -> CallResult:
    """A call to a server started for it, with an offline model: question, interruption, goodbye.

    Leaves a stereo WAV at `output`. Raises DemoError.
    """
    began = time.monotonic()
    rules = Rules.load()
    narrator = Narrator(echo)
    auth_token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchboard-")))
        voice = stack.enter_context(Voice(rules.phrases))
        model = stack.enter_context(
            OfflineModel(voice=voice, dialogue=lambda: Dialogue(rules), observer=narrator.model_event)
        )
        try:
            server = stack.enter_context(
                ServerProcess(_settings(model.url, auth_token, directory), directory)
            )
        except ServerError as error:
            raise DemoError(str(error)) from None
        echo(f"server     {server.url}, gunicorn with 2 workers, signatures checked")
        echo(f"model      {model.url}, hears with {voice.recognition}, speaks with {voice.synthesis}")
        phone = stack.enter_context(
            Phone(
                f"{server.url}/twiml",
                auth_token=auth_token,
                latency_ms=latency_ms,
                recording=output,
                speak=lambda text: b"".join(voice.speak(text)),
                on_event=narrator.phone_event,
            )
        )
        narrator.dial()
        result = _in_one_piece(phone, _converse)
    _summarise(result, echo)
    took = time.monotonic() - began
    echo(f"{output}: {result.seconds:.1f} s, caller left, assistant right; all in {took:.0f} s")
    return result


def run_call(
    file: Path, url: str, auth_token: str | None, output: Path, latency_ms: float, echo: Echo
) -> CallResult:
    """One call to any server: greeting, the speech in `file`, the answer. Raises DemoError."""
    narrator = Narrator(echo)
    try:
        speech = load_wav(file)
    except (OSError, ValueError) as error:
        raise DemoError(str(error)) from None
    with Phone(
        url, auth_token=auth_token, latency_ms=latency_ms, recording=output, on_event=narrator.phone_event
    ) as phone:
        narrator.dial()
        result = _in_one_piece(phone, lambda phone: _ask(phone, speech))
    _summarise(result, echo)
    echo(f"{output}: {result.seconds:.1f} s, caller left, assistant right")
    return result


def _in_one_piece(phone: Phone, conversation: Callable[[Phone], None]) -> CallResult:
    try:
        phone.dial()
        phone.await_assistant(PATIENCE_SECONDS)
        phone.await_silence(TURN_PAUSE_MS, PATIENCE_SECONDS)
        conversation(phone)
        phone.hang_up()
        return phone.await_end(PATIENCE_SECONDS)
    except (WebhookError, CallOverError, TimeoutError, OSError) as error:
        raise DemoError(f"the call did not work: {error}") from None


def _converse(phone: Phone) -> None:
    phone.say(load_wav(CALLER_SPEECH / "question.wav")).wait(PATIENCE_SECONDS)
    phone.await_assistant(PATIENCE_SECONDS)
    time.sleep(INTERRUPT_AFTER_SECONDS)
    _ask(phone, load_wav(CALLER_SPEECH / "interruption.wav"))
    _ask(phone, load_wav(CALLER_SPEECH / "goodbye.wav"))


def _ask(phone: Phone, speech: bytes) -> None:
    phone.say(speech).wait(PATIENCE_SECONDS)
    phone.await_assistant(PATIENCE_SECONDS)
    phone.await_silence(TURN_PAUSE_MS, 2 * PATIENCE_SECONDS)


def _summarise(result: CallResult, echo: Echo) -> None:
    for number, turn in enumerate(result.turns(), start=1):
        answer = "no answer" if turn.response_ms is None else f"answer after {turn.response_ms:.0f} ms"
        silence = "" if turn.silence_ms is None else f", interruption to silence {turn.silence_ms:.0f} ms"
        echo(f"turn {number}     {answer}{silence}")


def _settings(model_url: str, auth_token: str, directory: Path) -> dict[str, str]:
    port = free_port()
    return {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_AUTH_TOKEN": auth_token,
        "OPENAI_REALTIME_URL": model_url,
        "ASSISTANT": str(RUN.parent / "assistant.toml"),
        "DATABASE_URL": f"sqlite:///{directory / 'switchboard.db'}",
        "WORKERS": "2",
        "THREADS": "16",
    }


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
