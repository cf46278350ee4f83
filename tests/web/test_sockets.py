"""The media socket over a real connection, and the third-party seams that it stands on."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from wsgiref.types import WSGIApplication

import pytest
import websocket
from flask import Flask
from flask_sock import Sock
from simple_websocket import Server
from werkzeug.serving import make_server

from web.sockets import MAX_MESSAGE_BYTES, SERVER_OPTIONS, OwnedSocket, PhoneSocket, own_upgraded_sockets

PATIENCE = 5.0


class Route:
    """What one websocket route does, and how it ended."""

    def __init__(self) -> None:
        self.sockets: queue.Queue[PhoneSocket] = queue.Queue()
        self.messages: queue.Queue[str | bytes] = queue.Queue()
        self.ended: queue.Queue[str] = queue.Queue()
        self.receive: Callable[[str | bytes], None] = self.messages.put
        self.threads: set[str] = set()
        self.more: list[bool] = []
        """Of each message, whether the next had come already."""

    def __call__(self, server: Server) -> None:
        phone = PhoneSocket(server)
        self.sockets.put(phone)

        def receive(message: str | bytes, more: bool) -> None:
            self.threads.add(threading.current_thread().name)
            self.more.append(more)
            self.receive(message)

        try:
            self.ended.put(phone.read(receive))
        except ValueError as error:
            self.ended.put(f"raised {error}")
        phone.close(1000, "over")


@pytest.fixture
def route() -> Route:
    return Route()


@pytest.fixture
def url(route: Route) -> Iterator[str]:
    app = Flask("test")
    app.config["SOCK_SERVER_OPTIONS"] = SERVER_OPTIONS
    Sock(app).route("/")(route)
    application: WSGIApplication = own_upgraded_sockets(app.wsgi_app)  # type: ignore[assignment, arg-type]
    server = make_server("127.0.0.1", 0, application, threaded=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), name="werkzeug")
    serving.start()
    try:
        yield f"ws://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@contextmanager
def connected(url: str, *headers: str) -> Iterator[websocket.WebSocket]:
    client = websocket.WebSocket()
    try:
        client.connect(url, header=list(headers), timeout=PATIENCE)
        yield client
    finally:
        client.shutdown()


def test_messages_are_read_by_the_thread_that_serves_the_request(url: str, route: Route) -> None:
    """simple-websocket would start a thread of its own for each connection."""
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)
        names_before = {thread.name for thread in threading.enumerate()}
        for text in ("one", "two", "three"):
            client.send(text)
        assert [route.messages.get(timeout=PATIENCE) for _ in range(3)] == ["one", "two", "three"]
        assert route.threads <= names_before
        assert not any("simple_websocket" in name for name in names_before)
        phone.close(1000, "over")
    route.ended.get(timeout=PATIENCE)


def test_compression_is_not_agreed_upon(url: str, route: Route) -> None:
    with connected(url, "Sec-WebSocket-Extensions: permessage-deflate") as client:
        assert "sec-websocket-extensions" not in client.getheaders()
        client.send_close()
    assert route.ended.get(timeout=PATIENCE).startswith("socket closed with code 1000")


def test_the_peer_gets_our_close_frame_although_it_goes_on_talking(url: str, route: Route) -> None:
    """With every frame that comes, simple-websocket takes a closed socket for connected again."""
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)
        stop = threading.Event()

        def talk() -> None:
            try:
                while not stop.is_set():
                    client.send("x" * 400)
                    stop.wait(0.005)
            except (OSError, websocket.WebSocketException):
                pass  # cut off, as it should be

        talking = threading.Thread(target=talk, name="talking peer")
        talking.start()
        route.messages.get(timeout=PATIENCE)
        phone.close(1000, "call ended")
        route.ended.get(timeout=PATIENCE)
        closing = client.recv_frame()  # not recv_data, which would try to answer on the cut connection
        stop.set()
        talking.join()
    assert closing.opcode == websocket.ABNF.OPCODE_CLOSE
    assert (int.from_bytes(closing.data[:2], "big"), closing.data[2:]) == (1000, b"call ended")


def test_sending_after_the_end_is_a_connection_error(url: str, route: Route) -> None:
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)
        phone.send("hello")
        assert client.recv() == "hello"
        client.send_close()
        route.ended.get(timeout=PATIENCE)
        with pytest.raises(ConnectionError):
            phone.send("too late")


def test_a_message_that_is_too_large_ends_the_socket_with_that_reason(url: str, route: Route) -> None:
    with connected(url) as client:
        client.send("x" * (MAX_MESSAGE_BYTES + 1))
        assert route.ended.get(timeout=PATIENCE) == f"a message of more than {MAX_MESSAGE_BYTES} bytes came"


def test_what_the_receiver_raises_passes_through(url: str, route: Route) -> None:
    """It must not be swallowed by the library, nor become an HTTP page on the open websocket."""

    def refuse(message: str | bytes) -> None:
        raise ValueError("no such message")

    route.receive = refuse
    with connected(url) as client:
        client.send("anything")
        assert route.ended.get(timeout=PATIENCE) == "raised no such message"
        assert client.recv_frame().opcode == websocket.ABNF.OPCODE_CLOSE


def test_pongs_and_messages_do_not_mix(url: str, route: Route) -> None:
    """The library's reader answers pings while our actor writes: each frame must be whole."""
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)

        def write() -> None:
            for number in range(300):
                phone.send(f"{number} " + "x" * 2000)

        writing = threading.Thread(target=write, name="writing actor")
        writing.start()
        received, pongs, pings = 0, 0, 0
        while received < 300 or pongs < pings:
            if pings < 100:
                client.ping("y" * 100)
                pings += 1
            opcode, data = client.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_PONG:
                assert data == b"y" * 100
                pongs += 1
            else:
                assert data == f"{received} ".encode() + b"x" * 2000
                received += 1
        writing.join()
        client.send_close()
    route.ended.get(timeout=PATIENCE)


def test_silence_that_lasts_too_long_ends_the_socket(url: str, route: Route) -> None:
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)
        client.send("awake")
        route.messages.get(timeout=PATIENCE)
        phone.end_by(0)
        client.send("too late to be read on")
        assert route.ended.get(timeout=PATIENCE).startswith("socket closed")


def test_whole_messages_are_read_and_written_past_the_library(url: str, route: Route) -> None:
    """simple-websocket reads its socket with `recv`, and nothing else: what that keeps to itself never gets there."""
    with connected(url) as client:
        phone = route.sockets.get(timeout=PATIENCE)
        library = phone._websocket
        library.ws.receive_data = library.ws.send = lambda data: pytest.fail("the library had a part in it")
        client.send("x" * 300)
        assert route.messages.get(timeout=PATIENCE) == "x" * 300
        phone.send("one", "two")
        assert [client.recv(), client.recv()] == ["one", "two"]
        del library.ws.receive_data, library.ws.send
        client.send_close()
    assert route.ended.get(timeout=PATIENCE).startswith("socket closed with code 1000")


def test_it_is_known_whether_the_next_message_has_come_already_and_a_ping_is_none(
    url: str, route: Route
) -> None:
    """What has queued up is sent on in one write; see `PhoneReader`."""
    with connected(url) as client:
        abnf = websocket.ABNF
        client.sock.sendall(
            b"".join(abnf.create_frame(text, abnf.OPCODE_TEXT).format() for text in ("one", "two", "three"))
            + abnf.create_frame("", abnf.OPCODE_PING).format()
        )
        assert [route.messages.get(timeout=PATIENCE) for _ in range(3)] == ["one", "two", "three"]
        client.send("four")
        assert route.messages.get(timeout=PATIENCE) == "four"
        assert route.more == [True, True, False, False]
        client.send_close()
    assert route.ended.get(timeout=PATIENCE).startswith("socket closed with code 1000")


def test_a_phone_that_reads_nothing_has_no_room_before_a_send_would_wait_for_it(
    url: str, route: Route
) -> None:
    with connected(url):
        phone = route.sockets.get(timeout=PATIENCE)
        writes = 0
        while phone.has_room():
            phone.send("x" * 600)  # ends with a timeout if it has to wait
            writes += 1
        assert writes > 10


def test_fragments_binary_frames_and_what_is_no_text_are_left_to_the_library(url: str, route: Route) -> None:
    with connected(url) as client:
        abnf = websocket.ABNF
        client.send("first")
        client.send_frame(abnf.create_frame("fragm", abnf.OPCODE_TEXT, 0))
        client.ping("between")
        client.send_frame(abnf.create_frame("ented", abnf.OPCODE_CONT, 1))
        client.send_binary(b"binary")
        client.send("last")
        got = [route.messages.get(timeout=PATIENCE) for _ in range(4)]
        assert got == ["first", "fragmented", b"binary", "last"]
        assert client.recv_data(control_frame=True) == (abnf.OPCODE_PONG, b"between")
        client.send_frame(abnf(1, 0, 0, 0, abnf.OPCODE_TEXT, 1, b"\xff"))
        assert route.ended.get(timeout=PATIENCE).startswith("socket closed with code 1007")


def test_the_kernel_gives_a_silent_socket_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.sockets.SILENT_SECONDS", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as theirs,
        listener.accept()[0] as ours,
    ):
        owned = OwnedSocket(ours)
        assert ours.gettimeout() is None
        with pytest.raises(TimeoutError):
            owned.recv(1024)
        assert owned.ended_by.startswith("nothing came for")
        with pytest.raises(OSError):
            owned.send(b"x" * 10_000_000)
        assert theirs.recv(1) == b"x", "it was there, and did not read"
