"""Answers on HOST and PORT where no server runs yet, so that a proxy or tunnel can be checked before that."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from flask import Flask, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from config import STREAM_PATH, WEBHOOK_PATH, Settings
from web import health, security

TAKEN_IN = 400
"""What the webhook answers to a signed request without a CallSid: it was let in, and then asks for one."""
NO_UPGRADE = 426
"""What the stand-in answers to a websocket that came through and would have been let in."""


@contextlib.contextmanager
def stand_in(settings: Settings) -> Iterator[None]:
    """Answers in the server's place: /health, and to webhook and websocket whether they would have been let in."""

    class Handler(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:
            """Not logged: strangers may come as well."""

    app = Flask("switchboard.doctor", static_folder=None)
    security.register(app, settings)
    app.add_url_rule("/health", view_func=security.public(lambda: health.answer(settings)), endpoint="health")
    app.add_url_rule(
        WEBHOOK_PATH,
        view_func=security.webhook(lambda: Response(status=TAKEN_IN)),
        methods=["POST"],
        endpoint="webhook",
    )
    app.add_url_rule(
        STREAM_PATH,
        view_func=security.upgrade(lambda: Response(status=NO_UPGRADE)),
        endpoint="stream",
        websocket=True,
    )
    with _listener(settings) as listener:
        server = make_server(
            settings.host, settings.port, app, threaded=True, request_handler=Handler, fd=listener.fileno()
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="stand-in", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def port_is_free(settings: Settings) -> bool:
    """Whether this process could listen where the server does."""
    try:
        with _listener(settings):
            return True
    except OSError:
        return False


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)
