"""What Twilio asks over HTTP: what to do with a call, what to do when its stream has ended, and its notices.

The views run in WSGI threads. They start nothing: the call is born when its media stream arrives, maybe in another
worker, and brings back in the stream's parameters what was put there here.

    Twilio asks                       and is answered with
    POST /twiml                       a stream; overflow; the fallback
    POST /twiml/ended?stream=n        stream n + 1, on which the call goes on; the end; the fallback
                                      or whom the call goes to, or keys that are pressed before that stream
    POST /twiml/transferred           the stream again, or a goodbye, if nobody answered; else the end
    POST /twiml/consult               a room to wait in for the caller, if the call is taken
    POST /twiml/recorded              thanks for the message

A worker that is about to end answers with a redirect to the same where it would with a stream, for another to take.
Where the answer of the second or third is lost, Twilio asks the fallback URL, which is the first, and has it there.
"""

import logging
import re
from collections.abc import Mapping

from flask import Flask, Response, request

from actors.assistants import Assistants
from actors.carrier import Carrier
from actors.messages import ConsultAccepted, ConsultEnded
from config import WEBHOOK_PATH, Settings
from store.database import StoreError
from store.journal import CallJournal, StoredCall
from store.tokens import Refusal as RefusedToken
from store.tokens import StreamTokens, TokenRefused
from web import security, twiml
from web.admission import PASSING, Admission
from web.calls import Calls
from web.consultations import has_left, let_go
from web.lost_answer import lost_answer
from web.orders import OrderDesk
from wire.journal import Then
from wire.phone_number import shortened

logger = logging.getLogger(__name__)

NOT_RESUMED = "not_resumed"
HUNG_UP = "hung_up"
"""Outcomes of calls whose end nobody else could tell."""

_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_COUNT = re.compile("[0-9]{1,4}")
_ROOM = re.compile("consult-[0-9a-f]{32}")
_OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_PLACED = "outbound-api"
"""Twilio's Direction of a call that we have placed."""
_ANSWERED = frozenset({"completed", "answered"})
_ONCE = frozenset({Then.SEND_DIGITS, Then.TRANSFER, Then.JOIN})
"""What is done behind the stream that was left for it, and behind no other."""
_PUT_THROUGH = frozenset({Then.TRANSFER, Then.JOIN})


class Voice:
    """The webhook with its callbacks, as views of a Flask app."""

    def __init__(
        self,
        settings: Settings,
        tokens: StreamTokens,
        assistants: Assistants,
        calls: Calls,
        journal: CallJournal,
        admission: Admission,
        orders: OrderDesk,
        carrier: Carrier | None = None,
    ) -> None:
        """`carrier` is None where calls cannot be placed; then there are none to be given up either."""
        self._settings = settings
        self._tokens = tokens
        self._assistants = assistants
        self._calls = calls
        self._journal = journal
        self._admission = admission
        self._orders = orders
        self._carrier = carrier

    def register(self, app: Flask) -> None:
        """Adds the routes to the app."""
        app.add_url_rule(WEBHOOK_PATH, view_func=self.answer, methods=["GET", "POST"])
        app.add_url_rule(twiml.ENDED_PATH, view_func=self.ended, methods=["POST"])
        app.add_url_rule(twiml.TRANSFERRED_PATH, view_func=self.transferred, methods=["POST"])
        app.add_url_rule(twiml.CONSULT_PATH, view_func=self.consult, methods=["POST"])
        app.add_url_rule(twiml.CONSULT_STATUS_PATH, view_func=self.consult_status, methods=["POST"])
        app.add_url_rule(twiml.RECORDED_PATH, view_func=self.recorded, methods=["POST"])
        app.add_url_rule(twiml.STATUS_PATH, view_func=self.stream_status, methods=["POST"])
        app.add_url_rule(twiml.RECORDING_PATH, view_func=self.recording_status, methods=["POST"])

    @security.webhook
    def answer(self) -> Response:
        """A call comes in, or comes back from the queue."""
        call_sid = _field("CallSid")
        if not _CALL_SID.fullmatch(call_sid):
            text = (
                "CallSid is missing, or not CA and 32 hexadecimal digits. Twilio's voice webhook asks here.\n"
            )
            return Response(text, 400, content_type="text/plain; charset=utf-8")
        if (lost := self.lost()) is not None:
            return lost
        documents, query = self._documents(), request.args
        caller, called, rounds = _field("From"), _field("To"), _count(query, twiml.ROUNDS_FIELD)
        logger.info("call %s from %s to %s", call_sid, shortened(caller), shortened(called))
        if self._calls.draining:
            return self._elsewhere(documents, WEBHOOK_PATH, {twiml.ROUNDS_FIELD: rounds}, query, call_sid)
        try:
            if refusal := self._admission.refusal(caller):
                logger.warning("call %s is not taken: %s", call_sid, refusal)
                return _xml(documents.overflow(refusal in PASSING, rounds))
            return _xml(documents.connect(self._tokens.issue(call_sid), 1))
        except StoreError as error:
            logger.error("call %s gets the fallback: %s", call_sid, error)
        except TokenRefused as refused:
            logger.warning("call %s gets the fallback, it has had its stream: %s", call_sid, refused)
        return _xml(documents.fallback())

    def lost(self) -> Response | None:
        """The answer that Twilio did not get from `ended` or `transferred`, if it asks the fallback URL for that.

        For the views that are fallback URLs, which have the same policy.
        """
        lost = lost_answer(request.values, security.base_url(self._settings))
        if lost is None:
            return None
        logger.warning("call %s did not get the answer of %s", plain(_field("CallSid")), lost.path)
        answer = self._behind_stream if lost.path == twiml.ENDED_PATH else self._behind_transfer
        return answer(lost.query)

    @security.webhook
    def ended(self) -> Response:
        """A stream has ended: because the call has, or because whoever held it could not hold it any longer."""
        return self._behind_stream(request.args)

    def _behind_stream(self, query: Mapping[str, str]) -> Response:
        call_sid, status = _field("CallSid"), _field("CallStatus")
        logger.info("stream of call %s has ended, call is %s", plain(call_sid), plain(status))
        documents = self._documents()
        try:
            stored = self._journal.load(call_sid)
            documents = self._documents(stored)
            then, detail = (Then.RESUME, "") if stored is None else (stored.then, stored.detail)
            stream = _count(query, twiml.STREAM_FIELD)
            if status in _OVER:
                if stored is not None and then not in (Then.HANG_UP, Then.FALLBACK):
                    # The number's status callback names no stream, and comes when a transfer is over as well: that
                    # call ended for us when it was put through, as in store.calls.settle.
                    if stream or then not in _PUT_THROUGH:
                        self._journal.ended(call_sid, HUNG_UP, Then.HANG_UP)
                    let_go(self._carrier, then, detail)
                return _xml(documents.nothing())
            if then in _ONCE and self._tokens.missed(call_sid, stream):
                then, detail = Then.RESUME, ""  # it was done behind the last stream that has begun
            match then:
                case Then.HANG_UP:
                    return _xml(documents.hang_up())
                case Then.RESUME | Then.SEND_DIGITS:
                    planned = then is Then.SEND_DIGITS
                    return self._resume(documents, call_sid, query, detail, planned)
                case Then.TRANSFER:
                    return _xml(documents.transfer(detail, stream))
                case Then.JOIN:
                    room, _, leg_sid = detail.partition(" ")
                    if not has_left(self._carrier, leg_sid):
                        return _xml(documents.join(room, stream))
                    # The caller would be alone in that room, in silence, for as long as a call may last.
                    self._journal.event(call_sid, "transfer failed", reason="who took the call has left")
                    return self._resume(documents, call_sid, query, planned=True)
        except StoreError as error:
            logger.error("call %s gets the fallback: %s", plain(call_sid), error)
        return _xml(documents.nothing() if status in _OVER else documents.fallback())

    def _resume(
        self,
        documents: twiml.Documents,
        call_sid: str,
        query: Mapping[str, str],
        digits: str = "",
        planned: bool = False,
        path: str = twiml.ENDED_PATH,
    ) -> Response:
        """`digits`: keys to be pressed before the stream. `planned`: the call left the former one on purpose.

        `path`: where to ask again.
        """
        stream = _count(query, twiml.STREAM_FIELD)
        if self._calls.draining:
            return self._elsewhere(documents, path, {twiml.STREAM_FIELD: stream}, query, call_sid)
        try:
            missed = self._tokens.missed(call_sid, stream)
            token = self._tokens.issue(call_sid, after=stream, planned=planned)
        except TokenRefused as refused:
            logger.warning("call %s gets the fallback: %s", plain(call_sid), refused)
            # Any other refusal may be a replay's, while the call goes on.
            if refused.reason is RefusedToken.RESUMED_TOO_OFTEN:
                self._journal.ended(call_sid, NOT_RESUMED, Then.FALLBACK)
            return _xml(documents.fallback())
        logger.info("call %s goes on with stream %d", call_sid, stream + 1)
        return _xml(documents.connect(token, stream + 1, missed, digits))

    @security.webhook
    def transferred(self) -> Response:
        """A transfer is over, or nobody took it."""
        return self._behind_transfer(request.args)

    def _behind_transfer(self, query: Mapping[str, str]) -> Response:
        call_sid, status = _field("CallSid"), _field("DialCallStatus")
        logger.info("transfer of call %s: %s", plain(call_sid), plain(status))
        documents = self._documents()
        stream = _count(query, twiml.STREAM_FIELD)
        if status in _ANSWERED or _field("CallStatus") in _OVER:
            if stream and status and status not in _ANSWERED:
                self._gave_up(call_sid)
            return _xml(documents.hang_up())
        if stream:
            if status:  # else it was noted by the server that has sent it here
                self._journal.event(call_sid, "transfer failed", reason=plain(status))
            try:
                return self._resume(documents, call_sid, query, planned=True, path=twiml.TRANSFERRED_PATH)
            except StoreError as error:
                logger.error("call %s gets the fallback: %s", plain(call_sid), error)
                return _xml(documents.fallback())
        return _xml(documents.not_transferred(of_overflow=_count(query, twiml.OVERFLOW_FIELD) > 0))

    def _gave_up(self, call_sid: str) -> None:
        """The caller hung up before anybody took the transfer, for which the call was left."""
        try:
            stored = self._journal.load(call_sid)
        except StoreError as error:
            logger.error("call %s stays filed as transferred: %s", plain(call_sid), error)
            return
        if stored is not None and stored.then in _PUT_THROUGH:
            self._journal.ended(call_sid, HUNG_UP, Then.HANG_UP)
            let_go(self._carrier, stored.then, stored.detail)

    @security.webhook
    def consult(self) -> Response:
        """Somebody was asked to take a caller, and has pressed a key."""
        call_sid, room = request.args.get(twiml.CALL_FIELD, ""), request.args.get(twiml.ROOM_FIELD, "")
        documents = self._documents()
        if _field("Digits") != twiml.TAKE_KEY or not _ROOM.fullmatch(room):
            return _xml(documents.declined())
        try:
            stored = self._journal.load(call_sid)
            if stored is None or not (stored.then is Then.RESUME or stored.detail.startswith(room)):
                # Its process died while it rang there, or could not end this call: nobody would ever come.
                logger.info("call %s is over, and is not taken any more", plain(call_sid))
                return _xml(documents.declined())
            self._orders.give(call_sid, ConsultAccepted(room, _field("CallSid")))
        except StoreError as error:
            logger.error("call %s cannot be told that it is taken: %s", plain(call_sid), error)
            return _xml(documents.declined())
        return _xml(documents.await_caller(room))

    @security.webhook
    def consult_status(self) -> Response:
        """The call to somebody who was to take a caller is over."""
        call_sid, room = request.args.get(twiml.CALL_FIELD, ""), request.args.get(twiml.ROOM_FIELD, "")
        status = _field("CallStatus")
        logger.info("consultation of call %s: %s", plain(call_sid), plain(status))
        if status in _OVER:
            try:
                self._orders.give(call_sid, ConsultEnded(room, status))
            except StoreError as error:
                logger.error("call %s cannot be told that nobody takes it: %s", plain(call_sid), error)
        return Response(status=204)

    @security.webhook
    def recorded(self) -> Response:
        """The caller has left a message."""
        documents = self._documents()
        return _xml(documents.nothing() if _field("CallStatus") in _OVER else documents.recorded())

    @security.webhook
    def stream_status(self) -> Response:
        """A notice about a stream."""
        event, call_sid = plain(_field("StreamEvent")), plain(_field("CallSid"))
        if event == "stream-error":
            logger.warning("stream of call %s failed: %s", call_sid, plain(_field("StreamError")))
        else:
            logger.info("stream of call %s: %s", call_sid, event)
        return Response(status=204)

    @security.webhook
    def recording_status(self) -> Response:
        """A notice about a caller's message. Where to listen to it says the SID, to whoever has the account."""
        names = ("RecordingSid", "CallSid", "RecordingStatus", "RecordingDuration")
        sid, call_sid, status, seconds = (plain(_field(name)) for name in names)
        level = logging.WARNING if status == "failed" else logging.INFO
        logger.log(level, "message %s of call %s: %s, %s s", sid, call_sid, status, seconds)
        return Response(status=204)

    def _elsewhere(
        self,
        documents: twiml.Documents,
        path: str,
        fields: dict[str, int],
        query: Mapping[str, str],
        call_sid: str,
    ) -> Response:
        again = documents.wait(path, fields | {twiml.WAITS_FIELD: _count(query, twiml.WAITS_FIELD)})
        if again is None:
            logger.warning(
                "call %s gets the fallback: no server takes it but this, which ends", plain(call_sid)
            )
            return _xml(documents.fallback())
        self._calls.expect_question()
        return _xml(again)

    def _documents(self, stored: StoredCall | None = None) -> twiml.Documents:
        """`stored`: of a call that has begun, and keeps the assistant that it began with."""
        base_url, caller, called = security.base_url(self._settings), _field("From"), _field("To")
        outbound = _field("Direction") == _PLACED
        began_with = None if stored is None else stored.record.assistant_version
        assistant = self._assistants.choose(caller if outbound else called, version=began_with)
        return twiml.Documents(assistant, base_url, caller, called, outbound=outbound)


def plain(text: str) -> str:
    """What a request says, for the log: on one line, and not a long one."""
    return ascii(text[:200])[1:-1]


def _field(name: str) -> str:
    return request.values.get(name, "")


def _count(query: Mapping[str, str], name: str) -> int:
    """A number that we ourselves put into a URL's query; 0 if it is not there."""
    text = query.get(name, "")
    return int(text) if _COUNT.fullmatch(text) else 0


def _xml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")
