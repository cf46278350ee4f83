"""The offline OpenAI Realtime server: it speaks the GA protocol strictly, on this machine, with no account.

A client that works with it works with the real one. `python run.py model` runs it on its own.
Source of the protocol: openai-realtime.md; every choice of our own is said where it is made.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import orjson
from websockets.http11 import Request
from websockets.http11 import Response as HttpResponse
from websockets.sync.server import Server, ServerConnection, serve

from simulator.admission import TurnedAway, admit
from simulator.dialogue import Dialogue
from simulator.engine import Delivery, DetectorFactory, DialogueFactory, Equipment, Observer
from simulator.engine import Voice as AnyVoice
from simulator.entrance import Entrance
from simulator.faults import Faults
from simulator.identifier import new_identifier
from simulator.rules import Rules
from simulator.session import RealtimeSession
from simulator.vad import VoiceActivity
from simulator.voice import Voice

T = TypeVar("T")

PATH = "/v1/realtime"
MAX_FRAME_BYTES = 24 * 1024 * 1024
"""Room for an append of 15 MiB in base64, with its JSON."""

CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close before its connection is dropped."""

SHUTTING_DOWN = "The offline model is shutting down."

logger = logging.getLogger(__name__)
_socket_logger = logging.getLogger(f"{__name__}.socket")
# At DEBUG the library describes every frame, which costs more than all else here together.
_socket_logger.setLevel(logging.INFO)


def _is_news(record: logging.LogRecord) -> bool:
    # Where one thread closes a connection while the library's reader has received something, that one takes the data
    # behind the end for an error of the library's own.
    return record.exc_info is None or not isinstance(record.exc_info[1], EOFError)


_socket_logger.addFilter(_is_news)


class OfflineModel:
    """The server. `start` and `close` it, or use it as a context manager; both may be called from any thread."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        voice: AnyVoice | None = None,
        dialogue: DialogueFactory | None = None,
        observer: Observer | None = None,
        pace: float = 8.0,
        delta_ms: int = 200,
        late_deltas: int = 1,
        session_seconds: int = 3600,
        detector: DetectorFactory = VoiceActivity,
        clock: Callable[[], float] = time.monotonic,
        remember: bool = True,
    ) -> None:
        """Everything has a default: the shipped dialogue, and a voice of its own that lives as long as the server.

        `port` 0 takes a free one. `pace` is how many times faster than it plays speech is sent, in pieces of
        `delta_ms`; for `late_deltas` see Delivery. `session_seconds` is the longest session. `clock`, in seconds,
        decides when a session or a silent caller has run out of time. With `remember` False, sessions that have
        ended are forgotten.
        """
        rules = Rules.load() if voice is None or dialogue is None else None
        self._own_voice = Voice(rules.phrases) if voice is None and rules is not None else None
        self._remember = remember
        self._entrance = Entrance(host, port, self._make_server)
        self.faults = Faults(self._entrance)
        """What is wrong with it; nothing at first."""
        self._equipment = Equipment(
            faults=self.faults,
            voice=voice or _given(self._own_voice),
            dialogue=dialogue or (lambda: Dialogue(_given(rules))),
            detector=detector,
            delivery=Delivery(pace, delta_ms, late_deltas),
            session_seconds=session_seconds,
            clock=clock,
            observer=observer,
            remember=remember,
        )
        self._opened = threading.Condition()
        self._sessions: list[RealtimeSession] = []
        self._handlers: list[threading.Thread] = []
        self._started = False
        self._closing = False

    def start(self) -> None:
        """Start the voice and listen. Raises OSError if the port is taken, RuntimeError if started already."""
        if self._started:
            raise RuntimeError("the offline model is running already")
        self._closing = False
        try:
            self._entrance.bind()
        except OSError as error:
            address = f"{self._entrance.host}:{self._entrance.port}"
            raise OSError(
                error.errno, f"the offline model cannot listen on {address}: {error.strerror}"
            ) from error
        try:
            if self._own_voice is not None:
                self._own_voice.start()
            self._entrance.open()
        except BaseException:
            self._entrance.close()
            if self._own_voice is not None:
                self._own_voice.close()
            raise
        self._started = True

    def close(self) -> None:
        """End all sessions (close code 1001), join all threads and free the port. May be called twice."""
        if not self._started:
            return
        self._started = False
        # From here on nobody is let in: whoever comes back at once would have a session that nothing ends. The
        # library's own shutdown comes last, since it waits for clients that no longer read.
        with self._opened:
            self._closing = True
            sessions = [session for session in self._sessions if not session.closed.is_set()]
            handlers = self._handlers
        self.faults.resume()
        for session in sessions:
            session.close(1001, SHUTTING_DOWN)
        deadline = time.monotonic() + CLOSE_SECONDS
        for session in sessions:
            if not session.closed.wait(max(deadline - time.monotonic(), 0)):
                session.drop()
        for handler in handlers:
            handler.join()
        self._entrance.close()
        if self._own_voice is not None:
            self._own_voice.close()

    def __enter__(self) -> "OfflineModel":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients connect, for example ws://127.0.0.1:8765/v1/realtime. Known once started."""
        return f"ws://{self._entrance.host}:{self._entrance.port}{PATH}"

    @property
    def session_seconds(self) -> int:
        """The longest that a session lasts: its `expires_at`, and its end, which is section 14's. At least 1.

        May be set, for the sessions that are opened from then on.
        """
        return self._equipment.session_seconds

    @session_seconds.setter
    def session_seconds(self, seconds: int) -> None:
        self._equipment = replace(self._equipment, session_seconds=seconds)

    @property
    def pace(self) -> float:
        """How many times faster than it plays speech is sent. May be set, for the sessions opened from then on."""
        return self._equipment.delivery.pace

    @pace.setter
    def pace(self, pace: float) -> None:
        delivery = replace(self._equipment.delivery, pace=pace)
        self._equipment = replace(self._equipment, delivery=delivery)

    @property
    def sessions(self) -> tuple[RealtimeSession, ...]:
        """The sessions that were ever opened, in order; without `remember` those that are open."""
        with self._opened:
            return tuple(self._sessions)

    def await_session(self, n: int = 1, timeout: float = 5) -> RealtimeSession:
        """Return the n-th session, waiting for it. Raises TimeoutError."""
        with self._opened:
            if not self._opened.wait_for(lambda: len(self._sessions) >= n, timeout):
                raise TimeoutError(f"{len(self._sessions)} of {n} sessions were opened within {timeout} s")
            return self._sessions[n - 1]

    @property
    def abilities(self) -> str:
        """What it hears and speaks with, for people to read."""
        if self._own_voice is None:
            return "hears and speaks with a voice that was given"
        return f"hears with {self._own_voice.recognition}, speaks with {self._own_voice.synthesis}"

    def _make_server(self, listener: socket.socket) -> Server:
        return serve(
            self._serve,
            sock=listener,
            process_request=self._route,
            compression=None,
            ping_interval=None,
            close_timeout=CLOSE_SECONDS,
            max_size=MAX_FRAME_BYTES,
            logger=_socket_logger,
        )

    def _route(self, connection: ServerConnection, request: Request) -> HttpResponse | None:
        if urlsplit(request.path).path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"Realtime sessions are at {PATH}\n")
        if self._closing:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{SHUTTING_DOWN}\n")
        if (status := self.faults.refusing_status) is not None:
            return connection.respond(status, f"{HTTPStatus(status).phrase}\n")
        return None

    def _serve(self, connection: ServerConnection) -> None:
        """Serve one client. Runs in the thread of its connection."""
        model = self.faults.turning_away or admit(_given(connection.request))
        if isinstance(model, TurnedAway):
            event = {"event_id": new_identifier("event"), **model.error.event()}
            connection.send(orjson.dumps(event), text=True)
            connection.close(model.close_code, model.close_reason)
            return
        session = RealtimeSession(connection, model, self._equipment)
        this_thread = threading.current_thread()
        this_thread.name = f"model-reads {session.id}"
        connection.recv_events_thread.name = f"model-receives {session.id}"
        with self._opened:
            let_in = not self._closing
            if let_in:
                self._sessions.append(session)
                self._handlers = [each for each in self._handlers if each.is_alive()] + [this_thread]
                self._opened.notify_all()
        if not let_in:
            connection.close(1001, SHUTTING_DOWN)
            return
        try:
            session.run()
        finally:
            if not self._remember:
                with self._opened:
                    self._sessions.remove(session)


def _given(value: T | None) -> T:
    assert value is not None
    return value


def serve_until_told(host: str, port: int, watch_parent: bool, echo: Callable[[str], object]) -> None:
    """Run an offline model until SIGTERM or SIGINT, or, to `watch_parent`, until standard input ends.

    `echo` prints one line when it is ready. Main thread only, which alone may handle signals. Raises OSError if
    the port is taken.
    """
    ended = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        if watch_parent:
            threading.Thread(target=_await_parent, args=(ended,), name="watches-parent", daemon=True).start()
        with OfflineModel(host=host, port=port, remember=False) as model:
            echo(f"offline model ready at {model.url} ({model.abilities})")
            ended.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _await_parent(ended: threading.Event) -> None:
    # os.read, because a daemon thread inside sys.stdin makes the interpreter's exit fail.
    while os.read(0, 4096):
        pass
    ended.set()
