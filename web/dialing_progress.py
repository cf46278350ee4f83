"""How a call that was placed goes, for somebody who waits for it at a terminal."""

import time
from collections.abc import Callable

from store.database import StoreError
from store.dialed import DialedCall, DialedCalls
from wire.call_progress import COMPLETED, is_final
from wire.phone_number import shortened

LOOK_SECONDS = 0.25
"""How often the database is asked: other processes write there, which have no event to give."""
OUTCOME_SECONDS = 5.0
"""How long after its end a call's outcome is waited for."""
UNREAD_SECONDS = 300.0
"""How long the database may be of no use, until it is not waited for any more."""

NOT_REACHED = frozenset({"fax"})
"""Outcomes of answered calls with nobody to talk to, and nothing to leave a message on."""


def show_progress(
    dialed: DialedCalls,
    call: DialedCall,
    say: Callable[[str], object],
    wait: bool,
    look_seconds: float = LOOK_SECONDS,
    unread_seconds: float = UNREAD_SECONDS,
) -> bool:
    """Say how the call goes: what is known now, or if you `wait`, until it is over. Whether somebody was reached.

    Who does not wait is told yes. A database that fails is no end of the call: it is asked again.
    """
    say(f"call {call.id} to {shortened(call.number)}: {call.status}")
    if not wait:
        return True
    give_up = float("inf")
    while not call.over and time.monotonic() < give_up:
        time.sleep(look_seconds)
        try:
            now = dialed.get(call.id)
        except StoreError as error:
            if give_up == float("inf"):
                say(f"how it goes is not known at the moment: {error}")
                give_up = time.monotonic() + unread_seconds
            continue
        if now is None:
            say("it was erased")
            return False
        before, call = call, now
        if call.status != before.status:
            say(call.status)
        if call.answered_by != before.answered_by:
            say(f"answered by: {(call.answered_by or '').replace('_', ' ')}")
        if not is_final(call.status):
            give_up = float("inf")
        elif not is_final(before.status):
            give_up = time.monotonic() + OUTCOME_SECONDS
    say(f"outcome: {call.outcome.replace('_', ' ') or 'not known'}")
    return call.status == COMPLETED and call.outcome not in NOT_REACHED
