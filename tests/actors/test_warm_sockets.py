"""WarmSockets against real servers: connected ahead, handed out once, replaced, and gone at the end."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from actors import warm_sockets
from actors.endpoints import REFUSED_SECONDS, Endpoint, Endpoints
from actors.model_socket import ModelSocketError
from actors.warm_sockets import WarmSocket, WarmSockets
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, wait_until
from wire.dialect import OPENAI

CREATED = '{"type":"session.created","session":{"expires_at":null}}'
REFUSED = '{"type":"error","error":{"type":"invalid_request_error","code":"invalid_api_key","message":"no"}}'


class Server:
    """Greets each connection with an event, and keeps the connections that there are."""

    def __init__(self, greeting: str = CREATED, certificate: Path | None = None) -> None:
        self.greeting = greeting
        self.connections: list[ServerConnection] = []
        self.live: set[ServerConnection] = set()
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None, ssl=tls)
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)
        self._thread.start()
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_SECONDS)

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.live.add(connection)
        try:
            connection.send(self.greeting)
            for message in connection:
                connection.send(f"echo {message!s}")
        except ConnectionClosed:
            pass
        finally:
            self.live.discard(connection)


class Pool:
    """Two warm sockets."""

    def __init__(self, url: str, kind: type[WarmSocket] = WarmSocket) -> None:
        self.sockets = WarmSockets(lambda: kind(url, ()), 2)
        self.endpoint = Endpoint("here", self.sockets.take, OPENAI)
        self.now = 0.0
        self.endpoints = Endpoints([self.endpoint], lambda: self.now)

    def start(self) -> None:
        self.sockets.start(self.endpoints, self.endpoint)

    def full(self, count: int = 2) -> None:
        wait_until(lambda: self.sockets.waiting == count, "all are warm")


Make = Callable[..., tuple[Server, Pool]]


@pytest.fixture
def make() -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def make(greeting: str = CREATED) -> tuple[Server, Pool]:
            server = Server(greeting)
            stack.callback(server.close)
            pool = Pool(server.url)
            stack.callback(pool.sockets.close)
            pool.start()
            return server, pool

        yield make


@contextlib.contextmanager
def used(socket: WarmSocket) -> Iterator[WarmSocket]:
    """As a session's reader uses it."""
    try:
        socket.connect()
        yield socket
    finally:
        socket.close()
        socket.release()


def test_a_call_gets_a_socket_that_is_connected_and_reads_all_that_came(make: Make) -> None:
    server, pool = make()
    pool.full()
    with used(pool.sockets.take()) as socket:
        assert socket.receive() == CREATED
        socket.send("hello")
        assert socket.receive() == "echo hello"
        pool.full()
        assert len(server.connections) == 3, "it is replaced"


def test_each_is_handed_out_once_and_then_they_are_dialled_as_ever(make: Make) -> None:
    _, pool = make()
    pool.full()
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(used(pool.sockets.take())) for _ in range(5)]
        assert [socket.receive() for socket in taken] == [CREATED] * 5
        assert len(set(map(id, taken))) == 5


def test_one_that_the_server_closes_is_replaced(make: Make) -> None:
    server, pool = make()
    pool.full()
    server.connections[0].close(1001)
    wait_until(lambda: len(server.connections) == 3, "another one")
    pool.full()
    with used(pool.sockets.take()) as socket:
        assert socket.receive() == CREATED


def test_one_that_is_pinged_stays_and_is_not_blocked_by_it(make: Make) -> None:
    server, pool = make()
    pool.full()
    assert server.connections[0].ping().wait(PATIENCE_SECONDS), "it answers"
    with used(pool.sockets.take()) as socket:
        assert socket.receive() == CREATED
    assert server.connections[0].close_code in (None, 1000)


def test_one_that_gets_old_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_sockets, "MAX_AGE_SECONDS", 0.2)
    monkeypatch.setattr(warm_sockets, "PING_SECONDS", 0.1)
    server, _ = make()
    wait_until(lambda: len(server.connections) >= 4, "both were replaced")
    wait_until(lambda: len(server.live) <= 3, "and closed")


def test_one_that_answers_no_ping_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_sockets, "PING_SECONDS", 0.05)
    dropped = threading.Event()

    class Unheard(WarmSocket):
        def look(self) -> None:
            """Pongs do not get here."""

        def release(self) -> None:
            super().release()
            dropped.set()

    server = Server()
    pool = Pool(server.url, Unheard)
    pool.start()
    assert dropped.wait(PATIENCE_SECONDS)
    pool.sockets.close()
    server.close()


def test_a_refused_key_is_told_once_and_not_tried_again_and_again(make: Make, logs: ExpectedLogs) -> None:
    logs.expect("no warm session at here, tried again in 5 s: model socket refused: invalid_api_key")
    server, pool = make(REFUSED)
    wait_until(lambda: pool.endpoints.avoids(pool.endpoint), "the endpoint is told")
    pool.now = REFUSED_SECONDS - 1
    assert pool.endpoints.avoids(pool.endpoint), "for long"
    assert len(server.connections) == 1
    socket = pool.sockets.take()
    with pytest.raises(ModelSocketError):
        socket.receive()


def test_a_server_that_is_not_there_is_left_alone_for_a_while(logs: ExpectedLogs) -> None:
    logs.expect("no warm session at here, tried again in 5 s: model socket cannot connect")
    pool = Pool("ws://127.0.0.1:1/v1")
    pool.start()
    wait_until(lambda: bool(logs.records), "it was tried")
    pool.sockets.close()
    assert len(logs.records) == 1


def test_nothing_is_left_when_it_is_closed_and_a_call_may_still_dial(make: Make) -> None:
    server, pool = make()
    pool.full()
    pool.sockets.close()
    wait_until(lambda: not server.live, "the server has none")
    assert [connection.close_code for connection in server.connections] == [1000, 1000]
    with used(pool.sockets.take()) as socket:
        assert socket.receive() == CREATED


def test_over_tls_what_is_no_message_does_not_count_as_one(trusted: Path) -> None:
    server = Server(certificate=trusted)
    pool = Pool(server.url)
    pool.start()
    pool.full()
    first, second = server.connections
    assert first.ping().wait(PATIENCE_SECONDS)
    assert second.ping().wait(PATIENCE_SECONDS)
    assert pool.sockets.waiting == 2
    with used(pool.sockets.take()) as socket:
        assert socket.receive() == CREATED
        socket.send("hello")
        assert socket.receive() == "echo hello"
    pool.sockets.close()
    server.close()
