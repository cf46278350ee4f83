"""The console: the pages for the people who run the system, and the data and actions behind them.

    GET  /console                                   calls that go on
    GET  /console/live/events                       how they change; see web/board.py
    GET  /console/live.json                         the same, once: {events: [{event, data}], place, over}
    GET  /console/calls                             past calls
    GET  /console/calls.json?number=&since=&until=&outcome=&after=    {calls, after}, of the next page or null
    GET  /console/calls/CA…                         one call, live or past
    GET  /console/calls/CA….json                    {call, entries, events, count, now, place, recordings, times}
    GET  /console/calls/CA…/events                  what is new in it; see web/following.py
    GET  /console/calls/CA…/news.json?place=        the same, once
    GET  /console/calls/CA…/audio?after=            live, mu-law in stereo; X-Number is the next `after`
    GET  /console/calls/CA…/recordings/1.wav        with ranges
    GET  /console/calls/CA….txt                     the conversation as text
    POST /console/calls/CA…/hang-up, say, inject, transfer
    GET  /console/system  /console/system.json?span=hour|day|week      see store/figures.py

Numbers are shortened unless a request says `full=1`. A refusal is {"error": in words}. Everything here runs in WSGI
threads; what waits longer than for the database is a stream, see web/streams.py.
"""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

from flask import Flask, Response, jsonify, render_template, request, send_file
from flask.typing import ResponseReturnValue

from actors.assistants import Assistants
from actors.meter import Outcome
from store.database import Database, StoreError
from store.figures import FiguresOf
from store.live import LiveAudio
from store.news import LiveCalls, News
from store.search import Place, Search, Wanted
from web import security
from web.board import Board, BoardSource
from web.call_view import call_json, entry_json, event_json, is_withheld, past_call_json, pauses
from web.calls import Calls
from web.console_orders import ConsoleOrders, NotDone
from web.following import Following
from web.orders import OrderDesk
from web.pages import HEADERS
from web.recordings import Recordings
from web.streams import Source, Streams
from web.system_figures import SPANS, SystemFigures
from web.watches import Watches
from wire.transcript_text import Spoken, plain_text

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")

SLACK_SECONDS = 60.0
"""So much longer than it may a call can last, with its goodbye."""
NOT_KNOWN = "This call is not known, or it was erased."
CALL = "/console/calls/<call_sid>"

# A recording is fetched as a whole and played from the page's memory: a player that pauses would hold a thread.
_PLAYER_POLICY = HEADERS["Content-Security-Policy"].replace("media-src 'self'", "media-src 'self' blob:")


def answered(view: Callable[Parameters, ResponseReturnValue]) -> Callable[Parameters, ResponseReturnValue]:
    """A view whose database may fail: then the page is told so."""

    @functools.wraps(view)
    def careful(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> ResponseReturnValue:
        try:
            return view(*arguments, **keywords)
        except StoreError as error:
            logger.warning("the console cannot be shown: %s", error)
            return _error("The database does not answer. This page tries again.", 503)

    return careful


class Console:
    """The console of one process."""

    def __init__(
        self,
        database: Database,
        calls: Calls,
        desk: OrderDesk,
        recordings: Recordings,
        assistants: Assistants,
    ) -> None:
        self._assistants = assistants
        self._live = LiveCalls(database, self._longest_call_seconds)
        self._audio = LiveAudio(database)
        self._search = Search(database)
        self._figures = SystemFigures(FiguresOf(database))
        self._board = Board(self._live)
        self._watches = Watches(desk)
        self._orders = ConsoleOrders(self._live, desk)
        self._recordings = recordings
        self.streams = Streams(calls)

    def register(self, app: Flask) -> None:
        """Add the routes to the app."""
        for path, view in (
            ("/console", self.live_page),
            ("/console/live.json", self.live),
            ("/console/live/events", self.live_events),
            ("/console/calls", self.past_page),
            ("/console/calls.json", self.past),
            (CALL, self.call_page),
            (f"{CALL}.json", self.call),
            (f"{CALL}.txt", self.transcript),
            (f"{CALL}/events", self.call_events),
            (f"{CALL}/news.json", self.news),
            (f"{CALL}/audio", self.audio),
            (f"{CALL}/recordings/<int:which>.wav", self.recording),
            ("/console/system", self.system_page),
            ("/console/system.json", self.system),
        ):
            app.add_url_rule(path, f"console_{view.__name__}", view)
        app.add_url_rule(f"{CALL}/<action>", "console_order", self.order, methods=["POST"])

    # Calls that go on

    @security.console
    def live_page(self) -> ResponseReturnValue:
        """The calls that go on."""
        return render_template("console_live.html", page="/console", part="live", full=_full())

    @security.console
    @answered
    def live(self) -> ResponseReturnValue:
        """The board, for a page that has no stream."""
        return _once(BoardSource(self._board, _full()))

    @security.console
    def live_events(self) -> ResponseReturnValue:
        """The board as it changes."""
        full = _full()
        return self.streams.response(lambda: BoardSource(self._board, full))

    # One call

    @security.console
    @answered
    def call_page(self, call_sid: str) -> ResponseReturnValue:
        """One call, live or past."""
        call = self._live.find(call_sid)
        shown = None if call is None else call_json(call, not self._live.over(call), _full())
        page = render_template(
            "console_call.html",
            page="/console",
            part="call",
            full=_full(),
            call=shown,
            transfers=[] if call is None else self._transfers(call.assistant),
        )
        return Response(page, 404 if call is None else 200, {"Content-Security-Policy": _PLAYER_POLICY})

    @security.console
    @answered
    def call(self, call_sid: str) -> ResponseReturnValue:
        """All that is known of a call."""
        found = self._live.find(call_sid)
        if found is None:
            return _error(NOT_KNOWN, 404)
        news = self._live.news([call_sid])
        paused = pauses(news.happened)
        recordings = [
            None if each is None else {"which": which, "began_at": each.began_at, "seconds": each.seconds}
            for which, each in enumerate(self._recordings.of(news.happened), 1)
        ]
        response = jsonify(
            call=call_json(found, not self._live.over(found), _full()),
            entries=[entry_json(each, paused) for each in news.said],
            events=[event_json(each) for each in news.happened],
            count=len(news.said),
            place=f"{news.latest_at!r}-0",
            recordings=[each for each in recordings if each is not None],
            times=self._recordings.times(news.happened),
        )
        return _named(response, f"{call_sid}.json")

    @security.console
    @answered
    def transcript(self, call_sid: str) -> ResponseReturnValue:
        """The conversation as text, by the time since the call began."""
        found = self._live.find(call_sid)
        if found is None:
            return _error(NOT_KNOWN, 404)
        news = self._live.news([call_sid])
        times = self._recordings.times(news.happened)
        text = plain_text(_spoken(news, times, found.began_at))
        response = Response(text, content_type="text/plain; charset=utf-8")
        return _named(response, f"{call_sid}.txt")

    @security.console
    def call_events(self, call_sid: str) -> ResponseReturnValue:
        """What is new in a call, as it happens."""
        place = request.headers.get("Last-Event-ID") or request.args.get("place", "")
        full = _full()
        return self.streams.response(lambda: self._following(call_sid, place, full))

    @security.console
    @answered
    def news(self, call_sid: str) -> ResponseReturnValue:
        """What is new in a call since that place, for a page that has no stream."""
        return _once(self._following(call_sid, request.args.get("place", ""), _full()))

    def _longest_call_seconds(self) -> float:
        return max(each.limits.max_minutes for each in self._assistants.all.values()) * 60 + SLACK_SECONDS

    def _transfers(self, name: str) -> list[str]:
        """With whom callers of that assistant may be connected, by name."""
        every = self._assistants.all.values()
        assistant = next((each for each in every if each.name == name), self._assistants.default)
        return list(assistant.telephony.transfer)

    def _following(self, call_sid: str, place: str, full: bool) -> Following:
        return Following(call_sid, self._live, self._audio, self._watches, place=place, full=full)

    @security.console
    @answered
    def audio(self, call_sid: str) -> ResponseReturnValue:
        """What was said and heard since the piece of that number, for whoever listens."""
        after = request.args.get("after", 0, type=int)
        call = self._live.find(call_sid)
        if call is None or self._live.over(call):
            return _error("This call has ended.", 409)
        self._watches.renew(call_sid, listen=True)
        pieces = self._audio.since(call_sid, after, with_audio=True)
        response = Response(
            b"".join(piece.audio for piece in pieces), content_type="application/octet-stream"
        )
        response.headers["X-Number"] = str(pieces[-1].number if pieces else after)
        return response

    @security.console
    @answered
    def recording(self, call_sid: str, which: int) -> ResponseReturnValue:
        """A recording, or a range of it."""
        found = self._recordings.of(self._live.news([call_sid]).happened)
        recording = found[which - 1] if 0 < which <= len(found) else None
        if recording is None:
            return _error("There is no such recording, or it was erased.", 404)
        try:
            response = send_file(
                recording.path,
                mimetype="audio/wav",
                as_attachment=_wants("download"),
                download_name=f"{call_sid}-{which}.wav",
                conditional=True,
            )
        except OSError as error:
            logger.warning("a recording cannot be read: %s", error.strerror)
            return _error("The recording cannot be read.", 404)
        response.headers["Cache-Control"] = "no-store"
        return response

    @security.console
    def order(self, call_sid: str, action: str) -> ResponseReturnValue:
        """Something that a person wants done in a call."""
        fields = request.get_json(silent=True)
        try:
            done = self._orders.give(call_sid, action, fields if isinstance(fields, dict) else {})
        except NotDone as why:
            return _error(str(why), why.status)
        return jsonify(done=done), 202

    # Past calls, and the system

    @security.console
    def past_page(self) -> ResponseReturnValue:
        """The search for past calls."""
        outcomes = [each.value for each in Outcome]
        return render_template(
            "console_past.html", page="/console", part="past", full=_full(), outcomes=outcomes
        )

    @security.console
    @answered
    def past(self) -> ResponseReturnValue:
        """Past calls that are wanted, a page of them."""
        wanted = Wanted(
            number=request.args.get("number", ""),
            since=request.args.get("since", None, type=float),
            until=request.args.get("until", None, type=float),
            outcome=request.args.get("outcome", ""),
        )
        page = self._search.page(wanted, _place(request.args.get("after", "")))
        after = None if page.more is None else f"{page.more.began_at!r}-{page.more.call_sid}"
        going_on = {call.call_sid for call in self._live.going_on()}
        shown = [past_call_json(each, each.call_sid in going_on, _full()) for each in page.calls]
        return jsonify(calls=shown, after=after)

    @security.console
    def system_page(self) -> ResponseReturnValue:
        """How the system does."""
        return render_template("console_system.html", page="/console", part="system", full=_full())

    @security.console
    @answered
    def system(self) -> ResponseReturnValue:
        """Figures of a span."""
        span = request.args.get("span", "day")
        if span not in SPANS:
            return _error(f"The span is one of {', '.join(SPANS)}.", 400)
        return jsonify(self._figures.of(span))


def _once(source: Source) -> ResponseReturnValue:
    told = [{"event": name, "data": data} for name, data in source.next()]
    return jsonify(events=told, place=source.place, over=source.over)


def _error(text: str, status: int) -> ResponseReturnValue:
    return jsonify(error=text), status


def _wants(name: str) -> bool:
    return request.args.get(name) == "1"


def _full() -> bool:
    return _wants("full")


def _place(text: str) -> Place | None:
    began_at, _, call_sid = text.partition("-")
    try:
        return Place(float(began_at), call_sid)
    except ValueError:
        return None


def _named(response: Response, name: str) -> Response:
    """For whoever downloads it."""
    if _wants("download"):
        response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _spoken(news: News, times: dict[str, tuple[float, float | None]], zero: float) -> list[Spoken]:
    paused = pauses(news.happened)
    spoken = []
    for said in news.said:
        began, ended = times.get(said.entry.item_id, (said.told_at, None))
        spoken.append(
            Spoken(
                said.entry,
                None if began is None else max(began - zero, 0.0),
                None if ended is None else ended - zero,
                is_withheld(said, paused),
            )
        )
    return spoken
