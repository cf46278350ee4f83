"""Text to speech as 8000 Hz mu-law, with the best engine there is: espeak-ng, flite, or prompts rendered beforehand.

Speech is made sentence by sentence and piece by piece, as it is asked for: many texts can be spoken in turns by one
thread, and none waits for another's length.
"""

import re
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from simulator import espeak
from simulator.prompts import Prompts
from simulator.resample import Downsampler
from wire.g711 import SAMPLE_RATE, encode_ulaw

PIECE_MS = 80
"""About the length of a piece of speech; the first and the last of a sentence may be shorter."""

_LONGEST_SENTENCE = 400
_FLITE_SECONDS = 20
_FLITE_VOICES = {"alloy": "slt", "coral": "slt", "marin": "slt", "sage": "slt", "shimmer": "slt"}
_FLITE_OTHER_VOICE = "rms"

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")
_NOT_SPOKEN = re.compile(r"[\x00-\x1f\x7f]+")


class Synthesizer(Protocol):
    """Speaks any number of texts in turns, in one thread. `name` is what the user is told."""

    @property
    def name(self) -> str: ...

    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        """Pieces of mu-law, made as they are asked for. RuntimeError or OSError says why there are no more."""
        ...


class SentenceSynthesizer:
    """Any engine that turns one sentence into 16-bit mono PCM: `pcm(sentence, voice, speed)` gives it with its rate.

    Used by one thread at a time.
    """

    def __init__(self, name: str, pcm: Callable[[str, str, float], tuple[bytes, int]]) -> None:
        self.name = name
        self._pcm = pcm

    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        for sentence in sentences(text):
            pcm, rate = self._pcm(sentence, voice, speed)
            yield from _pieces(pcm, rate)


def sentences(text: str) -> list[str]:
    """The text's sentences without control characters. One longer than 400 characters is cut between words,
    because a sentence is made in one go and nobody else is served meanwhile."""
    found = []
    for sentence in _SENTENCE_END.split(_NOT_SPOKEN.sub(" ", text).strip()):
        rest = sentence
        while len(rest) > _LONGEST_SENTENCE:
            cut = rest.rfind(" ", 1, _LONGEST_SENTENCE)
            cut = cut if cut > 0 else _LONGEST_SENTENCE
            found.append(rest[:cut])
            rest = rest[cut:].lstrip()
        if rest:
            found.append(rest)
    return found


def open_synthesizer(engines: Sequence[str]) -> tuple[Synthesizer, str]:
    """The first of the engines that works, or the prompts; and why the ones before it do not.

    Raises ValueError for a name that is no engine.
    """
    problems: list[str] = []
    for engine in engines:
        if engine not in _OPENERS:
            raise ValueError(f"synthesis engines are {', '.join(ENGINES)}, not {engine!r}")
        try:
            return _OPENERS[engine](), "; ".join(problems)
        except (ImportError, OSError, RuntimeError) as error:
            problems.append(f"{engine}: {error}")
    return Prompts.load(), "; ".join(problems)


def _pieces(pcm: bytes, rate: int) -> Iterator[bytes]:
    size = 2 * rate * PIECE_MS // 1000
    if rate == SAMPLE_RATE:
        for start in range(0, len(pcm), size):
            yield encode_ulaw(pcm[start : start + size])
        return
    downsampler = Downsampler(rate, SAMPLE_RATE)
    for start in range(0, len(pcm), size):
        yield encode_ulaw(downsampler.feed(pcm[start : start + size]))
    yield encode_ulaw(downsampler.flush())


def _espeak(library: espeak.Espeak) -> Synthesizer:
    return SentenceSynthesizer(
        "espeak-ng", lambda text, voice, speed: (library.pcm(text, voice, speed), library.rate)
    )


def open_flite() -> Synthesizer:
    """The flite program. Raises OSError if there is none."""
    program = shutil.which("flite")
    if program is None:
        raise OSError("there is no flite program on the path")
    return SentenceSynthesizer(
        "flite", lambda text, voice, speed: flite_pcm(program, text, _flite_voice(voice), speed)
    )


def _flite_voice(voice: str) -> str:
    return _FLITE_VOICES.get(voice, _FLITE_OTHER_VOICE)


def flite_pcm(program: str, text: str, flite_voice: str, speed: float) -> tuple[bytes, int]:
    """One sentence from the flite program: 16-bit mono PCM and its rate in Hz, in 60 to 160 ms.

    Raises RuntimeError with what flite said, OSError if it cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="flite-") as folder:
        file = Path(folder, "speech.wav")
        stretch = f"duration_stretch={1 / max(speed, 0.1):.3f}"
        command = [program, "-voice", flite_voice, "--setf", stretch, "-t", text, "-o", str(file)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_FLITE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"flite took more than {_FLITE_SECONDS} s") from error
        if done.returncode != 0 or not file.exists():
            raise RuntimeError(f"flite failed: {done.stderr.decode(errors='replace').strip()[:200]}")
        with wave.open(str(file)) as speech:
            return speech.readframes(speech.getnframes()), speech.getframerate()


_OPENERS: Mapping[str, Callable[[], Synthesizer]] = {
    "espeakng-loader": lambda: _espeak(espeak.wheel()),
    "libespeak-ng": lambda: _espeak(espeak.system()),
    "flite": open_flite,
    "prompts": Prompts.load,
}
ENGINES = tuple(_OPENERS)
"""Best first: the wheel's espeak-ng, the system's, the flite program, the shipped prompts."""
