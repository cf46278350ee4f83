"""What of the messages in a call is worth an event in its journal, and in which words."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from actors.messages import (
    AnsweredBy,
    DigitPressed,
    PauseRecording,
    RecordingBegan,
    RecordingFailed,
    Say,
    StartRecording,
    StopRecording,
    ToolFinished,
    TranscriptBegan,
)
from wire.latency import InterruptionLatency, TurnLatency


def journal_note(message: object) -> tuple[str, Mapping[str, Any]] | None:
    """Kind and data of the event; None: there is none."""
    match message:
        case TurnLatency():
            return "answered", asdict(message) | {"answer_ms": message.answer_ms}
        case InterruptionLatency():
            return "interrupted", asdict(message) | {"silence_ms": message.silence_ms}
        case ToolFinished(name=name, seconds=seconds, failed=failed):
            return "tool", {"name": name, "seconds": seconds, "failed": failed}
        case DigitPressed():
            return "key pressed", {}  # which one may be part of a card number
        case AnsweredBy(verdict=verdict):
            return "answered by", {"verdict": verdict}
        case Say():
            return "told to say something", {}
        case RecordingBegan(path=path, began_at=began_at):
            # In seconds since 1970: who plays it later knows no other clock.
            began = time.time() - time.monotonic() + began_at
            return "recording", {"path": path, "began_at": round(began, 3)}
        case RecordingFailed(path=path, reason=reason):
            return "recording failed", {"path": path, "reason": reason}
        case StartRecording():
            return "recording started", {}
        case PauseRecording():
            return "recording paused", {}
        case StopRecording():
            return "recording stopped", {}
        case TranscriptBegan(path=path):
            return "transcript", {"path": path}
        case _:
            return None
