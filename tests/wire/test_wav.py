"""The header of a WAV file with mu-law."""

import shutil
import subprocess
from pathlib import Path

import pytest

from wire.wav import HEADER, mulaw_header


def test_the_header_is_what_the_specification_says_byte_by_byte() -> None:
    assert mulaw_header(320) == (
        b"RIFF" + (50 + 320).to_bytes(4, "little") + b"WAVE"
        b"fmt \x12\0\0\0\x07\0\x02\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x08\0\0\0"
        b"fact\x04\0\0\0\xa0\0\0\0"
        b"data\x40\x01\0\0"
    )
    assert len(mulaw_header(320)) == HEADER.size == 58


@pytest.mark.skipif(shutil.which("soxi") is None, reason="sox is not installed")
def test_a_player_takes_it(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(mulaw_header(16000) + b"\xff" * 16000)
    shown = subprocess.run(["soxi", tmp_path / "call.wav"], capture_output=True, text=True, check=True).stdout
    assert "8-bit u-law" in shown
    assert "Channels       : 2" in shown
    assert "00:00:01.00" in shown
