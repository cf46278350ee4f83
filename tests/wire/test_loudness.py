import math
import random
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import g711
from wire.loudness import is_loud

CALLERS = Path(__file__).parents[2] / "simulator" / "audio" / "caller"


def encoded(samples: list[float]) -> bytes:
    pcm = struct.pack(f"<{len(samples)}h", *(max(-32768, min(32767, round(each))) for each in samples))
    return g711.encode_ulaw(pcm)


def tone(dbfs: float, count: int = 160) -> bytes:
    """Whose root-mean-square is at this level."""
    peak = math.sqrt(2) * 32768 * 10 ** (dbfs / 20)
    return encoded([peak * math.sin(2 * math.pi * 440 / 8000 * at) for at in range(count)])


def noise(dbfs: float, count: int = 160) -> bytes:
    source = random.Random(1)
    return encoded([source.gauss(0, 32768 * 10 ** (dbfs / 20)) for _ in range(count)])


@pytest.mark.parametrize("dbfs", [-40, -30, -20, -10, -3])
@pytest.mark.parametrize("sound", [tone, noise])
def test_what_is_as_loud_as_a_voice_is_loud(sound: Callable[[float], bytes], dbfs: float) -> None:
    assert is_loud(sound(dbfs))


@pytest.mark.parametrize("dbfs", [-80, -60, -50])
@pytest.mark.parametrize("sound", [tone, noise])
def test_the_noise_of_a_line_is_not_loud(sound: Callable[[float], bytes], dbfs: float) -> None:
    assert not is_loud(sound(dbfs))


def test_silence_and_nothing_are_not_loud() -> None:
    assert not is_loud(g711.ULAW_SILENCE * 160)
    assert not is_loud(b"")


def test_a_click_is_not_loud() -> None:
    assert not is_loud(encoded([20_000.0] * 8 + [0.0] * 152))


@pytest.mark.parametrize(("loud_samples", "loud"), [(16, False), (17, True)])
def test_a_tenth_of_the_samples_is_the_limit(loud_samples: int, loud: bool) -> None:
    assert is_loud(encoded([1000.0] * loud_samples + [0.0] * (160 - loud_samples))) == loud


@pytest.mark.parametrize("path", sorted(CALLERS.glob("*.wav")), ids=lambda path: path.stem)
def test_a_human_voice_on_the_telephone_is_loud_half_of_the_time(path: Path) -> None:
    """Pauses between the words included."""
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getsampwidth()) == (8000, 2)
        ulaw = g711.encode_ulaw(recording.readframes(recording.getnframes()))
    loud = [is_loud(ulaw[at : at + 160]) for at in range(0, len(ulaw), 160)]
    assert 0.45 < sum(loud) / len(loud) < 0.9


@given(st.binary(min_size=1, max_size=400))
def test_loud_is_a_share_of_loud_samples(ulaw: bytes) -> None:
    samples = struct.unpack(f"<{len(ulaw)}h", g711.decode_ulaw(ulaw))
    share = sum(abs(sample) >= 328 for sample in samples) / len(samples)
    assert is_loud(ulaw) == (share > 0.1)
