"""The base of every actor in a call: opens first, closes once, tells its parent how it ended."""

import logging
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, ClassVar, Protocol

import pykka
from pykka import ActorRef
from pykka._envelope import Envelope

from actors.mailbox import Mailbox
from actors.messages import Exited, Open


class CallError(Exception):
    """What ends an actor in a way that was thought of: logged in one line, without a traceback."""

    def __init__(self, why: str, permanent: bool = False) -> None:
        """`permanent`: it would only happen again, so nobody needs to try."""
        super().__init__(why)
        self.permanent = permanent


class CallLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the call's SID in front of every line."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {}).get('call')}: {msg}", kwargs


def call_log(name: str, call_sid: str) -> CallLog:
    """A logger for one part of one call."""
    return CallLog(logging.getLogger(name), {"call": call_sid})


def post(receiver: ActorRef[Any] | None, message: object) -> bool:
    """Tell, unless the receiver is dead: a dying actor must not take its correspondents along.

    Returns whether it was told. Pykka's `tell` to a dead actor raises in the sender, which inside a handler kills
    the sender as well. This is what it does otherwise, in two calls less: every frame is told.
    """
    if receiver is None or receiver.actor_stopped.is_set():
        return False
    receiver.actor_inbox.put(Envelope(message))
    return True


LENT_MS = 200
"""The longest audio to be lent: more might have to wait for room at the socket that it goes to."""


def lend(receiver: ActorRef[Any] | None, *messages: object) -> None:
    """Post; a receiver that has nothing to do handles them in this thread, if it borrows any. They are done soon."""
    if receiver is not None and not receiver.actor_stopped.is_set():
        mailbox: Any = receiver.actor_inbox
        mailbox.lend(*messages)


class Audience(Protocol):
    """Whoever listens to a call. Any thread tells, also on the audio path: it neither blocks nor raises."""

    def tell(self, message: object) -> None:
        """Something was told in the call."""

    def want(self, kind: type) -> bool:
        """Whether anybody listens to messages of this class; if not, none has to be made for them."""


class NoAudience:
    """Nobody listens."""

    def tell(self, message: object) -> None:
        pass

    def want(self, kind: type) -> bool:
        return False


class Member(pykka.ThreadingActor):
    """An actor of one call. Its own daemon thread runs `handle`, `open` and `close`, and nothing else does, but for
    one `handle` at a time in a thread that is lent to it: see `Mailbox`.

    The first message is `Open`, so that what fails on the way up is an ordinary failure: Pykka calls no hook when
    `on_start` raises. `close` runs once, however the actor ends; then the parent is told `Exited`.
    """

    use_daemon_thread: ClassVar[bool] = True
    audio_limit_ms: ClassVar[float] = float("inf")
    """How much audio may wait in this actor's mailbox."""

    def __init__(self, parent: ActorRef[Any] | None, call_sid: str) -> None:
        super().__init__()
        self.parent = parent
        self.call_sid = call_sid
        self.log = call_log(type(self).__module__, call_sid)
        assert isinstance(self.actor_inbox, Mailbox)
        self.mailbox = self.actor_inbox
        """This actor's own inbox, for what Pykka's interface does not know: holding audio back, what was dropped."""
        self._error: Exception | None = None
        self.actor_ref.tell(Open())

    @classmethod
    def _create_actor_inbox(cls) -> Mailbox:
        return Mailbox(cls.audio_limit_ms)

    def _start_actor_loop(self) -> None:
        try:
            super()._start_actor_loop()
        except RuntimeError:
            # "can't start new thread": Pykka would leave a registered actor that no thread runs and that
            # `stop` waits for without end.
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            raise

    def on_start(self) -> None:
        threading.current_thread().name = f"{type(self).__name__} {self.call_sid}"

    def on_receive(self, message: Any) -> Any:
        """Handle one message; whatever it raises, ends this actor alone.

        Pykka would let an exception during an ask pass without consequence, and would stop every actor of the
        process for a SystemExit.
        """
        if self._error is not None:
            return None
        try:
            return self.handle(message)
        except CallError as error:
            self.log.warning("%s", error)
            self._fail(error)
        except Exception as error:
            self.log.exception("failed at %s", type(message).__name__)
            self._fail(error)
        except BaseException as error:
            self.log.exception("failed at %s", type(message).__name__)
            self._fail(CallError(f"{type(error).__name__} in {type(self).__name__}"))
        return None

    def handle(self, message: Any) -> Any:
        """What this actor answers; subclasses match their messages and leave the rest to this."""
        match message:
            case Open():
                return self.open()
            case _:
                return super().on_receive(message)

    def open(self) -> None:
        """Acquire what this actor owns. May raise CallError."""

    def close(self) -> None:
        """Release what this actor owns, without raising. Called once."""

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.stop()

    def on_stop(self) -> None:
        self._end(self._error)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(CallError(str(exception_value)))

    def _end(self, error: Exception | None) -> None:
        try:
            self.close()
        except BaseException:  # a SystemExit here would stop every actor of the process
            self.log.exception("failed to close")
        self.mailbox.borrow_no_threads()
        post(self.parent, Exited(self.actor_ref, error))
