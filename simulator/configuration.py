"""The effective configuration of one Realtime session, and what a `session.update` changes of it.

Source: openai-realtime.md 3 and 4. An update changes the fields that are present and no others. Objects below
`audio.input` and `audio.output` are replaced whole, with defaults for what they leave out.
"""

import copy
import re
from collections.abc import Callable
from typing import Any

from simulator.refusal import RefusalError

_DEFAULT_INSTRUCTIONS = "You are a helpful assistant on the telephone. Answer in short spoken sentences."
_REASONING_MODEL = re.compile(r"gpt-realtime-2(\.\d+)?(-mini)?$")
_SEMANTIC_SILENCE_MS = {"high": 400, "medium": 800, "auto": 800, "low": 1600}
"""Our own: how long the detector waits in semantic_vad. The real one waits 2, 4 or 8 s at most."""

_LANGUAGE_MODELS = ("gpt-transcribe", "gpt-live-transcribe")
_FITS: dict[str, Callable[[str], bool]] = {
    "languages": lambda model: model in _LANGUAGE_MODELS,
    "keywords": lambda model: model in _LANGUAGE_MODELS,
    "prompt": lambda model: model not in ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize"),
    "delay": lambda model: model == "gpt-realtime-whisper",
}
"""Which transcription models take a field that not all of them take (openai-realtime.md 3.3)."""

_SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
    "idle_timeout_ms": None,
}
_SEMANTIC_VAD = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


class Configuration:
    """The session object as `session.created` and `session.updated` show it. One thread at a time."""

    def __init__(self, *, session_id: str, model: str, expires_at: int) -> None:
        """`expires_at` is in seconds since the epoch."""
        pcm = {"type": "audio/pcm", "rate": 24000}
        self._session: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": _DEFAULT_INSTRUCTIONS,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "expires_at": expires_at,
            "audio": {
                "input": {
                    "format": dict(pcm),
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": dict(_SERVER_VAD),
                },
                "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
            },
            "include": None,
        }

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of the whole session object."""
        return copy.deepcopy(self._session)

    def update(self, changes: dict[str, Any], *, has_spoken: bool) -> None:
        """Apply the `session` of a checked `session.update`, all of it or, with RefusalError, nothing.

        `has_spoken`: the assistant has produced audio in this conversation, which locks its voice.
        """
        audio_in = changes.get("audio", {}).get("input", {})
        audio_out = changes.get("audio", {}).get("output", {})
        self._refuse_what_is_fixed(changes, audio_out, has_spoken)
        _refuse_what_does_not_fit(audio_in.get("transcription") or {})
        _refuse_servers_that_are_nowhere(changes.get("tools", []))
        session = self._session
        session.update({name: value for name, value in changes.items() if name != "audio"})
        session["audio"]["input"].update(
            {name: self._completed(name, value) for name, value in audio_in.items()}
        )
        session["audio"]["output"].update(
            {name: self._completed(name, value) for name, value in audio_out.items()}
        )

    def _refuse_what_is_fixed(
        self, changes: dict[str, Any], audio_out: dict[str, Any], has_spoken: bool
    ) -> None:
        session = self._session
        if changes.get("model", session["model"]) != session["model"]:
            raise RefusalError(
                "invalid_value",
                f"The model of a session cannot be changed: it is '{session['model']}'.",
                "session.model",
            )
        # The real server refuses the field, not the change: an update that repeats the voice is refused too.
        if has_spoken and "voice" in audio_out:
            raise RefusalError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        if (
            session["tracing"] is not None
            and changes.get("tracing", session["tracing"]) != session["tracing"]
        ):
            raise RefusalError(
                "invalid_value", "Tracing cannot be changed once it is enabled.", "session.tracing"
            )
        for name in ("reasoning", "parallel_tool_calls"):
            if name in changes and not _REASONING_MODEL.match(session["model"]):
                raise RefusalError(
                    "invalid_value",
                    f"'session.{name}' needs a reasoning model; this session's is '{session['model']}'.",
                    f"session.{name}",
                )

    def _completed(self, name: str, value: Any) -> Any:
        if name == "turn_detection" and value is not None:
            return {**(_SERVER_VAD if value["type"] == "server_vad" else _SEMANTIC_VAD), **value}
        if name == "noise_reduction" and value is not None:
            now = self._session["audio"]["input"]["noise_reduction"] or {"strength": 1.0}
            return {"strength": now["strength"], **value}
        if name == "format" and value["type"] == "audio/pcm":
            return {"rate": 24000, **value}
        return value

    @property
    def input_format(self) -> str:
        """`audio/pcmu`, `audio/pcma` or `audio/pcm`."""
        return str(self._session["audio"]["input"]["format"]["type"])

    @property
    def output_format(self) -> dict[str, Any]:
        """The format object of the output."""
        return dict(self._session["audio"]["output"]["format"])

    @property
    def voice(self) -> Any:
        """A voice's name, or `{"id": …}` of a custom one."""
        return self._session["audio"]["output"]["voice"]

    @property
    def speed(self) -> float:
        """1.0 is the voice's own speed."""
        return float(self._session["audio"]["output"]["speed"])

    @property
    def transcription(self) -> dict[str, Any] | None:
        """The transcription object, None when it is off."""
        transcription = self._session["audio"]["input"]["transcription"]
        return None if transcription is None else dict(transcription)

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """The turn detection with all its fields, None when the client marks the turns."""
        detection = self._session["audio"]["input"]["turn_detection"]
        return None if detection is None else dict(detection)

    @property
    def detector(self) -> dict[str, Any] | None:
        """What the voice activity detector is made with: threshold, prefix_padding_ms, silence_duration_ms."""
        detection = self.turn_detection
        if detection is None:
            return None
        if detection["type"] == "semantic_vad":
            silence_ms = _SEMANTIC_SILENCE_MS[detection["eagerness"]]
            return {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": silence_ms}
        return {name: detection[name] for name in ("threshold", "prefix_padding_ms", "silence_duration_ms")}

    def __getitem__(self, name: str) -> Any:
        """Return a top-level field of the session object."""
        return self._session[name]


_PLACES = ("server_url", "connector_id", "tunnel_id")
"""Of an MCP server: one of them must be given (the SDK's docstrings)."""


def _refuse_servers_that_are_nowhere(tools: list[dict[str, Any]]) -> None:
    for index, tool in enumerate(tools):
        if tool["type"] == "mcp" and not any(tool.get(place) for place in _PLACES):
            raise RefusalError(
                "missing_required_parameter",
                f"One of {', '.join(map(repr, _PLACES))} must be provided for the MCP server "
                f"'{tool['server_label']}'.",
                f"session.tools.{index}.server_url",
            )


def _refuse_what_does_not_fit(transcription: dict[str, Any]) -> None:
    for name, fits in _FITS.items():
        if name in transcription and not fits(transcription["model"]):
            raise RefusalError(
                "invalid_value",
                f"'{name}' is not supported by the transcription model '{transcription['model']}'.",
                f"session.audio.input.transcription.{name}",
            )
