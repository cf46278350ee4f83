"""A server of somebody who wants to be told of calls."""

import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.probe import PATIENCE_SECONDS
from wire.event_signature import SIGNATURE_HEADER


class Receiver(ThreadingHTTPServer):
    """Takes events, or does with them what the test says."""

    daemon_threads = True

    def __init__(self, port: int = 0, certificate: Path | None = None, keeps: bool = True) -> None:
        """It `keeps` connections open for the next event; one that outlives a test should not."""
        super().__init__(("127.0.0.1", port), Handler)
        self.keeps = keeps
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.received: queue.SimpleQueue[tuple[str, bytes, str | None]] = queue.SimpleQueue()
        self.statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """What to send instead of an answer, whereupon the connection is closed."""
        self.body = b""
        """Of every answer."""
        self.hangs = threading.Event()
        self.released = threading.Event()
        self.connections: list[socket.socket] = []
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Something for each connection that is over."""
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}/events?key=1"

    def expect(self) -> tuple[str, bytes, str | None]:
        return self.received.get(timeout=PATIENCE_SECONDS)

    def expect_end(self) -> None:
        self.ended.get(timeout=PATIENCE_SECONDS)

    def hang_up(self) -> None:
        """Close the last connection, which is idle."""
        self.connections[-1].shutdown(socket.SHUT_RDWR)
        self.expect_end()

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        self.connections.append(request)
        try:
            Handler(request, client_address, self)
        finally:
            request.close()
            self.ended.put(None)

    def handle_error(self, *_: object) -> None:
        """It is the client's errors that matter, and the test looks for them."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.received.put((self.path, body, self.headers[SIGNATURE_HEADER]))
        if server.hangs.is_set():
            self.close_connection = True
            server.released.wait(PATIENCE_SECONDS)
            return
        if not server.answers.empty():
            self.close_connection = True
            self.wfile.write(server.answers.get())
            return
        self.send_response(200 if server.statuses.empty() else server.statuses.get())
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(server.body)))
        if not server.keeps:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(port: int = 0, certificate: Path | None = None, keeps: bool = True) -> Iterator[Receiver]:
    with Receiver(port, certificate, keeps) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,), name="receiver")
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            receiver.shutdown()
            thread.join()
