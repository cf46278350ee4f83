"""Who answers at a number of the simulated phone network, and what answering-machine detection makes of it.

`after_s` counts from the first ring; `detected_s` and `hangs_up_s` from the answer. All audio is mu-law at 8000 Hz.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from simulator.tone import BEEP_HZ, BEEP_MS, FAX_HZ, tone
from wire.g711 import SAMPLE_RATE

_CERTAIN_S = 0.1
"""How long after the end of a beep it counts as over."""

AnsweredBy = Literal[
    "human", "machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax", "unknown"
]
DetectionMode = Literal["Enable", "DetectMessageEnd"]

_END_SILENCE_S = 1.2
"""MachineDetectionSpeechEndThreshold: the silence after which a greeting without a beep counts as over."""


@dataclass(frozen=True, slots=True)
class Person:
    """Picks up and says `says`. With `unknown`, detection cannot tell."""

    after_s: float = 0.0
    says: bytes = b""
    detected_s: float = 0.2
    unknown: bool = False
    hangs_up_s: float | None = None

    def speech(self) -> bytes:
        return self.says

    def verdict(self, mode: DetectionMode) -> tuple[AnsweredBy, float]:
        """What detection says and how many seconds after the answer."""
        return ("unknown" if self.unknown else "human"), self.detected_s


@dataclass(frozen=True, slots=True)
class Machine:
    """Plays `greeting`, beeps if it does, and records what comes."""

    after_s: float = 0.0
    greeting: bytes | None = None
    """None is a second of a plain tone."""
    beep: bool = True
    detected_s: float = 0.2
    hangs_up_s: float | None = None

    def speech(self) -> bytes:
        return self._greeting() + (tone(BEEP_HZ, BEEP_MS) if self.beep else b"")

    def verdict(self, mode: DetectionMode) -> tuple[AnsweredBy, float]:
        """As with a person."""
        if mode == "Enable":
            return "machine_start", self.detected_s
        if self.beep:
            return "machine_end_beep", len(self.speech()) / SAMPLE_RATE + _CERTAIN_S
        return "machine_end_silence", len(self.speech()) / SAMPLE_RATE + _END_SILENCE_S

    def _greeting(self) -> bytes:
        return _plain_greeting() if self.greeting is None else self.greeting


@dataclass(frozen=True, slots=True)
class Fax:
    """Answers with the tone of a fax machine."""

    after_s: float = 0.0
    detected_s: float = 0.2
    hangs_up_s: float | None = None

    def speech(self) -> bytes:
        return tone(FAX_HZ, 2000)

    def verdict(self, mode: DetectionMode) -> tuple[AnsweredBy, float]:
        """As with a person."""
        return "fax", self.detected_s


@dataclass(frozen=True, slots=True)
class Busy:
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Rings until the order's timeout, or until the network gives up after `after_s`."""

    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Cannot be reached, or rejects: `sip_code` 404 is no such number, 603 declined."""

    after_s: float = 0.0
    sip_code: int = 404


Answering: TypeAlias = Person | Machine | Fax
Callee: TypeAlias = Answering | Busy | NoAnswer | Failed


@cache
def _plain_greeting() -> bytes:
    return tone(440, 1000)
