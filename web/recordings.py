"""The recordings of past calls, as the database names them, and no other file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.call_file import RECORDING_SUFFIX, TRANSCRIPT_SUFFIXES
from store.news import Happened
from wire.wav import HEADER

LONGEST_TRANSCRIPT = 8 * 1024 * 1024
"""Bytes of a transcript that are read at most."""

_BYTES_PER_SECOND = 16000


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: that of one of the call's streams."""

    path: Path
    began_at: float | None
    """its time 0, in seconds since 1970; None: it was written by a version that did not say"""

    @property
    def seconds(self) -> float:
        """How long it is. Raises OSError."""
        return max(self.path.stat().st_size - HEADER.size, 0) / _BYTES_PER_SECOND


class Recordings:
    """Those that lie under a folder. Any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, happened: tuple[Happened, ...]) -> list[Recording | None]:
        """The recordings that these events tell of, in their order; None for one that is not there any more."""
        return [self._recording(event) for event in happened if event.kind == "recording"]

    def times(self, happened: tuple[Happened, ...]) -> dict[str, tuple[float, float | None]]:
        """When what was said was heard, from and to, in seconds since 1970: by item, where a transcript says it."""
        found: dict[str, tuple[float, float | None]] = {}
        transcripts = [event for event in happened if event.kind == "transcript"]
        # Each stream has one of both, and a transcript's times are those of its stream's recording.
        for event, recording in zip(transcripts, self.of(happened), strict=False):
            path = self._inside(event.data.get("path"))
            if path is None or path.suffix != TRANSCRIPT_SUFFIXES[0]:
                continue
            if recording is not None and recording.began_at is not None:
                found.update(_times(path, recording.began_at))
        return found

    def _recording(self, event: Happened) -> Recording | None:
        path = self._inside(event.data.get("path"))
        if path is None or path.suffix != RECORDING_SUFFIX:
            return None
        began_at = event.data.get("began_at")
        return Recording(path, began_at if isinstance(began_at, int | float) else None)

    def _inside(self, name: object) -> Path | None:
        """The file of that name, if it is there and nowhere else than under the folder, links followed."""
        if not isinstance(name, str) or "\0" in name:
            return None
        path = Path(name).resolve()
        return path if path.is_relative_to(self._folder.resolve()) and path.is_file() else None


def _times(path: Path, zero: float) -> dict[str, tuple[float, float | None]]:
    found: dict[str, tuple[float, float | None]] = {}
    try:
        with path.open("rb") as file:
            lines = file.read(LONGEST_TRANSCRIPT).splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            said: dict[str, Any] = orjson.loads(line)
        except json.JSONDecodeError:
            continue  # the last one of a process that was killed
        item_id, began, ended = said.get("item_id"), said.get("began"), said.get("ended")
        if isinstance(item_id, str) and isinstance(began, int | float):
            found[item_id] = (zero + began, zero + ended if isinstance(ended, int | float) else None)
    return found
