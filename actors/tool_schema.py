"""A Python function's parameters as the model is told about them: from type hints and docstring to JSON schema."""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from actors.call_context import CallContext

_SECTION = re.compile(r"(Args|Arguments|Raises):\s*")
_DOCUMENTED = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")


def fields_of(
    what: str, function: Callable[..., Any], documented: dict[str, str]
) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...]]:
    """The parameters that the model sees, for create_model, and the names of those that take the context.

    `what`: how complaints begin; `documented`: what the docstring says of each parameter. Raises TypeError for a
    parameter that the model could not give.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise TypeError(f"{what}: its type hints cannot be resolved: {error}") from error
    parameters = inspect.signature(function).parameters
    if unknown := [name for name in documented if name not in parameters]:
        raise TypeError(f"{what}: its docstring describes {unknown[0]!r}, which is none of its parameters")
    fields: dict[str, tuple[Any, Any]] = {}
    contexts = []
    for name, parameter in parameters.items():
        where = f"{what}: parameter {name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{where} is {parameter.kind.description}; the model names every argument")
        if name not in hints:
            raise TypeError(f"{where} has no type hint")
        annotation = hints[name]
        if annotation is CallContext:
            contexts.append(name)
            continue
        if CallContext in typing.get_args(annotation):
            # Else the model would be asked for it, and could make a caller up.
            raise TypeError(f"{where}: its type hint must be CallContext and nothing more")
        try:
            TypeAdapter(annotation).json_schema(schema_generator=_Schema)
            declared = FieldInfo.from_annotation(annotation)
        except (PydanticUserError, NameError, TypeError) as error:
            raise TypeError(f"{where}: the model cannot give a {annotation!r}: {error}") from error
        if isinstance(parameter.default, FieldInfo) or not declared.is_required():
            raise TypeError(
                f"{where}: a Field belongs into Annotated, and a default behind the parameter's ="
            )
        more: dict[str, Any] = {"alias": name}
        if declared.description is None and name in documented:
            more["description"] = documented[name]
        if parameter.default is not parameter.empty:
            more["default"] = parameter.default
        # Numbered, because pydantic reserves names that are good ones for a parameter: json, copy, model_id.
        fields[f"argument_{len(fields)}"] = (annotation, Field(**more))
    return fields, tuple(contexts)


def read_docstring(text: str) -> tuple[dict[str, str], str]:
    """Divide a docstring into what "Args:" says of each parameter, and the rest without "Raises:"."""
    arguments: dict[str, list[str]] = {}
    rest = []
    section = indent = None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if heading := _SECTION.fullmatch(line):
            section = heading[1]
        elif section is None or (line and depth == 0):
            section = None
            rest.append(line)
        elif line and section != "Raises":
            indent = depth if indent is None else indent
            if depth > indent and arguments:
                arguments[next(reversed(arguments))].append(line.strip())
            elif entry := _DOCUMENTED.fullmatch(line.strip()):
                arguments[entry[1]] = [entry[2]]
    return {name: " ".join(lines).strip() for name, lines in arguments.items()}, "\n".join(rest).strip()


def schema_of(arguments: type[BaseModel]) -> dict[str, Any]:
    """What the model is told about the arguments, as a JSON schema of an object."""
    schema: dict[str, Any] = _without_titles(arguments.model_json_schema(schema_generator=_Schema))
    return schema


class _Schema(GenerateJsonSchema):
    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Of a default that JSON cannot hold: the schema does without it, and Python fills it in all the same."""


def _without_titles(schema: Any, named: bool = False) -> Any:
    """Leave out the titles that pydantic makes from names: the model pays for them. `named`: keys are names."""
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value
        if key in ("default", "const", "enum", "examples") and not named
        else _without_titles(value, named=not named and key in ("properties", "$defs"))
        for key, value in schema.items()
        if named or key != "title"
    }
