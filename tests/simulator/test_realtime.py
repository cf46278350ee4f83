"""The server itself: who is let in, how it starts and ends, what it does beside a slow client, the command."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from simulator.realtime import OfflineModel, serve_until_told
from simulator.script import Script, ScriptedReply, silence, tone
from simulator.server_process import RUN
from tests.simulator.test_session import Client

BEARER = {"Authorization": "Bearer test"}


@pytest.fixture
def model() -> Iterator[OfflineModel]:
    with OfflineModel(**Script([ScriptedReply(audio=tone(30_000))]).equipment()) as model:
        yield model


@pytest.mark.parametrize(
    ("query", "headers", "code", "close_code", "reason"),
    [
        ("?model=m", {}, "invalid_api_key", 3000, "invalid_request_error.invalid_api_key"),
        (
            "?model=m",
            {"Authorization": "Bearer "},
            "invalid_api_key",
            3000,
            "invalid_request_error.invalid_api_key",
        ),
        (
            "?model=m",
            {"Authorization": "Bearer sk-invalid"},
            "invalid_api_key",
            3000,
            "invalid_request_error.invalid_api_key",
        ),
        (
            "?model=m",
            BEARER | {"OpenAI-Beta": "realtime=v1"},
            "beta_api_shape_disabled",
            4000,
            "invalid_request_error.beta_api_shape_disabled",
        ),
        (
            "",
            BEARER,
            "missing_required_parameter",
            4000,
            "invalid_request_error.missing_required_parameter",
        ),
        ("?model=m&call_id=c", BEARER, "invalid_value", 4000, "invalid_request_error.invalid_value"),
    ],
)
def test_whoever_is_not_admitted_gets_an_error_and_a_close(
    model: OfflineModel, query: str, headers: dict[str, str], code: str, close_code: int, reason: str
) -> None:
    with connect(model.url + query, additional_headers=headers) as websocket:
        assert orjson.loads(websocket.recv(5))["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as ending:
            websocket.recv(5)
    assert ending.value.rcvd is not None
    assert (ending.value.rcvd.code, ending.value.rcvd.reason) == (close_code, reason)
    assert model.sessions == ()


def test_another_path_is_not_found(model: OfflineModel) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(model.url.replace("/v1/", "/v2/") + "?model=m", additional_headers=BEARER),
    ):
        pass
    assert refused.value.response.status_code == 404


def test_closing_ends_every_session_and_frees_the_port() -> None:
    model = OfflineModel(**Script().equipment())
    model.start()
    clients = [Client(f"{model.url}?model=m") for _ in range(3)]
    for client in clients:
        client.until("session.created")
    session = model.await_session(3)
    port = int(model.url.split(":")[2].split("/")[0])
    model.close()
    model.close()
    assert session.closed.is_set()
    assert session.close_code == 1001
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("model-")]
    with OfflineModel(port=port, **Script().equipment()) as again:
        assert str(port) in again.url
    for client in clients:
        client.close()


def test_a_taken_port_is_named_in_the_error(model: OfflineModel) -> None:
    port = int(model.url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        OfflineModel(port=port, **Script().equipment()).start()
    before = signal.getsignal(signal.SIGTERM)
    told: list[str] = []
    with pytest.raises(OSError, match=f"the offline model cannot listen on 127.0.0.1:{port}"):
        serve_until_told("127.0.0.1", port, False, told.append)
    assert told == []
    assert signal.getsignal(signal.SIGTERM) is before


class Returning:
    """A client that connects again whenever its session ends, until nobody lets it in any more."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connected = threading.Event()
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._come_back, name="returns")
        self._thread.start()

    def _come_back(self) -> None:
        while not self.stopped.is_set():
            try:
                with connect(f"{self._url}?model=m", additional_headers=BEARER) as websocket:
                    self.connected.set()
                    while not self.stopped.is_set():
                        with contextlib.suppress(TimeoutError):
                            websocket.recv(0.1)
            except WebSocketException:
                continue
            except OSError:
                return

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join()


def test_closing_ends_though_clients_keep_coming_back() -> None:
    model = OfflineModel(**Script().equipment())
    model.start()
    clients = [Returning(model.url) for _ in range(4)]
    assert all(client.connected.wait(5) for client in clients)
    closing = threading.Thread(target=model.close)
    closing.start()
    closing.join(5)
    ended = not closing.is_alive()
    for client in clients:
        client.stop()
    closing.join()
    assert ended
    assert [session.close_code for session in model.sessions] == [1001] * 4, "nobody was let in again"


def test_a_missing_session_is_reported(model: OfflineModel) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 sessions"):
        model.await_session(timeout=0.01)


def test_a_client_that_does_not_read_blocks_neither_its_own_events_nor_the_end() -> None:
    with (
        OfflineModel(**Script().equipment()) as model,
        connect(f"{model.url}?model=m", additional_headers=BEARER, max_queue=1) as websocket,
    ):
        session = model.await_session()
        for _ in range(5000):
            session.send({"type": "rate_limits.updated", "rate_limits": [], "padding": "x" * 4000})
        # Somewhere on the way the buffers between the two, some MB, are full.
        for number in range(1, 501):
            websocket.send('{"type":"conversation.item.delete","item_id":"nowhere"}')
            session.await_event("conversation.item.delete", count=number)
        model.close()
        assert session.closed.is_set()
        assert session.close_code == 1006, "the close frame found no room"


def test_the_observer_sees_every_event_but_the_callers_audio() -> None:
    seen: list[tuple[str, str]] = []
    done = threading.Event()

    def observe(session_id: str, event_type: str, event: Mapping[str, Any]) -> None:
        seen.append((session_id, event_type))
        if event_type == "response.done":
            done.set()

    script = Script(["Hello."])
    with OfflineModel(pace=1000, observer=observe, **script.equipment()) as model:
        client = Client(f"{model.url}?model=m")
        client.until("session.created")
        client.configure()
        client.hear(silence(100))
        client.send("response.create")
        client.until("response.done")
        assert done.wait(5)
        session_id = model.await_session().id
        client.close()
    assert {each for each, _ in seen} == {session_id}
    kinds = [kind for _, kind in seen]
    assert kinds[0] == "session.created"
    assert {"session.update", "session.updated", "response.create"} < set(kinds)
    assert "input_audio_buffer.append" not in kinds


def test_without_remember_nothing_is_kept() -> None:
    with OfflineModel(remember=False, **Script().equipment()) as model:
        client = Client(f"{model.url}?model=m")
        client.configure()
        client.hear(silence(100))
        session = model.await_session()
        client.close()
        assert session.closed.wait(5)
        assert (session.audio, session.received) == (b"", [])
    assert model.sessions == ()


def test_twenty_sessions_at_once_are_all_answered() -> None:
    script = Script(["Yes."] * 20, ["hello"] * 20)
    with OfflineModel(pace=1000, **script.equipment()) as model:
        clients = [Client(f"{model.url}?model=m") for _ in range(20)]
        for client in clients:
            client.configure()
        for client in clients:
            client.hear(tone(300) + silence(500))
        for client in clients:
            assert client.until("response.done")["response"]["status"] == "completed"
        for client in clients:
            client.close()


def start_command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(RUN), "model", "--port", "0", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of stdin"])
def test_the_command_says_one_line_and_ends_cleanly(how: str) -> None:
    with start_command("--watch-parent") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("offline model ready at ws://127.0.0.1:")
        assert "hears with " in line
        if how == "end of stdin":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, how))
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == ""
