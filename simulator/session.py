"""One Realtime session: a client's websocket, the configuration, the conversation and whose turn it is.

Source: openai-realtime.md. Client events are handled one after the other in the connection's thread; it never
waits for speech, recognition or a slow client. The public methods may be called from any thread.
"""

import logging
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from simulator.client_item import make_item
from simulator.configuration import Configuration
from simulator.conversation import Conversation
from simulator.engine import Answer, Equipment
from simulator.entrance import Connection
from simulator.identifier import new_identifier
from simulator.memory import Received, ReceivedEvent, RememberedItem
from simulator.outbox import Outbox
from simulator.pcm import from_ulaw, to_ulaw
from simulator.refusal import RefusalError
from simulator.schema import check, decode_audio, parse
from simulator.turn import Turns

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
"""How late a session may notice, on a silent socket, that time is up."""


class RealtimeSession:
    """A session, as the server runs it and as a test looks at it."""

    def __init__(self, connection: ServerConnection, model: str, equipment: Equipment) -> None:
        self.id = new_identifier("sess")
        self.closed = threading.Event()
        """Set when the connection has ended and the session's threads with it."""
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._connection = connection
        self._equipment = equipment
        self._lock = threading.RLock()
        self._received = Received()
        self._audio = bytearray()
        self._outbox = Outbox(connection, f"model-writes {self.id}", self._tell_observer)
        expires_at = int(time.time()) + equipment.session_seconds
        self._expires_at: float | None = equipment.clock() + equipment.session_seconds
        self._configuration = Configuration(session_id=self.id, model=model, expires_at=expires_at)
        self._conversation = Conversation()
        self._turns = Turns(
            self.id, self._configuration, self._conversation, equipment, self._emit, self._lock
        )
        self._turns.configure()
        self._to_ulaw = to_ulaw(self._configuration.input_format)

    @property
    def received(self) -> list[ReceivedEvent]:
        """Every client event but the audio, refused ones included, in order."""
        return self._received.all()

    @property
    def audio(self) -> bytes:
        """All audio the client has appended, decoded from base64, in the format in which it came."""
        with self._lock:
            return bytes(self._audio)

    @property
    def items(self) -> tuple[RememberedItem, ...]:
        """The conversation in order."""
        with self._lock:
            return tuple(map(RememberedItem.of, self._conversation))

    @property
    def configuration(self) -> dict[str, Any]:
        """The effective session object."""
        with self._lock:
            return self._configuration.snapshot()

    def await_event(self, event_type: str, timeout: float = 5, count: int = 1) -> ReceivedEvent:
        """Return the count-th client event of a type, waiting for it. Raises TimeoutError that says what came."""
        return self._received.wait(event_type, timeout, count)

    def say(self, speech: str | bytes) -> None:
        """Make the assistant speak now, in a response: a text, or mu-law at 8000 Hz.

        Raises RefusalError while another response is active.
        """
        answer = Answer(text=speech) if isinstance(speech, str) else Answer(audio=speech)
        with self._lock:
            self._turns.create_response({}, answer)

    def send(self, event: Mapping[str, Any]) -> None:
        """Send any server event; it gets an event_id if it has none."""
        self._emit(dict(event))

    def send_raw(self, frame: str | bytes) -> None:
        """Send a text or a binary frame with any content of any size."""
        self._outbox.put(frame)

    def stall(self) -> None:
        """Read nothing, write nothing and answer no ping, until `resume`: as if the network had lost its way.

        What is said meanwhile is said then. The client's connection is as alive as before, as far as it can tell.
        """
        self._tcp.stall()

    def resume(self) -> None:
        """Go on after `stall`, of this session or of all."""
        self._tcp.resume()

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close the websocket, after what has been said already. Does not wait: see `closed`.

        `code` is any that may be sent (1000 to 1003, 1007 to 1014, 3000 to 4999); None sends an empty close frame.
        """
        self._outbox.close(code, reason)

    def drop(self) -> None:
        """Abort the TCP connection with no closing handshake, as a network does."""
        connection = self._connection
        try:
            # With a linger of 0 s the kernel sends RST.
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if connection.protocol_mutex.acquire(blocking=False):
                connection.socket.close()
                connection.protocol_mutex.release()
            elif self._tcp.stalled:
                # The thread that sends waits for the connection to go on, which is this one's to end.
                connection.socket.close()
            else:
                # A thread is sending, perhaps for ever; closing would not wake it, this does.
                connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("%s: dropped after it had ended", self.id)
        connection.close_socket()

    @property
    def _tcp(self) -> Connection:
        connection = self._connection.socket
        assert isinstance(connection, Connection)
        return connection

    def run(self) -> None:
        """Serve the client until its connection ends. Runs in the connection's thread."""
        self._outbox.start()
        self._outbox.pause(self._equipment.faults.created_s)
        self._emit({"type": "session.created", "session": self._configuration.snapshot()})
        try:
            while True:
                self._receive()
                self._check_time()
        except ConnectionClosed:
            logger.debug("%s: ended with %s", self.id, self._connection.close_code)
        finally:
            with self._lock:
                self._turns.abandon()
            self._turns.join()
            self._outbox.join()
            self.close_code = self._connection.close_code
            self.close_reason = self._connection.close_reason
            self.closed.set()

    def _receive(self) -> None:
        try:
            message = self._connection.recv(TICK_SECONDS)
        except TimeoutError:
            return
        event_id = None
        try:
            event = parse(message)
            event_id = event.get("event_id")
            if event.get("type") != "input_audio_buffer.append":
                self._note(event)
            check(event)
            with self._lock:
                self._handle(event)
        except RefusalError as refusal:
            self._emit(refusal.event(event_id if isinstance(event_id, str) else None))

    def _handle(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                audio = decode_audio(event["audio"], "audio")
                if self._equipment.remember:
                    self._audio += audio
                self._turns.append(self._to_ulaw(audio))
            case "session.update":
                self._update(event["session"])
            case "input_audio_buffer.commit":
                self._turns.commit()
            case "input_audio_buffer.clear":
                self._turns.clear()
            case "output_audio_buffer.clear":
                raise RefusalError(
                    "invalid_event", "'output_audio_buffer.clear' is for WebRTC and SIP, not for WebSocket."
                )
            case "conversation.item.create":
                self._create_item(event)
            case "conversation.item.retrieve":
                item = self._conversation.existing(event["item_id"], "retrieve")
                spoken_by = "output" if item.role == "assistant" else "input"
                encode = from_ulaw(self._configuration["audio"][spoken_by]["format"]["type"])
                self._emit({"type": "conversation.item.retrieved", "item": item.shown(encode)})
            case "conversation.item.truncate":
                place = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
                self._conversation.truncate(**place)
                self._emit({"type": "conversation.item.truncated", **place})
            case "conversation.item.delete":
                self._conversation.delete(event["item_id"])
                self._emit({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            case "response.create":
                self._turns.create_response(event.get("response") or {})
            case "response.cancel":
                self._turns.cancel(event.get("response_id"))

    def _update(self, changes: dict[str, Any]) -> None:
        input_format = self._configuration.input_format
        self._configuration.update(changes, has_spoken=self._turns.has_spoken)
        if self._configuration.input_format != input_format:
            self._to_ulaw = to_ulaw(self._configuration.input_format)
        self._turns.configure()
        self._outbox.pause(self._equipment.faults.updated_s)
        self._emit({"type": "session.updated", "session": self._configuration.snapshot()})

    def _create_item(self, event: dict[str, Any]) -> None:
        item = make_item(event["item"], self._configuration.input_format, self._equipment.voice.listen)
        previous = self._conversation.insert(item, event.get("previous_item_id"))
        for what in ("added", "done"):
            self._emit(
                {"type": f"conversation.item.{what}", "previous_item_id": previous, "item": item.shown()}
            )

    def _check_time(self) -> None:
        with self._lock:
            self._turns.check_idle()
        if self._expires_at is not None and self._equipment.clock() >= self._expires_at:
            self._expires_at = None
            minutes = self._equipment.session_seconds / 60
            message = f"Your session hit the maximum duration of {minutes:g} minutes."
            self._emit(RefusalError("session_expired", message).event())
            self.close(1001, message)

    def _emit(self, event: dict[str, Any]) -> None:
        self._outbox.put({"event_id": new_identifier("event"), **event})

    def _note(self, event: dict[str, Any]) -> None:
        if self._equipment.remember:
            self._received.add(event)
        self._tell_observer(event)

    def _tell_observer(self, event: Mapping[str, Any]) -> None:
        if self._equipment.observer is not None:
            try:
                self._equipment.observer(self.id, str(event.get("type")), event)
            except Exception:
                logger.exception("%s: the observer failed; the session goes on", self.id)
