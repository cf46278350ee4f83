"""The softphone's routes: whose call it is, who gets its socket and how often, what comes after a stream."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import websocket
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from actors.assistants import Assistants
from actors.meter import NoMeter, Outcome
from config import STREAM_PATH, Settings
from store.database import Database
from store.history import History
from store.journal import CallJournal
from store.tokens import MAX_MISSED, StreamTokens
from store.tokens import ticket as ticket_of
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS
from tests.web.conftest import KnownCall, Line, setups
from web import security
from web.admission import Admission
from web.calls import Calls
from web.media import MediaStreams
from web.pages import TOKEN_HEADER, Pages
from web.softphone import BUSY, CALLER, Softphone
from wire.journal import CallRecord, Then
from wire.signature import SIGNATURE_HEADER, sign
from wire.transcript import Entry, ToolUse

AUTH_TOKEN, CONSOLE_TOKEN = "12345", "a token of the console"
SITE = "https://voice.example.com"
ACCOUNT = "AC" + "1" * 32
LOCAL = "http://127.0.0.1:8080"
TTL = 60.0
POLL_SECONDS = 0.02
"""How long the server takes to see that it is to end."""
NUMBER = "+15550100000"
FALLBACK = "Sorry, nobody is here."


class Server:
    """The softphone with all that it stands on, served by threads of this process."""

    def __init__(
        self, directory: Path, threads: int = 8, names: tuple[str, ...] = ("desk",), **changes: Any
    ) -> None:
        settings = Settings(openai_api_key="sk-test", **changes)
        folder = directory / "assistants"
        folder.mkdir()
        for name in names:
            text = f'name = "{name.title()} & Co"\ninstructions = "Be brief."\nfallback = "{FALLBACK}"\n'
            (folder / f"{name}.toml").write_text(
                text + ("" if name == "desk" else f'numbers = ["{NUMBER}"]\n')
            )
        assistants = Assistants(folder)
        self.now = 1_000_000.0
        self.database = Database(f"sqlite:///{directory}/calls.db")
        self.journal = CallJournal(self.database)
        self.tokens = StreamTokens(self.database, TTL, lambda: self.now)
        self.calls = Calls(threads, actor=KnownCall)
        admission = Admission(self.calls, self.journal, 1, settings.daily_budget, lambda: 1800)
        self.app = Flask("softphone", static_folder=None)
        visitors = security.register(self.app, settings)
        Pages(visitors).register(self.app)
        streams = MediaStreams(settings, self.tokens, assistants, self.calls, self.journal, NoMeter())
        streams.register(self.app)
        sessions, history = visitors.sessions, History(self.database)
        Softphone(settings, sessions, self.calls, admission, history, streams).register(self.app)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="serve", daemon=True
        )
        self._thread.start()

    def browser(self) -> "Browser":
        return Browser(self.app.test_client(), self._server.server_port)

    def close(self) -> None:
        self.calls.drain(PATIENCE_SECONDS)
        self._server.shutdown()
        self._thread.join(PATIENCE_SECONDS)
        self._server.server_close()
        self.journal.close()
        self.database.close()


class Browser:
    """Asks as the page does."""

    def __init__(self, client: FlaskClient, port: int) -> None:
        self.client = client
        self.site = SITE
        self._port = port

    def sign_in(self) -> "Browser":
        headers = {TOKEN_HEADER: quote(CONSOLE_TOKEN), "Origin": SITE}
        assert self.client.post("/sign-in", base_url=SITE, headers=headers).status_code == 204
        return self

    def page(self) -> str:
        return self.client.get("/", base_url=self.site, headers={"Accept": "text/html"}).text

    def post(self, path: str, data: object = None) -> tuple[int, dict[str, Any]]:
        found = re.search('name="csrf-token" content="([0-9a-f]+)"', self.page())
        assert found
        headers = {"Origin": self.site, "X-CSRF-Token": found[1]}
        answer = self.client.post(path, base_url=self.site, headers=headers, json=data)
        return answer.status_code, answer.get_json(silent=True) or {}

    def call(self, **asked: object) -> dict[str, Any]:
        status, stream = self.post("/softphone/call", asked)
        assert (status, stream["then"]) == (200, "stream")
        return stream

    def ended(self, stream: dict[str, Any], **more: object) -> tuple[int, dict[str, Any]]:
        return self.post(
            "/softphone/ended", {"callSid": stream["callSid"], "stream": stream["stream"], **more}
        )

    def story(self, call_sid: str) -> tuple[int, dict[str, Any]]:
        answer = self.client.get("/softphone/story", base_url=self.site, query_string={"call": call_sid})
        return answer.status_code, answer.get_json(silent=True) or {}

    def upgrade(
        self, path: str, origin: str | None = SITE, headers: dict[str, str] | None = None
    ) -> websocket.WebSocket:
        """The upgraded socket; WebSocketBadStatusException says why there is none."""
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in self.client._cookies.values())  # type: ignore[attr-defined]
        media = websocket.WebSocket()
        media.connect(
            f"ws://127.0.0.1:{self._port}{path}",
            timeout=PATIENCE_SECONDS,
            cookie=cookies,
            origin=origin,
            suppress_origin=origin is None,
            header=headers or {},
        )
        return media

    def status(self, path: str, origin: str | None = SITE, headers: dict[str, str] | None = None) -> int:
        """What an upgrade is answered with."""
        try:
            media = self.upgrade(path, origin, headers)
        except websocket.WebSocketBadStatusException as refused:
            return int(refused.status_code)
        media.shutdown()
        return 101

    @contextmanager
    def stream(self, stream: dict[str, Any]) -> Iterator[websocket.WebSocket]:
        """The call's socket, on which the page has said connected and start."""
        media = self.upgrade(stream["socket"])
        try:
            start(media, stream)
            yield media
        finally:
            media.shutdown()


def start(media: websocket.WebSocket, stream: dict[str, Any]) -> None:
    names = ("accountSid", "streamSid", "callSid")
    content = {name: stream[name] for name in names} | {
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": stream["parameters"],
    }
    media.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
    media.send(
        json.dumps(
            {"event": "start", "sequenceNumber": "1", "start": content, "streamSid": stream["streamSid"]}
        )
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(
        tmp_path,
        twilio_auth_token=AUTH_TOKEN,
        twilio_account_sid=ACCOUNT,
        public_url=SITE,
        console_token=CONSOLE_TOKEN,
    )
    yield made
    made.close()


@pytest.fixture
def browser(server: Server) -> Browser:
    return server.browser().sign_in()


def test_the_page_says_who_answers(browser: Browser) -> None:
    page = browser.page()
    assert "Desk &amp; Co</h1>" in page
    assert "gpt-realtime-2.1" in page
    assert "no account needed" not in page
    assert "<select" not in page


def test_a_stranger_gets_neither_page_nor_call_nor_socket(server: Server, browser: Browser) -> None:
    stranger = server.browser()
    assert stranger.client.get("/", headers={"Accept": "text/html"}).status_code == 303
    for path in ("/softphone/call", "/softphone/ended"):
        assert stranger.client.post(path, headers={"Origin": SITE}, json={}).status_code == 401
    assert stranger.client.get("/softphone/story").status_code == 401
    assert stranger.status(browser.call()["socket"]) == 401


def test_a_call_looks_like_one_of_twilio_s(browser: Browser) -> None:
    first, second = browser.call(), browser.call()
    for prefix, name in (("CA", "callSid"), ("MZ", "streamSid")):
        assert re.fullmatch(f"{prefix}[0-9a-f]{{32}}", first[name])
        assert first[name] != second[name]
    assert (first["accountSid"], first["stream"], first["seconds"]) == (ACCOUNT, 1, 0)
    assert first["parameters"]["token"] not in first["socket"]


def test_the_call_begins_on_its_socket(browser: Browser) -> None:
    stream = browser.call()
    with browser.stream(stream):
        setup = setups.get(timeout=PATIENCE_SECONDS)
    assert (setup.call_sid, setup.record.stream_sid) == (stream["callSid"], stream["streamSid"])
    assert (setup.context.caller, setup.context.called) == (CALLER, "client:switchboard")
    assert "token" not in setup.context.parameters


def test_a_ticket_is_good_once(browser: Browser, logs: ExpectedLogs) -> None:
    stream = browser.call()
    with browser.stream(stream):
        setups.get(timeout=PATIENCE_SECONDS)
        logs.expect("a softphone's socket is refused: its ticket is spent, expired, or not its session's")
        assert browser.status(stream["socket"]) == 403
    assert browser.status(stream["socket"]) == 403


def test_of_two_sockets_with_one_ticket_one_gets_the_call(browser: Browser, logs: ExpectedLogs) -> None:
    logs.expect("media stream: refused: stream token refused: replayed")
    stream = browser.call()
    first, second = browser.upgrade(stream["socket"]), browser.upgrade(stream["socket"])
    start(first, stream)
    setups.get(timeout=PATIENCE_SECONDS)
    start(second, stream)
    assert second.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
    first.shutdown()
    second.shutdown()
    assert setups.empty()


def test_a_ticket_expires(server: Server, browser: Browser, logs: ExpectedLogs) -> None:
    logs.expect("a softphone's socket is refused")
    stream = browser.call()
    server.now += TTL + 1
    assert browser.status(stream["socket"]) == 403


def test_a_ticket_is_good_for_the_session_that_got_it(
    server: Server, browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("a softphone's socket is refused")
    stream = browser.call()
    assert server.browser().sign_in().status(stream["socket"]) == 403
    logs.expect("media stream: ended before it started")
    assert browser.status(stream["socket"]) == 101


@pytest.mark.parametrize("ticket", ["0" * 64, "x", "%00"])
def test_a_ticket_that_was_made_up_opens_nothing(browser: Browser, logs: ExpectedLogs, ticket: str) -> None:
    logs.expect("a softphone's socket is refused")
    browser.call()
    assert browser.status(f"{STREAM_PATH}/{ticket}") == 403


def test_the_ticket_of_a_call_of_twilio_s_opens_nothing(
    server: Server, browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("a softphone's socket is refused")
    token = server.tokens.issue(f"CA{'0' * 32}")
    assert browser.status(f"{STREAM_PATH}/{ticket_of(token)}") == 403


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example.com", "http://voice.example.com"])
def test_a_page_of_another_site_gets_no_socket(
    browser: Browser, logs: ExpectedLogs, origin: str | None
) -> None:
    logs.expect("refused GET /websocket/.*: it was not sent by a page of this server")
    assert browser.status(browser.call()["socket"], origin) == 403


def test_where_the_database_is_gone_no_socket_is_opened(
    server: Server, browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("a softphone's socket is refused: database")
    stream = browser.call()
    with server.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE stream_tokens")
    assert browser.status(stream["socket"]) == 503


def test_the_socket_of_twilio_is_as_closed_as_ever(browser: Browser, logs: ExpectedLogs) -> None:
    """A session opens its own address only, and Twilio's signature only Twilio's."""
    logs.expect("refused GET /websocket: it has no X-Twilio-Signature")
    assert browser.status(STREAM_PATH) == 403
    signed = {SIGNATURE_HEADER: sign(AUTH_TOKEN, f"wss://voice.example.com{STREAM_PATH}")}
    assert browser.status(STREAM_PATH, None, signed) == 101
    stream = browser.call()
    stranger = Browser(browser.client.application.test_client(), browser._port)
    signed = {SIGNATURE_HEADER: sign(AUTH_TOKEN, f"wss://voice.example.com{stream['socket']}")}
    assert stranger.status(stream["socket"], None, signed) == 401
    logs.allow("media stream: ended before it started")


def begun(server: Server, stream: dict[str, Any]) -> str:
    """The SID of a call whose stream has begun."""
    call_sid: str = stream["callSid"]
    server.tokens.spend(stream["parameters"]["token"], call_sid)
    server.journal.began(CallRecord(call_sid, stream["streamSid"], CALLER, "", "Desk & Co", "1"))
    return call_sid


def test_a_call_whose_stream_was_taken_from_it_goes_on(server: Server, browser: Browser) -> None:
    stream = browser.call()
    server.journal.ended(begun(server, stream), Outcome.HANDED_OVER.value, Then.RESUME)
    status, following = browser.ended(stream)
    assert (status, following["then"], following["stream"]) == (200, "stream", 2)
    assert following["callSid"] == stream["callSid"]
    assert following["streamSid"] != stream["streamSid"]
    with browser.stream(following):
        assert setups.get(timeout=PATIENCE_SECONDS).call_sid == stream["callSid"]


def test_a_stream_that_never_began_is_announced_again_a_little_later_each_time(
    browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("gets the fallback: stream token refused: resumed too often")
    stream, pauses = browser.call(), []
    while stream["then"] == "stream":
        pauses.append(stream["seconds"])
        stream = browser.ended(stream)[1]
    assert pauses == [0] * 9 + [1] * (MAX_MISSED - 8)
    assert stream == {"then": "fallback", "say": FALLBACK}


def test_a_question_that_is_asked_again_opens_nothing(
    server: Server, browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("gets the fallback: stream token refused: replayed")
    stream = browser.call()
    begun(server, stream)
    following = browser.ended(stream)[1]
    begun(server, following)
    assert browser.ended(stream)[1]["then"] == "fallback"


def test_a_call_that_breaks_everything_that_takes_it_gets_the_fallback(
    server: Server, browser: Browser, logs: ExpectedLogs
) -> None:
    logs.expect("gets the fallback: stream token refused: resumed too often")
    stream = browser.call()
    while stream["then"] == "stream":
        call_sid = begun(server, stream)
        stream = browser.ended(stream)[1]
    stored = server.journal.load(call_sid)
    assert stored is not None
    assert (stored.then, stored.outcome) == (Then.FALLBACK, "not_resumed")


@pytest.mark.parametrize(
    ("then", "answer"),
    [(Then.HANG_UP, {"then": "end"}), (Then.FALLBACK, {"then": "fallback", "say": FALLBACK})],
)
def test_a_call_that_is_over_ends(server: Server, browser: Browser, then: Then, answer: object) -> None:
    stream = browser.call()
    server.journal.ended(begun(server, stream), Outcome.ENDED.value, then)
    assert browser.ended(stream) == (200, answer)


def test_a_call_that_left_its_stream_on_purpose_comes_back(server: Server, browser: Browser) -> None:
    stream = browser.call()
    server.journal.ended(begun(server, stream), Outcome.ENDED.value, Then.SEND_DIGITS, "1w2")
    again = browser.ended(stream)[1]
    assert (again["stream"], again["parameters"]["resumed"]) == (2, "1")


@pytest.mark.parametrize("then", [Then.TRANSFER, Then.JOIN])
def test_nobody_is_put_through_to_a_browser(server: Server, browser: Browser, then: Then) -> None:
    stream = browser.call()
    call_sid = begun(server, stream)
    server.journal.ended(call_sid, Outcome.ENDED.value, then, "+15550100009")
    assert browser.ended(stream) == (200, {"then": "transfer"})
    stored = server.journal.load(call_sid)
    assert stored is not None
    assert stored.then is Then.HANG_UP


def test_of_several_assistants_one_is_chosen(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("signatures are not checked")
    server = Server(tmp_path, names=("desk", "sales"))
    browser = server.browser()
    browser.site = LOCAL
    page = browser.page()
    assert "Desk &amp; Co</h1>" in page
    assert '<option value="sales" >Sales &amp; Co</option>' in page
    chosen = browser.call(assistant="sales")
    following = browser.ended(chosen, assistant="sales")[1]
    for stream in (chosen, following):
        assert stream["parameters"]["assistant"] == "sales"
    for nobody in ("../sales", None, 1):
        assert "assistant" not in browser.call(assistant=nobody)["parameters"]
    server.close()


def test_who_hung_up_is_not_called_back(server: Server, browser: Browser) -> None:
    stream = browser.call()
    call_sid = begun(server, stream)
    assert browser.ended(stream, hungUp=True) == (200, {"then": "end"})
    stored = server.journal.load(call_sid)
    assert stored is not None
    assert (stored.then, stored.outcome) == (Then.HANG_UP, "hung_up")
    assert browser.ended(stream) == (200, {"then": "end"})


def test_what_became_of_the_call_is_kept_when_its_caller_hangs_up_afterwards(
    server: Server, browser: Browser
) -> None:
    stream = browser.call()
    call_sid = begun(server, stream)
    server.journal.ended(call_sid, Outcome.ENDED.value, Then.HANG_UP)
    browser.ended(stream, hungUp=True)
    stored = server.journal.load(call_sid)
    assert stored is not None
    assert stored.outcome == Outcome.ENDED.value


def test_a_worker_that_is_about_to_end_lets_another_one_answer(server: Server, browser: Browser) -> None:
    stream = browser.call()
    server.calls.drain(0)
    again = {"then": "ask again", "seconds": 1}
    assert browser.post("/softphone/call", {}) == (200, again)
    assert browser.ended(stream) == (200, again)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"callSid": f"CA{'0' * 32}", "stream": 1},
        {"callSid": 1, "stream": 1},
        {"callSid": "CA1", "stream": 1},
    ],
)
def test_of_a_call_that_is_none_of_the_session_s_nothing_is_said(browser: Browser, asked: object) -> None:
    assert browser.post("/softphone/ended", asked)[0] == 404


@pytest.mark.parametrize("asked", [None, [], ["callSid"], 1, "x"])
def test_a_question_has_fields(browser: Browser, asked: object) -> None:
    assert browser.post("/softphone/ended", asked)[0] == 400


@pytest.mark.parametrize("stream", [None, 0, -1, "1", 1.5, True])
def test_a_stream_s_number_is_a_number(browser: Browser, stream: object) -> None:
    call_sid = browser.call()["callSid"]
    assert browser.post("/softphone/ended", {"callSid": call_sid, "stream": stream})[0] == 400


def test_a_call_is_its_session_s_alone(server: Server, browser: Browser) -> None:
    stream = browser.call()
    begun(server, stream)
    other = server.browser().sign_in()
    assert other.ended(stream)[0] == 404
    assert other.ended(stream, hungUp=True)[0] == 404
    assert other.story(stream["callSid"])[0] == 404


def test_a_full_server_says_so(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("signatures are not checked")
    logs.expect("is not taken: this process takes no more calls")
    server = Server(tmp_path, threads=2)
    browser = server.browser()
    browser.site = LOCAL
    with Line(server.calls, "CA1"):
        assert browser.post("/softphone/call", {}) == (503, {"error": BUSY})
        setups.get(timeout=PATIENCE_SECONDS)
    server.close()


def test_the_budget_of_the_day_counts_here_too(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("signatures are not checked")
    logs.expect("is not taken: DAILY_BUDGET is spent")
    server = Server(tmp_path, daily_budget=1.0)
    browser = server.browser()
    browser.site = LOCAL
    server.journal.spent("CA1", 2.0)
    assert server.journal.flush(PATIENCE_SECONDS)
    status, answer = browser.post("/softphone/call", {})
    server.close()
    assert (status, "DAILY_BUDGET" in answer["error"]) == (503, True)


def test_calls_from_here_are_not_counted_as_a_number_s(server: Server, browser: Browser) -> None:
    for _ in range(3):  # MAX_CALLS_PER_CALLER is 1
        begun(server, browser.call())
    assert server.journal.flush(PATIENCE_SECONDS)
    browser.call()


def test_the_story_says_what_was_said_and_what_was_heard(server: Server, browser: Browser) -> None:
    stream = browser.call()
    call_sid = stream["callSid"]
    assert browser.story(call_sid) == (200, {"assistant": None, "outcome": "", "told": []})
    begun(server, stream)
    journal = server.journal
    journal.entry(call_sid, 0, Entry("i1", "assistant", "Hello there.", "Hello", 500, 900))
    journal.event(call_sid, "interrupted", vad_ms=1.0, us_ms=2.0, twilio_ms=3.0, silence_ms=6.0)
    journal.event(call_sid, "recording", path="/secret/place.wav")
    journal.entry(call_sid, 1, Entry("i2", "tool", "", "", 0, 0, tool=ToolUse("c1", "look_up", "{}", None)))
    assert journal.flush(PATIENCE_SECONDS)
    status, story = browser.story(call_sid)
    assert (status, story["assistant"], story["outcome"]) == (200, "Desk & Co", "")
    said, interrupted, tool = story["told"]
    assert 0 <= said.pop("at") < PATIENCE_SECONDS
    assert said == {
        "speaker": "assistant",
        "text": "Hello there.",
        "heard": "Hello",
        "heardMs": 500,
        "totalMs": 900,
        "failed": False,
    }
    assert (interrupted["event"], interrupted["silence_ms"]) == ("interrupted", 6.0)
    assert (tool["name"], tool["waiting"]) == ("look_up", True)
    assert "secret" not in str(story)


def test_without_a_token_this_machine_s_browser_calls_at_once(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("signatures are not checked")
    server = Server(tmp_path, openai_realtime_url="ws://127.0.0.1:1/v1/realtime")
    browser = server.browser()
    browser.site = LOCAL
    assert "no account needed" in browser.page()
    stream = browser.call()
    origin = f"http://127.0.0.1:{browser._port}"
    media = browser.upgrade(stream["socket"], origin)
    start(media, stream)
    assert setups.get(timeout=PATIENCE_SECONDS).context.caller == CALLER
    media.shutdown()
    logs.expect("it was not sent by a page of this server")
    assert browser.status(browser.call()["socket"], "http://127.0.0.1:3000") == 403
    server.close()
