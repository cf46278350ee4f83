"""simulator.recording and simulator.wav: what is written is what was said, and what is read is what was recorded."""

import math
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.recording import StereoRecording
from simulator.wav import load_wav, parse_wav
from wire.g711 import decode_ulaw, encode_ulaw


def channels(path: Path) -> tuple[list[int], list[int]]:
    with wave.open(str(path)) as recording:
        assert recording.getparams()[:3] == (2, 2, 8000)
        both = struct.unpack(f"<{recording.getnframes() * 2}h", recording.readframes(recording.getnframes()))
    return list(both[::2]), list(both[1::2])


def samples(ulaw: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(ulaw)}h", decode_ulaw(ulaw)))


def write_wav(path: Path, values: list[int], rate: int, channel_count: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channel_count)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(value.to_bytes(width, "little", signed=True) for value in values))
    return path


def tone(hertz: float, rate: int, seconds: float = 0.2, level: int = 10000) -> list[int]:
    return [round(level * math.sin(2 * math.pi * hertz * n / rate)) for n in range(round(rate * seconds))]


def loudness(values: list[int]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


@given(
    st.lists(
        st.integers(0, 3000).flatmap(lambda n: st.tuples(*[st.binary(min_size=n, max_size=n)] * 2)),
        max_size=5,
    )
)
def test_each_side_is_recorded_sample_by_sample(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("recording") / "call.wav"
    with StereoRecording(path) as recording:
        for caller, assistant in pieces:
            recording.write(caller, assistant)
    left, right = channels(path)
    assert left == samples(b"".join(caller for caller, _ in pieces))
    assert right == samples(b"".join(assistant for _, assistant in pieces))


def test_the_file_is_valid_while_the_call_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with StereoRecording(path) as recording:
        assert channels(path) == ([], [])
        recording.write(b"\x80" * 8000, b"\x00" * 8000)
        left, right = channels(path)
    assert left == samples(b"\x80" * 8000)
    assert right == samples(b"\x00" * 8000)


def test_sides_of_different_length_are_refused(tmp_path: Path) -> None:
    with (
        StereoRecording(tmp_path / "call.wav") as recording,
        pytest.raises(ValueError, match="1 bytes of the caller and 2"),
    ):
        recording.write(b"a", b"bc")


def test_a_closed_recording_takes_nothing_more(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    recording.close()
    recording.close()
    with pytest.raises(ValueError, match="closed"):
        recording.write(b"", b"")


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        StereoRecording(tmp_path / "absent" / "call.wav")


def test_speech_at_8000_hz_is_only_encoded(tmp_path: Path) -> None:
    values = tone(440, 8000)
    path = write_wav(tmp_path / "speech.wav", values, 8000)
    assert load_wav(path) == encode_ulaw(struct.pack(f"<{len(values)}h", *values))


def test_two_channels_are_averaged(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [1000, 3000, -1000, -3000], 8000, channel_count=2)
    assert load_wav(path) == encode_ulaw(struct.pack("<2h", 2000, -2000))


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_higher_rate_keeps_what_a_telephone_carries_and_drops_the_rest(tmp_path: Path, rate: int) -> None:
    original = loudness(tone(1000, 8000))
    kept = samples(load_wav(write_wav(tmp_path / "low.wav", tone(1000, rate), rate)))
    assert len(kept) == 1600
    assert loudness(kept[100:-100]) == pytest.approx(original, rel=0.03)
    # It is the same tone at the same place, not only as loud.
    expected = tone(1000, 8000)
    assert max(abs(a - b) for a, b in zip(kept[100:-100], expected[100:-100], strict=True)) < 500
    dropped = samples(load_wav(write_wav(tmp_path / "high.wav", tone(5000, rate), rate)))
    assert loudness(dropped[100:-100]) < original / 100


@pytest.mark.parametrize(
    ("rate", "channel_count", "width", "found"),
    [(11025, 1, 2, "11025 Hz"), (8000, 3, 2, "3 channels"), (8000, 1, 4, "32-bit")],
)
def test_another_format_is_refused_with_what_is_accepted(
    tmp_path: Path, rate: int, channel_count: int, width: int, found: str
) -> None:
    path = write_wav(tmp_path / "odd.wav", [0] * 6, rate, channel_count, width)
    with pytest.raises(ValueError, match=f"odd.wav is .*{found}.*; use 16-bit PCM WAV, mono or stereo"):
        load_wav(path)


@given(st.binary(max_size=80))
def test_what_is_no_wav_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="noise is no WAV file"):
        parse_wav(data, "noise")


def test_a_wav_file_with_mu_law_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "mulaw.wav", [0] * 8, 8000)
    data = bytearray(path.read_bytes())
    data[20] = 7
    with pytest.raises(ValueError, match=r"unknown format: 7.*use 16-bit PCM"):
        parse_wav(bytes(data), "mulaw.wav")
