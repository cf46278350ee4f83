"""A dialogue, a voice and a detector that do exactly what they are told: tones for speech, no engine, no chance.

For tests of everything that talks to the offline model: `OfflineModel(**Script(...).equipment())`.
"""

import math
import threading
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from simulator.vad import SpeechStarted, SpeechStopped
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SAMPLE_RATE, ULAW_SILENCE, encode_ulaw

MS_PER_CHARACTER = 60
"""How long the scripted voice takes over a character."""

_LOUD = frozenset(code for code in range(256) if (code & 0x7F) < 0x40)
"""The mu-law codes above about 1000 of 32768."""


def tone(duration_ms: int, hertz: int = 440) -> bytes:
    """Return a loud tone as mu-law at 8000 Hz: speech, for the scripted detector."""
    step = 2 * math.pi * hertz / SAMPLE_RATE
    samples = array("h", (round(8000 * math.sin(step * n)) for n in range(duration_ms * BYTES_PER_MS)))
    return encode_ulaw(samples.tobytes())


def silence(duration_ms: int) -> bytes:
    """Return silence as mu-law at 8000 Hz."""
    return ULAW_SILENCE * (duration_ms * BYTES_PER_MS)


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A function call."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """What the assistant does; `audio` (mu-law at 8000 Hz) is said as it is, in place of `text` in tones.

    With `cut_short`, a reason, it breaks off behind that: the response is incomplete.
    """

    text: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    audio: bytes | None = None
    cut_short: str = ""


class LevelDetector:
    """Speech begins with the first loud frame of 20 ms and ends with the last of `silence_duration_ms`."""

    def __init__(self, *, threshold: float, prefix_padding_ms: int, silence_duration_ms: int) -> None:
        self._prefix_ms = prefix_padding_ms
        self._silence_ms = silence_duration_ms
        self._pending = bytearray()
        self._fed_ms = 0
        self._quiet_ms: int | None = None

    def feed(self, ulaw: bytes) -> list[SpeechStarted | SpeechStopped]:
        """Return what changed during this audio."""
        events: list[SpeechStarted | SpeechStopped] = []
        self._pending += ulaw
        while len(self._pending) >= FRAME_BYTES:
            loud = not _LOUD.isdisjoint(self._pending[:FRAME_BYTES])
            del self._pending[:FRAME_BYTES]
            self._fed_ms += FRAME_MS
            if loud and self._quiet_ms is None:
                events.append(SpeechStarted(max(self._fed_ms - FRAME_MS - self._prefix_ms, 0)))
            if loud:
                self._quiet_ms = 0
            elif self._quiet_ms is not None:
                self._quiet_ms += FRAME_MS
                if self._quiet_ms >= self._silence_ms:
                    self._quiet_ms = None
                    events.append(SpeechStopped(self._fed_ms))
        return events


class Script:
    """What the caller is understood to say, and what the assistant says to it, one after the other.

    `heard`: the text of each utterance (an exception is raised by the recogniser); after the last one, "".
    `replies`: strings, replies, or exceptions to raise; after the last one, "Yes?". One script can serve many
    sessions, which then share it. `asked` is what the dialogue was asked, for assertions: (method, arguments).
    """

    def __init__(
        self,
        replies: Iterable[str | ScriptedReply | Exception] = (),
        heard: Iterable[str | Exception] = (),
    ) -> None:
        self._lock = threading.Lock()
        self._replies = deque(replies)
        self._heard = deque(heard)
        self.asked: list[tuple[Any, ...]] = []
        self.spoken: list[tuple[str, str, float]] = []
        """The text, voice and speed of everything that was synthesised."""

    def equipment(self) -> dict[str, Any]:
        """Return the arguments that make an OfflineModel follow this script."""
        return {"voice": self, "dialogue": lambda: self, "detector": LevelDetector}

    def reply(self, heard: str, tools: Collection[str] = ()) -> ScriptedReply:
        """The dialogue's answer to the caller."""
        return self._next("reply", heard, tuple(tools))

    def after_tool(self, name: str, output: str) -> ScriptedReply:
        """The dialogue's answer to a function's result."""
        return self._next("after_tool", name, output)

    def follow(self, instructions: str) -> ScriptedReply:
        """The dialogue's answer to instructions."""
        return self._next("follow", instructions)

    def listen(self) -> "ScriptedHearing":
        """The voice's recognition: the next utterance of the script is taken when it finishes."""
        return ScriptedHearing(self._understand)

    def speak(self, text: str, *, voice: str = "marin", speed: float = 1.0) -> Iterator[bytes]:
        """The voice's synthesis: a tone of 60 ms a character."""
        self.spoken.append((text, voice, speed))
        yield from (tone(MS_PER_CHARACTER) for _ in text)

    def _understand(self) -> str:
        with self._lock:
            text = self._heard.popleft() if self._heard else ""
        if isinstance(text, Exception):
            raise text
        return text

    def _next(self, *question: Any) -> ScriptedReply:
        with self._lock:
            self.asked.append(question)
            reply = self._replies.popleft() if self._replies else "Yes?"
        if isinstance(reply, Exception):
            raise reply
        return ScriptedReply(reply) if isinstance(reply, str) else reply


class ScriptedHearing:
    """One utterance. `audio` is what it was fed."""

    def __init__(self, understand: Callable[[], str]) -> None:
        self._understand = understand
        self.audio = bytearray()
        self.cancelled = threading.Event()

    def feed(self, ulaw: bytes) -> None:
        """Take mu-law at 8000 Hz."""
        self.audio += ulaw

    def finish(self) -> str:
        """Return the script's text, or raise the script's exception."""
        return self._understand()

    def cancel(self) -> None:
        """Nothing to give up; noted."""
        self.cancelled.set()
