"""Small real parts for the tests of the actors: a stand-in for an actor, and sockets whose peer the test plays."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pykka
from pykka import ActorRef
from pykka._envelope import Envelope

from actors.clock import Clock, Timer
from actors.model_socket import ModelSocket, ModelSocketError

T = TypeVar("T")

PATIENCE_SECONDS = 15.0
"""How long a test waits for what must come; nothing here waits for what must not."""


class Probe(ActorRef[Any]):
    """Stands for an ActorRef: keeps what it is told, in order. Any thread may tell; the test's own reads."""

    def __init__(self, name: str = "probe") -> None:
        self.actor_urn = name
        self.actor_class = pykka.ThreadingActor
        self.actor_stopped = threading.Event()
        self.actor_inbox = self
        self.lent: list[int] = []
        """How many messages came together with a thread to handle them in, each time."""
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, envelope: Envelope[Any]) -> None:
        """Where it stands for the inbox of an actor."""
        self._told.put(envelope.message)

    def lend(self, *messages: object) -> None:
        """Where it stands for the mailbox of an actor that may borrow threads."""
        self.lent.append(len(messages))
        for message in messages:
            self._told.put(message)

    def want(self, kind: type) -> bool:
        """Where it stands for a call's listeners: there is somebody for everything."""
        return True

    def die(self) -> None:
        """From now on, telling it raises, as with a dead actor."""
        self.actor_stopped.set()

    def expect(self, kind: type[T], timeout: float = PATIENCE_SECONDS) -> T:
        """The next message, which must be of this type and come within `timeout` seconds."""
        try:
            message = self._told.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no {kind.__name__} within {timeout} s") from None
        assert isinstance(message, kind), f"{message} instead of {kind.__name__}"
        return message

    def told(self) -> list[Any]:
        """Everything that it has been told by now and that was not expected yet; does not wait."""
        messages = []
        while True:
            try:
                messages.append(self._told.get_nowait())
            except queue.Empty:
                return messages


class FakeMediaSocket:
    """A media socket that keeps what is sent. It can refuse to send, and it can block in sending or closing."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.journal: list[str] = [] if journal is None else journal
        """Shared with other fakes where a test is about their order."""
        self.refusal: OSError | None = None
        self.writes = 0
        """How many there were, of one message or several."""
        self.sending = threading.Event()
        """Set when a send has begun."""
        self.closing = threading.Event()
        """Set when `close` has begun; `closed` when it has ended."""
        self.closed = threading.Event()
        self.aborted = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._close_blocks = False
        self._sent: queue.SimpleQueue[str] = queue.SimpleQueue()

    def block(self) -> None:
        """Let sends wait until `unblock` or `abort`."""
        self._flowing.clear()

    def unblock(self) -> None:
        self._flowing.set()

    def block_close(self) -> None:
        """Let `close` wait until `abort`."""
        self._close_blocks = True

    def send(self, *texts: str) -> None:
        self.sending.set()
        self._flowing.wait(PATIENCE_SECONDS)
        if self.refusal is not None:
            raise self.refusal
        if self.aborted.is_set():
            raise ConnectionError("aborted")
        self.writes += 1
        for text in texts:
            self._sent.put(text)

    def has_room(self) -> bool:
        return self._flowing.is_set()

    def close(self, code: int, reason: str) -> None:
        self.journal.append(f"phone closed {code}")
        self.closing.set()
        if self._close_blocks:
            self.aborted.wait(PATIENCE_SECONDS)
        self.closed.set()

    def abort(self) -> None:
        self.journal.append("phone aborted")
        self.aborted.set()
        self._flowing.set()

    def sent(self) -> list[dict[str, Any]]:
        """The messages that have been sent by now and were not asked for before; does not wait."""
        messages = []
        while True:
            try:
                messages.append(orjson.loads(self._sent.get_nowait()))
            except queue.Empty:
                return messages

    def expect(self, event: str, timeout: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The next message, which must be this event."""
        try:
            message: dict[str, Any] = orjson.loads(self._sent.get(timeout=timeout))
        except queue.Empty:
            raise AssertionError(f"no {event} was sent within {timeout} s") from None
        assert message["event"] == event, f"{message} instead of {event}"
        return message


class _Pong:
    """What stands for a pong among the texts that a FakeModelSocket receives."""


class FakeModelSocket(ModelSocket):
    """A model socket over queues; the test plays the server with `say`, `say_pong`, `end` and `expect`."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.url = "fake"
        self.journal: list[str] = [] if journal is None else journal
        self.refusal: str | None = None
        """Why connecting fails; None: it does not."""
        self.connecting = threading.Event()
        self.released = threading.Event()
        self.deaf = False
        """`close` waits for ever; only an `abort` from outside ends it."""
        self.release_seconds = 0.0
        """How long giving the descriptor back takes."""
        self.writes = 0
        """How many there were, of one message or several."""
        self._aborted = False
        self._gone = threading.Event()
        self._received: queue.SimpleQueue[str | _Pong | None] = queue.SimpleQueue()
        self._sent: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._end = "lost: aborted"
        self._end_is_permanent = False

    def connect(self) -> None:
        self.connecting.set()
        if self.refusal is not None:
            raise ModelSocketError(self.refusal)

    def receive(self) -> str | None:
        text = self._received.get(timeout=60)
        if text is None:
            raise ModelSocketError(self._end, self._end_is_permanent)
        return None if isinstance(text, _Pong) else text

    def send(self, *texts: str) -> None:
        if self._gone.is_set():
            raise ModelSocketError("cannot be written: it is gone")
        self.writes += 1
        for text in texts:
            self._sent.put(text)

    @property
    def more_came(self) -> bool:
        return not self._received.empty()

    def has_room(self) -> bool:
        return True

    def ping(self) -> None:
        if self._gone.is_set():
            raise ModelSocketError("cannot be written: it is gone")
        self._pings.put(None)

    def break_writes(self) -> None:
        """From now on nothing can be sent; what the server says still comes."""
        self._gone.set()

    def close(self) -> None:
        self.journal.append("model closing")
        if self.deaf:
            self._gone.wait(10 * PATIENCE_SECONDS)
        self.abort()

    def abort(self) -> None:
        self._aborted = True
        self._gone.set()
        self._received.put(None)

    def release(self) -> None:
        threading.Event().wait(self.release_seconds)
        self.journal.append("model released")
        self.released.set()

    @property
    def aborted(self) -> bool:
        return self._aborted

    def say(self, *events: dict[str, Any] | str) -> None:
        """The server sends these."""
        for event in events:
            self._received.put(event if isinstance(event, str) else orjson.dumps(event).decode())

    def say_pong(self) -> None:
        """The server answers a ping."""
        self._received.put(_Pong())

    def end(self, how: str, permanent: bool = False) -> None:
        """The server ends the connection."""
        self._end, self._end_is_permanent = how, permanent
        self._received.put(None)

    def sent(self) -> list[dict[str, Any]]:
        """What the client has sent by now and was not asked for before; does not wait."""
        events = []
        while True:
            try:
                events.append(orjson.loads(self._sent.get_nowait()))
            except queue.Empty:
                return events

    def pings(self) -> int:
        """How many pings the client has sent by now that were not expected or counted yet; does not wait."""
        count = 0
        while not self._pings.empty():
            self._pings.get_nowait()
            count += 1
        return count

    def expect_ping(self, timeout: float = PATIENCE_SECONDS) -> None:
        """The client sends a ping."""
        try:
            self._pings.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the client sent no ping within {timeout} s") from None

    def expect(self, kind: str, timeout: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The client's next event, which must be of this type."""
        try:
            event: dict[str, Any] = orjson.loads(self._sent.get(timeout=timeout))
        except queue.Empty:
            raise AssertionError(f"the client sent no {kind} within {timeout} s") from None
        assert event["type"] == kind, f"{event} instead of {kind}"
        return event


class HandClock(Clock):
    """A clock whose time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[tuple[float, Timer]] = []
        self._added = threading.Condition()

    def after(self, seconds: float, receiver: ActorRef[Any], message: object) -> Timer:
        timer = Timer(receiver, message)
        with self._added:
            self.timers.append((seconds, timer))
            self._added.notify_all()
        return timer

    def expire(self, message: object) -> float:
        """Wait until a timer for this message is set, let it pass, and return its seconds."""

        def due() -> tuple[float, Timer] | None:
            return next((each for each in self.timers if each[1].message == message), None)

        with self._added:
            assert self._added.wait_for(due, PATIENCE_SECONDS), f"no timer for {message}"
            found = due()
            assert found is not None
            self.timers.remove(found)
        seconds, timer = found
        if not timer.cancelled and timer.receiver.is_alive():
            timer.receiver.tell(timer.message)
        return seconds


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE_SECONDS) -> None:
    """For what gives no event to wait for, such as a thread that ends."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.002)
