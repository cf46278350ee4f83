"""MCP servers of an assistant: what the session is told of them, and what a file must not say."""

from pathlib import Path

import pytest
from openai.types.realtime import SessionUpdateEvent

from actors.assistant import Assistant, AssistantError
from simulator.schema import check, parse
from tests.wire.test_dialect import unknown_fields
from wire.dialect import OPENAI

SECRETS = {"CRM_TOKEN": " secret-token\n", "EMPTY": " "}
CRM = '[[mcp]]\nlabel = "crm"\nurl = "https://crm.example.com/mcp"\nrequire_approval = "never"\n'


def load(tmp_path: Path, text: str) -> Assistant:
    path = tmp_path / "assistant.toml"
    path.write_text(f'instructions = "Be brief."\n{text}')
    return Assistant.load(path, SECRETS)


def test_a_server_stands_among_the_sessions_tools(tmp_path: Path) -> None:
    text = CRM + 'authorization_variable = "CRM_TOKEN"\nallowed_tools = ["find", "note"]\n'
    other = '[[mcp]]\nlabel = "docs"\nurl = "https://docs.example.com"\nrequire_approval = "never"\n'
    session = load(tmp_path, text + other).session()
    assert session.tools == (
        {
            "type": "mcp",
            "server_label": "crm",
            "server_url": "https://crm.example.com/mcp",
            "require_approval": "never",
            "authorization": "secret-token",
            "allowed_tools": ["find", "note"],
        },
        {
            "type": "mcp",
            "server_label": "docs",
            "server_url": "https://docs.example.com",
            "require_approval": "never",
        },
    )


def test_the_session_is_one_that_the_offline_model_and_the_sdk_know(tmp_path: Path) -> None:
    text = CRM + 'authorization_variable = "CRM_TOKEN"\nallowed_tools = ["find"]\n'
    update = OPENAI.session_update(load(tmp_path, text).session())
    check(parse(update))
    assert unknown_fields(SessionUpdateEvent.model_validate_json(update)) == []


def test_the_secret_is_shown_by_nothing_that_might_be_logged(tmp_path: Path) -> None:
    assistant = load(tmp_path, CRM + 'authorization_variable = "CRM_TOKEN"')
    assert "secret-token" not in repr(assistant) + repr(assistant.session())


def test_an_assistant_for_one_call_has_its_servers_with_their_secrets(tmp_path: Path) -> None:
    assistant = load(tmp_path, CRM + 'authorization_variable = "CRM_TOKEN"')
    assert assistant.changed(greeting="Hello.").session().tools == assistant.session().tools
    other = {"label": "other", "url": "https://a.b", "require_approval": "never"}
    (changed,) = assistant.changed(mcp=[other | {"authorization_variable": "CRM_TOKEN"}]).session().tools
    assert (changed["server_label"], changed["authorization"]) == ("other", "secret-token")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CRM.replace("https", "http"), r"mcp\.0\.url: .*not an https URL"),
        (CRM.replace("crm.example.com", "me:pw@crm.example.com"), r"mcp\.0\.url: .*authorization_variable"),
        (CRM.replace('"never"', '"always"'), r"mcp\.0\.require_approval: .*nobody is there to approve"),
        (CRM.replace('"never"', '"sometimes"'), r"mcp\.0\.require_approval: "),
        (CRM.replace('require_approval = "never"', ""), r"mcp\.0\.require_approval: Field required"),
        (CRM.replace('label = "crm"', 'label = "my crm"'), r"mcp\.0\.label: "),
        (CRM + "allowed_tools = []", r"mcp\.0\.allowed_tools: "),
        (CRM + 'authorization = "secret"', r"mcp\.0\.authorization: Extra inputs"),
        (
            CRM + 'authorization_variable = "NO_TOKEN"',
            r"mcp\.0\.authorization_variable: .*NO_TOKEN is not set",
        ),
        (CRM + 'authorization_variable = "EMPTY"', r"mcp\.0\.authorization_variable: .*EMPTY is not set"),
        (CRM + CRM, r"mcp: .*two of them have the same label"),
    ],
)
def test_a_mistake_is_called_by_its_name(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(AssistantError, match=rf"assistant\.toml: {problem}"):
        load(tmp_path, text)
