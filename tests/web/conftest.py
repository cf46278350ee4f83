"""A call without a conversation, for what is about calls and not about what is said in them."""

import queue
import threading
from types import TracebackType
from typing import Any, Self

from actors.call import Answer, CallActor
from actors.call_context import CallContext
from actors.endpoints import Endpoint, Endpoints
from actors.member import Member, post
from actors.messages import Drain, HangUp, Open, StreamStopped
from actors.phone_reader import PhoneReader
from actors.setup import CallSetup
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket
from web.calls import Calls, LiveCall
from web.pulse import Pulse
from wire.dialect import OPENAI, Session
from wire.journal import CallRecord

SESSION = Session(instructions="Be brief.", voice="marin", turn_detection={"type": "server_vad"})


def setup(call_sid: str) -> CallSetup:
    return CallSetup(
        record=CallRecord(call_sid, "MZ1", "+14158675310", "+18005551299", "Desk", "1"),
        media_socket=FakeMediaSocket(),
        endpoints=Endpoints([Endpoint("fake", FakeModelSocket, OPENAI)]),
        session=SESSION,
        greeting=None,
        context=CallContext(call_sid, "+14158675310", "+18005551299", {}),
    )


class IdleCall(CallActor):
    """Answers, says nothing, and is handed over as soon as that is asked."""

    def __init__(self, setup: CallSetup, clock: object, ended: threading.Event) -> None:
        Member.__init__(self, None, setup.call_sid)
        self._told_ended = ended
        self._stream_sid = setup.record.stream_sid

    def handle(self, message: Any) -> Any:
        match message:
            case Open():
                return None
            case Answer():
                return PhoneReader(self._stream_sid, self.actor_ref, self.actor_ref, None)
            case Drain():
                return self.drain(message)
            case HangUp() | StreamStopped():
                return self.stop()
        return Member.handle(self, message)

    def drain(self, message: Drain) -> None:
        self.stop()

    def close(self) -> None:
        self._told_ended.set()


class ToldPulse(Pulse):
    """As late as it is told."""

    told_late = False
    told_ms = 0.0

    @property
    def late(self) -> bool:
        return self.told_late

    @property
    def late_ms(self) -> float:
        return self.told_ms


setups: "queue.SimpleQueue[CallSetup]" = queue.SimpleQueue()
"""What KnownCalls were set up with."""


class KnownCall(IdleCall):
    """Shows what it was set up with."""

    def __init__(self, setup: CallSetup, clock: object, ended: threading.Event) -> None:
        super().__init__(setup, clock, ended)
        self._media_socket = setup.media_socket
        setups.put(setup)

    def close(self) -> None:
        self._media_socket.close(1000, "")
        super().close()


class Line:
    """A live call, and the thread that would read its media socket."""

    def __init__(self, calls: Calls, call_sid: str) -> None:
        started = calls.start(setup(call_sid))
        assert started is not None
        self.call: LiveCall = started
        self._calls = calls
        self._thread = threading.Thread(target=self._hold, name=f"route of {call_sid}", daemon=True)
        self._thread.start()

    def _hold(self) -> None:
        self.call.ended.wait(PATIENCE_SECONDS)
        self._calls.forget(self.call)

    def hang_up(self) -> None:
        post(self.call.ref, HangUp("done"))
        self._thread.join(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.hang_up()
