"""The kernel's buffer for what was sent on a socket, and the peer has not acknowledged."""

import socket
import sys
import threading
from typing import Final

UNACKNOWLEDGED_MS = 10_000
"""A peer that takes no data for so long is dead; the kernel then ends a blocked send."""
SEND_BUFFER_BYTES = 32 * 1024
"""What a stalled peer can pile up. Linux doubles it, for what it keeps besides the data."""
ROOM_BYTES = 16 * 1024
"""What there has to be room for: LENT_MS of 24 kHz PCM as base64, which is the most, and a quarter more."""
WRITE_BYTES = 1536
"""What Linux keeps for a write besides its data, at most: about 900 bytes, and headers."""

_SO_MEMINFO: Final = 55
_LIMIT: Final = slice(3 * 4, 4 * 4)
_QUEUED: Final = slice(5 * 4, 6 * 4)
"""Of nine numbers of 32 bits. Source: Linux, asm-generic/socket.h and sock_diag.h."""


def limit(connection: socket.socket) -> None:
    """Send at once whatever is sent, and keep only so much of it for a peer that takes none."""
    # Werkzeug leaves Nagle's algorithm on.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        # Some hosts let a sender wait earlier than that.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * SEND_BUFFER_BYTES)


class SendBuffer:
    """Sends on a socket, whole and one at a time, and knows whether that would have to wait. Any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._free_bytes = 0
        """At least; what the peer acknowledges makes it more, which is only looked at when it is needed."""

    def send(self, data: bytes) -> int:
        """All of `data`, or an OSError."""
        size = len(data)
        with self._sending:
            # Mostly all of it; gevent's `sendall` asks the kernel for the size of its buffer first.
            if (sent := self._connection.send(data)) < size:
                self._connection.sendall(data[sent:])
            # Twice: a peer with a small window gets it in small segments, each of which takes more than its data.
            self._free_bytes -= 2 * size + WRITE_BYTES
        return size

    def has_room(self) -> bool:
        """Whether a send of up to ROOM_BYTES waits for nothing. Never, where the kernel does not tell."""
        return self._free_bytes >= 2 * ROOM_BYTES or self._look()

    def _look(self) -> bool:
        # Not `poll`: it lets go of the interpreter's lock, and whoever asks would have to get it back before sending.
        try:
            memory = self._connection.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _QUEUED.stop)
        except OSError:  # it is closed, or this is not Linux
            return False
        if len(memory) < _QUEUED.stop:  # another system's 55
            return False
        limit, queued = (int.from_bytes(memory[each], sys.byteorder) for each in (_LIMIT, _QUEUED))
        self._free_bytes = limit - queued
        return self._free_bytes >= 2 * ROOM_BYTES
