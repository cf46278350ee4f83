"""Calls that go on, and what is new in them: for whoever looks again and again, and reads nothing twice.

What is written of a call carries the time at which it was told. It is written soon after, by several processes, and
not quite in that order; so who asks for what came since a moment gets a little of what came before, once more.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import calls
from store.database import Database
from wire.journal import Then
from wire.transcript import Entry
from wire.withheld import GOES_ON, PAUSED, Pauses, pauses

OVERLAP_SECONDS = 5.0
"""How much later than told it may be written and is still read."""

AWAY_SECONDS = 15.0
"""How long a call that has left its stream may take to come back on another one."""

MOST_CALLS = 500
"""How many calls that go on are told of at most, the latest."""

MOST_NEWS = 5000
"""How many entries, and how many events, are read at once at most: the latest."""


@dataclass(frozen=True, slots=True)
class GoingOn:
    """A call, as far as it is known now. Times are in seconds since 1970."""

    call_sid: str
    caller: str
    called: str
    assistant: str
    streams: int
    cost: float
    began_at: float
    ended_at: float | None
    outcome: str
    """empty while it goes on"""
    then: Then

    def over(self, now: float) -> bool:
        """Whether it will not go on, as far as anybody can tell."""
        if self.then is not Then.RESUME:
            return True
        return self.ended_at is not None and self.ended_at < now - AWAY_SECONDS


@dataclass(frozen=True, slots=True)
class SaidNow:
    """An entry of the conversation, as it is now."""

    call_sid: str
    position: int
    entry: Entry
    told_at: float | None
    changed_at: float | None


@dataclass(frozen=True, slots=True)
class Happened:
    """An event."""

    call_sid: str
    number: int
    """of all events, in the order in which they were written"""
    at: float
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """What was told of some calls, in its order."""

    said: tuple[SaidNow, ...]
    happened: tuple[Happened, ...]

    @property
    def latest_at(self) -> float:
        """When the last of it was told; 0: nothing was."""
        times = [each.changed_at for each in self.said if each.changed_at is not None]
        return max([0.0, *times, *(each.at for each in self.happened)])


class LiveCalls:
    """Reads what CallJournals have written lately. Any thread; every method raises StoreError."""

    def __init__(
        self, database: Database, longest_seconds: Callable[[], float], clock: Callable[[], float] = time.time
    ) -> None:
        """No call lasts longer than that: one that began before is over, even if nobody could say so any more."""
        self._database = database
        self._longest_seconds = longest_seconds
        self._clock = clock

    def going_on(self) -> list[GoingOn]:
        """The calls that go on, or are on their way from one stream to another; the latest first."""
        call, now = calls.calls.c, self._clock()
        query = (
            sa.select(calls.calls)
            .where(
                call.next_answer == Then.RESUME.value,
                call.began_at > now - self._longest_seconds(),
                sa.or_(call.ended_at.is_(None), call.ended_at > now - AWAY_SECONDS),
            )
            .order_by(call.began_at.desc())
            .limit(MOST_CALLS)
        )
        with self._database.read() as connection:
            return [_going_on(row) for row in connection.execute(query)]

    def find(self, call_sid: str) -> GoingOn | None:
        """The call, whether it goes on or not; None: it is not known."""
        query = sa.select(calls.calls).where(calls.calls.c.call_sid == call_sid)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _going_on(row)

    def over(self, call: GoingOn) -> bool:
        """Whether nothing can be told to the call any more."""
        now = self._clock()
        return call.over(now) or call.began_at <= now - self._longest_seconds()

    def entries(self, call_sid: str) -> int:
        """How many entries the call's conversation has: where they have become fewer, one was removed."""
        query = sa.select(sa.func.count()).where(calls.entries.c.call_sid == call_sid)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def paused(self, call_sid: str) -> Pauses:
        """When the call's recording was paused: all of it, however much is told of the call."""
        return pauses((each.at, each.kind) for each in self.pauses([call_sid]))

    def pauses(self, call_sids: Sequence[str]) -> list[Happened]:
        """The events by which the recordings of these calls were paused, and went on."""
        event = calls.events.c
        query = sa.select(calls.events).where(event.call_sid.in_(call_sids), calls.of_kind(PAUSED, GOES_ON))
        with self._database.read() as connection:
            return [_happened(row) for row in connection.execute(query.order_by(event.id))]

    def news(self, call_sids: Sequence[str], since: float = 0.0) -> News:
        """What was told of these calls since then, and a little of what was told before; 0: all of it."""
        if not call_sids:
            return News((), ())
        said, happened = calls.entries.c, calls.events.c
        entries = sa.select(calls.entries).where(said.call_sid.in_(call_sids))
        events = sa.select(calls.events).where(happened.call_sid.in_(call_sids))
        if since:
            entries = entries.where(said.changed_at > since - OVERLAP_SECONDS)
            events = events.where(happened.at > since - OVERLAP_SECONDS)
        order = said.call_sid.desc(), said.position.desc(), said.item_id.desc()
        entries = entries.order_by(*order).limit(MOST_NEWS)
        events = events.order_by(happened.id.desc()).limit(MOST_NEWS)
        with self._database.read() as connection:
            return News(
                tuple(
                    SaidNow(row.call_sid, row.position, calls.stored_entry(row), row.told_at, row.changed_at)
                    for row in reversed(connection.execute(entries).all())
                ),
                tuple(map(_happened, reversed(connection.execute(events).all()))),
            )


def _happened(row: Any) -> Happened:
    return Happened(row.call_sid, row.id, row.at, row.kind, json.loads(row.data))


def _going_on(row: Any) -> GoingOn:
    return GoingOn(
        call_sid=row.call_sid,
        caller=row.caller,
        called=row.called,
        assistant=row.assistant,
        streams=row.streams,
        cost=row.cost,
        began_at=row.began_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        then=Then(row.next_answer),
    )
