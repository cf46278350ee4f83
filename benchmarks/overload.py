"""More calls than one worker carries: how late the audio of those gets that were taken.

    python benchmarks/overload.py --calls 260

Calls come one after the other, to one worker on one core, until it has been offered more than it can carry: once as
the server is, which answers the later ones with overflow, and once with LATENESS_LIMIT_MS=0, which takes them all.
Printed are how many calls were taken, and the delay of their frames once the last one has come. Ends with status 1 if
none was turned away, or of those that were taken one broke or a frame was lost.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.journey import Passage
from benchmarks.load import Load, LoadError, pin, split_cores
from benchmarks.model import Answer
from benchmarks.trial import AUTH_TOKEN, Candidate, Terms, machine, serve_command, serving
from config import Settings
from simulator.server_process import ServerError

ROOT = Path(__file__).parent.parent
SETTLING_SECONDS = 2.0
STRAGGLING_SECONDS = 1.0
LEAD_MS = 200
LIMIT_MS: float = Settings.model_fields["lateness_limit_ms"].default
HEADING = (
    f"{'LATENESS_LIMIT_MS':>18}{'offered':>9}{'taken':>7}{'refused':>9}{'broken':>8}"
    f"{'in p50':>9}{'p99':>8}{'max':>8}{'out p50':>9}{'p99':>8}{'max':>8}{'lost':>6}"
)


async def offer(
    terms: Terms, calls: int, per_second: float, settings: Mapping[str, str]
) -> tuple[int, int, str]:
    """How many calls were not taken, how much broke of the others, and a line's rest under `HEADING`.

    Raises LoadError and ServerError.
    """
    candidate = Candidate("this", serve_command(ROOT), settings)
    with tempfile.TemporaryDirectory(prefix="switchboard-benchmark-") as directory:
        async with (
            Load(terms.answer) as load,
            serving(candidate, load.model_url, calls, Path(directory), terms) as server,
        ):
            offering = asyncio.create_task(
                load.offer_calls(calls, f"{server.url}/twiml", AUTH_TOKEN, per_second)
            )
            while not offering.done():
                await asyncio.wait([offering], timeout=0.1)
                for call in load.calls:
                    call.session.speak()  # whoever is taken is talked to from then on
            refused, broken = offering.result()
            await asyncio.sleep(SETTLING_SECONDS)
            journeys = [each for call in load.calls for each in (call.phone.spoken, call.session.spoken)]
            for journey in journeys:
                journey.begin()
            await asyncio.sleep(terms.seconds)
            for journey in journeys:
                journey.end()
            await asyncio.sleep(STRAGGLING_SECONDS)
            inwards = Passage.of(call.phone.spoken for call in load.calls).figures()
            outwards = Passage.of(call.session.spoken for call in load.calls).figures()
            lost = int(inwards["lost"] + outwards["lost"])
            await load.hang_up()
    row = f"{calls:9}{calls - refused - broken:7}{refused:9}{broken:8}"
    for width, way in ((9, inwards), (9, outwards)):
        row += f"{way['p50_ms']:{width}.1f}{way['p99_ms']:8.1f}{way['max_ms']:8.1f}"
    return refused, broken + lost, f"{row}{lost:6}"


@click.command()
@click.option("--calls", default=260, show_default=True, type=click.IntRange(1, 1000))
@click.option("--per-second", default=8.0, show_default=True, help="How many of them come in a second.")
@click.option("--seconds", default=10.0, show_default=True, help="How long frames are counted.")
@click.option("--limit-ms", default=LIMIT_MS, show_default=True, help="LATENESS_LIMIT_MS.")
@click.option("--compare/--no-compare", default=True, help="Also without a limit.")
@click.option("--realtime", is_flag=True, help="Before all other work on the machine; needs root, and Linux.")
def main(
    calls: int, per_second: float, seconds: float, limit_ms: float, compare: bool, realtime: bool
) -> None:
    """Offer --calls to one worker, and see how late the audio of those gets that it takes."""
    server_cores, load_cores = split_cores()
    answer = Answer(delta_ms=20, pace=1.0, lead_ms=LEAD_MS, endless=True)
    terms = Terms(seconds, answer, set(sorted(server_cores)[:1]), load_cores, realtime)
    pin(load_cores, realtime=realtime)
    click.echo(f"{machine()}; server on {terms.server_cores}, load on {load_cores}{', real time' * realtime}")
    click.echo(HEADING)
    limited = {"LATENESS_LIMIT_MS": f"{limit_ms:g}"}
    wrong = []
    for settings in (limited, {"LATENESS_LIMIT_MS": "0"}) if compare else (limited,):
        try:
            refused, broken, row = asyncio.run(offer(terms, calls, per_second, settings))
        except (LoadError, ServerError, OSError) as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"{settings['LATENESS_LIMIT_MS']:>18}{row}")
        if settings is limited:
            wrong += ["no call was turned away"] * (not refused) + [
                f"{broken} calls or frames of those that were taken were lost"
            ] * bool(broken)
    if wrong:
        raise click.ClickException("; ".join(wrong))


if __name__ == "__main__":
    main()
