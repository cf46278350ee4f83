"""SendBuffer: that there is room when it says so, whatever the peer does, and that it rarely has to ask."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.send_buffer import ROOM_BYTES, SEND_BUFFER_BYTES, SendBuffer, limit
from tests.probe import wait_until


@contextlib.contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over the loopback, of which the second takes little before it is read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.create_connection(server.getsockname()) as ours:
            theirs, _ = server.accept()
            with theirs:
                limit(ours)
                ours.setblocking(False)
                theirs.setblocking(False)
                yield ours, theirs


def send(buffer: SendBuffer, size: int) -> int:
    """How much of it went out at once; 0: not all of it."""
    try:
        return buffer.send(b"x" * size)
    except BlockingIOError:
        return 0


def drain(theirs: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while theirs.recv(64 * 1024):
            pass


def test_there_is_room_until_the_peer_takes_nothing_and_again_when_it_does() -> None:
    with connection() as (ours, theirs):
        buffer = SendBuffer(ours)
        assert buffer.has_room()
        while send(buffer, 600) == 600:
            pass
        assert not buffer.has_room()

        def room_again() -> bool:
            drain(theirs)
            return buffer.has_room()

        wait_until(room_again, "there is room again")


@settings(max_examples=50)
@given(st.lists(st.one_of(st.integers(1, ROOM_BYTES), st.integers(1, 700), st.just("drain")), max_size=150))
@example([14848, 14848, 14848, ROOM_BYTES])  # a small window makes many small segments of them
def test_what_there_is_room_for_goes_out_at_once_and_whole(steps: list[int | str]) -> None:
    """On real sockets, with writes of all sizes and a peer that reads when it likes."""
    with connection() as (ours, theirs):
        buffer = SendBuffer(ours)
        for step in steps:
            if isinstance(step, str):
                drain(theirs)
            elif buffer.has_room():
                assert send(buffer, step) == step
            else:
                send(buffer, step)  # as the actor's own thread does, which can wait


class Counting(socket.socket):
    """Counts how often the kernel is asked."""

    asked = 0

    def getsockopt(self, *given: int) -> bytes:  # type: ignore[override]
        self.asked += 1
        return super().getsockopt(*given)  # type: ignore[return-value]


def test_the_kernel_is_asked_for_one_frame_in_ten() -> None:
    with connection() as (ours, theirs):
        counting = Counting(fileno=ours.detach())
        with counting:
            buffer = SendBuffer(counting)
            for _ in range(200):
                assert buffer.has_room()
                send(buffer, 400)
                drain(theirs)
            assert counting.asked <= 200 / 10


class Foreign(socket.socket):
    """A kernel that knows nothing of memory, or means something else by the number."""

    answer: bytes | None = None

    def getsockopt(self, *given: int) -> bytes:  # type: ignore[override]
        if self.answer is None:
            raise OSError("protocol not available")
        return self.answer


@pytest.mark.parametrize("answer", [None, b"\0\0\0\0"])
def test_there_is_never_known_to_be_room_where_the_kernel_does_not_tell(answer: bytes | None) -> None:
    with Foreign() as foreign:
        foreign.answer = answer
        assert not SendBuffer(foreign).has_room()


def test_a_socket_that_is_closed_has_no_room() -> None:
    with connection() as (ours, _):
        buffer = SendBuffer(ours)
        ours.close()
        assert not buffer.has_room()


def test_the_buffer_holds_what_its_room_is_for() -> None:
    with connection() as (ours, _):
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER_BYTES
