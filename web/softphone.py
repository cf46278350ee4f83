"""The telephone in the browser: `/`, and what its page asks here in the place of Twilio.

    the page asks                  and is answered with
    POST /softphone/call           a call's first stream
    POST /softphone/ended          the stream on which the call goes on, or its end: as `POST /twiml/ended`
    GET /softphone/story           what was said in the call, and what happened
    WSS /websocket/<ticket>        the media socket, as Twilio has it

Twilio signs the upgrade of its media socket; a browser cannot. So a browser's has an address of its own, and is let
in with a session of the console, from a page of this server, and with a ticket: a digest of the stream's token, good
as long as the token is, which is once and for STREAM_TOKEN_TTL seconds. The token itself comes in `start`, as from
Twilio.

A call belongs to the session that placed it. That needs no table: the session can be told by the call's SID.
"""

import hmac
import logging
import re
import secrets
from typing import Any

from flask import Flask, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_sock import Sock
from simple_websocket import Server

from actors.assistant import Assistant
from config import STREAM_PATH, Settings
from store.database import StoreError
from store.history import History
from store.journal import StoredCall
from store.tokens import Refusal as RefusedToken
from store.tokens import TokenRefused, ticket
from web import security, visitors
from web.admission import Admission, Refusal
from web.calls import Calls
from web.consultations import let_go
from web.media import MediaStream, MediaStreams
from web.sessions import Session, Sessions
from web.sockets import PhoneSocket
from web.softphone_story import shown
from web.twiml import (
    ASSISTANT_PARAMETER,
    CALLED_PARAMETER,
    CALLER_PARAMETER,
    RESUMED_PARAMETER,
    TOKEN_PARAMETER,
    WAIT_SECONDS,
)
from web.voice import HUNG_UP, NOT_RESUMED
from wire.journal import Then
from wire.phone_number import SOFTPHONE, SWITCHBOARD

logger = logging.getLogger(__name__)

CALLER, CALLED = SOFTPHONE, SWITCHBOARD
"""They tell calls of this page from others. They are no numbers, so no limit of a number's counts them."""
NO_ACCOUNT = f"AC{'0' * 32}"

BUSY = "All lines are busy. Try again in a moment."
REFUSALS = {
    Refusal.FULL: BUSY,
    Refusal.BUDGET: "What calls may cost today is spent (DAILY_BUDGET).",
}
TROUBLE = "The server has trouble with its database, and takes no call."
AGAIN = {"then": "ask again", "seconds": 1}
"""This worker is about to end, and another one takes the next request."""

_STREAM = "softphone_stream"
_CALL_SID = re.compile(r"CA([0-9a-f]{16})([0-9a-f]{16})")


class Softphone:
    """The page and its routes. Everything runs in WSGI threads."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        calls: Calls,
        admission: Admission,
        history: History,
        streams: MediaStreams,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._calls = calls
        self._admission = admission
        self._history = history
        self._streams = streams
        self._tokens = streams.tokens
        self._assistants = streams.assistants
        self._journal = streams.journal
        self._carrier = streams.carrier

    def register(self, app: Flask) -> None:
        """Adds the routes to the app. Before that `security` and MediaStreams have to be registered."""
        app.add_url_rule("/", "softphone", self.page)
        app.add_url_rule("/softphone/call", "softphone_call", self.call, methods=["POST"])
        app.add_url_rule("/softphone/ended", "softphone_ended", self.ended, methods=["POST"])
        app.add_url_rule("/softphone/story", "softphone_story", self.story)

        @Sock(app).route(f"{STREAM_PATH}/<ticket>", endpoint=_STREAM)  # type: ignore[untyped-decorator]
        @security.console
        def stream(websocket: Server, ticket: str) -> None:
            MediaStream(PhoneSocket(websocket), self._streams, security.base_url(self._settings)).run()

        @app.before_request
        def check_ticket() -> ResponseReturnValue | None:
            # Here, because Flask-Sock has upgraded the socket by the time that it calls the view.
            if request.endpoint == _STREAM:
                return self._check_ticket((request.view_args or {}).get("ticket", ""))
            return None

    @security.console
    def page(self) -> str:
        """The telephone."""
        settings, every = self._settings, self._assistants.all
        chosen = self._assistants.default
        return render_template(
            "softphone.html",
            page="/",
            chosen=chosen,
            choice=[(name, each.name or name, each is chosen) for name, each in every.items()],
            model="the offline model" if settings.offline else settings.openai_realtime_model,
            offline=settings.offline,
        )

    @security.console
    def call(self) -> ResponseReturnValue:
        """Place a call."""
        if self._calls.draining:
            return self._elsewhere()
        call_sid = self._new_call(visitors.current())
        try:
            if refusal := self._admission.refusal(CALLER):
                logger.warning("call %s is not taken: %s", call_sid, refusal)
                return {"error": REFUSALS.get(refusal, BUSY)}, 503
            token = self._tokens.issue(call_sid)
        except StoreError as error:
            logger.error("call %s is not taken: %s", call_sid, error)
            return {"error": TROUBLE}, 503
        logger.info("call %s from the softphone", call_sid)
        return self._stream(call_sid, token, 1, _asked())

    @security.console
    def ended(self) -> ResponseReturnValue:
        """What comes now that a stream has ended. See `web.voice.Voice.ended`, which tells Twilio."""
        asked = _asked()
        call_sid, stream = self._own(asked.get("callSid")), asked.get("stream")
        if type(stream) is not int or stream < 1:  # True is an int, too
            abort(400)
        stored = None
        try:
            stored = self._journal.load(call_sid)
            then, detail = (Then.RESUME, "") if stored is None else (stored.then, stored.detail)
            if asked.get("hungUp"):
                if stored is not None and then not in (Then.HANG_UP, Then.FALLBACK):
                    self._journal.ended(call_sid, HUNG_UP, Then.HANG_UP)
                    let_go(self._carrier, then, detail)
                return {"then": "end"}
            match then:
                case Then.HANG_UP:
                    return {"then": "end"}
                case Then.RESUME | Then.SEND_DIGITS:
                    return self._resume(call_sid, stream, asked, planned=then is Then.SEND_DIGITS)
                case Then.TRANSFER | Then.JOIN:
                    # Nobody can be put through to a browser, and who waits for that need not do so any longer.
                    self._journal.ended(call_sid, HUNG_UP, Then.HANG_UP)
                    let_go(self._carrier, then, detail)
                    return {"then": "transfer"}
        except StoreError as error:
            logger.error("call %s gets the fallback: %s", call_sid, error)
        except TokenRefused as refused:
            logger.warning("call %s gets the fallback: %s", call_sid, refused)
            # Any other refusal may be a replay's, while the call goes on.
            if refused.reason is RefusedToken.RESUMED_TOO_OFTEN:
                self._journal.ended(call_sid, NOT_RESUMED, Then.FALLBACK)
        return {"then": "fallback", "say": self._chosen(asked, stored).fallback.say}

    def _resume(
        self, call_sid: str, stream: int, asked: dict[str, Any], planned: bool
    ) -> ResponseReturnValue:
        if self._calls.draining:
            return self._elsewhere()
        missed = self._tokens.missed(call_sid, stream)
        token = self._tokens.issue(call_sid, after=stream, planned=planned)
        logger.info("call %s goes on with stream %d", call_sid, stream + 1)
        return self._stream(call_sid, token, stream + 1, asked, missed)

    def _chosen(self, asked: dict[str, Any], stored: StoredCall | None) -> Assistant:
        name, version = asked.get("assistant"), None if stored is None else stored.record.assistant_version
        return self._assistants.choose(CALLED, name if isinstance(name, str) else None, version)

    @security.console
    def story(self) -> ResponseReturnValue:
        """The call as the journal has it by now."""
        call_sid = self._own(request.args.get("call"))
        try:
            found = self._history.find(call_sid)
            told = self._history.story(call_sid) if found else []
        except StoreError as error:
            logger.error("call %s cannot be shown: %s", call_sid, error)
            return {"error": TROUBLE}, 503
        if not found:
            return {"assistant": None, "outcome": "", "told": []}
        return {
            "assistant": found[0].assistant,
            "outcome": found[0].outcome,
            "told": shown(told, found[0].began_at),
        }

    def _elsewhere(self) -> ResponseReturnValue:
        self._calls.expect_question()
        return AGAIN

    def _stream(
        self, call_sid: str, token: str, number: int, asked: dict[str, Any], missed: int = 0
    ) -> dict[str, Any]:
        """What the page needs to open a stream, in so many seconds, for the assistant that it asked for."""
        parameters = {TOKEN_PARAMETER: token, CALLER_PARAMETER: CALLER, CALLED_PARAMETER: CALLED}
        name = asked.get("assistant")
        if isinstance(name, str) and name in self._assistants.all:
            parameters[ASSISTANT_PARAMETER] = name
        if number > 1:
            parameters[RESUMED_PARAMETER] = "1"
        return {
            "then": "stream",
            "seconds": WAIT_SECONDS[min(missed, len(WAIT_SECONDS)) - 1] if missed else 0,
            "stream": number,
            "socket": f"{STREAM_PATH}/{ticket(token)}",
            "accountSid": self._settings.twilio_account_sid or NO_ACCOUNT,
            "callSid": call_sid,
            "streamSid": f"MZ{secrets.token_hex(16)}",
            "parameters": parameters,
        }

    def _check_ticket(self, offered: str) -> ResponseReturnValue | None:
        try:
            call_sid = self._tokens.call_of(offered)
        except StoreError as error:
            logger.error("a softphone's socket is refused: %s", error)
            return {"error": TROUBLE}, 503
        if call_sid is None or not self._owns(visitors.current(), call_sid):
            logger.warning(
                "a softphone's socket is refused: its ticket is spent, expired, or not its session's"
            )
            return {"error": "This ticket opens no socket, or does not any more."}, 403
        return None

    def _new_call(self, session: Session) -> str:
        nonce = secrets.token_hex(8)
        return f"CA{nonce}{self._seal(session, nonce)}"

    def _owns(self, session: Session, call_sid: str) -> bool:
        parts = _CALL_SID.fullmatch(call_sid)
        return parts is not None and hmac.compare_digest(self._seal(session, parts[1]), parts[2])

    def _seal(self, session: Session, nonce: str) -> str:
        return self._sessions.seal(session, f"call {nonce}")[:16]

    def _own(self, call_sid: object) -> str:
        """That call's SID. Another session's call is refused as one that does not exist."""
        if not isinstance(call_sid, str) or not self._owns(visitors.current(), call_sid):
            abort(404)
        return call_sid


def _asked() -> dict[str, Any]:
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict):
        abort(400)
    return asked
