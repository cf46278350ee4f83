"""One call to any server, told as it happens. It needs nothing but the phone: no model, no optional package."""

import time
from collections.abc import Callable
from pathlib import Path

from simulator.call_result import CallResult
from simulator.line import CallOverError
from simulator.narrator import LINE_WIDTH, Echo, Listen, Narrator
from simulator.phone import Phone
from simulator.wav import load_wav
from simulator.webhook import WebhookError
from wire.g711 import SAMPLE_RATE

PATIENCE_SECONDS = 15.0
"""For anything the other side has to do."""
TURN_PAUSE_MS = 700
"""Silence after which the assistant is taken to have finished."""


class DemoError(Exception):
    """The demonstration did not come to its end. The text says why."""


def run_call(
    file: Path,
    url: str,
    auth_token: str | None,
    output: Path,
    latency_ms: float,
    echo: Echo,
    patience: float = PATIENCE_SECONDS,
    *,
    listen: Listen | None = None,
    width: int = LINE_WIDTH,
) -> CallResult:
    """One call to any server: greeting, the speech in `file`, the answer. Raises DemoError.

    The speech and the answer may be of any length; `patience`, in seconds, is for silence where there should be
    sound. Leaves a stereo WAV at `output`. `listen` is told what is on the line, as by `Phone`; what is told about
    the call has lines of `width` characters.
    """
    check_options(output, latency_ms)
    try:
        speech = load_wav(file)
    except (OSError, ValueError) as error:
        raise DemoError(str(error)) from None
    narrator = Narrator(echo, width)
    with Phone(
        url,
        auth_token=auth_token,
        latency_ms=latency_ms,
        recording=output,
        on_event=narrator.phone_event,
        listen=listen,
    ) as phone:
        narrator.dial()
        result = hold(phone, lambda phone: ask(phone, speech, patience), patience)
    summarise(result, echo)
    echo(f"{output}: {result.seconds:.1f} s, caller left, assistant right")
    return result


def check_options(output: Path, latency_ms: float) -> None:
    """Raises DemoError if a call could not be made with these, before anything is started for it."""
    if not 0 <= latency_ms < float("inf"):
        raise DemoError(f"a latency of {latency_ms} ms is not possible; use 0 ms or more")
    existed = output.exists()
    try:
        output.open("ab").close()
    except OSError as error:
        raise DemoError(
            f"the recording cannot be written to {output}: {error.strerror}; choose another file with --output"
        ) from None
    if not existed:
        output.unlink()


def hold(
    phone: Phone, conversation: Callable[[Phone], None], patience: float = PATIENCE_SECONDS
) -> CallResult:
    """Dial, hear the greeting out, have the conversation, hang up. Raises DemoError."""
    try:
        phone.dial()
        phone.await_assistant(patience)
        hear_out(phone, patience)
        conversation(phone)
        phone.hang_up()
        return phone.await_end(PATIENCE_SECONDS)
    except (WebhookError, CallOverError, TimeoutError, OSError) as error:
        raise DemoError(f"the call did not work: {error}") from None


def ask(phone: Phone, speech: bytes, patience: float = PATIENCE_SECONDS) -> None:
    """Say it, mu-law at 8000 Hz, and hear the answer out. Raises what the phone raises."""
    say(phone, speech, patience)
    hear_out(phone, patience)


def say(phone: Phone, speech: bytes, patience: float = PATIENCE_SECONDS) -> None:
    """Say it, mu-law at 8000 Hz, and wait for the answer to begin. Raises what the phone raises.

    The answer may have come while the silence after the last word was still being said.
    """
    utterance = phone.say(speech)
    utterance.wait(len(speech) / SAMPLE_RATE + patience)
    phone.await_assistant(patience, since=utterance.speech_ended)


def hear_out(phone: Phone, patience: float = PATIENCE_SECONDS) -> None:
    """Wait until the assistant has finished, however long it speaks. Raises what the phone raises."""
    while True:
        began = time.monotonic()
        try:
            phone.await_silence(TURN_PAUSE_MS, patience)
        except TimeoutError:
            if not phone.heard_since(began):
                raise
        else:
            return


def summarise(result: CallResult, echo: Echo) -> None:
    """Print the latencies of each turn."""
    for number, turn in enumerate(result.turns(), start=1):
        answer = "no answer" if turn.response_ms is None else f"answer after {turn.response_ms:.0f} ms"
        silence = "" if turn.silence_ms is None else f", interruption to silence {turn.silence_ms:.0f} ms"
        echo(f"turn {number}     {answer}{silence}")
