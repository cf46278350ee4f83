"""What the console costs the calls: interruptions with its pages closed and open, and how soon the pages know.

    python benchmarks/console.py --calls 50

In turns, for --seconds each, nobody looks, and then three pages are open: the board of all calls, one call with its
levels, and one that is listened to. Printed are the times of `benchmarks/interruption.py`, taken inside the server,
for both, their ratio, and how long after something happened in a call its page was told.
"""

import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

import orjson

from benchmarks.interruption import AUTH_TOKEN, HEADING, LAUNCHER, Caller, Times, load_assistant
from benchmarks.load import Load, LoadError, pin, split_cores
from benchmarks.model import Answer
from simulator.server_process import ServerError, ServerProcess, server_settings

CONSOLE_TOKEN = "0123456789abcdef"
RECONNECT_SECONDS = 0.3
POLL_SECONDS = 0.35


class Browser:
    """Opens pages as a browser does, without one: it would need more of the machine than the server."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._origin = url
        self._cookie = ""
        self.lags: list[float] = []
        """Seconds from an interruption to the page's being told."""
        self.board_updates = 0
        self.audio_bytes = 0
        self.refusals = 0

    async def sign_in(self) -> None:
        """Raises LoadError."""
        reader, writer = await self._request(
            "POST", "/sign-in", f"X-Console-Token: {quote(CONSOLE_TOKEN)}\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        cookies = re.findall(rb"(?im)^set-cookie: ([^;]+)", head)
        if not cookies:
            raise LoadError(f"nobody can sign in to the console: {head.splitlines()[0].decode()}")
        self._cookie = b"; ".join(cookies).decode()

    async def board(self) -> None:
        """The page of all calls, until it is cancelled."""
        while True:
            async for name, _ in self._events("/console/live/events"):
                self.board_updates += name == "calls"
            await asyncio.sleep(RECONNECT_SECONDS)

    async def call(self, call_sid: str) -> None:
        """The page of one call, until it is cancelled."""
        place, opened, seen = "", time.time(), set[int]()
        while True:
            path = f"/console/calls/{call_sid}/events?place={quote(place)}"
            async for name, event in self._events(path):
                place = event["id"]
                for each in orjson.loads(event["data"])["events"] if name == "news" else ():
                    if each["kind"] == "interrupted" and each["id"] not in seen and each["at"] > opened:
                        self.lags.append(time.time() - each["at"])
                    seen.add(each["id"])
            await asyncio.sleep(RECONNECT_SECONDS)

    async def listen(self, call_sid: str) -> None:
        """Listening to one call, until it is cancelled."""
        number = "0"
        while True:
            reader, writer = await self._request("GET", f"/console/calls/{call_sid}/audio?after={number}")
            head = await reader.readuntil(b"\r\n\r\n")
            self.audio_bytes += len(await reader.read())
            writer.close()
            if found := re.search(rb"(?im)^x-number: (\d+)", head):
                number = found[1].decode()
            await asyncio.sleep(POLL_SECONDS)

    async def _events(self, path: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
        reader, writer = await self._request("GET", path)
        try:
            status = await reader.readline()
            if b" 200 " not in status:
                self.refusals += 1
                await asyncio.sleep(1.0)
                return
            event: dict[str, str] = {}
            while line := await reader.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name in ("event", "id", "data"):
                    event[name] = value
                elif not line.strip() and "event" in event:
                    yield event["event"], event
                    event = {}
        finally:
            writer.close()

    async def _request(
        self, method: str, path: str, more: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=2**24)
        head = f"{method} {path} HTTP/1.0\r\nHost: {self._host}:{self._port}\r\nOrigin: {self._origin}\r\n"
        writer.write(f"{head}Cookie: {self._cookie}\r\n{more}\r\n".encode())
        return reader, writer


async def measure(calls: int, seconds: float, rounds: int, cores: set[int], directory: Path) -> list[str]:
    """Run the load, with the console open every other time; what to print. Raises LoadError and ServerError."""
    times_file = directory / "times"
    times_file.touch()
    command = [sys.executable, str(LAUNCHER), str(times_file), ",".join(map(str, sorted(cores))), "normal"]
    async with Load(Answer()) as load:
        settings = server_settings(load.model_url, AUTH_TOKEN, directory)
        del settings["THREADS"]
        settings |= {"ASSISTANT": str(load_assistant(directory)), "CONSOLE_TOKEN": CONSOLE_TOKEN}
        server = ServerProcess(settings, directory, command)
        await asyncio.to_thread(server.start)
        phases: list[tuple[bool, float, float]] = []
        try:
            await load.place_calls(calls, f"{server.url}/twiml", AUTH_TOKEN)
            browser = Browser(server.url)
            await browser.sign_in()
            callers = [Caller(call, random.Random(call.phone.number)) for call in load.calls]
            loop = asyncio.get_running_loop()
            talking = asyncio.gather(*(each.talk(loop.time() + 2 * rounds * seconds + 1) for each in callers))
            first, second = (load.calls[index].phone.call_sid for index in (0, -1))
            for _ in range(rounds):
                for looking in (False, True):
                    began = time.monotonic()
                    pages = [browser.board(), browser.call(first), browser.listen(second)] if looking else []
                    tasks = [asyncio.create_task(page) for page in pages]
                    await asyncio.sleep(seconds)
                    for task in tasks:
                        task.cancel()
                        with suppress(asyncio.CancelledError):
                            await task
                    phases.append((looking, began, time.monotonic()))
            await talking
            await load.hang_up()
        finally:
            await asyncio.to_thread(server.stop)
    problems = load.totals().problems + [
        f"{caller.missing} interruptions got no clear" for caller in callers if caller.missing
    ]
    return _report(times_file, phases, browser, problems)


def _report(
    times_file: Path, phases: list[tuple[bool, float, float]], browser: Browser, problems: list[str]
) -> list[str]:
    lines = [line.split() for line in times_file.read_text(encoding="ascii").splitlines()]
    found: dict[bool, list[float]] = {False: [], True: []}
    for _, got, written in lines:
        for looking, began, ended in phases:
            if began <= float(got) < ended:
                found[looking].append(float(written) - float(got))
    closed, opened = (
        Times.of(f"console {name}: received to written", found[looking])
        for looking, name in ((False, "closed"), (True, "open"))
    )
    lags = Times.of("from the interruption to its page", browser.lags)
    ratios = " ".join(
        f"p{fraction * 100:.0f} {opened.quantile(fraction) / closed.quantile(fraction):.2f}"
        for fraction in (0.5, 0.9, 0.99)
    )
    return [
        HEADING,
        closed.row(),
        opened.row(),
        lags.row() if lags.sorted_ms else "no interruption was seen on a page",
        f"open to closed: {ratios}",
        f"the board changed {browser.board_updates} times; {browser.audio_bytes / 16000:.0f} s were listened to; "
        f"{browser.refusals} streams were refused",
        *(f"problem: {problem}" for problem in problems[:10]),
    ]


@click.command()
@click.option("--calls", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seconds", default=15.0, show_default=True, help="Of each part.")
@click.option("--rounds", default=2, show_default=True, help="How often the console is closed and opened.")
def main(calls: int, seconds: float, rounds: int) -> None:
    """Measure interruptions with the console closed and open, with --calls running."""
    server_cores, load_cores = split_cores()
    pin(load_cores)
    click.echo(f"{calls} calls, {rounds} x 2 x {seconds:g} s; load average before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="switchboard-benchmark-") as directory:
        try:
            lines = asyncio.run(measure(calls, seconds, rounds, server_cores, Path(directory)))
        except (LoadError, ServerError) as error:
            raise click.ClickException(str(error)) from None
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
