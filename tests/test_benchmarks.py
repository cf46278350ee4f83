"""The benchmarks run and say what they found. What they found is no matter of tests."""

import asyncio
import base64
import itertools
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as library_client
from websockets.sync.server import ServerConnection, serve

from benchmarks.interruption import Measurement, Times, failures, report
from benchmarks.journey import Journey, Passage
from benchmarks.load import Load, Totals
from benchmarks.model import Answer, LeanModel
from benchmarks.phone import caller_frame, identity_of
from benchmarks.plot import svg
from benchmarks.process_tree import use_of
from benchmarks.trial import carried_share
from simulator import lean_websocket
from simulator.lean_websocket import LeanWebsocket
from tests.simulator.load_server import OVERFLOW, Media, Server

ROOT = Path(__file__).parent.parent
SIZES = (0, 1, 125, 126, 65_535, 65_536, 200_000)


@pytest.mark.slow
def test_the_interruption_benchmark_runs_and_prints() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "interruption.py"), "--calls", "2", "--seconds", "2"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    inside, outside = (
        re.search(rf"^{name}.*: .*?(\d+)( +\d+\.\d\d){{4}}$", ran.stdout, re.MULTILINE)
        for name in ("in the server", "from outside")
    )
    assert inside is not None, ran.stdout
    assert outside is not None, ran.stdout
    assert int(inside[1]) == int(outside[1]) > 0
    assert "problem" not in ran.stdout


@pytest.mark.slow
def test_the_audio_benchmark_runs_and_compares() -> None:
    options = ["--calls", "2", "--seconds", "2", "--straightforward"]
    command = [sys.executable, str(ROOT / "benchmarks" / "audio.py"), *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^ +2  this ", ran.stdout, re.MULTILINE)
    assert re.search(r"straightforward needs so many times as much: CPU \d", ran.stdout)


def test_what_becomes_of_each_frame_is_counted() -> None:
    journey = Journey()
    for at in range(3):
        journey.came(journey.left(at), at + 0.5)  # before the beginning
    journey.begin()
    for at in range(10, 20):
        journey.left(at)
    for number, delay in ((3, 0.1), (5, 0.2), (4, 0.3), (5, 0.0), (6, 0.4)):
        journey.came(number, number + 7 + delay)
    journey.end()
    journey.came(journey.left(20), 21)
    passage = Passage.of([journey])
    assert (passage.sent, passage.lost, passage.reordered, passage.duplicates) == (10, 6, 1, 1)
    assert passage.carried == 4, "what comes when nothing is counted any more, is late"
    assert carried_share(passage) == 0.4
    assert [round(each, 1) for each in passage.delays] == [0.1, 0.2, 0.3, 0.4]
    assert not passage.whole
    assert passage.figures()["max_ms"] == pytest.approx(400)
    assert passage.figures()["mixed"] == 2


def test_what_nobody_sent_is_not_taken_for_four_billion_lost_frames() -> None:
    journey = Journey()
    journey.begin()
    journey.came(0xFFFFFFFF, 0.0)  # silence has no number
    journey.came(journey.left(1), 2)
    journey.end()
    passage = Passage.of([journey])
    assert (passage.sent, passage.lost, passage.strange, passage.mixed) == (1, 0, 1, 1)
    assert not passage.whole


def test_what_was_found_is_drawn() -> None:
    found = [
        {"server": name, "calls": calls, "needed_ms": 5.0, "in": {"p99_ms": 1.0}, "out": {"p99_ms": 90_000.0}}
        for name in ("this", "another")
        for calls in (50, 100)
    ]
    picture = ElementTree.fromstring(svg(found))
    assert len(picture.findall("{*}polyline")) == 4
    assert {"this", "another", "50", "100"} <= {text.text for text in picture.findall("{*}text")}


def test_a_process_and_its_children_are_accounted_for() -> None:
    burn = "import os; [sum(range(1000)) for _ in range(20_000)]; print(flush=True); input()"
    spawn = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", spawn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used = use_of(parent.pid)
        parent.communicate(b"\n")
    assert used.cpu_s > 0.05
    assert used.threads == 2
    assert used.memory_mib > 1
    assert (used - used).cpu_s == 0


def measurement(**changes: Any) -> Measurement:
    found: dict[str, Any] = {
        "inside": Times.of("in the server", [0.001, 0.002]),
        "outside": Times.of("from outside", [0.002, 0.003]),
        "missing": 0,
        "totals": Totals(),
    }
    return Measurement(**found | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missing": 1}, "1 interruptions got no clear"),
        ({"inside": Times.of("", []), "outside": Times.of("", [])}, "nobody interrupted"),
        ({"inside": Times.of("", [0.001])}, "2 interruptions were seen from outside and 1 in the server"),
        ({"totals": Totals(problems=["call 3: 31951: not JSON"])}, "1 problems"),
    ],
)
def test_a_run_that_shows_nothing_does_not_count(changes: dict[str, Any], said: str) -> None:
    assert failures(measurement()) == []
    measured = measurement(**changes)
    assert said in "".join(failures(measured))
    assert all(problem in "".join(report(measured)) for problem in measured.totals.problems)


def test_quantiles_are_times_that_were_measured() -> None:
    times = Times.of("", [each / 1000 for each in range(100, 0, -1)])
    assert [times.quantile(each) for each in (0.0001, 0.5, 0.9, 0.99, 1.0)] == [1, 50, 90, 99, 100]
    assert Times.of("", [0.007]).quantile(0.5) == 7


def test_a_frame_says_whose_it_is() -> None:
    frame = caller_frame(65_535, 123_456)
    assert len(frame) == 160
    assert identity_of(frame) == (65_535, 123_456)


def in_loop(act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await act()

    asyncio.run(run())


def test_a_lean_client_and_a_whole_server_understand_each_other() -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)
        closed.put(connection.close_code)

    closed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    texts = [("x" * size).encode() for size in SIZES]
    received: list[bytes] = []

    async def talk() -> None:
        ended = asyncio.Event()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/?a=b"
        client = await lean_websocket.connect(url, {"X": "y"}, received.append, lambda code: ended.set())
        for text in texts:
            client.send(text)
        while len(received) < len(texts):
            await asyncio.sleep(0.001)
        client.close(1001)
        client.send(b"too late")
        await ended.wait()

    with serve(echo, "127.0.0.1", 0, compression=None) as server:
        accepting = threading.Thread(target=server.serve_forever)
        accepting.start()
        in_loop(talk)
        server.shutdown()
        accepting.join()
    assert received == texts
    assert closed.get(timeout=5) == 1001


def test_a_whole_client_and_a_lean_server_understand_each_other() -> None:
    """The library's client masks with a random key, and asks for a pong."""
    codes: list[int] = []

    def client(port: int) -> list[str | bytes]:
        with library_client(f"ws://127.0.0.1:{port}/", compression=None, max_size=None) as connection:
            for size in SIZES:
                connection.send("ü" * size)
            echoed = [connection.recv(5) for _ in SIZES]
            assert connection.ping().wait(5)
        return echoed

    async def talk() -> None:
        def accept() -> LeanWebsocket:
            websocket = LeanWebsocket(lambda text: websocket.send(text), codes.append)
            return websocket

        server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(client, port) == ["ü" * size for size in SIZES]
        server.close()
        await server.wait_closed()

    in_loop(talk)
    assert codes == [1000]


def test_a_lean_server_closes_what_it_does_not_know() -> None:
    def client(port: int) -> int:
        with library_client(f"ws://127.0.0.1:{port}/", compression=None) as connection:
            connection.send(b"binary")
            with pytest.raises(ConnectionClosed) as ending:
                connection.recv(5)
        assert ending.value.rcvd is not None
        return ending.value.rcvd.code

    async def talk() -> None:
        codes: list[int] = []
        server = await asyncio.get_running_loop().create_server(
            lambda: LeanWebsocket(lambda text: None, codes.append), "127.0.0.1", 0
        )
        assert await asyncio.to_thread(client, server.sockets[0].getsockname()[1]) == 1003
        server.close()
        await server.wait_closed()
        assert codes == [1003]

    in_loop(talk)


def test_of_the_calls_that_are_offered_those_are_counted_that_are_not_taken() -> None:
    """One is taken, one gets the overflow answer, one has its stream sent on."""

    async def talk(media: Media) -> None:
        if len(server.media) > 1:
            return media.socket.close(1013)
        await media.until("media")
        to_model = await lean_websocket.connect(load.model_url, {}, lambda text: None, lambda code: None)
        audio = base64.b64encode(caller_frame(0, 0)).decode()
        to_model.send(orjson.dumps({"type": "input_audio_buffer.append", "audio": audio}))

    def answer(path: str) -> str:
        return OVERFLOW if len(server.asked) == 2 else server.connect()

    async def offer() -> None:
        nonlocal load
        async with Load() as load, server:
            server.twiml = answer
            assert await load.offer_calls(3, server.url, "secret", per_second=20) == (2, 0)
            assert [call.phone.number for call in load.calls] == [0]
            assert load.totals().problems == []

    server = Server(talk)
    load: Load
    in_loop(offer)


def test_a_call_that_breaks_while_it_is_offered_is_counted() -> None:
    async def talk(media: Media) -> None:
        media.socket.close(1011)

    async def offer() -> None:
        async with Load() as load, Server(talk) as server:
            assert await load.offer_calls(1, server.url, "secret", per_second=20) == (0, 1)
            assert load.totals().problems == ["call 0: the server ended it with code 1011"]

    in_loop(offer)


def test_an_upgrade_that_is_refused_is_a_connection_error() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match="403 Forbidden"):
            await lean_websocket.connect(f"ws://127.0.0.1:{port}/", {}, lambda text: None, lambda code: None)
        server.close()
        await server.wait_closed()

    in_loop(talk)


def test_the_lean_model_counts_the_frames_that_are_out_of_order() -> None:
    async def talk() -> None:
        joined: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        model = LeanModel(Answer(seconds=0.4), joined.set_result)
        await model.start()
        received: list[dict[str, Any]] = []
        client = await lean_websocket.connect(
            model.url, {}, lambda text: received.append(orjson.loads(text)), lambda code: None
        )
        for number in (5, 6, 8, 9):
            audio = base64.b64encode(caller_frame(3, number)).decode()
            client.send(orjson.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        client.send(orjson.dumps({"type": "session.delete"}))
        client.send(orjson.dumps({"type": "response.create"}))
        session = await joined
        while not received or received[-1]["type"] != "response.done":
            await asyncio.sleep(0.001)
        assert (session.call, session.frames_received, session.frames_missed) == (3, 4, 1)
        assert session.refusals == ["session.delete"]
        deltas = [event for event in received if event["type"] == "response.output_audio.delta"]
        assert sum(len(base64.b64decode(delta["delta"])) for delta in deltas) == 400 * 8
        await model.close()

    in_loop(talk)


def test_endless_answers_do_not_end_all_at_the_same_moment() -> None:
    answer = Answer(seconds=10, delta_ms=20, endless=True)
    begins = sorted(answer.over(session) for session in range(100))
    assert begins[0] == 0
    assert max(later - sooner for sooner, later in itertools.pairwise([*begins, answer.deltas])) <= 20

    async def talk() -> None:
        model = LeanModel(Answer(seconds=0.4, delta_ms=20, pace=4.0, endless=True), lambda session: None)
        await model.start()
        received: list[list[dict[str, Any]]] = [[], []]
        for events in received:
            client = await lean_websocket.connect(
                model.url,
                {},
                lambda text, events=events: events.append(orjson.loads(text)),
                lambda code: None,
            )
            client.send(orjson.dumps({"type": "response.create"}))
        while not all(sum(event["type"] == "response.done" for event in events) > 1 for events in received):
            await asyncio.sleep(0.001)
        pieces: list[list[int]] = [[], []]
        for events, counts in zip(received, pieces, strict=True):
            for event in events:
                match event["type"]:
                    case "response.created":
                        counts.append(0)
                    case "response.output_audio.delta":
                        counts[-1] += 1
        assert [counts[:2] for counts in pieces] == [[20, 20], [8, 20]]
        await model.close()

    in_loop(talk)
