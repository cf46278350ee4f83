"""A disk that is full after so many KiB, for one process and its children."""

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest


def on_small_disk(folder: Path, kib: int, command: Sequence[str]) -> list[str]:
    """`command`, which sees such a disk in place of `folder`; it goes with the last of its processes.

    Others find it under /proc/PID/root.
    """
    mount = f'mount -t tmpfs -o size={kib}k small "$0" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(folder), *command]


def fill(folder: Path) -> None:
    """Write there until no block is left."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass


@functools.cache
def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(on_small_disk(Path(folder), 64, ["true"]), capture_output=True, check=False)
    return tried.returncode == 0


def skip_without_mounting() -> None:
    if not _may_mount():
        pytest.skip("needs a system that lets this user mount a file system of its own")
