"""What a tool may know of the call in which it runs, and what it may have the call do."""

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from actors.member import CallError, post
from actors.messages import Asked, CollectDigits, SendDigits, Transfer
from actors.orders import Order
from wire.journal import INBOUND, OUTBOUND, Direction


@dataclass(frozen=True, slots=True)
class CallContext:
    """The call in which a tool runs. A parameter of this type is filled in by us; the model does not see it."""

    call_sid: str
    caller: str
    """the caller's number, or what Twilio says instead of one; ours, if we have placed the call"""
    called: str
    parameters: Mapping[str, str]
    """the custom parameters of the stream, and the variables of a call that we have placed"""
    direction: Direction = INBOUND
    digits: Mapping[str, str] = field(default_factory=dict)
    """what the caller has entered by keys, by its name in the assistant's file; only here where it is secret"""
    call: ActorRef[Any] | None = field(default=None, compare=False, repr=False)
    """the CallActor; None in a tool that runs in another process"""

    @property
    def person(self) -> str:
        """The number of whom the assistant speaks with."""
        return self.called if self.direction == OUTBOUND else self.caller

    @property
    def ours(self) -> str:
        """The number on our side, which others may be called from."""
        return self.caller if self.direction == OUTBOUND else self.called

    def tell(self, order: Order) -> None:
        """Have the call do something, such as `Say` or `HangUp`. Any thread; does not wait.

        Raises CallError where the call is over, or in another process.
        """
        if not post(self.call, order):
            raise CallError("the call cannot be told anything: it is over, or in another process")

    def ask(self, order: Transfer | SendDigits | CollectDigits, seconds: float) -> str:
        """The same, and wait for what becomes of it: what the model is to be told. Any thread but the call's own.

        Raises ToolError where it came to nothing, and CallError where the call is over, or nothing became of it
        in that time.
        """
        reply: Future[str] = Future()
        if not post(self.call, Asked(order, reply)):
            raise CallError("the call cannot be asked anything: it is over, or in another process")
        try:
            return reply.result(seconds)
        except (TimeoutError, CancelledError):
            raise CallError(f"nothing became of it within {seconds:g} s") from None
