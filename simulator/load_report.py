"""What came of a load test: a table for people, an object for programs. Pure; any thread."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from simulator.load_phone import LoadPhone, Outcome

SHOWN_PROBLEMS = 10
BUSY_MS = 20.0
"""Where a caller's frame left so late, the machine that puts on the load is what is slow."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of how many it is, and quantiles in ms."""

    count: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> "Times | None":
        """None where there are none."""
        if not times_ms:
            return None
        ordered = sorted(times_ms)
        last = len(ordered) - 1
        return cls(len(ordered), ordered[last // 2], ordered[-(-last * 99 // 100)], ordered[last])


@dataclass(frozen=True, slots=True)
class Report:
    """All calls together."""

    calls: int
    answered: int
    overflow: int
    failed: int
    times: dict[str, Times | None]
    unanswered: int
    silent: int
    """calls that were answered, and heard nothing"""
    moved: int
    audio_seconds: float
    marks_asked: int
    marks_echoed: int
    latest_ms: float
    """the longest that a caller's frame left after its time"""
    problems: tuple[str, ...]

    @classmethod
    def of(cls, phones: Sequence[LoadPhone]) -> "Report":
        """What these have seen."""
        figures = [phone.figures for phone in phones]
        outcomes = Counter(each.outcome or Outcome.FAILED for each in figures)
        times = {
            "set-up": [each.set_up_ms for each in figures if each.set_up_ms is not None],
            "first audio": [each.first_audio_ms for each in figures if each.first_audio_ms is not None],
            "answer": list(chain.from_iterable(each.answers_ms for each in figures)),
            "gap": list(chain.from_iterable(each.gaps_ms for each in figures)),
        }
        taken = [phone for phone in phones if phone.figures.outcome is Outcome.ANSWERED]
        return cls(
            len(phones),
            outcomes[Outcome.ANSWERED],
            outcomes[Outcome.OVERFLOW],
            outcomes[Outcome.FAILED],
            {name: Times.of(each) for name, each in times.items()},
            sum(each.unanswered for each in figures),
            sum(not phone.audio_ms for phone in taken),
            sum(each.moved for each in figures),
            sum(phone.audio_ms for phone in phones) / 1000,
            sum(phone.marks_asked for phone in phones),
            sum(phone.marks_echoed for phone in phones),
            max((phone.latest_s * 1000 for phone in phones), default=0.0),
            tuple(problem for phone in phones for problem in phone.problems),
        )

    @property
    def right(self) -> bool:
        """Whether no call failed. One that got the overflow answer did not: it was answered as it should be."""
        return not (self.failed or self.silent or self.problems)

    def as_json(self) -> dict[str, Any]:
        """Names and numbers; times are objects in ms, or null."""
        plain = (
            "calls", "answered", "overflow", "failed", "unanswered", "silent", "moved", "audio_seconds",
            "marks_asked", "marks_echoed", "latest_ms",
        )  # fmt: skip
        times = {
            f"{name.replace(' ', '_').replace('-', '_')}_ms": None
            if each is None
            else {"count": each.count, "p50": each.p50, "p99": each.p99, "max": each.most}
            for name, each in self.times.items()
        }
        return {name: getattr(self, name) for name in plain} | times | {"problems": list(self.problems)}

    def as_text(self) -> str:
        """Lines for people."""
        lines = [
            f"{self.calls} calls: {self.answered} answered, {self.overflow} overflow, {self.failed} failed",
            "",
            f"{'ms':12}{'count':>8}{'p50':>9}{'p99':>9}{'max':>9}",
        ]
        for name, each in self.times.items():
            row = f"{name:12}{each.count if each else 0:8}"
            lines.append(row + f"{each.p50:9.0f}{each.p99:9.0f}{each.most:9.0f}" if each else row)
        lines += [
            "",
            f"heard {self.audio_seconds:.0f} s of the assistant; "
            f"{self.marks_echoed} of {self.marks_asked} marks were played",
        ]
        for count, what in (
            (self.unanswered, "times nobody answered the caller"),
            (self.silent, "answered calls heard nothing at all"),
            (self.moved, "times a call went on with another stream"),
        ):
            if count:
                lines.append(f"{count} {what}")
        if self.latest_ms > BUSY_MS:
            lines.append(
                f"this machine was busy itself: a frame left {self.latest_ms:.0f} ms late; times may be its own"
            )
        lines += self.problems[:SHOWN_PROBLEMS]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"and {len(self.problems) - SHOWN_PROBLEMS} more")
        return "\n".join(lines)
