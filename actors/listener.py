"""Listeners: actors that are told what happens in a call, and can neither slow nor end it.

    class Keys(Listener):
        wants = (DigitPressed,)

        def handle(self, message):
            match message:
                case DigitPressed(digit=digit):
                    ...
                case _:
                    return super().handle(message)

Each has a thread and a mailbox of its own. What it raises ends it alone; it is started once more, then left out.
If it falls behind, audio is dropped from its mailbox, oldest first, and never from the call's. What it wants of the
call, such as `HangUp`, it tells its `parent`.
"""

import time
from typing import Any, ClassVar

from pykka import ActorRef

from actors.clock import Clock
from actors.member import Member, call_log, post
from actors.messages import CallEnded, DeadlinePassed, PauseRecording, StartRecording, StopRecording
from actors.supervision import Restart, Role, Supervision
from wire.journal import CallRecord


class Listener(Member):
    """The base of every listener. `open`, `handle` and `close` run in its own thread; `parent` is the CallActor.

    `__init__` runs in the call's: what may take time, such as connecting to something, belongs into `open`.
    """

    wants: ClassVar[tuple[type, ...]] = ()
    """The classes of the messages that it is told, of those that the call's actors tell each other."""
    audio_limit_ms: ClassVar[float] = 10_000
    on_demand: ClassVar[bool] = False
    """Whether it comes when it is needed, and may go by itself."""

    def __init__(self, call: ActorRef[Any] | None, record: CallRecord) -> None:
        super().__init__(call, record.call_sid)
        self.record = record
        """Which call it is."""

    def handle(self, message: Any) -> Any:
        match message:
            case CallEnded():
                self.stop()
            case _:
                return super().handle(message)


class Listeners:
    """The listeners of one call. `tell` may be called by any thread, the rest belongs to the CallActor."""

    def __init__(
        self, call: ActorRef[Any], record: CallRecord, clock: Clock, supervision: Supervision
    ) -> None:
        self._call = call
        self._record = record
        self._clock = clock
        self._supervision = supervision
        self._log = call_log(__name__, record.call_sid)
        self._recording: list[StartRecording | PauseRecording | StopRecording] = []
        # Replaced as a whole and never altered: who tells takes what there is at the moment.
        self._live: dict[type[Listener], ActorRef[Any]] = {}

    def start(self, kinds: tuple[type[Listener], ...]) -> None:
        """Start one of each. One that cannot be started is left out."""
        for kind in kinds:
            self.restart(kind)

    def restart(self, kind: type[Listener], *told: object) -> None:
        """Start one, perhaps again. Of `told`, and of what holds for the recording, it is told what it wants."""
        try:
            ref: ActorRef[Any] = kind.start(self._call, self._record)
        except BaseException:  # a SystemExit too: it would end the call
            self._log.exception("listener %s cannot be started", kind.__qualname__)
            return
        for message in (*told, *self._recording):
            if isinstance(message, (*kind.wants, CallEnded)):
                post(ref, message)
        self._live = {**self._live, kind: ref}

    def join(self, kind: type[Listener], *told: object) -> None:
        """Start one in the middle of the call, unless it is there. `told`: what it has to know first of all."""
        if kind not in self._live:
            self.restart(kind, *told)

    def recording(self, order: StartRecording | PauseRecording | StopRecording) -> None:
        """What a listener has to be told of the recording that comes later."""
        others = [] if isinstance(order, StartRecording) else self._recording
        self._recording = [*(each for each in others if type(each) is not type(order)), order]

    def tell(self, message: object) -> None:
        """Tell those that want it."""
        for kind, ref in self._live.items():
            if isinstance(message, kind.wants):
                post(ref, message)

    def want(self, kind: type) -> bool:
        """Whether anybody listens to messages of this class."""
        return any(issubclass(kind, each.wants) for each in self._live) if self._live else False

    def exited(self, member: ActorRef[Any], error: Exception | None = None) -> bool:
        """An actor has ended. Whether it was a listener that should not have; what is to be done about it is done."""
        kind = next((kind for kind, ref in self._live.items() if ref == member), None)
        if kind is None:
            return False
        self._live = {each: ref for each, ref in self._live.items() if each is not kind}
        if kind.on_demand:
            if error is not None:
                self._log.warning("listener %s failed; it comes again when it is needed", kind.__qualname__)
            return error is not None
        name = f"{kind.__module__}.{kind.__qualname__}"
        match self._supervision.failed(Role.LISTENER, name, False, time.monotonic()):
            case Restart(seconds=seconds):
                again = DeadlinePassed(DeadlinePassed.RESTART_LISTENER, kind)
                self._clock.after(seconds, self._call, again)
            case _:
                self._log.warning("listener %s failed again and is left out", kind.__qualname__)
        return True

    def end(self, ended: CallEnded | None = None) -> None:
        """The call ends: each is told so, behind all that it was told before, and ends by itself."""
        for ref in self._live.values():
            post(ref, ended or CallEnded())
        self._live = {}
