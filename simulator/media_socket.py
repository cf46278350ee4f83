"""The websocket of one media stream from Twilio's end, and the thread that reads it.

Built on websocket-client, whose traps are in threads-and-sockets.md, 1.3: its `close` can hang while another thread
reads, one timeout serves both directions, and a socket that the peer closed keeps its descriptor.
"""

import contextlib
import functools
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import websocket
from websocket import ABNF

from simulator.media_messages import FromServer, read
from simulator.phone_events import ClosedBy
from simulator.twiml import StreamRefusedError

HANDSHAKE_S = 5.0
_CLOSE_S = 1.0
_STUCK_SEND_MS = 10_000
_READ_BYTES = 65_536
_NO_CODE = 1005
_NO_CLOSE_FRAME = 1006


@dataclass(frozen=True, slots=True)
class Closed:
    """How the socket ended. `error` is Twilio's code for it, None where it is none."""

    code: int
    by: ClosedBy
    error: int | None = None
    detail: str = ""


class _Socket(websocket.WebSocket):
    """websocket-client with one read a burst, where it makes three a frame, and at most one close frame."""

    _unread = b""
    _offset = 0

    def __init__(self, reading: threading.Event, **options: Any) -> None:
        """Nothing is read, so no ping answered, while `reading` is not set."""
        super().__init__(**options)
        self._reading = reading

    def _recv(self, bufsize: int) -> bytes:
        if self._offset == len(self._unread):
            self._reading.wait()
            self._unread, self._offset = super()._recv(_READ_BYTES), 0  # type: ignore[no-untyped-call]
            self._reading.wait()
        piece = self._unread[self._offset : self._offset + bufsize]
        self._offset += len(piece)
        return piece

    def send_close(self, status: int = 1000, reason: str | bytes = b"") -> None:
        if self.connected:
            super().send_close(status, reason)


class MediaSocket:
    """One websocket and its reader thread. One thread opens, sends and closes; any thread does the rest."""

    def __init__(
        self,
        stream_sid: str,
        deliver: Callable[[FromServer | Closed], None],
        receive_buffer: int | None = None,
    ) -> None:
        """`deliver` is called in the reader's thread with each message, and last with how it ended.

        `receive_buffer` is SO_RCVBUF, in bytes; None leaves it to the kernel.
        """
        self._stream_sid = stream_sid
        self._deliver = deliver
        self._dropped = False
        self._vanished = False
        self._reading = threading.Event()
        self._reading.set()
        options = [(socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 18), _STUCK_SEND_MS)]
        if receive_buffer is not None:
            options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer))
        self._socket = _Socket(
            self._reading, enable_multithread=True, skip_utf8_validation=True, sockopt=options
        )
        self._reader = threading.Thread(target=self._read, name=f"phone-reader {stream_sid}", daemon=True)

    def open(self, url: str, headers: dict[str, str]) -> None:
        """Connect to `url`, with `headers` on the upgrade request. Raises StreamRefusedError."""
        if url.startswith("wss:"):
            self._socket.sock_opt.sslopt = {"context": _tls()}
        self._socket.settimeout(HANDSHAKE_S)
        try:
            self._socket.connect(  # type: ignore[no-untyped-call]
                url, header=headers, suppress_origin=True, redirect_limit=0
            )
            if (status := self._socket.getstatus()) != 101:
                raise websocket.WebSocketException(f"Handshake status {status}")
        except (OSError, ValueError, websocket.WebSocketException) as problem:
            self._socket.shutdown()  # type: ignore[no-untyped-call]
            raise StreamRefusedError(_handshake_error(problem), f"{url}: {problem}") from None
        # One timeout would serve reading and writing alike, and break a frame in two. TCP_USER_TIMEOUT ends a
        # stuck write instead.
        self._socket.settimeout(None)

    def start_reading(self) -> None:
        self._reader.start()

    def send(self, message: str | bytes) -> bool:
        """Send a text or a binary frame. False if the connection is gone; the reader delivers how it ended."""
        if self._vanished:
            return True  # as far as the sender can tell
        try:
            self._socket.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)
        except (OSError, websocket.WebSocketException):
            return False
        return True

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, beneath the websocket."""
        sock = self._socket.sock
        if sock is not None and not self._vanished:
            with contextlib.suppress(OSError), self._socket.lock:  # it is gone; the lock keeps pongs whole
                sock.sendall(data)

    def close(self) -> None:
        """Say goodbye with 1000 if the peer has not, for at most a second, and release everything.

        Who has vanished says nothing; the kernel resets what is left of the connection.
        """
        if self._vanished:
            self.drop()
            self._reader.join()
            self._socket.shutdown()  # type: ignore[no-untyped-call]
            return
        self._reading.set()
        with contextlib.suppress(OSError, websocket.WebSocketException):  # the peer was first
            self._socket.send_close(1000)
            self._reader.join(_CLOSE_S)
        self.abort()
        self._reader.join()
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """Fail the connection and wake whoever is blocked on it."""
        self._shut(socket.SHUT_RDWR)
        self._reading.set()

    def drop(self) -> None:
        """Reset the connection (TCP RST), as a machine that dies would."""
        self._dropped = True
        # With no time to linger, the close that follows when the reader wakes is a reset. Shutting only the
        # reading side wakes it and sends nothing.
        sock = self._socket.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shut(socket.SHUT_RD)
        self._reading.set()

    def vanish(self) -> None:
        """Neither read nor write nor close any more: a connection of which only the server's end is left.

        The kernel still takes in what fits its buffer, which a network that is gone would not.
        """
        self._vanished = True
        self._reading.clear()

    def stop_reading(self) -> None:
        """Read nothing more until `resume_reading`.

        The kernels' buffers first take some 4 MB on loopback (measured), which is minutes of audio; less with a
        small `receive_buffer`, and with a small send buffer at the server.
        """
        self._reading.clear()

    def resume_reading(self) -> None:
        if not self._vanished:
            self._reading.set()

    def _shut(self, how: int) -> None:
        sock = self._socket.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # not connected any more
                # Through the base class: SSLSocket.shutdown would let a concurrent send go out in clear.
                socket.socket.shutdown(sock, how)

    def _read(self) -> None:
        while True:
            try:
                opcode, data = self._socket.recv_data()
            except (OSError, websocket.WebSocketException) as problem:
                self._reading.wait()  # who does not read does not notice either
                self._deliver(self._failed(problem))
                return
            self._reading.wait()
            if self._vanished:
                self._deliver(self._failed(ConnectionResetError("vanished")))
                return
            if opcode == ABNF.OPCODE_CLOSE:
                code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else _NO_CODE
                reason = data[2:].decode(errors="replace")
                # An intended close is no error, though Twilio is known to log it now and then.
                error = None if code == 1000 else 31921
                self._deliver(
                    Closed(code, "server", error, f"the server closed with {code} {reason}".strip())
                )
                return
            # What is not UTF-8 is not JSON either, and is dropped as that.
            message = data.decode(errors="replace") if opcode == ABNF.OPCODE_TEXT else bytes(data)
            self._deliver(read(message, self._stream_sid))

    def _failed(self, problem: Exception) -> Closed:
        if self._dropped:
            return Closed(_NO_CLOSE_FRAME, "phone", 31903, "the phone dropped the connection")
        if isinstance(problem, websocket.WebSocketProtocolException | websocket.WebSocketPayloadException):
            return Closed(1002, "phone", 31924, f"the server broke the websocket protocol: {problem}")
        return Closed(_NO_CLOSE_FRAME, "network", 31903, f"no close frame came: {problem}")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # once: it costs 25 ms and 0.8 MiB


def _handshake_error(problem: Exception) -> int:
    match problem:
        case ConnectionRefusedError():
            return 31902
        case ssl.SSLError():
            return 31910
        case websocket.WebSocketTimeoutException() | websocket.WebSocketAddressException():
            return 31901
        case websocket.WebSocketException() | ConnectionResetError():
            return 31920
        case ValueError():
            return 31923
        case _:
            return 31901
