"""Calls that were placed, from the request to the last that is heard of them.

    POST /calls, run.py dial --open--> a row with a token's hash --placed / refused--> what Twilio's REST API said
    Twilio, with the token   --claim, told, answered--> how the call goes on

Twilio's answer with the CallSid may come after everything else, so a call is known by the token in the URLs that it
was given, and belongs to the first CallSid that comes with it. The token opens one stream: see store/tokens.py.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import calls
from store.database import Database
from store.dialed_tables import dialed, gate
from store.insertion import insert
from wire.call_progress import COMPLETED, FAILED, GOING_ON, IN_PROGRESS, OUTCOMES, QUEUED, is_final, later
from wire.dial_rate import DialRate, Placed, Wait, admit
from wire.journal import OUTBOUND, CallRecord

TOKEN_BYTES = 32
"""256 random bits."""

CLAIM_SECONDS = 120.0
"""How long after it has stopped ringing a call is still expected to be answered, or to be reported as over."""

UNPLACED_KEPT_SECONDS = 86400.0
"""How long a call is remembered that never got a CallSid. The others are kept as long as the calls of the history."""

EXPIRED = "expired"
"""Outcome of a call of whose end nothing was heard."""
REFUSED = "refused"
"""Outcome of a call that Twilio's REST API has refused."""
HUNG_UP = "hung_up"
"""Outcome of a call that somebody has answered, and that was over before there was a conversation."""


class NotOurs(Exception):  # noqa: N818  # an answer to a stranger, not an error of ours
    """No call was placed with this token, or it is another call's."""


class TooManyDialed(Exception):  # noqa: N818  # what callers of ours have to expect
    """No call can be placed now."""

    def __init__(self, wait: Wait) -> None:
        super().__init__("too many calls")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class DialedCall:
    """A call that was placed, as far as it is known. Times are in seconds since 1970."""

    id: str
    number: str
    """of the person"""
    caller_id: str
    assistant: str
    variables: Mapping[str, str]
    placed_at: float
    call_sid: str | None
    """None: not known yet"""
    status: str
    """as in wire/call_progress.py"""
    answered_by: str | None
    """Twilio's verdict; None: there is none yet"""
    outcome: str
    """empty: it goes on, or is being written"""
    error: str
    """what Twilio's REST API said instead of taking the call"""
    canceled: bool
    """nobody wants it any more"""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return is_final(self.status) and bool(self.outcome)


class DialedCalls:
    """All of them. Any thread; every method raises StoreError."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970, which the machines that share the database agree about."""
        self._database = database
        self._clock = clock

    def open(
        self,
        number: str,
        caller_id: str,
        assistant: str,
        assistant_name: str,
        variables: Mapping[str, str],
        ring_seconds: float,
        longest_seconds: float,
        rate: DialRate,
        request_key: str | None = None,
    ) -> tuple[DialedCall, str | None]:
        """A new call to that number, and the token for its URLs.

        It rings for `ring_seconds` and lasts for `longest_seconds`, at most. `assistant` is the assistant's file's
        name, and `assistant_name` its own.

        With a `request_key` that another call has, that one is returned, with None: nothing is to be placed. Raises
        TooManyDialed.
        """
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock()
        row = {
            "id": secrets.token_hex(8),
            "digest": _digest(token),
            "number": number,
            "number_key": calls.number_key(number),
            "caller_id": caller_id,
            "assistant": assistant,
            "assistant_name": assistant_name,
            "variables": json.dumps(dict(variables)),
            "placed_at": now,
            "expires_at": now + ring_seconds + CLAIM_SECONDS,
            "longest_seconds": longest_seconds,
            "status": QUEUED,
            "outcome": "",
            "error": "",
            "canceled": False,
            "request_key": request_key,
        }
        with self._database.begin() as connection:
            # First, because it makes whoever places a call at the same moment wait, with the same key or another.
            placed = _hold_gate(connection)
            self._sweep(connection, now)
            if request_key is not None:
                earlier = _find(connection, dialed.c.request_key == request_key)
                if earlier is not None:
                    return earlier, None
            verdict = admit(rate, placed, now)
            if isinstance(verdict, Wait):
                raise TooManyDialed(verdict)
            state = {"day": verdict.day, "today": verdict.today, "lately": json.dumps(verdict.lately)}
            connection.execute(sa.update(gate).values(state))
            connection.execute(sa.insert(dialed).values(row))
            call = _find(connection, dialed.c.id == row["id"])
        assert call is not None
        return call, token

    def placed(self, call_id: str, call_sid: str) -> DialedCall | None:
        """Twilio has taken the call; None: it was erased meanwhile."""
        with self._database.begin() as connection:
            row = _held(connection, dialed.c.id == call_id)
            if row is None:
                return None
            if row.call_sid is None:
                _change(connection, row, call_sid=call_sid)
            return _find(connection, dialed.c.id == call_id)

    def refused(self, call_id: str, error: str, certain: bool) -> None:
        """Twilio has not taken the call; or, if that is not `certain`, nobody knows."""
        changes: dict[str, object] = {"error": error}
        if certain:
            changes |= {"status": FAILED, "outcome": REFUSED}
        with self._database.begin() as connection:
            connection.execute(sa.update(dialed).where(dialed.c.id == call_id).values(changes))

    def claim(self, token: str, call_sid: str) -> DialedCall:
        """Somebody has answered, and Twilio asks what to do. Raises NotOurs."""
        return self._tell(token, call_sid, IN_PROGRESS)

    def told(self, token: str, call_sid: str, status: str) -> DialedCall:
        """A status callback. What it says is kept if it is news. Raises NotOurs."""
        return self._tell(token, call_sid, status)

    def answered(self, token: str, call_sid: str, verdict: str) -> tuple[DialedCall, bool]:
        """Who has answered, as Twilio says once; whether it is for the first time. Raises NotOurs."""
        with self._database.begin() as connection:
            row = self._row(connection, token, call_sid)
            first = row.answered_by is None
            if first:
                _change(connection, row, call_sid=call_sid, answered_by=verdict)
            return _known(_find(connection, dialed.c.id == row.id)), first

    def cancel(self, call_id: str) -> DialedCall | None:
        """Nobody wants the call any more; None: there is none."""
        with self._database.begin() as connection:
            row = _held(connection, dialed.c.id == call_id)
            if row is not None and not is_final(row.status):
                _change(connection, row, canceled=True)
            return _find(connection, dialed.c.id == call_id)

    def get(self, call_id: str) -> DialedCall | None:
        """The call; None: there is none, or not any more."""
        return self._look(dialed.c.id == call_id)

    def of_call(self, call_sid: str) -> DialedCall | None:
        """The call with that CallSid."""
        return self._look(dialed.c.call_sid == call_sid)

    def of_request(self, request_key: str) -> DialedCall | None:
        """The call that was placed with that key."""
        return self._look(dialed.c.request_key == request_key)

    def clear(self) -> None:
        """Give up what is overdue, and forget what never was a call, also where nobody places another one."""
        with self._database.begin() as connection:
            self._sweep(connection, self._clock())

    def _look(self, which: sa.ColumnElement[bool]) -> DialedCall | None:
        with self._database.read() as connection:
            call = _find(connection, which)
            overdue = sa.select(dialed.c.id).where(which, *_overdue(self._clock()))
            if connection.execute(overdue).first() is None:
                return call
        with self._database.begin() as connection:
            self._sweep(connection, self._clock())
            return _find(connection, which)

    def _tell(self, token: str, call_sid: str, status: str) -> DialedCall:
        with self._database.begin() as connection:
            row = self._row(connection, token, call_sid)
            if not is_final(row.status):  # of one that has ended or expired nothing is news
                self._follow(connection, row, call_sid, later(row.status, status))
            return _known(_find(connection, dialed.c.id == row.id))

    def _follow(self, connection: sa.Connection, row: Any, call_sid: str, status: str) -> None:
        now = self._clock()
        changes: dict[str, object] = {
            "call_sid": call_sid,
            "status": status,
            "outcome": OUTCOMES.get(status, ""),
        }
        if status == IN_PROGRESS != row.status:
            changes["expires_at"] = now + row.longest_seconds + CLAIM_SECONDS
        _change(connection, row, **changes)
        if is_final(status):
            _settle(connection, row, call_sid, now, OUTCOMES.get(status, HUNG_UP))

    def _row(self, connection: sa.Connection, token: str, call_sid: str) -> Any:
        row = _held(connection, dialed.c.digest == _digest(token))
        if row is None or row.call_sid not in (None, call_sid):
            raise NotOurs
        return row

    def _sweep(self, connection: sa.Connection, now: float) -> None:
        """Give up calls that are overdue, and forget those that never were one."""
        overdue = sa.select(dialed).where(*_overdue(now)).with_for_update(skip_locked=True)
        for row in connection.execute(overdue).all():
            if row.call_sid is not None:
                _settle(connection, row, row.call_sid, now, EXPIRED)
            answered = row.status == IN_PROGRESS
            _change(
                connection, row, status=COMPLETED if answered else FAILED, outcome="" if answered else EXPIRED
            )
        unplaced = dialed.c.call_sid.is_(None), dialed.c.placed_at < now - UNPLACED_KEPT_SECONDS
        connection.execute(sa.delete(dialed).where(*unplaced))


def _settle(connection: sa.Connection, row: Any, call_sid: str, now: float, outcome: str) -> None:
    """The call is over: in the history, too, where it is also found if there was no conversation."""
    record = CallRecord(call_sid, "", row.caller_id, row.number, row.assistant_name, "", OUTBOUND)
    calls.settle(connection, record, row.placed_at, now, outcome)


def _overdue(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    # Those that it may have, because no index finds what has none of the others.
    return dialed.c.status.in_(GOING_ON), dialed.c.expires_at < now


def _hold_gate(connection: sa.Connection) -> Placed:
    first = insert(connection.dialect.name, gate).values(id=1, day="", today=0, lately="[]")
    connection.execute(first.on_conflict_do_nothing())
    row = connection.execute(sa.select(gate).with_for_update()).one()
    return Placed(row.day, row.today, tuple(json.loads(row.lately)))


def _held(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Any:
    return connection.execute(sa.select(dialed).where(which).with_for_update()).one_or_none()


def _change(connection: sa.Connection, row: Any, **values: object) -> None:
    connection.execute(sa.update(dialed).where(dialed.c.id == row.id).values(values))


def _known(call: DialedCall | None) -> DialedCall:
    assert call is not None  # its row is held
    return call


def _find(connection: sa.Connection, which: sa.ColumnElement[bool]) -> DialedCall | None:
    history = calls.calls.c
    conversation = sa.select(dialed, history.outcome.label("spoken")).outerjoin(
        calls.calls, dialed.c.call_sid == history.call_sid
    )
    row = connection.execute(conversation.where(which)).one_or_none()
    if row is None:
        return None
    return DialedCall(
        id=row.id,
        number=row.number,
        caller_id=row.caller_id,
        assistant=row.assistant,
        variables=json.loads(row.variables),
        placed_at=row.placed_at,
        call_sid=row.call_sid,
        status=row.status,
        answered_by=row.answered_by,
        outcome=row.outcome or (is_final(row.status) and row.spoken) or "",
        error=row.error,
        canceled=row.canceled,
    )


def _digest(token: str) -> str:
    # A stranger's token may be any text, even one that UTF-8 cannot hold.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
