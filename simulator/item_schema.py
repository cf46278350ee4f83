"""Conversation items as a client may create them.

Source: openai-realtime.md section 5.2. The mcp_* items are missing: the offline model calls no MCP server.
"""

from typing import Annotated, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from simulator.settings_schema import strict

ItemStatus = Literal["completed", "incomplete", "in_progress"]


@strict
class InputText(TypedDict):
    type: Literal["input_text"]
    text: str


@strict
class InputAudio(TypedDict, total=False):
    type: Required[Literal["input_audio"]]
    audio: Required[str]
    transcript: str | None


@strict
class InputImage(TypedDict, total=False):
    type: Required[Literal["input_image"]]
    image_url: Required[str]
    detail: Literal["auto", "low", "high"]


@strict
class OutputText(TypedDict):
    type: Literal["output_text"]
    text: str


@strict
class SystemMessage(TypedDict, total=False):
    type: Required[Literal["message"]]
    role: Required[Literal["system"]]
    content: Required[list[InputText]]
    id: str
    object: Literal["realtime.item"]
    status: ItemStatus


@strict
class UserMessage(TypedDict, total=False):
    type: Required[Literal["message"]]
    role: Required[Literal["user"]]
    content: Required[list[Annotated[InputText | InputAudio | InputImage, Field(discriminator="type")]]]
    id: str
    object: Literal["realtime.item"]
    status: ItemStatus


@strict
class AssistantMessage(TypedDict, total=False):
    """Assistant audio cannot be created by a client (openai-realtime.md, 5.2)."""

    type: Required[Literal["message"]]
    role: Required[Literal["assistant"]]
    content: Required[list[OutputText]]
    id: str
    object: Literal["realtime.item"]
    status: ItemStatus


@strict
class FunctionCallItem(TypedDict, total=False):
    type: Required[Literal["function_call"]]
    name: Required[str]
    arguments: Required[str]
    call_id: str
    id: str
    object: Literal["realtime.item"]
    status: ItemStatus


@strict
class FunctionCallOutput(TypedDict, total=False):
    type: Required[Literal["function_call_output"]]
    call_id: Required[str]
    output: Required[str]
    id: str
    object: Literal["realtime.item"]
    status: ItemStatus


@strict
class ItemReference(TypedDict):
    type: Literal["item_reference"]
    id: str


Message = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]
Item = Annotated[Message | FunctionCallItem | FunctionCallOutput, Field(discriminator="type")]
