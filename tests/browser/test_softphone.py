"""The softphone in a browser, with the offline model at the other end: heard, answered, interrupted, hung up."""

import os
import re
import signal
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright, Route, expect

from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from tests.browser.browser import PATIENCE_MS, QUIET, Recording, browsing, microphone, until
from tests.browser.conftest import serving
from wire.g711 import SAMPLE_RATE, ULAW_SILENCE, decode_ulaw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

expect.set_options(timeout=PATIENCE_MS)

QUESTION = "what does a full service include"
ANSWER = "A full service takes about two hours."
AUDIBLE = 0.02
SKIPPED = SAMPLE_RATE // 10
WINDOW = SAMPLE_RATE // 4


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    return microphone(tmp_path / "silence.wav", 60.0)


@pytest.fixture
def page(playwright: Playwright, server: ServerProcess, silent: Path) -> Iterator[Page]:
    """The softphone, whose microphone hears nothing."""
    with browsing(playwright, silent) as opened:
        opened.goto(server.url)
        yield opened


def status(page: Page, words: str) -> None:
    expect(page.get_by_role("status")).to_have_text(words)


def problem(page: Page, words: str) -> None:
    expect(page.get_by_role("alert")).to_contain_text(words)


def call(page: Page) -> None:
    page.get_by_role("button", name="Call").click()


def connected(page: Page) -> None:
    call(page)
    status(page, "Connected.")


def greeted(page: Page) -> None:
    """Until the assistant has said its greeting."""
    connected(page)
    expect(page.locator(".said.assistant")).to_contain_text("How can I help you?")
    expect(page.locator(".coming")).to_have_count(0)


def samples(ulaw: bytes) -> np.ndarray:
    return np.frombuffer(decode_ulaw(ulaw), "<i2").astype(float)


def test_a_whole_conversation(playwright: Playwright, server: ServerProcess, tmp_path: Path) -> None:
    heard = microphone(tmp_path / "caller.wav", 9.0, "question", 5.0, "interruption", 60.0)
    with browsing(playwright, heard) as page:
        page.goto(server.url)
        expect(page.get_by_role("heading", level=1)).to_have_text("Tailwind bicycle workshop")
        expect(page.locator("#phone")).to_contain_text("the offline model")
        # It would take some of the recording for noise, and this is to be compared.
        page.get_by_label("Take out echo and noise").uncheck()
        connected(page)

        greeting = until(page, lambda now: any(level > AUDIBLE for _, level in now.loudness))
        assert greeting.events("start")

        expect(page.locator(".said.caller").first).to_contain_text(QUESTION)
        answer = page.locator(".said.assistant", has_text=ANSWER)
        expect(answer).to_contain_text(re.compile(r"Answered after \d\.\d\d\ss"))

        clears = until(page, lambda now: bool(now.events("clear", received=True)))
        ((cleared_at, _),) = clears.events("clear", received=True)
        assert clears.loudest(cleared_at - 1000, cleared_at) > AUDIBLE
        expect(answer.locator(".cut")).to_contain_text("You interrupted here")
        expect(answer.locator(".unheard")).not_to_be_empty()
        expect(answer).to_contain_text(re.compile(r"Silent after \d\.\d\d\ss"))
        after = until(page, lambda now: now.loudness[-1][0] > cleared_at + 600)
        # What had gone to the loudspeaker by then is played, and the caller speaks for longer than this.
        assert after.loudest(cleared_at + 150, cleared_at + 600) < QUIET
        marks = [message["mark"]["name"] for _, message in after.events("mark", received=True)]
        assert [message["mark"]["name"] for _, message in after.events("mark")][: len(marks) // 2] == marks[
            : len(marks) // 2
        ]
        for figure in ("last-answer", "median-answer", "last-silence"):
            expect(page.locator(f"#{figure}")).to_have_text(re.compile(r"\d\.\d\d\ss"))

        page.get_by_role("button", name="Hang up").click()
        status(page, "You hung up.")
        over = until(page, lambda now: bool(now.events("stop")))
        assert over.events("stop")[0][1]["stop"]["callSid"] == over.events("start")[0][1]["start"]["callSid"]
        numbers = [int(message["sequenceNumber"]) for _, message in over.sent[1:]]
        assert numbers == list(range(1, len(numbers) + 1))
        check_frames(over.frames(), heard)
    call_sid = over.events("start")[0][1]["start"]["callSid"]
    await_end(server, call_sid, page)


def check_frames(frames: list[tuple[float, bytes]], recording: Path) -> None:
    """They come 50 times a second, and hold what the microphone heard."""
    assert {len(frame) for _, frame in frames} == {160}
    # Of all, not from the first to the last one: a page that stood still a moment sends what it has all at once.
    every_ms, _ = np.polyfit(np.arange(len(frames)), [at for at, _ in frames], 1)
    assert 1000 / every_ms == pytest.approx(50, abs=1)
    sent = samples(b"".join(frame for _, frame in frames))
    with wave.open(str(recording), "rb") as opened:
        heard = np.frombuffer(opened.readframes(opened.getnframes()), "<i2").astype(float)
    loud = np.flatnonzero(np.abs(heard) > 300)[0]
    question = heard[loud : loud + 2 * SAMPLE_RATE]
    lags = np.correlate(sent, question, "valid")
    start = int(np.argmax(lags))
    correlations = [
        likeness(question[at : at + WINDOW], sent, start + at)
        for at in range(0, len(question) - WINDOW, WINDOW)
        if np.std(question[at : at + WINDOW]) > 300
    ]
    assert len(correlations) > 3
    assert np.median(correlations) > 0.97


def likeness(window: np.ndarray, sent: np.ndarray, start: int) -> float:
    """The best correlation around there: a browser's microphone skips some samples where the machine is busy."""
    places = range(max(start - SKIPPED, 0), min(start + SKIPPED, len(sent) - len(window)))
    return float(max(np.corrcoef(window, sent[at : at + len(window)])[0, 1] for at in places))


def test_everything_is_done_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Call")).to_be_focused()
    page.keyboard.press("Enter")
    status(page, "Connected.")
    page.keyboard.type("1*")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Muted")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    expect(page.locator("summary")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#dialled")).to_have_text("1*#")
    for _ in range(14):
        page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    page.keyboard.press("Enter")
    status(page, "You hung up.")
    recording = Recording(page)
    assert [message["dtmf"]["digit"] for _, message in recording.events("dtmf")] == ["1", "*", "#"]


def test_who_is_muted_is_not_heard(playwright: Playwright, server: ServerProcess, tmp_path: Path) -> None:
    heard = microphone(tmp_path / "caller.wav", "question")
    with browsing(playwright, heard) as page:
        page.goto(server.url)
        connected(page)
        until(page, lambda now: any(set(frame) != set(ULAW_SILENCE) for _, frame in now.frames()))
        page.get_by_role("button", name="Mute").click()
        muted = len(Recording(page).frames()) + 50  # those that were on their way, and some more
        frames = until(page, lambda now: len(now.frames()) > muted + 100).frames()[muted:]
        assert {byte for _, frame in frames for byte in frame} == set(ULAW_SILENCE)
        page.get_by_role("button", name="Muted").click()
        until(page, lambda now: set(now.frames()[-1][1]) != set(ULAW_SILENCE))


def test_a_call_goes_on_while_its_server_is_renewed(
    playwright: Playwright, model: OfflineModel, tmp_path: Path, silent: Path
) -> None:
    with serving(model, tmp_path) as server, browsing(playwright, silent) as page:
        page.goto(server.url)
        greeted(page)
        os.kill(server.pid, signal.SIGHUP)
        status(page, "Connected again.")
        starts = until(page, lambda now: len(now.events("start")) == 2).events("start")
        first, second = (message["start"] for _, message in starts)
        assert first["callSid"] == second["callSid"]
        assert first["streamSid"] != second["streamSid"]
        expect(page.locator(".said.assistant")).to_contain_text("How can I help you?")
        page.get_by_role("button", name="Hang up").click()
        status(page, "You hung up.")


def test_a_page_that_is_left_hangs_up(page: Page, server: ServerProcess) -> None:
    connected(page)
    (call_sid,) = {message["start"]["callSid"] for _, message in Recording(page).events("start")}
    page.goto("about:blank")
    await_end(server, call_sid, page)


def await_end(server: ServerProcess, call_sid: str, page: Page) -> None:
    """Until the server says that the caller hung up."""
    while f"{call_sid}: ending" not in server.log.read_text():
        page.wait_for_timeout(50)  # ends with the test's time
    line, _, _ = server.log.read_text().rpartition(f"{call_sid}: ending")[2].partition("\n")
    assert "caller hung up" in line


def test_where_there_is_no_microphone_the_page_says_so(playwright: Playwright, server: ServerProcess) -> None:
    with browsing(playwright) as page:
        page.goto(server.url)
        call(page)
        problem(page, "No microphone was found. Connect one")
        expect(page.get_by_role("button", name="Call")).to_be_enabled()


def test_where_the_microphone_is_refused_the_page_says_what_to_do(
    playwright: Playwright, server: ServerProcess, silent: Path
) -> None:
    with browsing(playwright, silent, permitted=False) as page:
        page.goto(server.url)
        call(page)
        problem(page, "The microphone was refused. Allow it for this page")


def test_a_page_from_another_machine_over_http_says_why_it_has_no_microphone(
    playwright: Playwright, server: ServerProcess, silent: Path
) -> None:
    with browsing(playwright, silent) as page:
        page.route("http://lan.example/**", lambda route: forward(route, server.url))
        page.goto("http://lan.example/")
        assert page.evaluate("navigator.mediaDevices") is None
        problem(page, "Browsers give the microphone only to pages that were opened over https://")
        call(page)
        problem(page, "Browsers give the microphone only to pages that were opened over https://")


def forward(route: Route, url: str) -> None:
    # The server would refuse what comes from a page that is not its own.
    headers = {name: value for name, value in route.request.headers.items() if name != "origin"}
    route.fulfill(
        response=route.fetch(url=route.request.url.replace("http://lan.example", url), headers=headers)
    )


def test_a_server_without_room_says_so(
    playwright: Playwright, model: OfflineModel, tmp_path: Path, silent: Path
) -> None:
    with (
        serving(model, tmp_path, WORKERS="1", THREADS="4") as server,
        browsing(playwright, silent) as page,
    ):
        page.goto(server.url)
        others = [page.context.new_page() for _ in range(3)]
        for other in others:
            other.goto(server.url)
            connected(other)
        call(page)
        problem(page, "All lines are busy.")


def test_a_socket_that_is_refused_is_said(page: Page) -> None:
    def spoil(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"socket": f"/websocket/{'0' * 64}"})

    page.route("**/softphone/call", spoil)
    call(page)
    problem(page, "The server refused the call's media socket.")
    status(page, "No call.")


def test_a_server_that_is_gone_is_said(
    playwright: Playwright, model: OfflineModel, tmp_path: Path, silent: Path
) -> None:
    with serving(model, tmp_path, DRAIN_SECONDS="0") as server, browsing(playwright, silent) as page:
        page.goto(server.url)
        greeted(page)
        server.stop()
        page.set_default_timeout(30_000)
        expect(page.get_by_role("alert")).to_contain_text(
            "The server does not answer any more.", timeout=30_000
        )
        call(page)
        problem(page, "The server does not answer.")


def test_a_call_that_the_assistant_ends_is_over(page: Page) -> None:
    page.route("**/softphone/ended", lambda route: route.fulfill(json={"then": "end"}))
    connected(page)
    page.evaluate("window.recorded.socket.close()")
    status(page, "The assistant hung up.")


def test_signing_in_and_out(playwright: Playwright, model: OfflineModel, tmp_path: Path) -> None:
    token = "a tökén of the console"
    with serving(model, tmp_path, CONSOLE_TOKEN=token) as server, browsing(playwright) as page:
        page.goto(f"{server.url}/?a=1")
        page.get_by_label("Console token").fill("wrong")
        page.keyboard.press("Enter")
        problem(page, "That is not the token.")
        page.get_by_label("Console token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{server.url}/?a=1")
        expect(page.get_by_role("button", name="Call")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{server.url}/sign-in")
        page.goto(server.url)
        expect(page.get_by_label("Console token")).to_be_visible()


def test_the_theme_is_the_system_s_until_another_one_is_chosen(
    playwright: Playwright, server: ServerProcess
) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with browsing(playwright, color_scheme="dark") as page:
        page.goto(server.url)
        dark = page.evaluate(paper)
        page.get_by_role("button", name="Switch between light and dark").click()
        light = page.evaluate(paper)
        assert light != dark
        page.reload()
        assert page.evaluate(paper) == light
        page.emulate_media(color_scheme="light")
        assert page.evaluate(paper) == light


def test_the_page_fits_a_small_phone(page: Page) -> None:
    for width in (360, 390, 768):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
