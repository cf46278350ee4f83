"""Many simulated calls through a running server, in one event loop: what benchmarks put a server under load with."""

import asyncio
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self

from benchmarks.model import Answer, LeanModel, LeanSession
from benchmarks.phone import CountedPhone
from simulator.lean_phone import CallError

JOIN_SECONDS = 15.0
"""From a call's webhook to its first audio at the model."""
HANG_UP_SECONDS = 10.0
PLACING = 4
"""Calls that are being placed at one time: Twilio's come one after the other too."""


class LoadError(Exception):
    """The load could not be put on. The text says what is missing."""


@dataclass(slots=True)
class Call:
    """Both ends of one call."""

    phone: CountedPhone
    session: LeanSession
    set_up_s: float = 0.0
    """from its webhook to its first audio at the model"""


@dataclass(slots=True)
class Totals:
    """What went through while the calls were up."""

    frames_sent: int = 0
    """20 ms frames of the callers'"""
    frames_received: int = 0
    """of these, at the model; what is on its way when the calls end is not"""
    frames_missed: int = 0
    """of these, out of their order, or with others left out before them"""
    audio_s: float = 0.0
    """of the assistants' voices, received by the phones"""
    latest_ms: float = 0.0
    """the longest that a caller's frame left after its time: how much too busy the load's own core was"""
    problems: list[str] = field(default_factory=list)
    """what a phone or the model had to complain of"""


class Load:
    """A model and any number of calls. Use it as a context manager: the model runs inside, and all ends with it."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.calls: list[Call] = []
        self._phones: list[CountedPhone] = []
        self._joined: dict[int, asyncio.Future[LeanSession]] = {}
        self._known: list[LeanSession] = []
        self._answer = answer or Answer()
        self._model: LeanModel

    async def __aenter__(self) -> Self:
        self._model = LeanModel(self._answer, self._join)
        await self._model.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for phone in self._phones:
            phone.abort()
        await self._model.close()

    @property
    def model_url(self) -> str:
        """What the server under load has to have as its Realtime API."""
        return self._model.url

    async def place_calls(self, count: int, webhook_url: str, auth_token: str) -> None:
        """Add so many calls; each has its model session when this returns. Raises LoadError."""
        placing = asyncio.Semaphore(PLACING)

        async def place(number: int) -> None:
            phone = CountedPhone(number)
            self._phones.append(phone)
            self._joined[number] = asyncio.get_running_loop().create_future()
            async with placing:
                began_at = time.monotonic()
                await phone.place(webhook_url, auth_token)
                session = await self._joined[number]
            self.calls.append(Call(phone, session, time.monotonic() - began_at))

        first = len(self._phones)
        try:
            async with asyncio.timeout(JOIN_SECONDS + count), asyncio.TaskGroup() as tasks:
                for number in range(first, first + count):
                    tasks.create_task(place(number))
        except TimeoutError:
            raise LoadError(
                f"only {len(self.calls)} of {first + count} calls got their model session"
            ) from None
        except ExceptionGroup as failures:
            raise LoadError(f"a call could not be placed: {failures.exceptions[0]}") from failures

    async def offer_calls(
        self, count: int, webhook_url: str, auth_token: str, per_second: float
    ) -> tuple[int, int]:
        """Call so many times; returns how many calls were not taken, and how many broke. Raises LoadError."""
        loop = asyncio.get_running_loop()
        began_at, first, refused, broken = loop.time(), len(self._phones), 0, 0

        async def offer(number: int) -> None:
            nonlocal refused, broken
            await asyncio.sleep((number - first) / per_second + began_at - loop.time())
            phone, placed_at = self._phones[number], time.monotonic()
            joined = self._joined[number] = loop.create_future()
            phone.ended_with.add_done_callback(lambda _: joined.cancel())
            try:
                await phone.place(webhook_url, auth_token)
                self.calls.append(Call(phone, await joined, time.monotonic() - placed_at))
            except CallError:
                refused += 1
            except asyncio.CancelledError:
                if not phone.ended_with.done():
                    raise  # the time is up
                refused += phone.sent_on
                broken += not phone.sent_on

        self._phones += [CountedPhone(number) for number in range(first, first + count)]
        try:
            async with asyncio.timeout(JOIN_SECONDS + count / per_second), asyncio.TaskGroup() as tasks:
                for number in range(first, first + count):
                    tasks.create_task(offer(number))
        except TimeoutError:
            raise LoadError(f"only {len(self.calls)} of {first + count} calls were answered") from None
        except ExceptionGroup as failures:
            raise LoadError(f"a call could not be placed: {failures.exceptions[0]}") from failures
        return refused, broken

    async def hang_up(self) -> None:
        """End all calls, and wait until the server has closed both sockets of each. Raises LoadError."""
        try:
            async with asyncio.timeout(HANG_UP_SECONDS):
                await asyncio.gather(*(phone.hang_up() for phone in self._phones))
                while self._model.sessions:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            left = len(self._model.sessions)
            raise LoadError(
                f"{left} model sessions are open {HANG_UP_SECONDS:.0f} s after the hang-up"
            ) from None

    def totals(self) -> Totals:
        """What went through so far."""
        totals = Totals()
        for phone in self._phones:
            totals.frames_sent += phone.frames_sent
            totals.audio_s += phone.audio_ms / 1000
            totals.latest_ms = max(totals.latest_ms, phone.latest_s * 1000)
            totals.problems += phone.problems
        for session in self._known:
            totals.frames_received += session.frames_received
            totals.frames_missed += session.frames_missed
            totals.problems += [f"call {session.call} sent the model {what}" for what in session.refusals]
        return totals

    def _join(self, session: LeanSession) -> None:
        self._known.append(session)
        if session.call is not None and session.call < len(self._phones):
            phone = self._phones[session.call]
            session.heard, phone.heard = phone.spoken, session.spoken
        joined = self._joined.get(-1 if session.call is None else session.call)
        if joined is not None and not joined.done():
            joined.set_result(session)


def split_cores() -> tuple[set[int], set[int]]:
    """The cores for the server and for the load; the same for both where there is only one, or no way to choose."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    cores = sorted(os.sched_getaffinity(0))
    return (set(cores[1:]), {cores[0]}) if len(cores) > 1 else (set(cores), set(cores))


def pin(cores: Collection[int], *, realtime: bool = False) -> None:
    """Keep this process, and what it starts, on these cores; none leaves it where it is.

    With `realtime` it is scheduled before everything else on the machine, so that other work does not show in what
    is measured. Raises PermissionError where only root may do so.
    """
    if cores:
        os.sched_setaffinity(0, cores)
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
