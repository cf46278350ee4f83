"""The websocket to the model: websocket-client with its traps avoided, and abortable at any moment.

`connect` and `receive` belong to the reading thread, `send`, `close` and then `release` to the actor; `abort` may be
called by anyone. websocket-client supports exactly that: one reader and one writer.

What comes 50 times a second, whole text frames both ways, is read and written by `wire.frames`; the library connects,
and handles everything else. It sees the connection through `_Connection`, the socket that `connect` takes.
"""

import contextlib
import functools
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import websocket
import websocket._handshake

from actors.member import CallError
from actors.send_buffer import SendBuffer, limit
from wire.frames import FrameReader, masked_text_frame

CONNECT_TIMEOUT_SECONDS = 10
CLOSE_TIMEOUT_SECONDS = 0.2
PERMANENT_CLOSE_CODES = frozenset({3000, 4000})
"""A refused key, and a request that the server takes no more. Source: OpenAI Realtime reference, 14."""
PERMANENT_STATUSES = frozenset({401, 403, 404})
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The API's own limit is 15 MiB an event."""
LONGEST_FRAME_BYTES = 1024 * 1024
"""What is longer, which no audio is, the library puts together."""
KEYS = 256
"""So many masks are made at a time: each call of `os.urandom` is one of the kernel."""


class ModelSocketError(CallError):
    """The socket to the model could not be opened, or has ended. The text says how, with the close code."""

    def __init__(self, how: str, permanent: bool = False) -> None:
        super().__init__(f"model socket {how}", permanent)


class _NoCookies:
    """Takes the place of websocket-client's cookie jar, which is one for the process and has no switch.

    A cookie that a load balancer sets in one call would go out with every later one, whatever its API key.
    """

    def add(self, set_cookie: str | None) -> None:
        pass

    def get(self, host: str) -> str:
        return ""


websocket._handshake.CookieJar = _NoCookies()  # type: ignore[assignment]


class _WebSocket(websocket.WebSocket):
    """websocket-client answers a close frame before it returns it; if that fails, the close code would be lost."""

    def send_close(self, *arguments: Any, **keywords: Any) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            super().send_close(*arguments, **keywords)


class _Connection:
    """The connection as websocket-client sees it: sends are whole, and one at a time, though it answers pings from
    the reading thread; and its reads begin with what `wire.frames` has left to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.buffer = SendBuffer(connection)
        self.send = self.buffer.send
        self._left = b""

    def recv(self, size: int) -> bytes:
        """Some bytes."""
        if self._left:
            data, self._left = self._left[:size], self._left[size:]
            return data
        return self._socket.recv(size)

    def leave(self, data: bytes) -> None:
        """The library is to read these first."""
        self._left += data

    def gettimeout(self) -> float | None:
        return self._socket.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


@functools.cache
def _tls() -> ssl.SSLContext:
    # One for the process: making one costs 25 ms and 0.8 MiB.
    return ssl.create_default_context()


class ModelSocket:
    """One websocket to a Realtime server, not yet connected."""

    def __init__(self, url: str, headers: Sequence[str]) -> None:
        self.url = url
        self._headers = list(headers)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False
        self._websocket = _WebSocket(skip_utf8_validation=True)
        self._connection: _Connection | None = None
        self._frames = FrameReader(masked=False, limit=LONGEST_FRAME_BYTES)
        self._next: str | bytes | None = None
        self._keys = b""
        self._next_key = 0

    def connect(self) -> None:
        """Connect and upgrade; blocks for CONNECT_TIMEOUT_SECONDS a step at most. Raises ModelSocketError."""
        try:
            connection = _Connection(self._connect())
            self._websocket.connect(
                self.url, header=self._headers, socket=connection, suppress_origin=True, redirect_limit=0
            )
            connection.settimeout(None)
            self._connection = connection
        except websocket.WebSocketBadStatusException as error:
            refused = f"refused with HTTP status {error.status_code}"
            raise ModelSocketError(refused, permanent=error.status_code in PERMANENT_STATUSES) from None
        except (OSError, UnicodeError, websocket.WebSocketException) as error:
            raise ModelSocketError(f"cannot connect: {error or type(error).__name__}") from None

    def _connect(self) -> socket.socket:
        address = urlsplit(self.url)
        host = address.hostname or ""
        secure = address.scheme == "wss"
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host, address.port or (443 if secure else 80), type=socket.SOCK_STREAM
        ):
            # Not socket.create_connection: the socket has to be known while it connects, to be abortable.
            connection = self._own(socket.socket(family, kind, protocol))
            try:
                connection.settimeout(CONNECT_TIMEOUT_SECONDS)
                limit(connection)
                connection.connect(where)
            except OSError as error:
                failure = error
                continue
            if not secure:
                return connection
            tls = self._own(
                _tls().wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
            )
            assert isinstance(tls, ssl.SSLSocket)
            tls.do_handshake()
            return tls
        raise failure

    def _own(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = connection
            if self._aborted:
                raise OSError("aborted")
        return connection

    def receive(self) -> str | None:
        """The next text frame, None for a pong; blocks. Raises ModelSocketError when there will be none."""
        try:
            found = self._take()
            if isinstance(found, str):
                return found
            opcode, data = found
        except (OSError, websocket.WebSocketException) as error:
            raise ModelSocketError(f"lost: {error or type(error).__name__}") from None
        if opcode == websocket.ABNF.OPCODE_PONG:
            return None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise ModelSocketError(_close_reason(data), permanent=_close_code(data) in PERMANENT_CLOSE_CODES)
        if opcode != websocket.ABNF.OPCODE_TEXT:
            raise ModelSocketError(f"sent a binary frame of {len(data)} bytes")
        if len(data) > MAX_MESSAGE_BYTES:
            raise ModelSocketError(f"sent a frame of {len(data)} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ModelSocketError("sent text that is not UTF-8") from None

    def _take(self) -> str | tuple[int, bytes]:
        """The next whole text, or the opcode and the data of what the library makes of anything else but a ping."""
        connection, frames = self._connection, self._frames
        if connection is None:
            raise OSError("not connected")
        found = self._next
        while True:
            if isinstance(found, str):
                self._next = frames.take()
                return found
            if found is None and (data := connection.recv(frames.read_bytes)):
                frames.feed(data)
                found = frames.take()
                continue
            # A ping, a close or what only the library understands; or the end, which it has its own words for.
            connection.leave(found or b"")
            opcode, data = self._websocket.recv_data(control_frame=True)
            self._next = found = frames.take()
            if opcode != websocket.ABNF.OPCODE_PING:  # those it has answered
                return opcode, data

    @property
    def more_came(self) -> bool:
        """Whether `receive` returns a text frame at once. For the reading thread."""
        return isinstance(self._next, str)

    def has_room(self) -> bool:
        """Whether `send` would wait for nothing, with up to LENT_MS of audio. Any thread; never raises."""
        connection = self._connection
        return connection is not None and connection.buffer.has_room()

    def send(self, *texts: str) -> None:
        """Send text frames, in one write; blocks while the peer takes no data. Raises ModelSocketError."""
        connection = self._connection
        if connection is None or not self._websocket.connected:
            raise ModelSocketError("cannot be written: it is closed")
        try:
            if len(texts) == 1:
                connection.send(masked_text_frame(texts[0], self._key()))
            else:
                connection.send(b"".join([masked_text_frame(text, self._key()) for text in texts]))
        except OSError as error:
            raise ModelSocketError(f"cannot be written: {error or type(error).__name__}") from None

    def _key(self) -> bytes:
        if self._next_key == len(self._keys):
            self._keys, self._next_key = os.urandom(4 * KEYS), 0
        self._next_key += 4
        return self._keys[self._next_key - 4 : self._next_key]

    def ping(self) -> None:
        """Send a ping; a server that lives answers it. Raises ModelSocketError."""
        try:
            self._websocket.ping()
        except (OSError, websocket.WebSocketException) as error:
            raise ModelSocketError(f"cannot be written: {error or type(error).__name__}") from None

    def close(self) -> None:
        """Say goodbye with code 1000 if that is possible at once, then end the connection."""
        # AttributeError: the reader has just ended it, between websocket-client's look at its socket and its use.
        with contextlib.suppress(OSError, AttributeError):
            if self._websocket.connected:
                self._websocket.settimeout(CLOSE_TIMEOUT_SECONDS)
                self._websocket.send_close()
        self.abort()

    def abort(self) -> None:
        """End the connection now, also while it is being made: a blocked `connect`, `receive` or `send` returns."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                # Not WebSocket.abort or SSLSocket.shutdown: the latter forgets the TLS session before it shuts the
                # socket, so that a send at that moment would go out in clear. OSError: was not connected.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the file descriptor back, when nobody reads or writes any more."""
        self._websocket.shutdown()
        with self._lock:
            if self._socket is not None:
                self._socket.close()


def _close_reason(data: bytes) -> str:
    if len(data) < 2:
        return "closed without a code"
    words = repr(data[2:].decode(errors="replace"))[1:-1]  # the peer's own, for a log: on one line
    return f"closed with code {_close_code(data)} {words}".rstrip()


def _close_code(data: bytes) -> int:
    return int.from_bytes(data[:2], "big")
