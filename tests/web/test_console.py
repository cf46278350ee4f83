"""The console's data and actions: what is told of calls, to whom, and what can be done to them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from actors.orders import decode
from config import Settings
from store.database import Database
from store.journal import CallJournal
from store.live import LiveAudio
from store.orders import Orders
from tests.conftest import ExpectedLogs
from web import CALLS, DATABASE, JOURNAL, create_app
from web.calls import Calls
from web.pages import TOKEN_HEADER
from web.sessions import SESSION_SECONDS, Sessions
from wire.journal import CallRecord, Then
from wire.transcript import Entry, ToolUse
from wire.wav import mulaw_header

TOKEN = "a token of sixteen letters"
SITE = "https://voice.example.com"
SID = "CA" + "1" * 32
RECORD = CallRecord(SID, "MZ1", "+4930111222", "+15550199999", "reception", "v1")
QUESTION = Entry("i1", "caller", "What do you have?", "What do you have?", 0, 0)
ANSWER = Entry("i2", "assistant", "We have one and two.", "We have", 600, 1500)
TOOL = Entry("i3", "tool", "", "", 0, 0, tool=ToolUse("c1", "look_up", '{"card": 1}', '"two"'))
ASSISTANT = (
    'instructions = "Be brief."\nfallback = "Nobody is here."\n'
    '[telephony.transfer]\nsales = "+15550100009"\n[limits]\nmax_minutes = 30\n'
)


class Site:
    """The application, somebody who looks at it, and a journal of calls."""

    def __init__(self, app: Flask, folder: Path) -> None:
        self.app = app
        self.folder = folder
        self.client: FlaskClient = app.test_client()
        self.journal: CallJournal = app.extensions[JOURNAL]
        self.database: Database = app.extensions[DATABASE]
        self.csrf_token = ""

    def sign_in(self) -> None:
        headers = {TOKEN_HEADER: quote(TOKEN), "Origin": SITE}
        assert self.client.post("/sign-in", base_url=SITE, headers=headers).status_code == 204
        page = self.client.get("/console", base_url=SITE).text
        self.csrf_token = page.partition('name="csrf-token" content="')[2].partition('"')[0]

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, base_url=SITE, buffered=True, **options)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json

    def act(self, action: str, fields: object, call_sid: str = SID, **headers: str) -> TestResponse:
        usual = {"Origin": SITE, "X-CSRF-Token": self.csrf_token}
        sent = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/console/calls/{call_sid}/{action}"
        return self.client.post(path, base_url=SITE, headers=sent, json=fields)

    def ordered(self) -> list[object]:
        """What has been left for a process that has the call."""
        return [decode(body) for _, body in Orders(self.database).take([SID])]

    def settle(self) -> None:
        assert self.journal.flush(20)

    def tell(self) -> None:
        """A call that goes on."""
        self.journal.began(RECORD)
        self.journal.entry(SID, 0, QUESTION)
        self.settle()
        self.journal.event(SID, "answered", answer_ms=700.0)
        self.journal.event(SID, "interrupted", silence_ms=90.0)
        self.journal.entry(SID, 1, ANSWER)
        self.journal.spent(SID, 0.25)
        self.settle()

    def end(self) -> None:
        self.journal.ended(SID, "hung_up", Then.HANG_UP)
        self.settle()

    def record(
        self,
        path: Path | None = None,
        content: bytes = mulaw_header(16000) + b"\x80" * 16000,
        began_at: float = 1000.0,
    ) -> Path:
        """There is a recording at that path, and the call says so."""
        path = path or self.folder / "recordings" / "2027-01-15" / "101530-CA1.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.journal.event(SID, "recording", path=str(path), began_at=began_at)
        self.settle()
        return path

    def transcribe(self, path: Path, *lines: dict[str, Any]) -> None:
        """There is a transcript at that path, and the call says so."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b"\n{")
        self.journal.event(SID, "transcript", path=str(path))
        self.settle()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "assistant.toml").write_text(ASSISTANT)
    app = create_app(
        Settings(
            openai_api_key="sk-test",
            twilio_auth_token="12345",
            public_url=SITE,
            console_token=TOKEN,
            assistant=tmp_path / "assistant.toml",
            database_url=f"sqlite:///{tmp_path}/calls.db",
            recordings=tmp_path / "recordings",
        )
    )
    site = Site(app, tmp_path)
    site.sign_in()
    yield site
    site.journal.close()
    site.database.close()


PATHS = [
    "/console", "/console/live.json", "/console/live/events", "/console/calls", "/console/calls.json",
    f"/console/calls/{SID}", f"/console/calls/{SID}.json", f"/console/calls/{SID}.txt",
    f"/console/calls/{SID}/events", f"/console/calls/{SID}/news.json", f"/console/calls/{SID}/audio",
    f"/console/calls/{SID}/recordings/1.wav", "/console/system", "/console/system.json",
]  # fmt: skip


# Who gets in


@pytest.mark.parametrize("path", PATHS)
def test_who_has_not_signed_in_is_told_nothing(site: Site, path: str) -> None:
    site.tell()
    stranger = site.app.test_client()
    answer = stranger.get(path, base_url=SITE)
    assert answer.status_code == 401
    assert SID not in answer.text
    sent_on = stranger.get(path, base_url=SITE, headers={"Accept": "text/html"})
    assert sent_on.status_code == 303
    assert sent_on.headers["Location"].startswith("/sign-in?next=")


def test_a_session_that_is_over_is_told_nothing_and_can_do_nothing(site: Site) -> None:
    site.tell()
    yesterday = Sessions(TOKEN, lambda: time.time() - SESSION_SECONDS - 1)
    over = yesterday.begin()
    site.csrf_token = yesterday.csrf_token(over)
    site.client.set_cookie(
        "__Host-switchboard-session", yesterday.cookie(over), domain="voice.example.com", secure=True
    )
    assert site.get("/console/live.json").status_code == 401
    assert site.act("hang-up", {}).status_code == 401
    assert site.ordered() == []


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example.com"}, {"X_CSRF_Token": "0" * 64}])
def test_another_site_can_do_nothing(site: Site, logs: ExpectedLogs, headers: dict[str, str]) -> None:
    logs.expect("refused POST")
    site.tell()
    assert site.act("hang-up", {}, **headers).status_code == 403
    assert site.ordered() == []


@pytest.mark.parametrize("path", [path for path in PATHS if not path.endswith("events")])
def test_every_page_and_answer_is_for_one_person_and_loads_nothing_foreign(site: Site, path: str) -> None:
    site.tell()
    site.record()
    site.end() if path.endswith(".wav") else None
    with site.get(path) as answer:
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy


# What is told


def test_the_board_shows_what_goes_on_with_numbers_shortened(site: Site) -> None:
    site.tell()
    [event] = site.json("/console/live.json")["events"]
    [call] = event["data"]["calls"]
    assert event["data"]["order"] == [SID]
    assert (call["from"], call["to"], call["turns"], call["answer_ms"], call["interruptions"], call["cost"]) == (
        "…22", "…99", 1, 700.0, 1, 0.25,
    )  # fmt: skip
    assert call["last"] == {"speaker": "assistant", "text": "We have one and two.", "withheld": False}
    [event] = site.json("/console/live.json?full=1")["events"]
    assert event["data"]["calls"][0]["from"] == "+4930111222"


def test_a_call_that_has_ended_leaves_the_board(site: Site) -> None:
    site.tell()
    site.end()
    [event] = site.json("/console/live.json")["events"]
    assert event["data"]["calls"] == event["data"]["order"] == []


def test_all_of_a_call_can_be_read_but_for_where_its_files_are(site: Site) -> None:
    site.tell()
    path = site.record()
    site.journal.entry(SID, 2, TOOL)
    site.settle()
    answer = site.get(f"/console/calls/{SID}.json")
    assert str(path.parent) not in answer.text
    assert "+4930111222" not in answer.text
    known = answer.json
    assert known is not None
    assert known["call"]["live"] is True
    assert [(entry["speaker"], entry["text"], entry["heard_text"]) for entry in known["entries"]] == [
        ("caller", "What do you have?", "What do you have?"),
        ("assistant", "We have one and two.", "We have"),
        ("tool", "", ""),
    ]
    assert known["entries"][2]["tool"] == {"name": "look_up", "arguments": '{"card": 1}', "output": '"two"'}
    assert [event["kind"] for event in known["events"]] == ["answered", "interrupted", "recording"]
    assert known["recordings"] == [{"which": 1, "began_at": 1000.0, "seconds": 1.0}]
    assert known["count"] == 3


def test_what_is_said_while_the_recording_is_paused_is_shown_to_nobody(site: Site) -> None:
    site.tell()
    site.journal.event(SID, "recording paused")
    site.journal.entry(SID, 2, Entry("i4", "caller", "Four one one one", "Four one one one", 0, 0))
    site.journal.entry(SID, 3, TOOL)
    site.settle()
    for path in (f"/console/calls/{SID}.json", f"/console/calls/{SID}.txt", "/console/live.json"):
        answer = site.get(path)
        assert "Four one" not in answer.text
        assert "card" not in answer.text
    news = site.json(f"/console/calls/{SID}/news.json")["events"][0]["data"]
    assert [entry["withheld"] for entry in news["entries"]] == [False, False, True, True]


def test_it_is_withheld_also_where_more_has_happened_than_is_read_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.news.MOST_NEWS", 2)
    site.tell()
    site.journal.event(SID, "recording paused")
    for _ in range(3):
        site.journal.event(SID, "key pressed")
    site.journal.entry(SID, 2, TOOL)
    site.journal.entry(SID, 3, Entry("i4", "caller", "Four one one one", "Four one one one", 0, 0))
    site.settle()
    for what in (f"calls/{SID}.json", f"calls/{SID}.txt", f"calls/{SID}/news.json", "live.json"):
        answer = site.get(f"/console/{what}")
        assert "Caller" in answer.text or "caller" in answer.text
        assert "Four one" not in answer.text
        assert "card" not in answer.text


@pytest.mark.parametrize(
    "what", ["news.json?place=1.0-%s", "events?place=1.0-%s", "audio?after=%s", "audio?after=-%s"]
)
def test_a_place_beyond_all_is_no_error(site: Site, what: str) -> None:
    site.tell()
    if what.startswith("events"):
        site.end()
    assert site.get(f"/console/calls/{SID}/{what % 10**30}").status_code == 200


def test_who_asks_again_is_told_only_what_is_new(site: Site) -> None:
    site.tell()
    first = site.json(f"/console/calls/{SID}/news.json")
    assert len(first["events"][0]["data"]["entries"]) == 2
    place = quote(first["place"])
    LiveAudio(site.database).put(SID, 1000.0, b"\1\2\3\4\5", b"\0\0\0\0\0", b"")
    again = site.json(f"/console/calls/{SID}/news.json?place={place}")
    assert again["events"][-1] == {
        "event": "levels",
        "data": {"pieces": [{"began_at": 1000.0, "caller": [1, 2, 3, 4, 5], "assistant": [0] * 5}]},
    }
    assert site.json(f"/console/calls/{SID}/news.json?place={quote(again['place'])}")["events"][1:] == []
    assert site.json(f"/console/calls/{SID}/news.json?place=nonsense")["place"] != "nonsense"


def test_who_watches_is_told_to_the_call_and_no_oftener_than_needed(site: Site) -> None:
    site.tell()
    for _ in range(3):
        site.json(f"/console/calls/{SID}/news.json")
        site.get(f"/console/calls/{SID}/audio")
    assert [order.listen for order in site.ordered()] == [False, True]  # type: ignore[attr-defined]


def test_what_is_heard_can_be_fetched_and_each_piece_once(site: Site) -> None:
    site.tell()
    live = LiveAudio(site.database)
    live.put(SID, 1000.0, b"\1", b"\0", b"one")
    first = site.get(f"/console/calls/{SID}/audio")
    live.put(SID, 1000.5, b"\1", b"\0", b"two")
    live.put(SID, 1001.0, b"\1", b"\0", b"three")
    second = site.get(f"/console/calls/{SID}/audio?after={first.headers['X-Number']}")
    assert (first.data, second.data) == (b"one", b"twothree")
    assert site.get(f"/console/calls/{SID}/audio?after={second.headers['X-Number']}").data == b""
    site.end()
    assert site.get(f"/console/calls/{SID}/audio").status_code == 409


def test_who_begins_to_listen_hears_what_is_said_now_and_not_what_others_have_heard(site: Site) -> None:
    site.tell()
    live = LiveAudio(site.database)
    for number in range(3):
        live.put(SID, 1000.0 + number, b"\0", b"\0", b"%d" % number)
    with site.get(f"/console/calls/{SID}/audio") as first:
        assert first.data == b"2"
    live.put(SID, 1003.0, b"\0", b"\0", b"3")
    with site.get(f"/console/calls/{SID}/audio?after={first.headers['X-Number']}") as second:
        assert second.data == b"3"


def test_a_stream_tells_of_a_call_and_ends_when_it_is_over(site: Site) -> None:
    site.tell()
    site.end()
    text = site.get(f"/console/calls/{SID}/events").text
    assert "event: news" in text
    assert '"live":false' in text
    assert "event: gone" in site.get("/console/calls/CA9/events").text


def test_past_calls_are_found_and_paged(site: Site) -> None:
    site.tell()
    site.end()
    found = site.json("/console/calls.json?number=%2B4930")
    [call] = found["calls"]
    assert (call["call_sid"], call["from"], call["outcome"], call["live"]) == (SID, "…22", "hung_up", False)
    assert found["after"] is None
    assert site.json("/console/calls.json?number=77&outcome=ended&since=1&until=x&after=x")["calls"] == []


def test_the_transcript_can_be_downloaded(site: Site) -> None:
    site.tell()
    answer = site.get(f"/console/calls/{SID}.txt?download=1")
    assert answer.headers["Content-Disposition"] == f"attachment; filename={SID}.txt"
    assert [line[12:] for line in answer.text.splitlines()] == [
        "Caller     What do you have?",
        "Assistant  We have [0.6 of 1.5 s heard; unheard: one and two.]",
    ]


def test_the_system_tells_how_it_does(site: Site) -> None:
    site.tell()
    figures = site.json("/console/system.json?span=hour")
    assert (figures["calls"], figures["answer"]["p50"], figures["silence"]["p50"]) == (1, 700.0, 90.0)
    assert len(figures["slices"]) == 12
    assert site.get("/console/system.json?span=year").status_code == 400


@pytest.mark.parametrize("what", [".json", ".txt", "/audio", "/recordings/1.wav", ""])
def test_a_call_that_is_not_known_is_said_so(site: Site, what: str) -> None:
    answer = site.get(f"/console/calls/CA404{what}")
    assert answer.status_code in (404, 409)
    assert "not known" in answer.text or "no such recording" in answer.text or "has ended" in answer.text


# Recordings


def test_a_recording_comes_whole_or_in_part(site: Site) -> None:
    site.tell()
    content = site.record().read_bytes()
    path = f"/console/calls/{SID}/recordings/1.wav"
    whole = site.get(path)
    assert (whole.status_code, whole.data, whole.content_type) == (200, content, "audio/wav")
    part = site.get(path, headers={"Range": "bytes=58-157"})
    assert (part.status_code, part.data) == (206, content[58:158])
    assert part.headers["Content-Range"] == f"bytes 58-157/{len(content)}"
    assert site.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416
    saved = site.get(f"{path}?download=1")
    assert saved.headers["Content-Disposition"] == f"attachment; filename={SID}-1.wav"
    for which in ("0", "2", "-1", "x"):
        assert site.get(f"/console/calls/{SID}/recordings/{which}.wav").status_code == 404


def test_no_file_outside_of_the_folder_is_served(site: Site) -> None:
    site.tell()
    outside = site.folder / "secret.wav"
    inside = site.folder / "recordings"
    site.record(outside)
    site.record(inside / ".." / "secret.wav")
    link = inside / "link.wav"
    link.symlink_to(outside)
    other = inside / "notes.txt"
    other.write_text("not a recording")
    for path in (link, other, inside / "gone.wav", "recordings\0.wav", "/dev/null"):
        site.journal.event(SID, "recording", path=str(path))
    site.journal.event(SID, "recording")
    site.settle()
    for which in range(1, 9):
        assert site.get(f"/console/calls/{SID}/recordings/{which}.wav").status_code == 404
    assert site.json(f"/console/calls/{SID}.json")["recordings"] == []


def test_a_transcript_tells_when_something_was_heard(site: Site) -> None:
    site.tell()
    path = site.record()
    site.transcribe(
        path.with_suffix(".jsonl"),
        {"kind": "recording", "path": str(path)},
        {"kind": "said", "item_id": "i1", "began": 1.5, "ended": 2.5},
        {"kind": "said", "item_id": "i2", "began": 3},
    )
    assert site.json(f"/console/calls/{SID}.json")["times"] == {"i1": [1001.5, 1002.5], "i2": [1003.0, None]}


def test_the_text_has_the_times_of_the_recording_that_a_transcript_names(site: Site) -> None:
    """The first stream has none: the recording began when it was told to, after a hand-over."""
    site.tell()
    began_at = site.json(f"/console/calls/{SID}.json")["call"]["began_at"]
    path = site.folder / "recordings" / "2.wav"
    site.transcribe(path.with_name("1.jsonl"), {"kind": "said", "item_id": "i1", "began": 1, "ended": 2})
    site.transcribe(
        path.with_suffix(".jsonl"),
        {"kind": "recording", "path": str(path)},
        {"kind": "said", "item_id": "i2", "began": 5, "ended": 6},
    )
    site.record(path, began_at=began_at + 3600)
    first, second = site.get(f"/console/calls/{SID}.txt").text.splitlines()
    assert first.startswith("00:00:"), "when it was told"
    assert second.startswith("01:00:05.0")


# What can be done


@pytest.mark.parametrize(
    ("action", "fields", "order"),
    [
        ("hang-up", {}, "HangUp(reason='ended from the console', goodbye=False, said=False)"),
        ("hang-up", {"goodbye": True}, "HangUp(reason='ended from the console', goodbye=True, said=False)"),
        ("say", {"text": " Hello. "}, "Say(text='Hello.')"),
        ("inject", {"text": "She is a friend.", "respond": True}, "Inject(text='She is a friend.', respond=True)"),
        ("transfer", {"to": "sales", "summary": "bike"}, "Transfer(to='sales', summary='bike')"),
    ],
)  # fmt: skip
def test_a_call_is_told_what_to_do(site: Site, action: str, fields: object, order: str) -> None:
    site.tell()
    answer = site.act(action, fields)
    assert answer.status_code == 202
    assert answer.json is not None
    assert answer.json["done"]
    assert [str(each) for each in site.ordered()] == [order]


@pytest.mark.parametrize(
    ("action", "fields", "status", "why"),
    [
        ("say", {"text": "  "}, 400, "Write what is to be said."),
        ("say", {"text": "x" * 1001}, 400, "too long: 1001 letters"),
        ("say", ["text"], 400, "Write"),
        ("inject", {"text": 7}, 400, "Write"),
        ("transfer", {}, 400, "whom to connect"),
        ("dance", {}, 404, "no such action"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    site: Site, action: str, fields: object, status: int, why: str
) -> None:
    site.tell()
    answer = site.act(action, fields)
    assert answer.status_code == status
    assert answer.json is not None
    assert why in answer.json["error"]
    assert site.ordered() == []


def test_a_call_that_has_ended_in_the_meantime_is_said_so(site: Site) -> None:
    site.tell()
    site.end()
    answer = site.act("hang-up", {})
    assert (answer.status_code, answer.json) == (409, {"error": "This call has ended in the meantime."})
    assert site.act("say", {"text": "Hello"}, call_sid="CA404").status_code == 404


def test_a_database_that_does_not_answer_is_said_in_words(site: Site, logs: ExpectedLogs) -> None:
    logs.expect("the console cannot be shown|an order from the console was not given")
    logs.allow("journal cannot be written|the file was moved or deleted|journal closed|journal is written")
    site.tell()
    site.database.close()
    for file in site.folder.glob("calls.db*"):
        file.unlink()
    (site.folder / "calls.db").mkdir()
    for path in (
        "/console/live.json",
        "/console/calls.json",
        f"/console/calls/{SID}.json",
        "/console/system.json",
    ):
        answer = site.get(path)
        assert answer.status_code == 503
        assert "does not answer" in answer.text
    assert site.act("hang-up", {}).status_code == 503


def test_only_those_can_be_chosen_for_a_transfer_who_are_on_the_list(site: Site) -> None:
    site.tell()
    page = site.get(f"/console/calls/{SID}").text
    assert "<option>sales</option>" in page
    assert "+15550100009" not in page
    calls: Calls = site.app.extensions[CALLS]
    assert calls.live == []
