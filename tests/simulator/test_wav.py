"""WAV files of the accepted kinds, and what is said of the others."""

import math
import wave
from array import array
from pathlib import Path

import pytest

from simulator.wav import load_wav
from wire.g711 import decode_ulaw


def write(path: Path, rate: int, hertz: float, channels: int = 1, width: int = 2) -> Path:
    """Half a second of a tone, the same in each channel."""
    turn = 2 * math.pi * hertz / rate
    mono = (round(8000 * math.sin(turn * at)) for at in range(rate // 2))
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        if width == 2:
            file.writeframes(array("h", (sample for sample in mono for _ in range(channels))).tobytes())
    return path


def level(ulaw: bytes) -> float:
    """The root-mean-square of the middle half."""
    samples = memoryview(decode_ulaw(ulaw)).cast("h")[len(ulaw) // 4 : -len(ulaw) // 4]
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_every_accepted_rate_becomes_the_telephones(tmp_path: Path, rate: int, channels: int) -> None:
    speech = load_wav(write(tmp_path / "tone.wav", rate, 1000, channels))
    assert len(speech) == pytest.approx(4000, abs=1)
    assert level(speech) == pytest.approx(8000 / math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_what_a_telephone_does_not_carry_is_taken_out(tmp_path: Path, rate: int) -> None:
    assert level(load_wav(write(tmp_path / "tone.wav", rate, 6000))) < 80


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"slow\.wav is 16-bit with 1 channels at 11025 Hz"):
        load_wav(write(tmp_path / "slow.wav", 11025, 440))
    with pytest.raises(ValueError, match="8-bit"):
        load_wav(write(tmp_path / "coarse.wav", 8000, 440, width=1))
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"text\.wav is no WAV file"):
        load_wav(tmp_path / "text.wav")
    with pytest.raises(OSError, match="No such file"):
        load_wav(tmp_path / "missing.wav")
