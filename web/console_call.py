"""One call in the console: its page, the data and the actions behind it. See web/console.py for the paths."""

import logging

from flask import Flask, Response, jsonify, render_template, request, send_file
from flask.typing import ResponseReturnValue

from actors.assistants import Assistants
from store.live import LAST_NUMBER, LiveAudio
from store.news import LiveCalls, News
from web import security
from web.call_view import call_json, entry_json, event_json
from web.console_answer import answered, full_numbers, named, once, refused, wants
from web.console_orders import ConsoleOrders, NotDone
from web.following import Following
from web.pages import HEADERS
from web.recordings import Recordings
from web.streams import Streams
from web.watches import Watches
from wire.transcript_text import Spoken, plain_text
from wire.withheld import Pauses, is_withheld

logger = logging.getLogger(__name__)

CALL = "/console/calls/<call_sid>"
NOT_KNOWN = "This call is not known, or it was erased."

# A recording is fetched as a whole and played from the page's memory: a player that pauses would hold a thread.
_PLAYER_POLICY = HEADERS["Content-Security-Policy"].replace("media-src 'self'", "media-src 'self' blob:")


class ConsoleCall:
    """The views of one call. They run in WSGI threads; what waits longer than for the database is a stream."""

    def __init__(
        self,
        live: LiveCalls,
        audio: LiveAudio,
        watches: Watches,
        orders: ConsoleOrders,
        recordings: Recordings,
        assistants: Assistants,
        streams: Streams,
    ) -> None:
        self._live = live
        self._audio = audio
        self._watches = watches
        self._orders = orders
        self._recordings = recordings
        self._assistants = assistants
        self._streams = streams

    def register(self, app: Flask) -> None:
        """Add the routes to the app."""
        for what, view in (
            ("", self.call_page),
            (".json", self.call),
            (".txt", self.transcript),
            ("/events", self.call_events),
            ("/news.json", self.news),
            ("/audio", self.audio),
            ("/recordings/<int:which>.wav", self.recording),
        ):
            app.add_url_rule(f"{CALL}{what}", f"console_{view.__name__}", view)
        app.add_url_rule(f"{CALL}/<action>", "console_order", self.order, methods=["POST"])

    @security.console
    @answered
    def call_page(self, call_sid: str) -> ResponseReturnValue:
        """One call, live or past."""
        call = self._live.find(call_sid)
        shown = None if call is None else call_json(call, not self._live.over(call), full_numbers())
        page = render_template(
            "console_call.html",
            page="/console",
            part="call",
            full=full_numbers(),
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
            return refused(NOT_KNOWN, 404)
        news = self._live.news([call_sid])
        paused = self._live.paused(call_sid)
        recordings = [
            None if each is None else {"which": which, "began_at": each.began_at, "seconds": each.seconds}
            for which, each in enumerate(self._recordings.of(news.happened), 1)
        ]
        response = jsonify(
            call=call_json(found, not self._live.over(found), full_numbers()),
            entries=[entry_json(each, paused) for each in news.said],
            events=[event_json(each) for each in news.happened],
            count=len(news.said),
            place=f"{news.latest_at!r}-0",
            recordings=[each for each in recordings if each is not None],
            times=self._recordings.times(news.happened),
        )
        return named(response, f"{call_sid}.json")

    @security.console
    @answered
    def transcript(self, call_sid: str) -> ResponseReturnValue:
        """The conversation as text, by the time since the call began."""
        found = self._live.find(call_sid)
        if found is None:
            return refused(NOT_KNOWN, 404)
        news = self._live.news([call_sid])
        times = self._recordings.times(news.happened)
        paused = self._live.paused(call_sid)
        text = plain_text(_spoken(news, times, found.began_at, paused))
        response = Response(text, content_type="text/plain; charset=utf-8")
        return named(response, f"{call_sid}.txt")

    @security.console
    def call_events(self, call_sid: str) -> ResponseReturnValue:
        """What is new in a call, as it happens."""
        place = request.headers.get("Last-Event-ID") or request.args.get("place", "")
        full = full_numbers()
        return self._streams.response(lambda: self._following(call_sid, place, full))

    @security.console
    @answered
    def news(self, call_sid: str) -> ResponseReturnValue:
        """What is new in a call since that place, for a page that has no stream."""
        return once(self._following(call_sid, request.args.get("place", ""), full_numbers()))

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
        after = min(max(request.args.get("after", 0, type=int), 0), LAST_NUMBER)
        call = self._live.find(call_sid)
        if call is None or self._live.over(call):
            return refused("This call has ended.", 409)
        self._watches.renew(call_sid, listen=True)
        pieces = self._audio.since(call_sid, after, with_audio=True)
        if not after:
            # Whoever begins to listen is not told what others have heard before.
            pieces = pieces[-1:]
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
            return refused("There is no such recording, or it was erased.", 404)
        try:
            response = send_file(
                recording.path,
                mimetype="audio/wav",
                as_attachment=wants("download"),
                download_name=f"{call_sid}-{which}.wav",
                conditional=True,
            )
        except OSError as error:
            logger.warning("a recording cannot be read: %s", error.strerror)
            return refused("The recording cannot be read.", 404)
        response.headers["Cache-Control"] = "no-store"
        return response

    @security.console
    def order(self, call_sid: str, action: str) -> ResponseReturnValue:
        """Something that a person wants done in a call."""
        fields = request.get_json(silent=True)
        try:
            done = self._orders.give(call_sid, action, fields if isinstance(fields, dict) else {})
        except NotDone as why:
            return refused(str(why), why.status)
        return jsonify(done=done), 202


def _spoken(
    news: News, times: dict[str, tuple[float, float | None]], zero: float, paused: Pauses
) -> list[Spoken]:
    spoken = []
    for said in news.said:
        began, ended = times.get(said.entry.item_id, (said.told_at, None))
        spoken.append(
            Spoken(
                said.entry,
                None if began is None else max(began - zero, 0.0),
                None if ended is None else ended - zero,
                is_withheld(said.told_at, paused),
            )
        )
    return spoken
