"""A small rule-based assistant: what the offline model answers. Pure; the lines are in dialogue.toml.

Source of the function-call shape: the Realtime API's function_call items, whose arguments and output are JSON
text.
"""

import json
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from simulator.rules import Rule, Rules, words

_QUOTED = re.compile(r'["“]([^"“”]+)["”]')
_CLOSE_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function that the assistant wants called. `arguments` is JSON text, an object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the assistant does: says the text, which may be empty, and then makes the calls."""

    text: str = ""
    calls: tuple[FunctionCall, ...] = ()


class Dialogue:
    """One conversation. Used by one thread at a time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._times_said: Counter[str] = Counter()
        self._turn = 0
        self._has_understood = False
        self._has_spoken = False
        self._last_text = rules.greeting

    def reply(self, heard: str, tools: Collection[str] = ()) -> Reply:
        """The answer to what the caller said, recognised or typed. `tools` are the declared functions' names.

        An empty `heard` means that nothing was understood. Until something has been, the script goes on by a
        turn, because there may be no recogniser at all; afterwards the caller is asked to say it again.
        """
        if words(heard):
            self._has_understood = True
            rule = self._rule_for(heard)
            return self._follow_rule(rule, tools) if rule else self._say(self._rules.unknown)
        if self._has_understood or self._turn >= len(self._rules.script):
            return self._say(self._next_of("not understood", self._rules.not_understood))
        rule = self._rules.named(self._rules.script[self._turn])
        self._turn += 1
        return self._follow_rule(rule, tools)

    def after_tool(self, name: str, output: str) -> Reply:
        """What to say about a function's result, `output`: JSON text as a rule, any text in truth.

        An object with an `error` is an excuse. A function that has lines but none for these fields gets the
        excuse as well; one that the rules do not know has its result read out.
        """
        try:
            result = json.loads(output)
        except ValueError:
            result = output
        if isinstance(result, dict) and "error" in result:
            return self._say(self._rules.tool_failed)
        lines = self._rules.tool_lines.get(name)
        if lines is None:
            return self._say(_read_out(result) or self._rules.tool_failed)
        if not lines:
            return Reply()
        for line in lines:
            if isinstance(result, dict) and line.fields <= result.keys():
                return self._say(line.text.format_map({field: result[field] for field in line.fields}))
        return self._say(self._rules.tool_failed)

    def follow(self, instructions: str) -> Reply:
        """The answer to `response.create` with instructions: text in double quotes is said word for word.

        Without any, the first time is the greeting and later ones ask whether the caller is there.
        """
        quoted = " ".join(part.strip() for part in _QUOTED.findall(instructions))
        if quoted.strip():
            return self._say(quoted)
        return self._say(self._rules.still_there if self._has_spoken else self._rules.greeting)

    def _follow_rule(self, rule: Rule, tools: Collection[str]) -> Reply:
        if rule.repeat:
            return self._say(self._last_text)
        if rule.tool in tools:
            call = FunctionCall(rule.tool, json.dumps(dict(rule.arguments)))
            return Reply(self._say(rule.before_tool).text, (call,))
        return self._say(self._next_of(rule.name, rule.say))

    def _next_of(self, topic: str, lines: tuple[str, ...]) -> str:
        line = lines[self._times_said[topic] % len(lines)]
        self._times_said[topic] += 1
        return line

    def _say(self, text: str) -> Reply:
        self._has_spoken = True
        self._last_text = text or self._last_text
        return Reply(text)

    def _rule_for(self, heard: str) -> Rule | None:
        """The rule with the phrase that shares most words, if that is most of them: typed text is not exact."""
        spoken = words(heard)
        best_score, best = 0.0, None
        for rule in self._rules.rules:
            for phrase in rule.hear:
                phrase_words = words(phrase)
                if phrase_words == spoken:
                    return rule
                shared = len(set(spoken) & set(phrase_words))
                score = shared / len(set(spoken) | set(phrase_words))
                if score > best_score:
                    best_score, best = score, rule
        return best if best_score >= _CLOSE_ENOUGH else None


def _read_out(result: object) -> str:
    if isinstance(result, dict):
        return " ".join(f"{str(key).replace('_', ' ')}: {value}." for key, value in result.items())
    if isinstance(result, list):
        return " ".join(f"{value}." for value in result)
    return "" if result is None else str(result)
