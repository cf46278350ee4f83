"""Every touch of Flask-Sock's, simple-websocket's and the WSGI servers' internals, each with its reason.

`tests/web/test_sockets.py` fails when one of the seams moves.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from simple_websocket import ConnectionClosed, Server
from wsproto.utilities import LocalProtocolError

from actors.send_buffer import SendBuffer, limit
from wire.frames import FrameReader, text_frame

MAX_MESSAGE_BYTES = 64 * 1024
"""Twilio's messages are below 1 KiB."""
SILENT_SECONDS = 5.0
"""Twilio sends 50 frames a second; a socket that is silent for so long is dead."""
CLOSE_SECONDS = 0.25
"""What a peer gets to answer our close frame before the connection is cut."""

_SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
Receive = Callable[[str | bytes, bool], None]
"""Takes one message, and whether the next has come already and follows at once."""
_WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


class OwnedSocket:
    """The upgraded connection's socket, as simple-websocket uses it: one owner, whole sends.

    simple-websocket calls `send` from two threads (ours, and the reader's pong) without a lock, and ignores short
    writes; here a send is whole, and one at a time. And its `recv` hands it only what `wire.frames` leaves to it:
    whole text frames go to `receive` at once, because wsproto needs ten times as long for each.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection = _limit_waiting(connection)
        self.upgraded = False
        """Whether the answer to the upgrade was ours; a refusal is the server's to send."""
        self.ended_by = ""
        """How the connection ended, where it did without a close frame."""
        self.receive: Receive | None = None
        """Takes whole text frames; None: everything goes to the library, the upgrade for one."""
        self._frames = FrameReader(masked=True, limit=MAX_MESSAGE_BYTES)
        self._recv_until = float("inf")
        limit(connection)
        self.buffer = SendBuffer(connection)

    def send(self, data: bytes) -> int:
        """All of `data`, or an OSError."""
        self.upgraded = True
        return self.buffer.send(data)

    def recv(self, size: int) -> bytes:
        """Some bytes; TimeoutError after SILENT_SECONDS without any, and once the time to end has come.

        In greenlets it may take a fifth longer. What the receiver raises passes through.
        """
        frames = self._frames
        if self.receive is None:
            return self._recv(size)
        while True:
            found = frames.take()
            while isinstance(found, str):
                following = frames.take()
                self.receive(found, isinstance(following, str))
                found = following
            if found is not None:
                return found
            if not (data := self._recv(frames.read_bytes)):
                return data
            frames.feed(data)

    def _recv(self, size: int) -> bytes:
        if time.monotonic() > self._recv_until:
            raise TimeoutError("closing")
        try:
            data = self._socket.recv(size)
        except (TimeoutError, BlockingIOError):
            self.ended_by = f"nothing came for {SILENT_SECONDS:.0f} s"
            raise TimeoutError(self.ended_by) from None
        except OSError as error:
            self.ended_by = f"connection lost: {error.strerror or error}"
            raise
        if not data:
            self.ended_by = "connection ended without a close frame"
        return data

    def end_by(self, seconds: float) -> None:
        """Stop reading in so many seconds, however much the peer still says."""
        self._recv_until = time.monotonic() + seconds

    def shutdown(self) -> None:
        """End the connection in both directions and wake whoever waits for it."""
        with contextlib.suppress(OSError):  # the peer was first
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back; more than once does nothing."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()


def _limit_waiting(connection: socket.socket) -> socket.socket:
    """The same connection, for which nothing waits for more than SILENT_SECONDS.

    The kernel sees to it, and fails with EAGAIN: with a timeout of its own Python polls before each read and write,
    which is one more system call for every frame. In greenlets no socket blocks, and it sees to it itself.
    """
    connection.settimeout(None)
    if os.get_blocking(connection.fileno()):
        seconds = int(SILENT_SECONDS)
        limit = struct.pack("ll", seconds, int((SILENT_SECONDS - seconds) * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return connection
    # Whoever started the server: gevent's makes sockets of gevent's own class.
    from web.green_socket import GreenSocket

    green = GreenSocket(fileno=connection.detach())
    green.settimeout(SILENT_SECONDS)
    green.limit_silence(SILENT_SECONDS)
    return green


def own_upgraded_sockets(app: _WSGI) -> _WSGI:
    """WSGI middleware: an upgraded connection gets a socket of its own, and no compression.

    simple-websocket closes the server's socket; gunicorn then closes it a second time, counts the connection off
    twice (so that it forgets to wait for calls when it stops), and drains a talking peer on its main thread for up
    to 2 s. With a duplicate each closes its own. A TLS socket cannot be duplicated: terminate TLS in front.
    """

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return app(environ, start_response)
        # simple-websocket accepts permessage-deflate from whoever offers it: 100 KiB a call instead of 8.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        for key in _SOCKET_KEYS:
            if key in environ:
                owned = OwnedSocket(environ[key].dup())
                environ[key] = owned
                try:
                    return app(environ, start_response)
                finally:
                    if owned.upgraded:
                        owned.shutdown()
                    owned.close()
        return app(environ, start_response)

    return middleware


class _ReadInPlace:
    """simple-websocket's `thread_class`: does not start a thread; `PhoneSocket.read` runs the target instead."""

    def __init__(self, target: Callable[[], None]) -> None:
        self.name = ""
        self.target = target

    def start(self) -> None:
        pass


class _Delivery:
    """simple-websocket's `event_class`: `set` means that a message stands in the input buffer, or the end."""

    def __init__(self) -> None:
        self.deliver: Callable[[], None] = lambda: None

    def set(self) -> None:
        self.deliver()

    def clear(self) -> None:
        pass


SERVER_OPTIONS = {
    "thread_class": _ReadInPlace,
    "event_class": _Delivery,
    "max_message_size": MAX_MESSAGE_BYTES,
    "receive_bytes": 4 * 1024,
}
"""Flask-Sock's SOCK_SERVER_OPTIONS: the WSGI thread, which has to wait anyway, reads the socket itself. That is one
thread and one hand-over a frame less."""


class PhoneSocket:
    """A media socket after its upgrade. Implements `actors.twilio.MediaSocket`."""

    def __init__(self, websocket: Server) -> None:
        self._websocket = websocket
        self._socket: OwnedSocket = websocket.sock
        self.has_room = self._socket.buffer.has_room
        """Whether `send` would wait for nothing, with up to LENT_MS of audio. Any thread; never raises."""
        self._closing = threading.Lock()
        self._closed = False
        self._read_ended = threading.Event()

    def read(self, receive: Receive) -> str:
        """Give every message to `receive` until the socket ends; returns why. Runs in the WSGI thread.

        What `receive` raises ends the reading and passes through.
        """
        websocket = self._websocket

        self.give_to(receive)
        try:
            websocket.thread.target()
        finally:
            self._read_ended.set()
        if websocket.incoming_message_len > MAX_MESSAGE_BYTES:
            return f"a message of more than {MAX_MESSAGE_BYTES} bytes came"
        return (
            f"socket closed with code {int(websocket.close_reason)} {websocket.close_message or ''}".rstrip()
        )

    def give_to(self, receive: Receive) -> None:
        """From the next message on, those that `read` reads are for somebody else."""
        buffer = self._websocket.input_buffer

        def deliver() -> None:
            while buffer:
                receive(buffer.pop(0), False)

        self._websocket.event.deliver = deliver
        self._socket.receive = receive

    def end_by(self, seconds: float) -> None:
        """Stop reading in so many seconds, however much the peer still says; infinity takes that back."""
        self._socket.end_by(seconds)

    def send(self, *texts: str) -> None:
        """Send text frames, in one write. Raises ConnectionError when the socket has ended."""
        if self._closed or not self._websocket.connected:
            raise ConnectionError("the socket is closed")
        self._socket.send(text_frame(texts[0]) if len(texts) == 1 else b"".join(map(text_frame, texts)))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, give the peer a moment to answer it, end the connection. Never raises.

        An answer is waited for because cutting a connection with unread frames in it resets it, and a reset may
        take the close frame away from the peer.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._socket.end_by(CLOSE_SECONDS)
        with contextlib.suppress(ConnectionClosed, LocalProtocolError, OSError):
            self._websocket.close(code, reason)
            self._read_ended.wait(CLOSE_SECONDS)
        self.abort()

    def abort(self) -> None:
        """End the connection at once. Any thread."""
        self._socket.shutdown()
