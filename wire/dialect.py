"""How servers that speak the Realtime protocol differ: address, header, session configuration, format names.

This is the only place that knows. `openai` is the GA API. `azure` is the same API at Azure's address, with
Azure's header. `beta` serves servers which still use the names that OpenAI shut down on 2026-05-12.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from wire.audio_format import PCMU, AudioFormat
from wire.event_json import encode


@dataclass(frozen=True, slots=True)
class Session:
    """What a model session is configured with."""

    instructions: str
    voice: str
    turn_detection: Mapping[str, Any]
    """the API's own object: `type` and the fields of that type"""
    transcription: Mapping[str, Any] | None = None
    """the API's own object, or None for no transcription of the caller"""
    noise_reduction: str | None = None
    """near_field, far_field or None"""
    speed: float = 1.0
    """of the voice, 0.25 to 1.5"""
    tools: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """an MCP server's may hold its secret"""
    audio: AudioFormat = PCMU
    """both ways"""

    @property
    def interruptible(self) -> bool:
        """Whether the server stops talking when the caller starts."""
        return bool(self.turn_detection.get("interrupt_response", True))

    @property
    def answers_turns(self) -> bool:
        """Whether the server begins a response by itself when the caller's turn is over."""
        return bool(self.turn_detection.get("create_response", True))


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of speaking the protocol."""

    name: str
    headers: Callable[[str], tuple[str, ...]]
    """HTTP headers of the upgrade for an API key"""
    describe: Callable[[Session], dict[str, Any]]
    """the `session` object of `session.update`"""
    detect: Callable[[Mapping[str, Any] | None], dict[str, Any]]
    """the same of an update of turn detection alone"""

    def address(self, url: str, model: str) -> str:
        """The socket's address: `url` is without query; Azure takes its deployment's name as the model."""
        return f"{url}?model={quote(model, safe='')}"

    def session_update(self, session: Session) -> str:
        """The `session.update` event. It states every field: an omitted one would keep a server's default."""
        return encode({"type": "session.update", "session": self.describe(session)})

    def turn_detection_update(self, turn_detection: Mapping[str, Any] | None) -> str:
        """A `session.update` of nothing but turn detection; None: there is none any more.

        Never with the voice: the whole would be refused.
        """
        return encode({"type": "session.update", "session": self.detect(turn_detection)})


def _ga_session(session: Session) -> dict[str, Any]:
    noise_reduction = session.noise_reduction
    return {
        "type": "realtime",
        "instructions": session.instructions,
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": session.audio.ga,
                "noise_reduction": {"type": noise_reduction} if noise_reduction else None,
                "transcription": session.transcription,
                "turn_detection": session.turn_detection,
            },
            "output": {"format": session.audio.ga, "voice": session.voice, "speed": session.speed},
        },
        "tools": session.tools,
        "tool_choice": "auto",
    }


def _beta_session(session: Session) -> dict[str, Any]:
    noise_reduction = session.noise_reduction
    return {
        "instructions": session.instructions,
        "modalities": ["audio", "text"],
        "voice": session.voice,
        "speed": session.speed,
        "input_audio_format": session.audio.beta,
        "output_audio_format": session.audio.beta,
        "input_audio_noise_reduction": {"type": noise_reduction} if noise_reduction else None,
        "input_audio_transcription": session.transcription,
        "turn_detection": session.turn_detection,
        "tools": session.tools,
        "tool_choice": "auto",
    }


def _ga_detection(turn_detection: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}


def _beta_detection(turn_detection: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"turn_detection": turn_detection}


OPENAI = Dialect("openai", lambda key: (f"Authorization: Bearer {key}",), _ga_session, _ga_detection)
AZURE = Dialect("azure", lambda key: (f"api-key: {key}",), _ga_session, _ga_detection)
BETA = Dialect(
    "beta",
    lambda key: (f"Authorization: Bearer {key}", "OpenAI-Beta: realtime=v1"),
    _beta_session,
    _beta_detection,
)

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (OPENAI, AZURE, BETA)}
