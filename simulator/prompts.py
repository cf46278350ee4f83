"""Speech rendered beforehand: every line of the shipped dialogue, for machines that have no synthesizer.

`audio/prompts.ulaw` holds the sentences one after the other, 8000 Hz mu-law; `audio/prompts.json` says which bytes
are which. `python -m simulator.prompts` renders both anew with flite. What has no prompt is played as tones, one a
word: nobody takes them for speech, and a call goes on.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wire.g711 import BYTES_PER_MS, ULAW_SILENCE, encode_ulaw

AUDIO = Path(__file__).with_name("audio")
PIECE_BYTES = 80 * BYTES_PER_MS
PAUSE_MS = 200
TONE_MS_PER_CHARACTER = 60
"""Close to the length of the text's speech: English speech has about 15 characters a second."""

_GAP_MS = 60
_TONES_HZ = (440, 550)
_TONE_PEAK = 8000
_RAMP_MS = 5

_SENTENCE = re.compile(r"[^.!?]+[.!?]*")


class Prompts:
    """The shipped prompts. Immutable, so that any number of threads may use it."""

    name = "prompts"

    def __init__(self, speech: Mapping[str, bytes]) -> None:
        self._speech = {_key(sentence): audio for sentence, audio in speech.items()}

    @classmethod
    def load(cls, folder: Path = AUDIO) -> "Prompts":
        """The prompts in this folder. Raises OSError if they are missing, ValueError if the index is wrong."""
        audio = (folder / "prompts.ulaw").read_bytes()
        index = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
        speech = {}
        for sentence, (start, size) in index.items():
            if not 0 <= start <= start + size <= len(audio):
                raise ValueError(
                    f"prompts.json places {sentence!r} outside of prompts.ulaw; render both anew"
                )
            speech[sentence] = audio[start : start + size]
        return cls(speech)

    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        """Pieces of 80 ms of mu-law. There is one voice and one speed."""
        for sentence in prompt_sentences(text):
            audio = self._speech.get(_key(sentence))
            if audio is None:
                audio = b"".join(_tones(sentence))
            audio += ULAW_SILENCE * (PAUSE_MS * BYTES_PER_MS)
            for start in range(0, len(audio), PIECE_BYTES):
                yield audio[start : start + PIECE_BYTES]


def prompt_sentences(text: str) -> list[str]:
    """What a text is looked up by."""
    return [sentence.strip() for sentence in _SENTENCE.findall(text) if _key(sentence)]


def _key(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.lower()))


def _tones(sentence: str) -> Iterator[bytes]:
    for number, word in enumerate(sentence.split()):
        yield _tone(_TONES_HZ[number % len(_TONES_HZ)], len(word) * TONE_MS_PER_CHARACTER)
        yield ULAW_SILENCE * (_GAP_MS * BYTES_PER_MS)


def _tone(frequency_hz: int, length_ms: int) -> bytes:
    count = length_ms * BYTES_PER_MS
    ramp = _RAMP_MS * BYTES_PER_MS
    turn = 2 * math.pi * frequency_hz / (1000 * BYTES_PER_MS)
    samples = [
        round(_TONE_PEAK * min(1.0, at / ramp, (count - at) / ramp) * math.sin(turn * at))
        for at in range(count)
    ]
    return encode_ulaw(struct.pack(f"<{count}h", *samples))


def render(texts: Iterable[str], folder: Path) -> int:
    """Renders every sentence of the texts into the folder and returns the bytes of audio.

    Raises OSError without the flite program, RuntimeError if it fails.
    """
    from simulator.synthesizer import open_flite

    flite = open_flite()
    audio = bytearray()
    index = {}
    for sentence in dict.fromkeys(sentence for text in texts for sentence in prompt_sentences(text)):
        speech = b"".join(flite.speak(sentence, "ash", 1.0))
        index[sentence] = [len(audio), len(speech)]
        audio += speech
    (folder / "prompts.ulaw").write_bytes(audio)
    (folder / "prompts.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return len(audio)


if __name__ == "__main__":
    from simulator.rules import Rules

    print(f"{render(Rules.load().lines, AUDIO)} bytes of speech in {AUDIO / 'prompts.ulaw'}")
