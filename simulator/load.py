"""Many calls to a running server at a time, and what their phones see of it: for users, against their own deployment.

All of them are in one event loop, in the thread that calls `run_load`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from simulator.lean_phone import ACCOUNT_SID
from simulator.load_phone import LoadPhone, Outcome, Speech

MOST_CALLS = 1000
MOST_SECONDS = 3600.0
MOST_PER_SECOND = 50.0
LEAST_PER_SECOND = 0.1
ASKING = 64
"""Webhooks that are asked at a time; each holds a thread until it is answered."""
HANG_UP_SECONDS = 10.0
TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to put a server under."""

    webhook_url: str
    auth_token: str | None
    speech: Speech
    calls: int
    per_second: float = 2.0
    """so many calls are placed in a second"""
    seconds: float = 30.0
    """how long they last, once the last one has been placed"""
    account_sid: str = ACCOUNT_SID

    @property
    def placing_seconds(self) -> float:
        """How long it takes until the last call has been placed."""
        return (self.calls - 1) / self.per_second

    def __post_init__(self) -> None:
        """Raises ValueError where it is more than a load test needs: calls may cost money."""
        for name, value, least, most in (
            ("calls", self.calls, 1, MOST_CALLS),
            ("calls a second", self.per_second, LEAST_PER_SECOND, MOST_PER_SECOND),
            ("seconds", self.seconds, 1, MOST_SECONDS),
            ("seconds to place them all", self.placing_seconds, 0, MOST_SECONDS),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name}: {value:g} is not from {least:g} to {most:g}")


@dataclass(frozen=True, slots=True)
class Tally:
    """How far it has come."""

    elapsed_seconds: float
    answered: int
    overflow: int
    failed: int


Progress = Callable[[Tally], None]


def run_load(plan: Plan, progress: Progress = lambda tally: None) -> list[LoadPhone]:
    """Place the calls, let them last, hang up. `progress` is told a few times a second.

    Whatever becomes of a call stands in its phone. Interrupted, it hangs up before KeyboardInterrupt goes on.
    """
    return asyncio.run(_run(plan, progress))


async def _run(plan: Plan, progress: Progress) -> list[LoadPhone]:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(ASKING, thread_name_prefix="webhook"))
    began_at, phones = loop.time(), list[LoadPhone]()
    placing = loop.create_task(_place(plan, phones))
    try:
        ends_at = began_at + plan.placing_seconds + plan.seconds
        while (now := loop.time()) < ends_at:
            progress(_tally(phones, now - began_at))
            await asyncio.sleep(min(TICK_SECONDS, ends_at - now))
    finally:
        placing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await placing
        await asyncio.gather(*(_hang_up(phone) for phone in phones))
    progress(_tally(phones, loop.time() - began_at))
    return phones


async def _place(plan: Plan, phones: list[LoadPhone]) -> None:
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.calls):
            await asyncio.sleep(began_at + number / plan.per_second - loop.time())
            phone = LoadPhone(number, plan.speech, plan.account_sid)
            phones.append(phone)
            tasks.create_task(phone.call(plan.webhook_url, plan.auth_token))


async def _hang_up(phone: LoadPhone) -> None:
    try:
        async with asyncio.timeout(HANG_UP_SECONDS):
            await phone.hang_up()
    except TimeoutError:
        phone.problems.append(
            f"call {phone.number}: the socket is open {HANG_UP_SECONDS:.0f} s after the hang-up"
        )
        phone.abort()


def _tally(phones: list[LoadPhone], elapsed_seconds: float) -> Tally:
    outcomes = [phone.figures.outcome for phone in phones]
    return Tally(
        elapsed_seconds,
        outcomes.count(Outcome.ANSWERED),
        outcomes.count(Outcome.OVERFLOW),
        outcomes.count(Outcome.FAILED),
    )
