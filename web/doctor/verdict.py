"""What a check has found, and what to do about it."""

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """How bad it is. Only `FAILED` makes the examination fail."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the report, or two."""

    check: str
    """What was looked at, in a word or two."""
    level: Level
    finding: str
    advice: str = ""
    """What to do. Empty where there is nothing to do."""


def ok(check: str, finding: str) -> Verdict:
    return Verdict(check, Level.OK, finding)


def skipped(check: str, finding: str, advice: str = "") -> Verdict:
    return Verdict(check, Level.SKIPPED, finding, advice)


def warning(check: str, finding: str, advice: str) -> Verdict:
    return Verdict(check, Level.WARNING, finding, advice)


def failed(check: str, finding: str, advice: str) -> Verdict:
    return Verdict(check, Level.FAILED, finding, advice)
