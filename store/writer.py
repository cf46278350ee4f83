"""The one thread that writes what is told to a journal.

    call's threads --tell--> Backlog --batches--> writer thread --one transaction each--> store.calls

Nobody who tells waits for the database. While it cannot be written the writer tries again, less and less often,
and what was told waits, up to WAITING_LIMIT operations. A process that is killed loses what waited: about
PAUSE_SECONDS of it.
"""

import logging
import math
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from store import calls
from store.database import Database, StoreError
from store.sqlite_file import BUSY_TIMEOUT_MS
from wire.journal import Backlog, Operation

logger = logging.getLogger("store.journal")

WAITING_LIMIT = 10_000
"""How many operations wait for the database before the oldest are dropped."""

BATCH = 500
"""How many operations are written in one transaction at most: some 15 ms with SQLite."""

PAUSE_SECONDS = 0.25
"""Between two transactions, so that many small ones become one, and what changes again is written once."""

RETRY_SECONDS = (0.1, 5.0)
"""How long the writer waits before it tries again: first, and at most. It doubles in between."""

RETENTION_PERIOD_SECONDS = 3600.0
"""How often calls that are too old are looked for."""

DELETION_RETRY_SECONDS = 60.0
"""When they are looked for again if they could not be deleted."""

DELETED_AT_ONCE = 200
"""How many calls that are too old go in one transaction."""


class Writer:
    """Writes operations to a Database. A process that was forked opens one of its own."""

    def __init__(
        self,
        database: Database,
        retention_days: float | None = None,
        clock: Callable[[], float] = time.time,
        erase_older_files: Callable[[], None] | None = None,
    ) -> None:
        """Starts the thread, a daemon. See CallJournal."""
        self._database = database
        self._retention_days = retention_days
        self._clock = clock
        self._erase_older_files = erase_older_files
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        # These are used under the lock, which nobody keeps while the database works.
        self._backlog = Backlog(WAITING_LIMIT)
        self._left_out = 0
        self._idle = False
        self._hurry = False
        self._close_by: float | None = None
        self._ended = False
        self._trouble_since: float | None = None
        # The rest is the writer's own.
        self._lost_before_trouble = 0
        self._retry_seconds = RETRY_SECONDS[0]
        self._tables_may_be_gone = False
        self._deletes_at = -math.inf if retention_days is not None else math.inf
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)
        self._thread.start()

    def tell(self, operation: Operation) -> None:
        """Has the operation written, soon. Returns at once."""
        with self._lock:
            if self._close_by is not None:
                self._left_out += 1
                return
            self._backlog.add(operation)
            # Waking the writer costs more than telling; while it rests or works, it will look anyway.
            if self._idle:
                self._idle = False
                self._work.notify()

    def flush(self, seconds: float) -> bool:
        """Waits for what was told before: see Journal. In trouble, the writer tries again at once."""
        with self._lock:
            told, lost = self._backlog.added, self._lost()
            if self._backlog.holds(told):
                self._hurry = True
                self._work.notify()
                self._settled.wait_for(lambda: self._ended or not self._backlog.holds(told), seconds)
            return not self._backlog.holds(told) and self._lost() == lost

    @property
    def waiting(self) -> int:
        """How many operations are not written yet."""
        with self._lock:
            return len(self._backlog)

    @property
    def lost(self) -> int:
        """How many operations were told and will never be written: there were too many, or the journal was closed."""
        with self._lock:
            return self._lost()

    def close(self, seconds: float = 5.0) -> None:
        """Writes what waits, trying for so long, and ends the writer. What is told later is lost.

        Takes no longer than that and one wait of the database's.
        """
        with self._lock:
            self._close_by = time.monotonic() + seconds
            self._hurry = True
            self._work.notify()
        self._thread.join(seconds + BUSY_TIMEOUT_MS / 1000 + 1)
        if waiting := self.waiting:
            logger.warning("journal closed with %d operations not written", waiting)

    def _lost(self) -> int:
        return self._left_out + self._backlog.dropped

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            taken = len(batch)
            trouble: Exception | None = None
            try:
                self._write(batch)
                self._delete_older()
            except Exception as error:
                trouble = error
            self._settle(taken - len(batch), trouble)

    def _next_batch(self) -> list[Operation] | None:
        """What is to be written next; nothing, if it is time to delete; None: the end."""
        with self._lock:
            self._idle = True
            until_deletion = self._deletes_at - self._clock()
            self._work.wait_for(
                lambda: len(self._backlog) > 0 or self._close_by is not None,
                min(max(until_deletion, 0.0), RETENTION_PERIOD_SECONDS),
            )
            self._idle = self._hurry = False
            if self._close_by is not None and (not self._backlog or time.monotonic() > self._close_by):
                self._ended = True
                self._settled.notify_all()
                return None
            return self._backlog.take(BATCH)

    def _settle(self, done: int, trouble: Exception | None) -> None:
        with self._lock:
            self._backlog.settle(done)
            self._settled.notify_all()
            waiting, lost, since = len(self._backlog), self._lost(), self._trouble_since
            if trouble is None:
                self._trouble_since = None
            elif since is None:
                self._trouble_since = time.monotonic()
        if trouble is None and since is not None:
            logger.info(
                "journal is written again, after %.1f s; %d operations were lost",
                time.monotonic() - since,
                lost - self._lost_before_trouble,
            )
        elif trouble is not None and since is None:
            self._lost_before_trouble, self._retry_seconds = lost, RETRY_SECONDS[0]
            logger.warning(
                "journal cannot be written: %s; %d operations wait", _without_values(trouble), waiting
            )
        self._rest(waiting)

    def _rest(self, waiting: int) -> None:
        with self._lock:
            if self._trouble_since is not None:
                closing = self._close_by is not None
                self._work.wait_for(lambda: self._hurry, RETRY_SECONDS[0] if closing else self._retry_seconds)
                self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS[1])
            elif waiting < BATCH:
                self._work.wait_for(lambda: self._hurry or self._close_by is not None, PAUSE_SECONDS)

    def _write(self, batch: list[Operation]) -> None:
        """Writes the operations and takes them out of the list; what remains in it is not written."""
        together = True
        while batch:
            part = batch[:] if together else batch[:1]
            if self._tables_may_be_gone:
                self._database.create_tables()
            self._tables_may_be_gone = True
            try:
                with self._database.begin() as connection:
                    calls.write(connection, part)
            except Exception as error:
                if _may_pass(error):
                    raise
                # One of them can never be written; it must not keep the others from being.
                if not together:
                    self._leave_out(batch.pop(0), error)
                together = False
            else:
                self._tables_may_be_gone = False
                del batch[: len(part)]

    def _leave_out(self, operation: Operation, error: Exception) -> None:
        with self._lock:
            self._left_out += 1
        logger.warning(
            "journal of call %s: one %s is left out, as the database cannot hold it: %s",
            operation.call_sid,
            type(operation).__name__,
            _without_values(error),
        )

    def _delete_older(self) -> None:
        now = self._clock()
        if self._retention_days is None or now < self._deletes_at:
            return
        # If this fails, the next batches are not to fail with it.
        self._deletes_at = now + DELETION_RETRY_SECONDS
        if self._erase_older_files is not None:
            self._erase_older_files()
        limit = now - self._retention_days * 86400
        older = sa.select(calls.calls.c.call_sid).where(calls.calls.c.began_at < limit)
        # Other workers delete at the same time; each takes the calls that no other one has.
        free = older.limit(DELETED_AT_ONCE).with_for_update(skip_locked=True)
        unsent = calls.webhook_events.c
        # Of calls that are gone already: nobody may be there to send them any more, or to give them up.
        left_behind = (
            sa.select(unsent.event_id)
            .where(unsent.put_at < limit)
            .limit(DELETED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        with self._database.begin() as connection:
            call_sids = connection.execute(free).scalars().all()
            for table in (*calls.HOLD_CALL_SIDS, calls.calls):
                connection.execute(sa.delete(table).where(table.c.call_sid.in_(call_sids)))
            connection.execute(sa.delete(calls.webhook_events).where(unsent.event_id.in_(left_behind)))
        if call_sids:
            logger.info(
                "journal: calls deleted for being older than %g d: %d", self._retention_days, len(call_sids)
            )
        self._deletes_at = now + (RETENTION_PERIOD_SECONDS if len(call_sids) < DELETED_AT_ONCE else 0)


def _may_pass(error: Exception) -> bool:
    """Whether the database refused, and may not do so later; otherwise what it was given is at fault."""
    cause = error.__cause__
    of_what_was_given = isinstance(cause, sa.exc.DataError | sa.exc.IntegrityError | sa.exc.ProgrammingError)
    never_sent = isinstance(cause, sa.exc.StatementError) and not isinstance(cause, sa.exc.DBAPIError)
    return isinstance(error, StoreError) and not of_what_was_given and not never_sent


def _without_values(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else type(error).__name__
