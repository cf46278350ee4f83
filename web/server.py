"""gunicorn with the settings that calls need, and workers that end their calls before they end themselves."""

import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker

from config import Settings
from web import CALLS, create_app
from web.calls import Calls
from web.metrics import MetricsDirectory

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
FAREWELL_SECONDS = 1.0
"""After the last call: Twilio asks what to do when a stream has ended, and somebody has to answer."""
GRACEFUL_SECONDS = 10
WATCHDOG_SECONDS = 9.0
"""Before gunicorn's master would kill the worker."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SPREAD_SECONDS = 0.05
"""How long a worker full of calls hesitates to take a connection."""


class CallWorker(ThreadWorker):  # type: ignore[misc]
    """gthread, but the more calls a worker has, the longer it hesitates to accept: the others are first.

    Without this the workers race for each connection, and one may fill up with calls beside an idle one.
    """

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, if no other worker has by now. Runs in the worker's main thread."""
        calls: Calls = self.wsgi.extensions[CALLS]
        if calls.count:
            time.sleep(SPREAD_SECONDS * calls.count / calls.limit)
        super().accept(listener)


class Server(BaseApplication):  # type: ignore[misc]
    """The server: `run` blocks until it is told to stop. SIGHUP reads the settings again, for new workers."""

    def __init__(self, load_settings: Callable[[], Settings], ready: Callable[[str], object]) -> None:
        """`ready` is told where the webhook is, once it can be called. Raises what `load_settings` raises."""
        self._load_settings = load_settings
        self._settings = load_settings()
        self._ready = ready
        self._metrics = MetricsDirectory()
        self._loaded = False
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings; called by gunicorn at the start and at each reload."""
        if self._loaded:
            try:
                self._settings = self._load_settings()
            except Exception as error:
                logger.error("reloading with the settings as they were: %s", error)
        self._loaded = True
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        for name, value in {
            "bind": [f"{host}:{settings.port}"],
            "worker_class": CallWorker,
            "workers": settings.workers,
            "threads": settings.threads,
            "keepalive": 0,
            # A worker that restarts after so many requests would cut its calls: a call is one request.
            "max_requests": 0,
            "graceful_timeout": GRACEFUL_SECONDS,
            "control_socket_disable": True,
            "when_ready": self._when_ready,
            "post_worker_init": drain_on_exit,
            "loglevel": settings.log_level,
            **self._metrics.gunicorn_settings(),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application of one worker."""
        return create_app(self._settings)

    def _when_ready(self, arbiter: Arbiter) -> None:
        base_url = self._settings.base_url
        if self._settings.port == 0 and self._settings.public_url is None:
            host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
            base_url = f"http://{host}:{port}"
        self._ready(f"{base_url}/twiml")


def drain_on_exit(worker: Worker) -> None:
    """gunicorn's `post_worker_init`: on SIGTERM, SIGINT and SIGQUIT end the calls, which gunicorn knows nothing of.

    gunicorn learns of the signal only when the calls have ended and Twilio has had a moment to ask what comes next:
    until then this worker goes on answering. The thread that does this also makes sure that a worker with a stuck
    call does not outlive its master on its port.
    """
    calls: Calls = worker.wsgi.extensions[CALLS]
    # A handler may interrupt itself: SimpleQueue.put is made for that, Event.set would wait for its own lock. And
    # no thread is started in a handler, which under gevent dies of it.
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    drained = threading.Event()
    defaults: dict[int, Any] = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def drain() -> None:
        number = received.get()
        watchdog = threading.Timer(WATCHDOG_SECONDS, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if calls.count:
            if left := calls.drain(DRAIN_SECONDS):
                logger.error("%d calls did not end", left)
            time.sleep(FAREWELL_SECONDS)
        drained.set()
        os.kill(os.getpid(), number)

    def handle(number: int, frame: FrameType | None) -> None:
        if not drained.is_set():
            received.put(number)
        elif callable(defaults[number]):
            defaults[number](number, frame)

    threading.Thread(target=drain, name="drain", daemon=True).start()
    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    # The master reloads its workers at SIGHUP; to them it comes only when a terminal is closed.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
