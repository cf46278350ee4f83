"""A load test's phones, against a small server of this test's, and what is said of them."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

import run
from simulator.load import Plan, Tally, run_load
from simulator.load_phone import Figures, LoadPhone, Outcome, Speech
from simulator.load_report import Report, Times
from simulator.script import silence, tone
from tests.simulator.load_server import OVERFLOW, PATIENCE, Media, Server
from wire.g711 import FRAME_BYTES
from wire.signature import SIGNATURE_HEADER

SPEECH = Speech.of(tone(100))
FALLBACK = "<Response><Say>Sorry.</Say><Hangup/></Response>"
OVER = "<Response><Hangup/></Response>"


def with_server(server: Server, act: Callable[[], Awaitable[None]]) -> None:
    async def run_it() -> None:
        async with asyncio.timeout(PATIENCE), server:
            await act()

    asyncio.run(run_it())


async def called(server: Server, auth_token: str | None = "secret") -> LoadPhone:
    phone = LoadPhone(1, SPEECH)
    await phone.call(server.url, auth_token)
    return phone


async def until(happened: Callable[[], object]) -> None:
    while not happened():
        await asyncio.sleep(0.005)


def test_a_caller_hears_the_greeting_asks_and_hears_the_answer() -> None:
    async def talk(media: Media) -> None:
        media.say(tone(100))
        media.mark("greeted")
        await media.until_loud()
        media.received = [each for each in media.received if each["event"] != "media"]
        await media.until("media")
        await asyncio.sleep(0.25)
        media.say(tone(100))

    server = Server(talk)

    async def act() -> None:
        phone = await called(server)
        await until(lambda: phone.figures.answers_ms)
        await phone.hang_up()
        found = phone.figures
        assert found.outcome is Outcome.ANSWERED
        assert found.set_up_ms is not None
        assert found.first_audio_ms is not None
        assert (len(found.answers_ms), found.unanswered, found.gaps_ms) == (1, 0, [])
        assert (phone.marks_asked, phone.marks_echoed) == (1, 1)
        assert phone.problems == []

    with_server(server, act)
    assert SIGNATURE_HEADER.lower().encode() in server.asked[0].lower()


def test_what_the_assistant_says_on_while_the_caller_speaks_is_neither_an_answer_nor_a_gap() -> None:
    async def talk(media: Media) -> None:
        media.say(tone(20))
        await media.until_loud()
        media.say(tone(20))
        await asyncio.sleep(0.05)
        media.say(tone(400))
        await asyncio.sleep(0.15)
        media.say(tone(20))  # the caller has finished by now, and this stands behind the 400 ms
        await asyncio.sleep(0.5)
        media.say(tone(20))

    server = Server(talk)

    async def act() -> None:
        phone = await called(server)
        await until(lambda: phone.figures.answers_ms)
        await phone.hang_up()
        assert phone.figures.answers_ms[0] > 300
        assert phone.figures.gaps_ms == []

    with_server(server, act)


def test_a_silence_within_what_the_assistant_says_is_a_gap() -> None:
    async def talk(media: Media) -> None:
        media.say(tone(40))
        await asyncio.sleep(0.2)
        media.say(tone(40))
        media.say(tone(40))

    server = Server(talk)

    async def act() -> None:
        phone = await called(server)
        await until(lambda: phone.audio_ms == 120)
        await phone.hang_up()
        assert len(phone.figures.gaps_ms) == 1

    with_server(server, act)


@pytest.mark.parametrize(
    ("answer", "outcome", "problem"),
    [
        (OVERFLOW, Outcome.OVERFLOW, ""),
        (403, Outcome.FAILED, "answered 403"),
        ("<Response/>", Outcome.FAILED, "the webhook's answer is empty"),
        ("<Wrong/>", Outcome.FAILED, "TwiML is a <Response>"),
        (
            '<Response><Connect><Stream url="ws://127.0.0.1:1/"/></Connect></Response>',
            Outcome.FAILED,
            "127.0.0.1",
        ),
    ],
)
def test_a_call_that_gets_no_stream_says_why(answer: str | int, outcome: Outcome, problem: str) -> None:
    server = Server()
    server.twiml = lambda path: answer

    async def act() -> None:
        phone = await called(server)
        await phone.hang_up()
        assert phone.figures.outcome is outcome
        assert len(phone.problems) == bool(problem)
        assert problem in "".join(phone.problems)

    with_server(server, act)


@pytest.mark.parametrize(
    ("answer", "outcome", "moved"),
    [(None, Outcome.ANSWERED, 1), (OVER, Outcome.ANSWERED, 0), (FALLBACK, Outcome.FAILED, 0)],
)
def test_a_stream_that_the_server_ends_is_asked_about(
    answer: str | None, outcome: Outcome, moved: int
) -> None:
    streams = itertools.count(1)

    async def talk(media: Media) -> None:
        if next(streams) == 1:
            media.socket.close(1013)

    server = Server(talk)

    async def act() -> None:
        phone = await called(server)
        server.twiml = lambda path: answer or server.connect()
        await until(lambda: len(server.asked) == 2 and (not moved or phone.figures.moved))
        if moved:
            await server.media[-1].until("media")
        else:
            await until(lambda: phone._moving is not None and phone._moving.done())
        await phone.hang_up()
        assert (phone.figures.outcome, phone.figures.moved) == (outcome, moved)
        assert b"/ended" in server.asked[1]

    with_server(server, act)


def test_a_load_places_all_calls_tells_how_far_it_is_and_hangs_up() -> None:
    async def talk(media: Media) -> None:
        media.say(tone(20))

    told: list[Tally] = []
    server = Server(talk)

    async def act() -> None:
        plan = Plan(server.url, None, SPEECH, calls=3, per_second=50, seconds=1)
        phones = await asyncio.to_thread(run_load, plan, told.append)
        report = Report.of(phones)
        assert (report.calls, report.answered, report.right) == (3, 3, True)
        for media in server.media:
            await media.until("stop")

    with_server(server, act)
    assert told[-1].answered == 3
    assert len(server.asked) == 3


def test_speech_is_what_can_be_heard() -> None:
    assert SPEECH.frames == Speech.of(silence(200) + tone(100) + silence(300)).frames
    assert len(SPEECH.frames) == 5
    assert all(len(frame) == FRAME_BYTES for frame in SPEECH.frames)
    with pytest.raises(ValueError, match="nothing can be heard"):
        Speech.of(silence(500))


@pytest.mark.parametrize(
    "wrong", [{"calls": 0}, {"calls": 1001}, {"seconds": 0}, {"seconds": 3601}, {"per_second": 51}]
)
def test_a_load_is_bounded(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not from"):
        Plan(**{"webhook_url": "", "auth_token": None, "speech": SPEECH, "calls": 1} | wrong)
    with pytest.raises(ValueError, match="seconds to place them all"):
        Plan("", None, SPEECH, calls=1000, per_second=0.2)


def report(**changes: Any) -> Report:
    times = {"set-up": Times.of([1.0]), "gap": None}
    fields = dict.fromkeys(Report.__dataclass_fields__, 0) | {"times": times, "problems": ()}
    return Report(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"overflow": 3}, True),
        ({"failed": 1}, False),
        ({"silent": 1}, False),
        ({"problems": ("call 1: 31951: not JSON",)}, False),
    ],
)
def test_a_call_that_failed_makes_the_whole_wrong_and_overflow_does_not(
    changes: dict[str, Any], right: bool
) -> None:
    assert report(**changes).right is right


def test_what_came_of_it_is_said_to_people_and_to_programs() -> None:
    found = report(
        calls=12, answered=10, overflow=2, moved=3, latest_ms=40.0, problems=tuple("abcdefghijklm")
    )
    text = found.as_text()
    assert "12 calls: 10 answered, 2 overflow, 0 failed" in text
    assert "3 times a call went on with another stream" in text
    assert "a frame left 40 ms late" in text
    assert text.endswith("j\nand 3 more")
    assert found.as_json()["set_up_ms"] == {"count": 1, "p50": 1.0, "p99": 1.0, "max": 1.0}
    assert found.as_json()["gap_ms"] is None
    assert orjson.loads(orjson.dumps(found.as_json())) == found.as_json()


def test_quantiles_are_times_that_were_measured() -> None:
    assert Times.of([float(each) for each in range(100, 0, -1)]) == Times(100, 50, 100, 100)
    assert Times.of([]) is None


def test_a_call_that_nobody_knows_the_end_of_has_failed() -> None:
    async def unfinished() -> LoadPhone:
        return LoadPhone(1, SPEECH)

    phone = asyncio.run(unfinished())
    assert phone.figures == Figures()
    assert Report.of([phone]).failed == 1


def test_what_is_not_on_this_machine_is_only_loaded_after_a_question() -> None:
    result = CliRunner().invoke(run.main, ["load", "https://192.0.2.1/twiml", "--calls", "7"], input="n\n")
    assert result.exit_code == 1
    assert "not on this machine. 7 calls for 33 s may cost money. Place them?" in result.output


def test_the_command_ends_with_1_if_a_call_failed() -> None:
    arguments = ["load", "http://127.0.0.1:1/twiml", "--calls", "1", "--seconds", "1", "--json"]
    result = CliRunner().invoke(run.main, arguments)
    assert result.exit_code == 1
    assert orjson.loads(result.stdout[result.stdout.index("{") :])["failed"] == 1


def test_a_load_that_is_too_much_is_not_placed() -> None:
    result = CliRunner().invoke(run.main, ["load", "http://127.0.0.1:1/twiml", "--calls", "5000"])
    assert result.exit_code == 1
    assert "calls: 5000 is not from 1 to 1000" in result.output
