import random
import struct
import wave
from pathlib import Path

import pytest

from simulator.recognizer import NoRecognizer, PhraseRecognizer, open_recognizer
from simulator.rules import Rules
from wire.g711 import ULAW_SILENCE, encode_ulaw

pytest.importorskip("pocketsphinx")

FRAME = 160
CALLER = Path(__file__).parents[2] / "simulator/audio/caller"
SAID = {
    "question": "what does a full service include",
    "interruption": "what are your opening hours",
    "order": "is my bicycle ready",
    "price": "how much does it cost",
    "repeat": "what did you say",
    "person": "can i speak to a person",
    "goodbye": "thank you goodbye",
}


def caller(name: str) -> bytes:
    with wave.open(str(CALLER / f"{name}.wav")) as speech:
        assert speech.getparams()[:3] == (1, 2, 8000)
        return encode_ulaw(speech.readframes(speech.getnframes()))


@pytest.fixture(scope="module")
def recognizer() -> PhraseRecognizer:
    return PhraseRecognizer(Rules.load().phrases)


def heard(recognizer: PhraseRecognizer, ulaw: bytes) -> str:
    utterance = recognizer.utterance()
    for start in range(0, len(ulaw), FRAME):
        utterance.feed(ulaw[start : start + FRAME])
    return utterance.finish()


def test_every_word_of_the_shipped_dialogue_is_in_the_dictionary(recognizer: PhraseRecognizer) -> None:
    assert recognizer.unknown_words == ()


def test_every_shipped_caller_has_a_text() -> None:
    assert {path.stem for path in CALLER.glob("*.wav")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_a_shipped_caller_is_understood_exactly_by_a_fresh_decoder(name: str) -> None:
    assert heard(PhraseRecognizer(Rules.load().phrases), caller(name)) == SAID[name]


def test_shipped_callers_are_understood_exactly_one_after_the_other(recognizer: PhraseRecognizer) -> None:
    names = [*SAID, *reversed(SAID)]
    assert [heard(recognizer, caller(name)) for name in names] == [SAID[name] for name in names]


def test_callers_who_speak_at_the_same_time_are_kept_apart(recognizer: PhraseRecognizer) -> None:
    utterances = {name: recognizer.utterance() for name in SAID}
    speech = {name: caller(name) for name in SAID}
    for start in range(0, max(map(len, speech.values())), FRAME):
        for name, utterance in utterances.items():
            utterance.feed(speech[name][start : start + FRAME])
    assert {name: utterance.finish() for name, utterance in utterances.items()} == SAID


@pytest.mark.parametrize("dbfs", [None, -50, -30])
def test_silence_and_noise_are_not_understood(recognizer: PhraseRecognizer, dbfs: float | None) -> None:
    generator = random.Random(7)
    peak = 0.0 if dbfs is None else 32768 * 10 ** (dbfs / 20)
    audio = encode_ulaw(struct.pack("<12000h", *(round(generator.gauss(0, peak)) for _ in range(12000))))
    assert heard(recognizer, audio) == ""


def test_foreign_speech_is_not_understood() -> None:
    recognizer = PhraseRecognizer(["hold on", "where is the workshop"])
    assert heard(recognizer, caller("question")) == ""


def test_an_utterance_without_audio_is_not_understood(recognizer: PhraseRecognizer) -> None:
    assert recognizer.utterance().finish() == ""


def test_a_cancelled_utterance_leaves_nothing_to_the_next(recognizer: PhraseRecognizer) -> None:
    utterance = recognizer.utterance()
    utterance.feed(caller("goodbye"))
    utterance.cancel()
    assert heard(recognizer, caller("order")) == SAID["order"]


def test_a_phrase_with_an_unknown_word_is_left_out_and_the_word_reported() -> None:
    recognizer = PhraseRecognizer(["hello switchboardium", "is my bicycle ready"])
    assert recognizer.unknown_words == ("switchboardium",)
    assert heard(recognizer, caller("order")) == SAID["order"]


def test_phrases_of_unknown_words_only_leave_no_recognizer() -> None:
    recognizer, problem = open_recognizer(["pocketsphinx"], ["qwrtz"])
    assert isinstance(recognizer, NoRecognizer)
    assert "none of the phrases" in problem


def test_no_recognizer_understands_nothing() -> None:
    recognizer, problem = open_recognizer([], ["hello"])
    utterance = recognizer.utterance()
    utterance.feed(ULAW_SILENCE)
    assert (recognizer.name, problem, utterance.finish()) == ("none", "", "")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'ear'"):
        open_recognizer(["ear"], ["hello"])
