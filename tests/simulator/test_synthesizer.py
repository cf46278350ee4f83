import math
import shutil
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.synthesizer import ENGINES, SentenceSynthesizer, flite_pcm, open_synthesizer, sentences
from simulator.vad import level_dbfs


class Hum:
    """An engine that hums 300 Hz for 50 ms a character, and counts the sentences it was asked for."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sentences: list[str] = []

    def __call__(self, text: str, voice: str, speed: float) -> tuple[bytes, int]:
        self.sentences.append(text)
        count = self.rate * len(text) // 20
        turn = 2 * math.pi * 300 / self.rate
        return struct.pack(
            f"<{count}h", *(round(9000 * math.sin(turn * at)) for at in range(count))
        ), self.rate


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_any_rate_becomes_mu_law_of_the_same_length_and_level(rate: int) -> None:
    speech = b"".join(SentenceSynthesizer("hum", Hum(rate)).speak("Twenty characters ok", "marin", 1.0))
    assert len(speech) == pytest.approx(8000, abs=2)
    assert level_dbfs(speech[400:-400]) == pytest.approx(
        20 * math.log10(9000 / 32768 / math.sqrt(2)), abs=0.3
    )


def test_speech_is_made_sentence_by_sentence_and_in_pieces_of_80_ms() -> None:
    hum = Hum(22050)
    pieces = SentenceSynthesizer("hum", hum).speak("One sentence. And two.", "marin", 1.0)
    assert hum.sentences == []
    assert 560 <= len(next(pieces)) <= 640
    assert hum.sentences == ["One sentence."]
    assert all(len(piece) <= 641 for piece in pieces)
    assert hum.sentences == ["One sentence.", "And two."]


def test_a_text_of_nothing_is_nothing() -> None:
    assert sentences(" \n ") == []


@given(st.text(), st.integers(1, 40))
def test_cutting_into_sentences_loses_no_character_that_is_spoken(text: str, times: int) -> None:
    cut = sentences(text * times)
    assert all(0 < len(sentence) <= 400 for sentence in cut)
    spoken = "".join(character for character in text * times if character >= " " and character != "\x7f")
    assert "".join("".join(cut).split()) == "".join(spoken.split())


def test_a_long_sentence_is_cut_between_words() -> None:
    text = "word " * 200
    assert {word for sentence in sentences(text) for word in sentence.split()} == {"word"}
    assert len(sentences(text)) == 3


@pytest.mark.skipif(shutil.which("flite") is None, reason="there is no flite program")
def test_flite_speaks_and_obeys_the_speed() -> None:
    synthesizer, problem = open_synthesizer(["flite"])
    assert (synthesizer.name, problem) == ("flite", "")
    normal, slow = (
        b"".join(synthesizer.speak("Where is the workshop?", "ash", speed)) for speed in (1.0, 0.5)
    )
    assert 8000 < len(normal) < 24000
    assert len(slow) > 1.6 * len(normal)
    assert level_dbfs(normal) > -35


@pytest.mark.skipif(shutil.which("flite") is None, reason="there is no flite program")
def test_a_flite_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="flite failed"):
        flite_pcm("/bin/false", "Hello.", "rms", 1.0)


def test_without_an_engine_the_prompts_speak() -> None:
    synthesizer, _problem = open_synthesizer([])
    assert synthesizer.name == "prompts"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'mouth'"):
        open_synthesizer(["mouth"])


def test_the_engines_are_tried_best_first() -> None:
    assert ENGINES == ("espeakng-loader", "libespeak-ng", "flite", "prompts")


def broken(text: str, voice: str, speed: float) -> tuple[bytes, int]:
    raise RuntimeError(f"cannot say {text!r}")


def test_an_engine_that_fails_gives_its_reason_to_who_listens() -> None:
    pieces: Iterator[bytes] = SentenceSynthesizer("broken", broken).speak("Hello.", "marin", 1.0)
    with pytest.raises(RuntimeError, match=r"cannot say 'Hello\.'"):
        next(pieces)
