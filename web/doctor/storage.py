"""What is kept: the database, the folder of recordings, the disk below them; and the assistant, which is read."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from config import Settings
from store.database import Database, StoreError
from web.doctor.verdict import Verdict, failed, ok, warning
from web.preparation import Preparation, PreparationError

LEAST_MIB = 200.0
FEW_MIB = 2048.0
"""A recording takes about 1.9 MiB a minute."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder on it, and what is free."""

    folder: Path
    free_mib: float


def check_assistant(settings: Settings) -> list[Verdict]:
    """Reads all that the settings name, and imports the assistant's Python."""
    try:
        preparation = Preparation.of(settings)
    except PreparationError as error:
        return [failed("assistant", str(error), "correct it; assistant.toml says what each key does")]
    return [
        ok("assistant", f"{settings.assistant}: {assistant.name}, {_tools(len(assistant.callable_tools()))}")
        for assistant in preparation.assistants.all.values()
    ]


def _tools(count: int) -> str:
    return f"{count or 'no'} tool{'' if count == 1 else 's'}"


def check_database(settings: Settings) -> list[Verdict]:
    """Opens it, which creates the tables that are missing, and begins to write, without writing."""
    url = settings.database_url.get_secret_value()
    path = sqlite_file(url)
    if path is not None and not path.exists():
        return [judge_missing("database", path, _may_write(path.parent))]
    try:
        database = Database(url)
        try:
            with database.begin() as connection:
                connection.execute(sa.select(1))
        finally:
            database.close()
    except StoreError as error:
        return [failed("database", str(error), "put that right; until then nobody can be answered")]
    return [ok("database", f"{path or sa.make_url(url).get_backend_name()} opens and can be written")]


def check_recordings(settings: Settings) -> list[Verdict]:
    """Writes a file there and removes it."""
    folder = settings.recordings
    if not folder.exists():
        return [judge_missing("recordings", folder, _may_write(folder.parent))]
    if not _may_write(folder):
        return [
            failed(
                "recordings", f"{folder} cannot be written", "let this user write there, or set RECORDINGS"
            )
        ]
    return [ok("recordings", f"{folder} can be written")]


def check_disk(settings: Settings) -> list[Verdict]:
    """Every disk that something is kept on, once."""
    path = sqlite_file(settings.database_url.get_secret_value())
    folders = [settings.recordings, *([] if path is None else [path.parent])]
    disks: dict[int, Disk] = {}
    for folder in map(_existing, folders):
        disks.setdefault(folder.stat().st_dev, Disk(folder, shutil.disk_usage(folder).free / 2**20))
    return [judge_disk(disk) for disk in disks.values()]


def judge_disk(disk: Disk) -> Verdict:
    """By what is free."""
    found = f"{disk.free_mib:.0f} MiB free at {disk.folder.resolve()}"
    if disk.free_mib < LEAST_MIB:
        return failed("disk", found, "free some space: without it conversations and recordings are lost")
    if disk.free_mib < FEW_MIB:
        minutes = disk.free_mib / 1.9
        return warning(
            "disk", found, f"free some space: recordings of {minutes:.0f} minutes of calls fill it"
        )
    return ok("disk", found)


def judge_missing(check: str, path: Path, creatable: bool) -> Verdict:
    """What is not there yet is made at the start, if it can be."""
    if creatable:
        return ok(check, f"{path} is not there yet; it can be made")
    return failed(check, f"{path} cannot be made", f"make {path.parent}, and let this user write there")


def sqlite_file(url: str) -> Path | None:
    """The file that a DATABASE_URL names, or None where it names a server, or nothing that can be read."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _may_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
