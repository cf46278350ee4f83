"""Past calls by number, date and outcome, a page at a time."""

from dataclasses import dataclass

import sqlalchemy as sa

from store import calls
from store.database import Database
from store.history import PastCall, past_calls

PAGE = 25
"""Calls on one page."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls. What is None, or empty, is not asked for."""

    number: str = ""
    """from or to it, however it is written: all of it, or its beginning; or a call's SID"""
    since: float | None = None
    """began then or later, in seconds since 1970"""
    until: float | None = None
    """began before"""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which call a page begins."""

    began_at: float
    call_sid: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, the latest first."""

    calls: tuple[PastCall, ...]
    more: Place | None
    """where the next page begins; None: there is no more"""


class Search:
    """Looks through what a CallJournal has written. Any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, wanted: Wanted, after: Place | None = None, size: int = PAGE) -> Page:
        """The calls that are wanted, from that place on. Raises StoreError."""
        call = calls.calls.c
        query = sa.select(calls.calls)
        if wanted.number:
            query = query.where(_named(wanted.number))
        if wanted.since is not None:
            query = query.where(call.began_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(call.began_at < wanted.until)
        if wanted.outcome:
            query = query.where(call.outcome == wanted.outcome)
        if after is not None:
            # Said twice, because no index is found by the second alone.
            query = query.where(
                call.began_at <= after.began_at,
                sa.or_(call.began_at < after.began_at, call.call_sid < after.call_sid),
            )
        query = query.order_by(call.began_at.desc(), call.call_sid.desc()).limit(size + 1)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            found = tuple(past_calls(connection, rows[:size]))
        last = found[-1] if found else None
        more = Place(last.began_at, last.call_sid) if last is not None and len(rows) > size else None
        return Page(found, more)


def _named(name: str) -> sa.ColumnElement[bool]:
    call = calls.calls.c
    name = name.strip()
    if name.startswith("CA"):
        return call.call_sid == name
    key = calls.number_key(name)
    if not key:
        return sa.false()
    if not key.isdecimal():
        return sa.or_(call.caller_key == key, call.called_key == key)
    # A range, which an index serves. Digits have the same order in every database.
    after = str(int(key) + 1).zfill(len(key))
    ranges = [
        sa.and_(column >= key, column < (after if len(after) == len(key) else "A"))
        for column in (call.caller_key, call.called_key)
    ]
    return sa.or_(*ranges)
