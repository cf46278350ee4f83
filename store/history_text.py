"""Past calls in words: a table of many, the story of one. Plain text, which is good in a log too."""

import time
from collections.abc import Sequence

from store.history import PastCall, Told
from wire.journal import OUTBOUND
from wire.phone_number import shortened
from wire.transcript import Entry
from wire.transcript_text import Spoken, clock, plain_line
from wire.withheld import Pauses, is_withheld, pauses

HEADINGS = ("BEGAN (UTC)", "CALL", "WAY", "FROM", "TO", "LASTED", "OUTCOME", "TURNS", "ANSWER", "COST")
HIDDEN = {"began_at"}
"""Data of events that are for programs."""
TO_THE_RIGHT = {"LASTED", "TURNS", "ANSWER", "COST"}


def call_table(past_calls: Sequence[PastCall], full: bool = False) -> str:
    """One line for each. `full`: with whole numbers, where else they show their last two digits."""
    rows = [HEADINGS, *(_row(call, full) for call in past_calls)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in TO_THE_RIGHT else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    )


def call_story(call: PastCall, story: Sequence[Told], full: bool = False) -> str:
    """Who called whom, what was said, what was heard of it, what happened, and when, since the call began."""
    version = f" (version {call.assistant_version})" if call.assistant_version else ""
    streams = "" if call.streams == 1 else f" on {call.streams} streams"
    turns = f"{call.turns} turn{'' if call.turns == 1 else 's'}"
    head = [
        f"{call.call_sid}  {_when(call.began_at)} UTC",
        f"{call.direction}, from {_number(call.caller, full)} to {_number(call.called, full)}, "
        f"{call.assistant or '-'}{version}",
        f"{_outcome(call)}, lasted {_lasted(call)}{streams}, {turns}, median answer {_answer(call)}, "
        f"cost {call.cost:.4f}",
        "",
    ]
    events = [(told.at, told.what) for told in story if isinstance(told.what, str) and told.at is not None]
    paused = pauses(events)
    return "\n".join([*head, *(_line(call, told, paused) for told in story)])


def _line(call: PastCall, told: Told, paused: Pauses) -> str:
    since = None if told.at is None else max(told.at - call.began_at, 0.0)
    if isinstance(told.what, Entry):
        return _printable(plain_line(Spoken(told.what, since, None, is_withheld(told.at, paused))))
    when = " " * 10 if since is None else clock(since)[:-2]
    data = ", ".join(
        f"{name} {_value(value)}"
        for name, value in told.data.items()
        if value is not None and name not in HIDDEN
    )
    return _printable(f"{when}  - {told.what}{': ' if data else ''}{data}")


def _row(call: PastCall, full: bool) -> tuple[str, ...]:
    return (
        _when(call.began_at),
        call.call_sid if full or len(call.call_sid) <= 10 else f"…{call.call_sid[-8:]}",
        "out" if call.direction == OUTBOUND else "in",
        _number(call.caller, full),
        _number(call.called, full),
        _lasted(call),
        _outcome(call),
        str(call.turns),
        _answer(call),
        f"{call.cost:.4f}",
    )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _number(number: str, full: bool) -> str:
    if full or not number:
        return _printable(number) or "-"
    return shortened(number)


def _lasted(call: PastCall) -> str:
    if call.seconds is None:
        return "-"
    minutes, seconds = divmod(round(call.seconds), 60)
    return f"{minutes}:{seconds:02}"


def _outcome(call: PastCall) -> str:
    return call.outcome.replace("_", " ") or "not ended"


def _answer(call: PastCall) -> str:
    return "-" if call.answer_ms is None else f"{call.answer_ms:.0f} ms"


def _value(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _printable(text: str) -> str:
    """On one line, and without what a terminal would obey: callers and models choose the text."""
    return "".join(each if each.isprintable() else " " for each in text)
