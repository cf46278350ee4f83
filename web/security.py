"""Who may call which route. Every request passes here before its view, and a route that declares nothing is closed.

With TWILIO_AUTH_TOKEN a webhook and an upgrade must carry Twilio's signature over PUBLIC_URL and the path as it was
requested; what a request says about its own host or about proxies plays no part. Without the token only this machine
is served, and nothing that came through a proxy or a tunnel.

Pages for people are for this machine too where there is no token of Twilio's. With it, or with a CONSOLE_TOKEN, they
are for those who signed in; see web/visitors.py.
"""

import hmac
import logging
import re
from collections.abc import Callable
from enum import Enum
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson
from flask import Flask, Response, abort, current_app, request
from flask.typing import ResponseReturnValue
from pydantic import SecretStr
from werkzeug.exceptions import RequestEntityTooLarge

from config import Settings, is_loopback
from web.visitors import Visitors
from wire.signature import (
    SIGNATURE_HEADER,
    upgrade_urls,
    valid_body_webhook,
    valid_upgrade,
    valid_webhook,
    webhook_urls,
)

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_FIELDS = 200
"""Twilio sends some forty; each SIP header adds one."""

_FORM = "application/x-www-form-urlencoded"

_FORWARDING = re.compile(
    r"x-forwarded(-.+)?|forwarded(-.+)?|via|x-real-ip|x-(original|envoy|cluster|client|appengine|amzn|azure)-.+"
    r"|cf-.+|cdn-loop|ngrok-.+|true-client-ip|fastly-.+|fly-.+|tailscale-.+",
    re.IGNORECASE,
)
"""Headers that proxies and tunnels add. In development they give away that the caller is not on this machine."""

View = TypeVar("View", bound=Callable[..., object])


class Policy(Enum):
    """What a route demands of a request."""

    PUBLIC = "public"
    WEBHOOK = "webhook"
    UPGRADE = "upgrade"
    OPERATOR = "operator"
    API = "api"
    ENTRANCE = "entrance"
    CONSOLE = "console"


def public(view: View) -> View:
    """Declares a route that anyone may call from anywhere."""
    return _declared(view, Policy.PUBLIC)


def webhook(view: View) -> View:
    """Declares a route that only Twilio calls, over HTTP."""
    return _declared(view, Policy.WEBHOOK)


def upgrade(view: View) -> View:
    """Declares a websocket route that only Twilio opens. Goes below Flask-Sock's own decorator."""
    return _declared(view, Policy.UPGRADE)


def operator(view: View) -> View:
    """Declares a route for whoever runs the server: this machine, or with Twilio's token set, METRICS_TOKEN."""
    return _declared(view, Policy.OPERATOR)


def api(view: View) -> View:
    """Declares a route for programs that have API_TOKEN, wherever they are; without that setting it is closed."""
    return _declared(view, Policy.API)


def entrance(view: View) -> View:
    """Declares what people need in order to sign in, and what holds nothing worth signing in for: style, scripts."""
    return _declared(view, Policy.ENTRANCE)


def console(view: View) -> View:
    """Declares a page, or data or an action of one, for the people who run the server; see `Visitors.check`.

    `web.visitors.current()` is who asks. A websocket route may be declared so too.
    """
    return _declared(view, Policy.CONSOLE)


def register(app: Flask, settings: Settings) -> Visitors:
    """Makes the app check every request. Call it once, before or after the routes are added.

    Returns who may see pages, for whoever shows some.
    """
    if not settings.authenticated:
        logger.warning(
            "TWILIO_AUTH_TOKEN is not set: signatures are not checked, and only this machine is served"
        )

    visitors = Visitors(settings)
    visitors.register(app)

    @app.before_request
    def check() -> ResponseReturnValue | None:
        if request.endpoint is None:  # no such route: Flask answers with 404, 405 or 400
            return None
        policy = getattr(current_app.view_functions.get(request.endpoint), _POLICY, None)
        if policy is Policy.PUBLIC:
            return None
        if policy is None:
            _refuse("its route declares no policy; decorate the view with one of web.security")
        if policy is Policy.API:
            if not settings.authenticated:
                _check_local()
            _check_api(settings.api_token)
            return None
        token, public_url = settings.twilio_auth_token, settings.public_url
        if token is None or public_url is None:
            _check_local()
        elif policy is Policy.OPERATOR:
            _check_operator(settings.metrics_token)
        elif policy is Policy.UPGRADE:
            _check_upgrade(token.get_secret_value(), public_url)
        elif policy is Policy.WEBHOOK:
            _check_webhook(token.get_secret_value(), public_url)
        if policy is Policy.WEBHOOK:
            _check_fields(settings.twilio_account_sid)
        if policy is Policy.CONSOLE:
            refusal = visitors.check()
            return _refuse(refusal) if isinstance(refusal, str) else refusal
        return None

    return visitors


def base_url(settings: Settings) -> str:
    """This server's URL, without a last slash, for the answer to the current request, which was let in.

    It is PUBLIC_URL, or in development the Host of the request, which was found to be this machine: that is right
    whatever port was bound.
    """
    return settings.public_url or f"http://{request.host}"


_POLICY = "_switchboard_policy"


def _declared(view: View, policy: Policy) -> View:
    setattr(view, _POLICY, policy)
    return view


def _check_webhook(auth_token: str, public_url: str) -> None:
    url = public_url + _raw_path()
    signature = request.headers.get(SIGNATURE_HEADER)
    if not signature:
        # Before the body is read: a stranger could send it a byte a minute.
        _refuse(_why(signature), webhook_urls(url))
    body = _body()
    if body and request.mimetype != _FORM:
        valid = valid_body_webhook(auth_token, url, body, signature)
    else:
        valid = valid_webhook(auth_token, url, _fields(body), signature)
    if not valid:
        _refuse(_why(signature), webhook_urls(url))


def _check_upgrade(auth_token: str, public_url: str) -> None:
    url = re.sub("^http", "ws", public_url) + _raw_path()
    signature = request.headers.get(SIGNATURE_HEADER)
    if "?" in url:
        _refuse("an upgrade has a query, which Twilio never sends", upgrade_urls(url))
    if not valid_upgrade(auth_token, url, signature):
        _refuse(_why(signature), upgrade_urls(url))


def _check_operator(token: SecretStr | None) -> None:
    if token is None:
        _refuse("METRICS_TOKEN is not set, so nobody may read this")
    if not _bears(token):
        _refuse("its bearer token is not METRICS_TOKEN")


def _check_api(token: SecretStr | None) -> None:
    if token is not None and _bears(token):
        return
    why = "its bearer token is not API_TOKEN" if token else "API_TOKEN is not set, so nobody may use this"
    logger.warning("refused %s %s: %s", request.method, _shown(request.path), why)
    content = orjson.dumps({"error": {"code": "unauthorized", "message": why}})
    abort(Response(content, 401, {"WWW-Authenticate": "Bearer"}, content_type="application/json"))


def _bears(token: SecretStr) -> bool:
    offered = request.headers.get("Authorization", "")
    return hmac.compare_digest(offered.encode(), f"Bearer {token.get_secret_value()}".encode())


def _check_local() -> None:
    if not is_loopback(request.remote_addr):
        _refuse("it came from another machine, and TWILIO_AUTH_TOKEN is not set")
    forwarding = sorted(name for name, _ in request.headers if _FORWARDING.fullmatch(name))
    if forwarding:
        _refuse(
            f"it came through a proxy or a tunnel ({', '.join(forwarding)}), and TWILIO_AUTH_TOKEN is not set; "
            "set it together with PUBLIC_URL"
        )
    host = request.headers.get("Host", "")
    if "@" in host or not is_loopback(_hostname(f"//{host}")):
        _refuse("its Host is not this machine, and TWILIO_AUTH_TOKEN is not set; use http://127.0.0.1")
    # Any site's page can make the developer's own browser post here or open a websocket.
    origin = request.headers.get("Origin")
    if origin is not None and not is_loopback(_hostname(origin)):
        _refuse("it was sent by a web page of another site")


def _check_fields(account_sid: str | None) -> None:
    _fields(_body())
    if account_sid is not None and set(request.values.getlist("AccountSid")) != {account_sid}:
        _refuse("its AccountSid is not TWILIO_ACCOUNT_SID")


def _raw_path() -> str:
    """The path and query as the request line had them: decoded ones cannot be signed again."""
    raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI")
    if not isinstance(raw, str):
        _refuse("this WSGI server does not tell the path as it was requested; use gunicorn")
    if not raw.startswith("/"):
        _refuse("its request line does not have a path")
    return raw


def _body() -> bytes:
    # Of a chunked body Werkzeug keeps what is within the limit and drops the rest in silence: one byte more shows it.
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data(cache=True)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


def _fields(body: bytes) -> list[tuple[str, str]]:
    if not body or request.mimetype != _FORM:
        return []
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        _refuse("its form is not UTF-8")
    except ValueError:
        raise RequestEntityTooLarge(f"A form here has at most {MAX_FIELDS} fields.") from None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _why(signature: str | None) -> str:
    if not signature:
        return f"it has no {SIGNATURE_HEADER}; let the proxy in front pass that header"
    return "its signature does not fit; compare TWILIO_AUTH_TOKEN, PUBLIC_URL and the webhook's URL"


def _refuse(reason: str, urls: tuple[str, ...] = ()) -> NoReturn:
    tried = f"; URLs tried: {', '.join(map(_shown, urls))}" if urls else ""
    logger.warning("refused %s %s: %s%s", request.method, _shown(request.path), reason, tried)
    abort(403)


def _shown(url: str) -> str:
    """A URL for the log: without its query, which holds the caller's number when the webhook is a GET."""
    path, question_mark, _ = url.partition("?")
    return ascii(path[:300])[1:-1] + (question_mark and "?…")
