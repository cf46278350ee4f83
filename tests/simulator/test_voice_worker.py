import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from simulator.voice_frames import Frame, FrameReader, Kind, encode
from simulator.voice_worker import PIECES_AHEAD, Worker

LONG = "word " * 300


class Program:
    """The other end of a worker that runs in a thread, speaks with the prompts and hears nothing."""

    def __init__(self) -> None:
        self.connection, self._worker_end = socket.socketpair()
        self.connection.settimeout(5)
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.thread = threading.Thread(target=Worker(self._worker_end, os.getppid()).run, name="voice worker")
        self.thread.start()

    def send(self, kind: int, request: int, payload: bytes = b"") -> None:
        self.connection.sendall(encode(Frame(kind, request, payload)))

    def speak(self, request: int, text: str) -> None:
        self.send(Kind.SPEAK, request, json.dumps({"text": text, "voice": "marin", "speed": 1}).encode())

    def receive(self) -> Frame:
        while not self._frames:
            self._frames = self._reader.feed(self.connection.recv(65536))
        return self._frames.pop(0)

    def close(self) -> None:
        self.connection.close()
        self.thread.join()
        self._worker_end.close()


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    configuration = {"phrases": ["hello"], "recognizers": [], "synthesizers": ["prompts"]}
    program.send(Kind.CONFIGURE, 1, json.dumps(configuration).encode())
    ready = program.receive()
    assert ready.kind == Kind.READY
    assert json.loads(ready.payload)["synthesis"] == "prompts"
    yield program
    program.close()


def test_speech_stops_two_seconds_ahead_of_the_listener(program: Program) -> None:
    program.speak(2, LONG)
    assert {program.receive().kind for _ in range(PIECES_AHEAD)} == {Kind.SPEECH}
    # The answer to another request shows that the worker went on and made no more pieces.
    program.send(Kind.FINISH, 3)
    assert program.receive() == Frame(Kind.HEARD, 3)
    program.send(Kind.MORE, 2, (2).to_bytes(2, "big"))
    assert [program.receive().kind for _ in range(2)] == [Kind.SPEECH] * 2
    program.send(Kind.FINISH, 4)
    assert program.receive() == Frame(Kind.HEARD, 4)


def test_two_texts_are_spoken_in_turns(program: Program) -> None:
    program.connection.sendall(
        b"".join(
            encode(Frame(Kind.SPEAK, request, json.dumps({"text": LONG, "voice": "", "speed": 1}).encode()))
            for request in (2, 3)
        )
    )
    speakers = [program.receive().request for _ in range(2 * PIECES_AHEAD)]
    assert speakers[:6] in ([2, 3] * 3, [3, 2] * 3)


def test_a_dropped_text_is_not_spoken_on(program: Program) -> None:
    program.speak(2, LONG)
    program.send(Kind.DROP, 2)
    program.send(Kind.MORE, 2, (9).to_bytes(2, "big"))
    program.send(Kind.FINISH, 3)
    frames = [program.receive()]
    while frames[-1].kind != Kind.HEARD:
        frames.append(program.receive())
    program.speak(4, "Hi.")
    assert program.receive().request == 4


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(Kind.SPEAK, b"{"), (Kind.SPEAK, b"{}"), (Kind.CONFIGURE, b"[]"), (99, b"")],
)
def test_a_bad_request_fails_and_the_next_one_works(program: Program, kind: int, payload: bytes) -> None:
    program.send(kind, 7, payload)
    assert program.receive()[:2] == (Kind.FAILED, 7)
    program.speak(8, "?")
    assert program.receive() == Frame(Kind.SPOKEN, 8)


def test_a_synthesis_that_fails_ends_its_own_request_only(program: Program) -> None:
    program.send(Kind.SPEAK, 7, json.dumps({"text": 5, "voice": "marin", "speed": 1}).encode())
    assert program.receive()[:2] == (Kind.FAILED, 7)
    program.speak(8, "?")
    assert program.receive() == Frame(Kind.SPOKEN, 8)


def test_a_worker_without_configuration_cannot_speak() -> None:
    program = Program()
    program.speak(1, "Hello.")
    failed = program.receive()
    program.close()
    assert failed.kind == Kind.FAILED
    assert b"before it was configured" in failed.payload


def test_a_worker_ends_with_its_socket(program: Program) -> None:
    program.connection.shutdown(socket.SHUT_RDWR)
    program.thread.join(5)
    assert not program.thread.is_alive()


def test_a_worker_with_another_parent_ends_though_the_socket_is_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker = threading.Thread(target=Worker(theirs, os.getppid() + 1).run, name="orphan")
        worker.start()
        worker.join(5)
        assert not worker.is_alive()
