"""What all pages have in common: the files they load, what a browser lets them do, signing in and out."""

import hashlib
import logging
import re
from pathlib import Path
from urllib.parse import unquote

from flask import Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from web import security
from web.sessions import Guesses
from web.visitors import SIGN_IN_PATH, Visitors, current_or_none

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Said here, because a browser runs no script that this machine's own list of types calls something else."""
STATIC_SECONDS = 365 * 86400
"""How long a browser keeps a file, whose address changes whenever a file does."""
TOKEN_HEADER = "X-Console-Token"
"""What a browser signs in with, percent-encoded. In a header, because a stranger could send a body a byte a minute,
and hold a thread with it."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=(), payment=(), usb=()",
    # Not no-referrer, with which a form of our own would be sent with the Origin "null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_OWN_PATH = re.compile(r"/(?![/\\])[\w/.~%?=&+-]*", re.ASCII)


class Pages:
    """The shell: to be registered once, before the pages that use it."""

    def __init__(self, visitors: Visitors, guesses: Guesses | None = None) -> None:
        self._visitors = visitors
        self._guesses = guesses or Guesses()
        self._files = {
            path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in CONTENT_TYPES
        }
        self._version = _version(self._files)

    def register(self, app: Flask) -> None:
        """Adds the routes, what templates may use, and the headers of every answer, to the app."""
        app.template_folder = str(TEMPLATES)
        app.add_url_rule("/static/<version>/<name>", "static", self.static)
        app.add_url_rule(SIGN_IN_PATH, "sign_in_page", self.sign_in_page)
        app.add_url_rule(SIGN_IN_PATH, "sign_in", self.sign_in, methods=["POST"])
        app.add_url_rule("/sign-out", "sign_out", self.sign_out, methods=["POST"])

        @app.context_processor
        def shell() -> dict[str, object]:
            session, sessions = current_or_none(), self._visitors.sessions
            return {
                "path": self._path,
                "static": lambda name: self._path(f"/static/{self._version}/{name}"),
                "csrf_token": "" if session is None else sessions.csrf_token(session),
                "visitor": session,
                "can_sign_out": session is not None and sessions.guarded,
            }

        @app.after_request
        def restrict(response: Response) -> Response:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

    @security.entrance
    def static(self, version: str, name: str) -> Response:
        """A file of the pages. Another version's address gets this one's too, and is not to be kept."""
        found = self._files.get(name)
        if found is None:
            abort(404)
        response = Response(found, content_type=CONTENT_TYPES[Path(name).suffix])
        response.add_etag()
        if version == self._version:
            response.cache_control.public = response.cache_control.immutable = True
            response.cache_control.max_age = STATIC_SECONDS
        else:
            response.cache_control.no_cache = True
        response.make_conditional(request)
        return response

    @security.entrance
    def sign_in_page(self) -> ResponseReturnValue:
        """Where those are sent who have not signed in."""
        if self._visitors.closed:
            return render_template("sign_in.html", closed=True), 403
        wanted = request.args.get("next", "/")
        landing = self._path(wanted if _OWN_PATH.fullmatch(wanted) else "/")
        return render_template("sign_in.html", closed=False, landing=landing)

    @security.entrance
    def sign_in(self) -> ResponseReturnValue:
        """Begin a session for whoever brings the token."""
        visitors = self._visitors
        if not visitors.from_own_page():
            return _error("This was not sent by the sign-in page under this server's address.", 403)
        known = visitors.is_known()
        if not known and not self._guesses.take():
            logger.warning("somebody keeps trying tokens for the console")
            return _error("Too many wrong tokens were tried. Try again in a few seconds.", 429)
        if not visitors.sessions.accepts(unquote(request.headers.get(TOKEN_HEADER, ""))):
            return _error("That is not the token.", 403)
        if not known:
            self._guesses.give_back()
        response = Response(status=204)
        visitors.remember(response, visitors.sessions.begin())
        return response

    @security.console
    def sign_out(self) -> ResponseReturnValue:
        """End the session in this browser."""
        response = Response(status=204)
        self._visitors.forget(response)
        return response

    def _path(self, path: str) -> str:
        return self._visitors.base_path + path


def _error(text: str, status: int) -> ResponseReturnValue:
    return jsonify(error=text), status


def _version(files: dict[str, bytes]) -> str:
    """A name for what the files hold. Workers and machines with the same files agree about it."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
