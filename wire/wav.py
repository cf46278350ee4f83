"""The header of a WAV file with mu-law in it: format 7 of Microsoft's registry, which players know.

Mu-law is what was on the line. So nothing is converted, and the file is half as large as with 16-bit samples.
Source: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" and its "New Multimedia Data
Types"; formats other than PCM have an extension, here empty, and a `fact` chunk.
"""

import struct

from wire.g711 import SAMPLE_RATE

MULAW_FORMAT = 7
HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")
LARGEST_DATA = (0xFFFFFFFF - HEADER.size) // 2 * 2
"""Bytes: sizes are 32-bit. With two channels that is three days."""


def mulaw_header(data_bytes: int, channels: int = 2) -> bytes:
    """The header in front of so many bytes of samples, all channels together, at 8000 Hz."""
    return HEADER.pack(
        b"RIFF",
        HEADER.size - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        18,
        MULAW_FORMAT,
        channels,
        SAMPLE_RATE,
        SAMPLE_RATE * channels,
        channels,
        8,
        0,
        b"fact",
        4,
        data_bytes // channels,
        b"data",
        data_bytes,
    )
