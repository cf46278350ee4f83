"""An assistant: what it is told to be, how it greets and sounds, when it takes its turn. One TOML file."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from wire.audio_format import PCMU, AudioFormat
from wire.dialect import Session

VOICES = Literal["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"]
"""The Realtime API's voices. Others, even of the same maker's other products, give noise (protocol-gotchas 5)."""

KEYWORD_MODELS = ("gpt-transcribe", "gpt-live-transcribe")


class AssistantError(Exception):
    """The assistant's file cannot be used. The text names the file, every key in question and the fix."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TurnDetection(_Table):
    """When the server takes the caller's turn to begin and to be over."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0, le=1)
    """How loud speech must be, 0 to 1; server_vad only."""
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    """Audio kept from before the detected start, in ms; server_vad only."""
    silence_duration_ms: int = Field(default=500, ge=100, le=10_000)
    """Silence that ends a turn, in ms; server_vad only."""
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """How soon a turn is taken to be over; semantic_vad only."""
    interrupt: bool = True
    """Whether the caller's speech stops the assistant's."""

    def api(self) -> dict[str, Any]:
        """The API's `turn_detection` object."""
        common = {"type": self.type, "create_response": True, "interrupt_response": self.interrupt}
        if self.type == "semantic_vad":
            return common | {"eagerness": self.eagerness}
        return common | {
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }


class Transcription(_Table):
    """Recognition of the caller's words, for the log; the model itself listens to the audio."""

    model: str = "gpt-transcribe"
    keywords: list[str] = []
    """Names and terms that a recogniser would not guess."""

    @field_validator("keywords")
    @classmethod
    def _check_keywords(cls, keywords: list[str], info: ValidationInfo) -> list[str]:
        # From any other model the whole session.update would be refused, with the instructions in it.
        if keywords and (model := info.data.get("model")) not in KEYWORD_MODELS:
            raise ValueError(f"model {model} takes none; only {' and '.join(KEYWORD_MODELS)} do")
        return keywords


class Assistant(_Table):
    """One assistant, as its file describes it."""

    name: str = Field(default="Assistant", min_length=1)
    instructions: str = Field(min_length=1)
    greeting: str = ""
    """Said word for word when the call is answered; empty lets the model greet in its own words."""
    fallback: str = Field(
        default="We are sorry, our assistant cannot take your call right now. Please try again later.",
        min_length=1,
    )
    """Spoken by Twilio when the assistant cannot be reached, and after a call that broke."""
    voice: VOICES = "marin"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)
    language: str = Field(default="en", pattern="^[a-z]{2}$")
    """ISO 639-1; what the caller is expected to speak, and the language of `fallback`."""
    noise_reduction: Literal["near_field", "far_field", "off"] = "near_field"
    turn_detection: TurnDetection = TurnDetection()
    transcription: Transcription | Literal["off"] = Transcription()

    @classmethod
    def load(cls, path: Path) -> "Assistant":
        """Read and check a file. Raises AssistantError."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise AssistantError(
                f"{path}: cannot be read: {error.strerror}. Set ASSISTANT to its path."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AssistantError(f"{path}: is not TOML: {error}") from None
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise AssistantError(f"{path}: " + "; ".join(problems)) from None

    def session(self, audio: AudioFormat = PCMU) -> Session:
        """What the model session is configured with. `audio` is the server's business, not the assistant's."""
        transcription = self.transcription
        return Session(
            instructions=self.instructions,
            voice=self.voice,
            speed=self.speed,
            audio=audio,
            noise_reduction=None if self.noise_reduction == "off" else self.noise_reduction,
            turn_detection=self.turn_detection.api(),
            transcription=None
            if transcription == "off"
            else {"model": transcription.model, "language": self.language}
            | ({"keywords": transcription.keywords} if transcription.keywords else {}),
        )

    def greeting_instructions(self) -> str | None:
        """Instructions for the first response. They replace the session's, so they need nothing of them."""
        if not self.greeting:
            return None
        return f'Say exactly these words to the caller and then stop: "{self.greeting}"'
