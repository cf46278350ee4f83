"""`WSS /websocket`: one media stream from its upgrade to its end. Reads, checks who it is, hands it to a call."""

import logging
from collections.abc import Callable

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

from actors import Assistant, CallSetup, Meter, ModelSocket, StreamStopped, post
from config import STREAM_PATH, Settings
from store.database import StoreError
from store.tokens import StreamTokens, TokenRefused
from web.calls import Calls, LiveCall
from web.security import upgrade
from web.sockets import SERVER_OPTIONS, PhoneSocket, own_upgraded_sockets
from web.voice import shortened
from wire import twilio
from wire.audio_format import FORMATS
from wire.dialect import DIALECTS
from wire.g711 import SAMPLE_RATE
from wire.protocol import ProtocolError

logger = logging.getLogger(__name__)

TOKEN_PARAMETER = "token"
"""The `<Parameter>` that carries the stream token."""
START_SECONDS = 10.0
"""From the upgrade to `start`."""
ENDED_SECONDS = 3.0
"""How long the socket's thread waits for its call to close; the call's own deadlines are shorter."""
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011


class RefusedStream(Exception):  # noqa: N818  # an answer to a stranger, not an error of ours
    """This stream does not get a call. The text says why."""


def register(
    app: Flask,
    settings: Settings,
    tokens: StreamTokens,
    assistant: Assistant,
    calls: Calls,
    meter: Meter,
) -> None:
    """Add the route to the app."""
    app.wsgi_app = own_upgraded_sockets(app.wsgi_app)  # type: ignore[method-assign, assignment]
    app.config["SOCK_SERVER_OPTIONS"] = SERVER_OPTIONS
    sock = Sock(app)

    @sock.route(STREAM_PATH)  # type: ignore[untyped-decorator]
    @upgrade
    def media_stream(websocket: Server) -> None:
        # The request context lives as long as the call; nothing below touches it.
        MediaStream(PhoneSocket(websocket), settings, tokens, assistant, calls, meter).run()


class MediaStream:
    """One media socket. Everything here runs in the WSGI thread that holds it."""

    def __init__(
        self,
        socket: PhoneSocket,
        settings: Settings,
        tokens: StreamTokens,
        assistant: Assistant,
        calls: Calls,
        meter: Meter,
    ) -> None:
        self._socket = socket
        self._settings = settings
        self._tokens = tokens
        self._assistant = assistant
        self._calls = calls
        self._meter = meter
        self._call: LiveCall | None = None
        self._receive: Callable[[str | bytes], None] = self._expect_connected
        self._name = "media stream"

    def run(self) -> None:
        """Read until the socket ends, then see the call to its end. Raises nothing."""
        # Anything raised here would be written onto the open websocket as an HTTP error page.
        code = INTERNAL_ERROR
        try:
            self._socket.end_by(START_SECONDS)
            reason = self._socket.read(lambda text: self._receive(text))
            if self._call is None:
                logger.warning("%s: ended before it started: %s", self._name, reason)
        except (ProtocolError, RefusedStream) as error:
            code, reason = POLICY_VIOLATION, str(error)
            logger.warning("%s: refused: %s", self._name, reason)
        except Exception:
            reason = "internal error"
            logger.exception("%s: failed", self._name)
        if self._call is not None:
            post(self._call.ref, StreamStopped(reason))
            if not self._call.ended.wait(ENDED_SECONDS):
                logger.error("%s: the call did not end", self._name)
            self._calls.forget(self._call)
        self._socket.close(code, reason)

    def _expect_connected(self, text: str | bytes) -> None:
        message = twilio.parse(text)
        if not isinstance(message, twilio.Connected):
            raise ProtocolError(f"{type(message).__name__.lower()} where connected is expected")
        self._receive = self._expect_start

    def _expect_start(self, text: str | bytes) -> None:
        start = twilio.parse(text)
        if not isinstance(start, twilio.Start):
            raise ProtocolError(f"{type(start).__name__.lower()} where start is expected")
        self._admit(start)
        self._name = start.call_sid
        caller, called = (shortened(start.parameters.get(name, "")) for name in ("from", "to"))
        logger.info("%s: stream started, from %s to %s", start.call_sid, caller, called)
        self._call = self._calls.start(self._setup(start))
        if self._call is None:
            raise RefusedStream("the call could not be started")
        self._socket.end_by(float("inf"))
        self._receive = self._call.reader.receive

    def _admit(self, start: twilio.Start) -> None:
        if (start.encoding, start.sample_rate, start.channels) != ("audio/x-mulaw", SAMPLE_RATE, 1):
            raise RefusedStream(
                f"audio is {start.encoding} at {start.sample_rate} Hz instead of mu-law at 8000"
            )
        account = self._settings.twilio_account_sid
        if account is not None and start.account_sid != account:
            raise RefusedStream("the stream's account is not TWILIO_ACCOUNT_SID")
        try:
            self._tokens.spend(start.parameters.get(TOKEN_PARAMETER, ""), start.call_sid)
        except TokenRefused as refusal:
            raise RefusedStream(str(refusal)) from None
        except StoreError as error:
            raise RefusedStream(f"its token cannot be checked: {error}") from None

    def _setup(self, start: twilio.Start) -> CallSetup:
        settings = self._settings
        dialect = DIALECTS[settings.openai_realtime_dialect]
        address = dialect.address(settings.openai_realtime_url, settings.openai_realtime_model)
        headers = dialect.headers(settings.openai_api_key.get_secret_value())
        return CallSetup(
            call_sid=start.call_sid,
            stream_sid=start.stream_sid,
            media_socket=self._socket,
            dial_model=lambda: ModelSocket(address, headers),
            dialect=dialect,
            session=self._assistant.session(FORMATS[settings.openai_realtime_audio]),
            greeting=self._assistant.greeting_instructions(),
            meter=self._meter,
        )
