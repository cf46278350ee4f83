"""What Twilio asks and tells about calls that we have placed. Every URL has the token of its call.

    POST /twiml/dialed         somebody has answered, and gets a stream
    POST /twiml/call-status    it rings, it was answered, it is over
    POST /twiml/answered-by    a person, a machine after its beep, a fax

They come in any order and to any worker, and may come before Twilio has answered the request that placed the call. A
replayed one opens nothing: a call has its first stream once, and what it says of a call is no news.

The first is the call's fallback URL too: for what came behind a later stream, and was lost, see web/voice.py.
"""

import logging
import re
import threading

from flask import Flask, Response, request

from actors.assistants import Assistants
from actors.carrier import Carrier
from actors.messages import AnsweredBy
from config import Settings
from store.database import StoreError
from store.dialed import DialedCalls, NotOurs
from store.tokens import StreamTokens, TokenRefused
from web import security, twiml
from web.calls import Calls
from web.dialing import give_up
from web.orders import OrderDesk
from web.voice import Voice
from wire.call_progress import is_final

logger = logging.getLogger(__name__)

_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_COUNT = re.compile("[0-9]{1,4}")
_VERDICT = re.compile("[a-z_]{1,40}")


class Dialed:
    """The views. They run in WSGI threads."""

    def __init__(
        self,
        settings: Settings,
        assistants: Assistants,
        dialed: DialedCalls,
        tokens: StreamTokens,
        calls: Calls,
        orders: OrderDesk,
        voice: Voice,
        carrier: Carrier | None,
    ) -> None:
        """`voice` answers for what comes behind a stream of such a call. `carrier`: None where none is placed."""
        self._settings = settings
        self._assistants = assistants
        self._dialed = dialed
        self._tokens = tokens
        self._calls = calls
        self._orders = orders
        self._voice = voice
        self._carrier = carrier

    def register(self, app: Flask) -> None:
        """Adds the routes to the app."""
        app.add_url_rule(twiml.DIALED_PATH, view_func=self.answer, endpoint="dialed", methods=["POST"])
        app.add_url_rule(twiml.CALL_STATUS_PATH, view_func=self.call_status, methods=["POST"])
        app.add_url_rule(twiml.ANSWERED_BY_PATH, view_func=self.answered_by, methods=["POST"])

    @security.webhook
    def answer(self) -> Response:
        """Somebody has answered."""
        if (lost := self._voice.lost()) is not None:
            return lost
        token, call_sid = _token(), _call_sid()
        documents = self._documents(None)
        try:
            call = self._dialed.claim(token, call_sid)
            documents = self._documents(call.assistant)
            if call.canceled or is_final(call.status):
                logger.info("call %s was answered, and is not wanted any more", call_sid)
                return _xml(documents.hang_up())
            if self._calls.draining:
                return self._elsewhere(documents, token, call_sid)
            logger.info("call %s was answered", call_sid)
            return _xml(documents.connect(self._tokens.issue(call_sid), 1))
        except NotOurs:
            logger.warning("call %s is hung up: it was not placed with this token", call_sid)
        except TokenRefused as refused:
            if _field("ErrorUrl"):  # Twilio asks for a way out, and somebody holds a telephone
                logger.warning("call %s gets the fallback, it has had its stream: %s", call_sid, refused)
                return _xml(documents.fallback())
            logger.warning("call %s is hung up, it has had its stream: %s", call_sid, refused)
        except StoreError as error:
            logger.error("call %s gets the fallback: %s", call_sid, error)
            return _xml(documents.fallback())
        return _xml(documents.hang_up())

    @security.webhook
    def call_status(self) -> Response:
        """How a call goes."""
        call_sid = _call_sid()
        try:
            call = self._dialed.told(_token(), call_sid, _field("CallStatus"))
            logger.info("call %s is %s", call_sid, call.status)
            if call.canceled and not is_final(call.status):
                # Whoever gave it up may not have known its CallSid: Twilio's answer with that was late, or lost.
                self._give_up(call_sid)
        except NotOurs:
            return _unheard(call_sid)
        except StoreError as error:
            return _lost(call_sid, error)
        return Response(status=204)

    @security.webhook
    def answered_by(self) -> Response:
        """Who has answered."""
        call_sid, verdict = _call_sid(), _field("AnsweredBy")
        if not _VERDICT.fullmatch(verdict):
            return Response(status=204)
        try:
            call, is_first = self._dialed.answered(_token(), call_sid, verdict)
            logger.info("call %s was answered by %s", call_sid, call.answered_by)
            if is_first and not is_final(call.status):
                # It may come before there is a stream, and waits for it then.
                self._orders.give(call_sid, AnsweredBy(verdict))
        except NotOurs:
            return _unheard(call_sid)
        except StoreError as error:
            return _lost(call_sid, error)
        return Response(status=204)

    def _give_up(self, call_sid: str) -> None:
        if self._carrier is None:
            return
        try:
            # In a thread of its own, because Twilio waits for the answer here, and may be slow to give one there.
            threading.Thread(
                target=give_up, args=(self._carrier, call_sid), name=f"giving up {call_sid}", daemon=True
            ).start()
        except RuntimeError as error:  # no thread to be had; the next notice tries again
            logger.warning("call %s is not wanted any more, and goes on: %s", call_sid, error)

    def _documents(self, name: str | None) -> twiml.Documents:
        ours, base_url = _field("From"), security.base_url(self._settings)
        assistant = self._assistants.choose(ours, name)
        return twiml.Documents(assistant, base_url, ours, _field("To"), name, outbound=True)

    def _elsewhere(self, documents: twiml.Documents, token: str, call_sid: str) -> Response:
        waits = request.args.get(twiml.WAITS_FIELD, "")
        again = documents.wait(
            twiml.DIALED_PATH,
            {twiml.WAITS_FIELD: int(waits) if _COUNT.fullmatch(waits) else 0, twiml.DIAL_FIELD: token},
        )
        if again is None:
            logger.warning("call %s gets the fallback: no server takes it but this, which ends", call_sid)
            return _xml(documents.fallback())
        self._calls.expect_question()
        return _xml(again)


def _unheard(call_sid: str) -> Response:
    logger.warning("what is told of call %s is not heard: it was not placed with this token", call_sid)
    return Response(status=204)


def _lost(call_sid: str, error: StoreError) -> Response:
    logger.error("what is told of call %s is lost: %s", call_sid, error)
    return Response(status=503)


def _token() -> str:
    return request.args.get(twiml.DIAL_FIELD, "")


def _call_sid() -> str:
    """As Twilio writes them, and else nothing, which is nobody's."""
    call_sid = _field("CallSid")
    return call_sid if _CALL_SID.fullmatch(call_sid) else ""


def _field(name: str) -> str:
    return request.form.get(name, "")


def _xml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")
