"""What Twilio asks over HTTP: what to do with a call, what to do when its stream has ended, and its notices.

The views run in WSGI threads. They start nothing: the call is born when its media stream arrives, maybe in another
worker, and brings back in the stream's parameters what was put there here.
"""

import logging
import re

from flask import Blueprint, Flask, Response, request
from twilio.twiml.voice_response import Connect, VoiceResponse  # type: ignore[import-untyped]

from config import WEBHOOK_PATH, Settings, stream_url_of
from store.database import StoreError
from store.tokens import StreamTokens, TokenRefused
from web import security

logger = logging.getLogger(__name__)

ENDED_PATH = f"{WEBHOOK_PATH}/ended"
STATUS_PATH = f"{WEBHOOK_PATH}/stream-status"

FALLBACK = "Sorry, we cannot take your call at the moment. Please try again later. Goodbye."
"""What the caller hears when no assistant can be reached."""

STREAM_NAME = "switchboard"

PARAMETER_LIMIT = 500
"""Characters that name and value of a stream parameter stay under, together. Source: TwiML <Stream>."""

_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


def register(
    app: Flask, settings: Settings, tokens: StreamTokens, fallback: str = FALLBACK, language: str = "en"
) -> None:
    """Adds the webhook and its callbacks to the app.

    `fallback` is spoken when the call cannot go on, in the voice that Twilio has for `language` (ISO 639-1).
    """
    blueprint = Blueprint("voice", __name__)

    @blueprint.route(WEBHOOK_PATH, methods=["GET", "POST"])
    @security.webhook
    def answer() -> Response:
        call_sid = request.values.get("CallSid", "")
        if not _CALL_SID.fullmatch(call_sid):
            text = (
                "CallSid is missing, or not CA and 32 hexadecimal digits. Twilio's voice webhook asks here.\n"
            )
            return Response(text, 400, content_type="text/plain; charset=utf-8")
        caller, called = request.values.get("From", ""), request.values.get("To", "")
        logger.info("call %s from %s to %s", call_sid, shortened(caller), shortened(called))
        twiml = VoiceResponse()
        try:
            token = tokens.issue(call_sid)
        except StoreError as error:
            logger.error("call %s gets the fallback: %s", call_sid, error)
        except TokenRefused as refused:
            logger.warning("call %s gets the fallback, it has had its stream: %s", call_sid, refused)
        else:
            twiml.append(_connect(security.base_url(settings), token, caller, called))
        return _spoken(twiml, fallback, language)

    @blueprint.route(ENDED_PATH, methods=["POST"])
    @security.webhook
    def ended() -> Response:
        call_sid, status = request.values.get("CallSid", ""), request.values.get("CallStatus", "")
        logger.info("stream of call %s has ended, call is %s", plain(call_sid), plain(status))
        twiml = VoiceResponse()
        return _xml(twiml) if status in _OVER else _spoken(twiml, fallback, language)

    @blueprint.route(STATUS_PATH, methods=["POST"])
    @security.webhook
    def stream_status() -> Response:
        event, call_sid = (
            plain(request.values.get("StreamEvent", "")),
            plain(request.values.get("CallSid", "")),
        )
        if event == "stream-error":
            reason = plain(request.values.get("StreamError", ""))
            logger.warning("stream of call %s failed: %s", call_sid, reason)
        else:
            logger.info("stream of call %s: %s", call_sid, event)
        return Response(status=204)

    app.register_blueprint(blueprint)


def shortened(number: str) -> str:
    """A phone number for the log: the last two of its digits, so that it can be told from another and not called."""
    digits = re.sub(r"\D", "", number)
    return f"…{digits[-2:]}" if len(digits) > 4 else "…"


def plain(text: str) -> str:
    """What a request says, for the log: on one line, and not a long one."""
    return ascii(text[:200])[1:-1]


def _connect(base_url: str, token: str, caller: str, called: str) -> Connect:
    connect = Connect(action=f"{base_url}{ENDED_PATH}", method="POST")
    stream = connect.stream(
        url=stream_url_of(base_url),
        name=STREAM_NAME,
        status_callback=f"{base_url}{STATUS_PATH}",
        status_callback_method="POST",
    )
    for name, value in (("token", token), ("from", caller), ("to", called)):
        stream.parameter(name=name, value=_NOT_IN_XML.sub("", value)[: PARAMETER_LIMIT - 1 - len(name)])
    return connect


def _spoken(twiml: VoiceResponse, sentence: str, language: str) -> Response:
    # English is what Twilio speaks unasked.
    twiml.say(sentence, language=None if language == "en" else language)
    # Said outright: a document that waits, instead of ending, leaves the caller on a silent line.
    twiml.hangup()
    return _xml(twiml)


def _xml(twiml: VoiceResponse) -> Response:
    return Response(str(twiml), content_type="text/xml; charset=utf-8")
