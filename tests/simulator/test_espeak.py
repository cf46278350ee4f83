"""The library has global state and may change the working directory: each test runs it in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.espeak import Espeak

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("length", [0, 200])
def test_a_data_path_of_any_length_speaks(tmp_path: Path, length: int) -> None:
    loader = pytest.importorskip("espeakng_loader")
    data = tmp_path / "d".ljust(length, "d")
    data.symlink_to(loader.get_data_path())
    program = (
        "from pathlib import Path; from simulator.espeak import Espeak\n"
        "engine = Espeak(sys.argv[1], Path(sys.argv[2]))\n"
        "print(engine.rate, len(engine.pcm('Hello there.', 'marin', 1.0)) > engine.rate)"
    )
    assert run(program, loader.get_library_path(), os.fspath(data), cwd=tmp_path) == "22050 True"


def test_a_library_without_data_is_an_error_and_does_not_end_the_process(tmp_path: Path) -> None:
    loader = pytest.importorskip("espeakng_loader")
    program = (
        "from pathlib import Path; from simulator.espeak import Espeak\n"
        "try: Espeak(sys.argv[1], Path(sys.argv[2]))\n"
        "except OSError as error: print(error)"
    )
    nothing = tmp_path / "nothing"
    assert run(program, loader.get_library_path(), os.fspath(nothing), cwd=tmp_path).startswith(
        "espeak-ng found no data in"
    )


def test_a_library_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="libnothing"):
        Espeak("libnothing.so.1")
