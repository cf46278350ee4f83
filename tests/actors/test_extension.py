"""Tools and listeners that an assistant's file names."""

from pathlib import Path

import pytest

from actors.assistant import Assistant, AssistantError

SHOP = '''
from actors import Listener, tool


@tool
def look_up(order: int) -> str:
    """Look an order up."""
    return f"order {order}"


class Log(Listener):
    pass


plain = 1
'''


def assistant(directory: Path, more: str) -> Assistant:
    directory.joinpath("assistant.toml").write_text(f'instructions = "Be brief."\n{more}\n')
    return Assistant.load(directory / "assistant.toml")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    tmp_path.joinpath(f"{name}.py").write_text(SHOP)
    tmp_path.joinpath("broken_shop.py").write_text("1 / 0")
    return tmp_path.joinpath(name)


def test_a_file_beside_the_assistants_gives_tools_and_listeners(shop: Path) -> None:
    found = assistant(shop.parent, f'tools = ["{shop.name}:look_up"]\nlisteners = ["{shop.name}:Log"]')
    assert found.callable_tools()["look_up"].run('{"order": 7}', None) == '"order 7"'  # type: ignore[arg-type]
    assert [each.__name__ for each in found.listener_classes()] == ["Log"]


@pytest.mark.parametrize(
    ("key", "name", "complaint"),
    [
        ("tools", "SHOP:plain", "plain is not a tool; put @tool"),
        ("listeners", "SHOP:look_up", "look_up is not a listener"),
        ("tools", "SHOP:missing", "has no missing"),
        ("tools", "nowhere_at_all:x", "there is no module nowhere_at_all"),
        ("tools", "look_up", "write it like my_tools:look_up_order"),
        ("listeners", "broken_shop:x", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_is_named(shop: Path, key: str, name: str, complaint: str) -> None:
    with pytest.raises(AssistantError, match=complaint):
        assistant(shop.parent, f'{key} = ["{name.replace("SHOP", shop.name)}"]')


def test_two_tools_of_one_name_are_refused(shop: Path) -> None:
    name = f"{shop.name}:look_up"
    with pytest.raises(AssistantError, match="same name"):
        assistant(shop.parent, f'tools = ["{name}", "{name}"]')
