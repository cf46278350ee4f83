"""gunicorn with the settings that calls need, and a worker that ends its calls before it ends itself."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.base import Worker

from config import Settings
from web import create_app
from web.calls import Calls

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
GRACEFUL_SECONDS = 10
WATCHDOG_SECONDS = DRAIN_SECONDS + 4.0


class Server(BaseApplication):  # type: ignore[misc]
    """The server: `run` blocks until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings. A call holds its thread, so a worker takes no more connections than it has threads."""
        settings = self._settings
        for name, value in {
            "bind": [
                f"[{settings.host}]:{settings.port}"
                if ":" in settings.host
                else f"{settings.host}:{settings.port}"
            ],
            "worker_class": "gthread",
            "workers": settings.workers,
            "threads": settings.threads,
            # A connection beyond the threads would wait in silence behind a call; another worker takes it instead.
            "worker_connections": settings.threads,
            "keepalive": 0,
            # A worker that restarts after so many requests would cut its calls: a call is one request.
            "max_requests": 0,
            "graceful_timeout": GRACEFUL_SECONDS,
            "control_socket_disable": True,
            "post_worker_init": drain_on_exit,
            "loglevel": settings.log_level,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application of one worker."""
        return create_app(self._settings)


def drain_on_exit(worker: Worker) -> None:
    """gunicorn's `post_worker_init`: on SIGTERM, SIGINT and SIGQUIT end the calls, which gunicorn knows nothing of.

    The handler only sets an event: a thread started inside a signal handler dies under gevent. A thread that waits
    for it does the work, and makes sure that a worker with a stuck call does not outlive its master on its port.
    """
    calls: Calls = worker.wsgi.extensions["switchboard.calls"]
    asked = threading.Event()

    def drain() -> None:
        asked.wait()
        watchdog = threading.Timer(WATCHDOG_SECONDS, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if left := calls.drain(DRAIN_SECONDS):
            logger.error("%d calls did not end", left)

    threading.Thread(target=drain, name="drain", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _before(number, asked.set)


def _before(number: signal.Signals, action: Any) -> None:
    default = signal.getsignal(number)

    def handler(received: int, frame: FrameType | None) -> None:
        action()
        if callable(default):
            default(received, frame)

    signal.signal(number, handler)
