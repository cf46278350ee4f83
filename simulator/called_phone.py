"""A phone that is called: by REST, or by the Dial of another call. It rings, answers as scripted, and is spoken to.

Source: twilio-media-streams.md, 10.2 to 10.4. The events in order: queued, initiated, ringing, answered, completed;
the last is reported for every end. Once it has answered, it can be used as the caller's phone can.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from simulator import dtmf
from simulator.bridge import Member
from simulator.call_record import CallRecord, CallStatus
from simulator.callee import AnsweredBy, Answering, Busy, Callee, Failed, NoAnswer
from simulator.document import Document
from simulator.exchange import Exchange
from simulator.handset import Handset
from simulator.order import Detection, Order
from simulator.phone_events import Answered, EndReason, PhoneEvent
from simulator.twiml_verbs import StatusCallback
from simulator.webhook import Requester
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.network import PhoneNetwork

_SIP_CODES = {"completed": 200, "busy": 486, "no-answer": 487, "canceled": 487}


class CalledPhone(Handset):
    """One call to a scripted callee. The network makes and starts it; any thread may use it."""

    def __init__(
        self,
        order: Order,
        callee: Callee,
        record: CallRecord,
        requester: Requester,
        network: "PhoneNetwork",
        *,
        recording: Path | None,
        speak: Callable[[str], bytes] | None,
        on_event: Callable[[PhoneEvent], None] | None,
    ) -> None:
        fields = {
            "CallSid": record.sid,
            "AccountSid": record.account_sid,
            "From": order.caller_id,
            "To": order.to,
            "Caller": order.caller_id,
            "Called": order.to,
            "Direction": record.direction,
            "ApiVersion": "2010-04-01",
        }
        if order.parent_sid is not None:
            fields["ParentCallSid"] = order.parent_sid
        document_url = "" if order.document is None else order.document.url
        if order.redirect is not None:
            document_url = order.redirect.url
        super().__init__(
            record.sid,
            requester,
            fields,
            document_url,
            recording=recording,
            speak=speak,
            on_event=on_event,
            fallback_url=order.fallback_url,
            network=network,
            record=record,
        )
        self.call = record
        self._order = order
        self._callee = callee
        self._outcome: CallStatus = "completed"
        self._sip_code: int | None = None
        self._answered = threading.Event()
        self._member: Member | None = None

    def prepare(self) -> None:
        """Make the line, so that REST can reach the call. Once, by the network. Raises OSError as `Phone.dial`."""
        self._open()

    def ring(self) -> None:
        """Begin. Once, by the network."""
        self._start()

    def cancel(self) -> None:
        """Give the call up: nobody waits for the answer any more. Does nothing if the call is over."""
        self._require(self._exchange).hang_up("canceled")

    def await_answer(self, timeout: float) -> None:
        """Block until it has been answered. Raises TimeoutError, or CallOverError if that will not come."""
        self._await(self._answered.is_set, timeout, f"{self._order.to} did not answer")

    def _conduct(self, exchange: Exchange) -> EndReason:
        exchange.report_status(self.call, "initiated", "initiated")
        self.call.status = "ringing"
        exchange.report_status(self.call, "ringing", "ringing")
        refusal, answering = self._await_callee(exchange)
        interruption = exchange.interruption()
        if interruption is not None:
            self._outcome = "canceled"
            return "canceled"
        if answering is None:
            self._outcome = refusal
            return "unanswered"
        return exchange.run(self._answer(exchange, answering))

    def _await_callee(self, exchange: Exchange) -> tuple[CallStatus, Answering | None]:
        callee, limit = self._callee, self._order.timeout_s
        match callee:
            case NoAnswer(after):
                after_s = limit if after is None else after
            case _:
                after_s = callee.after_s
        exchange.pacer.pause(round(min(after_s, limit) * SAMPLE_RATE))
        match callee:
            case _ if after_s > limit:
                return "no-answer", None
            case NoAnswer():
                return "no-answer", None
            case Busy():
                return "busy", None
            case Failed(_, sip_code):
                self._sip_code = sip_code
                return "failed", None
            case _:
                return "completed", callee

    def _answer(self, exchange: Exchange, callee: Answering) -> Document | EndReason:
        order = self._order
        if order.room is not None:
            self._member = order.room.enter(exchange.line.origin)
        self.call.answer()
        answered_at = exchange.clock()
        self._emit(Answered(answered_at / SAMPLE_RATE))
        self._answered.set()
        exchange.report_status(self.call, "answered", "in-progress")
        if callee.speech():
            exchange.line.say(callee.speech())
        if callee.hangs_up_s is not None:
            moment = answered_at + round(callee.hangs_up_s * SAMPLE_RATE)
            exchange.pacer.at(moment, lambda: exchange.hang_up("caller"))
        if order.time_limit_s is not None:
            moment = answered_at + round(order.time_limit_s * SAMPLE_RATE)
            exchange.pacer.at(moment, lambda: exchange.hang_up("completed"))
        detected: dict[str, str] = {}
        if order.send_digits:
            exchange.pacer.play(dtmf.tones(order.send_digits))
        elif order.detection is not None:
            detected = self._detect(exchange, callee, order.detection, answered_at)
        interruption = exchange.interruption()
        if interruption is not None:
            self._leave()
            return interruption
        if self._member is not None:
            room = self._member.room
            exchange.talk(self._member, order.caller_id, lambda: room.closed)
            return exchange.interruption() or "parent"
        if order.redirect is not None:
            return exchange.next(order.redirect.method, order.redirect.url, detected)
        return self._require(order.document)

    def _detect(
        self, exchange: Exchange, callee: Answering, detection: Detection, answered_at: int
    ) -> dict[str, str]:
        """The fields for the first document: none if the verdict comes later."""
        answered_by, after_s = callee.verdict(detection.mode)
        if after_s > detection.timeout_s:
            answered_by, after_s = "unknown", detection.timeout_s
        samples = round(after_s * SAMPLE_RATE)
        callback = detection.callback
        if callback is None:
            exchange.pacer.pause(samples)
            self.call.answered_by = answered_by
            return {"AnsweredBy": answered_by}
        exchange.pacer.at(
            answered_at + samples, lambda: self._tell_verdict(exchange, callback, answered_by, samples)
        )
        return {}

    def _tell_verdict(
        self, exchange: Exchange, callback: StatusCallback, answered_by: AnsweredBy, samples: int
    ) -> None:
        self.call.answered_by = answered_by
        fields = {
            "CallSid": self.call_sid,
            "AccountSid": self.call.account_sid,
            "AnsweredBy": answered_by,
            "MachineDetectionDuration": str(samples // BYTES_PER_MS),
        }
        exchange.callbacks.post(callback.method, callback.url, fields)

    def _leave(self) -> None:
        if self._member is not None:
            self._member.leave()

    def _settle(self, record: CallRecord, exchange: Exchange) -> None:
        self._leave()
        record.end(self._outcome)
        sip_code = _SIP_CODES.get(self._outcome, 404) if self._sip_code is None else self._sip_code
        exchange.report_status(record, "completed", record.status, sip_code)
