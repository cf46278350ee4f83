"""What the caller would have noticed, as numbers for the operator, held against the simulated phone's own."""

import http.client
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import RUN, START_SECONDS, ServerProcess
from tests.end_to_end.stage import PATIENCE, Stage, ask, finished, server_settings
from tests.end_to_end.test_survival import children
from tests.probe import wait_until
from tests.small_disk import fill, on_small_disk, skip_without_mounting

TOKEN = "metrics-token-of-this-test"


def metrics(server: ServerProcess, token: str = TOKEN) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def value(page: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert found is not None, f"{name} is not in:\n{page}"
    return float(found[1])


@pytest.mark.slow
def test_the_two_latencies_of_a_turn_are_those_that_the_caller_noticed(stage: Stage, tmp_path: Path) -> None:
    stage.script.answers = [ScriptedReply("a long answer", audio=tone(6000))]
    settings = server_settings(stage.model, tmp_path) | {"METRICS_TOKEN": TOKEN}
    with ServerProcess(settings, tmp_path) as server:
        running = Stage(server, stage.model, stage.script)
        with running.call(latency_ms=50) as (phone, _):
            ask(phone, tone(400))
            ask(phone, silence(1000) + tone(300))
            phone.await_silence(900, PATIENCE)
            phone.hang_up()
            result = finished(phone)
        # The worker tells the other one's visitors as well, a moment after the call has ended.
        ended = 'switchboard_calls_total{outcome="hung_up"} 1'
        wait_until(lambda: ended in metrics(server)[1], "the call is counted", PATIENCE)
        wait_until(
            lambda: value(metrics(server)[1], "switchboard_live_calls") == 0, "no call is there", PATIENCE
        )
        status, page = metrics(server)
        assert status == 200
        assert metrics(server, "somebody else's guess")[0] == 403
    first, second = result.turns()
    late_s = result.max_lateness_ms / 1000  # the phone itself, which the server cannot tell from the caller
    answers = [turn.response_ms for turn in (first, second) if turn.response_ms is not None]
    assert value(page, "switchboard_answer_seconds_count") == len(answers) == 2
    assert value(page, "switchboard_answer_seconds_sum") == pytest.approx(
        sum(answers) / 1000, abs=0.08 + late_s
    )
    assert second.silence_ms is not None
    assert value(page, "switchboard_interruption_silence_seconds_count") == 1
    assert value(page, "switchboard_interruption_silence_seconds_sum") == pytest.approx(
        second.silence_ms / 1000, abs=0.05 + late_s
    )
    assert value(page, 'switchboard_calls_total{outcome="hung_up"}') == 1


@pytest.mark.slow
def test_with_the_disk_of_the_metrics_full_calls_are_taken_by_the_workers_of_before_and_by_new_ones(
    stage: Stage, tmp_path: Path
) -> None:
    skip_without_mounting()
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = server_settings(stage.model, tmp_path) | {
        "WORKERS": "1",
        "TMPDIR": str(disk),
        "METRICS_TOKEN": TOKEN,
    }
    command = on_small_disk(disk, 1024, [sys.executable, str(RUN), "serve", "--watch-parent"])
    with ServerProcess(settings, tmp_path, command) as server:
        running = Stage(server, stage.model, stage.script)
        fill(Path(f"/proc/{server.pid}/root{disk}"))
        [old] = children(server)
        _one_call_is_counted(running)
        assert children(server) == [old]
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: children(server) not in ([old], []), "it has a successor", START_SECONDS)
        [new] = children(server)
        _one_call_is_counted(running)
        assert children(server) == [new]
        log = server.log.read_text()
    assert "No space left on device: what this worker counts stays in its memory" in log
    assert "SIGBUS" not in log


def _one_call_is_counted(running: Stage) -> None:
    with running.call() as (phone, _):
        ask(phone, tone(400))
        phone.hang_up()
        finished(phone)
    counted = 'switchboard_calls_total{outcome="hung_up"} 1'
    wait_until(lambda: counted in metrics(running.server)[1], "the call is counted", PATIENCE)
