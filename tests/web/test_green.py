"""The seams of gunicorn and gevent that the worker with greenlets hangs on; how it serves is end to end."""

import inspect
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from gevent.baseserver import BaseServer
from gevent.exceptions import ConcurrentObjectUseError
from gunicorn.workers import ggevent

from actors.send_buffer import SendBuffer
from tests.probe import PATIENCE_SECONDS
from web.green import GreenCallWorker, HesitantServer
from web.green_socket import LOOKS, GreenSocket


def test_gunicorn_makes_its_servers_of_the_class_that_we_put_in_place() -> None:
    assert "StreamServer(s, handle=" in inspect.getsource(ggevent.GeventWorker.run)
    assert "ggevent.StreamServer" in inspect.getsource(GreenCallWorker.run)


def test_gevent_reads_and_stops_reading_where_we_step_in() -> None:
    assert "self._do_read" in inspect.getsource(BaseServer.start_accepting)
    assert HesitantServer._do_read is not BaseServer._do_read
    for name in ("start_accepting", "stop_accepting"):
        assert callable(getattr(BaseServer, name))
    assert isinstance(BaseServer.started, property)


class Beside:
    """Servers that share a listener, as workers do; each tells its name to whom it takes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._servers: list[HesitantServer] = []

    def add(self, name: str, seconds: Callable[[], float], spawn: Any = "default") -> gevent.event.Event:
        """What it returns is set whenever the server begins to look for connections."""
        looks = gevent.event.Event()

        class Named(HesitantServer):
            hesitation = staticmethod(seconds)

            def start_accepting(self) -> None:
                super().start_accepting()
                looks.set()

        def handle(connection: gevent.socket.socket, address: object) -> None:
            with connection:
                connection.sendall(name.encode())

        server = Named(gevent.socket.socket(fileno=self._listener.dup().detach()), handle, spawn=spawn)
        self._servers.append(server)
        server.start()
        return looks

    def call(self) -> gevent.Greenlet:
        """Connects, and gets the name of who takes it, or that nobody did."""

        def who() -> str:
            with (
                gevent.Timeout(PATIENCE_SECONDS),
                gevent.socket.create_connection(self._listener.getsockname()) as connection,
            ):
                try:
                    return str(connection.recv(100), "ascii")
                except ConnectionResetError:
                    return "nobody"

        return gevent.spawn(who)

    def stop(self) -> None:
        for server in self._servers:
            server.stop()
        self._listener.close()


@pytest.fixture
def beside() -> Iterator[Beside]:
    servers = Beside()
    yield servers
    servers.stop()
    gevent.idle()


def test_a_full_worker_leaves_every_connection_to_an_idle_one_beside_it(beside: Beside) -> None:
    full_looks = beside.add("full", lambda: 0.2)
    beside.add("idle", lambda: 0.0)
    for _ in range(5):
        full_looks.clear()
        assert beside.call().get() == "idle"
        assert full_looks.wait(PATIENCE_SECONDS), "it never looked for connections again"


def test_what_nobody_else_takes_a_full_worker_takes(beside: Beside) -> None:
    beside.add("full", lambda: 0.01)
    assert [beside.call().get() for _ in range(3)] == ["full"] * 3


def test_a_worker_that_has_room_again_takes_who_waited_meanwhile(beside: Beside) -> None:
    beside.add("full", lambda: 0.01, spawn=1)
    callers = [beside.call() for _ in range(4)]
    assert [caller.get() for caller in callers] == ["full"] * 4


def test_a_server_that_is_closed_while_it_hesitates_takes_nobody(
    beside: Beside, capfd: pytest.CaptureFixture[str]
) -> None:
    hesitates = gevent.event.Event()
    beside.add("closed", lambda: hesitates.set() or 0.05)
    caller = beside.call()
    assert hesitates.wait(PATIENCE_SECONDS)
    beside.stop()
    assert caller.get() == "nobody"
    assert gevent.wait(timeout=PATIENCE_SECONDS), "it hesitates no more, and nothing else goes on"
    assert capfd.readouterr().err == "", "the event loop had an error to tell of"


# Sockets. gevent needs no patched process to be tried.


class Counted(GreenSocket):
    """Counts how often gevent's own `recv` is asked."""

    tries = 0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        inner = self._sock

        class Inner(type(inner)):  # type: ignore[misc]
            def recv(inner_self, *arguments: Any) -> bytes:
                self.tries += 1
                return super().recv(*arguments)  # type: ignore[no-any-return]

        self._sock = Inner(fileno=inner.detach())


@pytest.fixture
def pair() -> Iterator[tuple[Counted, GreenSocket]]:
    here, there = socket.socketpair()
    with Counted(fileno=here.detach()) as green, GreenSocket(fileno=there.detach()) as peer:
        yield green, peer
    gevent.idle()  # what is closed while somebody waits for it, is closed by the event loop


def waiting(green: GreenSocket) -> gevent.Greenlet:
    """One that waits for a byte."""
    reading = gevent.spawn(green.recv, 1)
    gevent.idle()
    return reading


def test_it_is_known_of_a_green_socket_whether_it_has_room() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        GreenSocket(fileno=ours.detach()) as green,
    ):
        assert SendBuffer(green).has_room()


def test_a_frame_is_read_once_and_not_tried_for_in_vain(pair: tuple[Counted, GreenSocket]) -> None:
    green, peer = pair
    reading = gevent.spawn(green.recv, 100)
    gevent.idle()
    assert green.tries == 0
    peer.sendall(b"frame")
    assert reading.get(timeout=PATIENCE_SECONDS) == b"frame"
    assert green.tries == 1


def test_whoever_says_nothing_for_too_long_is_waited_for_no_longer(
    pair: tuple[Counted, GreenSocket],
) -> None:
    green, peer = pair
    green.settimeout(PATIENCE_SECONDS)
    green.limit_silence(0.5)
    peer.sendall(b"a")
    assert green.recv(1) == b"a"
    waits_since = time.monotonic()
    with pytest.raises(TimeoutError):
        green.recv(1)
    assert 0.5 <= time.monotonic() - waits_since < 1.6, "a fifth longer, and what this machine needs"
    green.sendall(b"b")  # what has to be said still can be, such as a close frame
    assert peer.recv(1) == b"b"


@pytest.mark.parametrize("busy_seconds", [0.05, 0.09, 0.19, 0.29])
def test_nobody_is_silent_before_it_was_waited_for_so_long(
    pair: tuple[Counted, GreenSocket], busy_seconds: float
) -> None:
    green, peer = pair
    green.limit_silence(0.5)
    peer.sendall(b"a")
    assert green.recv(1) == b"a"
    gevent.sleep(busy_seconds)  # the reader waits for something else
    waits_since = time.monotonic()
    with pytest.raises(TimeoutError):
        green.recv(1)
    assert time.monotonic() - waits_since >= 0.5


def test_a_peer_that_goes_at_the_moment_in_which_it_has_been_silent_for_too_long_was_not_silent() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        GreenSocket(fileno=ours.detach()) as green,
    ):
        peer, _ = server.accept()
        green.limit_silence(60.0)
        reading = waiting(green)
        for _ in range(LOOKS):
            green._look()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        green._look()  # raises nothing
        with pytest.raises(ConnectionResetError):
            reading.get(timeout=PATIENCE_SECONDS)


def test_whoever_goes_on_speaking_is_waited_for(pair: tuple[Counted, GreenSocket]) -> None:
    green, peer = pair
    green.limit_silence(0.5)
    reading = gevent.spawn(lambda: [green.recv(1) for _ in range(6)])
    for _ in range(6):
        gevent.sleep(0.2)
        peer.sendall(b"a")
    assert reading.get(timeout=PATIENCE_SECONDS) == [b"a"] * 6


def test_a_peer_is_not_silent_while_nobody_waits_for_it(pair: tuple[Counted, GreenSocket]) -> None:
    """Who reads may have to wait for something else in between."""
    green, peer = pair
    green.limit_silence(0.1)
    peer.sendall(b"a")
    assert green.recv(1) == b"a"
    gevent.sleep(0.3)
    peer.sendall(b"b")
    assert green.recv(1) == b"b"


def test_a_timeout_of_its_own_is_kept(pair: tuple[Counted, GreenSocket]) -> None:
    green, _ = pair
    green.settimeout(0.05)
    with pytest.raises(TimeoutError):
        green.recv(1)
    green.setblocking(False)
    with pytest.raises(BlockingIOError):
        green.recv(1)


@pytest.mark.parametrize("end", [lambda green: green.close(), lambda green: os.close(green.detach())])
def test_who_waits_for_a_socket_that_is_closed_is_told(
    pair: tuple[Counted, GreenSocket], end: Callable[[GreenSocket], object]
) -> None:
    green, _ = pair

    def read() -> None:
        with pytest.raises(OSError, match=r"\[Errno 9\]"):
            green.recv(1)

    reading = gevent.spawn(read)
    gevent.idle()
    end(green)
    reading.get(timeout=PATIENCE_SECONDS)


def test_a_reader_that_has_other_things_to_do_is_not_watched_for(pair: tuple[Counted, GreenSocket]) -> None:
    green, peer = pair
    go_on = gevent.event.Event()

    def read() -> bytes:
        first = green.recv(1)
        go_on.wait()
        return first + green.recv(1) + green.recv(1)

    reading = gevent.spawn(read)
    peer.sendall(b"ab")
    gevent.idle()
    assert not green._readable.active, "the event loop would spin: there is something to read all the time"
    go_on.set()
    peer.sendall(b"c")
    assert reading.get(timeout=PATIENCE_SECONDS) == b"abc"
    assert not green._readable.active


def test_a_reader_that_is_killed_is_not_watched_for(pair: tuple[Counted, GreenSocket]) -> None:
    green, peer = pair
    reading = waiting(green)
    assert green._readable.active
    reading.kill()
    assert not green._readable.active
    peer.sendall(b"a")
    assert green.recv(1) == b"a"


def test_a_second_reader_does_not_take_the_place_of_the_first(pair: tuple[Counted, GreenSocket]) -> None:
    green, peer = pair
    reading = waiting(green)
    with pytest.raises(ConcurrentObjectUseError):
        green.recv(1)
    peer.sendall(b"a")
    assert reading.get(timeout=PATIENCE_SECONDS) == b"a"


def test_a_closed_socket_cannot_be_read(pair: tuple[Counted, GreenSocket]) -> None:
    green, _ = pair
    green.close()
    with pytest.raises(OSError, match=r"\[Errno 9\]"):
        green.recv(1)


def test_a_reader_that_is_woken_for_nothing_waits_on(
    pair: tuple[Counted, GreenSocket], capfd: pytest.CaptureFixture[str]
) -> None:
    green, peer = pair
    reading = waiting(green)
    gevent.get_hub().loop.run_callback(reading.switch)
    gevent.idle()
    peer.sendall(b"a")
    assert reading.get(timeout=PATIENCE_SECONDS) == b"a"
    assert capfd.readouterr().err == "", "the event loop had an error to tell of"


def test_a_reader_may_close_its_socket_and_another_may_follow_on_its_descriptor(
    pair: tuple[Counted, GreenSocket],
) -> None:
    green, peer = pair

    def read() -> None:
        green.recv(1)
        green.close()

    reading = gevent.spawn(read)
    peer.sendall(b"ab")
    reading.get(timeout=PATIENCE_SECONDS)
    here, there = socket.socketpair()  # gets the lowest descriptor that is free
    with here, GreenSocket(fileno=there.detach()) as following:
        here.sendall(b"c")
        assert following.recv(1) == b"c"


def test_a_socket_that_is_shut_down_ends_the_reading(pair: tuple[Counted, GreenSocket]) -> None:
    green, _ = pair
    reading = waiting(green)
    green.shutdown(socket.SHUT_RDWR)
    assert reading.get(timeout=PATIENCE_SECONDS) == b""
