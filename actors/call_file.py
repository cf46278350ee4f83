"""Files that are kept of a call: where they are, and who may read them."""

import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

logger = logging.getLogger(__name__)

DAY = "%Y-%m-%d"
RECORDING_SUFFIX = ".wav"
TRANSCRIPT_SUFFIXES = (".jsonl", ".txt", ".vtt")
"""The first is written as it happens, the others at the end."""
SUFFIXES = (RECORDING_SUFFIX, *TRANSCRIPT_SUFFIXES)
ONLY_OURS = 0o600
FOLDER_ONLY_OURS = 0o700


def create(
    folder: Path, call_sid: str, suffix: str, began_at: float, kept_days: float | None = None
) -> tuple[int, Path]:
    """Create `folder/2026-11-22/101530-CA….wav`: by the day and time (UTC) of `began_at`, seconds since 1970.

    Returns its descriptor, open for writing, and its path. Only this user may read it. A call has several where it
    has several streams; a file that is there already is never touched. A day's first file has the files erased that
    are older than `kept_days`; None: none is. Raises OSError.
    """
    began = datetime.fromtimestamp(began_at, UTC)
    day = folder.absolute() / began.strftime(DAY)
    if not day.is_dir():
        day.mkdir(FOLDER_ONLY_OURS, parents=True, exist_ok=True)
        if kept_days is not None:
            erase_older(folder, began - timedelta(days=kept_days))
    stem = f"{began:%H%M%S}-{re.sub('[^A-Za-z0-9]', '_', call_sid)}"
    number = 1
    while True:
        path = day / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OURS), path
        except FileExistsError:
            number += 1


def erase_older(folder: Path, than: datetime) -> None:
    """Erase the files of all days that were over by then, and of nothing else that is in the folder.

    Several processes may do so at once. Raises nothing: what cannot be erased is logged.
    """
    try:
        days = list(folder.iterdir())
    except FileNotFoundError:  # nothing was ever kept
        return
    except OSError as error:
        logger.warning("%s: cannot be searched for what is too old: %s", folder, error.strerror)
        return
    for day in days:
        try:
            over = datetime.strptime(day.name, DAY).replace(tzinfo=UTC) + timedelta(days=1) <= than
        except ValueError:
            continue
        if over:
            try:
                for file in day.iterdir():
                    if file.suffix in SUFFIXES:
                        file.unlink(missing_ok=True)
                day.rmdir()
            except FileNotFoundError:  # another process was faster
                continue
            except OSError as error:
                logger.warning("%s: is older than it may be, and cannot be erased: %s", day, error.strerror)


def erase_files(paths: Iterable[str]) -> None:
    """Erase these, as far as they are there; with a transcript, its other forms. Raises OSError."""
    for path in map(Path, paths):
        for suffix in TRANSCRIPT_SUFFIXES if path.suffix == TRANSCRIPT_SUFFIXES[0] else (path.suffix,):
            path.with_suffix(suffix).unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write at that place of the file, all of it. Raises OSError: then some of it may be there."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]
