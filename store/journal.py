"""The journal of every call, in the database: told from any thread, written by one, read by whoever goes on."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from store import calls
from store.database import Database
from store.dialed_tables import dialed
from store.writer import Writer
from wire.journal import (
    INBOUND,
    OUTBOUND,
    CallBegan,
    CallEnded,
    CallRecord,
    CostTold,
    EntryRemoved,
    EntryTold,
    EventTold,
    Scalar,
    Then,
)
from wire.transcript import Entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What is known of a call, with which another process may go on."""

    record: CallRecord
    entries: tuple[Entry, ...]
    """in the order of the conversation"""
    streams: int
    """how many it has had so far"""
    cost: float
    """what was spent on them, in the currency of the prices"""
    began_at: float
    """seconds since 1970, as is `ended_at`"""
    ended_at: float | None
    outcome: str
    """empty while none was told"""
    then: Then
    detail: str = ""
    """of `then`: a number, a room, or keys"""


class CallJournal:
    """A `wire.journal.Journal` in a Database. A process that was forked opens one of its own."""

    def __init__(
        self,
        database: Database,
        retention_days: float | None = None,
        clock: Callable[[], float] = time.time,
        erase_older_files: Callable[[], None] | None = None,
    ) -> None:
        """Starts the writer, a daemon thread.

        Calls that began more than `retention_days` ago are deleted, at the start and every hour; None: never.
        `erase_older_files` is called in that thread whenever they are, for what is kept of them elsewhere. `clock`
        gives seconds since 1970.
        """
        self._database = database
        self._clock = clock
        self._writer = Writer(database, retention_days, clock, erase_older_files)

    def began(self, record: CallRecord) -> None:
        """See Journal."""
        self._writer.tell(CallBegan(record, self._clock()))

    def entry(self, call_sid: str, position: int, entry: Entry) -> None:
        """See Journal."""
        self._writer.tell(EntryTold(call_sid, position, entry, self._clock()))

    def removed(self, call_sid: str, item_id: str) -> None:
        """See Journal."""
        self._writer.tell(EntryRemoved(call_sid, item_id))

    def event(self, call_sid: str, kind: str, /, **data: Scalar) -> None:
        """See Journal."""
        self._writer.tell(EventTold(call_sid, kind, data, self._clock()))

    def spent(self, call_sid: str, cost: float) -> None:
        """See Journal. It counts for the day even if the call is not known."""
        self._writer.tell(CostTold(call_sid, cost, self._clock()))

    def ended(self, call_sid: str, outcome: str, then: Then, detail: str = "") -> None:
        """See Journal."""
        self._writer.tell(CallEnded(call_sid, outcome, then, self._clock(), detail))

    def flush(self, seconds: float) -> bool:
        """See Journal. While the database makes trouble, this has the writer try again at once."""
        return self._writer.flush(seconds)

    @property
    def waiting(self) -> int:
        """How many operations are not written yet."""
        return self._writer.waiting

    @property
    def lost(self) -> int:
        """How many operations were told and will never be written."""
        return self._writer.lost

    def close(self, seconds: float = 5.0) -> None:
        """Writes what waits, trying for so long, and ends the writer. What is told later is lost.

        Takes no longer than that and one wait of the database's.
        """
        self._writer.close(seconds)

    def load(self, call_sid: str) -> StoredCall | None:
        """The call as it was last told, by whatever process; None: it is not known. Raises StoreError.

        What this process told is written first, if that takes no longer than a second.
        """
        self.flush(1.0)
        with self._database.read() as connection:
            call = connection.execute(
                sa.select(calls.calls).where(calls.calls.c.call_sid == call_sid)
            ).one_or_none()
            if call is None:
                return None
            said = calls.entries.c
            of_call = sa.select(calls.entries).where(said.call_sid == call_sid)
            rows = connection.execute(of_call.order_by(said.position, said.item_id)).all()
        return StoredCall(
            record=CallRecord(
                call_sid=call.call_sid,
                stream_sid=call.stream_sid,
                caller=call.caller,
                called=call.called,
                assistant=call.assistant,
                assistant_version=call.assistant_version,
                direction=call.direction or INBOUND,
            ),
            entries=tuple(map(calls.stored_entry, rows)),
            streams=call.streams,
            cost=call.cost,
            began_at=call.began_at,
            ended_at=call.ended_at,
            outcome=call.outcome,
            then=Then(call.next_answer),
            detail=call.next_detail or "",
        )

    def forget(self, number: str) -> int:
        """Erases the calls from and to that number, with all that was kept of them. Returns how many they were.

        The SIDs of those that had a stream lately stay, to tell a replayed request; see store/tokens.py.

        The number is compared by its digits; an address with letters as it is. A call that goes on is forgotten
        too, until it gets another stream. Raises StoreError; then nothing was erased. If others kept SQLite's log
        from being emptied, a warning says so.
        """
        self.flush(1.0)
        key = calls.number_key(number)
        if not key:
            return 0
        theirs = sa.or_(calls.calls.c.caller_key == key, calls.calls.c.called_key == key)
        with self._database.begin() as connection:
            # Held, so that no other writer adds to them before they are gone.
            held = sa.select(calls.calls.c.call_sid).where(theirs).order_by(calls.calls.c.call_sid)
            connection.execute(held.with_for_update())
            for table in calls.HOLD_CALL_SIDS:
                call_sids = sa.select(calls.calls.c.call_sid).where(theirs)
                connection.execute(sa.delete(table).where(table.c.call_sid.in_(call_sids)))
            erased = connection.execute(sa.delete(calls.calls).where(theirs)).rowcount
            # Those too that are in no history yet, or never will be.
            connection.execute(sa.delete(dialed).where(dialed.c.number_key == key))
        if not self._database.empty_log():
            logger.warning(
                "what was erased may be in the database's -wal file still, because somebody is reading; try again"
            )
        return erased

    def spent_today(self) -> float:
        """What was spent since midnight, UTC, by all who write to the database. Raises StoreError."""
        today = sa.select(calls.spending.c.cost).where(calls.spending.c.day == calls.day_of(self._clock()))
        with self._database.read() as connection:
            return float(connection.execute(today).scalar_one_or_none() or 0.0)

    def calls_at_once(self, number: str, longest_seconds: float) -> int:
        """How many calls from that number go on, or would if Twilio asked. Compared as in `forget`.

        Those that we have placed are not from our own number in this sense.

        No call lasts longer than `longest_seconds`: one that began before is over, even if the process that held
        it could not say so any more. A call that began in the last quarter of a second may not be counted yet.
        Raises StoreError.
        """
        live = sa.select(sa.func.count()).where(
            calls.calls.c.caller_key == calls.number_key(number),
            calls.calls.c.began_at > self._clock() - longest_seconds,
            calls.calls.c.next_answer == Then.RESUME.value,
            sa.func.coalesce(calls.calls.c.direction, INBOUND) != OUTBOUND,
        )
        with self._database.read() as connection:
            return int(connection.execute(live).scalar_one())
