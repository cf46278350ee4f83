"""Recognition of the dialogue's phrases on 8000 Hz mu-law. Runs in the voice process only.

pocketsphinx holds the GIL while it decodes, and its free dictation is useless on telephone audio: so it decodes a
grammar, in a process of its own (offline-engine.md, 2). Beside the phrases the grammar has a loop of single
phonemes. Speech that is none of the phrases, and noise, fit the loop better and count as not understood. The
word insertion penalty sets the price of the loop. Chosen on the 49 shipped phrases and 24 foreign sentences in
three flite voices: 1 of 147 phrases lost, 10 of 72 foreign sentences taken for the phrase they resemble, no noise.
"""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from simulator.resample import LineUpsampler
from wire.g711 import decode_ulaw

ENGINES = ("pocketsphinx",)

_PHONEMES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
)
_PHONEME_MARK = "_"
_WORD_INSERTION_PENALTY = 0.01
_MOST_IDLE_DECODERS = 4
_TELEPHONE_CEPSTRAL_MEAN = "39.57,5.05,0.48,13.30,-2.38,2.40,-2.47,1.46,-7.80,6.13,-3.25,6.63,-0.22"
"""Of flite speech through mu-law. Decoders go on adapting it to what they hear."""


class Utterance(Protocol):
    """The recognition of one utterance."""

    def feed(self, ulaw: bytes) -> None: ...
    def finish(self) -> str: ...
    def cancel(self) -> None: ...


class Recognizer(Protocol):
    """Makes utterances, any number at the same time. `unknown_words` are those that it cannot recognise."""

    name: str
    unknown_words: tuple[str, ...]

    def utterance(self) -> Utterance: ...


class NoRecognizer:
    """Understands nothing: every utterance is the empty text."""

    name = "none"
    unknown_words: tuple[str, ...] = ()

    def utterance(self) -> Utterance:
        return _Unheard()


class PhraseRecognizer:
    """pocketsphinx with a grammar of the phrases, which are words in small letters.

    A phrase with a word that the pronunciation dictionary lacks is left out, and its unknown words are kept in
    `unknown_words`. Raises ImportError without pocketsphinx, ValueError when no phrase can be recognised.
    Each utterance has a decoder to itself, which takes 7 ms to make and 12 MB after some use; four are kept.
    """

    name = "pocketsphinx"

    def __init__(self, phrases: Sequence[str]) -> None:
        import pocketsphinx

        self._pocketsphinx = pocketsphinx
        self._model = Path(pocketsphinx.get_model_path()) / "en-us"
        wanted = {word for phrase in phrases for word in phrase.split()}
        self._pronunciations = _pronunciations(self._model / "cmudict-en-us.dict", wanted)
        known = {line.split(None, 1)[0] for line in self._pronunciations}
        self.unknown_words = tuple(sorted(wanted - known))
        self._phrases = [phrase for phrase in phrases if phrase.split() and known.issuperset(phrase.split())]
        if not self._phrases:
            raise ValueError("none of the phrases can be recognised: the dictionary has not all words of any")
        self._idle = [self._decoder()]

    def utterance(self) -> Utterance:
        decoder = self._idle.pop() if self._idle else self._decoder()
        decoder.start_utt()
        return _Decoding(decoder, self._idle)

    def _decoder(self) -> Any:
        with tempfile.TemporaryDirectory(prefix="recognizer-") as folder:
            dictionary = Path(folder, "words.dict")
            dictionary.write_text("\n".join([*self._pronunciations, *_phoneme_words(), ""]), encoding="ascii")
            grammar = Path(folder, "phrases.jsgf")
            grammar.write_text(_grammar(self._phrases), encoding="ascii")
            return self._pocketsphinx.Decoder(
                hmm=os.fspath(self._model / "en-us"),
                dict=os.fspath(dictionary),
                lm=None,
                jsgf=os.fspath(grammar),
                bestpath=False,  # it takes up to 419 ms at the end of an utterance
                wip=_WORD_INSERTION_PENALTY,
                cmninit=_TELEPHONE_CEPSTRAL_MEAN,
                loglevel="FATAL",
            )


def open_recognizer(engines: Sequence[str], phrases: Sequence[str]) -> tuple[Recognizer, str]:
    """The first of the engines that works, or the one that understands nothing; and why the others do not."""
    problems = []
    for engine in engines:
        if engine != PhraseRecognizer.name:
            raise ValueError(f"recognition engines are {', '.join(ENGINES)}, not {engine!r}")
        try:
            return PhraseRecognizer(phrases), ""
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            problems.append(f"{engine}: {error}")
    return NoRecognizer(), "; ".join(problems)


class _Unheard:
    def feed(self, ulaw: bytes) -> None:
        pass

    def finish(self) -> str:
        return ""

    def cancel(self) -> None:
        pass


class _Decoding:
    def __init__(self, decoder: Any, idle: list[Any]) -> None:
        self._decoder = decoder
        self._idle = idle
        self._upsampler = LineUpsampler()

    def feed(self, ulaw: bytes) -> None:
        if ulaw:  # the decoder raises IndexError for an empty piece
            self._decoder.process_raw(self._upsampler.feed(decode_ulaw(ulaw)))

    def finish(self) -> str:
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        self._put_back()
        text = hypothesis.hypstr if hypothesis else ""
        return "" if text.startswith(_PHONEME_MARK) else text

    def cancel(self) -> None:
        # A decoder that refuses to end is not put back.
        with contextlib.suppress(RuntimeError):
            self._decoder.end_utt()
            self._put_back()

    def _put_back(self) -> None:
        if len(self._idle) < _MOST_IDLE_DECODERS:
            self._idle.append(self._decoder)


def _pronunciations(dictionary: Path, wanted: set[str]) -> list[str]:
    """The dictionary's lines for these words; further pronunciations are marked as in "the(2)"."""
    with dictionary.open(encoding="utf-8") as lines:
        return [line.strip() for line in lines if line.split(None, 1)[0].split("(")[0] in wanted]


def _phoneme_words() -> list[str]:
    return [f"{_PHONEME_MARK}{phoneme.lower()} {phoneme}" for phoneme in _PHONEMES.split()]


def _grammar(phrases: Sequence[str]) -> str:
    phonemes = " | ".join(_PHONEME_MARK + phoneme.lower() for phoneme in _PHONEMES.split())
    return (
        "#JSGF V1.0;\n"
        "grammar telephone;\n"
        f"<phrase> = {' | '.join(phrases)};\n"
        f"<phoneme> = {phonemes};\n"
        "public <utterance> = /0.5/ <phrase> | /0.5/ <phoneme>+;\n"
    )
