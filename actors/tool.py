"""Python functions that the model may call: what it is told about them, and how one call of one is answered."""

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, create_model
from pydantic_core import to_json

from actors.call_context import CallContext
from actors.member import call_log
from actors.tool_schema import fields_of, read_docstring, schema_of

MAX_OUTPUT_CHARACTERS = 8000
"""The model pays for every character and reads it before it speaks (openai-realtime.md, 10)."""

MAX_TIMEOUT_SECONDS = 3600.0

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CONFIRMED = "confirmed_by_caller"
_ASK_FIRST = (
    "Before you call this, tell the caller exactly what you are about to do and ask whether you should. "
    "Call it only after a clear yes."
)
P = ParamSpec("P")
R = TypeVar("R")


class ToolError(Exception):
    """Its text is what the model is told instead of a result. Tools may raise it themselves."""


@dataclass(frozen=True, eq=False)
class Tool(Generic[P, R]):
    """A function that the model may call; called from Python, it is that function. Made by `tool`."""

    function: Callable[P, R]
    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments; not to be altered"""
    timeout_seconds: float
    confirm: bool
    filler: bool
    """whether something may be played to the caller while it runs"""
    process: bool
    """whether it runs in another process"""
    _arguments: type[BaseModel]
    _contexts: tuple[str, ...]

    def __post_init__(self) -> None:
        # What functools.update_wrapper would set, were this not frozen: for inspect.signature, help and Sphinx.
        copied = {name: getattr(self.function, name) for name in ("__module__", "__qualname__", "__doc__")}
        vars(self).update(copied, __name__=self.function.__name__, __wrapped__=self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def definition(self) -> dict[str, Any]:
        """What stands in the session's `tools`: the flat function tool of openai-realtime.md, 3.2. A new copy."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": copy.deepcopy(self.parameters),
        }

    def run(self, arguments: str, context: CallContext) -> str:
        """Answer one call of the model: from its JSON text to JSON text of at most MAX_OUTPUT_CHARACTERS.

        Takes as long as the function does; any thread. Raises ToolError where the model can do something about
        it, and whatever else the function raises.
        """
        values = self._check(arguments)
        values.update(dict.fromkeys(self._contexts, context))
        result = self.function(**values)  # type: ignore[call-arg]  # checked by pydantic against the signature
        try:
            text = to_json(result, inf_nan_mode="null").decode()
        except Exception as error:
            call_log(__name__, context.call_sid).warning(
                "tool %s returned a %s, which cannot be written as JSON: %s",
                self.name,
                type(result).__name__,
                error,
            )
            raise ToolError(f"{self.name} has run, but its result cannot be shown to you.") from None
        return (
            text if len(text) <= MAX_OUTPUT_CHARACTERS else _cut(result if isinstance(result, str) else text)
        )

    def _check(self, arguments: str) -> dict[str, Any]:
        try:
            model = self._arguments.model_validate_json(arguments if arguments.strip() else "{}")
        except ValidationError as error:
            # Not chained: pydantic's own text quotes what the caller said, and would come into the log.
            raise ToolError(_complaint(self.name, error)) from None
        fields = self._arguments.model_fields
        # Defaults are left to Python: pydantic would hand the function copies of them.
        values = {str(fields[each].alias): getattr(model, each) for each in model.model_fields_set}
        if self.confirm and not values.pop(_CONFIRMED, False):
            raise ToolError(
                f"{self.name} has not run, because the caller has not agreed to it. Tell the caller exactly what you "
                f"are about to do and ask; after a clear yes, call it again with {_CONFIRMED} set to true."
            )
        return values


AnyTool: TypeAlias = Tool[..., Any]


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_seconds: float = 10.0,
    confirm: bool = False,
    filler: bool = True,
    process: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_seconds: float = 10.0,
    confirm: bool = False,
    filler: bool = True,
    process: bool = False,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a function with type hints and a docstring a tool, as `@tool` or `@tool(timeout_seconds=30)`.

    The model is told the function's name and docstring, or `name` and `description`. What an argument means stands
    in `Annotated[..., Field(description=...)]` or under "Args:" in the docstring. After `timeout_seconds` the model
    is told that there is no result. With `confirm` the model has to state that the caller has agreed. Without
    `filler` the caller hears none while only such tools run. With `process` the function runs in another process,
    which has to be able to import it by its module's name. Raises TypeError for a function that cannot be a tool,
    and ValueError for a timeout that is none.
    """
    make = partial(_make, name, description, timeout_seconds, confirm, filler, process)
    return make if function is None else make(function)


def _make(
    name: str | None,
    description: str | None,
    timeout_seconds: float,
    confirm: bool,
    filler: bool,
    process: bool,
    function: Callable[P, R],
) -> Tool[P, R]:
    if not inspect.isfunction(function):
        raise TypeError(f"@tool takes a function, not {function!r}")
    what = f"tool {function.__qualname__}"
    name = function.__name__ if name is None else name
    if not _NAME.fullmatch(name):
        raise TypeError(f"{what}: the name {name!r} must be 1 to 64 of a-z, A-Z, 0-9, _ and -")
    if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise ValueError(f"{what}: timeout_seconds must be more than 0, and {MAX_TIMEOUT_SECONDS:g} at most")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{what} is async; tools run in threads and may block: use def")
    if process and "<" in function.__qualname__:
        raise TypeError(
            f"{what}: with process=True the function must stand at the top of a module or a class"
        )
    documented, documentation = read_docstring(inspect.getdoc(function) or "")
    description = documentation if description is None else inspect.cleandoc(description)
    if not description:
        raise TypeError(f"{what} has no docstring; the model needs one to know what it is for")
    fields, contexts = fields_of(what, function, documented)
    if confirm:
        if any(field.alias == _CONFIRMED for _, field in fields.values()):
            raise TypeError(f"{what}: with confirm=True the parameter {_CONFIRMED!r} is added by @tool")
        description = f"{description}\n\n{_ASK_FIRST}"
        agreed = Field(False, alias=_CONFIRMED, description="true only if the caller has just agreed to this")
        fields["confirmed"] = (StrictBool, agreed)
    arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]
    parameters = schema_of(arguments)
    if confirm:
        # Not required of pydantic, so that a call without it is told to ask, rather than to add an argument.
        del parameters["properties"][_CONFIRMED]["default"]
        parameters.setdefault("required", []).append(_CONFIRMED)
    return Tool(
        function,
        name,
        description,
        parameters,
        timeout_seconds,
        confirm,
        filler,
        process,
        arguments,
        contexts,
    )


def _complaint(name: str, error: ValidationError) -> str:
    said = {"missing": "it is required", "extra_forbidden": "there is no such argument"}
    wrong = [
        f"{'.'.join(map(str, each['loc'])) or 'all of them'}: {said.get(each['type'], each['msg'])}"
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:10]
    ]
    return f"{name} has not run, because its arguments are wrong. {'; '.join(wrong)}. Correct them and call it again."


def _cut(text: str) -> str:
    """JSON of the beginning of `text`, with a note for the model."""
    note = f"The result was too long. Only the beginning of its {len(text)} characters is here."
    kept = MAX_OUTPUT_CHARACTERS - 200
    while len(cut := to_json({"note": note, "beginning": text[:kept]}).decode()) > MAX_OUTPUT_CHARACTERS:
        # Escaping made it longer, by a share that need not be the same all along the text.
        kept = kept * MAX_OUTPUT_CHARACTERS // len(cut) - 1
    return cut
