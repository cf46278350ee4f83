"""/metrics, in one process and over the workers of a real gunicorn."""

import http.client
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from actors.meter import Meter, NoMeter, Outcome
from tests.conftest import ExpectedLogs
from tests.small_disk import on_small_disk, skip_without_mounting
from web.metrics import SHARED_FILE_BYTES, SHARED_FILES, Metrics, MetricsDirectory
from wire.latency import InterruptionLatency, TurnLatency

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0

APP = """
import os
from flask import Flask
from actors.meter import Outcome
from web.metrics import Metrics
from wire.latency import TurnLatency

app = Flask("counted", static_folder=None)
metrics = Metrics()

@app.post("/call")
def call():
    metrics.call_started()
    metrics.answered(TurnLatency(vad_ms=500.0, model_ms=250.0, us_ms=1.0, twilio_ms=49.0))
    metrics.interrupted()
    metrics.lateness(25.0, True)
    return str(os.getpid())

@app.post("/end")
def end():
    metrics.call_ended(Outcome.HUNG_UP)
    return str(os.getpid())

app.add_url_rule("/metrics", view_func=metrics.page)
"""

CONFIG = """
from web.metrics import MetricsDirectory

directory = MetricsDirectory()
mark_dead = directory.gunicorn_settings()["child_exit"]
raw_env = directory.gunicorn_settings()["raw_env"]
print("directory", directory.path, flush=True)

def when_ready(server):
    print("port", server.LISTENERS[0].sock.getsockname()[1], flush=True)

def child_exit(server, worker):
    mark_dead(server, worker)
    print("gone", worker.pid, flush=True)
"""


class Gunicorn:
    """Two workers with the app above; tells what its hooks print."""

    def __init__(self, folder: Path, **environ: str) -> None:
        (folder / "counted.py").write_text(APP)
        (folder / "counted.conf.py").write_text(CONFIG)
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "gunicorn", "--config", "counted.conf.py", "--bind", "127.0.0.1:0",
                "--workers", "2", "--threads", "2", "--no-control-socket", "counted:app",
            ],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="gunicorn reader", daemon=True)
        self._reader.start()
        self._said: list[str] = []

    def await_start(self) -> None:
        self.directory = Path(self.told("directory"))
        self._port = int(self.told("port"))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def told(self, word: str) -> str:
        """What stands behind this word on the next line that begins with it."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE).strip()
            except queue.Empty:
                raise AssertionError("\n".join([f"gunicorn never told its {word}:", *self._said])) from None
            self._said.append(line)
            found, _, rest = line.partition(" ")
            if found == word:
                return rest

    def ask(self, method: str, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode()
        finally:
            connection.close()

    def until_both_workers_took(self, path: str) -> Counter[int]:
        """Post until both workers had one; returns how many each had, by its pid."""
        deadline = time.monotonic() + PATIENCE
        taken: Counter[int] = Counter()
        while len(taken) < 2:
            assert time.monotonic() < deadline, f"one worker took all {taken.total()} requests"
            taken[int(self.ask("POST", path))] += 1
        return taken

    def metrics(self) -> dict[str, float]:
        return samples(self.ask("GET", "/metrics"))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE)
            assert self._process.stdout is not None
            self._process.stdout.close()


@contextmanager
def gunicorn(folder: Path, **environ: str) -> Iterator[Gunicorn]:
    server = Gunicorn(folder, **environ)
    try:
        server.await_start()
        yield server
    finally:
        server.stop()


IN_A_WORKER = """
import logging, os, sys
from pathlib import Path
from flask import Flask
from actors.meter import Outcome
from tests.small_disk import fill
from web.metrics import Metrics
from wire.latency import InterruptionLatency, TurnLatency

folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
logging.basicConfig(format="%(message)s", stream=sys.stdout)

def report_everything(metrics):
    metrics.call_started()
    metrics.answered(TurnLatency(500.0, 250.0, 1.0, 49.0))
    metrics.interrupted()
    metrics.silenced(InterruptionLatency(180.0, 2.0, 58.0))
    for status in ("completed", "cancelled", "failed", "incomplete", "exploded"):
        metrics.response_done(status)
    for speaker in ("caller", "assistant"):
        metrics.audio_dropped(speaker, 40.0)
    for outcome in Outcome:
        metrics.call_ended(outcome)
    metrics.lateness(25.0, True)

def page(metrics):
    with Flask("page").test_request_context():
        print(metrics.page().get_data(as_text=True))
"""


def samples(text: str) -> dict[str, float]:
    """The samples of a page, each under its name and the values of its labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page(metrics: Metrics, accept: str = "") -> str:
    with Flask("page").test_request_context(headers={"Accept": accept}):
        answer = metrics.page()
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def in_another_process(script: str, *, kib: int | None = None, **environ: str) -> str:
    """With `kib`, PROMETHEUS_MULTIPROC_DIR is a disk of that size."""
    command = [sys.executable, "-c", script]
    if kib is not None:
        command = on_small_disk(Path(environ["PROMETHEUS_MULTIPROC_DIR"]), kib, command)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return done.stdout.strip()


def test_counts_of_all_workers_add_up_and_a_killed_workers_stay_while_its_gauge_goes(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        calls = server.until_both_workers_took("/call")
        found = server.metrics()
        assert found["switchboard_live_calls"] == calls.total()
        assert found["switchboard_interruptions_total"] == calls.total()
        assert found["switchboard_answer_seconds_count"] == calls.total()
        assert found["switchboard_answer_seconds_sum"] == pytest.approx(0.8 * calls.total())
        assert found["switchboard_answer_seconds_bucket 0.7"] == 0
        assert found["switchboard_answer_seconds_bucket 0.8"] == calls.total()
        assert found["switchboard_answer_part_seconds_sum model"] == pytest.approx(0.25 * calls.total())
        assert found["switchboard_calls_total hung_up"] == 0
        assert found["switchboard_late_seconds"] == 0.025
        assert found["switchboard_late_workers"] == 2

        victim, survivor = calls
        os.kill(victim, signal.SIGKILL)
        assert server.told("gone") == str(victim)
        found = server.metrics()
        assert found["switchboard_live_calls"] == calls[survivor]
        assert found["switchboard_late_workers"] == 1
        assert found["switchboard_interruptions_total"] == calls.total()
        assert found["switchboard_answer_seconds_count"] == calls.total()

        more = server.until_both_workers_took("/call")
        assert victim not in more
        found = server.metrics()
        assert found["switchboard_live_calls"] == calls[survivor] + more.total()
        assert found["switchboard_answer_seconds_count"] == calls.total() + more.total()


def test_a_run_counts_nothing_of_an_earlier_one_and_leaves_nothing(tmp_path: Path) -> None:
    stale = tmp_path / "stale"
    stale.mkdir()
    script = (
        "from web.metrics import Metrics; metrics = Metrics(); metrics.interrupted(); metrics.call_started()"
    )
    in_another_process(script, PROMETHEUS_MULTIPROC_DIR=str(stale))
    assert list(stale.glob("*.db"))
    with gunicorn(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(stale)) as server:
        ended = server.until_both_workers_took("/end")
        found = server.metrics()
        assert found["switchboard_interruptions_total"] == 0
        assert found["switchboard_live_calls"] == -ended.total()
        assert found["switchboard_calls_total hung_up"] == ended.total()
        os.kill(
            next(iter(ended)), signal.SIGTERM
        )  # a worker that ends in order does not take the directory along
        server.told("gone")
        assert server.metrics()["switchboard_calls_total hung_up"] == ended.total()
        assert server.directory.is_dir()
    assert not server.directory.exists()


def test_one_process_without_a_directory_works_as_well() -> None:
    metrics = Metrics()
    metrics.call_started()
    metrics.call_started()
    metrics.call_ended(Outcome.MODEL_FAILED)
    metrics.answered(TurnLatency(vad_ms=600.0, model_ms=300.0, us_ms=1.5, twilio_ms=98.5))
    metrics.interrupted()
    metrics.silenced(InterruptionLatency(vad_ms=180.0, us_ms=2.0, twilio_ms=58.0))
    metrics.audio_dropped("caller", 1500)
    metrics.audio_dropped("assistant", 40)
    found = samples(page(metrics))
    expected = {
        "switchboard_live_calls": 1,
        "switchboard_calls_total model_failed": 1,
        "switchboard_calls_total hung_up": 0,
        "switchboard_answer_seconds_count": 1,
        "switchboard_answer_seconds_sum": 1.0,
        "switchboard_answer_part_seconds_sum vad": 0.6,
        "switchboard_answer_part_seconds_sum model": 0.3,
        "switchboard_answer_part_seconds_sum us": 0.0015,
        "switchboard_answer_part_seconds_sum twilio": 0.0985,
        "switchboard_interruptions_total": 1,
        "switchboard_interruption_silence_seconds_sum": 0.24,
        "switchboard_interruption_silence_part_seconds_sum us": 0.002,
        "switchboard_audio_dropped_seconds_total caller": 1.5,
        "switchboard_audio_dropped_seconds_total assistant": 0.04,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_what_is_not_known_is_not_counted() -> None:
    metrics = Metrics()
    metrics.answered(TurnLatency(vad_ms=None, model_ms=300.0, us_ms=1.5, twilio_ms=98.5))
    metrics.silenced(InterruptionLatency(vad_ms=None, us_ms=2.0, twilio_ms=58.0))
    found = samples(page(metrics))
    assert found["switchboard_answer_seconds_count"] == 0
    assert found["switchboard_answer_part_seconds_count vad"] == 0
    assert found["switchboard_answer_part_seconds_count model"] == 1
    assert found["switchboard_interruption_silence_seconds_count"] == 0
    assert found["switchboard_interruption_silence_part_seconds_count us"] == 1


def test_a_status_that_the_server_makes_up_gets_no_series_of_its_own() -> None:
    metrics = Metrics()
    for status in ("completed", "cancelled", "failed", "incomplete", "exploded", ""):
        metrics.response_done(status)
    found = samples(page(metrics))
    series = {name: value for name, value in found.items() if name.startswith("switchboard_responses_total")}
    assert series == {
        "switchboard_responses_total completed": 1,
        "switchboard_responses_total cancelled": 1,
        "switchboard_responses_total failed": 1,
        "switchboard_responses_total incomplete": 1,
        "switchboard_responses_total other": 2,
    }


def test_each_application_counts_for_itself() -> None:
    first, second = Metrics(), Metrics()
    first.interrupted()
    assert samples(page(first))["switchboard_interruptions_total"] == 1
    assert samples(page(second))["switchboard_interruptions_total"] == 0


def test_counting_from_many_threads_loses_nothing() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.interrupted()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert samples(page(metrics))["switchboard_interruptions_total"] == 4000


def test_a_scraper_gets_the_format_that_it_asks_for() -> None:
    metrics = Metrics()
    assert not page(metrics).endswith("# EOF\n")
    assert page(metrics, "application/openmetrics-text; version=1.0.0").endswith("# EOF\n")


def test_a_directory_set_by_hand_that_is_not_there_is_named_with_the_fix() -> None:
    script = (
        "from web.metrics import Metrics, MetricsError\n"
        "try: Metrics()\n"
        "except MetricsError as error: print(error)\n"
    )
    said = in_another_process(script, PROMETHEUS_MULTIPROC_DIR="/nowhere")
    assert said.startswith("PROMETHEUS_MULTIPROC_DIR: /nowhere/")
    assert said.endswith("unset it, or let it name an empty directory that this user may write")


@pytest.mark.parametrize("imported", ["", "import prometheus_client"], ids=["alone", "forked"])
@pytest.mark.parametrize(("kib", "filled"), [(64, ""), (1024, "fill(folder)")], ids=["too small", "full"])
def test_a_worker_that_starts_with_the_disk_full_lives_and_counts_in_its_memory(
    tmp_path: Path, kib: int, filled: str, imported: str
) -> None:
    """gunicorn's master imports the library to tell of a dead worker: its next ones have it from the start."""
    skip_without_mounting()
    script = f"""
{imported}
{IN_A_WORKER}
{filled}
Metrics()  # of an application that could not be made yet, for want of the database
metrics = Metrics()
report_everything(metrics)
page(metrics)
print("# files", sorted(path.name for path in folder.iterdir() if path.name != "filler"))
"""
    said = in_another_process(script, kib=kib, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    warning, _, text = said.partition("\n")
    assert warning.startswith(f"{tmp_path}: No space left on device: ")
    assert warning not in text, "once is enough"
    found = samples(text)
    assert found["switchboard_interruptions_total"] == 1
    assert found["switchboard_answer_seconds_count"] == 1
    assert text.endswith("# files []"), "no room is kept for what is not used"


def test_a_disk_that_fills_up_costs_no_worker_its_calls(tmp_path: Path) -> None:
    skip_without_mounting()
    script = f"""
{IN_A_WORKER}
metrics = Metrics()
fill(folder)
for _ in range(1000):
    report_everything(metrics)
page(metrics)
"""
    found = samples(in_another_process(script, kib=1024, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)))
    assert found["switchboard_interruptions_total"] == 1000
    assert found["switchboard_answer_part_seconds_count model"] == 1000


def test_whatever_a_call_reports_has_had_its_place_on_the_disk_before(tmp_path: Path) -> None:
    """In the files that prometheus-client opens, which have not grown: what they grow by has no place yet."""
    script = f"""
{IN_A_WORKER}
metrics = Metrics()
def show():
    files = {{path: path.stat() for path in folder.iterdir()}}
    print(*sorted(path.name for path in files))
    print(*{{each.st_size for each in files.values()}}, min(each.st_blocks * 512 for each in files.values()))
    print(*(int.from_bytes(path.read_bytes()[:4], sys.byteorder) for path in sorted(files)))
print(os.getpid())
show()
report_everything(metrics)
show()
"""
    pid, *seen = in_another_process(script, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).splitlines()
    names, sizes, used = seen[:3]
    assert names.split() == sorted(f"{name}_{pid}.db" for name in SHARED_FILES)
    assert sizes == f"{SHARED_FILE_BYTES} {SHARED_FILE_BYTES}"
    assert all(0 < int(each) < SHARED_FILE_BYTES for each in used.split())
    assert seen[3:] == seen[:3]


def test_a_process_goes_on_in_the_files_of_an_earlier_one_with_its_number(tmp_path: Path) -> None:
    later = "metrics = Metrics(); metrics.interrupted(); page(metrics)"
    script = f"""
{IN_A_WORKER}
Metrics().interrupted()
os.execv(sys.executable, [sys.executable, "-c", {IN_A_WORKER + later!r}])
"""
    found = samples(in_another_process(script, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)))
    assert found["switchboard_interruptions_total"] == 2


def test_prometheus_client_is_not_loaded_before_the_directory_is_known() -> None:
    script = (
        "import sys, web.metrics; web.metrics.MetricsDirectory(); print('prometheus_client' in sys.modules)"
    )
    assert in_another_process(script) == "False"


def test_a_directory_that_cannot_be_cleaned_does_not_end_the_server(logs: ExpectedLogs) -> None:
    class Dead:
        pid = 4711

    logs.expect("the live calls of dead worker 4711 stay in the metrics")
    directory = MetricsDirectory()
    try:
        (directory.path / "gauge_livesum_4711.db").mkdir()
        directory.worker_ended(None, Dead())
    finally:
        directory.remove()
    assert not directory.path.exists()
    directory.worker_ended(None, Dead())


@pytest.mark.parametrize("make", [Metrics, NoMeter])
def test_every_meter_takes_whatever_a_call_reports(make: Callable[[], Meter]) -> None:
    meter = make()
    meter.call_started()
    meter.answered(TurnLatency(None, 0.0, 0.0, 0.0))
    meter.interrupted()
    meter.silenced(InterruptionLatency(None, 0.0, 0.0))
    meter.response_done("completed")
    meter.audio_dropped("assistant", 0.0)
    for outcome in Outcome:
        meter.call_ended(outcome)
