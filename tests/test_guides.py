"""The examples in README and docs are code that runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.actors.parts import RECORD
from tests.probe import Probe

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"<!-- (?P<name>[^>]+) -->\n```python\n(?P<code>.*?)```", re.DOTALL)
ANY_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def named_blocks(path: Path) -> dict[str, str]:
    return {found["name"]: found["code"] for found in BLOCK.finditer(path.read_text())}


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_example_is_python(path: Path) -> None:
    for code in ANY_BLOCK.findall(path.read_text()):
        compile(code, path.name, "exec")


def test_the_listener_of_the_guide_does_what_its_own_test_says() -> None:
    blocks = named_blocks(ROOT / "docs" / "assistants.md")
    names: dict[str, Any] = {"Probe": Probe, "RECORD": RECORD, "__name__": "manners"}
    exec(blocks["a listener"], names)
    exec(blocks["its test"], names)
    names["test_swearing_is_answered_once"]()
    assert blocks["a listener"].count("\n") <= 20
    assert blocks["its test"].count("\n") <= 10
