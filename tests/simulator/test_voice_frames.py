import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.voice_frames import LARGEST_PAYLOAD, Frame, FrameReader, encode

FRAMES = st.lists(st.builds(Frame, st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=50)))


@given(FRAMES, st.integers(1, 20))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(frames: list[Frame], size: int) -> None:
    data = b"".join(map(encode, frames))
    reader = FrameReader()
    received = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert received == frames


def test_a_length_that_no_frame_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="longer than the largest"):
        FrameReader().feed(b"\xff" * 9)


def test_a_payload_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="larger than"):
        encode(Frame(1, 1, bytes(LARGEST_PAYLOAD + 1)))
