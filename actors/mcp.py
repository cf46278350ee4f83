"""MCP servers, whose tools the model's own side calls: the tables `[[mcp]]`.

Source: openai-realtime.md, 3.2 and 10.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo, field_validator

from actors.table import Table

SECRETS = "secrets"
"""Key of the validation context: the environment, in which secrets are that do not belong into a file."""


def _https(value: str) -> str:
    url = urlsplit(value)
    if "@" in url.netloc:
        raise ValueError("holds a user name or a password; give the secret by authorization_variable")
    if url.scheme != "https" or not url.hostname:
        raise ValueError("is not an https URL; it is called from where the model is")
    return value


def _never(value: object) -> object:
    if value == "always":
        raise ValueError(
            'is "always", and in a call nobody is there to approve; write "never", and in allowed_tools which tools '
            "may be called"
        )
    return value


def _secret(name: str, context: dict[str, Any] | None) -> str:
    secrets: Mapping[str, str] = (context or {}).get(SECRETS) or {}
    return secrets.get(name, "").strip()


class McpServer(Table):
    """A server whose tools the model may call, beside those that are Python here.

    It is called by the Realtime API and not by us, so it has to be reachable from there.
    """

    label: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    """What the model knows it by."""
    url: Annotated[str, AfterValidator(_https)]
    authorization_variable: str | None = None
    """The name of an environment variable with the token that the server wants, without "Bearer"."""
    allowed_tools: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The names of those that the model may call; None: all that the server has."""
    require_approval: Annotated[Literal["never"], BeforeValidator(_never)]
    """Stated, because without it the API waits for an approval of each call."""

    _authorization: str | None = PrivateAttr(None)

    @field_validator("authorization_variable")
    @classmethod
    def _check_variable(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and not _secret(name, info.context):
            raise ValueError(f"{name} is not set; set it in the environment, or in .env")
        return name

    def model_post_init(self, context: Any) -> None:
        """Called by pydantic."""
        if self.authorization_variable is not None:
            self._authorization = _secret(self.authorization_variable, context)

    @property
    def definition(self) -> dict[str, Any]:
        """What stands in the session's `tools`. It holds the secret."""
        definition: dict[str, Any] = {
            "type": "mcp",
            "server_label": self.label,
            "server_url": self.url,
            "require_approval": self.require_approval,
        }
        if self._authorization is not None:
            definition["authorization"] = self._authorization
        if self.allowed_tools is not None:
            definition["allowed_tools"] = list(self.allowed_tools)
        return definition


def _told_apart(servers: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
    if len({server.label for server in servers}) < len(servers):
        raise ValueError("two of them have the same label; give one a label of its own")
    return servers


McpServers = Annotated[tuple[McpServer, ...], AfterValidator(_told_apart)]
