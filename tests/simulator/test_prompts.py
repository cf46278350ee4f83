import json
import shutil
from pathlib import Path

import pytest

from simulator.prompts import AUDIO, PAUSE_MS, PIECE_BYTES, Prompts, prompt_sentences, render
from simulator.rules import Rules
from simulator.vad import level_dbfs
from wire.g711 import BYTES_PER_MS


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts.load()


@pytest.fixture(scope="module")
def written() -> dict[str, object]:
    index: dict[str, object] = json.loads((AUDIO / "prompts.json").read_text(encoding="utf-8"))
    return index


@pytest.mark.parametrize("line", Rules.load().lines, ids=lambda line: line[:20])
def test_every_line_of_the_shipped_dialogue_has_a_prompt(
    prompts: Prompts, written: dict[str, object], line: str
) -> None:
    assert all(sentence in written for sentence in prompt_sentences(line))
    speech = b"".join(prompts.speak(line, "marin", 1.0))
    assert len(line) * 40 < len(speech) / BYTES_PER_MS < len(line) * 130 + 1000
    assert level_dbfs(speech) > -35


def test_everything_shipped_is_small() -> None:
    assert sum(path.stat().st_size for path in AUDIO.rglob("*") if path.is_file()) < 1_500_000


def test_a_prompt_comes_in_pieces_of_80_ms_and_ends_with_a_pause() -> None:
    prompts = Prompts({"Hello.": b"\x01" * 1000})
    pieces = list(prompts.speak("hello", "marin", 1.0))
    assert b"".join(pieces) == b"\x01" * 1000 + b"\xff" * (PAUSE_MS * BYTES_PER_MS)
    assert {len(piece) for piece in pieces[:-1]} == {PIECE_BYTES}


def test_sentences_are_found_one_by_one() -> None:
    prompts = Prompts({"Hello.": b"\x01" * 100, "Goodbye!": b"\x02" * 100})
    speech = b"".join(prompts.speak("Goodbye! Hello.", "marin", 1.0))
    assert speech.strip(b"\xff").startswith(b"\x02" * 100)
    assert speech.strip(b"\xff").endswith(b"\x01" * 100)


def test_what_has_no_prompt_is_tones_as_long_as_its_text() -> None:
    prompts = Prompts({})
    short = b"".join(prompts.speak("one two", "marin", 1.0))
    long = b"".join(prompts.speak("one two one two one two", "marin", 1.0))
    pause = PAUSE_MS * BYTES_PER_MS
    assert len(long) - pause == 3 * (len(short) - pause)
    assert level_dbfs(short[: -pause or None]) > -20


def test_a_text_without_words_is_nothing() -> None:
    assert list(Prompts({}).speak(" ?! ", "marin", 1.0)) == []


def test_an_index_that_does_not_fit_the_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompts.ulaw").write_bytes(bytes(100))
    (tmp_path / "prompts.json").write_text(json.dumps({"Hello.": [50, 51]}))
    with pytest.raises(ValueError, match=r"outside of prompts\.ulaw"):
        Prompts.load(tmp_path)


@pytest.mark.skipif(shutil.which("flite") is None, reason="there is no flite program")
def test_prompts_can_be_rendered_anew(tmp_path: Path) -> None:
    size = render(["Hello there. How are you?", "Hello there."], tmp_path)
    speech = b"".join(Prompts.load(tmp_path).speak("How are you? Hello there.", "marin", 1.0))
    assert len(speech) == (tmp_path / "prompts.ulaw").stat().st_size + 2 * PAUSE_MS * BYTES_PER_MS
    assert size == (tmp_path / "prompts.ulaw").stat().st_size > 8000
    assert set(json.loads((tmp_path / "prompts.json").read_text())) == set(
        prompt_sentences("Hello there. How are you?")
    )
