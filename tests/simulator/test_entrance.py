"""Connections that stand still, and a port that is opened and shut."""

import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.server import ServerConnection, serve

from simulator.entrance import Connection, Entrance

SOON = 5.0
NEVER = 0.05


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    theirs.settimeout(SOON)
    with connection, theirs:
        yield connection, theirs


class Doing:
    """Something that blocks, in a thread."""

    def __init__(self, connection: Connection) -> None:
        self.received: bytes | None = None
        self._connection = connection
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        try:
            self.received = self._connection.recv(100)
        except OSError:
            self.received = b"lost"

    def ended(self, timeout: float = SOON) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


def test_a_stalled_connection_gives_its_bytes_when_it_goes_on(
    pair: tuple[Connection, socket.socket],
) -> None:
    connection, peer = pair
    connection.stall()
    assert connection.stalled
    peer.sendall(b"hello")
    reading = Doing(connection)
    assert not reading.ended(NEVER)
    connection.resume()
    assert reading.ended()
    assert reading.received == b"hello"


def test_bytes_that_come_to_a_waiting_reader_are_held_back_as_well(
    pair: tuple[Connection, socket.socket],
) -> None:
    connection, peer = pair
    reading = Doing(connection)
    connection.stall()
    peer.sendall(b"hello")
    assert not reading.ended(NEVER)
    connection.resume()
    assert reading.ended()
    assert reading.received == b"hello"


def test_a_stalled_connection_sends_when_it_goes_on(pair: tuple[Connection, socket.socket]) -> None:
    connection, peer = pair
    connection.stall()
    sending = threading.Thread(target=connection.sendall, args=(b"hello",))
    sending.start()
    peer.settimeout(NEVER)
    with pytest.raises(TimeoutError):
        peer.recv(100)
    connection.resume()
    peer.settimeout(SOON)
    assert peer.recv(100) == b"hello"
    sending.join()


def test_closing_wakes_whoever_waits_for_a_stalled_connection(
    pair: tuple[Connection, socket.socket],
) -> None:
    connection, _ = pair
    connection.stall()
    reading = Doing(connection)
    connection.close()
    assert reading.ended()
    assert reading.received in (b"", b"lost")


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def entrance() -> Iterator[Entrance]:
    entrance = Entrance("127.0.0.1", 0, lambda listener: serve(echo, sock=listener))
    entrance.bind()
    yield entrance
    entrance.close()


def test_a_bound_port_refuses_and_is_taken(entrance: Entrance) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", entrance.port))
    entrance.open()
    entrance.open()
    socket.create_connection(("127.0.0.1", entrance.port)).close()
    with pytest.raises(OSError, match="in use"):
        Entrance("127.0.0.1", entrance.port, lambda listener: serve(echo, sock=listener)).bind()


def test_opening_and_shutting_leaves_no_thread(entrance: Entrance) -> None:
    before = threading.active_count()
    for _ in range(5):
        entrance.open()
        entrance.shut()
    assert threading.active_count() == before


def test_an_entrance_that_was_never_bound_opens_and_closes_nothing() -> None:
    entrance = Entrance("127.0.0.1", 0, lambda listener: serve(echo, sock=listener))
    entrance.open()
    entrance.shut()
    entrance.close()
    assert entrance.port == 0
