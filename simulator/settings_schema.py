"""The session object of the Realtime API as a client may send it: every field, its type and its range.

Source: openai-realtime.md sections 3 and 4. Everything is a TypedDict, because in `session.update` a field
that is absent means something else than a field that is null.
"""

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

strict = with_config(ConfigDict(extra="forbid", strict=True))

Modalities = Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)]
OutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


@strict
class PcmFormat(TypedDict, total=False):
    type: Required[Literal["audio/pcm"]]
    rate: Literal[24000]


@strict
class G711Format(TypedDict):
    type: Literal["audio/pcmu", "audio/pcma"]


Format = Annotated[PcmFormat | G711Format, Field(discriminator="type")]


@strict
class CustomVoice(TypedDict):
    id: str


BuiltInVoice = Literal[
    "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"
]  # fmt: skip
Voice = BuiltInVoice | CustomVoice


@strict
class NoiseReduction(TypedDict, total=False):
    type: Required[Literal["near_field", "far_field"]]
    strength: Annotated[float, Field(ge=0)]


@strict
class Transcription(TypedDict, total=False):
    model: Required[str]
    language: str
    languages: list[str]
    keywords: list[str]
    prompt: str
    delay: Literal["minimal", "low", "medium", "high", "xhigh"]


@strict
class ServerVad(TypedDict, total=False):
    type: Required[Literal["server_vad"]]
    threshold: Annotated[float, Field(ge=0, le=1)]
    prefix_padding_ms: Annotated[int, Field(ge=0)]
    silence_duration_ms: Annotated[int, Field(ge=0)]
    create_response: bool
    interrupt_response: bool
    idle_timeout_ms: Annotated[int, Field(ge=5000, le=30000)] | None


@strict
class SemanticVad(TypedDict, total=False):
    type: Required[Literal["semantic_vad"]]
    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


@strict
class AudioInput(TypedDict, total=False):
    format: Format
    noise_reduction: NoiseReduction | None
    transcription: Transcription | None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None


@strict
class AudioOutput(TypedDict, total=False):
    format: Format
    voice: Voice
    speed: Annotated[float, Field(ge=0.25, le=1.5)]


@strict
class Audio(TypedDict, total=False):
    input: AudioInput
    output: AudioOutput


@strict
class FunctionTool(TypedDict, total=False):
    type: Required[Literal["function"]]
    name: Required[str]
    description: str
    parameters: dict[str, Any]
    strict: bool


@strict
class McpTool(TypedDict, total=False):
    type: Required[Literal["mcp"]]
    server_label: Required[str]
    server_url: str
    server_description: str
    connector_id: str
    tunnel_id: str
    authorization: str
    allowed_callers: list[Literal["direct", "programmatic"]]
    defer_loading: bool
    headers: dict[str, str] | None
    allowed_tools: list[str] | dict[str, Any] | None
    require_approval: Literal["always", "never"] | dict[str, Any] | None


Tools = list[Annotated[FunctionTool | McpTool, Field(discriminator="type")]]


@strict
class FunctionChoice(TypedDict):
    type: Literal["function"]
    name: str


@strict
class McpChoice(TypedDict, total=False):
    type: Required[Literal["mcp"]]
    server_label: Required[str]
    name: str | None


ToolChoice = (
    Literal["auto", "none", "required"]
    | Annotated[FunctionChoice | McpChoice, Field(discriminator="type")]
)  # fmt: skip


@strict
class TokenLimits(TypedDict, total=False):
    post_instructions: Annotated[int, Field(ge=0)]


@strict
class RetentionRatio(TypedDict, total=False):
    type: Required[Literal["retention_ratio"]]
    retention_ratio: Required[Annotated[float, Field(ge=0, le=1)]]
    token_limits: TokenLimits


@strict
class Tracing(TypedDict, total=False):
    workflow_name: str
    group_id: str
    metadata: dict[str, Any]


@strict
class Prompt(TypedDict, total=False):
    id: Required[str]
    version: str | None
    variables: dict[str, Any] | None


@strict
class Reasoning(TypedDict, total=False):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"]


@strict
class Session(TypedDict, total=False):
    type: Required[Literal["realtime"]]
    model: str
    instructions: str
    output_modalities: Modalities
    audio: Audio
    tools: Tools
    tool_choice: ToolChoice
    max_output_tokens: OutputTokens
    truncation: Literal["auto", "disabled"] | RetentionRatio
    tracing: Literal["auto"] | Tracing | None
    prompt: Prompt | None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None
    reasoning: Reasoning
    parallel_tool_calls: bool
