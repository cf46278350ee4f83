"""Placing calls, and ending them: what the API and the command line have in common.

    checks -> a row with a token (limits, repeated requests) -> Twilio's REST API -> the row learns the CallSid

Everything after that comes from Twilio, to web/dialed.py.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from actors.assistant import Assistant
from actors.assistants import Assistants
from actors.carrier import Carrier, MachineDetection
from actors.carrier_error import CarrierError
from actors.outbound import Outbound
from config import Settings
from store.database import StoreError
from store.dialed import REFUSED, DialedCall, DialedCalls, TooManyDialed
from web.dial_request import DialError, DialRequest, Problem, no_such_call
from web.twiml import ANSWERED_BY_PATH, CALL_STATUS_PATH, DIALED_PATH, dial_url
from wire.call_progress import FAILED, is_final
from wire.dial_plan import DialPlan, NotAllowed
from wire.dial_rate import DAY_SECONDS, DialRate
from wire.phone_number import shortened

logger = logging.getLogger(__name__)

SPARE_SECONDS = 60.0
"""How much longer than the assistant lets it, Twilio lets a call last: for when nobody here is left to end it."""
HANDED_ON_SECONDS = 14400.0
"""How long Twilio lets a call last that comes in; so long, in all, may one that somebody else may take over."""
LONGEST_SECONDS = 86400.0
"""Twilio's own limit."""


def carrier_of(settings: Settings) -> Carrier | None:
    """Twilio's REST API with the account of the settings, if they name one."""
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    if account is None or token is None:
        return None
    return Carrier(account, token.get_secret_value(), settings.twilio_api_url)


class Dialer:
    """Places calls. Any thread. What asks Twilio takes its time, and raises DialError; StoreError before it asks."""

    def __init__(
        self,
        settings: Settings,
        assistants: Assistants,
        dialed: DialedCalls,
        carrier: Carrier | None,
        spent_today: Callable[[], float],
    ) -> None:
        """`carrier`: None where the settings have no account; then no call is placed."""
        self._settings = settings
        self._assistants = assistants
        self._dialed = dialed
        self._spent_today = spent_today
        self._plan = DialPlan(settings.dial_prefixes)
        self._rate = DialRate(settings.calls_per_second, settings.calls_per_day)
        self._carrier = carrier

    def dial(self, request: DialRequest, request_key: str | None = None) -> tuple[DialedCall, bool]:
        """Place the call; and whether it is a new one.

        It is not where another request had the same `request_key`: then that one's call is returned.
        """
        carrier = self._reachable()
        name, assistant, outbound = self._caller(request.assistant)
        if request_key is not None and (earlier := self._dialed.of_request(request_key)) is not None:
            # Whatever is allowed by now: whoever hears that nothing is placed may place it elsewhere.
            return _repeated(earlier, request, name), False
        self._check_number(request.to)
        self._check_budget()
        try:
            call, token = self._dialed.open(
                request.to,
                outbound.caller_id,
                name,
                assistant.name,
                request.variables,
                outbound.timeout_seconds,
                longest_seconds(assistant),
                self._rate,
                request_key,
            )
        except TooManyDialed as full:
            limit = "CALLS_PER_DAY" if full.wait.of_day else "CALLS_PER_SECOND"
            seconds = full.wait.seconds
            text = f"{limit} is reached; try again in {math.ceil(seconds)} s"
            raise DialError(Problem.TOO_MANY_CALLS, text, seconds) from None
        if token is None:
            return _repeated(call, request, name), False
        logger.info("call %s to %s: asking Twilio for it", call.id, shortened(call.number))
        try:
            call_sid = self._place(carrier, call, token, assistant, outbound)
        except CarrierError as error:
            raise self._refused(call, error) from None
        return self._placed(carrier, call, call_sid), True

    def hang_up(self, call_id: str) -> DialedCall:
        """End the call: also one that still rings, or that Twilio has not taken yet. One that is over stays so."""
        carrier = self._reachable()
        call = self._dialed.cancel(call_id)
        if call is None:
            raise no_such_call()
        if call.call_sid is not None and not is_final(call.status):
            try:
                carrier.hang_up(call.call_sid)
            except CarrierError as error:
                raise DialError(_problem(error), str(error), call=call, carrier_code=error.code) from None
        return call

    def _reachable(self) -> Carrier:
        if self._carrier is None or self._settings.public_url is None:
            raise DialError(
                Problem.NOT_CONFIGURED,
                "calls are placed through Twilio; set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and PUBLIC_URL",
            )
        return self._carrier

    def _caller(self, name: str | None) -> tuple[str, Assistant, Outbound]:
        every = self._assistants.all
        if name is None:
            default = self._assistants.default
            name = next(each for each in every if every[each] is default)
        assistant = every.get(name)
        if assistant is None:
            known = ", ".join(sorted(every))
            raise DialError(
                Problem.UNKNOWN_ASSISTANT, f"there is no assistant {name[:80]!r}; there are: {known}"
            )
        if assistant.outbound is None:
            raise DialError(
                Problem.NOT_CONFIGURED, f"assistant {name!r} makes no calls; add [outbound] to its file"
            )
        return name, assistant, assistant.outbound

    def _check_number(self, number: str) -> None:
        refusal = self._plan.refusal(number)
        if refusal is not None:
            problem = (
                Problem.INVALID_NUMBER if refusal is NotAllowed.NO_NUMBER else Problem.NUMBER_NOT_ALLOWED
            )
            raise DialError(problem, f"this number is not called: {refusal}")

    def _check_budget(self) -> None:
        budget = self._settings.daily_budget
        if budget is not None and self._spent_today() >= budget:
            until_tomorrow = DAY_SECONDS - time.time() % DAY_SECONDS
            raise DialError(Problem.BUDGET_SPENT, "DAILY_BUDGET is spent", until_tomorrow)

    def _place(
        self, carrier: Carrier, call: DialedCall, token: str, assistant: Assistant, outbound: Outbound
    ) -> str:
        base_url = self._settings.base_url
        detection = None
        if outbound.machine_detection:
            detection = MachineDetection(
                # Where nothing is left, there is no beep to wait for.
                mode="Enable" if outbound.voicemail is None else "DetectMessageEnd",
                callback=dial_url(base_url, ANSWERED_BY_PATH, token),
                timeout_seconds=outbound.detection_seconds,
                speech_threshold_ms=outbound.speech_threshold_ms,
                speech_end_threshold_ms=outbound.speech_end_threshold_ms,
                silence_timeout_ms=outbound.silence_timeout_ms,
            )
        document = dial_url(base_url, DIALED_PATH, token)
        return carrier.place(
            call.number,
            call.caller_id,
            url=document,
            # If an answer is lost, somebody holds a telephone in which nothing happens.
            fallback_url=document,
            status_callback=dial_url(base_url, CALL_STATUS_PATH, token),
            timeout_seconds=outbound.timeout_seconds,
            time_limit_seconds=longest_seconds(assistant),
            machine_detection=detection,
        )

    def _placed(self, carrier: Carrier, call: DialedCall, call_sid: str) -> DialedCall:
        logger.info("call %s is call %s at Twilio", call.id, call_sid)
        try:
            placed = self._dialed.placed(call.id, call_sid)
        except StoreError as error:
            # It rings: whoever heard that this failed would try again. Twilio's callbacks bring its CallSid, too.
            logger.error("call %s is placed, and the database is not told as which one: %s", call.id, error)
            return replace(call, call_sid=call_sid)
        if placed is None or (placed.canceled and not is_final(placed.status)):
            give_up(carrier, call_sid)  # it was, or was erased, while Twilio was asked
        return placed or call

    def _refused(self, call: DialedCall, error: CarrierError) -> DialError:
        problem = _problem(error)
        logger.warning("call %s is not placed: %s", call.id, error)
        certain = problem is Problem.CARRIER_REFUSED
        try:
            self._dialed.refused(call.id, str(error), certain)
            known = self._dialed.get(call.id)
        except StoreError as trouble:
            logger.error("the database is not told that call %s is not placed: %s", call.id, trouble)
            known = replace(call, error=str(error))
            if certain:
                known = replace(known, status=FAILED, outcome=REFUSED)
        return DialError(problem, str(error), call=known, carrier_code=error.code)


def give_up(carrier: Carrier, call_sid: str) -> None:
    """End a call that nobody wants any more. Any thread; takes its time. Where that fails, the log says so."""
    try:
        carrier.hang_up(call_sid)
    except CarrierError as error:
        logger.warning("call %s is not wanted any more, and goes on: %s", call_sid, error)


def _repeated(call: DialedCall, request: DialRequest, assistant: str) -> DialedCall:
    asked: tuple[str, str, Mapping[str, str]] = (request.to, assistant, request.variables)
    if asked != (call.number, call.assistant, call.variables):
        raise DialError(
            Problem.KEY_REUSED, "another request had this Idempotency-Key; use a new one", call=call
        )
    return call


def longest_seconds(assistant: Assistant) -> float:
    """How long a call of this assistant lasts at most, with whoever it is handed on to."""
    fallback = assistant.fallback
    seconds = assistant.limits.max_minutes * 60 + SPARE_SECONDS
    if fallback.voicemail:
        seconds += fallback.voicemail_seconds
    # Told when it is placed, and not raised when it is handed on: the fallback does that without us. What a `build`
    # gives the assistant is not known yet.
    if assistant.telephony.transfer or fallback.transfer_to is not None or assistant.build is not None:
        seconds = max(seconds, HANDED_ON_SECONDS)
    return min(seconds, LONGEST_SECONDS)


def _problem(error: CarrierError) -> Problem:
    # Without an answer, or with that of some proxy, the call may have been placed.
    certain = error.status is not None and error.status < 500
    return Problem.CARRIER_REFUSED if certain else Problem.CARRIER_SILENT
