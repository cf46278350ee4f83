import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.resample import REACH, Downsampler, LineUpsampler

RATES = [16000, 22050, 24000, 44100, 48000]


def tone(frequency_hz: float, rate: int, seconds: float = 0.5, peak: float = 10_000) -> bytes:
    count = round(rate * seconds)
    turn = 2 * math.pi * frequency_hz / rate
    return struct.pack(f"<{count}h", *(round(peak * math.sin(turn * at)) for at in range(count)))


def level(pcm: bytes) -> float:
    """The root-mean-square of the middle half, where no filter starts or ends."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return math.sqrt(sum(sample * sample for sample in middle) / len(middle))


def down(pcm: bytes, rate: int) -> bytes:
    downsampler = Downsampler(rate, 8000)
    return downsampler.feed(pcm) + downsampler.flush()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", [200, 1000, 3000])
def test_the_telephone_band_passes(rate: int, frequency: int) -> None:
    pcm = tone(frequency, rate)
    assert level(down(pcm, rate)) == pytest.approx(level(pcm), rel=0.05)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", [5000, 6500, 7900])
def test_what_is_above_the_telephone_band_does_not_fold_into_it(rate: int, frequency: int) -> None:
    pcm = tone(frequency, rate)
    assert level(down(pcm, rate)) < level(pcm) / 100


@pytest.mark.parametrize("rate", RATES)
def test_the_length_and_the_place_of_the_sound_are_kept(rate: int) -> None:
    silence = bytes(2 * rate)
    output = down(silence + struct.pack("<h", 30000) * 200 + silence, rate)
    samples = struct.unpack(f"<{len(output) // 2}h", output)
    assert len(samples) == pytest.approx(8000 * (2 * rate + 200) / rate, abs=2)
    centre = sum(at * sample for at, sample in enumerate(samples)) / sum(samples)
    assert centre == pytest.approx(8000 * (rate + 100) / rate, abs=1)


@given(st.lists(st.integers(0, 700), max_size=30))
def test_how_the_input_is_cut_makes_no_difference(lengths: list[int]) -> None:
    pcm = tone(700, 22050, 0.3)
    whole = down(pcm, 22050)
    downsampler = Downsampler(22050, 8000)
    output = b""
    at = 0
    for length in lengths:
        output += downsampler.feed(pcm[at : at + 2 * length])
        at += 2 * length
    output += downsampler.feed(pcm[at:]) + downsampler.flush()
    assert output == whole


def test_full_scale_is_clipped_and_does_not_wrap() -> None:
    square = (struct.pack("<h", 32767) * 40 + struct.pack("<h", -32768) * 40) * 50
    output = down(square, 22050)
    samples = struct.unpack(f"<{len(output) // 2}h", output)
    assert max(samples) == 32767
    assert min(samples) == -32768


def test_a_line_leads_from_sample_to_sample() -> None:
    upsampler = LineUpsampler()
    assert struct.unpack("<4h", upsampler.feed(struct.pack("<2h", 10, 20))) == (5, 10, 15, 20)
    assert struct.unpack("<2h", upsampler.feed(struct.pack("<h", -20))) == (0, -20)


def test_prompt_output_comes_with_its_input_and_a_reach_later() -> None:
    pcm = tone(440, 24000)
    prompt = Downsampler(24000, 8000, prompt=True)
    output = b"".join(prompt.feed(pcm[at : at + 960]) for at in range(0, len(pcm), 960))
    assert len(output) == len(pcm) // 3
    assert output[2 * REACH :] == down(pcm, 24000)[: -2 * REACH]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        Downsampler(16000, 8000).feed(b"123")


def test_a_downsampler_does_not_go_up() -> None:
    with pytest.raises(ValueError, match="8000 to 16000"):
        Downsampler(8000, 16000)
