"""What one response is made with: the session's configuration with the fields of `response.create` over it."""

from dataclasses import dataclass
from typing import Any

from simulator.configuration import Configuration


@dataclass(frozen=True, slots=True)
class ResponseSettings:
    """Fixed when the response is created (openai-realtime.md 5.3); a later `session.update` is for the next one."""

    modalities: list[str]
    format: dict[str, Any]
    voice: Any
    speed: float
    max_output_tokens: int | str
    instructions: str
    tools: list[dict[str, Any]]
    tool_choice: Any
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, configuration: Configuration, fields: dict[str, Any]) -> "ResponseSettings":
        """Return the settings of a checked `response` object."""
        output = fields.get("audio", {}).get("output", {})
        audio_format = dict(output.get("format", configuration.output_format))
        if audio_format["type"] == "audio/pcm":
            audio_format["rate"] = 24000
        return cls(
            modalities=fields.get("output_modalities", configuration["output_modalities"]),
            format=audio_format,
            voice=output.get("voice", configuration.voice),
            speed=configuration.speed,
            max_output_tokens=fields.get("max_output_tokens", configuration["max_output_tokens"]),
            instructions=fields.get("instructions", configuration["instructions"]),
            tools=fields.get("tools", configuration["tools"]),
            tool_choice=fields.get("tool_choice", configuration["tool_choice"]),
            metadata=fields.get("metadata"),
        )
