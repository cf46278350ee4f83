"""The rules of a dialogue, read from TOML and checked: every error names the file and the key."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

SHIPPED = Path(__file__).with_name("dialogue.toml")

_NOT_A_WORD = re.compile(r"[^a-z0-9' ]+")
_RULE_KEYS = {"name", "hear", "say", "tool", "arguments", "before_tool", "repeat"}
_TOP_KEYS = {
    "greeting",
    "still_there",
    "not_understood",
    "unknown",
    "tool_failed",
    "script",
    "rule",
    "tools",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What the assistant does when it hears one of the phrases. `tool` is "" for a rule that only speaks."""

    name: str
    hear: tuple[str, ...]
    say: tuple[str, ...] = ()
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    before_tool: str = ""
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class ToolLine:
    """A line about a function's result, with the names of the JSON fields that it needs."""

    text: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that an assistant hears and says. Immutable: all conversations share one."""

    greeting: str
    still_there: str
    not_understood: tuple[str, ...]
    unknown: str
    tool_failed: str
    script: tuple[str, ...]
    rules: tuple[Rule, ...]
    tool_lines: Mapping[str, tuple[ToolLine, ...]]

    @classmethod
    def load(cls, path: Path | None = None) -> "Rules":
        """The rules in this TOML file, or the shipped ones.

        Raises ValueError with the file and the key for anything wrong in it, OSError if it cannot be read.
        """
        path = path or SHIPPED
        with path.open("rb") as file:
            try:
                return _Reader(path.name, tomllib.load(file)).rules()
            except tomllib.TOMLDecodeError as error:
                raise ValueError(f"{path.name} is not TOML: {error}") from error

    @property
    def phrases(self) -> tuple[str, ...]:
        """Everything recognisable, each once, in small letters and without punctuation."""
        return tuple(dict.fromkeys(" ".join(words(phrase)) for rule in self.rules for phrase in rule.hear))

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line that is the same on each call, each once: what can be rendered beforehand."""
        lines = [self.greeting, self.still_there, *self.not_understood, self.unknown, self.tool_failed]
        for rule in self.rules:
            lines += [rule.before_tool, *rule.say]
        return tuple(dict.fromkeys(line for line in lines if line))

    def named(self, name: str) -> Rule:
        """The rule of that name. Raises KeyError if there is none."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise KeyError(name)


def words(text: str) -> list[str]:
    """The words of a sentence in small letters, without punctuation."""
    return _NOT_A_WORD.sub(" ", text.lower().replace("’", "'")).split()


class _Reader:
    def __init__(self, file_name: str, document: dict[str, Any]) -> None:
        self._file_name = file_name
        self._document = document

    def rules(self) -> Rules:
        document = self._document
        self._only(document, _TOP_KEYS, "")
        tables = document.get("rule", [])
        if not isinstance(tables, list) or not tables:
            raise self._error("rule", "must be one or more [[rule]] tables")
        rules = tuple(self._rule(table, number) for number, table in enumerate(tables, start=1))
        names = [rule.name for rule in rules]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise self._error("rule", f"has two rules named {repeated[0]!r}")
        script = self._texts(document, "script", "script")
        if unknown := [name for name in script if name not in names]:
            raise self._error("script", f"names {unknown[0]!r}, which is no rule")
        tools = document.get("tools", {})
        if not isinstance(tools, dict):
            raise self._error("tools", "must be a table of lines for each function")
        return Rules(
            greeting=self._text(document, "greeting", "greeting"),
            still_there=self._text(document, "still_there", "still_there"),
            not_understood=self._texts(document, "not_understood", "not_understood"),
            unknown=self._text(document, "unknown", "unknown"),
            tool_failed=self._text(document, "tool_failed", "tool_failed"),
            script=script,
            rules=rules,
            tool_lines={name: self._tool_lines(tools, name) for name in tools},
        )

    def _rule(self, table: Any, number: int) -> Rule:
        where = f"rule {number}"
        if not isinstance(table, dict):
            raise self._error(where, "must be a table")
        self._only(table, _RULE_KEYS, f"{where}.")
        name = self._text(table, "name", f"{where}.name")
        where = f"rule {name!r}"
        hear = self._texts(table, "hear", f"{where}.hear")
        if not hear or not all(words(phrase) for phrase in hear):
            raise self._error(f"{where}.hear", "must be one or more phrases")
        repeat = table.get("repeat", False)
        if not isinstance(repeat, bool):
            raise self._error(f"{where}.repeat", "must be true or false")
        arguments = table.get("arguments", {})
        if not isinstance(arguments, dict):
            raise self._error(f"{where}.arguments", "must be a table")
        say = self._texts(table, "say", f"{where}.say") if "say" in table else ()
        if not say and not repeat:
            raise self._error(f"{where}.say", "is missing: a rule needs a line, or repeat = true")
        tool, before_tool = (
            self._text(table, key, f"{where}.{key}") if key in table else ""
            for key in ("tool", "before_tool")
        )
        return Rule(name, hear, say, tool, arguments, before_tool, repeat)

    def _tool_lines(self, tools: dict[str, Any], name: str) -> tuple[ToolLine, ...]:
        key = f"tools.{name}"
        lines = []
        for text in self._texts(tools, name, key):
            try:
                fields = frozenset(part[1] for part in Formatter().parse(text) if part[1] is not None)
            except ValueError as error:
                raise self._error(key, f"has a line with a wrong brace: {error}") from error
            if wrong := [name for name in fields if not name.isidentifier()]:
                raise self._error(key, f"has the field {wrong[0]!r}, which is no plain name")
            lines.append(ToolLine(text, fields))
        return tuple(lines)

    def _text(self, table: dict[str, Any], key: str, where: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._error(where, "must be a text that is not empty")
        return value

    def _texts(self, table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) and text.strip() for text in values):
            raise self._error(where, "must be a text or a list of texts")
        return tuple(values)

    def _only(self, table: dict[str, Any], known: set[str], prefix: str) -> None:
        if extra := sorted(set(table) - known):
            raise self._error(prefix + extra[0], f"is unknown; known are {', '.join(sorted(known))}")

    def _error(self, key: str, problem: str) -> ValueError:
        return ValueError(f"{self._file_name}: {key} {problem}")
