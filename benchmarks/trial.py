"""One server, so many calls, and what it took to carry their audio."""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.journey import Passage, quantiles_ms
from benchmarks.load import Call, Load, pin
from benchmarks.model import Answer
from benchmarks.process_tree import use_of
from simulator.server_process import ServerProcess, server_settings

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
SPARE_THREADS = 20
"""Of a worker, above those that calls take."""
SETTLING_SECONDS = 2.0
"""From the last call's beginning to the first frame that counts."""
STRAGGLING_SECONDS = 1.0
"""A frame that takes longer is lost."""
CLEAR_SECONDS = 3.0
"""A `clear` that has not come by then is missing."""
INTERRUPTING_SECONDS = 5.0
"""All calls are interrupted, at random moments within so long."""
SETTINGS = {"LOG_LEVEL": "warning", "WORKERS": "1"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server to be measured."""

    name: str
    command: Sequence[str]
    """started with the variables of `run.py serve`, in a folder of its own"""
    settings: Mapping[str, str] = field(default_factory=dict)
    """variables beside those"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all candidates are measured with."""

    seconds: float
    answer: Answer
    server_cores: set[int]
    load_cores: set[int]
    realtime: bool


async def measure(candidate: Candidate, calls: int, terms: Terms) -> dict[str, Any]:
    """Start it, call it, count. Raises LoadError and ServerError."""
    with tempfile.TemporaryDirectory(prefix="switchboard-benchmark-") as directory:
        async with (
            Load(terms.answer) as load,
            serving(candidate, load.model_url, calls, Path(directory), terms) as server,
        ):
            return await _measure(load, server, calls, terms.seconds)


@asynccontextmanager
async def serving(
    candidate: Candidate, model_url: str, calls: int, directory: Path, terms: Terms
) -> AsyncIterator[ServerProcess]:
    """The server, started with threads for so many calls and that model, on its cores. Raises ServerError."""
    settings = server_settings(model_url, AUTH_TOKEN, directory) | SETTINGS
    settings |= {"THREADS": str(calls + SPARE_THREADS), "ASSISTANT": str(_assistant(directory))}
    server = ServerProcess({**settings, **candidate.settings}, directory, candidate.command)
    with _pinned_to(terms.server_cores, terms):
        await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _measure(load: Load, server: ServerProcess, calls: int, seconds: float) -> dict[str, Any]:
    idle = use_of(server.pid)
    await load.place_calls(calls, f"{server.url}/twiml", AUTH_TOKEN)
    for call in load.calls:
        call.session.speak()
    await asyncio.sleep(SETTLING_SECONDS)

    journeys = [journey for call in load.calls for journey in (call.phone.spoken, call.session.spoken)]
    before, began_at, load_before = use_of(server.pid), time.monotonic(), time.process_time()
    await asyncio.sleep(0.2)  # what it took to find out must not count as delay
    for journey in journeys:
        journey.begin()
    await asyncio.sleep(seconds)
    for journey in journeys:
        journey.end()
    load_share = (time.process_time() - load_before) / (time.monotonic() - began_at)
    await asyncio.sleep(0.2)
    used, lasted = use_of(server.pid) - before, time.monotonic() - began_at
    full = use_of(server.pid)
    await asyncio.sleep(STRAGGLING_SECONDS)
    inwards = Passage.of(call.phone.spoken for call in load.calls)
    outwards = Passage.of(call.session.spoken for call in load.calls)

    clears = await _interrupt(load.calls)
    totals = load.totals()
    await load.hang_up()
    call_seconds = calls * lasted
    cpu_ms = used.cpu_s * 1000 / call_seconds
    p50, p99, most = quantiles_ms([each for each in clears if each is not None])
    return {
        "calls": calls,
        "seconds": seconds,
        "cpu_ms": cpu_ms,
        "needed_ms": cpu_ms / carried_share(inwards, outwards),
        "cpu_share": used.cpu_s / lasted,
        "switches": used.switches / call_seconds,
        "threads": full.threads,
        "threads_a_call": (full.threads - idle.threads) / calls,
        "idle_mib": idle.memory_mib,
        "mib_a_call": (full.memory_mib - idle.memory_mib) / calls,
        "in": inwards.figures(),
        "out": outwards.figures(),
        "interruption": {"p50_ms": p50, "p99_ms": p99, "max_ms": most, "missing": clears.count(None)},
        "set_up_ms": sorted(call.set_up_s * 1000 for call in load.calls)[calls // 2],
        "load_share": load_share,
        "load_latest_ms": totals.latest_ms,
        "problems": totals.problems[:10],
    }


def carried_share(*ways: Passage) -> float:
    """How much of what was sent came out meanwhile, at most 1: a full server does not use what it would need."""
    sent = sum(way.sent for way in ways)
    return min(sum(way.carried for way in ways) / sent, 1.0) if sent else 1.0


async def _interrupt(calls: Sequence[Call]) -> list[float | None]:
    """Seconds from `speech_started` to `clear` of each call; None: it never came."""
    chance = random.Random(len(calls))

    async def interrupt(call: Call) -> float | None:
        await asyncio.sleep(chance.uniform(0, INTERRUPTING_SECONDS))
        cleared: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        call.phone.on_clear = lambda at: None if cleared.done() else cleared.set_result(at)
        sent_at = call.session.start_speech()
        try:
            return await asyncio.wait_for(cleared, CLEAR_SECONDS) - sent_at
        except TimeoutError:
            return None
        finally:
            call.session.stop_speech()  # the next answer begins, so that the load stays what it is

    return await asyncio.gather(*(interrupt(call) for call in calls))


@contextmanager
def _pinned_to(cores: set[int], terms: Terms) -> Iterator[None]:
    """What is started within runs on these cores, this process on its own again afterwards."""
    pin(cores, realtime=terms.realtime)
    try:
        yield
    finally:
        pin(terms.load_cores, realtime=terms.realtime)


def serve_command(root: Path, *options: str) -> list[str]:
    """How the server of a working copy is started."""
    return [sys.executable, str(root / "run.py"), "serve", "--watch-parent", *options]


def machine() -> str:
    """What this was measured on, in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{model}, {os.cpu_count()} cores, CPython {sys.version.split()[0]}, load average {os.getloadavg()[0]:.1f}"


def _assistant(directory: Path) -> Path:
    file = directory / "assistant.toml"
    file.write_text('name = "Load"\ninstructions = "Sing."\n[turn_detection]\ninterrupt = true\n')
    return file
