"""The console in a browser: calls seen and heard while they go on, and afterwards, and what can be done to them."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, Route, expect

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.script import Script, ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from tests.browser import test_accessibility
from tests.browser.browser import PATIENCE_MS, QUIET, Recording, browsing, until
from tests.browser.conftest import serving
from tests.conftest import ExpectedLogs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

expect.set_options(timeout=PATIENCE_MS)

PATIENCE = PATIENCE_MS / 1000
QUESTION, ANSWER = "What do you have?", "We have one and two and three."
END_OF_ANSWER = "two and three."
"""Which nobody has heard who interrupted it: what was heard of it is shown apart."""
SOME_WAVES = re.compile(".{200}", re.DOTALL)
"""In a path's data. What waits by a function in the page is refused by its policy, as soon as it has to wait."""
axe = test_accessibility.axe
ASSISTANT = Path(__file__).parents[2] / "assistant.toml"


class Chatty(Script):
    """Says what it is told to, and answers every question alike, at length."""

    def follow(self, instructions: str) -> ScriptedReply:
        found = re.search('exactly these words to the caller and then stop: "(.*)"', instructions)
        return ScriptedReply(found[1] if found else "Goodbye then.", audio=tone(500))

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        # So long that it is always interrupted, whatever a test does and looks at meanwhile.
        return ScriptedReply(ANSWER, audio=tone(20_000))

    def _understand(self) -> str:
        return QUESTION


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that records what is said, with somebody on the list for transfers."""
    directory = tmp_path_factory.mktemp("console")
    text = (
        ASSISTANT.read_text()
        .replace("# [recording]", "[recording]")
        .replace("# [transcript]", "[transcript]")
    )
    (directory / "desk.toml").write_text(f'{text}\n[telephony.transfer]\nsales = "+15550100009"\n')
    changes = {"ASSISTANT": str(directory / "desk.toml"), "RECORDINGS": str(directory / "recordings")}
    with OfflineModel(**Chatty().equipment()) as model, serving(model, directory, **changes) as server:
        yield server


@pytest.fixture
def page(playwright: Playwright) -> Iterator[Page]:
    with browsing(playwright) as opened:
        yield opened


@contextmanager
def calling(server: ServerProcess, number: str = "+4930111222") -> Iterator[Phone]:
    """A call whose greeting has been heard."""
    with Phone(f"{server.url}/twiml", from_number=number) as phone:
        phone.dial()
        phone.await_assistant(PATIENCE, since=0)
        phone.await_silence(500, PATIENCE)
        yield phone


def ask(phone: Phone) -> None:
    phone.say(tone(600) + silence(600)).wait(PATIENCE)
    phone.await_assistant(PATIENCE)
    phone.say(silence(1500)).wait(PATIENCE)  # some of the answer is heard


def ended(phone: Phone) -> CallResult:
    phone.hang_up()
    return phone.await_end(PATIENCE)


def see(page: Page, server: ServerProcess, phone: Phone) -> None:
    page.goto(f"{server.url}/console/calls/{phone.call_sid}")
    expect(page.locator("#state")).to_have_text("In progress")


def past(page: Page, server: ServerProcess, number: str, end_ms: int = 0) -> str:
    """A call that is over, with a question and an interrupted answer, and its page. Returns its SID.

    So long does the second answer go on than the first one.
    """
    with calling(server, number) as phone:
        ask(phone)
        ask(phone)
        phone.say(silence(end_ms)).wait(PATIENCE)
        ended(phone)
        page.goto(f"{server.url}/console/calls/{phone.call_sid}")
        expect(page.locator("#state")).to_have_text("Caller hung up")
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
        return phone.call_sid


def test_calls_come_and_go_on_the_board_with_what_is_said_in_them(page: Page, desk: ServerProcess) -> None:
    page.goto(f"{desk.url}/console")
    expect(page.get_by_role("heading", name="It is quiet")).to_be_visible()
    with calling(desk) as phone:
        row = page.locator("#calls li")
        expect(row).to_contain_text("…22 → …02")
        expect(row).to_contain_text("How can I help you?")
        ask(phone)
        expect(row).to_contain_text(ANSWER)
        ask(phone)
        expect(row).to_contain_text("1 interruption")
        row.get_by_role("link").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("In progress")
        page.go_back()
        ended(phone)
        expect(page.get_by_role("heading", name="It is quiet")).to_be_visible()


def test_a_call_is_followed_word_by_word_and_to_its_end(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)
        ask(phone)
        expect(page.locator(".conversation .caller .turn")).to_contain_text(QUESTION)
        expect(page.locator(".conversation .assistant .turn").last).to_contain_text(ANSWER)
        ask(phone)
        expect(page.get_by_text(re.compile("interrupted, silent after"))).to_be_visible()
        expect(page.locator("#fact-interruptions")).to_have_text("1")
        expect(page.locator(".timeline .mark")).to_have_count(1)
        expect(page.locator(".wave.caller")).to_have_attribute("d", SOME_WAVES)
        expect(page.locator(".wave.assistant")).to_have_attribute("d", SOME_WAVES)
        ended(phone)
        expect(page.locator("#state")).to_have_text("Caller hung up")
        expect(page.get_by_role("link", name="Recording")).to_be_visible()
        expect(page.get_by_role("heading", name="Take part")).to_be_hidden()


def test_a_page_that_gets_no_stream_asks_again_and_again(page: Page, desk: ServerProcess) -> None:
    page.route(re.compile("/events"), lambda route: route.fulfill(status=503, body="{}"))
    with calling(desk) as phone:
        see(page, desk, phone)
        ask(phone)
        expect(page.locator(".conversation .assistant .turn").last).to_contain_text(ANSWER)
        ended(phone)
        expect(page.locator("#state")).to_have_text("Caller hung up")


def test_a_server_that_does_not_answer_is_said_and_forgotten(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)

        def lost(route: Route) -> None:
            route.abort()

        page.route(re.compile("/(events|news.json)"), lost)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.reload()
        page.unroute(re.compile("/(events|news.json)"), lost)
        ask(phone)
        expect(page.locator(".conversation .assistant .turn").last).to_contain_text(ANSWER)
        expect(page.locator("#feed-state")).to_be_empty()
        ended(phone)


def test_something_is_said_into_a_call_and_heard_there(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)
        before = time.monotonic()
        page.get_by_label("Say into the call").fill("The boss is on the way.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_have_text("The assistant says it as soon as it may.")
        expect(page.locator(".conversation .assistant .turn").last).to_contain_text("The boss is on the way.")
        phone.await_assistant(PATIENCE, since=before)
        page.get_by_label("Tell the assistant").fill("She is a friend.")
        page.get_by_label("and let it say something about it").check()
        page.get_by_role("button", name="Tell it").click()
        expect(page.locator("#done")).to_have_text("The assistant knows it now.")
        assert page.get_by_label("Transfer to").locator("option").all_inner_texts() == ["sales"]
        ended(phone)


def test_a_call_is_hung_up_from_the_page_but_not_by_mistake(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)
        page.get_by_role("button", name="Hang up …").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        ask(phone)
        page.get_by_role("button", name="Hang up …").click()
        page.get_by_role("button", name="Hang up now").click()
        result = phone.await_end(PATIENCE)
        assert not result.errors
        expect(page.locator("#state")).to_have_text("Ended by us")


def test_who_comes_too_late_is_told_so(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)
        # Nothing is told to the page from now on: it takes itself to be out of sight.
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.evaluate("document.querySelector('#say').value = 'Hello'")
        ended(phone)
        known = f"{desk.url}/console/calls/{phone.call_sid}.json"
        deadline = time.monotonic() + PATIENCE
        while page.request.get(known).json()["call"]["live"]:
            assert time.monotonic() < deadline, "the server did not notice that the call is over"
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Say it").click()
        expect(page.locator("#done")).to_have_text("This call has ended in the meantime.")


def test_a_call_is_listened_to_while_it_goes_on(page: Page, desk: ServerProcess) -> None:
    with calling(desk) as phone:
        see(page, desk, phone)
        page.get_by_role("button", name="Listen live").click()
        expect(page.get_by_role("button", name="Stop listening")).to_have_attribute("aria-pressed", "true")

        def heard(recording: Recording) -> bool:
            return any(level > 10 * QUIET for _, level in recording.loudness)

        for _ in range(3):
            ask(phone)
        recording = until(page, heard)
        loudest = max(level for _, level in recording.loudness)
        print(f"\nlistened live: loudest RMS {loudest:.3f} of 1")
        page.get_by_role("button", name="Stop listening").click()
        expect(page.get_by_role("button", name="Listen live")).to_be_visible()
        ended(phone)


NOTE_WHAT_PLAYS = """() => {
  window.played = [];
  const note = () => {
    const text = document.querySelector(".conversation .now")?.textContent;
    if (text && text !== window.played.at(-1)) {
      window.played.push(text);
    }
  };
  note();
  const marks = { subtree: true, attributeFilter: ["class"] };
  new MutationObserver(note).observe(document.querySelector(".conversation"), marks);
}"""
"""What is marked while it plays: some of it for so short a time that whoever looks now and then misses it."""


def await_played(page: Page, *texts: str) -> None:
    """Until these were marked, one after the other."""
    deadline = time.monotonic() + PATIENCE
    while True:
        played = iter(page.evaluate("window.played"))
        if all(any(text in found for found in played) for text in texts):
            return
        assert time.monotonic() < deadline, page.evaluate("window.played")
        page.wait_for_timeout(50)


def test_a_past_call_is_played_in_step_with_what_was_said(page: Page, desk: ServerProcess) -> None:
    past(page, desk, "+4930777001", end_ms=4000)
    expect(page.locator("#player")).to_be_visible()
    page.evaluate(NOTE_WHAT_PLAYS)
    play = page.get_by_role("button", name="Play", exact=True)
    play.focus()
    page.keyboard.press("Enter")
    await_played(page, "How can I help you?", QUESTION, END_OF_ANSWER)
    page.get_by_role("button", name="Pause").click()
    page.locator(".conversation .assistant").last.get_by_role("button").click()
    expect(page.locator(".conversation .assistant.now")).to_contain_text(END_OF_ANSWER)
    position = page.get_by_role("slider", name="Position in the recording")
    at = float(position.input_value())
    assert at > 3
    position.focus()
    page.keyboard.press("Home")
    expect(page.locator(".conversation .assistant.now")).to_contain_text("How can I help you?")
    expect(page.locator(".timeline .cursor")).to_have_attribute("visibility", "visible")
    page.locator(".timeline svg").click(position={"x": 1, "y": 60})
    assert float(position.input_value()) < at


def test_a_past_call_is_downloaded_in_three_forms(page: Page, desk: ServerProcess, tmp_path: Path) -> None:
    call_sid = past(page, desk, "+4930777002")
    files = {}
    for name in ("Recording", "Transcript", "JSON"):
        with page.expect_download() as started:
            page.get_by_role("link", name=name).click()
        path = tmp_path / started.value.suggested_filename
        started.value.save_as(path)
        files[path.name] = path.read_bytes()
    assert files.keys() == {f"{call_sid}-1.wav", f"{call_sid}.txt", f"{call_sid}.json"}
    assert files[f"{call_sid}-1.wav"].startswith(b"RIFF")
    assert f"Caller     {QUESTION}" in files[f"{call_sid}.txt"].decode()
    assert json.loads(files[f"{call_sid}.json"])["call"]["from"] == "…02"


def test_past_calls_are_searched_and_numbers_are_whole_when_asked_for(
    page: Page, desk: ServerProcess
) -> None:
    call_sid = past(page, desk, "+4930777003")
    page.goto(f"{desk.url}/console/calls")
    rows = page.locator("#rows tr")
    expect(rows.first).to_contain_text("…03")
    page.get_by_label("Number or call SID").fill("0049 30 777003")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No call fits")).to_be_visible()
    page.get_by_label("Number or call SID").fill("+49 30 777003")
    page.get_by_label("Outcome").select_option("hung_up")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Show whole numbers").click()
    expect(rows).to_contain_text("+4930777003")
    assert "777003" not in page.url
    rows.get_by_role("link").click()
    expect(page.locator("#from")).to_have_text("+4930777003")
    assert call_sid in page.url
    page.go_back()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("From").fill("2020-01-01")
    page.get_by_label("To", exact=True).fill("2020-01-02")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="No call fits")).to_be_visible()


def test_the_system_is_shown_in_numbers(page: Page, desk: ServerProcess) -> None:
    past(page, desk, "+4930777004")
    page.goto(f"{desk.url}/console/system")
    expect(page.locator("#fact-calls")).not_to_have_text("–")
    expect(page.locator("#calls-chart .bar")).not_to_have_count(0)
    expect(page.locator("#outcomes")).to_contain_text("Caller hung up")
    page.get_by_role("button", name="Last hour").click()
    expect(page.get_by_role("button", name="Last hour")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#answer-chart .dot")).not_to_have_count(0)


def test_closed_pages_leave_the_server_free(page: Page, desk: ServerProcess, logs: ExpectedLogs) -> None:
    with calling(desk) as phone:
        for _ in range(12):
            page.goto(f"{desk.url}/console/calls/{phone.call_sid}")
            expect(page.locator("#conversation li").first).to_be_visible()
            page.goto("about:blank")
        with calling(desk, "+4930111333") as other:
            see(page, desk, other)
            ended(other)
        ended(phone)


def test_axe_finds_nothing_on_the_console_s_pages(page: Page, desk: ServerProcess, axe: str) -> None:
    page.goto(f"{desk.url}/console")
    expect(page.get_by_role("heading", name="It is quiet")).to_be_visible()
    test_accessibility.check(page, axe)
    with calling(desk, "+4930777005") as phone:
        expect(page.locator("#calls li")).to_be_visible()
        ask(phone)
        test_accessibility.check(page, axe)
        see(page, desk, phone)
        ask(phone)
        expect(page.locator(".wave.caller")).to_have_attribute("d", SOME_WAVES)
        test_accessibility.check(page, axe)
        page.get_by_role("button", name="Hang up …").click()
        test_accessibility.check(page, axe)
        page.keyboard.press("Escape")
        ended(phone)
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    test_accessibility.check(page, axe)
    page.goto(f"{desk.url}/console/calls")
    expect(page.locator("#rows tr").first).to_be_visible()
    test_accessibility.check(page, axe)
    page.goto(f"{desk.url}/console/system")
    expect(page.locator("#outcomes")).to_contain_text("Caller hung up")
    test_accessibility.check(page, axe)
    page.goto(f"{desk.url}/console/calls/CA404")
    expect(page.get_by_role("heading", name="No such call")).to_be_visible()
    test_accessibility.check(page, axe)
