"""Keys as tones, and tones as keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import dtmf
from simulator.tone import tone
from wire.g711 import ULAW_SILENCE


@settings(max_examples=25)
@given(st.text(dtmf.KEYS + "wW", min_size=1, max_size=6), st.integers(0, 200), st.integers(1, 700))
def test_what_is_pressed_is_heard(keys: str, offset: int, piece: int) -> None:
    audio = ULAW_SILENCE * offset + dtmf.tones(keys)
    detector = dtmf.Detector()
    heard = "".join(detector.feed(audio[start : start + piece]) for start in range(0, len(audio), piece))
    assert heard == keys.replace("w", "").replace("W", "")


@pytest.mark.parametrize("hertz", [440, 697, 1000, 1336, 2100])
def test_a_plain_tone_is_no_key(hertz: int) -> None:
    assert dtmf.Detector().feed(tone(hertz, 1000)) == ""


def test_a_click_is_no_key() -> None:
    assert dtmf.Detector().feed(dtmf.tones("5")[:160] + ULAW_SILENCE * 800) == ""
