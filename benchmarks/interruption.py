"""How long an interruption takes, with many calls running: from the model's `speech_started` to the phone's `clear`.

    python benchmarks/interruption.py --calls 50

Callers speak 50 frames a second; the model's answers come in bursts and are interrupted while they are heard. Two
measures of the same interruptions are printed: inside the server, from `speech_started` received to `clear` written,
and outside, from the model's sending the one to the phone's having the other. Ends with status 1 if a `clear` is
missing.
"""

import asyncio
import math
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.load import Call, Load, LoadError, Totals, pin, split_cores
from benchmarks.model import Answer
from simulator.server_process import ServerError, ServerProcess, server_settings

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
CLEAR_SECONDS = 3.0
"""A `clear` that has not come by then is missing."""
SPEECH_SECONDS = 0.5
"""The caller's turn, to which the next answer is given."""
EARLIEST_SECONDS, LATEST_SECONDS = 0.5, 4.5
"""An answer is interrupted so long after its beginning: with the turn, once in 3 s on average."""
AUDIBLE_MS = 200.0
"""So much of the answer must be left to hear, or there might be nothing to clear by the time it is interrupted."""
LAUNCHER = Path(__file__).parent / "instrumented_server.py"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds that something took, again and again. The numbers need at least one."""

    name: str
    sorted_ms: tuple[float, ...]

    @classmethod
    def of(cls, name: str, seconds: Sequence[float]) -> "Times":
        return cls(name, tuple(sorted(each * 1000 for each in seconds)))

    def quantile(self, fraction: float) -> float:
        """The smallest of the times that so large a fraction of them does not exceed."""
        return self.sorted_ms[math.ceil(fraction * len(self.sorted_ms)) - 1]

    def row(self) -> str:
        """A line of the table under `HEADING`."""
        numbers = [self.quantile(fraction) for fraction in (0.5, 0.9, 0.99, 1.0)]
        return f"{self.name:44}{len(self.sorted_ms):7}" + "".join(f"{number:9.2f}" for number in numbers)


HEADING = f"{'milliseconds':44}{'n':>7}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"


class Caller:
    """Talks over the assistant in one call, again and again. Runs in the event loop's thread."""

    def __init__(self, call: Call, chance: random.Random) -> None:
        self.outside: list[float] = []
        """Seconds from `speech_started` sent to `clear` received, one for each that came."""
        self.missing = 0
        self._call = call
        self._chance = chance
        self._cleared: asyncio.Future[float] | None = None
        call.phone.on_clear = self._clear

    async def talk(self, until: float) -> None:
        """Interrupt one answer after the other until that time of the loop's clock."""
        loop = asyncio.get_running_loop()
        session = self._call.session
        session.stop_speech()  # the first answer
        while (wait := self._chance.uniform(EARLIEST_SECONDS, LATEST_SECONDS)) < until - loop.time():
            await asyncio.sleep(wait)
            while self._call.phone.queued_ms < AUDIBLE_MS and loop.time() < until:
                await asyncio.sleep(0.02)
            if loop.time() >= until:
                return
            self._cleared = loop.create_future()
            sent = session.start_speech()
            try:
                self.outside.append(await asyncio.wait_for(self._cleared, CLEAR_SECONDS) - sent)
            except TimeoutError:
                self.missing += 1
            await asyncio.sleep(SPEECH_SECONDS)
            session.stop_speech()

    def _clear(self, at: float) -> None:
        if self._cleared is not None and not self._cleared.done():
            self._cleared.set_result(at)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run found."""

    inside: Times
    outside: Times
    missing: int
    totals: Totals


async def measure(
    calls: int,
    seconds: float,
    answer: Answer,
    workers: int | None,
    cores: set[int],
    realtime: bool,
    directory: Path,
) -> Measurement:
    """Run `calls` calls for so many seconds against a server on `cores`. Raises LoadError and ServerError."""
    times_file = directory / "times"
    times_file.touch()
    scheduling = "realtime" if realtime else "normal"
    command = [sys.executable, str(LAUNCHER), str(times_file), ",".join(map(str, sorted(cores))), scheduling]
    async with Load(answer) as load:
        settings = server_settings(load.model_url, AUTH_TOKEN, directory)
        # As many workers and threads as `run.py serve` has by itself, unless told.
        for name in ("WORKERS", "THREADS"):
            del settings[name]
        if workers is not None:
            settings["WORKERS"] = str(workers)
        settings["ASSISTANT"] = str(load_assistant(directory))
        server = ServerProcess(settings, directory, command)
        await asyncio.to_thread(server.start)
        try:
            await load.place_calls(calls, f"{server.url}/twiml", AUTH_TOKEN)
            callers = [Caller(call, random.Random(call.phone.number)) for call in load.calls]
            until = asyncio.get_running_loop().time() + seconds
            await asyncio.gather(*(caller.talk(until) for caller in callers))
            totals = load.totals()
            await load.hang_up()
        finally:
            await asyncio.to_thread(server.stop)
    lines = [line.split() for line in times_file.read_text(encoding="ascii").splitlines()]
    return Measurement(
        Times.of(
            "in the server: received to written", [float(written) - float(got) for _, got, written in lines]
        ),
        Times.of("from outside: sent to seen", [each for caller in callers for each in caller.outside]),
        sum(caller.missing for caller in callers),
        totals,
    )


def load_assistant(directory: Path) -> Path:
    """The file of an assistant that may be interrupted."""
    file = directory / "assistant.toml"
    file.write_text('name = "Load"\ninstructions = "Sing."\n[turn_detection]\ninterrupt = true\n')
    return file


def report(measured: Measurement) -> list[str]:
    """What to print, and what is wrong: lines for people."""
    totals = measured.totals
    lines = [HEADING]
    lines += [times.row() for times in (measured.inside, measured.outside) if times.sorted_ms]
    lines.append(
        f"caller frames: {totals.frames_sent} sent, {totals.frames_received} at the model when counted, "
        f"{totals.frames_missed} out of order; the latest left {totals.latest_ms:.1f} ms after its time"
    )
    lines.append(f"assistants' audio: {totals.audio_s:.0f} s")
    return lines + [f"problem: {problem}" for problem in totals.problems[:10]]


def failures(measured: Measurement) -> list[str]:
    """Why the run does not count, if it does not."""
    inside, outside = len(measured.inside.sorted_ms), len(measured.outside.sorted_ms)
    found = []
    if measured.missing:
        found.append(f"{measured.missing} interruptions got no clear within {CLEAR_SECONDS:.0f} s")
    if not outside:
        found.append("nobody interrupted: give it more --seconds")
    if inside != outside:
        found.append(
            f"{outside} interruptions were seen from outside and {inside} in the server: a seam that "
            "instrumented_server.py puts its clock on has moved"
        )
    if measured.totals.problems:
        found.append(f"{len(measured.totals.problems)} problems on the way")
    return found


@click.command()
@click.option("--calls", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seconds", default=30.0, show_default=True, help="How long, once all calls are up.")
@click.option(
    "--workers", type=click.IntRange(1), help="Of the server.  [default: one a core, as run.py serve]"
)
@click.option("--delta-ms", default=200, show_default=True, help="Audio in each of the model's messages.")
@click.option(
    "--pace",
    default=8.0,
    show_default=True,
    help="How many times faster than it plays audio is sent; at least 2.",
)
@click.option("--realtime", is_flag=True, help="Before all other work on the machine; needs root, and Linux.")
def main(calls: int, seconds: float, workers: int | None, delta_ms: int, pace: float, realtime: bool) -> None:
    """Measure from `speech_started` received to `clear` written, with --calls running."""
    if pace < 2:
        raise click.BadParameter(
            "an answer that comes no faster than it plays leaves nothing to clear", param_hint="--pace"
        )
    server_cores, load_cores = split_cores()
    workers = workers or len(server_cores | load_cores) or None
    try:
        pin(load_cores, realtime=realtime)
    except PermissionError:
        raise click.ClickException("--realtime needs to be root, or CAP_SYS_NICE") from None
    click.echo(
        f"{calls} calls for {seconds:g} s, {workers or 'default'} workers; deltas of {delta_ms} ms at pace {pace:g}; "
        f"server on cores {sorted(server_cores)}, load on {sorted(load_cores)}"
        f"{', both in real time' if realtime else ''}; load average before {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="switchboard-benchmark-") as directory:
        answer = Answer(delta_ms=delta_ms, pace=pace)
        try:
            measured = asyncio.run(
                measure(calls, seconds, answer, workers, server_cores, realtime, Path(directory))
            )
        except (LoadError, ServerError) as error:
            raise click.ClickException(str(error)) from None
    for line in report(measured):
        click.echo(line)
    if found := failures(measured):
        raise click.ClickException("; ".join(found))


if __name__ == "__main__":
    main()
