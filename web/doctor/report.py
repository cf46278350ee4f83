"""Verdicts as text for a terminal or a log, and as JSON."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from web.doctor.verdict import Level, Verdict

_CHECK_WIDTH = 13
_LEVEL_WIDTH = 8
LEAST_WIDTH = 40


def as_text(verdict: Verdict, width: int) -> str:
    """Level, check and finding; below them what to do. No line is longer than `width`."""
    width = max(width, LEAST_WIDTH)
    head = f"{verdict.level.value:<{_LEVEL_WIDTH}} {verdict.check:<{_CHECK_WIDTH}} "
    below = " " * len(head)
    lines = textwrap.wrap(
        verdict.finding, width, initial_indent=head, subsequent_indent=below, break_on_hyphens=False
    )
    if verdict.advice:
        lines += textwrap.wrap(
            verdict.advice,
            width,
            initial_indent=f"{below}-> ",
            subsequent_indent=f"{below}   ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def summary(verdicts: Iterable[Verdict]) -> str:
    """How many of each."""
    counts = Counter(verdict.level for verdict in verdicts)
    return ", ".join(f"{counts[level]} {level.value}" for level in Level if counts[level])


def as_json(verdicts: Iterable[Verdict]) -> str:
    """A list of objects with check, level, finding and advice."""
    return json.dumps([asdict(each) | {"level": each.level.value} for each in verdicts], indent=2)
