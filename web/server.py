"""gunicorn with the settings that calls need, and workers that hand their calls over before they end themselves."""

import logging
import math
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

from actors.tool_pool import shut_down_pool
from actors.warm_sockets import WarmSockets
from config import Settings
from store.database import StoreError
from store.journal import CallJournal
from store.outbox import Outbox
from web import CALLS, JOURNAL, OUTBOX, SETTINGS, WARM, build_app
from web.calls import HANDOVER_SECONDS, Calls
from web.cores import pinning
from web.garbage import Garbage
from web.metrics import MetricsDirectory
from web.preparation import Preparation

logger = logging.getLogger(__name__)

JOURNAL_SECONDS = 2.0
"""What the journal gets to write its last."""
FAREWELL_SECONDS = 10.0
"""At most, after the last call: Twilio asks what to do when a stream has ended, maybe several times, and somebody
has to answer."""
EXIT_SECONDS = 2.0
"""What is left for everything else, such as the answers that gunicorn itself waits for."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SPREAD_SECONDS = 0.05
"""How long a worker full of calls hesitates to take a connection."""
DRAINING_SECONDS = 0.03
"""How long one hesitates that is about to end. The new worker beside it is idle and faster; and where there is none,
many callers wait for this."""
DATABASE_PAUSE_SECONDS = 1.0
"""Before a worker that could not open the database tries again."""


def graceful_seconds(drain_seconds: float) -> int:
    """How long a worker may take to end: after that gunicorn's master kills it."""
    return math.ceil(drain_seconds + HANDOVER_SECONDS + JOURNAL_SECONDS + FAREWELL_SECONDS + EXIT_SECONDS)


class PatientWorker(Worker):  # type: ignore[misc]
    """A worker that cannot open the database waits for it: of one that ends so early gunicorn ends all others."""

    def load_wsgi(self) -> None:
        """Make the application, as soon as the database can be opened. Runs in the worker's main thread."""
        waiting = False
        while self.alive and self.ppid == os.getppid():
            # gunicorn's master kills a worker of which it hears nothing for half a minute.
            self.notify()
            try:
                super().load_wsgi()
            except StoreError as error:
                if not waiting:
                    logger.error("this worker serves as soon as it has the database: %s", error)
                waiting = True
                time.sleep(DATABASE_PAUSE_SECONDS)
            else:
                if waiting:
                    logger.info("this worker has the database, and serves")
                calls: Calls = self.wsgi.extensions[CALLS]
                calls.when_ended = Garbage().call_ended
                return
        raise SystemExit

    def hesitation(self) -> float:
        """How many seconds to leave a connection to other workers before it is taken: they may have fewer calls."""
        calls: Calls = self.wsgi.extensions[CALLS]
        if calls.draining:
            return DRAINING_SECONDS
        if calls.count and self.cfg.workers > 1:
            return SPREAD_SECONDS * (1 if calls.late else calls.count / calls.limit)
        return 0.0


class CallWorker(PatientWorker, ThreadWorker):  # type: ignore[misc]
    """gthread, but the more calls a worker has, the longer it hesitates to accept: the others are first.

    Without this the workers race for each connection, and one may fill up with calls beside an idle one.
    """

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, if no other worker has by now. Runs in the worker's main thread."""
        if seconds := self.hesitation():
            time.sleep(seconds)
        super().accept(listener)


class Server(BaseApplication):  # type: ignore[misc]
    """The server: `run` blocks until it is told to stop. SIGHUP prepares again, for new workers."""

    def __init__(
        self,
        prepare: Callable[[], Preparation],
        ready: Callable[[str], object],
        worker_class: type[PatientWorker] = CallWorker,
    ) -> None:
        """`ready` is told where the webhook is, once it can be called. Raises what `prepare` raises.

        `prepare` is called in gunicorn's master, at the start and at each reload: workers read nothing that could be
        wrong by the time that they are started.
        """
        self._prepare = prepare
        self._preparation = prepare()
        self._ready = ready
        self._worker_class = worker_class
        self._metrics = MetricsDirectory()
        self._loaded = False
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings; called by gunicorn at the start and at each reload."""
        if self._loaded:
            try:
                self._preparation = self._prepare()
            except Exception as error:
                logger.error("reloading with the settings as they were: %s", error)
        self._loaded = True
        settings = self._preparation.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        for name, value in {
            "bind": [f"{host}:{settings.port}"],
            "worker_class": self._worker_class,
            "workers": settings.workers,
            "threads": settings.threads,
            "keepalive": 0,
            # A worker that restarts after so many requests would cut its calls: a call is one request.
            "max_requests": 0,
            "graceful_timeout": graceful_seconds(settings.drain_seconds),
            "control_socket_disable": True,
            "when_ready": self._when_ready,
            "post_worker_init": drain_on_exit,
            "loglevel": settings.log_level,
            **(pinning(settings.workers) if settings.pin_workers else {}),
            **self._metrics.gunicorn_settings(),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application of one worker. Raises StoreError."""
        return build_app(self._preparation)

    def _when_ready(self, arbiter: Arbiter) -> None:
        settings = self._preparation.settings
        base_url = settings.base_url
        if settings.port == 0 and settings.public_url is None:
            host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
            base_url = f"http://{host}:{port}"
        self._ready(f"{base_url}/twiml")


def drain_on_exit(worker: Worker) -> None:
    """gunicorn's `post_worker_init`: on SIGTERM, SIGINT and SIGQUIT hand the calls over; gunicorn knows of none.

    gunicorn learns of the signal only when the calls are gone and Twilio's questions about them are answered: until
    then this worker goes on answering. The thread that does this also makes sure that a worker with a stuck call
    does not outlive its master on its port.
    """
    extensions = worker.wsgi.extensions
    calls: Calls = extensions[CALLS]
    journal: CallJournal = extensions[JOURNAL]
    outbox: Outbox | None = extensions[OUTBOX]
    settings: Settings = extensions[SETTINGS]
    warm: WarmSockets | None = extensions[WARM]
    # A handler may interrupt itself: SimpleQueue.put is made for that, Event.set would wait for its own lock. And
    # no thread is started in a handler, which under gevent dies of it.
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    drained = threading.Event()
    defaults: dict[int, Any] = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def drain() -> None:
        number = received.get()
        watchdog = threading.Timer(graceful_seconds(settings.drain_seconds) - 1, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if warm is not None:
            warm.close()  # no call will begin here any more
        if left := calls.drain(settings.drain_seconds):
            logger.error("%d calls did not end", left)
        journal.flush(JOURNAL_SECONDS)
        if outbox is not None:
            outbox.close()
        shut_down_pool()  # a tool that spins in a process would hold up the interpreter's exit
        calls.await_questions(FAREWELL_SECONDS)
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
