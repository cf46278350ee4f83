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

from flask import Flask, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from actors.assistants import Assistants
from actors.meter import Outcome
from store.database import Database
from store.figures import FiguresOf
from store.live import LiveAudio
from store.news import LiveCalls
from store.search import Place, Search, Wanted
from web import security
from web.board import Board, BoardSource
from web.call_view import past_call_json
from web.calls import Calls
from web.console_answer import answered, full_numbers, once, refused
from web.console_call import ConsoleCall
from web.console_orders import ConsoleOrders
from web.orders import OrderDesk
from web.recordings import Recordings
from web.streams import Streams
from web.system_figures import SPANS, SystemFigures
from web.watches import Watches

SLACK_SECONDS = 60.0
"""So much longer than it may a call can last, with its goodbye."""


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
        self._search = Search(database)
        self._figures = SystemFigures(FiguresOf(database))
        self._board = Board(self._live)
        self._streams = Streams(calls)
        orders = ConsoleOrders(self._live, desk)
        audio, watches = LiveAudio(database), Watches(desk)
        self._call = ConsoleCall(self._live, audio, watches, orders, recordings, assistants, self._streams)

    def register(self, app: Flask) -> None:
        """Add the routes to the app."""
        for path, view in (
            ("/console", self.live_page),
            ("/console/live.json", self.live),
            ("/console/live/events", self.live_events),
            ("/console/calls", self.past_page),
            ("/console/calls.json", self.past),
            ("/console/system", self.system_page),
            ("/console/system.json", self.system),
        ):
            app.add_url_rule(path, f"console_{view.__name__}", view)
        self._call.register(app)

    # Calls that go on

    @security.console
    def live_page(self) -> ResponseReturnValue:
        """The calls that go on."""
        return render_template("console_live.html", page="/console", part="live", full=full_numbers())

    @security.console
    @answered
    def live(self) -> ResponseReturnValue:
        """The board, for a page that has no stream."""
        return once(BoardSource(self._board, full_numbers()))

    @security.console
    def live_events(self) -> ResponseReturnValue:
        """The board as it changes."""
        full = full_numbers()
        return self._streams.response(lambda: BoardSource(self._board, full))

    def _longest_call_seconds(self) -> float:
        return max(each.limits.max_minutes for each in self._assistants.all.values()) * 60 + SLACK_SECONDS

    # Past calls, and the system

    @security.console
    def past_page(self) -> ResponseReturnValue:
        """The search for past calls."""
        outcomes = [each.value for each in Outcome]
        return render_template(
            "console_past.html", page="/console", part="past", full=full_numbers(), outcomes=outcomes
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
        shown = [past_call_json(each, each.call_sid in going_on, full_numbers()) for each in page.calls]
        return jsonify(calls=shown, after=after)

    @security.console
    def system_page(self) -> ResponseReturnValue:
        """How the system does."""
        return render_template("console_system.html", page="/console", part="system", full=full_numbers())

    @security.console
    @answered
    def system(self) -> ResponseReturnValue:
        """Figures of a span."""
        span = request.args.get("span", "day")
        if span not in SPANS:
            return refused(f"The span is one of {', '.join(SPANS)}.", 400)
        return jsonify(self._figures.of(span))


def _place(text: str) -> Place | None:
    began_at, _, call_sid = text.partition("-")
    try:
        return Place(float(began_at), call_sid)
    except ValueError:
        return None
