"""Format conversion: what survives 24000 Hz and back, what may not fold down, and pieces of any length."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.pcm import from_ulaw, to_ulaw
from simulator.script import tone
from wire.g711 import decode_ulaw


def level(pcm: bytes) -> float:
    samples = memoryview(pcm).cast("h")
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def wide_tone(hertz: int) -> bytes:
    step = 2 * math.pi * hertz / 24000
    return array("h", (round(8000 * math.sin(step * n)) for n in range(4800))).tobytes()


@pytest.mark.parametrize("hertz", [300, 440, 1000, 2500])
def test_a_tone_in_the_telephone_band_keeps_its_level_both_ways(hertz: int) -> None:
    original = tone(400, hertz)
    wide = from_ulaw("audio/pcm")(original)
    assert len(wide) == 6 * len(original)
    assert level(wide) == pytest.approx(level(decode_ulaw(original)), rel=0.05)
    narrow = to_ulaw("audio/pcm")(wide)
    assert len(narrow) == len(original)
    assert level(decode_ulaw(narrow)) == pytest.approx(level(decode_ulaw(original)), rel=0.05)


@pytest.mark.parametrize("hertz", [5000, 7000, 10000])
def test_what_is_above_the_telephone_band_does_not_fold_into_it(hertz: int) -> None:
    narrow = decode_ulaw(to_ulaw("audio/pcm")(wide_tone(hertz)))
    assert level(narrow[80:]) < level(wide_tone(hertz)) / 100


@given(cuts=st.lists(st.integers(1, 700), max_size=12), kind=st.sampled_from(["audio/pcm", "audio/pcma"]))
def test_pieces_of_any_length_convert_like_the_whole(cuts: list[int], kind: str) -> None:
    whole = tone(60, 700)
    there = from_ulaw(kind)
    encoded = from_ulaw(kind)(whole)
    back = to_ulaw(kind)
    pieces_there, pieces_back, start = b"", b"", 0
    for cut in [*cuts, 10**6]:
        pieces_there += there(whole[start : start + cut])
        pieces_back += back(encoded[start : start + cut])
        start += cut
    assert pieces_there == encoded
    assert pieces_back == to_ulaw(kind)(encoded)


def test_a_law_and_back_is_within_one_step_of_either_law() -> None:
    original = tone(100)
    assert level(decode_ulaw(to_ulaw("audio/pcma")(from_ulaw("audio/pcma")(original)))) == pytest.approx(
        level(decode_ulaw(original)), rel=0.02
    )


@pytest.mark.parametrize("convert", [to_ulaw, from_ulaw])
def test_an_unknown_format_is_named(convert: object) -> None:
    assert callable(convert)
    with pytest.raises(ValueError, match="audio/opus"):
        convert("audio/opus")
