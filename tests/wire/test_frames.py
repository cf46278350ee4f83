"""Frames, beside two libraries: whoever reads, the messages are the same."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise

import pytest
import websocket
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from wire.frames import FrameReader, masked_text_frame, text_frame, unmasked

LIMIT = 70_000
KEY = b"\x01\xa2\x33\xf4"
TEXTS = ("", "x", "x" * 125, "x" * 126, "é" * 200, "x" * 65_535, "x" * 65_536)


def frame(first: int, payload: bytes, masked: bool) -> bytes:
    """Any frame, also such as there must not be."""
    mask, key = (0x80, KEY) if masked else (0, b"")
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, mask | size)
    elif size < 0x10000:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size)
    return head + key + (unmasked(payload, key) if masked else payload)


def read(pieces: Sequence[bytes], masked: bool) -> Iterator[str | bytes]:
    """What the reader gives, piece by piece."""
    reader = FrameReader(masked, LIMIT)
    for piece in pieces:
        reader.feed(piece)
        while (found := reader.take()) is not None:
            yield found


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(cuts) if end > begin]


class Library:
    """wsproto, and what it says of the bytes that it is given."""

    def __init__(self, masked: bool) -> None:
        self._connection = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
        self.said: list[tuple[str, object]] = []
        self._parts: list[str | bytes] = []

    def take(self, data: bytes) -> None:
        if self._connection.state is not ConnectionState.OPEN:
            return  # what comes behind the end, nobody reads
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                self._hear(event)
        except RemoteProtocolError as error:
            self.said.append(("error", type(error).__name__))

    def _hear(self, event: Event) -> None:
        match event:
            case TextMessage(data=data) | BytesMessage(data=data):
                self._parts.append(data if isinstance(data, str) else bytes(data))
                if event.message_finished:
                    whole = self._parts[0][:0].join(self._parts)  # type: ignore[arg-type]
                    self.said.append(("message", whole))
                    self._parts.clear()
            case Ping(payload=payload) | Pong(payload=payload):
                self.said.append((type(event).__name__, bytes(payload)))
            case CloseConnection(code=code, reason=reason):
                self.said.append(("close", (int(code), reason)))


def texts(draw: st.DrawFn) -> bytes:
    return draw(st.text(max_size=300)).encode()


@st.composite
def frames(draw: st.DrawFn, masked: bool) -> bytes:
    """One frame or a fragmented message, mostly as they should be."""
    kind = draw(st.sampled_from(("text",) * 5 + ("ping", "pong", "close", "binary", "fragments", "odd")))
    match kind:
        case "text":
            return frame(0x81, texts(draw), masked)
        case "ping" | "pong":
            return frame(0x89 if kind == "ping" else 0x8A, draw(st.binary(max_size=125)), masked)
        case "close":
            return frame(0x88, struct.pack("!H", 1000) + b"bye", masked)
        case "binary":
            return frame(0x82, draw(st.binary(max_size=200)), masked)
        case "fragments":
            between = frame(0x89, b"between", masked)
            return frame(0x01, texts(draw), masked) + between + frame(0x80, texts(draw), masked)
        case _:
            first = draw(st.integers(0, 255))
            return frame(first, draw(st.binary(max_size=150)), draw(st.booleans()))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bool, list[bytes]]:
    """Whether a client sends, and what, in pieces."""
    masked = draw(st.booleans())
    data = b"".join(draw(st.lists(frames(masked), max_size=8)))
    return masked, split(data, draw(st.lists(st.integers(min_value=0), max_size=8)))


@given(streams())
@example((True, [frame(0x81, b"\xff", True), frame(0x81, b"more", True)]))
@example((True, [frame(0x81, b"x" * 200, False)]))
@example((False, [frame(0xC1, b"reserved bit", False)]))
@example((False, [frame(0x89, b"x" * 126, False)]))
@example((True, [frame(0x81, "é".encode()[:1], True) + frame(0x81, b"a", True)]))
@example((True, [b"\x81\xff" + struct.pack("!Q", 10), KEY + bytes(10)]))
def test_together_with_wsproto_it_says_what_wsproto_says_alone(stream: tuple[bool, list[bytes]]) -> None:
    masked, pieces = stream
    alone, beside = Library(masked), Library(masked)
    for piece in pieces:
        alone.take(piece)
    for found in read(pieces, masked):
        if isinstance(found, bytes):
            beside.take(found)
        elif ("close", (1000, "bye")) not in beside.said:  # what comes behind the end, nobody reads
            beside.said.append(("message", found))
    assert _until_the_end(beside.said) == _until_the_end(alone.said)


def _until_the_end(said: list[tuple[str, object]]) -> list[tuple[str, object]]:
    for index, (what, _) in enumerate(said):
        if what in ("close", "error"):
            return said[: index + 1]
    return said


@pytest.mark.parametrize("masked", [True, False])
def test_a_stream_may_be_cut_at_every_byte(masked: bool) -> None:
    data = b"".join(
        (
            frame(0x81, b"one", masked),
            frame(0x89, b"ping", masked),
            frame(0x81, b"two" * 50, masked),
            frame(0x01, b"fragm", masked),
            frame(0x80, b"ent", masked),
        )
    )
    expected: list[str | bytes] = ["one", frame(0x89, b"ping", masked), "two" * 50]
    for cut in range(len(data) + 1):
        found = list(read(split(data, [cut]), masked))
        assert found[:3] == expected
        assert (
            b"".join(each for each in found[3:] if isinstance(each, bytes))
            == data[-len("fragment") - 4 - 8 * masked :]
        )
    assert list(read([data[at : at + 1] for at in range(len(data))], masked))[:3] == expected


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_is_read_by_a_library_and_by_ourselves(text: str) -> None:
    theirs, ours = Library(masked=False), Library(masked=True)
    theirs.take(text_frame(text))
    ours.take(masked_text_frame(text, KEY))
    assert theirs.said == ours.said == [("message", text)]
    assert list(read([text_frame(text)], masked=False)) == [text]
    assert list(read([masked_text_frame(text, KEY)], masked=True)) == [text]


@given(st.text(max_size=400), st.binary(min_size=4, max_size=4))
def test_what_websocket_client_would_write_is_written(text: str, key: bytes) -> None:
    library = websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT)
    library.get_mask_key = lambda size: key
    assert masked_text_frame(text, key) == library.format()


@given(st.lists(st.text(max_size=300), max_size=6), st.lists(st.integers(min_value=0), max_size=6))
def test_what_websocket_client_reads_is_read(messages: list[str], places: list[int]) -> None:
    data = b"".join(map(text_frame, messages))
    ends, client = socket.socketpair(), websocket.WebSocket()
    with closing(ends[0]), closing(ends[1]):
        client.sock = ends[1]
        ends[0].sendall(data)
        theirs = [client.recv() for _ in messages]
    assert list(read(split(data, places), masked=False)) == theirs


def test_more_is_asked_for_as_long_as_all_that_was_asked_for_comes() -> None:
    reader = FrameReader(masked=False, limit=LIMIT)
    small = reader.read_bytes
    assert small <= 512 - 33, "with what Python adds to bytes, it is no more than its allocator takes"
    reader.feed(bytes(small))
    large = reader.read_bytes
    assert large > small
    reader.feed(bytes(small))
    assert reader.read_bytes == large
    reader.feed(bytes(small - 1))
    assert reader.read_bytes == small


def test_a_frame_above_the_limit_is_left_before_it_is_here() -> None:
    head = b"\x81\xff" + (LIMIT + 1).to_bytes(8)
    reader = FrameReader(masked=True, limit=LIMIT)
    reader.feed(masked_text_frame("x", KEY) + head)
    assert reader.take() == "x"
    assert reader.take() == head
    assert reader.take() is None
    reader.feed(b"whatever comes")
    assert reader.take() == b"whatever comes"


def test_a_frame_at_the_limit_is_read() -> None:
    assert list(read([masked_text_frame("x" * LIMIT, KEY)], masked=True)) == ["x" * LIMIT]
