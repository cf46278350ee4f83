"""What a session needs of its ears, mouth and mind. Provided by `voice`, `vad` and `dialogue`, or by `script`."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.faults import Faults
from simulator.vad import SpeechStarted, SpeechStopped, VoiceActivity


class Hearing(Protocol):
    """The recognition of one utterance. Audio is mu-law at 8000 Hz."""

    def feed(self, ulaw: bytes) -> None: ...
    def finish(self) -> str: ...
    def cancel(self) -> None: ...


class Voice(Protocol):
    """Recognition and synthesis, shared by all sessions and used from all their threads."""

    def listen(self) -> Hearing: ...
    def speak(self, text: str, *, voice: str = "marin", speed: float = 1.0) -> Iterator[bytes]: ...


class Detector(Protocol):
    """Voice activity detection over one stream of audio; times are ms of all audio it was ever fed."""

    def feed(self, ulaw: bytes) -> list[SpeechStarted | SpeechStopped]: ...


class DetectorFactory(Protocol):
    """Makes the detector of a session, anew whenever the session's turn detection changes."""

    def __call__(self, *, threshold: float, prefix_padding_ms: int, silence_duration_ms: int) -> Detector: ...


class Call(Protocol):
    """A function that the assistant wants called; `arguments` is JSON text."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> str: ...


class Reply(Protocol):
    """What the assistant does next. An attribute `audio` (mu-law), where there is one, is said as it is.

    `cut_short`, where there is one, is why the response ends as incomplete when that has been said.
    """

    @property
    def text(self) -> str: ...
    @property
    def calls(self) -> Sequence[Call]: ...


class Dialogue(Protocol):
    """The mind of one session. Never used by two threads at once."""

    def reply(self, heard: str, tools: Collection[str] = ()) -> Reply: ...
    def after_tool(self, name: str, output: str) -> Reply: ...
    def follow(self, instructions: str) -> Reply: ...


DialogueFactory = Callable[[], Dialogue]


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply, or several joined: said in one message, followed by the function calls.

    `audio` is mu-law at 8000 Hz; None means that `text` is synthesised. `cut_short` is the reason, such as
    `content_filter`, for which the response ends as incomplete behind them.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    audio: bytes | None = None
    cut_short: str = ""

    @classmethod
    def join(cls, replies: Iterable[Reply]) -> "Answer":
        """Return one answer that says everything the replies say, in order."""
        every = list(replies)
        audio = [getattr(reply, "audio", None) for reply in every]
        return cls(
            text=" ".join(reply.text for reply in every if reply.text),
            calls=tuple(call for reply in every for call in reply.calls),
            audio=b"".join(filter(None, audio)) if any(audio) else None,
            cut_short=next(filter(None, (getattr(reply, "cut_short", "") for reply in every)), ""),
        )


Observer = Callable[[str, str, Mapping[str, Any]], None]
"""Told of every event in a session but the caller's audio: session id, event type, the event. Client events come
from the session's reader thread, server events from its writer thread as they are written."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How speech is sent: `pace` times as fast as it plays, `delta_ms` of it in a delta.

    Of a response that is cancelled while it is spoken, up to `late_deltas` more deltas are sent before its
    `response.done`, so after `speech_started` (openai-realtime.md 7, protocol-gotchas 11).
    """

    pace: float = 8.0
    delta_ms: int = 200
    late_deltas: int = 1

    def __post_init__(self) -> None:
        if self.pace <= 0 or self.delta_ms <= 0:
            raise ValueError(f"pace and delta_ms are above 0, not {self.pace} and {self.delta_ms}")
        if self.late_deltas < 0:
            raise ValueError(f"late_deltas is 0 or more, not {self.late_deltas}")


@dataclass(frozen=True, slots=True)
class Equipment:
    """All that a session is given. `clock` is in seconds and monotonic; `session_seconds` is the longest session.

    With `remember` a session keeps all that it received, for a test to look at; without, its memory stays small.
    """

    voice: Voice
    dialogue: DialogueFactory
    faults: Faults
    detector: DetectorFactory = VoiceActivity
    delivery: Delivery = Delivery()
    session_seconds: int = 3600
    clock: Callable[[], float] = time.monotonic
    observer: Observer | None = None
    remember: bool = True
