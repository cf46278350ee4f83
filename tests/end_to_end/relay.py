"""What may stand between two ends of a connection: a load balancer, or a long way."""

import contextlib
import http.client
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

CONNECT_SECONDS = 1.0
ROUNDS = 3
"""How often all are asked: one that is busy may not answer in time, and there may be no other."""
TAKEN_AT_A_TIME = 64 * 1024


class Relay:
    """Listens on a free port and passes every connection on, both ways."""

    def __init__(self, choose: Callable[[], str], latency_ms: float = 0) -> None:
        """`choose` says where to, as host:port, or raises OSError. Each way takes `latency_ms`."""
        self._choose = choose
        self._latency_seconds = latency_ms / 1000
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._closing = False
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closing = True
            for each in (self._listener, *self._connections):
                _shut(each, socket.SHUT_RDWR)
        while threads := self._running():
            for thread in threads:
                thread.join()
        self._listener.close()

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name="relay", daemon=True)
        with self._lock:
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
            thread.start()
        return thread

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            return [each for each in self._threads if each.is_alive()]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # shut, at the end
                return
            self._start(lambda client=client: self._serve(client))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            self._keep(client, stack)
            try:
                host, _, port = self._choose().rpartition(":")
                server = socket.create_connection((host, int(port)), CONNECT_SECONDS)
            except OSError:  # who connected sees the end of it
                return
            self._keep(server, stack)
            server.settimeout(None)
            ways = [
                self._start(lambda: self._carry(client, server)),
                self._start(lambda: self._carry(server, client)),
            ]
            for way in ways:
                way.join()

    def _keep(self, connection: socket.socket, stack: contextlib.ExitStack) -> None:
        stack.callback(connection.close)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(connection)
            if self._closing:
                _shut(connection, socket.SHUT_RDWR)
        stack.callback(self._forget, connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        """One way, until its end."""
        under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        arrivals = self._start(lambda: self._deliver(under_way, target))
        data = b"more"
        while data:
            try:
                data = source.recv(TAKEN_AT_A_TIME)
            except OSError:  # reset, which is passed on as an end
                data = b""
            under_way.put((time.monotonic() + self._latency_seconds, data))
        arrivals.join()

    def _deliver(self, under_way: "queue.SimpleQueue[tuple[float, bytes]]", target: socket.socket) -> None:
        while True:
            due, data = under_way.get()
            time.sleep(max(due - time.monotonic(), 0))
            if not data:
                _shut(target, socket.SHUT_WR)
                return
            with contextlib.suppress(OSError):  # it has gone, and so will be what comes from it
                target.sendall(data)


def first_ready(servers: Sequence[str]) -> str:
    """What a load balancer does: the first of the servers, host:port, whose /ready says 200. Raises OSError."""
    for address in [*servers] * ROUNDS:
        connection = http.client.HTTPConnection(address, timeout=CONNECT_SECONDS)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return address
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    raise ConnectionRefusedError("no server is ready")


def _shut(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        connection.shutdown(how)
