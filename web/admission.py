"""Whether one more call is taken."""

from collections.abc import Callable
from enum import StrEnum

from store.journal import CallJournal
from web.calls import Calls
from wire.phone_number import is_e164, is_withheld


class Refusal(StrEnum):
    """Why a call is not taken."""

    FULL = "this process takes no more calls; raise THREADS or WORKERS"
    LATE = "this process is late; add WORKERS or machines"
    CALLER = "its caller has MAX_CALLS_PER_CALLER calls already"
    BUDGET = "DAILY_BUDGET is spent"


PASSING = frozenset({Refusal.FULL, Refusal.LATE})
"""What may be over in a moment: who waits for that is asked again."""


class Admission:
    """The limits that a new call meets before it gets a stream. Any thread."""

    def __init__(
        self,
        calls: Calls,
        journal: CallJournal,
        max_calls_per_caller: int,
        daily_budget: float | None,
        longest_call_seconds: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._journal = journal
        self._max_calls_per_caller = max_calls_per_caller
        self._daily_budget = daily_budget
        self._longest_call_seconds = longest_call_seconds

    def refusal(self, caller: str) -> Refusal | None:
        """Why the call of that number is not taken; None: it is. Raises StoreError."""
        if self._calls.full:
            return Refusal.FULL
        if self._calls.late:
            return Refusal.LATE
        if self._daily_budget is not None and self._journal.spent_today() >= self._daily_budget:
            return Refusal.BUDGET
        if is_e164(caller) and not is_withheld(caller):
            live = self._journal.calls_at_once(caller, self._longest_call_seconds())
            if live >= self._max_calls_per_caller:
                return Refusal.CALLER
        return None
