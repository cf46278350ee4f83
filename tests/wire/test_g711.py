"""G.711 against the C implementation that Python shipped up to 3.12."""

import struct
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import g711

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    audioop = pytest.importorskip("audioop", reason="audioop left Python with 3.13")

EVERY_SAMPLE = struct.pack("<65536h", *range(-32768, 32768))
EVERY_BYTE = bytes(range(256))


def test_every_sample_encodes_as_the_reference_does() -> None:
    assert g711.encode_ulaw(EVERY_SAMPLE) == audioop.lin2ulaw(EVERY_SAMPLE, 2)
    assert g711.encode_alaw(EVERY_SAMPLE) == audioop.lin2alaw(EVERY_SAMPLE, 2)


def test_every_byte_decodes_as_the_reference_does() -> None:
    assert g711.decode_ulaw(EVERY_BYTE) == audioop.ulaw2lin(EVERY_BYTE, 2)
    assert g711.decode_alaw(EVERY_BYTE) == audioop.alaw2lin(EVERY_BYTE, 2)


@given(st.binary())
def test_alaw_survives_a_round_trip(alaw: bytes) -> None:
    assert g711.encode_alaw(g711.decode_alaw(alaw)) == alaw


@given(st.binary())
def test_ulaw_survives_a_round_trip_but_for_its_negative_zero(ulaw: bytes) -> None:
    assert g711.encode_ulaw(g711.decode_ulaw(ulaw)) == ulaw.replace(b"\x7f", g711.ULAW_SILENCE)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        g711.encode_ulaw(b"\0\0\0")
