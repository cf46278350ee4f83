"""What the phone can do to a server, and how its call goes on when a server does the same to it."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from simulator.phone import Phone
from simulator.phone_events import Dialed, MarkEchoed, Spoke, StreamClosed
from simulator.webhook import WebhookError
from tests.simulator.test_phone import LOUD, SOON, Media, PhoneMaker, Server, codes, connect, of

NEVER = 0.1
"""How long is waited for what must not come."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.documents["/twiml"] = server.stream(connect="action='/after'")
    yield server
    server.close()


@pytest.fixture
def make_phone(server: Server) -> Iterator[PhoneMaker]:
    phones: list[Phone] = []

    def make(**options: Any) -> Phone:
        phones.append(Phone(options.pop("url", server.url + "/twiml"), **options))
        return phones[-1]

    yield make
    for phone in phones:
        phone.close()


def drain(media: Media) -> None:
    while not media.received.empty():
        media.received.get()


def test_a_phone_that_does_not_read_still_sends(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.stop_reading()
    pong = media.socket.ping()
    drain(media)
    for _ in range(5):
        media.expect("media")
    assert not pong.is_set()
    phone.resume_reading()
    assert pong.wait(SOON)


def test_a_small_buffer_is_full_sooner(server: Server, make_phone: PhoneMaker) -> None:
    def accepted(media: Media) -> int:
        """Bytes that the server can write to a phone that does not read."""
        connection = media.socket.socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        sent = 0
        while select.select([], [connection], [], NEVER)[1]:
            sent += connection.send(b"\0" * 1000)
        return sent

    taken = []
    for options in ({"receive_buffer": 4096}, {}):
        phone = make_phone(**options)
        media = connect(server, phone)
        phone.stop_reading()
        taken.append(accepted(media))
        phone.drop()
        phone.hang_up()
    assert taken[0] * 2 < taken[1]


def test_a_phone_that_vanishes_leaves_the_server_alone(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.vanish()
    pong = media.socket.ping()
    media.mark("unread")
    phone.send_raw("unsaid")
    phone.send_bytes(b"unsaid")
    phone.press("1")
    drain(media)
    assert not media.closed.wait(NEVER)
    assert media.received.qsize() <= 1, "one frame may have been on its way"
    assert not pong.is_set()
    phone.resume_reading()
    assert not pong.wait(NEVER)
    phone.hang_up()
    result = phone.await_end(SOON)
    assert media.closed.wait(SOON)
    assert media.socket.close_code == 1006
    assert all(event["event"] != "stop" for _, event in media.received.queue)
    assert of(MarkEchoed, result.events) == []
    assert server.request("/after").form["CallStatus"] == "completed"


def test_a_connection_that_vanished_is_noticed_when_it_is_dropped(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/after"] = "<Response><Dial>+15550100009</Dial></Response>"
    phone = make_phone()
    media = connect(server, phone)
    phone.vanish()
    media.play(LOUD * 800)
    phone.drop()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31903]
    assert result.reason == "dial"
    assert result.audible == ()
    assert server.request("/after").form["CallStatus"] == "in-progress"


def test_a_phone_that_vanished_does_not_notice_that_the_server_has_gone_too(
    server: Server, make_phone: PhoneMaker
) -> None:
    """Its reader waits for a frame when it vanishes, and then the server breaks the connection off without one."""
    closed = threading.Event()
    phone = make_phone(on_event=lambda event: closed.set() if isinstance(event, StreamClosed) else None)
    media = connect(server, phone)
    phone.vanish()
    media.socket.socket.shutdown(socket.SHUT_RDWR)
    assert media.closed.wait(SOON)
    assert not closed.wait(NEVER)
    phone.drop()
    assert closed.wait(SOON)
    assert codes(phone.await_end(SOON).errors) == [31903]


def test_bytes_beneath_the_websocket_leave_as_they_are(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.send_bytes(b"\xff" * 20)
    result = phone.await_end(SOON)
    assert media.closed.wait(SOON)
    assert [event.code for event in of(StreamClosed, result.events)] == [1002]
    assert server.request("/after").form["CallStatus"] == "in-progress"


def fin(media: Media) -> None:
    """As the kernel ends a killed process's connection of which all was read."""
    media.socket.socket.shutdown(socket.SHUT_RDWR)


def rst(media: Media) -> None:
    """As the kernel ends a killed process's connection of which something was not."""
    media.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    media.socket.close_socket()


def going_away(media: Media) -> None:
    media.socket.close(1012, "restarting")


def done(media: Media) -> None:
    media.socket.close(1000)


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [(fin, 1006, [31903]), (rst, 1006, [31903]), (going_away, 1012, [31921]), (done, 1000, [])],
)
def test_however_a_stream_ends_the_action_opens_the_next(
    server: Server,
    make_phone: PhoneMaker,
    end: Callable[[Media], None],
    code: int,
    error: list[int],
) -> None:
    """Again and again: the action's own stream has an action."""
    server.documents["/after"] = server.stream(connect="action='/after'")
    phone = make_phone()
    media = connect(server, phone)
    for number in (2, 3, 4):
        end(media)
        asked = server.request("/after")
        assert (asked.form["CallStatus"], asked.form["CallSid"]) == ("in-progress", phone.call_sid)
        media = server.connection()
        phone.await_stream(SOON, number)
        assert media.expect("start")["start"]["callSid"] == phone.call_sid
        media.play(LOUD * 400)
        phone.await_assistant(SOON)
    phone.hang_up()
    result = phone.await_end(SOON)
    assert codes(result.errors) == error * 3
    assert [event.code for event in of(StreamClosed, result.events)] == [code] * 3 + [1000]
    assert len({stream.stream_sid for stream in result.streams}) == 4
    assert result.reason == "caller"


DOOMED = """
from websockets.sync.server import serve
with serve(lambda connection: connection.recv() and connection.recv() and input(), "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


def test_a_call_survives_the_kill_of_the_process_that_had_its_stream(
    server: Server, make_phone: PhoneMaker
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DOOMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as doomed:
        assert doomed.stdout is not None
        port = doomed.stdout.readline().strip()
        server.documents["/twiml"] = str(server.documents["/twiml"]).replace(
            server.ws, f"ws://127.0.0.1:{port}"
        )
        server.documents["/after"] = server.stream()
        phone = make_phone()
        phone.dial()
        phone.await_stream(SOON)
        os.kill(doomed.pid, signal.SIGKILL)
        media = server.connection()
        assert media.expect("start")["start"]["callSid"] == phone.call_sid
        phone.hang_up()
        result = phone.await_end(SOON)
    assert codes(result.errors) == [31903]
    assert len(result.streams) == 2


def test_the_time_between_two_streams_is_silent_but_for_what_twilio_says(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/after"] = server.stream().replace(
        "<Response>", "<Response><Pause length='0.4'/><Say>one moment</Say>"
    )
    phone = make_phone()
    media = connect(server, phone)
    media.play(LOUD * 400)
    phone.await_assistant(SOON)
    phone.await_silence(20, SOON)
    fin(media)
    media = server.connection()
    phone.await_stream(SOON, 2)
    media.expect("start")
    media.play(LOUD * 400)
    phone.await_assistant(SOON)
    phone.hang_up()
    result = phone.await_end(SOON)
    (said,) = of(Spoke, result.events)
    before, after = result.audible
    assert [(round(began / 8000, 2), ended > began) for began, ended in result.said] == [
        (round(said.at, 2), True)
    ]
    ((said_from, said_to),) = result.said
    assert said_to - said_from >= len("one moment") * 60 * 8
    silence = max(said_from - before[1], after[0] - said_to) / 8
    assert silence >= 400
    assert result.longest_silence_ms(before[0] / 8000, after[0] / 8000) == silence
    assert result.longest_dead_air_ms(before[0] / 8000, after[0] / 8000) == silence


def test_a_webhook_that_fails_leads_to_the_fallback(server: Server, make_phone: PhoneMaker) -> None:
    server.statuses["/twiml"] = 503
    server.documents["/fallback"] = server.stream(connect="action='/after'")
    server.statuses["/after"] = 500
    phone = make_phone(fallback_url=server.url + "/fallback", auth_token="12345")
    connect(server, phone)
    asked = server.request("/fallback")
    assert asked.signature is not None
    assert (asked.form["ErrorCode"], asked.form["ErrorUrl"]) == ("11200", server.url + "/twiml")
    assert asked.form["CallStatus"] == "ringing"
    server.documents["/fallback"] = "<Response><Dial>+15550100009</Dial></Response>"
    phone.drop()
    result = phone.await_end(SOON)
    assert server.request("/fallback").form["ErrorUrl"] == server.url + "/after"
    assert codes(result.errors) == [11200, 31903, 11200]
    assert len(of(Dialed, result.events)) == 1


def test_a_fallback_that_fails_as_well_is_the_end(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone(url="http://127.0.0.1:1/twiml", fallback_url="http://127.0.0.1:1/fallback")
    with pytest.raises(WebhookError, match="/fallback failed"):
        phone.dial()
    server.statuses["/after"] = server.statuses["/fallback"] = 502
    phone = make_phone(fallback_url=server.url + "/fallback")
    connect(server, phone)
    phone.drop()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31903, 11200, 11200]
    assert result.reason == "error"


def test_a_server_learns_of_a_vanished_phone_by_what_it_cannot_write(
    server: Server, make_phone: PhoneMaker
) -> None:
    """For the kernel the connection is alive, so a write blocks rather than fails: that is what is to be noticed."""
    phone = make_phone(receive_buffer=4096)
    media = connect(server, phone)
    media.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    phone.vanish()
    flooding = threading.Thread(target=flood, args=(media,))
    flooding.start()
    flooding.join(NEVER)
    assert flooding.is_alive()
    phone.hang_up()
    phone.await_end(SOON)
    flooding.join(SOON)
    assert not flooding.is_alive()


def flood(media: Media) -> None:
    try:
        while True:
            media.play(LOUD * 8000)
    except ConnectionClosed:
        return
