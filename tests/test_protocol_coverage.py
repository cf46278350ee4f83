"""docs/protocol-coverage.md: no entry is missing, and nothing is named there that does not exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "protocol-coverage.md").read_text(encoding="utf-8")
GOTCHAS = "actors/test_protocol_gotchas.py"
ENTRIES = range(1, 46)
NAMED_TESTS = range(8, 26)
"""Sections B and C: each entry has a test of its own."""

_ENTRY = re.compile(r"^\*\*(\d+)\. ", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_MODULE = re.compile(r"`([\w/]+\.py)`")
_DOCSTRING = re.compile(r"protocol-gotchas (\d+):")
_REASON = re.compile(r"\*(Cannot\s+happen|Not\s+yet|Not\s+done)\*")


def entries() -> list[tuple[int, str]]:
    """Each entry's number and its text, in the order of the document."""
    _, *parts = _ENTRY.split(DOCUMENT)
    return [
        (int(number), text.partition("\n## ")[0])
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    ]


@cache
def functions(path: str) -> dict[str, str]:
    """The test functions of a file below tests/, by name, with their docstrings."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    found = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {each.name: ast.get_docstring(each) or "" for each in found if each.name.startswith("test_")}


def named(text: str) -> list[tuple[str, str]]:
    return [(path, name) for path, name in _TEST.findall(text)]


def test_every_entry_is_there_once_and_in_order() -> None:
    assert [number for number, _ in entries()] == list(ENTRIES)


def test_every_test_that_is_named_exists() -> None:
    tests = named(DOCUMENT)
    missing = [
        f"{path}::{name}"
        for path, name in tests
        if not (ROOT / "tests" / path).is_file() or name not in functions(path)
    ]
    assert missing == []
    assert DOCUMENT.count("::test_") == len(tests), "each is written as `path.py::test_name`"


def test_every_module_that_is_named_exists() -> None:
    missing = [path for path in _MODULE.findall(DOCUMENT) if not (ROOT / path).is_file()]
    assert missing == []


@pytest.mark.parametrize(("number", "text"), entries(), ids=lambda value: str(value)[:2])
def test_an_entry_names_its_tests_or_says_why_there_is_none(number: int, text: str) -> None:
    assert named(text) or _REASON.search(text), f"entry {number}"


@pytest.mark.parametrize("number", NAMED_TESTS)
def test_an_entry_of_sections_b_and_c_has_a_test_of_its_own(number: int) -> None:
    text = dict(entries())[number]
    own = [name for path, name in named(text) if path == GOTCHAS]
    assert own
    for name in own:
        found = _DOCSTRING.match(functions(GOTCHAS)[name])
        assert found is not None, f"{name} begins by saying which entry it is"
        assert int(found[1]) == number, name


def test_every_test_of_an_entry_is_named_in_the_document() -> None:
    assert functions(GOTCHAS).keys() == {name for path, name in named(DOCUMENT) if path == GOTCHAS}
