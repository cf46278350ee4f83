"""An assistant's file: the shipped one works, and each mistake is named with its key."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from openai.types.realtime import SessionUpdateEvent

from actors.assistant import Assistant, AssistantError
from tests.wire.test_dialect import unknown_fields
from wire.dialect import OPENAI

SHIPPED = Path(__file__).parents[2] / "assistant.toml"
LEAST = 'instructions = "Be brief."\n'


def load(tmp_path: Path, text: str) -> Assistant:
    path = tmp_path / "assistant.toml"
    path.write_text(text, encoding="utf-8")
    return Assistant.load(path)


def test_the_shipped_assistant_loads_and_says_what_it_is() -> None:
    assistant = Assistant.load(SHIPPED)
    assert assistant.name == "Tailwind bicycle workshop"
    assert "Tailwind" in assistant.instructions
    assert assistant.greeting
    assert assistant.fallback


def test_the_session_of_the_shipped_assistant_is_one_that_the_sdk_knows() -> None:
    update = SessionUpdateEvent.model_validate_json(OPENAI.session_update(Assistant.load(SHIPPED).session()))
    assert unknown_fields(update) == []
    assert update.session.type == "realtime"


def test_instructions_alone_are_enough(tmp_path: Path) -> None:
    session = load(tmp_path, LEAST).session()
    assert session.instructions == "Be brief."
    assert session.voice == "marin"
    assert session.noise_reduction == "near_field"
    assert session.transcription == {"model": "gpt-transcribe", "language": "en"}
    assert session.interruptible
    assert session.turn_detection == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "instructions"),
        ('instructions = ""', "instructions"),
        ("instructions = 7", "instructions"),
        (LEAST + 'name = ""', "name"),
        (LEAST + 'fallback = ""', "fallback"),
        (LEAST + 'voice = "onyx"', "voice"),
        (LEAST + "speed = 2.0", "speed"),
        (LEAST + "speed = nan", "speed"),
        (LEAST + 'language = "english"', "language"),
        (LEAST + 'noise_reduction = "on"', "noise_reduction"),
        (LEAST + "temperature = 0.8", "temperature"),
        (LEAST + "[turn_detection]\nthreshold = 1.5", "turn_detection.threshold"),
        (LEAST + "[turn_detection]\nthreshold = nan", "turn_detection.threshold"),
        (LEAST + "[turn_detection]\nsilence_duration_ms = 5", "turn_detection.silence_duration_ms"),
        (LEAST + "[turn_detection]\nprefix_padding_ms = -1", "turn_detection.prefix_padding_ms"),
        (LEAST + '[turn_detection]\neagerness = "eager"', "turn_detection.eagerness"),
        (LEAST + '[turn_detection]\ntype = "none"', "turn_detection.type"),
        (LEAST + "[turn_detection]\ninterupt = true", "turn_detection.interupt"),
        (LEAST + '[transcription]\nmodle = "x"', "modle"),
        (LEAST + "[transcription]\nkeywords = [1]", "keywords"),
        (LEAST + 'transcription = "on"', "transcription"),
    ],
)
def test_each_bad_key_is_named_together_with_the_file(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(AssistantError) as refusal:
        load(tmp_path, text)
    assert key in str(refusal.value)
    assert "assistant.toml" in str(refusal.value)


def test_all_bad_keys_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(AssistantError, match=r"speed.*voise|voise.*speed"):
        load(tmp_path, LEAST + 'speed = 9\nvoise = "marin"')


@pytest.mark.parametrize(
    "content", [b"instructions = ", b'instructions = "a"\ninstructions = "b"', b"\xff\xfe"]
)
def test_a_file_that_is_not_toml_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "assistant.toml"
    path.write_bytes(content)
    with pytest.raises(AssistantError, match="is not TOML"):
        Assistant.load(path)


@pytest.mark.parametrize("path", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_said_so_with_the_fix(tmp_path: Path, path: str) -> None:
    with pytest.raises(AssistantError, match=r"cannot be read: .* Set ASSISTANT"):
        Assistant.load(tmp_path / path)


def test_the_file_is_utf_8_whatever_the_machines_locale_says(tmp_path: Path) -> None:
    """TOML is UTF-8 by definition."""
    path = tmp_path / "assistant.toml"
    path.write_text('instructions = "Grüß Gott"', encoding="utf-8")
    program = (
        "import sys, pathlib; from actors.assistant import Assistant;"
        "print(ascii(Assistant.load(pathlib.Path(sys.argv[1])).instructions))"
    )
    ran = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program, str(path)],
        env=os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        cwd=SHIPPED.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stdout.strip() == ascii("Grüß Gott"), ran.stderr


def test_semantic_vad_has_an_eagerness_and_no_threshold(tmp_path: Path) -> None:
    text = LEAST + '[turn_detection]\ntype = "semantic_vad"\neagerness = "low"\ninterrupt = false'
    session = load(tmp_path, text).session()
    assert session.turn_detection == {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": True,
        "interrupt_response": False,
    }
    assert not session.interruptible


def test_what_is_off_is_off(tmp_path: Path) -> None:
    session = load(tmp_path, LEAST + 'noise_reduction = "off"\ntranscription = "off"').session()
    assert session.noise_reduction is None
    assert session.transcription is None


def test_keywords_for_a_transcriber_that_takes_none_are_refused(tmp_path: Path) -> None:
    """openai-realtime.md 3.3: only two models take them; from the others the whole session.update is refused."""
    text = LEAST + '[transcription]\nmodel = "gpt-realtime-whisper"\nkeywords = ["Tailwind"]'
    with pytest.raises(AssistantError, match="keywords"):
        load(tmp_path, text)


def test_the_greeting_is_to_be_said_word_for_word(tmp_path: Path) -> None:
    instructions = load(tmp_path, LEAST + 'greeting = "Good day, Tailwind."').greeting_instructions()
    assert instructions is not None
    assert '"Good day, Tailwind."' in instructions


def test_no_greeting_leaves_the_first_words_to_the_session(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST).greeting_instructions() is None


def test_the_default_session_is_json(tmp_path: Path) -> None:
    update = orjson.loads(OPENAI.session_update(load(tmp_path, LEAST).session()))
    assert update["session"]["audio"]["output"] == {
        "format": {"type": "audio/pcmu"},
        "voice": "marin",
        "speed": 1.0,
    }
