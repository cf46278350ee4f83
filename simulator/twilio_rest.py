"""A stand-in for Twilio's REST API 2010-04-01, on 127.0.0.1, before a simulated phone network.

The real SDK works against it through `actors.carrier`, or the whole server with TWILIO_API_URL. It speaks plain HTTP,
and checks the account and its token as Twilio does. Source: twilio-media-streams.md, 10, and Twilio's Python SDK.
"""

import base64
import binascii
import hmac
import re
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import orjson

from simulator import rest_account, rest_calls, rest_conferences
from simulator.line import CallOverError
from simulator.network import PhoneNetwork
from simulator.rest_form import Form, RestError, not_found

_IDLE_S = 10.0
_LARGEST_BODY = 65_536
_STREAM_S = 10.0

_One = Callable[..., dict[str, object]]
_Many = Callable[..., list[dict[str, object]]]
_None = Callable[..., None]

_FETCH: dict[str, _One] = {
    "Calls/*": lambda network, form, sid: rest_calls.fetch(network, sid),
    "Conferences/*": lambda network, form, sid: rest_conferences.fetch(network, sid),
    "Conferences/*/Participants/*": lambda network, form, sid, who: rest_conferences.fetch_participant(
        network, sid, who
    ),
    "IncomingPhoneNumbers/*": lambda network, form, sid: rest_account.fetch_number(network, sid),
    "Recordings/*": lambda network, form, sid: rest_account.fetch_recording(network, sid),
    "": lambda network, form: rest_account.account_json(network),
}
_LIST: dict[str, tuple[str, _Many]] = {
    "Calls": ("calls", lambda network, form: rest_calls.list_all(network, form)),
    "Conferences": ("conferences", lambda network, form: rest_conferences.list_all(network, form)),
    "Conferences/*/Participants": (
        "participants",
        lambda network, form, sid: rest_conferences.list_participants(network, sid, form),
    ),
    "IncomingPhoneNumbers": (
        "incoming_phone_numbers",
        lambda network, form: rest_account.list_numbers(network, form),
    ),
    "Recordings": ("recordings", lambda network, form: rest_account.list_recordings(network, form)),
    "Calls/*/Recordings": (
        "recordings",
        lambda network, form, sid: rest_account.list_recordings(network, Form({"CallSid": [sid]})),
    ),
}
_CREATE: dict[str, _One] = {
    "Calls": lambda network, form: rest_calls.create(network, form),
    "Conferences/*/Participants": lambda network, form, sid: rest_conferences.create_participant(
        network, sid, form
    ),
}
_UPDATE: dict[str, _One] = {
    "Calls/*": lambda network, form, sid: rest_calls.update(network, sid, form),
    "Conferences/*": lambda network, form, sid: rest_conferences.update(network, sid, form),
    "Conferences/*/Participants/*": lambda network, form, sid, who: rest_conferences.update_participant(
        network, sid, who, form
    ),
    "IncomingPhoneNumbers/*": lambda network, form, sid: rest_account.update_number(network, sid, form),
}
_DELETE: dict[str, _None] = {
    "Calls/*": lambda network, form, sid: rest_calls.delete(network, sid),
    "Conferences/*/Participants/*": lambda network, form, sid, who: rest_conferences.delete_participant(
        network, sid, who
    ),
    "Recordings/*": lambda network, form, sid: rest_account.delete_recording(network, sid),
}
_COLLECTIONS = frozenset({"Calls", "Conferences", "Participants", "IncomingPhoneNumbers", "Recordings"})


class TwilioRest:
    """The server. Any thread; runs from `start` to `close`."""

    def __init__(self, network: PhoneNetwork, *, port: int = 0) -> None:
        self.network = network
        self.respond_after_stream = False
        """Let the answer to the creation of a call wait until its media stream is open, or it is over.

        Twilio does not say which comes first; by default the answer does.
        """
        self._refusals: deque[RestError] = deque()
        rest = self

        class Handler(_Handler):
            owner = rest

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = False  # so that `close` joins them
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="twilio-rest", daemon=True
        )

    @property
    def url(self) -> str:
        """The origin to use in place of https://api.twilio.com."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self.network.api_url = self.url
        self._thread.start()

    def close(self) -> None:
        """Answer what is being asked, and stop."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refuse_next(self, status: int, code: int, message: str = "refused by the test") -> None:
        """Answer the next request, whatever it is, with this error: 429 and 20429 are too many requests."""
        self._refusals.append(RestError(status, code, message))

    def answer(self, method: str, path: str, form: Form) -> tuple[int, dict[str, object] | bytes | None]:
        """HTTP status and body (JSON, or a file's bytes) of one admitted request. Raises RestError."""
        if self._refusals:
            raise self._refusals.popleft()
        root = f"/2010-04-01/Accounts/{self.network.account_sid}"
        if not path.startswith(root):
            raise not_found(path)
        rest = path.removeprefix(root)
        if method == "GET" and (media := re.fullmatch(r"/Recordings/(RE\w+)(\.wav)?", rest)):
            return 200, rest_account.recording(self.network, media[1]).wav()
        if not rest.endswith(".json"):
            raise not_found(path)
        parts = [unquote(part) for part in rest.removesuffix(".json").split("/") if part]
        pattern = "/".join(part if part in _COLLECTIONS else "*" for part in parts)
        names = [part for part in parts if part not in _COLLECTIONS]
        return self._dispatch(method, path, pattern, names, form)

    def _dispatch(
        self, method: str, path: str, pattern: str, names: list[str], form: Form
    ) -> tuple[int, dict[str, object] | None]:
        network = self.network
        if method == "GET" and pattern in _LIST:
            key, find = _LIST[pattern]
            return 200, _page(path, key, find(network, form, *names), form)
        if method == "GET" and pattern in _FETCH:
            return 200, _FETCH[pattern](network, form, *names)
        if method == "POST" and pattern in _CREATE:
            created = _CREATE[pattern](network, form, *names)
            if self.respond_after_stream and pattern == "Calls":
                self._await_stream(str(created["sid"]))
            return 201, created
        if method == "POST" and pattern in _UPDATE:
            return 200, _UPDATE[pattern](network, form, *names)
        if method == "DELETE" and pattern in _DELETE:
            _DELETE[pattern](network, form, *names)
            return 204, None
        known = any(pattern in table for table in (_FETCH, _LIST, _CREATE, _UPDATE, _DELETE))
        raise RestError(405, 20004, f"{method} is not allowed on {path}") if known else not_found(path)

    def _await_stream(self, call_sid: str) -> None:
        try:
            self.network.handset(call_sid).await_stream(_STREAM_S)
        except (TimeoutError, CallOverError):
            return  # a call without a stream is answered as well


class _Handler(BaseHTTPRequestHandler):
    """One request: with HTTP/1.0 the connection ends with the answer, so nothing stays open."""

    owner: TwilioRest
    timeout = _IDLE_S

    def _serve(self) -> None:
        try:
            status, body = self._answer()
        except RestError as refusal:
            status, body = refusal.status, refusal.body()
        content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="Twilio API"')
        self.send_header("Content-Type", "audio/x-wav" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def _answer(self) -> tuple[int, dict[str, object] | bytes | None]:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            raise RestError(413, 20413, f"a body has at most {_LARGEST_BODY} bytes")
        body = self.rfile.read(length)
        self._admit()
        parts = urlsplit(self.path)
        text = body.decode() if self.command == "POST" else parts.query
        form = Form(parse_qs(text, keep_blank_values=True))
        return self.owner.answer(self.command, parts.path, form)

    def _admit(self) -> None:
        network = self.owner.network
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded) if kind == "Basic" else b""
        except binascii.Error:
            given = b""
        if not hmac.compare_digest(given, f"{network.account_sid}:{network.auth_token}".encode()):
            raise RestError(401, 20003, "Authenticate")

    def log_message(self, format: str, *args: object) -> None:
        pass


def _page(path: str, key: str, found: list[dict[str, object]], form: Form) -> dict[str, object]:
    size = int(form.number("PageSize", 50, 20001, (1, 1000)))
    number = int(form.number("Page", 0, 20001, (0, 1_000_000)))
    more = len(found) > (number + 1) * size
    following = f"{path}?{urlencode({**form.first(), 'PageSize': size, 'Page': number + 1})}"
    return {
        key: found[number * size : (number + 1) * size],
        "page": number,
        "page_size": size,
        "next_page_uri": following if more else None,
        "previous_page_uri": None,
        "uri": path,
    }
