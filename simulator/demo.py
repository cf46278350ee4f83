"""The demonstration: a whole conversation with a server and an offline model of its own, told as it happens."""

import contextlib
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from simulator.call_result import CallResult
from simulator.dialogue import Dialogue
from simulator.narrated_call import DemoError, ask, check_options, hold, say, summarise
from simulator.narrator import LINE_WIDTH, Echo, Listen, Narrator
from simulator.phone import Phone
from simulator.rules import Rules
from simulator.server_process import ServerError, ServerProcess, server_settings
from simulator.voice import Voice
from simulator.wav import load_wav

__all__ = ["CALLER_SPEECH", "DemoError", "run_demo"]

CALLER_SPEECH = Path(__file__).parent / "audio" / "caller"
INTERRUPT_AFTER_SECONDS = 3.0


def run_demo(
    output: Path,
    latency_ms: float,
    echo: Echo,
    *,
    listen: Listen | None = None,
    width: int = LINE_WIDTH,
) -> CallResult:
    """A call to a server started for it, with an offline model: question, interruption, goodbye.

    Leaves a stereo WAV at `output`. `listen` and `width` are as with `run_call`. Raises DemoError.
    """
    check_options(output, latency_ms)
    try:
        from simulator.realtime import OfflineModel
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise DemoError(f"{package} is missing; install it with: pip install -e '.[offline]'") from None
    began = time.monotonic()
    rules = Rules.load()
    narrator = Narrator(echo, width)
    auth_token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_leaving_on_sigterm())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchboard-")))
        voice = stack.enter_context(Voice(rules.phrases))
        model = stack.enter_context(
            OfflineModel(voice=voice, dialogue=lambda: Dialogue(rules), observer=narrator.model_event)
        )
        settings = server_settings(model.url, auth_token, directory)
        try:
            server = stack.enter_context(ServerProcess(settings, directory))
        except ServerError as error:
            raise DemoError(str(error)) from None
        echo(f"server     {server.url}, gunicorn with {settings['WORKERS']} workers, signatures checked")
        echo(f"model      {model.url}, hears with {voice.recognition}, speaks with {voice.synthesis}")
        phone = stack.enter_context(
            Phone(
                f"{server.url}/twiml",
                auth_token=auth_token,
                latency_ms=latency_ms,
                recording=output,
                speak=lambda text: b"".join(voice.speak(text)),
                on_event=narrator.phone_event,
                listen=listen,
            )
        )
        narrator.dial()
        result = hold(phone, _converse)
    summarise(result, echo)
    took = time.monotonic() - began
    echo(f"{output}: {result.seconds:.1f} s, caller left, assistant right; all in {took:.0f} s")
    return result


def _converse(phone: Phone) -> None:
    say(phone, load_wav(CALLER_SPEECH / "question.wav"))
    time.sleep(INTERRUPT_AFTER_SECONDS)
    ask(phone, load_wav(CALLER_SPEECH / "interruption.wav"))
    ask(phone, load_wav(CALLER_SPEECH / "goodbye.wav"))


@contextlib.contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM an exception, so that the server is stopped and the folder removed as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def leave(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut the clearing up short
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
