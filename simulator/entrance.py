"""Where clients come in to the offline model: listens, stops listening, and lets connections stand still.

A network fails beneath the websocket, so it is imitated there: a connection that stands still takes no byte and gives
none, whatever the library or the session above it wants, and answers no ping.
"""

import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from websockets.sync.server import Server


class Connection(socket.socket):
    """A client's connection, as the websockets library uses it, which can be made to stand still."""

    def __init__(self, accepted: socket.socket) -> None:
        """Takes the place of `accepted`."""
        super().__init__(fileno=accepted.detach())
        self._flowing = threading.Event()
        self._flowing.set()

    @property
    def stalled(self) -> bool:
        """Whether it stands still."""
        return not self._flowing.is_set()

    def stall(self) -> None:
        """Take no byte and give none until `resume`. The kernel goes on taking what fits into its buffers."""
        self._flowing.clear()

    def resume(self) -> None:
        """Go on where it stood still."""
        self._flowing.set()

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        self._flowing.wait()
        data = super().recv(bufsize, flags)
        # It may have been stalled while it waited for these bytes; closed, it has none to give.
        self._flowing.wait()
        return data if self.fileno() >= 0 else b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._flowing.wait()
        super().sendall(data, flags)

    def close(self) -> None:
        super().close()
        self._flowing.set()


class _Listener(socket.socket):
    """Accepts Connections."""

    def __init__(self, host: str, port: int, accepted: Callable[[Connection], None]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._accepted = accepted
        self._ended = False
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((host, port))
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        if self._ended:
            raise OSError("nobody is let in any more")
        accepted, address = super().accept()
        connection = Connection(accepted)
        self._accepted(connection)
        return connection, address

    def end(self) -> None:
        """Make whoever waits for a client, or will, get an OSError instead."""
        self._ended = True
        # Closing a socket does not wake who waits for it; a client does.
        socket.create_connection(self.getsockname()).close()


class Entrance:
    """A port that can be opened and shut, and the connections that came in through it. One thread at a time."""

    def __init__(self, host: str, port: int, make_server: Callable[[socket.socket], Server]) -> None:
        """`port` 0 takes a free one. `make_server` makes the library's server of a listening socket."""
        self.host = host
        self.port = port
        """The one it has, once it is bound."""
        self._make_server = make_server
        self._lock = threading.Lock()
        self._stalled = False
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._kept: _Listener | None = None
        self._listener: _Listener | None = None
        self._serving: list[tuple[Server, threading.Thread]] = []

    def bind(self) -> None:
        """Take the port, without listening yet. Raises OSError if it is taken."""
        self._kept = _Listener(self.host, self.port, self._came)
        self.port = self._kept.getsockname()[1]

    def open(self) -> None:
        """Listen, after `bind` or `shut`; does nothing if it does already. Raises OSError."""
        if self._kept is None:
            return
        self._kept.listen()
        server = self._make_server(self._kept)
        self._listener, self._kept = self._kept, None
        # The threads of the connections inherit being daemons from this one.
        thread = threading.Thread(target=server.serve_forever, name="offline-model-accepts", daemon=True)
        self._serving.append((server, thread))
        thread.start()

    def shut(self) -> None:
        """Refuse TCP connections until it is opened again. Those that are there go on, and the port is kept."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.end()
        self._serving[-1][1].join()
        listener.close()
        self.bind()

    def close(self) -> None:
        """Free the port, and end, as the library does, what connections there are."""
        self.resume()
        self._listener, kept = None, self._kept
        self._kept = None
        if kept is not None:
            kept.close()
        while self._serving:
            server, thread = self._serving.pop()
            server.shutdown()
            thread.join()

    def stall(self) -> None:
        """Let every connection stand still, and every one that comes in, until `resume`."""
        with self._lock:
            self._stalled = True
            for connection in self._connections:
                connection.stall()

    def resume(self) -> None:
        """Let every connection go on, whoever has stalled it."""
        with self._lock:
            self._stalled = False
            for connection in self._connections:
                connection.resume()

    def _came(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._stalled:
                connection.stall()
