"""Streams of events: told in time, ended in time, and no thread lost to whoever goes away."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from store.database import StoreError
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, wait_until
from tests.web.conftest import IdleCall, Line
from web.calls import Calls
from web.streams import Streams

PAGES = 50


class Told:
    """A source that a test tells what is new."""

    def __init__(self) -> None:
        self.place = "7"
        self.over = False
        self.news: list[tuple[str, object]] = []
        self.error: StoreError | None = None

    def next(self) -> list[tuple[str, object]]:
        if self.error is not None:
            raise self.error
        news, self.news = self.news, []
        return news


class Site:
    def __init__(self, threads: int = 100, **options: float) -> None:
        self.calls = Calls(threads=threads, actor=IdleCall)
        self.streams = Streams(self.calls, **{"tick": 0.01, **options})  # type: ignore[arg-type]
        self.source = Told()
        self.app = Flask("site")
        self.app.add_url_rule("/events", "events", lambda: self.streams.response(lambda: self.source))

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    @contextmanager
    def served(self) -> Iterator[int]:
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="serve", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE_SECONDS)
            server.server_close()


def test_what_is_new_is_told_with_the_place_to_go_on_from() -> None:
    site = Site()
    site.source.news = [("calls", {"order": ["CA1"]}), ("levels", [1, 2])]
    site.source.over = True
    with site.client.get("/events") as answer:
        assert answer.content_type == "text/event-stream; charset=utf-8"
        retry, calls, levels, _ = answer.text.split("\n\n")
    assert retry == "retry: 300"
    assert calls.splitlines() == [
        "event: calls",
        "id: 7",
        f"data: {json.dumps({'order': ['CA1']}, separators=(',', ':'))}",
    ]
    assert levels.splitlines() == ["event: levels", "id: 7", "data: [1,2]"]
    assert site.streams.open == 0


def test_a_stream_in_which_nothing_happens_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.streams.COMMENT_SECONDS", 0.02)
    site = Site(seconds=0.1)
    with site.client.get("/events") as answer:
        assert set(answer.text.split("\n\n")) == {"retry: 300", ":", ""}
    assert site.streams.open == 0


def test_a_database_that_does_not_answer_is_told_to_the_page(logs: ExpectedLogs) -> None:
    logs.expect("the console cannot be told what is new")
    site = Site()
    site.source.error = StoreError("locked")
    for _ in range(2):
        with site.client.get("/events") as answer:
            assert "event: trouble" in answer.text
    assert len(logs.records) == 1
    assert site.streams.open == 0


def test_there_are_only_so_many_streams() -> None:
    site = Site(most=1)
    first = site.client.get("/events")
    assert site.streams.open == 1
    second = site.client.get("/events")
    assert (second.status_code, second.headers["Retry-After"]) == (503, "2")
    assert "this one asks again" in second.json["error"]  # type: ignore[index]
    first.close()
    assert site.streams.open == 0


def test_streams_take_no_thread_that_is_kept_for_webhooks() -> None:
    site = Site(threads=8)  # of which six are for calls
    lines = [Line(site.calls, f"CA{number}") for number in range(site.calls.limit - 1)]
    stream = site.client.get("/events")
    assert stream.status_code == 200
    assert site.client.get("/events").status_code == 503
    lines.append(Line(site.calls, "CA of the last caller"))
    assert stream.text.split("\n\n") == ["retry: 300", ""], "it makes room, long before its time"
    for line in lines:
        line.hang_up()


def test_a_process_that_ends_has_no_streams() -> None:
    site = Site()
    stream = site.client.get("/events")
    site.calls.drain(0)
    assert stream.text == "retry: 300\n\n"
    assert site.client.get("/events").status_code == 503


def test_a_source_that_cannot_be_had_holds_no_place() -> None:
    site = Site()
    site.app.add_url_rule("/broken", "broken", lambda: site.streams.response(lambda: 1 / 0))  # type: ignore[arg-type, return-value]
    site.app.testing = True
    with pytest.raises(ZeroDivisionError):
        site.client.get("/broken")
    assert site.streams.open == 0


def test_pages_that_are_closed_leave_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.streams.COMMENT_SECONDS", 0.05)
    site = Site(most=2 * PAGES, seconds=60)
    with site.served() as port:
        before = threading.active_count()
        pages = [socket.create_connection(("127.0.0.1", port)) for _ in range(PAGES)]
        for page in pages:
            page.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        wait_until(lambda: site.streams.open == PAGES, "all pages have a stream")
        for page in pages:
            assert page.recv(1000).startswith(b"HTTP/1")
            page.close()
        wait_until(lambda: site.streams.open == 0, "all streams ended")
        wait_until(lambda: threading.active_count() <= before, "all threads ended")
