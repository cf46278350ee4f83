"""The model: a session is opened at each endpoint and configured as a call's would be. Nothing is said in it."""

import threading
from dataclasses import dataclass, replace
from datetime import date

from actors.assistant import Assistant
from actors.model_socket import ModelSocketError
from config import ModelEndpoint
from web.doctor.verdict import Verdict, failed, ok, skipped, warning
from web.media import endpoint_of
from wire import errors, realtime
from wire.protocol import ProtocolError
from wire.realtime_parser import parse

SESSION_SECONDS = 15.0

SHUTDOWNS = {
    "gpt-realtime": date(2027, 1, 20),
    "gpt-realtime-2025-08-28": date(2027, 1, 20),
    "gpt-realtime-mini": date(2027, 1, 20),
    "gpt-realtime-mini-2025-12-15": date(2027, 1, 20),
    "gpt-audio-mini": date(2027, 1, 20),
    "gpt-audio-mini-2025-12-15": date(2027, 1, 20),
    "whisper-1": date(2027, 2, 26),
    "gpt-4o-transcribe": date(2027, 2, 26),
    "gpt-4o-mini-transcribe": date(2027, 2, 26),
    "gpt-4o-mini-transcribe-2025-12-15": date(2027, 2, 26),
    "gpt-4o-transcribe-diarize": date(2027, 2, 26),
}
"""When OpenAI ends a model. Source: openai-realtime.md, 0."""

_QUOTA = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "billing_hard_limit_reached",
    "account_deactivated",
}
_MODEL = {"model_not_found", "invalid_model"}


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a session."""

    ready: bool = False
    """It was created, and took the assistant's configuration."""
    error: realtime.Error | None = None
    """What the server refused with."""
    lost: str = ""
    """How the socket ended, or could not be opened."""
    formats: tuple[str, str] = ("", "")
    """The audio that it hears and speaks, as it says itself."""


def check_model(model: ModelEndpoint, assistant: Assistant, offline: bool, today: date) -> list[Verdict]:
    """`offline` says that there is no key, and that nothing is meant to be at the endpoint yet."""
    if offline:
        return [
            skipped(
                "model",
                "there is no OPENAI_API_KEY; serve starts the offline model, which understands little",
                "set OPENAI_API_KEY for the real one",
            )
        ]
    transcription = assistant.transcription
    names = (model.model, "" if transcription == "off" else transcription.model)
    endings = [judge_shutdown(name, today) for name in names]
    return [judge(model, open_session(model, assistant)), *filter(None, endings)]


def open_session(model: ModelEndpoint, assistant: Assistant) -> Opened:
    """Open one, configure it, close it: SESSION_SECONDS at most. Raises nothing that a server can cause."""
    endpoint = endpoint_of(model)
    session = assistant.session(endpoint.audio)
    tools = tuple(tool.definition for tool in assistant.callable_tools().values())
    session = replace(session, tools=(*session.tools, *tools))
    socket = endpoint.dial()
    overdue = threading.Timer(SESSION_SECONDS, socket.abort)
    overdue.start()
    error: realtime.Error | None = None
    try:
        socket.connect()
        while (event := _event(socket.receive())) is not None:
            match event:
                case realtime.SessionCreated():
                    socket.send(endpoint.dialect.session_update(session))
                case realtime.SessionUpdated(input_format=heard, output_format=spoken):
                    fits = all(map(session.audio.is_named, (heard, spoken)))
                    return Opened(ready=fits, formats=(heard, spoken))
                case realtime.Error():
                    error = event
                    if not errors.permanent(event):
                        break
        return Opened(error=error)
    except ModelSocketError as failure:
        late = not overdue.is_alive()
        return Opened(
            error=error, lost=f"no session within {SESSION_SECONDS:.0f} s" if late else str(failure)
        )
    except ProtocolError as failure:
        return Opened(error=error, lost=str(failure))
    finally:
        overdue.cancel()
        socket.close()
        socket.release()


def judge(model: ModelEndpoint, opened: Opened) -> Verdict:
    """What to do about it, by the code of the error, or by the words where there is none."""
    if opened.ready:
        return ok("model", f"{model.name} takes a session with this assistant")
    error, lost = opened.error, opened.lost
    said = f"{error.code or error.kind}: {error.message}" if error is not None else lost
    codes = {error.code, error.kind} if error is not None else set()
    text = f"{said} {lost}"
    if any(opened.formats):
        said, advice = (
            f"it speaks {' and '.join(opened.formats)}, not {model.audio}",
            "set OPENAI_REALTIME_AUDIO=pcm24 (OPENAI_SECOND_AUDIO for the second)",
        )
    elif codes & _QUOTA or "quota" in text:
        advice = "add credit or raise the limit at platform.openai.com, Billing"
    elif "invalid_api_key" in text or "status 401" in text:
        advice = "the key is not valid; give one of platform.openai.com, or on Azure one of that resource"
    elif "beta_api_shape_disabled" in text:
        advice = "the server takes the names of the general release only; set OPENAI_REALTIME_DIALECT=openai"
    elif codes & _MODEL or "status 404" in text:
        advice = "the model is not there, or not for this account; set OPENAI_REALTIME_MODEL (Azure: the deployment)"
    elif "status 403" in text:
        advice = "the key may not use it; allow the Realtime API for the key's project"
    elif "status 429" in text or "rate_limit_exceeded" in codes:
        advice = "too many sessions for this account; wait a minute, or ask for a higher limit"
    elif error is not None:
        advice = "the assistant's configuration is refused; correct what it names in the assistant's file"
    else:
        advice = "check OPENAI_REALTIME_URL, and that this machine reaches it (DNS, firewall, proxy)"
    return failed("model", f"{model.name}: {said}", advice)


def judge_shutdown(name: str, today: date) -> Verdict | None:
    """None if no end of that model is known."""
    if (end := SHUTDOWNS.get(name)) is None:
        return None
    transcribes = "transcribe" in name or "whisper" in name
    other = "gpt-transcribe, in [transcription]" if transcribes else "gpt-realtime-2.1, or 2.1-mini"
    if today >= end:
        return failed("model", f"{name} was shut down on {end}", f"use {other}")
    return warning("model", f"{name} is shut down on {end}, in {(end - today).days} days", f"use {other}")


def _event(text: str | None) -> realtime.Event | None:
    return realtime.Other("pong", {}) if text is None else parse(text)
