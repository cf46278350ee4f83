"""A conference: who is in it, when it begins and ends, and what its status callback hears of that.

Source: Twilio, "TwiML Conference" and "Participant resource". It begins when the first one enters that may begin it,
and ends when one leaves that ends it, or nobody is left. Hold music and `waitUrl` are silence.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from simulator.bridge import Member, Room
from simulator.call_record import CallRecord, new_sid
from simulator.twiml_verbs import Conference as Noun
from simulator.twiml_verbs import StatusCallback

Tell = Callable[[StatusCallback, dict[str, str]], None]

CONFERENCE_EVENTS = ("start", "end", "join", "leave", "mute", "hold")

EndedBecause = Literal[
    "conference-ended-via-api", "participant-with-end-conference-on-exit-left", "last-participant-left"
]


@dataclass(slots=True)
class Participant:
    """One call in a conference, from when REST asked for it or it joined. Any thread reads."""

    call: CallRecord
    label: str | None
    start_on_enter: bool
    end_on_exit: bool
    muted: bool
    hold: bool = False
    member: Member | None = None
    kicked: bool = False
    left: bool = False
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def status(self) -> str:
        """As in the Participant resource."""
        if self.left or self.call.over:
            return "failed" if self.member is None and self.call.status == "failed" else "complete"
        if self.member is not None:
            return "connected"
        return {"queued": "queued", "ringing": "ringing"}.get(self.call.status, "connecting")


class Conference:
    """Any thread."""

    def __init__(self, name: str, tell: Tell) -> None:
        """`tell` delivers a status callback, without waiting for it."""
        self.sid = new_sid("CF")
        self.name = name
        self.status: Literal["init", "in-progress", "completed"] = "init"
        self.ended_because: EndedBecause | None = None
        self.ended_by: str | None = None
        """The CallSid of who ended it by leaving."""
        self.created = self.updated = datetime.now(UTC)
        self.participants: dict[str, Participant] = {}
        """By CallSid; those who left stay here."""
        self.room = Room()
        self.room.speaking = False
        self._callback: StatusCallback | None = None
        self._sequence = 0
        self._tell = tell
        self._lock = threading.RLock()

    def expect(self, call: CallRecord, noun: Noun) -> Participant:
        """Somebody that REST calls for this conference, and who will join as `noun` says."""
        with self._lock:
            participant = self.participants[call.sid] = _participant(call, noun)
            return participant

    def join(self, call: CallRecord, origin: float, noun: Noun) -> Participant | None:
        """Take a call in, as the TwiML asks. `origin` is the monotonic time of its line's sample 0.

        None if the conference has ended: the next of its name is another one.
        """
        with self._lock:
            if self.room.closed:
                return None
            participant = self.participants.get(call.sid)
            if participant is None or participant.left:
                participant = self.expect(call, noun)
            if self._callback is None:
                self._callback = noun.callback
            participant.member = self.room.enter(origin)
            self.change(participant)
            self._report("participant-join", participant)
            if participant.start_on_enter and self.status == "init":
                self.status = "in-progress"
                self.room.speaking = True
                self._report("conference-start", participant)
            return participant

    def leave(self, participant: Participant) -> None:
        """The call has left, for whatever reason."""
        with self._lock:
            participant.left = True
            if participant.member is not None:
                participant.member.leave()
            self._report("participant-leave", participant)
            if participant.end_on_exit:
                self._end("participant-with-end-conference-on-exit-left", participant)
            elif not len(self.room):
                self._end("last-participant-left", participant)

    def change(
        self, participant: Participant, *, muted: bool | None = None, hold: bool | None = None
    ) -> None:
        """Mute or hold somebody, or no longer; None leaves it as it is."""
        with self._lock:
            if muted is not None and muted != participant.muted:
                participant.muted = muted
                self._report("participant-mute" if muted else "participant-unmute", participant)
            if hold is not None and hold != participant.hold:
                participant.hold = hold
                self._report("participant-hold" if hold else "participant-unhold", participant)
            if participant.member is not None:
                participant.member.muted, participant.member.hold = participant.muted, participant.hold

    def end(self) -> None:
        """What a REST update with Status=completed does."""
        with self._lock:
            self._end("conference-ended-via-api", None)

    def _end(self, because: EndedBecause, participant: Participant | None) -> None:
        if self.status == "completed":
            return
        self.status, self.ended_because = "completed", because
        self.ended_by = None if participant is None else participant.call.sid
        self.room.close()
        self._report("conference-end", participant, {"ReasonConferenceEnded": because})

    def _report(
        self, event: str, participant: Participant | None, extra: Mapping[str, str] | None = None
    ) -> None:
        self.updated = datetime.now(UTC)
        callback = self._callback
        kind = {"unmute": "mute", "unhold": "hold"}.get(event.partition("-")[2], event.partition("-")[2])
        if callback is None or kind not in callback.events:
            return
        fields = {
            "ConferenceSid": self.sid,
            "FriendlyName": self.name,
            "StatusCallbackEvent": event,
            "SequenceNumber": str(self._sequence),
            "Timestamp": f"{self.updated:%a, %d %b %Y %H:%M:%S} +0000",
        }
        self._sequence += 1
        if participant is not None:
            fields |= {
                "AccountSid": participant.call.account_sid,
                "CallSid": participant.call.sid,
                "Muted": str(participant.muted).lower(),
                "Hold": str(participant.hold).lower(),
                "StartConferenceOnEnter": str(participant.start_on_enter).lower(),
                "EndConferenceOnExit": str(participant.end_on_exit).lower(),
            }
            if participant.label is not None:
                fields["ParticipantLabel"] = participant.label
        self._tell(callback, {**fields, **(extra or {})})


def _participant(call: CallRecord, noun: Noun) -> Participant:
    return Participant(call, noun.label, noun.start_on_enter, noun.end_on_exit, noun.muted)
