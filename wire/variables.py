"""What an assistant's texts may leave open until there is a call: `{caller}`, `{time}`, `{parameters.name|there}`.

    {caller}, {called}         the two numbers; a caller's that is withheld is empty
    {time}, {date}, {weekday}  when the call begins, where the assistant is: 14:05, 2026-11-28, Saturday
    {parameters.name}          a custom parameter of the stream; empty where this call has none
    {caller|unknown}           the same, and what to say where it is empty
    {{ and }}                  a brace

What a call brings is data. It is put in once and not looked at again, so it cannot name a variable; it has one line,
VALUE_CHARACTERS at most, and no braces. It is still text that a stranger wrote, which a model reads.

Pure.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from wire.phone_number import is_withheld

OF_EVERY_CALL = ("caller", "called", "time", "date", "weekday")
PARAMETER = "parameters."
"""What the name of a custom parameter comes behind."""

VALUE_CHARACTERS = 200

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""In English whatever the process's locale is: it is the model that reads them."""

_PIECE = re.compile(
    r"(?P<text>[^{}]+)|(?P<brace>\{\{|\}\})|\{(?P<name>[^{}|]*)(?:\|(?P<default>[^{}]*))?\}|(?P<odd>.)"
)
_PARAMETER_NAME = re.compile(r"parameters\.[A-Za-z0-9_.-]+")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def check(text: str) -> None:
    """Raises ValueError, with what to write instead, where the text names what no call has."""
    for piece in _PIECE.finditer(text):
        if piece["odd"] is not None:
            raise ValueError(
                f"has a single {piece['odd']}; write {2 * piece['odd']} for a brace that is meant as one"
            )
        name = piece["name"]
        if name is None or name in OF_EVERY_CALL or _PARAMETER_NAME.fullmatch(name):
            continue
        known = ", ".join(OF_EVERY_CALL)
        raise ValueError(
            f"there is no {{{name}}}; there are {known} and {PARAMETER}NAME, and {{{{ stands for a brace"
        )


def has_any(text: str) -> bool:
    """Whether the text is another one in another call."""
    return any(piece["name"] is not None for piece in _PIECE.finditer(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the values of `of_call` in it. Raises ValueError as `check` does."""
    check(text)
    return "".join(_filled(piece, values) for piece in _PIECE.finditer(text))


def _filled(piece: "re.Match[str]", values: Mapping[str, str]) -> str:
    if piece["text"] is not None:
        return piece["text"]
    if piece["brace"] is not None:
        return piece["brace"][0]
    return values.get(piece["name"], "") or piece["default"] or ""


def of_call(caller: str, called: str, parameters: Mapping[str, str], now: datetime) -> dict[str, str]:
    """The values of one call, by name. `now`: in the assistant's timezone; `parameters`: as Twilio brought them."""
    values = {
        "caller": "" if is_withheld(caller) else caller,
        "called": called,
        "time": f"{now:%H:%M}",
        "date": f"{now:%Y-%m-%d}",
        "weekday": _WEEKDAYS[now.weekday()],
        **{PARAMETER + name: value for name, value in parameters.items()},
    }
    return {name: as_data(value) for name, value in values.items()}


def as_data(value: str) -> str:
    """What somebody brought, on one line, not too long and without braces."""
    line = _UNPRINTABLE.sub(" ", value).replace("{", "(").replace("}", ")").strip()
    return line[:VALUE_CHARACTERS].rstrip()
