"""OpenAIActor: owns one call's model socket, and with it the conversation as the model knows it."""

import threading
from typing import Any, ClassVar

from pykka import ActorRef

from actors.member import CallError, Member, call_log, post
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    AssistantSaid,
    CallerAudio,
    CallerSaid,
    CallerSpoke,
    CutOff,
    Interrupt,
    SessionReady,
    SocketLost,
)
from actors.model_socket import ModelSocket, ModelSocketError
from wire import realtime
from wire.dialect import Dialect, Session
from wire.playback import Heard, Part
from wire.protocol import ProtocolError

READER_END_SECONDS = 1.0
RESPONSE_RETRIES = 1

FATAL_CODES = frozenset(
    {
        "invalid_api_key",
        "beta_api_shape_disabled",
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "account_deactivated",
        "session_expired",
    }
)
"""After these the session says nothing more; the call cannot go on with it. Some come as a type without a code."""

BENIGN_CODES = frozenset(
    {"response_cancel_not_active", "item_truncate_invalid_item_id", "item_delete_invalid_item_id"}
)
"""Races that are lost now and then by whoever interrupts; nothing is wrong."""

TOO_LONG_TRUNCATION = "Audio content of"
"""How the message of a refused truncation begins; it comes without a code."""


class OpenAIActor(Member):
    """Configures the session, feeds it the caller's audio, and tells it what the caller has really heard."""

    audio_limit_ms: ClassVar[float] = 2000
    """What the caller says while the session is being set up is kept, and sent when it is ready: this much of it."""

    def __init__(
        self,
        parent: ActorRef[Any] | None,
        call_sid: str,
        phone: ActorRef[Any] | None,
        socket: ModelSocket,
        dialect: Dialect,
        session: Session,
        greeting: str | None,
    ) -> None:
        super().__init__(parent, call_sid)
        self._phone = phone
        self._socket = socket
        self._dialect = dialect
        self._session = session
        self._greeting = greeting
        self._ready = False
        self._active_responses: set[str] = set()
        self._responses_since_interruption: set[str] = set()
        self._failed_responses = 0
        self._last_request = ""
        self._reader = threading.Thread(
            target=_read,
            args=(socket, self.actor_ref, phone, call_sid),
            name=f"model reader {call_sid}",
            daemon=True,
        )

    def handle(self, message: Any) -> Any:
        match message:
            case CallerAudio(payload=payload):
                self._socket.send(realtime.append_audio(payload))
            case realtime.SpeechStarted():
                self._interrupt(message.item_id)
            case CutOff(heard=heard):
                self._forget_unheard(heard)
            case realtime.ResponseCreated(response_id=response_id):
                self._active_responses.add(response_id)
                self._responses_since_interruption.add(response_id)
            case realtime.ResponseDone():
                self._response_done(message)
            case realtime.CallerTranscript(item_id=item_id, text=text):
                if text:
                    post(self.parent, CallerSaid(item_id, text))
            case realtime.AssistantTranscript(item_id=item_id, text=text):
                post(self.parent, AssistantSaid(item_id, text))
            case realtime.SessionCreated():
                # Not before: an invalid key is accepted with 101 and refused afterwards.
                self._socket.send(self._dialect.session_update(self._session))
            case realtime.SessionUpdated():
                self._session_updated(message)
            case realtime.Error():
                self._error_reported(message)
            case SocketLost(reason=reason):
                raise CallError(reason)
            case realtime.SpeechStopped():
                pass  # the server's turn detection answers by itself
            case _:
                return super().handle(message)

    def open(self) -> None:
        self.mailbox.hold_audio()
        self._reader.start()

    def close(self) -> None:
        self._socket.close()
        if self._reader.ident is not None:
            self._reader.join(READER_END_SECONDS)
        if dropped := self.mailbox.dropped_ms:
            self.log.warning("%.0f ms of the caller's audio were dropped: the model was slow", dropped)

    def _session_updated(self, updated: realtime.SessionUpdated) -> None:
        if self._ready:
            return
        # A session that answers in another format would be loud static in the caller's ear.
        for direction, found in (("input", updated.input_format), ("output", updated.output_format)):
            if found != self._dialect.ulaw:
                raise CallError(f"session has {direction} format {found or 'none'!r} instead of mu-law")
        self._ready = True
        self._ask(realtime.create_response(self._greeting))
        self.mailbox.release_audio()
        post(self.parent, SessionReady())

    def _interrupt(self, item_id: str) -> None:
        post(self.parent, CallerSpoke(item_id))
        if not self._session.interruptible:
            return
        # A response that the server has not finished may still send audio; one that it has may still be on its way.
        dead = frozenset(self._responses_since_interruption | self._active_responses)
        post(self._phone, Interrupt(dead))
        self._responses_since_interruption.clear()

    def _forget_unheard(self, heard: tuple[Heard, ...]) -> None:
        by_item: dict[str, list[Heard]] = {}
        for cut in heard:
            by_item.setdefault(cut.part.item_id, []).append(cut)
        for item_id, parts in by_item.items():
            # Parts are played in order: where the first is not among those cut off, it was heard to its end.
            if parts[0].part.content_index == 0 and not any(cut.heard_ms for cut in parts):
                self._socket.send(realtime.delete_item(item_id))
                continue
            for cut in parts:
                self._socket.send(realtime.truncate_item(item_id, cut.part.content_index, cut.heard_ms))

    def _response_done(self, done: realtime.ResponseDone) -> None:
        self._active_responses.discard(done.response_id)
        if done.status != "failed":
            self._failed_responses = 0
            self._last_request = realtime.create_response()  # what follows is asked for by turn detection
            return
        self._failed_responses += 1
        if self._failed_responses > RESPONSE_RETRIES or (done.error and _is_fatal(done.error)):
            raise CallError(f"response failed: {done.error}")
        self.log.warning("response failed, asking again: %s", done.error)
        self._ask(self._last_request)

    def _ask(self, request: str) -> None:
        self._last_request = request
        self._socket.send(request)

    def _error_reported(self, error: realtime.Error) -> None:
        if not self._ready:
            raise CallError(f"session refused: {error}")
        if _is_fatal(error):
            raise CallError(f"session ended: {error}")
        if error.code in BENIGN_CODES or error.message.startswith(TOO_LONG_TRUNCATION):
            self.log.info("model refused, harmlessly: %s", error)
        else:
            self.log.warning("model refused: %s", error)


def _is_fatal(error: realtime.Error) -> bool:
    return error.code in FATAL_CODES or error.kind in FATAL_CODES


def _read(socket: ModelSocket, actor: ActorRef[Any], phone: ActorRef[Any] | None, call_sid: str) -> None:
    """The model's reader: connects, then reads and tells until the socket ends. Runs in its own thread.

    Audio goes straight to the phone's mailbox: a hop through the OpenAIActor would cost a thread wake-up a frame.
    """
    try:
        socket.connect()
        while True:
            match realtime.parse(socket.receive()):
                case realtime.AudioDelta() as delta:
                    part = Part(delta.item_id, delta.content_index)
                    post(phone, AssistantAudio(delta.duration_ms, delta.response_id, part, delta.payload))
                case realtime.AudioDone() as done:
                    post(phone, AssistantAudioDone(0.0, Part(done.item_id, done.content_index)))
                case realtime.Other():
                    pass  # nothing that a telephone call needs
                case event:
                    post(actor, event)
    except ModelSocketError as error:
        reason = str(error)
    except ProtocolError as error:
        reason = f"model sent what is not a Realtime event: {error}"
    except Exception as error:
        call_log(__name__, call_sid).exception("the model's reader failed")
        reason = f"the model's reader failed: {type(error).__name__}"
    socket.release()
    post(actor, SocketLost(reason))
