"""ModelWriter: what goes out in which order and in how many writes, and a socket that takes no more."""

import pytest

from actors.model_writer import AT_ONCE, ModelWriter
from tests.probe import FakeModelSocket
from wire.client_events import append_audio, create_response


@pytest.fixture
def socket() -> FakeModelSocket:
    return FakeModelSocket()


@pytest.fixture
def writer(socket: FakeModelSocket) -> ModelWriter:
    return ModelWriter(socket, None)


def audio(socket: FakeModelSocket) -> list[str]:
    return [event.get("audio", event["type"]) for event in socket.sent()]


def test_audio_goes_out_at_once_where_no_more_waits(socket: FakeModelSocket, writer: ModelWriter) -> None:
    writer.append("AAAA", more=False)
    writer.append("BBBB", more=False)
    assert (audio(socket), socket.writes) == (["AAAA", "BBBB"], 2)


def test_what_waits_goes_out_together_but_not_all_of_a_long_queue(
    socket: FakeModelSocket, writer: ModelWriter
) -> None:
    for _ in range(AT_ONCE + 1):
        writer.append("AAAA", more=True)
    assert (len(audio(socket)), socket.writes) == (AT_ONCE, 1)
    writer.append("BBBB", more=False)
    assert (audio(socket), socket.writes) == (["AAAA", "BBBB"], 2)


def test_nothing_overtakes_audio(socket: FakeModelSocket, writer: ModelWriter) -> None:
    writer.append("AAAA", more=True)
    writer.send(create_response())
    assert (audio(socket), socket.writes) == (["AAAA", "response.create"], 1)


def test_nothing_to_say_is_no_write(socket: FakeModelSocket, writer: ModelWriter) -> None:
    writer.append("", more=False)
    writer.send()
    assert socket.writes == 0


def test_a_transcoder_may_keep_a_piece_for_later(socket: FakeModelSocket) -> None:
    class Halving:
        def __init__(self) -> None:
            self.kept = ""

        def transcode(self, payload: str) -> str:
            whole, self.kept = (self.kept + payload, "") if self.kept else ("", payload)
            return whole

    writer = ModelWriter(socket, Halving())  # type: ignore[arg-type]
    writer.append("AAAA", more=False)
    assert socket.writes == 0
    writer.append("BBBB", more=False)
    assert audio(socket) == ["AAAABBBB"]


@pytest.mark.parametrize("how", ["audio", "event", "ping"])
def test_a_socket_that_cannot_be_written_is_aborted_and_left_alone(
    socket: FakeModelSocket, writer: ModelWriter, how: str
) -> None:
    socket.break_writes()
    match how:
        case "audio":
            writer.append("AAAA", more=False)
        case "event":
            writer.send(append_audio("AAAA"))
        case "ping":
            writer.ping()
    assert socket.aborted
    writer.append("AAAA", more=False)
    writer.send(create_response())
    assert socket.writes == 0
