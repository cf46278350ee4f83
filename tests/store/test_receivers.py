"""Sending to real servers: on one connection as long as there is one, and to none that hangs before the others."""

import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from store.receivers import RESTS, Receivers, origin_of
from tests.probe import PATIENCE_SECONDS
from tests.store.receiver import Receiver, receiving


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    receivers = Receivers(PATIENCE_SECONDS)
    yield receivers
    receivers.close()


def post(receivers: Receivers, receiver: Receiver, body: bytes = b"{}") -> int:
    return receivers.post(receiver.url, body, {"X-Kind": "test"})


def test_events_share_a_connection(receivers: Receivers, receiver: Receiver) -> None:
    receiver.statuses.put(503)
    receiver.statuses.put(204)
    assert [post(receivers, receiver) for _ in range(5)] == [503, 204, 200, 200, 200]
    assert len(receiver.connections) == 1
    receivers.close()
    receiver.expect_end()


def test_events_share_a_handshake_and_a_context_that_is_made_when_one_is_needed(
    receivers: Receivers, receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def create_default_context() -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        made[-1].load_verify_locations(certificate.with_suffix(".crt"))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    post(receivers, receiver)
    assert made == []
    with receiving(certificate=certificate) as one, receiving(certificate=certificate) as another:
        for _ in range(3):
            assert (post(receivers, one), post(receivers, another)) == (200, 200)
        assert (len(one.connections), len(another.connections), len(made)) == (1, 1, 1)
        one.hang_up()
        assert post(receivers, one) == 200
        assert (len(one.connections), len(made)) == (2, 1)


def test_a_certificate_that_this_machine_does_not_trust_is_refused(
    receivers: Receivers, certificate: Path
) -> None:
    with receiving(certificate=certificate) as receiver:
        with pytest.raises(ssl.SSLCertVerificationError):
            post(receivers, receiver)
        assert receiver.received.empty()


def test_a_connection_that_was_closed_while_it_was_idle_is_made_again(
    receivers: Receivers, receiver: Receiver
) -> None:
    post(receivers, receiver)
    receiver.hang_up()
    assert post(receivers, receiver) == 200
    assert (len(receiver.connections), receiver.received.qsize()) == (2, 2)
    assert not receivers.slow()


def test_what_a_kept_connection_swallowed_without_a_word_is_sent_once_more(
    receivers: Receivers, receiver: Receiver
) -> None:
    post(receivers, receiver, b"1")
    receiver.answers.put(b"")
    assert post(receivers, receiver, b"2") == 200
    assert [receiver.expect()[1] for _ in range(3)] == [b"1", b"2", b"2"]
    for _ in range(2):
        receiver.answers.put(b"")
    with pytest.raises(ConnectionError):
        post(receivers, receiver, b"3")
    assert receiver.received.qsize() == 2


def test_an_answer_that_breaks_off_is_not_asked_for_again_at_once(
    receivers: Receivers, receiver: Receiver
) -> None:
    post(receivers, receiver)
    receiver.answers.put(b"HTTP/1.1 2")
    with pytest.raises(HTTPException):
        post(receivers, receiver)
    assert receiver.received.qsize() == 2


@pytest.mark.parametrize("header", [b"Connection: close\r\n\r\n", b"Content-Length: 9\r\n\r\nshort"])
def test_a_connection_that_cannot_be_used_again_is_closed_and_the_event_taken(
    receivers: Receivers, receiver: Receiver, header: bytes
) -> None:
    receiver.answers.put(b"HTTP/1.1 200 OK\r\n" + header)
    assert [post(receivers, receiver) for _ in range(2)] == [200, 200]
    assert (len(receiver.connections), receiver.received.qsize()) == (2, 2)


@pytest.mark.parametrize(("size", "connections"), [(1000, 1), (1 << 20, 2)])
def test_an_answer_is_read_off_if_there_is_little_of_it(
    receivers: Receivers, receiver: Receiver, size: int, connections: int
) -> None:
    receiver.body = b"x" * size
    assert [post(receivers, receiver) for _ in range(2)] == [200, 200]
    assert len(receiver.connections) == connections


def test_a_connection_is_not_kept_for_ever(receiver: Receiver) -> None:
    receivers = Receivers(PATIENCE_SECONDS)
    post(receivers, receiver)
    receivers.close_idle()
    post(receivers, receiver)
    assert len(receiver.connections) == 1
    receivers._idle_seconds = 0.0
    receivers.close_idle()
    receiver.expect_end()


def test_who_does_not_answer_is_passed_over_and_then_comes_last_until_he_does(receiver: Receiver) -> None:
    receivers = Receivers(1.0)
    receiver.hangs.set()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        post(receivers, receiver)
    waited = time.monotonic() - began
    origin = origin_of(receiver.url)
    assert receivers.slow() == {origin} == receivers.passed_over().keys()
    assert 0 < receivers.passed_over()[origin] <= RESTS * waited
    receiver.hangs.clear()
    assert post(receivers, receiver) == 200
    assert (receivers.slow(), receivers.passed_over()) == (set(), {})
    receivers.close()


def test_who_answers_slowly_comes_last_and_is_not_passed_over(
    receivers: Receivers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.receivers.SLOW_SECONDS", 0.0)
    assert post(receivers, receiver) == 200
    assert (receivers.slow(), receivers.passed_over()) == ({origin_of(receiver.url)}, {})


def test_who_refuses_at_once_holds_nobody_up(receivers: Receivers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
    with pytest.raises(ConnectionRefusedError):
        receivers.post(url, b"{}", {})
    assert receivers.slow() == {url[:-1]}
    assert receivers.passed_over().get(url[:-1], 0.0) < 1


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/x?y", "https://a.example"),
        ("HTTPS://A.example:8443?y", "HTTPS://A.example:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_origin_is_what_its_urls_begin_with(url: str, origin: str) -> None:
    assert origin_of(url) == origin
