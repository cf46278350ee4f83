"""A websocket for load generators: whole frames of text, either end, a few microseconds a message.

The libraries that the product and the simulator use cost 10 to 60 us a message, which on a small machine would be
measured along with the server. What this one leaves out (fragments, binary frames, limits, a random mask), neither
the server under test nor a load generator sends; the socket that gets it all the same is closed and says so.
Source: RFC 6455, sections 4 and 5. Everything runs in the event loop's thread.
"""

import asyncio
import base64
import enum
import functools
import hashlib
import os
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

_ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HANDSHAKE_LIMIT = 16 * 1024
_NO_KEY = b"\x00\x00\x00\x00"
_NO_CLOSE_FRAME = 1006


class Opcode(enum.IntEnum):
    """The first byte of a frame that is whole."""

    TEXT = 0x81
    CLOSE = 0x88
    PING = 0x89
    PONG = 0x8A


class LeanWebsocket(asyncio.Protocol):
    """One connection. `on_text` is called with each message, in UTF-8, and `on_closed` once, with the close code."""

    def __init__(
        self,
        on_text: Callable[[bytes], None],
        on_closed: Callable[[int], None],
        request: bytes | None = None,
    ) -> None:
        """`request` makes it a client: the upgrade request to send. Without, it is a server that takes anyone."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the handshake is; has the ConnectionError where there was none."""
        self._on_text = on_text
        self._on_closed = on_closed
        self._request = request
        self._unread = b""
        self._close_code = _NO_CLOSE_FRAME
        self._closing = False
        self._transport: asyncio.Transport

    def send(self, text: bytes) -> None:
        """Send one message. Never waits: what the peer does not take yet is kept in memory."""
        if not self._closing:
            self._transport.write(self._frame(Opcode.TEXT, text))

    def close(self, code: int = 1000) -> None:
        """Send a close frame, once; the connection ends when the peer answers it, as servers do."""
        if not self._closing:
            self._transport.write(self._frame(Opcode.CLOSE, struct.pack("!H", code)))
            self._closing = True

    def abort(self) -> None:
        """End the connection at once."""
        self._closing = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is a transport in all but its class.
        self._transport = cast(asyncio.Transport, transport)
        if self._request is not None:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        if not self.opened.done() and not self._shake_hands():
            return
        data, position = self._unread, 0
        while (frame := _frame_at(data, position)) is not None:
            opcode, payload, position = frame
            self._take(opcode, payload)
        self._unread = data[position:]

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"no websocket: {error or self._unread[:200]!r}"))
            # Whoever opened a client awaits this; of a server's nobody asks.
            self.opened.exception()
        self._on_closed(self._close_code)

    def _shake_hands(self) -> bool:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            if len(self._unread) > _HANDSHAKE_LIMIT:
                self.abort()
            return False
        if self._request is None:
            key = next(
                (line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if _is_key(line)), None
            )
            if key is None:
                self.abort()
                return False
            accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID.encode()).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        elif not head.startswith(b"HTTP/1.1 101 "):
            self.abort()
            return False
        self._unread = rest
        self.opened.set_result(None)
        return True

    def _take(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case Opcode.TEXT:
                self._on_text(payload)
            case Opcode.CLOSE:
                self._close_code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                self.close(1000)
                self._transport.close()
            case Opcode.PING:
                self._transport.write(self._frame(Opcode.PONG, payload))
            case Opcode.PONG:
                pass
            case _:
                self._close_code = 1003
                self.close(1003)
                self._transport.close()

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        # A mask of zeros leaves the payload as it is. It costs the server what any other would.
        masked, key = (0x80, _NO_KEY) if self._request is not None else (0, b"")
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", opcode, masked | size)
        elif size < 65536:
            head = struct.pack("!BBH", opcode, masked | 126, size)
        else:
            head = struct.pack("!BBQ", opcode, masked | 127, size)
        return head + key + payload


async def connect(
    url: str,
    headers: Mapping[str, str],
    on_text: Callable[[bytes], None],
    on_closed: Callable[[int], None],
) -> LeanWebsocket:
    """Open a ws:// or wss:// URL as a client. Raises OSError; where the upgrade is refused, ConnectionError."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path or '/'}{'?' if parts.query else ''}{parts.query} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join([*lines, "", ""]).encode()
    _, websocket = await asyncio.get_running_loop().create_connection(
        lambda: LeanWebsocket(on_text, on_closed, request),
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "wss" else 80),
        ssl=_tls() if parts.scheme == "wss" else None,
    )
    await websocket.opened
    return websocket


@functools.cache
def _tls() -> ssl.SSLContext:
    # One for all: loading the authorities takes longer than a handshake.
    return ssl.create_default_context()


def _is_key(line: bytes) -> bool:
    return line[:18].lower() == b"sec-websocket-key:"


def _frame_at(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """The first byte of the frame that begins at `at`, its payload, and where it ends, if all of it is here."""
    if len(data) < at + 2:
        return None
    masked, size = data[at + 1] & 0x80, data[at + 1] & 0x7F
    start = at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < start + width:
            return None
        size = int.from_bytes(data[start : start + width], "big")
        start += width
    key = b""
    if masked:
        key = data[start : start + 4]
        start += 4
    end = start + size
    if len(data) < end:
        return None
    return data[at], _unmasked(data[start:end], key), end


def _unmasked(payload: bytes, key: bytes) -> bytes:
    if not key or key == _NO_KEY:
        return payload
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    # One operation on one long number: a loop over the bytes would cost more than all else here.
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
