"""A WAV file that grows: whenever its process dies, what was written of it until then can be played."""

import os
from pathlib import Path

from actors.call_file import RECORDING_SUFFIX, create, write_all
from wire.wav import HEADER, LARGEST_DATA, mulaw_header


class WavFile:
    """Mu-law at 8000 Hz, two channels, their bytes in turn. One thread at a time."""

    def __init__(self, folder: Path, call_sid: str, began_at: float, kept_days: float | None = None) -> None:
        """Creates it; see `create`. Raises OSError."""
        self._descriptor, self.path = create(folder, call_sid, RECORDING_SUFFIX, began_at, kept_days)
        self._data_bytes = 0
        try:
            write_all(self._descriptor, mulaw_header(0), 0)
        except BaseException:
            self.close()
            raise

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self._data_bytes / 2 / 8000

    def append(self, samples: bytes) -> None:
        """Write them behind what is there. Raises OSError, after which the file is as long as it was before.

        The sizes in the header come last, so that they never promise what is not there.
        """
        room = samples[: LARGEST_DATA - self._data_bytes]
        try:
            write_all(self._descriptor, room, HEADER.size + self._data_bytes)
            write_all(self._descriptor, mulaw_header(self._data_bytes + len(room)), 0)
        except OSError:
            os.ftruncate(self._descriptor, HEADER.size + self._data_bytes)
            raise
        self._data_bytes += len(room)

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)
