"""How the calls of the last hours or days went, in numbers."""

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import calls
from store.database import Database

MOST_EVENTS = 20_000
"""The latest of a kind that are looked at: a tenth of a second."""

MOST_REASONS = 10

TROUBLE = (
    "session lost",
    "listener failed",
    "recording failed",
    "filler",
    "apology",
)
"""Kinds of events of which somebody who runs the system wants to know how many there were."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a measure is spread, in ms. Nothing of it is known where `count` is 0."""

    count: int
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """An hour, or whatever the whole is cut into."""

    at: float
    """its beginning, in seconds since 1970"""
    calls: int
    answer: Spread
    silence: Spread


@dataclass(frozen=True, slots=True)
class Figures:
    """The calls and events since `since`. Times are in seconds since 1970."""

    since: float
    until: float
    slice_seconds: float
    slices: tuple[Slice, ...]
    calls: int
    outcomes: tuple[tuple[str, int], ...]
    """how many calls ended so, the most frequent first; those that go on are ''"""
    talk_seconds: float
    cost: float
    answer: Spread
    """from the caller's last word to the answer"""
    silence: Spread
    """from the first word of a caller who interrupts to the assistant's silence"""
    longest_silence: Spread
    """of each call: while it was the assistant's turn and nothing was heard"""
    trouble: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, int], ...]
    """why sessions were lost and listeners failed"""
    tools: tuple[tuple[str, int, int, float], ...]
    """name, how often it ran, how often it failed, median of the seconds"""
    days: tuple[tuple[str, float], ...]
    """what was spent, UTC, the last day last"""
    partial: bool
    """there were so many events that only the latest of a kind were looked at"""


class FiguresOf:
    """Reads what a CallJournal has written. Any thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def last(self, seconds: float, slices: int) -> Figures:
        """The figures of the last so many seconds, in so many slices of whole seconds, the last of which goes on.

        Raises StoreError.
        """
        until, width = self._clock(), seconds / slices
        since = (math.floor(until / width) - slices + 1) * width
        with self._database.read() as connection:
            counts = _calls_by_slice(connection, since, width)
            outcomes, talk_seconds, cost = _sums(connection, since)
            answers = _events(connection, "answered", since)
            interruptions = _events(connection, "interrupted", since)
            ends = _events(connection, "ended", since)
            tools = _events(connection, "tool", since)
            trouble = _counts(connection, since)
            lost = [each for kind in TROUBLE[:2] for each in _events(connection, kind, since)]
            days = _days(connection, until)
        reasons = Counter(str(data.get("reason")) for _, data in lost)
        answer_ms, silence_ms = _values(answers, "answer_ms"), _values(interruptions, "silence_ms")
        return Figures(
            since=since,
            until=until,
            slice_seconds=width,
            slices=tuple(
                Slice(
                    at := since + index * width,
                    counts.get(index, 0),
                    spread([ms for when, ms in answer_ms if at <= when < at + width]),
                    spread([ms for when, ms in silence_ms if at <= when < at + width]),
                )
                for index in range(slices)
            ),
            calls=sum(counts.values()),
            outcomes=outcomes,
            talk_seconds=talk_seconds,
            cost=cost,
            answer=spread(ms for _, ms in answer_ms),
            silence=spread(ms for _, ms in silence_ms),
            longest_silence=spread(ms for _, ms in _values(ends, "longest_silence_ms")),
            trouble=trouble,
            reasons=tuple(reasons.most_common(MOST_REASONS)),
            tools=_by_tool(tools),
            days=days,
            partial=any(len(each) == MOST_EVENTS for each in (answers, interruptions, ends, tools)),
        )


def spread(values: Iterable[float]) -> Spread:
    """How they are spread: each percentile is one of them, the smallest that so many do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0)

    def percentile(share: float) -> float:
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    return Spread(
        len(ordered), percentile(0.5), percentile(0.9), percentile(0.95), percentile(0.99), ordered[-1]
    )


def _calls_by_slice(connection: sa.Connection, since: float, width: float) -> dict[int, int]:
    call = calls.calls.c
    # In whole seconds: not every SQLite has FLOOR, and PostgreSQL rounds what becomes an integer.
    index = sa.cast(call.began_at - since, sa.Integer) // int(width)
    query = sa.select(index, sa.func.count()).where(call.began_at >= since).group_by(index)
    return {int(row[0]): int(row[1]) for row in connection.execute(query)}


def _sums(connection: sa.Connection, since: float) -> tuple[tuple[tuple[str, int], ...], float, float]:
    call = calls.calls.c
    query = (
        sa.select(
            call.outcome,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(call.ended_at - call.began_at), 0.0),
            sa.func.sum(call.cost),
        )
        .where(call.began_at >= since)
        .group_by(call.outcome)
        .order_by(sa.func.count().desc(), call.outcome)
    )
    rows = connection.execute(query).all()
    outcomes = tuple((row[0], int(row[1])) for row in rows)
    return outcomes, sum(float(row[2]) for row in rows), sum(float(row[3]) for row in rows)


_Dated = tuple[float, dict[str, Any]]


def _events(connection: sa.Connection, kind: str, since: float) -> list[_Dated]:
    event = calls.events.c
    query = (
        sa.select(event.at, event.data)
        .where(event.kind == kind, event.at >= since)
        .order_by(event.at.desc())
        .limit(MOST_EVENTS)
    )
    return [(row.at, json.loads(row.data)) for row in connection.execute(query)]


def _values(events: Sequence[_Dated], name: str) -> list[tuple[float, float]]:
    return [(at, float(data[name])) for at, data in events if data.get(name) is not None]


def _counts(connection: sa.Connection, since: float) -> tuple[tuple[str, int], ...]:
    event = calls.events.c
    query = sa.select(event.kind, sa.func.count()).where(event.kind.in_(TROUBLE), event.at >= since)
    found = {row[0]: int(row[1]) for row in connection.execute(query.group_by(event.kind))}
    return tuple((kind, found.get(kind, 0)) for kind in TROUBLE)


def _by_tool(events: Sequence[_Dated]) -> tuple[tuple[str, int, int, float], ...]:
    seconds: dict[str, list[float]] = defaultdict(list)
    failed: Counter[str] = Counter()
    for _, data in events:
        name = str(data.get("name"))
        seconds[name].append(float(data.get("seconds") or 0.0))
        failed[name] += bool(data.get("failed"))
    ordered = sorted(seconds, key=lambda name: (-len(seconds[name]), name))
    return tuple(
        (name, len(seconds[name]), failed[name], spread(seconds[name]).p50 or 0.0) for name in ordered
    )


def _days(connection: sa.Connection, until: float, count: int = 14) -> tuple[tuple[str, float], ...]:
    days = [calls.day_of(until - 86400 * ago) for ago in range(count - 1, -1, -1)]
    query = sa.select(calls.spending).where(calls.spending.c.day.in_(days))
    spent = {row.day: float(row.cost) for row in connection.execute(query)}
    return tuple((day, spent.get(day, 0.0)) for day in days)
