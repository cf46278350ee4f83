"""The recording of a call as a person on the line hears it: a stereo WAV, caller left, assistant right.

16-bit PCM at 8000 Hz. Sample n of either side belongs to sample time n of the call, so the two sides
stay aligned.
"""

import struct
from array import array
from pathlib import Path
from types import TracebackType

from wire.g711 import SAMPLE_RATE, decode_ulaw

_BLOCK_BYTES = SAMPLE_RATE // 2  # half a second of each side between two writes
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FRAME_BYTES = 4  # a 16-bit sample of either side
_PCM = 1


class StereoRecording:
    """Writes the file as the call goes on. One thread at a time.

    The header is right after every write, so a process that dies leaves a valid file which lacks at most
    the last half second.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, or empty it. Raises OSError if that is impossible."""
        self.path = path
        self._caller = bytearray()
        self._assistant = bytearray()
        self._data_bytes = 0
        # Not by the module `wave`: what it opens complains when a process is ended before it was closed.
        self._file = path.open("wb")
        try:
            self._flush()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "StereoRecording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, caller: bytes, assistant: bytes) -> None:
        """Append the same stretch of time of both sides, in mu-law.
        Raises ValueError if the two differ in length or the recording is closed, OSError if the disk is full.
        """
        if len(caller) != len(assistant):
            raise ValueError(f"{len(caller)} bytes of the caller and {len(assistant)} of the assistant")
        if self._file.closed:
            raise ValueError(f"the recording {self.path} is closed")
        self._caller += caller
        self._assistant += assistant
        if len(self._caller) >= _BLOCK_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest. May be called again, to no effect."""
        if self._file.closed:
            return
        try:
            self._flush()
        finally:
            self._file.close()

    def _flush(self) -> None:
        both = array("H", bytes(4 * len(self._caller)))
        both[0::2] = array("H", decode_ulaw(bytes(self._caller)))
        both[1::2] = array("H", decode_ulaw(bytes(self._assistant)))
        self._file.seek(_HEADER.size + self._data_bytes)
        self._file.write(both.tobytes())
        self._data_bytes += _FRAME_BYTES * len(self._caller)
        self._file.seek(0)
        self._file.write(_header(self._data_bytes))
        self._file.flush()
        self._caller.clear()
        self._assistant.clear()


def _header(data_bytes: int) -> bytes:
    """In front of so many bytes of 16-bit samples of two channels."""
    return _HEADER.pack(
        b"RIFF",
        _HEADER.size - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        2,
        SAMPLE_RATE,
        SAMPLE_RATE * _FRAME_BYTES,
        _FRAME_BYTES,
        16,
        b"data",
        data_bytes,
    )
