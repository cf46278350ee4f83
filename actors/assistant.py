"""An assistant: what it is told to be, how it greets and sounds, when it takes its turn. One TOML file."""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from actors.call_context import CallContext
from actors.costs import CallLimits, Prices
from actors.dead_air import DeadAir
from actors.extension import load_function, load_listener, load_tool
from actors.listener import Listener
from actors.mcp import SECRETS, McpServers
from actors.outbound import Outbound
from actors.phone_tools import phone_tools
from actors.shipped import RecordingTable, TranscriptTable, WebhookTable, shipped_listeners
from actors.sound import SoundError, Sounds
from actors.table import DIRECTORY, LITERAL, PhoneNumber, Table, Text, Timezone
from actors.telephony import CallerSilenceTable, Telephony
from actors.tool import AnyTool
from actors.transcription import Transcription
from actors.turn_detection import TurnDetection
from actors.ways_out import Fallback, FallbackOrSentence, Overflow
from actors.webhook import EventBox, NoEventBox
from wire import variables
from wire.audio_format import PCMU, AudioFormat
from wire.dead_air import Limits
from wire.dialect import Session
from wire.false_start import Gating
from wire.instructions import ANNOUNCE, adding, quoted, word_for_word

VOICES = Literal["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"]
"""The Realtime API's voices. Others, even of the same maker's other products, give noise (protocol-gotchas 5)."""

VERSION_DIGITS = 12


class AssistantError(Exception):
    """The assistant's file cannot be used. The text names the file, every key in question and the fix."""


class Assistant(Table):
    """One assistant, as its file describes it, and, once it is one `for_call`, as one call has it."""

    name: str = Field(default="Assistant", min_length=1)
    numbers: tuple[PhoneNumber, ...] = ()
    """Those that it answers, where there are several assistants; none: all that no other one answers."""
    instructions: Text = Field(min_length=1)
    greeting: Text = Text()
    """Said word for word when the call is answered; empty lets the model greet in its own words."""
    greeting_kept: bool = True
    """A greeting without variables is played at once, in the voice that said it in an earlier call."""
    timezone: Timezone = "UTC"
    """Of where `{time}`, `{date}` and `{weekday}` are meant."""
    fallback: FallbackOrSentence = Fallback()
    overflow: Overflow = Overflow()
    outbound: Outbound | None = None
    """None: it makes no calls."""
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
    mcp: McpServers = ()
    """Servers with more of what the model may call."""
    build: str | None = None
    """Who is asked before each call what the assistant is to be for it, as "module:name"; see `actors.builds`."""
    build_seconds: float = Field(default=2.0, gt=0, le=5, allow_inf_nan=False)
    """How long a call waits for that at most; the caller hears nothing meanwhile."""
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
    _build: "Build | None" = PrivateAttr(None)
    _sounds: Sounds | None = PrivateAttr(None)
    _context: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, path: Path, secrets: Mapping[str, str] | None = None) -> "Assistant":
        """Read and check a file, with the sounds and the Python that it names. Raises AssistantError.

        `secrets`: the environment, in which are those that the file gives the names of.
        """
        context = {DIRECTORY: path.parent, SECRETS: secrets or {}}
        try:
            content = path.read_bytes()
            assistant = cls._checked(tomllib.loads(content.decode("utf-8")), context)
        except OSError as error:
            raise AssistantError(
                f"{path}: cannot be read: {error.strerror}. Set ASSISTANT to its path."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AssistantError(f"{path}: is not TOML: {error}") from None
        except AssistantError as error:
            raise AssistantError(f"{path}: {error}") from error
        assistant._version = hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
        return assistant

    @classmethod
    def _checked(cls, keys: Mapping[str, Any], context: dict[str, Any]) -> "Assistant":
        try:
            assistant = cls.model_validate(keys, context=context)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise AssistantError("; ".join(problems)) from None
        assistant._context = context
        directory = context.get(DIRECTORY, Path())
        try:
            tools = [load_tool(name, directory) for name in assistant.tools]
            assistant._listeners = tuple(load_listener(name, directory) for name in assistant.listeners)
            if assistant.build is not None:
                assistant._build = load_function(assistant.build, directory)
            silence = assistant.silence
            assistant._sounds = Sounds.load(assistant.language, silence.filler, silence.apology)
        except ValueError as error:
            raise AssistantError(str(error)) from error
        except SoundError as error:
            raise AssistantError(f"dead_air: {error}") from error
        built_in = phone_tools(assistant.telephony)
        assistant._tools = built_in | {each.name: each for each in tools}
        if len(assistant._tools) < len(built_in) + len(tools):
            raise AssistantError(
                "tools: two of them have the same name, or one has that of a tool of [telephony]; "
                "give it a name of its own"
            )
        return assistant

    def changed(self, **keys: Any) -> "Assistant":
        """The same with other values for some keys of its file; a table is given as a dict. For `build` functions.

        It is checked as a file is. Of an assistant `for_call`, texts mean what they say, and braces in them are
        braces. Raises AssistantError.
        """
        fields = type(self).model_fields.items()
        own = {field.alias or name: getattr(self, name) for name, field in fields}
        changed = self._checked(own | keys, self._context)
        changed._version = self._version
        return changed

    def for_call(self, context: CallContext, at: float) -> "Assistant":
        """The same with what is known of a call in its texts. `at`: when it begins, in seconds since 1970."""
        now = datetime.fromtimestamp(at, ZoneInfo(self.timezone))
        values = variables.of_call(context.caller, context.called, context.parameters, now)
        filled = self.filled(values)
        filled._context = self._context | {LITERAL: True}
        return filled

    @property
    def version(self) -> str:
        """Of the file: another content, another version. Empty for an assistant that comes from no file."""
        return self._version

    @property
    def builder(self) -> "Build | None":
        """The function that `build` names."""
        return self._build

    @property
    def sounds(self) -> Sounds:
        """What is played while the caller waits, and when something is wrong."""
        return self._sounds or Sounds.load(self.language, self.silence.filler, self.silence.apology)

    @property
    def sound_files(self) -> tuple[Path, ...]:
        """Those of its own."""
        return tuple(each for each in (self.silence.filler, self.silence.apology) if each is not None)

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
            tools=tuple(server.definition for server in self.mcp),
        )

    def greeting_instructions(self) -> str | None:
        """Instructions for the first response. They replace the session's; None: those say how to greet."""
        if self.greeting:
            return word_for_word(self._first_words)
        if not self._announcement:
            return None
        return adding(self.instructions, ANNOUNCE.format(quoted(self._announcement)))

    def fixed_greeting(self, in_file: "Assistant") -> str:
        """The first words of this one `for_call`, if every call with `in_file` begins with them; else empty."""
        if not (self.greeting_kept and self.greeting):
            return ""
        texts = (in_file._announcement, in_file.greeting)
        if any(isinstance(text, Text) and variables.has_any(text) for text in texts):
            return ""
        # A `build` may have made another one for this caller.
        common = variables.fill(in_file._first_words, {})
        return self._first_words if self._first_words == common else ""

    @property
    def _announcement(self) -> str:
        return "" if self.recording is None else self.recording.announcement

    @property
    def _first_words(self) -> str:
        return f"{self._announcement} {self.greeting}".strip()

    def calling(self) -> "Assistant":
        """What it is on calls that it makes itself."""
        if self.outbound is None or not self.outbound.greeting:
            return self
        return self.model_copy(update={"greeting": self.outbound.greeting})

    def gating(self) -> Gating:
        """What counts as an interruption."""
        return self.turn_detection.gating()

    def dead_air(self) -> Limits:
        """How long the caller waits for what while nothing is heard."""
        return self.silence.limits()


Build: TypeAlias = Callable[[Assistant, CallContext], Assistant | None]
"""What a `build` key names; see `actors.builds`."""
