"""`GET /ready`: whether this process takes calls, for a load balancer that sends them elsewhere if not."""

import threading
import time
from typing import Any

import sqlalchemy as sa

from store.database import Database, StoreError
from web.calls import Calls

CHECK_SECONDS = 1.0
"""The database is asked no more often than that: anyone may ask us."""

ANSWER_SECONDS = 3.0
"""A database that owes an answer for longer is none: it is what a call waits for one that is locked."""


class Readiness:
    """Any thread asks; at most one of them at a time asks the database."""

    def __init__(self, calls: Calls, database: Database, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._calls = calls
        self._database = database
        self._answer_seconds = answer_seconds
        self._asking = threading.Lock()
        self._answers = True
        self._asked_at = float("-inf")
        self._owed_since = float("inf")

    def answer(self) -> tuple[dict[str, Any], int]:
        """What to answer with, and the HTTP status: 200 or 503."""
        calls = self._calls
        status = "ready"
        if calls.draining:
            status = "draining"
        elif calls.full:
            status = "full"
        elif calls.late:
            status = "late"
        elif not self._database_answers():
            status = "no database"
        return {
            "status": status,
            "calls": calls.count,
            "limit": calls.limit,
            "late_ms": round(calls.late_ms, 1),
        }, 200 if status == "ready" else 503

    def _database_answers(self) -> bool:
        # Whoever comes while another asks takes the last answer: a locked database must not hold up every thread.
        now = time.monotonic()
        if now > self._asked_at + CHECK_SECONDS and self._asking.acquire(blocking=False):
            self._owed_since = now
            try:
                with self._database.read() as connection:
                    connection.execute(sa.select(1))
                self._answers = True
            except StoreError:
                self._answers = False
            finally:
                self._asked_at, self._owed_since = time.monotonic(), float("inf")
                self._asking.release()
        return self._answers and now < self._owed_since + self._answer_seconds
