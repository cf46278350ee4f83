"""`GET /ready`: whether this process takes calls, for a load balancer that sends them elsewhere if not."""

import threading
import time
from typing import Any

import sqlalchemy as sa

from store.database import Database, StoreError
from web.calls import Calls

CHECK_SECONDS = 1.0
"""The database is asked no more often than that: anyone may ask us."""


class Readiness:
    """Any thread asks; at most one of them at a time asks the database."""

    def __init__(self, calls: Calls, database: Database) -> None:
        self._calls = calls
        self._database = database
        self._asking = threading.Lock()
        self._answers = True
        self._asked_at = float("-inf")

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
        if time.monotonic() > self._asked_at + CHECK_SECONDS and self._asking.acquire(blocking=False):
            try:
                with self._database.read() as connection:
                    connection.execute(sa.select(1))
                self._answers = True
            except StoreError:
                self._answers = False
            finally:
                self._asked_at = time.monotonic()
                self._asking.release()
        return self._answers
