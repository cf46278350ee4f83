"""Server-sent events without a thread lost: few at a time, each for a few seconds, and none where calls need room.

A stream holds a thread of the server for as long as it lasts. So it ends by itself after STREAM_SECONDS, and the
browser's EventSource comes again; it writes something at least every COMMENT_SECONDS, so that a page which is closed
is noticed; and it takes only such threads as calls would be given, and gives them back when calls want them. A page
that gets none asks again and again for what is new, which takes a thread for a moment only.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import orjson
from flask import Response

from store.database import StoreError
from web.calls import Calls

logger = logging.getLogger(__name__)

MOST_STREAMS = 4
"""At once, in one process."""
STREAM_SECONDS = 20.0
COMMENT_SECONDS = 1.0
"""A page that is gone is noticed at the second thing that is written to it."""
TICK_SECONDS = 0.25
"""Between two looks for what is new."""
RETRY_MS = 300
"""How long a browser waits before it comes again."""


class Source(Protocol):
    """Where a stream's events come from."""

    @property
    def place(self) -> str:
        """Where to go on, for whoever comes again: an event's id."""

    def next(self) -> list[tuple[str, object]]:
        """What is new since the last time: names and data of events. Raises StoreError."""

    @property
    def over(self) -> bool:
        """Nothing more will come; whoever comes again is told so at once."""


class Streams:
    """The streams of one process. Any thread."""

    def __init__(
        self,
        calls: Calls,
        most: int = MOST_STREAMS,
        seconds: float = STREAM_SECONDS,
        tick: float = TICK_SECONDS,
    ) -> None:
        self._calls = calls
        self._most = most
        self._seconds = seconds
        self._tick = tick
        self._lock = threading.Lock()
        self._open = 0
        self._in_trouble = False

    @property
    def open(self) -> int:
        """How many streams hold a thread."""
        with self._lock:
            return self._open

    def response(self, source: Callable[[], Source]) -> Response:
        """The answer to a request for events, 503 where there is no room. Runs in the WSGI thread that it holds."""
        if not self._take():
            response = Response('{"error": "Too many pages are open; this one asks again."}\n', 503)
            response.content_type = "application/json"
            response.headers["Retry-After"] = "2"
            return response
        try:
            response = Response(self._events(source()), content_type="text/event-stream; charset=utf-8")
        except BaseException:
            self._give_back()
            raise
        # Not in the generator: one that was never begun is closed without a trace.
        response.call_on_close(self._give_back)
        response.headers["X-Accel-Buffering"] = "no"  # nginx hands on what there is
        return response

    def _take(self) -> bool:
        with self._lock:
            if self._open >= self._most or self._calls.draining:
                return False
            if self._calls.count + self._open >= self._calls.limit:
                return False
            self._open += 1
            return True

    def _give_back(self) -> None:
        with self._lock:
            self._open -= 1

    def _room(self) -> bool:
        return not self._calls.draining and self._calls.count + self.open <= self._calls.limit

    def _events(self, source: Source) -> Iterator[bytes]:
        yield b"retry: %d\n\n" % RETRY_MS
        now = wrote_at = time.monotonic()
        end_at = now + self._seconds
        while now < end_at and self._room():
            try:
                news = source.next()
            except StoreError as error:
                # Once: every page comes again at once, and is told so anew.
                if not self._in_trouble:
                    logger.warning("the console cannot be told what is new: %s", error)
                self._in_trouble = True
                yield _event("trouble", {"error": "The database does not answer."}, source.place)
                return
            self._in_trouble = False
            for name, data in news:
                yield _event(name, data, source.place)
                wrote_at = time.monotonic()
            if source.over:
                return
            if time.monotonic() > wrote_at + COMMENT_SECONDS:
                yield b":\n\n"
                wrote_at = time.monotonic()
            time.sleep(self._tick)
            now = time.monotonic()


def _event(name: str, data: object, place: str) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), place.encode(), orjson.dumps(data))
