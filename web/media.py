"""`WSS /websocket`: one media stream from its upgrade to its end. Reads, checks who it is, hands it to a call."""

import logging
import time
from dataclasses import replace
from functools import partial

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

from actors.assistant import Assistant
from actors.assistants import Assistants
from actors.builds import Builds
from actors.call_context import CallContext
from actors.carrier import Carrier
from actors.endpoints import Endpoint, Endpoints
from actors.greeting import FixedGreeting, GreetingBox
from actors.member import post
from actors.messages import StreamStopped
from actors.meter import Meter, Outcome
from actors.model_socket import ModelSocket
from actors.setup import CallSetup
from actors.warm_sockets import WarmSocket, WarmSockets
from actors.watcher import LiveBox, NoLiveBox, WatcherActor
from config import STREAM_PATH, ModelEndpoint, Settings
from store.database import StoreError
from store.dialed import DialedCall, DialedCalls
from store.greetings import Greetings
from store.journal import CallJournal, StoredCall
from store.outbox import Outbox
from store.tokens import StreamTokens, TokenRefused
from web.calls import Calls, LiveCall
from web.consultations import ConsultDesk
from web.preparation import check
from web.security import base_url, upgrade
from web.sockets import SERVER_OPTIONS, PhoneSocket, own_upgraded_sockets
from web.twiml import (
    ASSISTANT_PARAMETER,
    CALLED_PARAMETER,
    CALLER_PARAMETER,
    DIRECTION_PARAMETER,
    RESUMED_PARAMETER,
    TOKEN_PARAMETER,
    Documents,
)
from wire import twilio
from wire.audio_format import FORMATS
from wire.dialect import DIALECTS
from wire.g711 import SAMPLE_RATE
from wire.journal import INBOUND, OUTBOUND, CallRecord
from wire.phone_number import is_e164, shortened
from wire.protocol import ProtocolError

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
"""From the upgrade to `start`."""
ENDED_SECONDS = 3.0
"""How long the socket's thread waits for its call to close; the call's own deadlines are shorter."""
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011


class RefusedStream(Exception):  # noqa: N818  # an answer to a stranger, not an error of ours
    """This stream does not get a call. The text says why."""


class NoRoom(Exception):  # noqa: N818  # ordinary: Twilio asks what to do now, and another worker takes the call
    """This process takes no more calls."""


class MediaStreams:
    """The route, and all that its streams have in common."""

    def __init__(
        self,
        settings: Settings,
        tokens: StreamTokens,
        assistants: Assistants,
        calls: Calls,
        journal: CallJournal,
        meter: Meter,
        outbox: Outbox | None = None,
        carrier: Carrier | None = None,
        dialed: DialedCalls | None = None,
        live: LiveBox | None = None,
        greetings: Greetings | None = None,
    ) -> None:
        """`carrier` is None where calls cannot be placed; `dialed` has those that were."""
        self.settings = settings
        self.carrier = carrier
        self.account_sid = settings.twilio_account_sid
        self.tokens = tokens
        self.assistants = assistants
        self.builds = Builds(partial(check, settings=settings))
        self.calls = calls
        self.journal = journal
        self.meter = meter
        self.greetings = greetings
        first, *others = settings.model_endpoints
        preferred = endpoint_of(first)
        self.warm: WarmSockets | None = None
        if settings.warm_sessions:
            self.warm = WarmSockets(partial(WarmSocket, *address_of(first)), settings.warm_sessions)
            preferred = replace(preferred, dial=self.warm.take)
        self.endpoints = Endpoints([preferred, *map(endpoint_of, others)])
        if self.warm is not None:
            self.warm.start(self.endpoints, preferred)
        self.dialed = dialed
        self.listeners = partial(
            Assistant.listener_classes,
            folder=settings.recordings,
            kept_days=settings.retention_days,
            events=outbox,
        )
        # One class for all calls, of which each knows what it has by its class.
        self.watcher = type("WatcherActor", (WatcherActor,), {"box": live or NoLiveBox()})

    def register(self, app: Flask) -> None:
        """Add the route to the app."""
        app.wsgi_app = own_upgraded_sockets(app.wsgi_app)  # type: ignore[method-assign, assignment]
        app.config["SOCK_SERVER_OPTIONS"] = SERVER_OPTIONS
        sock = Sock(app)

        @sock.route(STREAM_PATH)  # type: ignore[untyped-decorator]
        @upgrade
        def media_stream(websocket: Server) -> None:
            # The request context lives as long as the call; nothing below touches it.
            MediaStream(PhoneSocket(websocket), self, base_url(self.settings)).run()


def endpoint_of(model: ModelEndpoint) -> Endpoint:
    """Where the settings say that a model is, as calls use it."""
    dial = partial(ModelSocket, *address_of(model))
    return Endpoint(model.name, dial, DIALECTS[model.dialect], FORMATS[model.audio])


def address_of(model: ModelEndpoint) -> tuple[str, tuple[str, ...]]:
    """Its websocket's URL, and the headers with the key."""
    dialect = DIALECTS[model.dialect]
    return dialect.address(model.url, model.model), dialect.headers(model.key.get_secret_value())


def _fixed_greeting(
    assistant: Assistant, in_file: Assistant, greetings: GreetingBox | None
) -> FixedGreeting | None:
    words = assistant.fixed_greeting(in_file)
    if greetings is None or not words:
        return None
    return FixedGreeting(words, assistant.version, assistant.session(), greetings)


class MediaStream:
    """One media socket. Everything here runs in the WSGI thread that holds it."""

    def __init__(self, socket: PhoneSocket, shared: MediaStreams, base_url: str) -> None:
        self._base_url = base_url
        self._socket = socket
        self._shared = shared
        self._call: LiveCall | None = None
        self._name = "media stream"

    def run(self) -> None:
        """Read until the socket ends, then see the call to its end. Raises nothing."""
        # Anything raised here would be written onto the open websocket as an HTTP error page.
        code = INTERNAL_ERROR
        try:
            self._socket.end_by(START_SECONDS)
            reason = self._socket.read(self._expect_connected)
            if self._call is None:
                logger.warning("%s: ended before it started: %s", self._name, reason)
        except (ProtocolError, RefusedStream) as error:
            code, reason = POLICY_VIOLATION, str(error)
            logger.warning("%s: refused: %s", self._name, reason)
        except NoRoom as full:
            code, reason = TRY_AGAIN_LATER, str(full)
            logger.warning("%s: sent on: %s", self._name, reason)
        except Exception:
            reason = "internal error"
            logger.exception("%s: failed", self._name)
        if self._call is not None:
            post(self._call.ref, StreamStopped(reason))
            if not self._call.ended.wait(ENDED_SECONDS):
                logger.error("%s: the call did not end", self._name)
            self._shared.calls.forget(self._call)
            if self._shared.greetings is not None:
                self._shared.greetings.write()
        self._socket.close(code, reason)

    def _expect_connected(self, text: str | bytes, _more: bool) -> None:
        message = twilio.parse(text)
        if not isinstance(message, twilio.Connected):
            raise ProtocolError(f"{type(message).__name__.lower()} where connected is expected")
        self._socket.give_to(self._expect_start)

    def _expect_start(self, text: str | bytes, _more: bool) -> None:
        start = twilio.parse(text)
        if not isinstance(start, twilio.Start):
            raise ProtocolError(f"{type(start).__name__.lower()} where start is expected")
        shared = self._shared
        if not shared.calls.has_room:
            # Before its token is spent: it is a stream that did not begin.
            self._name = start.call_sid
            raise NoRoom("there is no room for it here")
        if shared.calls.late and RESUMED_PARAMETER not in start.parameters:
            # Once: its next stream is taken wherever it arrives, for a caller must not be sent around.
            self._name = start.call_sid
            raise NoRoom("this process is late")
        number = self._admit(start)
        self._name = start.call_sid
        caller, called = (start.parameters.get(name, "") for name in (CALLER_PARAMETER, CALLED_PARAMETER))
        logger.info(
            "%s: stream %d started, from %s to %s",
            start.call_sid,
            number,
            shortened(caller),
            shortened(called),
        )
        stored = self._stored(start.call_sid) if number > 1 else None
        self._call = shared.calls.start(self._setup(start, caller, called, stored))
        if self._call is None:
            raise NoRoom("the call could not be started here")
        self._socket.end_by(float("inf"))
        self._socket.give_to(self._call.reader.receive)

    def _admit(self, start: twilio.Start) -> int:
        if (start.encoding, start.sample_rate, start.channels) != ("audio/x-mulaw", SAMPLE_RATE, 1):
            raise RefusedStream(
                f"audio is {start.encoding} at {start.sample_rate} Hz instead of mu-law at 8000"
            )
        account = self._shared.account_sid
        if account is not None and start.account_sid != account:
            raise RefusedStream("the stream's account is not TWILIO_ACCOUNT_SID")
        try:
            return self._shared.tokens.spend(start.parameters.get(TOKEN_PARAMETER, ""), start.call_sid)
        except TokenRefused as refusal:
            raise RefusedStream(str(refusal)) from None
        except StoreError as error:
            raise RefusedStream(f"its token cannot be checked: {error}") from None

    def _stored(self, call_sid: str) -> StoredCall | None:
        try:
            return self._shared.journal.load(call_sid)
        except StoreError as error:
            logger.error("%s: goes on without what was said before: %s", call_sid, error)
            return None

    def _desk(self, assistant: Assistant, context: CallContext) -> ConsultDesk | None:
        carrier, caller_id = self._shared.carrier, assistant.telephony.caller_id or context.ours
        if carrier is None or not is_e164(caller_id):
            return None
        outbound = context.direction == OUTBOUND
        documents = Documents(assistant, self._base_url, context.caller, context.called, outbound=outbound)
        return ConsultDesk(carrier, documents, self._base_url, context.call_sid, caller_id)

    def _dialed(self, start: twilio.Start) -> DialedCall | None:
        """What is known of a call that we have placed; None: it was erased."""
        dialed = self._shared.dialed
        try:
            return None if dialed is None else dialed.of_call(start.call_sid)
        except StoreError as error:
            raise RefusedStream(f"what it is about cannot be found out: {error}") from None

    def _setup(self, start: twilio.Start, caller: str, called: str, stored: StoredCall | None) -> CallSetup:
        shared = self._shared
        parameters = {name: value for name, value in start.parameters.items() if name != TOKEN_PARAMETER}
        name, direction = parameters.get(ASSISTANT_PARAMETER), INBOUND
        if parameters.get(DIRECTION_PARAMETER) == OUTBOUND:
            direction, dialed = OUTBOUND, self._dialed(start)
            if dialed is not None:
                name = dialed.assistant
                parameters |= dialed.variables
        context = CallContext(start.call_sid, caller, called, parameters, direction)
        began_with = None if stored is None else stored.record.assistant_version
        chosen = shared.assistants.choose(context.ours, name, began_with)
        if direction == OUTBOUND:
            chosen = chosen.calling()
        assistant = shared.builds.for_call(chosen, context)
        outbound = assistant.outbound if direction == OUTBOUND else None
        return CallSetup(
            record=CallRecord(
                start.call_sid,
                start.stream_sid,
                caller,
                called,
                assistant.name,
                assistant.version,
                direction,
            ),
            media_socket=self._socket,
            endpoints=shared.endpoints,
            session=assistant.session(),
            greeting=assistant.greeting_instructions(),
            context=context,
            fixed_greeting=_fixed_greeting(assistant, chosen, shared.greetings),
            history=stored.entries if stored else (),
            broke_off=stored is not None and stored.outcome != Outcome.HANDED_OVER.value,
            listens_first=stored is not None and stored.outcome == Outcome.SENT_DIGITS.value,
            gating=assistant.gating(),
            patience=assistant.dead_air(),
            sounds=assistant.sounds,
            tools=assistant.callable_tools(),
            listeners=shared.listeners(assistant),
            watcher=shared.watcher,
            telephony=assistant.telephony,
            desk=self._desk(assistant, context),
            caller_patience=assistant.caller_silence.patience(),
            voicemail=None if outbound is None else outbound.voicemail,
            limits=assistant.limits,
            cost=stored.cost if stored else 0.0,
            lasted_seconds=max(time.time() - stored.began_at, 0.0) if stored else 0.0,
            prices=assistant.prices,
            meter=shared.meter,
            journal=shared.journal,
        )
