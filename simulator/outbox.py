"""The one writer of a session's websocket: events leave in the order in which they were put."""

import logging
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

POLL_MS = 100
"""How late a writer that waits for a slow client notices that the connection has gone."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Close:
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


class Outbox:
    """Queues what goes to the client, so that neither the reader nor a speaker waits for a slow one."""

    def __init__(
        self,
        connection: ServerConnection,
        name: str,
        writing: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """`writing` runs in the writing thread before each event goes out, so before the client can react."""
        self._connection = connection
        self._writing = writing
        self._queue: SimpleQueue[dict[str, Any] | str | bytes | _Close | _Pause | None] = SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name=name, daemon=True)

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def put(self, message: dict[str, Any] | str | bytes) -> None:
        """Queue an event (sent as JSON text), a text frame or a binary frame. Never blocks."""
        self._queue.put(message)

    def pause(self, seconds: float) -> None:
        """Let what is put from here on wait so long, once all that was put before has been written. Never blocks."""
        if seconds > 0:
            self._queue.put(_Pause(seconds))

    def close(self, code: int | None, reason: str) -> None:
        """Close the websocket once all that was put before has been written. Never blocks.

        Without a code the close frame is empty; without a valid one, ProtocolError is logged and the code is 1011.
        """
        self._queue.put(_Close(code, reason))

    def join(self) -> None:
        """Stop the writing thread and wait for it; call this when the connection has ended."""
        self._ended.set()
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        try:
            while (message := self._queue.get()) is not None:
                if isinstance(message, _Pause):
                    self._ended.wait(message.seconds)
                    continue
                self._await_room()
                if isinstance(message, dict):
                    if self._writing is not None:
                        self._writing(message)
                    self._connection.send(orjson.dumps(message), text=True)
                elif isinstance(message, _Close):
                    # The protocol beneath takes None for an empty frame; the types of this method do not say so.
                    self._connection.close(message.code, message.reason)  # type: ignore[arg-type]
                else:
                    self._connection.send(message)
        except ConnectionClosed:
            logger.debug("%s: the client has gone", self._thread.name)
        except Exception:
            # Without its writer the session would go on and never say a word again.
            logger.exception("%s failed; its connection is closed", self._thread.name)
            self._connection.close(1011, "internal error")

    def _await_room(self) -> None:
        # The library reads nothing while a send blocks, because one lock guards both. A socket that has room takes
        # an event of a few kB at once, so waiting for room out here keeps the client's own events flowing.
        poller = select.poll()
        descriptor = self._connection.socket.fileno()
        if descriptor >= 0:
            poller.register(descriptor, select.POLLOUT)
            while self._connection.socket.fileno() == descriptor and not poller.poll(POLL_MS):
                pass
