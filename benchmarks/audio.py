"""What it costs to carry audio, and how long each frame takes: this server beside others, in one run.

    python benchmarks/audio.py --calls 50 --calls 100 --straightforward --against HEAD~5

Every call has a frame of 20 ms every 20 ms in each direction, and each frame says which one it is. An answer takes
10 s and begins with a burst. Printed are CPU by the kernel's accounting, the delay that the server adds, what was
lost or came out of order, memory, threads, context switches, the time from the model's `speech_started` to the
phone's `clear`, and the time that a call takes to begin. With other candidates, each in its turn, the ratios to them.
Ends with status 1 if this server lost or mixed up a frame.
"""

import asyncio
import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.load import LoadError, pin, split_cores
from benchmarks.model import Answer
from benchmarks.trial import Candidate, Terms, machine, measure, serve_command
from simulator.server_process import ServerError

ROOT = Path(__file__).parent.parent
HEADING = (
    f"{'calls':>5}  {'server':22}{'CPU ms/s':>9}{'needed':>7}{'core':>6}{'in p50':>8}{'p99':>8}{'max':>8}"
    f"{'out p50':>9}{'p99':>8}{'max':>8}{'lost':>7}{'mixed':>6}{'clear p99':>10}{'MiB/call':>9}"
    f"{'switches':>9}{'set-up':>8}{'load':>6}"
)
LEAD_MS = 200
"""The model is so far ahead of what is heard: a real one is always, or there would be gaps."""
LIMIT_SHARE = 0.85
"""Where the load needs more than so much of its core, it may be what is slow."""
Found = dict[str, Any]


def row(name: str, found: Found) -> str:
    """A line under `HEADING`; delays and the time to begin in ms, switches for a call and second."""
    came, went, clear = found["in"], found["out"], found["interruption"]
    lost = came["lost"] + went["lost"]
    return (
        f"{found['calls']:5}  {name:22}{found['cpu_ms']:9.2f}{found['needed_ms']:7.2f}"
        f"{found['cpu_share']:6.0%}"
        f"{came['p50_ms']:8.2f}{came['p99_ms']:8.2f}{came['max_ms']:8.1f}"
        f"{went['p50_ms']:9.2f}{went['p99_ms']:8.2f}{went['max_ms']:8.1f}{lost:7}{came['mixed'] + went['mixed']:6}"
        f"{clear['p99_ms']:10.2f}{found['mib_a_call']:9.2f}{found['switches']:9.0f}{found['set_up_ms']:8.0f}"
        f"{found['load_share']:6.0%}{'  load at its limit' if found['load_share'] > LIMIT_SHARE else ''}"
    )


def middle(runs: Sequence[Found]) -> Found:
    """The median of every figure, and all problems."""
    merged: Found = {}
    for name, value in runs[0].items():
        values = [run[name] for run in runs]
        if isinstance(value, dict):
            merged[name] = middle(values)
        elif isinstance(value, list):
            merged[name] = [each for every in values for each in every]
        elif name in ("lost", "mixed", "missing"):
            merged[name] = max(values)
        else:
            merged[name] = median(values)
    return merged


def ratios(name: str, ours: Found, theirs: Found) -> str:
    """How many times as much, or as long, the other one needs."""
    pairs = {
        "CPU": (ours["needed_ms"], theirs["needed_ms"]),
        "in p99": (ours["in"]["p99_ms"], theirs["in"]["p99_ms"]),
        "out p99": (ours["out"]["p99_ms"], theirs["out"]["p99_ms"]),
        "clear p99": (ours["interruption"]["p99_ms"], theirs["interruption"]["p99_ms"]),
        "switches": (ours["switches"], theirs["switches"]),
        "memory": (ours["mib_a_call"], theirs["mib_a_call"]),
    }
    shown = ", ".join(f"{what} {their / our:.2f}" for what, (our, their) in pairs.items() if our > 0)
    return f"{ours['calls']:5}  {name} needs so many times as much: {shown}"


@contextlib.contextmanager
def checked_out(commit: str | None) -> Iterator[Path | None]:
    """A working copy of a commit, for as long as it is needed."""
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="switchboard-baseline-") as directory:
        copy = str(Path(directory) / "copy")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", copy, commit], check=True)
        try:
            yield Path(copy)
        finally:
            subprocess.run([*git, "remove", "--force", copy], check=True)


def run(candidate: Candidate, calls: int, terms: Terms) -> Found:
    """One trial, on uvloop where it is installed: it leaves the load's core more room. Raises as `measure` does."""
    try:
        import uvloop
    except ModuleNotFoundError:
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(measure(candidate, calls, terms))


@click.command()
@click.option("--calls", multiple=True, default=(50,), show_default=True, type=click.IntRange(1, 1000))
@click.option("--seconds", default=20.0, show_default=True, help="How long frames are counted.")
@click.option("--rounds", default=1, show_default=True, help="All of it so many times; medians are compared.")
@click.option("--worker", multiple=True, help="gthread or gevent; of this server.  [default: as it is]")
@click.option(
    "--workers", default=1, show_default=True, help="Of this server; each has a core, one of them the load's."
)
@click.option("--against", metavar="COMMIT", help="Compare with this server as it was then.")
@click.option("--against-command", metavar="COMMAND", help="Compare with another one, by PORT and the like.")
@click.option("--straightforward", is_flag=True, help="Compare with straightforward_relay.py.")
@click.option("--delta-ms", default=20, show_default=True, help="Audio in each of the model's messages.")
@click.option("--pace", default=1.0, show_default=True, help="How many times as fast as it plays it is sent.")
@click.option("--realtime", is_flag=True, help="Before all other work on the machine; needs root, and Linux.")
@click.option(
    "--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Add every trial to it."
)
def main(
    calls: tuple[int, ...],
    seconds: float,
    rounds: int,
    worker: tuple[str, ...],
    workers: int,
    against: str | None,
    against_command: str | None,
    straightforward: bool,
    delta_ms: int,
    pace: float,
    realtime: bool,
    output: Path | None,
) -> None:
    """Measure delay and cost of every frame, with --calls running on one core, or one for each of --workers."""
    server_cores, load_cores = split_cores()
    # The load's core comes last: there is no other where the machine has two and there are two workers.
    cores = set([*sorted(server_cores), *load_cores][:workers])
    answer = Answer(delta_ms=delta_ms, pace=pace, lead_ms=LEAD_MS, endless=True)
    terms = Terms(seconds, answer, cores, load_cores, realtime)
    try:
        pin(load_cores, realtime=realtime)
    except PermissionError:
        raise click.ClickException("--realtime needs to be root, or CAP_SYS_NICE") from None
    click.echo(f"{machine()}; server on {terms.server_cores}, load on {load_cores}{', real time' * realtime}")
    click.echo(HEADING)
    with checked_out(against) as copy:
        settings = {"WORKERS": str(workers)}
        ours = [Candidate(f"this {each}".rstrip(), _ours(each), settings) for each in worker or ("",)]
        others = []
        if copy is not None:
            others.append(Candidate(str(against), serve_command(copy)))
        if against_command is not None:
            others.append(Candidate("the other command", shlex.split(against_command)))
        if straightforward:
            relay = [sys.executable, str(ROOT / "benchmarks" / "straightforward_relay.py")]
            others.append(Candidate("straightforward", relay))
        trials: dict[tuple[str, int], list[Found]] = {}
        for _ in range(rounds):
            for count in calls:
                for candidate in [*ours, *others]:
                    try:
                        found = run(candidate, count, terms)
                    except (LoadError, ServerError, OSError) as error:
                        click.echo(f"{count:5}  {candidate.name:22}{error}")
                        continue
                    click.echo(row(candidate.name, found))
                    for problem in found["problems"][:3]:
                        click.echo(f"{'':7}{problem}")
                    trials.setdefault((candidate.name, count), []).append(found)
                    if output is not None:
                        with output.open("a", encoding="utf-8") as lines:
                            lines.write(json.dumps({"server": candidate.name, **found}) + "\n")
    if rounds > 1:
        click.echo("medians")
        for (name, _), runs in trials.items():
            click.echo(row(name, middle(runs)))
    for candidate in others:
        for count in calls:
            mine, theirs = trials.get((ours[0].name, count)), trials.get((candidate.name, count))
            if mine and theirs:
                click.echo(ratios(candidate.name, middle(mine), middle(theirs)))
    wrong = [
        f"{name}, {count} calls"
        for candidate in ours
        for (name, count), runs in trials.items()
        if name == candidate.name and not all(_right(found) for found in runs)
    ]
    if wrong:
        raise click.ClickException(f"frames were lost or mixed up, or a clear is missing: {'; '.join(wrong)}")


def _ours(worker: str) -> list[str]:
    return serve_command(ROOT, *(("--worker", worker) if worker else ()))


def _right(found: Found) -> bool:
    ways = (found["in"], found["out"])
    return not (
        any(way[what] for way in ways for what in ("lost", "mixed"))
        or found["interruption"]["missing"]
        or found["problems"]
    )


if __name__ == "__main__":
    main()
