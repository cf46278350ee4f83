"""Who may import whom: the picture in docs/design, held by walking every module's imports."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"actors", "benchmarks", "config", "run", "simulator", "store", "tests", "web", "wire"}
SERVERS = {"flask", "flask_sock", "simple_websocket", "gunicorn", "werkzeug"}

MAY_IMPORT_OF_OURS = {
    "wire": {"wire"},
    "simulator": {"simulator", "wire"},
    "benchmarks": {"benchmarks", "run", "simulator", "wire", "web", "actors", "config"},
    "store": {"store", "wire"},
    "actors": {"actors", "wire"},
    "web": {"web", "actors", "store", "wire", "config"},
    "config": {"config"},
}
ONLY_THIRD_PARTY = {"wire": {"orjson"}, "store": {"sqlalchemy"}}
NEVER_THIRD_PARTY = {"actors": SERVERS}


def imports(source: str, package: str = "") -> Iterator[str]:
    """The full names of all modules that the source imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            name = ".".join([*parents, *([node.module] if node.module else [])])
            if node.module or node.level == 0:
                yield name
            else:
                yield from (f"{name}.{alias.name}" for alias in node.names)


def breaches(layer: str, source: str, package: str = "") -> list[str]:
    """What the source imports though its layer must not."""
    found = []
    for name in imports(source, package or layer):
        top = name.partition(".")[0]
        if top in OURS:
            allowed = top in MAY_IMPORT_OF_OURS[layer]
        elif top in sys.stdlib_module_names:
            allowed = True
        else:
            allowed = top not in NEVER_THIRD_PARTY.get(layer, set()) and (
                layer not in ONLY_THIRD_PARTY or top in ONLY_THIRD_PARTY[layer]
            )
        if not allowed:
            found.append(name)
    return found


def modules(layer: str) -> list[Path]:
    folder = ROOT / layer
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{layer}.py"]


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT_OF_OURS))
def test_a_layer_imports_only_what_the_design_lets_it(layer: str) -> None:
    paths = modules(layer)
    assert paths, f"{layer} has no modules"
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in paths
        if (
            wrong := breaches(
                layer,
                path.read_text(encoding="utf-8"),
                ".".join(path.relative_to(ROOT).parent.parts),
            )
        )
    }
    assert not found


def test_nothing_imports_the_composition_root() -> None:
    everywhere = [
        path for layer in ("actors", "config", "simulator", "store", "web", "wire") for path in modules(layer)
    ]
    assert not [path for path in everywhere if "run" in set(imports(path.read_text(encoding="utf-8")))]


def test_only_config_reads_the_environment() -> None:
    """The simulator is left out: it hands PATH and the like on to the servers that it starts."""
    readers = [
        path.relative_to(ROOT).as_posix()
        for layer in ("actors", "config", "store", "web", "wire")
        for path in modules(layer)
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is_os(node.value)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert readers == ["config.py"]


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


@pytest.mark.parametrize(
    ("layer", "source", "wrong"),
    [
        ("wire", "import orjson, json, wire.g711", []),
        ("wire", "import pykka", ["pykka"]),
        ("wire", "def f():\n    from actors.call import CallActor", ["actors.call"]),
        ("simulator", "from web import sockets", ["web"]),
        ("simulator", "import websockets.sync.server, wire.twilio", []),
        ("actors", "import flask", ["flask"]),
        ("actors", "from simple_websocket import Server", ["simple_websocket"]),
        ("actors", "from gunicorn.app import base", ["gunicorn.app"]),
        ("actors", "import config", ["config"]),
        ("actors", "import store.tokens, pykka, websocket", ["store.tokens"]),
        ("store", "import sqlalchemy.orm, sqlite3", []),
        ("store", "import wire.twilio, web", ["web"]),
        ("web", "import run", ["run"]),
        ("web", "from simulator import engine", ["simulator"]),
        ("web", "from . import calls\nfrom .calls import Calls", []),
    ],
)
def test_the_check_itself_sees_a_breach(layer: str, source: str, wrong: list[str]) -> None:
    assert breaches(layer, source) == wrong
