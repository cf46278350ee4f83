"""The calls that there were, as the journal has them, for whoever wants to look."""

import json
import statistics
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from store import calls
from store.database import Database
from wire.journal import INBOUND, Direction
from wire.transcript import Entry

FILES = ("recording", "transcript")
"""Kinds of events that say, as `path`, where a file of the call is."""


@dataclass(frozen=True, slots=True)
class PastCall:
    """One call. Times are in seconds since 1970."""

    call_sid: str
    caller: str
    called: str
    assistant: str
    assistant_version: str
    streams: int
    cost: float
    began_at: float
    ended_at: float | None
    outcome: str
    """empty while it goes on"""
    direction: Direction = INBOUND
    turns: int = 0
    """of the caller"""
    answer_ms: float | None = None
    """median of the times from the caller's last word to the answer"""

    @property
    def seconds(self) -> float | None:
        """How long it was; None: it goes on, or its process died."""
        return None if self.ended_at is None else self.ended_at - self.began_at


@dataclass(frozen=True, slots=True)
class Told:
    """Something was said, or happened."""

    at: float | None
    what: Entry | str
    """an entry of the conversation, or the kind of an event"""
    data: dict[str, Any] = field(default_factory=dict)
    """of the event"""


class History:
    """Reads what a CallJournal has written. Any thread; every method raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, limit: int, number: str | None = None) -> list[PastCall]:
        """The latest calls, the very last one first; only those from or to that number, if there is one."""
        query = sa.select(calls.calls).order_by(calls.calls.c.began_at.desc()).limit(limit)
        if number is not None:
            query = query.where(_with_number(number))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            return past_calls(connection, rows)

    def find(self, name: str, limit: int = 10) -> list[PastCall]:
        """The calls whose SID is that, or begins or ends with it; the latest first."""
        sid = calls.calls.c.call_sid
        fits = sa.or_(sid.startswith(name, autoescape=True), sid.endswith(name, autoescape=True))
        query = sa.select(calls.calls).where(fits).order_by(calls.calls.c.began_at.desc()).limit(limit)
        with self._database.read() as connection:
            exact = connection.execute(sa.select(calls.calls).where(sid == name)).all()
            return past_calls(connection, exact or connection.execute(query).all())

    def story(self, call_sid: str) -> list[Told]:
        """What was said and what happened, as it went: entries in their order, events between them by time."""
        said, happened = calls.entries.c, calls.events.c
        in_order = sa.select(calls.entries).where(said.call_sid == call_sid)
        by_time = sa.select(calls.events).where(happened.call_sid == call_sid)
        with self._database.read() as connection:
            entries = connection.execute(in_order.order_by(said.position, said.item_id)).all()
            events = connection.execute(by_time.order_by(happened.id)).all()
        story, waiting = [], [Told(row.at, row.kind, json.loads(row.data)) for row in events]
        for row in entries:
            while waiting and row.told_at is not None and waiting[0].at <= row.told_at:
                story.append(waiting.pop(0))
            story.append(Told(row.told_at, calls.stored_entry(row)))
        return story + waiting

    def files(self, number: str) -> list[str]:
        """The paths of the files of all calls from and to that number; compared as in `CallJournal.forget`."""
        if not calls.number_key(number):
            return []
        theirs = sa.select(calls.calls.c.call_sid).where(_with_number(number))
        query = sa.select(calls.events.c.data).where(
            calls.of_kind(*FILES), calls.events.c.call_sid.in_(theirs)
        )
        with self._database.read() as connection:
            return [json.loads(data)["path"] for data in connection.execute(query).scalars()]


def _with_number(number: str) -> sa.ColumnElement[bool]:
    key = calls.number_key(number)
    return sa.or_(calls.calls.c.caller_key == key, calls.calls.c.called_key == key)


def past_calls(connection: sa.Connection, rows: Any) -> list[PastCall]:
    """The calls in these rows of `calls`, with what their entries and events say of them."""
    call_sids = [row.call_sid for row in rows]
    said, happened = calls.entries.c, calls.events.c
    counted = (
        sa.select(said.call_sid, sa.func.count())
        .where(said.call_sid.in_(call_sids), said.speaker == "caller")
        .group_by(said.call_sid)
    )
    turns = {call_sid: count for call_sid, count in connection.execute(counted)}  # noqa: C416  # rows, not pairs
    answers: dict[str, list[float]] = {}
    answered = sa.select(happened.call_sid, happened.data).where(
        happened.call_sid.in_(call_sids), calls.of_kind("answered")
    )
    for call_sid, data in connection.execute(answered):
        if (answer_ms := json.loads(data).get("answer_ms")) is not None:
            answers.setdefault(call_sid, []).append(answer_ms)
    return [
        PastCall(
            call_sid=row.call_sid,
            caller=row.caller,
            called=row.called,
            assistant=row.assistant,
            assistant_version=row.assistant_version,
            streams=row.streams,
            cost=row.cost,
            began_at=row.began_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            direction=row.direction or INBOUND,
            turns=turns.get(row.call_sid, 0),
            answer_ms=statistics.median(answers[row.call_sid]) if row.call_sid in answers else None,
        )
        for row in rows
    ]
