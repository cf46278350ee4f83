"""How a call begins where its greeting is always the same: it is heard at once, before the model is even there."""

import time
from secrets import token_hex
from typing import Any, Protocol

from actors.greeting import KEPT_RESPONSE
from actors.messages import AssistantAudio, AssistantAudioDone, AssistantAudioReceived
from actors.moderator import Moderator
from actors.phone_line import PhoneLine
from actors.sessions import Sessions
from actors.setup import CallSetup
from actors.talk import Talk
from wire import realtime
from wire.playback import Part


class Call(Protocol):
    """What is told to the call that begins."""

    def handle(self, message: Any) -> Any:
        """As if a session had told it."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""


def greet(
    call: Call, setup: CallSetup, sessions: Sessions, talk: Talk, line: PhoneLine, moderator: Moderator
) -> None:
    """Have the greeting heard at once, where it is kept; and else kept for the calls to come.

    Runs in the CallActor's thread.
    """
    fixed = setup.fixed_greeting
    if fixed is None or not talk.at_the_beginning:
        return
    kept = fixed.find(setup.endpoints.choose())
    if kept is None:
        sessions.keep_greeting()
        return
    part = Part(f"greeting_{token_hex(8)}", 0)
    now = time.monotonic()
    for payload, duration_ms in kept.pieces():
        line.tell(AssistantAudio(duration_ms, KEPT_RESPONSE, part, payload, now))
    line.tell(AssistantAudioDone(0.0, part))
    # The rest is as if a session had said it, for the conversation and for who listens.
    for event in (
        realtime.ItemAdded(part.item_id, None, "assistant", "message"),
        realtime.AssistantTranscript(part.item_id, part.content_index, kept.text),
        AssistantAudioReceived(part, round(kept.duration_ms)),
    ):
        call.handle(event)
    moderator.carry_out(talk.greeted(part.item_id, now))
    call.note("kept greeting")
