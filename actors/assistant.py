"""An assistant: what it is told to be, how it greets and sounds, when it takes its turn. One TOML file."""

import hashlib
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from actors.costs import CallLimits, Prices
from actors.extension import load_listener, load_tool
from actors.listener import Listener
from actors.phone_tools import phone_tools
from actors.shipped import RecordingTable, TranscriptTable, WebhookTable, shipped_listeners
from actors.table import DIRECTORY, SoundFile, Table
from actors.telephony import CallerSilenceTable, Telephony
from actors.tool import AnyTool
from actors.turn_detection import TurnDetection
from actors.ways_out import Fallback, FallbackOrSentence, Overflow
from actors.webhook import EventBox, NoEventBox
from wire.audio_format import PCMU, AudioFormat
from wire.dead_air import Limits
from wire.dialect import Session
from wire.false_start import Gating
from wire.instructions import word_for_word

VOICES = Literal["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"]
"""The Realtime API's voices. Others, even of the same maker's other products, give noise (protocol-gotchas 5)."""

KEYWORD_MODELS = ("gpt-transcribe", "gpt-live-transcribe")

VERSION_DIGITS = 12

_LIMITS = Limits()


class AssistantError(Exception):
    """The assistant's file cannot be used. The text names the file, every key in question and the fix."""


class Transcription(Table):
    """Recognition of the caller's words, for the log; the model itself listens to the audio."""

    model: str = "gpt-transcribe"
    keywords: list[str] = Field(default=[])
    """Names and terms that a recogniser would not guess."""

    @field_validator("keywords")
    @classmethod
    def _check_keywords(cls, keywords: list[str], info: ValidationInfo) -> list[str]:
        # From any other model the whole session.update would be refused, with the instructions in it.
        if keywords and (model := info.data.get("model")) not in KEYWORD_MODELS:
            raise ValueError(f"model {model} takes none; only {' and '.join(KEYWORD_MODELS)} do")
        return keywords


class DeadAir(Table):
    """What is done, and when, while it is the assistant's turn and the caller hears nothing. Times are in seconds."""

    filler_seconds: float = Field(default=_LIMITS.filler_seconds or 0.0, ge=0, le=60)
    """Silence before the caller hears the filler; 0: never."""
    again_seconds: float = Field(default=_LIMITS.again_seconds or 0.0, ge=0, le=60)
    """Silence between fillers, until the apology; 0: there is only one."""
    recover_seconds: float = Field(default=_LIMITS.recover_seconds, gt=0, le=60)
    """From the filler to a new session with the model."""
    apologise_seconds: float = Field(default=_LIMITS.apologise_seconds, gt=0, le=60)
    """From there to the apology."""
    give_up_seconds: float = Field(default=_LIMITS.give_up_seconds, gt=0, le=60)
    """From the apology to the fallback."""
    filler: SoundFile | None = None
    """Instead of the one that is shipped."""
    apology: SoundFile | None = None
    """Instead of the one that is shipped."""


class Assistant(Table):
    """One assistant, as its file describes it."""

    name: str = Field(default="Assistant", min_length=1)
    instructions: str = Field(min_length=1)
    greeting: str = ""
    """Said word for word when the call is answered; empty lets the model greet in its own words."""
    fallback: FallbackOrSentence = Fallback()
    overflow: Overflow = Overflow()
    voice: VOICES = "marin"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)
    language: str = Field(default="en", pattern="^[a-z]{2}$")
    """ISO 639-1; what the caller is expected to speak, and the language of `fallback` and `overflow`."""
    noise_reduction: Literal["near_field", "far_field", "off"] = "near_field"
    turn_detection: TurnDetection = TurnDetection()
    transcription: Transcription | Literal["off"] = Transcription()
    silence: DeadAir = Field(default=DeadAir(), alias="dead_air")
    tools: tuple[str, ...] = ()
    """What the model may call, each as "module:name" of a function with `@tool`; beside this file, or installed."""
    listeners: tuple[str, ...] = ()
    """Who is told what happens in a call, each as "module:name" of a `Listener`."""
    prices: Prices | None = None
    """None: what a call costs is not known."""
    telephony: Telephony = Telephony()
    caller_silence: CallerSilenceTable = CallerSilenceTable()
    limits: CallLimits = CallLimits()
    recording: RecordingTable | None = None
    """None: calls are not recorded."""
    transcript: TranscriptTable | None = None
    """None: calls are not written down in files."""
    webhook: WebhookTable | None = None
    """None: nobody is told what happens in calls."""

    _version: str = PrivateAttr("")
    _tools: dict[str, AnyTool] = PrivateAttr(default_factory=dict)
    _listeners: tuple[type[Listener], ...] = PrivateAttr(())

    @classmethod
    def load(cls, path: Path) -> "Assistant":
        """Read and check a file. Raises AssistantError."""
        try:
            content = path.read_bytes()
            assistant = cls.model_validate(
                tomllib.loads(content.decode("utf-8")), context={DIRECTORY: path.parent}
            )
        except OSError as error:
            raise AssistantError(
                f"{path}: cannot be read: {error.strerror}. Set ASSISTANT to its path."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AssistantError(f"{path}: is not TOML: {error}") from None
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise AssistantError(f"{path}: " + "; ".join(problems)) from None
        try:
            tools = [load_tool(name, path.parent) for name in assistant.tools]
            assistant._listeners = tuple(load_listener(name, path.parent) for name in assistant.listeners)
        except ValueError as error:
            raise AssistantError(f"{path}: {error}") from None
        built_in = phone_tools(assistant.telephony)
        assistant._tools = built_in | {each.name: each for each in tools}
        if len(assistant._tools) < len(built_in) + len(tools):
            raise AssistantError(
                f"{path}: tools: two of them have the same name, or one has that of a tool of [telephony]; "
                "give it a name of its own"
            )
        assistant._version = hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
        return assistant

    @property
    def version(self) -> str:
        """Of the file: another content, another version. Empty for an assistant that comes from no file."""
        return self._version

    def callable_tools(self) -> dict[str, AnyTool]:
        """The tools, by the name that the model knows."""
        return dict(self._tools)

    def listener_classes(
        self,
        folder: Path = Path("recordings"),
        kept_days: float | None = None,
        events: EventBox | None = None,
    ) -> tuple[type[Listener], ...]:
        """The listeners of every call. `folder`: for files, kept so long; `events`: sends them to the webhook."""
        box = events or NoEventBox()
        shipped = shipped_listeners(self.recording, self.transcript, self.webhook, folder, kept_days, box)
        return shipped + self._listeners

    @field_validator("transcription")
    @classmethod
    def _check_transcription(
        cls, value: Transcription | Literal["off"], info: ValidationInfo
    ) -> Transcription | Literal["off"]:
        turn_detection = info.data.get("turn_detection")
        if value == "off" and turn_detection is not None and turn_detection.resume:
            raise ValueError(
                "turn_detection.resume needs it: without words nobody knows that there were none"
            )
        return value

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, value: CallLimits, info: ValidationInfo) -> CallLimits:
        if value.budget is not None and info.data.get("prices", "unknown") is None:
            raise ValueError("budget needs [prices]: without them nobody knows what a call costs")
        return value

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
        return word_for_word(self.greeting)

    def gating(self) -> Gating:
        """What counts as an interruption."""
        return self.turn_detection.gating()

    def dead_air(self) -> Limits:
        """How long the caller waits for what while nothing is heard."""
        silence = self.silence
        return Limits(
            filler_seconds=silence.filler_seconds,
            again_seconds=silence.again_seconds,
            recover_seconds=silence.recover_seconds,
            apologise_seconds=silence.apologise_seconds,
            give_up_seconds=silence.give_up_seconds,
        )
