"""Calls to people who are to take a caller over: placed for a CallActor, and told to it by Twilio's questions."""

import logging
import threading
from concurrent.futures import Future
from urllib.parse import urlencode

from actors.carrier import Carrier, CarrierError
from actors.member import CallError
from actors.telephony import Target
from web.twiml import CALL_FIELD, CONSULT_STATUS_PATH, ROOM_FIELD, Documents
from wire.journal import Then

logger = logging.getLogger(__name__)

ASK_SECONDS = 2.0
"""How long the caller waits for that, on a silent line; Twilio itself gives up after 15 s."""


def has_left(carrier: Carrier | None, leg_sid: str, within_seconds: float = ASK_SECONDS) -> bool:
    """Whether somebody who took a call is gone again. False where that cannot be found out in time."""
    if carrier is None:
        return False
    found: Future[bool] = Future()

    def ask() -> None:
        try:
            found.set_result(carrier.is_over(leg_sid))
        except Exception as error:
            found.set_exception(error)

    try:
        threading.Thread(target=ask, name=f"consultation {leg_sid}", daemon=True).start()
        return found.result(within_seconds)
    except (CarrierError, TimeoutError, RuntimeError) as error:  # the last: no thread to be had
        why = str(error) or "no answer"
        logger.warning("whether %s still waits for the caller is not known: %s", leg_sid, why)
        return False


def let_go(carrier: Carrier | None, then: Then, detail: str) -> None:
    """The caller hung up on the way to somebody: who waits for them need not do so any longer."""
    leg_sid = detail.partition(" ")[2]
    if then is not Then.JOIN or not leg_sid or carrier is None:
        return
    try:
        carrier.hang_up(leg_sid)
    except CarrierError as error:
        logger.warning("somebody still waits for a caller who has hung up: %s", error)


class ConsultDesk:
    """An `actors.operator.Desk` for one call. Any thread; both methods wait for Twilio."""

    def __init__(
        self, carrier: Carrier, documents: Documents, base_url: str, call_sid: str, caller_id: str
    ) -> None:
        """`documents` are those of the caller's call; `caller_id` is who the others see."""
        self._carrier = carrier
        self._documents = documents
        self._base_url = base_url
        self._call_sid = call_sid
        self._caller_id = caller_id

    def consult(self, room: str, target: Target, summary: str) -> str:
        """See Desk."""
        fields = urlencode({CALL_FIELD: self._call_sid, ROOM_FIELD: room})
        try:
            return self._carrier.place(
                target.number,
                self._caller_id,
                # In the request itself, so that nothing has to be kept: Twilio takes 4000 characters.
                twiml=self._documents.consult(self._call_sid, room, summary),
                status_callback=f"{self._base_url}{CONSULT_STATUS_PATH}?{fields}",
                status_events=("completed",),
                timeout_seconds=target.ring_seconds,
            )
        except (CarrierError, ValueError) as error:
            raise CallError(str(error)) from error

    def give_up(self, leg_sid: str) -> None:
        """See Desk."""
        try:
            self._carrier.hang_up(leg_sid)
        except CarrierError as error:
            raise CallError(str(error)) from error
