"""Levels: silence is flat, the loudest sample is at the top, and each stands for its own 100 ms."""

import struct

import pytest

from wire.g711 import ULAW_SILENCE, encode_ulaw
from wire.levels import LEVEL_BYTES, LOUDEST, levels


def constant(sample: int, length: int = LEVEL_BYTES) -> bytes:
    return encode_ulaw(struct.pack("<h", sample) * length)


@pytest.mark.parametrize(
    ("sample", "level"), [(0, 0), (32767, LOUDEST), (-32768, LOUDEST), (8031, 50), (-8031, 50), (320, 10)]
)
def test_a_level_is_the_root_of_the_peak(sample: int, level: int) -> None:
    assert levels(constant(sample)) == bytes([level])


def test_one_loud_sample_shows_in_its_level_and_in_no_other() -> None:
    silence = ULAW_SILENCE * LEVEL_BYTES
    loud = silence[:-1] + constant(32767, 1)
    assert levels(silence + loud + silence) == bytes([0, LOUDEST, 0])


def test_the_last_level_may_stand_for_less() -> None:
    assert levels(constant(32767, LEVEL_BYTES + 1)) == bytes([LOUDEST, LOUDEST])
    assert levels(b"") == b""
    assert levels(constant(32767, 30), 10) == bytes([LOUDEST] * 3)
