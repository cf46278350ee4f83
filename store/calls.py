"""What is kept of every call: the tables, and how the operations of a journal are written to them."""

import json
import math
import re
import time
from dataclasses import asdict
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

import store.dialed_tables
import store.live
import store.orders
import store.outbox
import store.tokens  # noqa: F401  # their tables hold call sids too
from store.database import metadata
from store.insertion import insert
from wire.journal import (
    CallBegan,
    CallEnded,
    CallRecord,
    CostTold,
    EntryRemoved,
    EntryTold,
    EventTold,
    Operation,
    Then,
)
from wire.transcript import Entry, ToolUse

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_sid", sa.Text, primary_key=True),
    sa.Column("stream_sid", sa.Text, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("called", sa.Text, nullable=False),
    # The two numbers' digits, by which they are found however they are written.
    sa.Column("caller_key", sa.Text, nullable=False),
    sa.Column("called_key", sa.Text, nullable=False),
    sa.Column("assistant", sa.Text, nullable=False),
    sa.Column("assistant_version", sa.Text, nullable=False),
    sa.Column("streams", sa.Integer, nullable=False),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False, index=True),
    sa.Column("ended_at", sa.Double, nullable=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("next_answer", sa.Text, nullable=False),
    sa.Column("next_detail", sa.Text, nullable=True),
    # NULL: by a version that only answered calls.
    sa.Column("direction", sa.Text, nullable=True),
    sa.Index("ix_calls_caller_key", "caller_key", "began_at"),
    sa.Index("ix_calls_called_key_began_at", "called_key", "began_at"),
    sa.Index("ix_calls_outcome", "outcome", "began_at"),
    sa.Index("ix_calls_next_answer", "next_answer", "began_at"),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("call_sid", sa.Text, primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("speaker", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("heard_text", sa.Text, nullable=False),
    sa.Column("heard_ms", sa.Integer, nullable=False),
    sa.Column("total_ms", sa.Integer, nullable=False),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("tool_call_id", sa.Text, nullable=True),
    sa.Column("tool_name", sa.Text, nullable=True),
    sa.Column("tool_arguments", sa.Text, nullable=True),
    sa.Column("tool_output", sa.Text, nullable=True),
    # When it was first told, in seconds since 1970. None: by a version that did not say.
    sa.Column("told_at", sa.Double, nullable=True),
    # And last. None: by a version that did not say.
    sa.Column("changed_at", sa.Double, nullable=True),
    sa.Index("ix_entries_changed_at", "call_sid", "changed_at"),
)

events = sa.Table(
    "events",
    metadata,
    # SQLite numbers the rows of a table only if their key is an INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("call_sid", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # a JSON object
    sa.Index("ix_events_at", "call_sid", "at"),
    sa.Index("ix_events_kind", "kind", "at"),
)

spending = sa.Table(
    "spending",
    metadata,
    # Of its own, because a call may go on past midnight, and because what was spent stays spent without the call.
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("cost", sa.Double, nullable=False),
)

webhook_events = metadata.tables["webhook_events"]

HOLD_CALL_SIDS = (
    entries,
    events,
    metadata.tables["dialed_calls"],
    metadata.tables["live_audio"],
    metadata.tables["orders"],
    metadata.tables["stream_tokens"],
    webhook_events,
)
"""Every table with what is kept by call sid, but for `streamed_calls`: that has nothing else of a call than its sid,
and without it a call that goes on could not be resumed, and a captured webhook could be used again."""


GOES_ON = {"outcome": "", "ended_at": None, "next_answer": Then.RESUME.value, "next_detail": None}
"""What there is to say about the end of a call that has none yet."""


class Upserts(NamedTuple):
    """The statements that insert a row or change the one that is there, which every dialect words its own way."""

    call: sa.Insert
    entry: sa.Insert
    day: sa.Insert


@cache
def upserts(dialect: str) -> Upserts:
    """The statements for "sqlite" or "postgresql". Raises StoreError for others."""
    first_told = ("call_sid", "item_id", "told_at")
    call, entry, day = (insert(dialect, table) for table in (calls, entries, spending))
    told = (
        "stream_sid",
        "caller",
        "called",
        "caller_key",
        "called_key",
        "assistant",
        "assistant_version",
        "direction",
    )
    known = {name: sa.func.coalesce(sa.func.nullif(call.excluded[name], ""), calls.c[name]) for name in told}
    return Upserts(
        call.on_conflict_do_update(
            index_elements=["call_sid"],
            # It goes on: how its last stream ended is not how the call did.
            set_={**known, "streams": calls.c.streams + call.excluded.streams, **GOES_ON},
        ),
        entry.on_conflict_do_update(
            index_elements=["call_sid", "item_id"],
            set_={
                column.name: entry.excluded[column.name]
                for column in entries.c
                if column.name not in first_told
            },
        ),
        day.on_conflict_do_update(index_elements=["day"], set_={"cost": spending.c.cost + day.excluded.cost}),
    )


# Made once: to make them for each batch takes a quarter of its time, and leaves what only a collection finds.
_HOLD = (
    sa.select(calls.c.call_sid)
    .where(calls.c.call_sid.in_(sa.bindparam("call_sids", expanding=True)))
    .order_by(calls.c.call_sid)
    .with_for_update()
)

_ADD_EVENT = sa.insert(events)

_ADD_COST = (
    sa.update(calls)
    .where(calls.c.call_sid == sa.bindparam("of_call"))
    .values(cost=calls.c.cost + sa.bindparam("amount"))
)

_REMOVE = sa.delete(entries).where(
    entries.c.call_sid == sa.bindparam("of_call"), entries.c.item_id == sa.bindparam("item")
)

_END = sa.update(calls).where(calls.c.call_sid == sa.bindparam("of_call"))


def write(connection: sa.Connection, operations: list[Operation]) -> None:
    """Writes all of them, table by table; only within one table does their order matter.

    Raises what SQLAlchemy raises, and ValueError, TypeError and the like where a value cannot be stored.
    """
    begun: list[dict[str, object]] = []
    said: dict[tuple[str, str], dict[str, object] | None] = {}
    happened: list[dict[str, object]] = []
    ends: dict[str, dict[str, object]] = {}
    costs: dict[str, float] = {}
    days: dict[str, float] = {}
    for operation in operations:
        match operation:
            case CallBegan(record, at):
                begun.append(_call_row(record, at))
                if record.call_sid in ends:
                    ends[record.call_sid] |= GOES_ON
            case EntryTold(call_sid, position, entry, at):
                row = _entry_row(call_sid, position, entry) | {
                    "told_at": at or None,
                    "changed_at": at or None,
                }
                said[call_sid, str(row["item_id"])] = row
            case EntryRemoved(call_sid, item_id):
                said[call_sid, _text(item_id)] = None
            case EventTold(call_sid, kind, data, at):
                row = {
                    "call_sid": call_sid,
                    "at": at,
                    "kind": _text(kind),
                    "data": json.dumps(data, allow_nan=False),
                }
                happened.append(row)
            case CostTold(call_sid, cost, at):
                if not math.isfinite(cost):
                    raise ValueError("a cost is a finite number")
                costs[call_sid] = costs.get(call_sid, 0.0) + cost
                days[day_of(at)] = days.get(day_of(at), 0.0) + cost
            case CallEnded(call_sid, outcome, then, at, detail):
                row = {
                    "ended_at": at,
                    "outcome": _text(outcome),
                    "next_answer": then.value,
                    "next_detail": _text(detail) or None,
                }
                ends[call_sid] = {"of_call": call_sid, **row}
    statements = upserts(connection.dialect.name)
    # Every writer locks its calls in one order, and the day last, so that no two wait for each other.
    call_sids = sorted({operation.call_sid for operation in operations})
    known = set(connection.execute(_HOLD, {"call_sids": call_sids}).scalars())
    known.update(str(row["call_sid"]) for row in begun)
    for statement, rows in (
        (statements.call, sorted(begun, key=lambda row: str(row["call_sid"]))),
        # Of a call that is not known nothing else is kept: it was forgotten, and nothing would ever find it.
        (statements.entry, [row for row in said.values() if row and row["call_sid"] in known]),
        (_REMOVE, [{"of_call": key[0], "item": key[1]} for key, row in said.items() if row is None]),
        (_ADD_EVENT, [row for row in happened if row["call_sid"] in known]),
        (_ADD_COST, [{"of_call": call_sid, "amount": cost} for call_sid, cost in costs.items()]),
        (_END, list(ends.values())),
        (statements.day, [{"day": day, "cost": cost} for day, cost in sorted(days.items())]),
    ):
        if rows:
            connection.execute(statement, rows)


def settle(
    connection: sa.Connection, record: CallRecord, began_at: float, ended_at: float, outcome: str
) -> None:
    """A call is over, says Twilio. What its own end said of it stays; it may have had none, or no stream at all.

    Should a stream of it be told later, it goes on from there.
    """
    end = {"ended_at": ended_at, "outcome": outcome, "next_answer": Then.HANG_UP.value}
    row = _call_row(record, began_at) | end
    connection.execute(
        insert(connection.dialect.name, calls)
        .values(row)
        .on_conflict_do_update(
            index_elements=["call_sid"], set_=end, where=calls.c.next_answer == Then.RESUME.value
        )
    )


def _call_row(record: CallRecord, at: float) -> dict[str, object]:
    return {
        **{name: _text(value) for name, value in asdict(record).items()},
        "caller_key": number_key(_text(record.caller)),
        "called_key": number_key(_text(record.called)),
        "streams": 1 if record.stream_sid else 0,
        "cost": 0.0,
        "began_at": at,
        **GOES_ON,
    }


def _entry_row(call_sid: str, position: int, entry: Entry) -> dict[str, object]:
    tool = entry.tool
    return {
        "call_sid": call_sid,
        "item_id": _text(entry.item_id),
        "position": int(position),
        "speaker": _text(entry.speaker),
        "text": _text(entry.text),
        "heard_text": _text(entry.heard_text),
        "heard_ms": int(entry.heard_ms),
        "total_ms": int(entry.total_ms),
        "failed": bool(entry.failed),
        "tool_call_id": _text(tool.call_id) if tool else None,
        "tool_name": _text(tool.name) if tool else None,
        "tool_arguments": _text(tool.arguments) if tool else None,
        "tool_output": _text(tool.output) if tool and tool.output is not None else None,
    }


def stored_entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    """The entry in a row of `entries`."""
    tool = None
    if row.tool_call_id is not None:
        tool = ToolUse(row.tool_call_id, row.tool_name, row.tool_arguments, row.tool_output)
    return Entry(
        row.item_id, row.speaker, row.text, row.heard_text, row.heard_ms, row.total_ms, row.failed, tool
    )


def _text(text: str) -> str:
    """The text as every database can hold it: PostgreSQL takes no NUL, and UTF-8 knows no half of a pair."""
    return str(text).replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def of_kind(*kinds: str) -> sa.ColumnElement[bool]:
    """Events of these kinds, among those of a few calls.

    An expression, because SQLite would take the index of kinds, which finds those of all calls: 400 ms of 100 000.
    """
    return events.c.kind.concat("").in_(kinds)


def number_key(number: str) -> str:
    """What all ways to write a number have in common: its digits. An address with letters is itself."""
    return number.strip() if re.search(r"[^\W\d_]", number) else re.sub("[^0-9]", "", number)


def day_of(at: float) -> str:
    """The day of that time, UTC, as in `spending`."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))
