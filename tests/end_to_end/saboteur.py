"""What goes wrong inside a worker: an assistant's listener, steered by keys of the phone, and a slow tool."""

import threading
from typing import Any

from pykka import ActorDeadError, ActorRegistry

from actors.listener import Listener
from actors.member import Member, post
from actors.messages import DigitPressed, HeardSoFar, PlaySound, Remember
from actors.openai import OpenAIActor
from actors.tool import tool
from actors.twilio import TwilioActor

KILL_MODEL, KILL_PHONE, KILL_CALL, KILL_LISTENER, EXIT_LISTENER, BLOCK_LISTENER = "123456"

TOOL_SECONDS = 3.5


@tool
def look_up() -> dict[str, str]:
    """Look up whether the caller's bicycle is ready."""
    threading.Event().wait(TOOL_SECONDS)
    return {"ready": "Tuesday"}


class Saboteur(Listener):
    """Does what the keys say, to its own call and no other."""

    wants = (DigitPressed,)

    def handle(self, message: Any) -> Any:
        match message:
            case DigitPressed(digit=digit):
                self._obey(digit)
            case _:
                return super().handle(message)

    def _obey(self, digit: str) -> None:
        # Nobody would send these messages: they raise in the middle of the actor's work, as a mistake of ours would.
        match digit:
            case "1":
                self._kill(OpenAIActor, Remember(None))  # type: ignore[arg-type]
            case "2":
                self._kill(TwilioActor, PlaySound("nothing", None))  # type: ignore[arg-type]
            case "3":
                post(self.parent, HeardSoFar(None, False))  # type: ignore[arg-type]
            case "4":
                raise RuntimeError("the listener was told to fail")
            case "5":
                raise SystemExit(1)
            case "6":
                threading.Event().wait()

    def _kill(self, kind: type[Member], message: object) -> None:
        for actor in ActorRegistry.get_by_class(kind):
            try:
                of_this_call = actor.proxy().call_sid.get(timeout=1) == self.call_sid
            except ActorDeadError:
                continue
            if of_this_call:
                post(actor, message)
