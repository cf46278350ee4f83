"""ModelSocket against real servers on the loopback interface: well-behaved ones, broken ones, silent ones."""

import contextlib
import socket as sockets
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websocket import _handshake
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from actors.model_socket import CONNECT_TIMEOUT_SECONDS, ModelSocket, ModelSocketError
from tests.probe import PATIENCE_SECONDS, wait_until

Handler = Callable[[ServerConnection], None]
RawHandler = Callable[[sockets.socket], None]


@pytest.fixture
def start() -> Iterator[Callable[[Handler], str]]:
    """Starts a websocket server that treats each connection with the handler; returns its address."""
    with contextlib.ExitStack() as stack:

        def start(handler: Handler) -> str:
            def guarded(connection: ServerConnection) -> None:
                with contextlib.suppress(ConnectionClosed):
                    handler(connection)

            server: Server = serve(guarded, "127.0.0.1", 0, max_size=None, compression=None)
            thread = threading.Thread(target=server.serve_forever, name="websocket server", daemon=True)
            thread.start()
            stack.callback(thread.join, PATIENCE_SECONDS)
            stack.callback(server.shutdown)
            return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime?model=m"

        yield start


@pytest.fixture
def start_raw() -> Iterator[Callable[[RawHandler], int]]:
    """Starts a TCP server that gives each connection, one after the other, to the handler; returns its port."""
    with contextlib.ExitStack() as stack:

        def start(handler: RawHandler) -> int:
            listener = sockets.create_server(("127.0.0.1", 0))

            def run() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(PATIENCE_SECONDS)
                        handler(connection)

            thread = threading.Thread(target=run, name="raw server", daemon=True)
            thread.start()
            stack.callback(listener.close)
            stack.callback(thread.join, PATIENCE_SECONDS)
            stack.callback(listener.shutdown, sockets.SHUT_RDWR)
            return int(listener.getsockname()[1])

        yield start


@contextlib.contextmanager
def connected(address: str, headers: tuple[str, ...] = ()) -> Iterator[ModelSocket]:
    socket = ModelSocket(address, headers)
    try:
        socket.connect()
        yield socket
    finally:
        socket.close()
        socket.release()


def upgrade(connection: sockets.socket) -> None:
    """The server's side of the handshake, for tests that write frames by hand."""
    import base64
    import hashlib

    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = next(
        line.split(b": ")[1]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def read_until_closed(connection: sockets.socket) -> None:
    while connection.recv(4096):
        pass


# Connecting


def test_the_request_carries_the_path_the_query_and_the_headers(start: Callable[[Handler], str]) -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    def handler(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        seen.append((request.path, request.headers.get("Authorization"), request.headers.get("Origin")))
        connection.send("hello")

    with connected(start(handler), ("Authorization: Bearer sk-1",)) as socket:
        assert socket.receive() == "hello"
    assert seen == [("/v1/realtime?model=m", "Bearer sk-1", None)]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "refused with HTTP status 401"),
        ("HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nslow", "refused with HTTP status 429"),
        ("HTTP/1.1 503 Busy\r\n\r\n", "refused with HTTP status 503"),
        ("HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "cannot connect: Redirect limit"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused with HTTP status 200"),
        ("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n", "cannot connect: "),
        ("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "cannot connect: "),
        ("HTTP/1.1 many thanks\r\n\r\n", "cannot connect: "),
        ("\r\n\r\n", "refused with HTTP status|cannot connect: "),
        ("", "cannot connect: "),
    ],
)
def test_an_answer_that_is_no_upgrade_is_refused_with_its_status_or_its_reason(
    start_raw: Callable[[RawHandler], int], answer: str, complaint: str
) -> None:
    def handler(connection: sockets.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer.encode())

    socket = ModelSocket(f"ws://127.0.0.1:{start_raw(handler)}/", ())
    with pytest.raises(ModelSocketError, match=complaint):
        socket.connect()
    socket.release()


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (400, False),
        (401, True),
        (403, True),
        (404, True),
        (408, False),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_a_refusal_that_another_try_would_not_change_is_known_by_its_status(
    start_raw: Callable[[RawHandler], int], status: int, permanent: bool
) -> None:
    def handler(connection: sockets.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    socket = ModelSocket(f"ws://127.0.0.1:{start_raw(handler)}/", ())
    with pytest.raises(ModelSocketError, match=f"HTTP status {status}") as refused:
        socket.connect()
    assert refused.value.permanent is permanent
    socket.release()


def test_nobody_listening_is_said_so() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    socket = ModelSocket(f"ws://127.0.0.1:{port}/", ())
    with pytest.raises(ModelSocketError, match=r"cannot connect: .*refused") as refused:
        socket.connect()
    assert not refused.value.permanent
    socket.release()


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 70 + ".invalid", "a..invalid"])
def test_a_host_that_has_no_address_is_said_so(host: str) -> None:
    socket = ModelSocket(f"ws://{host}:80/", ())
    with pytest.raises(ModelSocketError, match="cannot connect"):
        socket.connect()
    socket.release()


def test_every_address_of_a_host_is_tried() -> None:
    """localhost may be ::1 first, where nobody listens."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = threading.Event()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")
            refused.set()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        socket = ModelSocket(f"ws://localhost:{port}/", ())
        with pytest.raises(ModelSocketError, match="418"):
            socket.connect()
        socket.release()
        thread.join(PATIENCE_SECONDS)
        assert refused.is_set()


def test_cookies_of_one_connection_are_not_sent_on_the_next(start_raw: Callable[[RawHandler], int]) -> None:
    requests: list[bytes] = []

    def handler(connection: sockets.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: lb=call-1; Domain=127.0.0.1; Path=/\r\n\r\n"
        )

    port = start_raw(handler)
    for _ in range(3):
        socket = ModelSocket(f"ws://127.0.0.1:{port}/", ())
        with pytest.raises(ModelSocketError):
            socket.connect()
        socket.release()
    assert len(requests) == 3
    assert not [request for request in requests if b"cookie" in request.lower()]


def test_a_cookie_that_one_connection_was_given_is_nowhere_for_another_to_send(
    start_raw: Callable[[RawHandler], int],
) -> None:
    """Forgetting it before the next connection is too late: calls connect at the same time."""

    def handler(connection: sockets.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 302 Found\r\nSet-Cookie: lb=call-1; Domain=127.0.0.1; Path=/\r\n\r\n")

    socket = ModelSocket(f"ws://127.0.0.1:{start_raw(handler)}/", ())
    with pytest.raises(ModelSocketError):
        socket.connect()
    socket.release()
    assert _handshake.CookieJar.get("127.0.0.1") == ""


# Aborting


@contextlib.contextmanager
def ends_in_a_thread(work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Runs the work in a thread, lets the body end it, and checks that it ended; yields what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except ModelSocketError as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    yield raised
    thread.join(5.0)
    assert not thread.is_alive(), "it is still blocked"
    assert len(raised) == 1


def test_aborting_wakes_a_connect_whose_upgrade_is_not_answered(
    start_raw: Callable[[RawHandler], int],
) -> None:
    asked = threading.Event()

    def handler(connection: sockets.socket) -> None:
        connection.recv(4096)
        asked.set()
        read_until_closed(connection)

    socket = ModelSocket(f"ws://127.0.0.1:{start_raw(handler)}/", ())
    with ends_in_a_thread(socket.connect):
        assert asked.wait(PATIENCE_SECONDS)
        socket.abort()
    socket.release()


def test_aborting_wakes_a_connect_that_the_network_does_not_answer() -> None:
    """A listener whose backlog is full drops the SYN: what a firewall that drops packets looks like."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(sockets.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(sockets.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        socket = ModelSocket(f"ws://127.0.0.1:{listener.getsockname()[1]}/", ())
        with ends_in_a_thread(socket.connect) as raised:
            wait_until(lambda: syn_sent(listener.getsockname()[1], socket), "it is connecting")
            socket.abort()
        assert "cannot connect" in str(raised[0])
        socket.release()


def syn_sent(port: int, socket: ModelSocket) -> bool:
    """Whether the kernel is trying to connect this socket; 2 is TCP_SYN_SENT."""
    connection = socket._socket
    if connection is None:
        return False
    with contextlib.suppress(OSError):
        return connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 1) == b"\x02"
    return False


def test_aborting_before_connecting_refuses_to_connect(start: Callable[[Handler], str]) -> None:
    socket = ModelSocket(start(lambda connection: None), ())
    socket.abort()
    with pytest.raises(ModelSocketError, match="aborted"):
        socket.connect()
    socket.release()


def test_aborting_wakes_a_blocked_receive(start: Callable[[Handler], str]) -> None:
    def handler(connection: ServerConnection) -> None:
        connection.send("hello")
        connection.recv()

    with connected(start(handler)) as socket:
        assert socket.receive() == "hello"
        with ends_in_a_thread(socket.receive) as raised:
            socket.abort()
        assert "model socket lost" in str(raised[0])


def test_aborting_wakes_a_blocked_send(start_raw: Callable[[RawHandler], int]) -> None:
    done = threading.Event()

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        done.wait(PATIENCE_SECONDS)

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        sent = [0]

        def send_for_ever() -> None:
            while True:
                socket.send("x" * 100_000)
                sent[0] += 1

        with ends_in_a_thread(send_for_ever) as raised:
            pause = threading.Event()
            before = -1
            while before != sent[0]:  # until the kernel takes no more
                before = sent[0]
                pause.wait(0.1)
            socket.abort()
        assert "cannot be written" in str(raised[0])
        done.set()


def test_closing_twice_and_releasing_twice_does_no_harm(start: Callable[[Handler], str]) -> None:
    with connected(start(lambda connection: None)) as socket:
        socket.close()
        socket.close()
        socket.release()
    socket.abort()


def test_closing_says_goodbye_with_code_1000(start: Callable[[Handler], str]) -> None:
    codes: list[int | None] = []
    gone = threading.Event()

    def handler(connection: ServerConnection) -> None:
        try:
            connection.recv()
        except ConnectionClosed as closed:
            codes.append(closed.rcvd.code if closed.rcvd else None)
        gone.set()

    with connected(start(handler)):
        pass
    assert gone.wait(PATIENCE_SECONDS)
    assert codes == [1000]


# Receiving


@pytest.mark.parametrize(
    ("code", "reason", "permanent"),
    [
        (1000, "", False),
        (1001, "Your session hit the maximum duration", False),
        (1011, "keepalive ping timeout", False),
        (1013, "try again later", False),
        (3000, "invalid_request_error.invalid_api_key", True),
        (4000, "invalid_request_error.beta_api_shape_disabled", True),
    ],
)
def test_the_close_code_and_its_reason_are_in_the_reason(
    start: Callable[[Handler], str], code: int, reason: str, permanent: bool
) -> None:
    """protocol-gotchas 1: another session would be closed with 3000 and 4000 in the same way."""
    with connected(start(lambda connection: connection.close(code, reason))) as socket:
        with pytest.raises(ModelSocketError) as lost:
            socket.receive()
        assert str(lost.value) == f"model socket closed with code {code} {reason}".rstrip()
        assert lost.value.permanent is permanent


def test_the_close_code_is_known_even_if_our_answer_to_it_cannot_be_sent(
    start_raw: Callable[[RawHandler], int],
) -> None:
    """A server that closes while the caller's audio still comes in resets the connection behind its close frame."""
    reset = threading.Event()

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        connection.recv(1)  # of a longer frame: what stays unread makes the close a reset
        connection.sendall(b"\x88\x11" + struct.pack("!H", 3000) + b"invalid_api_key")
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        reset.set()

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        socket.send("audio")
        assert reset.wait(PATIENCE_SECONDS)
        with pytest.raises(ModelSocketError, match="closed with code 3000 invalid_api_key"):
            socket.receive()


def test_a_connection_that_ends_without_a_close_frame_is_lost(start_raw: Callable[[RawHandler], int]) -> None:
    with (
        connected(f"ws://127.0.0.1:{start_raw(upgrade)}/") as socket,
        pytest.raises(ModelSocketError, match="model socket lost") as lost,
    ):
        socket.receive()
    assert not lost.value.permanent


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (b"\x88\x00", "closed without a code"),
        (b"\x88\x01x", "lost|closed without a code"),
        (b"\x88\x04\x0f\xa0\xff\xfe", "closed with code 4000|lost"),
        (b"\x82\x02hi", "binary frame of 2 bytes"),
        (b"\x81\x02\xff\xfe", "not UTF-8"),
        (b"\xf1\x02hi", "lost"),
        (b"\x83\x02hi", "lost"),
        (b"\x80\x02hi", "lost"),
        (b"\x89\x7e\x00\x80" + b"x" * 128, "lost"),
        (b"\x81\x7f" + b"\xff" * 8, "lost"),
        (b"\x81\x05hal", "lost"),
    ],
)
def test_a_frame_that_the_protocol_does_not_allow_ends_the_socket_with_a_reason(
    start_raw: Callable[[RawHandler], int], frame: bytes, complaint: str
) -> None:
    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        connection.sendall(frame)
        connection.shutdown(sockets.SHUT_WR)
        read_until_closed(connection)

    with (
        connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket,
        pytest.raises(ModelSocketError, match=complaint),
    ):
        socket.receive()


def test_a_ping_is_answered_by_whoever_is_receiving(start: Callable[[Handler], str]) -> None:
    def handler(connection: ServerConnection) -> None:
        answered = connection.ping(b"alive?").wait(PATIENCE_SECONDS)
        connection.send("answered" if answered else "not answered")

    with connected(start(handler)) as socket:
        assert socket.receive() == "answered"


def test_our_ping_is_answered_by_a_server_that_lives(start: Callable[[Handler], str]) -> None:
    """protocol-gotchas 22"""

    def handler(connection: ServerConnection) -> None:
        connection.send(f"I got {connection.recv()!r}")
        connection.recv()

    with connected(start(handler)) as socket:
        socket.ping()
        assert socket.receive() is None
        socket.ping()
        socket.send("a message")
        assert socket.receive() is None
        assert socket.receive() == "I got 'a message'"


def test_a_ping_of_the_servers_is_no_pong(start: Callable[[Handler], str]) -> None:
    def handler(connection: ServerConnection) -> None:
        for _ in range(3):
            connection.ping().wait(PATIENCE_SECONDS)
        connection.pong(b"nobody asked")
        connection.send("a message")

    with connected(start(handler)) as socket:
        assert socket.receive() is None
        assert socket.receive() == "a message"


def test_a_ping_to_a_server_that_hangs_is_sent_and_not_answered(
    start_raw: Callable[[RawHandler], int],
) -> None:
    pinged = threading.Event()

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        first, length = connection.recv(2)
        assert (first, length) == (0x89, 0x80)
        pinged.set()
        read_until_closed(connection)

    with (
        connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket,
        ends_in_a_thread(socket.receive) as ends,
    ):
        socket.ping()
        assert pinged.wait(PATIENCE_SECONDS)
        assert not ends
        socket.abort()


def test_a_ping_over_a_connection_that_has_ended_is_an_error(start_raw: Callable[[RawHandler], int]) -> None:
    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        read_until_closed(connection)

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        socket.abort()
        with pytest.raises(ModelSocketError, match="cannot be written") as lost:
            socket.ping()
    assert not lost.value.permanent


def test_fragments_are_put_together_also_around_a_pong(start_raw: Callable[[RawHandler], int]) -> None:
    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        connection.sendall(b"\x01\x02he" + b"\x8a\x00" + b"\x80\x03llo")
        read_until_closed(connection)

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        assert socket.receive() is None
        assert socket.receive() == "hello"


def test_fragments_are_put_together_also_around_a_ping(start_raw: Callable[[RawHandler], int]) -> None:
    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        grüß = "grüß".encode()
        connection.sendall(
            b"\x01" + bytes([3]) + grüß[:3] + b"\x89\x00" + b"\x00\x00" + b"\x80" + bytes([3]) + grüß[3:]
        )
        connection.sendall(b"\x81\x04next")
        read_until_closed(connection)

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        assert socket.receive() == "grüß"
        assert socket.receive() == "next"


def test_a_frame_of_a_mebibyte_arrives_whole_both_ways(start: Callable[[Handler], str]) -> None:
    big = "ä" * (1 << 19)

    def handler(connection: ServerConnection) -> None:
        connection.send(connection.recv())
        connection.send(big)

    with connected(start(handler)) as socket:
        socket.send(big)
        assert socket.receive() == big
        assert socket.receive() == big


def test_whole_messages_are_read_and_written_past_the_library(
    start: Callable[[Handler], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """websocket-client keeps to the socket that it was given: what is read before it asks never gets there."""

    def handler(connection: ServerConnection) -> None:
        connection.send(connection.recv())
        connection.send(connection.recv())
        connection.send(b"binary")
        connection.recv()

    with connected(start(handler)) as socket:
        for library in ("recv_data", "send", "send_frame"):
            monkeypatch.setattr(
                socket._websocket, library, lambda *given: pytest.fail("the library had a part")
            )
        socket.send("one", "two" * 100)
        assert [socket.receive(), socket.receive()] == ["one", "two" * 100]
        monkeypatch.undo()
        with pytest.raises(ModelSocketError, match="binary frame of 6 bytes"):
            socket.receive()


def test_a_server_that_reads_nothing_has_no_room_before_a_send_would_wait_for_it(
    start_raw: Callable[[RawHandler], int],
) -> None:
    done = threading.Event()

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        done.wait(PATIENCE_SECONDS)

    socket = ModelSocket(f"ws://127.0.0.1:{start_raw(handler)}/", ())
    assert not socket.has_room()
    with contextlib.closing(socket):
        socket.connect()
        socket._connection.settimeout(0)  # type: ignore[union-attr]  # to wait is an error from here on
        writes = 0
        while socket.has_room():
            socket.send("x" * 600)
            writes += 1
        assert writes > 10
        done.set()
    socket.release()


def test_it_is_known_whether_the_next_message_has_come_already_and_a_pong_is_none(
    start_raw: Callable[[RawHandler], int],
) -> None:
    """What has come together goes out in one write, and waits for nothing that may never come; see `ModelReader`."""
    go_on = threading.Event()

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        connection.sendall(b"\x81\x03one" + b"\x81\x03two" + b"\x81\x05th")
        assert go_on.wait(PATIENCE_SECONDS)
        connection.sendall(b"ree" + b"\x81\x00" + b"\x8a\x00")
        read_until_closed(connection)

    with connected(f"ws://127.0.0.1:{start_raw(handler)}/") as socket:
        assert (socket.receive(), socket.more_came) == ("one", True)
        assert (socket.receive(), socket.more_came) == ("two", False)
        go_on.set()
        assert (socket.receive(), socket.more_came) == ("three", True)
        assert (socket.receive(), socket.more_came) == ("", False)
        assert (socket.receive(), socket.more_came) == (None, False)


def test_reading_and_writing_at_once_mixes_nothing_up(start: Callable[[Handler], str]) -> None:
    count = 300

    def handler(connection: ServerConnection) -> None:
        for number in range(count):
            connection.send(f"{number} " + "s" * (number * 7 % 900))
        for number in range(count):
            assert connection.recv() == f"{number} " + "c" * (number * 11 % 900)
        connection.send("all came")

    with connected(start(handler)) as socket:

        def write() -> None:
            for number in range(count):
                socket.send(f"{number} " + "c" * (number * 11 % 900))

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for number in range(count):
            assert socket.receive() == f"{number} " + "s" * (number * 7 % 900)
        assert socket.receive() == "all came"
        writer.join(PATIENCE_SECONDS)


def test_a_model_may_be_silent_for_longer_than_it_may_take_to_connect(
    start: Callable[[Handler], str],
) -> None:
    """The library has one timeout for everything; once connected, only the kernel's own may end a wait."""
    with connected(start(lambda connection: None)) as socket:
        assert socket._socket is not None
        assert socket._socket.gettimeout() is None


def test_connecting_gives_up_sooner_than_twilio_would() -> None:
    """Twilio itself gives up on a webhook after 15 s; a call must not wait longer for its model."""
    assert CONNECT_TIMEOUT_SECONDS < 15


# TLS


def over_tls(certificate: Path, handler: RawHandler) -> RawHandler:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def handle(connection: sockets.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            handler(tls)

    return handle


def test_a_self_signed_certificate_is_refused_clearly(
    start_raw: Callable[[RawHandler], int], certificate: Path
) -> None:
    socket = ModelSocket(f"wss://127.0.0.1:{start_raw(over_tls(certificate, upgrade))}/", ())
    with pytest.raises(ModelSocketError, match=r"cannot connect: .*certificate verify failed: self.signed"):
        socket.connect()
    socket.release()


def test_a_server_without_tls_is_refused_clearly(start_raw: Callable[[RawHandler], int]) -> None:
    def handler(connection: sockets.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    socket = ModelSocket(f"wss://127.0.0.1:{start_raw(handler)}/", ())
    with pytest.raises(ModelSocketError, match="cannot connect: "):
        socket.connect()
    socket.release()


def test_over_tls_messages_pass_both_ways_and_aborting_wakes_a_blocked_receive(
    start_raw: Callable[[RawHandler], int], trusted: Path
) -> None:
    received: list[bytes] = []

    def handler(connection: sockets.socket) -> None:
        upgrade(connection)
        connection.sendall(b"\x81\x05hello")
        received.append(connection.recv(4096))
        connection.sendall(b"\x81\x03bye")
        read_until_closed(connection)

    with connected(f"wss://127.0.0.1:{start_raw(over_tls(trusted, handler))}/") as socket:
        assert socket.receive() == "hello"
        assert socket.has_room()
        socket.send("caller")
        assert socket.receive() == "bye"
        with ends_in_a_thread(socket.receive):
            socket.abort()
    assert len(received[0]) == 2 + 4 + len("caller")  # header, mask, text
