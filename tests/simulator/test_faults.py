"""Every fault of the offline model, as a client meets it, and that what is healed is whole."""

import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from simulator.realtime import OfflineModel
from simulator.script import Script, ScriptedReply, silence, tone
from tests.simulator.test_session import Client, Hands, Line

BEARER = {"Authorization": "Bearer test"}
LATE_S = 0.15
NEVER_S = 0.1
"""How long is waited for what must not come."""


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def try_to_connect(model: OfflineModel, timeout: float = 5) -> None:
    with connect(f"{model.url}?model=m", additional_headers=BEARER, open_timeout=timeout):
        pass


def answers(client: Client) -> bool:
    """Whether the session behind a client is alive."""
    client.send("input_audio_buffer.clear")
    return client.until("input_audio_buffer.cleared") is not None


def ending(client: Client) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as closed:
        client.until("an event that never comes")
    return closed.value


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_upgrades_are_refused_until_clients_are_let_in_again(line: Line, status: int) -> None:
    before = line.open()
    line.model.faults.refuse(status)
    with pytest.raises(InvalidStatus) as refused:
        try_to_connect(line.model)
    assert refused.value.response.status_code == status
    assert answers(before)
    line.model.faults.let_in()
    assert answers(line.client())


def test_a_port_where_nobody_listens_is_the_same_when_somebody_does_again(line: Line) -> None:
    before = line.open()
    url = line.model.url
    for _ in range(3):
        line.model.faults.refuse()
        line.model.faults.refuse()
        with pytest.raises(ConnectionRefusedError):
            try_to_connect(line.model)
        assert answers(before)
        line.model.faults.let_in()
        line.model.faults.let_in()
        assert answers(line.client())
    assert line.model.url == url
    assert len(line.model.sessions) == 4


def test_who_finds_no_listener_may_find_a_refusal_next(line: Line) -> None:
    model = line.model_for(Script())
    model.faults.refuse()
    model.faults.refuse(503)
    with pytest.raises(InvalidStatus):
        try_to_connect(model)


def test_a_model_that_lets_nobody_in_can_be_closed() -> None:
    model = OfflineModel(**Script().equipment())
    model.start()
    port = int(model.url.split(":")[2].split("/")[0])
    client = Client(f"{model.url}?model=m")
    client.until("session.created")
    model.faults.refuse()
    model.close()
    closed = ending(client)
    client.close()
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1001
    with OfflineModel(port=port, **Script().equipment()) as again:
        try_to_connect(again)


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key"])
def test_whoever_is_turned_away_learns_the_code(line: Line, code: str) -> None:
    model = line.model_for(Script())
    model.faults.turn_away(code, "Sorry.", 4001)
    client = line.client()
    error = client.next()["error"]
    assert (error["code"], error["message"]) == (code, "Sorry.")
    closed = ending(client)
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (4001, f"invalid_request_error.{code}")
    assert model.sessions == ()
    model.faults.let_in()
    assert answers(line.client())


def test_a_slow_model_keeps_its_order(line: Line) -> None:
    model = line.model_for(Script(["Hello."]))
    model.faults.delay(created_s=LATE_S, updated_s=LATE_S)
    asked = time.monotonic()
    client = line.client()
    client.send("session.update", session={"type": "realtime"})
    client.send("response.create")
    client.until("session.created")
    assert time.monotonic() - asked >= LATE_S
    client.until("session.updated")
    assert time.monotonic() - asked >= 2 * LATE_S
    client.until("response.done")
    assert client.types()[:3] == ["session.created", "session.updated", "response.created"]


def test_a_delay_does_not_outlive_its_session(line: Line) -> None:
    model = line.model_for(Script())
    model.faults.delay(created_s=3600)
    client = line.client()
    session = model.await_session()
    client.socket.close()
    assert session.closed.wait(5)


def test_a_response_may_take_its_time_and_be_cancelled_meanwhile(line: Line) -> None:
    client = line.open("Hello.", "Hello again.")
    line.model.faults.delay(response_s=LATE_S)
    asked = time.monotonic()
    client.send("response.create")
    client.until("response.created")
    client.until("response.output_item.added")
    assert time.monotonic() - asked >= LATE_S
    client.until("response.done")
    line.model.faults.delay(response_s=3600)
    client.send("response.create")
    client.until("response.created")
    client.send("response.cancel")
    assert client.until("response.done")["response"]["status"] == "cancelled"


def test_a_stalled_session_says_nothing_until_it_goes_on(line: Line) -> None:
    stalled = line.open(ScriptedReply("a", audio=tone(400)))
    other = line.client()
    session = line.model.sessions[0]
    stalled.configure()
    session.stall()
    pong = stalled.socket.ping()
    stalled.send("response.create")
    session.send({"type": "rate_limits.updated", "rate_limits": []})
    with pytest.raises(TimeoutError):
        stalled.next(NEVER_S)
    assert not pong.is_set()
    with pytest.raises(TimeoutError):
        session.await_event("response.create", timeout=0)
    assert answers(other)
    session.resume()
    stalled.until("response.done")
    assert pong.wait(5)
    assert len(stalled.audio()) == 400 * 8


def test_pings_are_answered(line: Line) -> None:
    assert line.open().socket.ping().wait(5)


def test_a_stall_of_all_takes_in_who_comes_later(line: Line) -> None:
    client = line.open()
    line.model.faults.stall()
    with pytest.raises(TimeoutError):
        try_to_connect(line.model, NEVER_S)
    client.send("input_audio_buffer.clear")
    with pytest.raises(TimeoutError):
        client.next(NEVER_S)
    line.model.faults.resume()
    client.until("input_audio_buffer.cleared")
    assert answers(line.client())


def test_a_stalled_session_can_be_reset(line: Line) -> None:
    client = line.open()
    session = line.model.await_session()
    session.stall()
    session.send({"type": "rate_limits.updated", "rate_limits": []})
    client.send("input_audio_buffer.clear")
    session.drop()
    assert session.closed.wait(5)
    assert isinstance(ending(client).__cause__, ConnectionResetError)


def test_a_stalled_session_ends_with_its_model(line: Line) -> None:
    client = line.open()
    session = line.model.await_session()
    session.stall()
    session.send({"type": "rate_limits.updated", "rate_limits": []})
    began = time.monotonic()
    line.model.close()
    assert time.monotonic() - began < 5  # half the time that the library would wait
    closed = ending(client)
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1001


def test_a_client_that_leaves_a_stalled_session_is_noticed_when_it_goes_on(line: Line) -> None:
    client = line.open()
    session = line.model.await_session()
    session.stall()
    client.socket.socket.close()
    assert not session.closed.wait(NEVER_S)
    session.resume()
    assert session.closed.wait(5)
    assert session.close_code == 1006


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4999]
)
def test_a_session_is_closed_with_any_code(line: Line, code: int) -> None:
    client = line.open()
    line.model.await_session().close(code, "that is why")
    closed = ending(client)
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (code, "that is why")


def test_a_session_is_closed_without_a_code(line: Line) -> None:
    client = line.open()
    line.model.await_session().close(None)
    closed = ending(client)
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (1005, "")


def test_so_many_responses_fail_as_asked_for(line: Line) -> None:
    client = line.open("Third.")
    client.configure()
    line.model.faults.fail_responses(2, "rate_limit_exceeded", "Slow down.", kind="rate_limit_error")
    client.send("response.create")
    failed = client.until("response.done")["response"]
    assert (failed["status"], failed["output"]) == ("failed", [])
    error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Slow down."}
    assert failed["status_details"] == {"type": "failed", "error": error}
    client.hear(tone(300) + silence(500))
    assert client.until("response.done")["response"]["status"] == "failed"
    client.send("response.create")
    assert client.until("response.done")["response"]["status"] == "completed"


def test_sessions_can_be_made_short(line: Line) -> None:
    clock = Hands()
    client = line.open(clock=clock)
    line.model.session_seconds = 60
    before = time.time()
    short = line.client()
    expires_at = short.until("session.created")["session"]["expires_at"]
    assert int(before) <= expires_at - 60 <= time.time()
    assert short.configure()["expires_at"] == expires_at
    clock.now = 60.0
    assert short.refusal()["code"] == "session_expired"
    closed = ending(short)
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (
        1001,
        "Your session hit the maximum duration of 1 minutes.",
    )
    assert answers(client), "it was opened for longer"


def test_a_healed_model_is_as_good_as_new(line: Line) -> None:
    client = line.open("Yes.")
    faults = line.model.faults
    faults.delay(created_s=3600, updated_s=3600, response_s=3600)
    faults.fail_responses(100)
    faults.turn_away("insufficient_quota")
    faults.refuse()
    faults.stall()
    faults.heal()
    assert answers(client)
    again = line.client()
    again.configure()
    again.send("response.create")
    assert again.until("response.done")["response"]["status"] == "completed"


@pytest.mark.parametrize("garbage", ["<html>502 Bad Gateway</html>", "[]", '{"type":', b"\x00\xff"])
def test_garbage_arrives_as_it_is(line: Line, garbage: str | bytes) -> None:
    client = line.open()
    line.model.await_session().send_raw(garbage)
    assert client.socket.recv(5) == garbage
    assert answers(client)
