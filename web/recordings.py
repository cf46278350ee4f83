"""The recordings of past calls, as the database names them, and no other file."""

import json
from collections.abc import Mapping
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
        zeros = {
            str(event.data.get("path")): _seconds(event.data.get("began_at"))
            for event in happened
            if event.kind == "recording"
        }
        found: dict[str, tuple[float, float | None]] = {}
        for event in happened:
            path = self._inside(event.data.get("path")) if event.kind == "transcript" else None
            if path is not None and path.suffix == TRANSCRIPT_SUFFIXES[0]:
                found.update(_times(path, zeros))
        return found

    def _recording(self, event: Happened) -> Recording | None:
        path = self._inside(event.data.get("path"))
        if path is None or path.suffix != RECORDING_SUFFIX:
            return None
        return Recording(path, _seconds(event.data.get("began_at")))

    def _inside(self, name: object) -> Path | None:
        """The file of that name, if it is there and nowhere else than under the folder, links followed."""
        if not isinstance(name, str) or "\0" in name:
            return None
        path = Path(name).resolve()
        return path if path.is_relative_to(self._folder.resolve()) and path.is_file() else None


def _times(path: Path, zeros: Mapping[str, float | None]) -> dict[str, tuple[float, float | None]]:
    """By item. `zeros`: time 0 of the call's recordings, by path; a transcript names the one whose times follow."""
    found: dict[str, tuple[float, float | None]] = {}
    zero = None  # a stream may be recorded from the middle on, or not at all
    try:
        with path.open("rb") as file:
            lines = file.read(LONGEST_TRANSCRIPT).splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            told: dict[str, Any] = orjson.loads(line)
        except json.JSONDecodeError:
            continue  # the last one of a process that was killed
        if told.get("kind") == "recording":
            zero = zeros.get(str(told.get("path")))
            continue
        item_id, began, ended = told.get("item_id"), _seconds(told.get("began")), _seconds(told.get("ended"))
        if zero is not None and isinstance(item_id, str) and began is not None:
            found[item_id] = (zero + began, None if ended is None else zero + ended)
    return found


def _seconds(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
