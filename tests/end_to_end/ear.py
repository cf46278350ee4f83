"""The ear of a simulated caller: who was heard from when to when, told by the pitch of the tones they speak in."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from simulator.line import AUDIBLE_LEVEL
from wire.g711 import SAMPLE_RATE, decode_ulaw

_SIGNS = bytes(code >> 7 for code in range(256))
_AUDIBLE = bytes(
    abs(sample) >= AUDIBLE_LEVEL for sample in memoryview(decode_ulaw(bytes(range(256)))).cast("h")
)
_YES = b"\x01"

WHOLE_FRAME = 100
"""A frame with fewer audible samples has the end of a sound in it, and its pitch says little."""
JOINED_SECONDS = 0.2
"""Two sounds of one voice that are so close are one: a pause between words is no silence."""
FRAME_SECONDS = 0.03
"""Frames come every 20 ms."""
PATIENCE = 20.0


def pitch(ulaw: bytes) -> int:
    """Hz, as far as 20 ms tell."""
    signs = ulaw.translate(_SIGNS)
    crossings = signs.count(b"\x00\x01") + signs.count(b"\x01\x00")
    return round(crossings * SAMPLE_RATE / 2 / len(ulaw))


@dataclass(slots=True)
class Sound:
    """One stretch of one voice, in seconds since the call was dialled."""

    voice: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Ear:
    """`hear` runs in the call's thread, the rest in any."""

    def __init__(self, voices: dict[str, int]) -> None:
        """`voices`: the pitch of each, in Hz; at least 100 Hz apart."""
        self._voices = voices
        self._changed = threading.Condition()
        self._sounds: list[Sound] = []
        self._new: Sound | None = None
        self._until = 0.0
        self._over = False

    def hear(self, start: int, ulaw: bytes) -> None:
        """Take what was heard from that sample on."""
        audible = ulaw.translate(_AUDIBLE)
        first = audible.find(_YES)
        with self._changed:
            self._until = (start + len(ulaw)) / SAMPLE_RATE
            if first >= 0:
                last = audible.rfind(_YES) + 1
                whole = last - first >= WHOLE_FRAME
                voice = self._voice(pitch(ulaw[first:last])) if whole else None
                self._add(voice, (start + first) / SAMPLE_RATE, (start + last) / SAMPLE_RATE)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be heard."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def sounds(self) -> list[Sound]:
        with self._changed:
            return [Sound(each.voice, each.start, each.end) for each in self._sounds]

    @property
    def now(self) -> float:
        """Up to when it has heard."""
        with self._changed:
            return self._until

    def heard(self, voice: str, since: float = 0.0) -> float:
        """How much of that voice there was in the stretches which ended after `since`, in seconds.

        All together: a busy machine makes several of what was said in one.
        """
        return sum(each.seconds for each in self.sounds if each.voice == voice and each.end > since)

    def wait(self, happened: Callable[[], bool], what: str, timeout: float = PATIENCE) -> bool:
        """Wait until that is true. False: the call was over first. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._over or happened(), timeout):
                raise TimeoutError(f"not heard within {timeout} s: {what}; heard: {self._sounds}")
            return happened()

    def wait_for(self, voice: str, seconds: float, since: float = 0.0, timeout: float = PATIENCE) -> bool:
        """Wait for so much of that voice."""
        return self.wait(lambda: self.heard(voice, since) >= seconds, f"{seconds} s of {voice}", timeout)

    def wait_for_silence(self, seconds: float, timeout: float = PATIENCE) -> bool:
        """Wait until nothing has been heard for so long."""
        return self.wait(lambda: self._until - self._last >= seconds, f"{seconds} s of silence", timeout)

    @property
    def _last(self) -> float:
        return self._sounds[-1].end if self._sounds else 0.0

    def _voice(self, hertz: int) -> str:
        return min(self._voices, key=lambda voice: abs(self._voices[voice] - hertz))

    def _add(self, voice: str | None, start: float, end: float) -> None:
        # Where one voice follows another within a frame, its pitch is that of neither: a voice takes two frames.
        latest = self._sounds[-1] if self._sounds else None
        near = latest is not None and start - latest.end < (
            FRAME_SECONDS if voice is None else JOINED_SECONDS
        )
        if latest is not None and near and voice in (None, latest.voice):
            latest.end, self._new = end, None
            return
        new = self._new
        if new is None or start - new.end >= FRAME_SECONDS:
            self._new = Sound(voice or "", start, end)
        elif voice is not None and voice == new.voice:
            self._sounds.append(Sound(voice, new.start, end))
            self._new = None
        else:
            self._new = Sound(voice or "", new.start, end)
