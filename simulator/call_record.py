"""What Twilio keeps of a call, and tells in its REST API and in status callbacks."""

import math
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from simulator.callee import AnsweredBy
from simulator.twiml_verbs import StatusCallback

CallStatus = Literal[
    "queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"
]
Direction = Literal["inbound", "outbound-api", "outbound-dial"]

FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})

CALL_EVENTS = ("initiated", "ringing", "answered", "completed")


@dataclass(slots=True)
class CallRecord:
    """One call. The call's thread changes it, any thread reads it; REST may change `callback`."""

    sid: str
    account_sid: str
    to: str
    caller_id: str
    direction: Direction
    parent_sid: str | None = None
    callback: StatusCallback | None = None
    status: CallStatus = "queued"
    answered_by: AnsweredBy | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None
    sequence: int = 0
    """Of the next status callback."""

    @property
    def over(self) -> bool:
        return self.status in FINAL

    @property
    def seconds(self) -> int:
        """The whole seconds of the conversation so far, rounded up, as Twilio counts them."""
        if self.started is None:
            return 0
        return math.ceil(((self.ended or datetime.now(UTC)) - self.started).total_seconds())

    def answer(self) -> None:
        self.status, self.started = "in-progress", datetime.now(UTC)

    def end(self, status: CallStatus) -> None:
        self.ended = datetime.now(UTC)
        self.status = status

    def callback_fields(self, status: str, sip_code: int | None = None) -> dict[str, str]:
        """The form of one status callback. Source: twilio-media-streams.md, 10.3."""
        fields = {
            "CallSid": self.sid,
            "AccountSid": self.account_sid,
            "From": self.caller_id,
            "To": self.to,
            "Caller": self.caller_id,
            "Called": self.to,
            "CallStatus": status,
            "Direction": self.direction,
            "ApiVersion": "2010-04-01",
            "Timestamp": f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} +0000",
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self.sequence),
        }
        self.sequence += 1
        if self.parent_sid is not None:
            fields["ParentCallSid"] = self.parent_sid
        if status in FINAL:
            fields["CallDuration"] = str(self.seconds)
            if self.answered_by is not None:
                fields["AnsweredBy"] = self.answered_by
            if sip_code is not None:
                fields["SipResponseCode"] = str(sip_code)
        return fields


def new_sid(kind: str) -> str:
    """A Twilio identifier: two letters (CA, CF, RE, PN, AC) and 32 hexadecimal digits."""
    return f"{kind}{secrets.token_hex(16)}"
