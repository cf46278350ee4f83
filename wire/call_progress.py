"""How far a call that was placed has come, by what Twilio says of it. Pure.

    queued -> initiated -> ringing -> in-progress -> completed
    from each of the first three                  -> busy, no-answer, failed, canceled

It comes in status callbacks, which overtake each other, come twice, or not at all; in the request for TwiML, which
means that somebody has answered; and in the answer to the request that placed the call, which may be the last of all.
Only the callbacks have a SequenceNumber. But a call never goes back, so the order of the states says what is news.
Source: twilio-media-streams.md, 10.3.
"""

QUEUED = "queued"
IN_PROGRESS = "in-progress"
FAILED = "failed"
COMPLETED = "completed"

OUTCOMES = {"busy": "busy", "no-answer": "no_answer", FAILED: "failed", "canceled": "canceled"}
"""How a call ended that nobody has answered, by its status; of one that is completed, the conversation knows more."""

_RANKS = {QUEUED: 0, "initiated": 1, "ringing": 2, IN_PROGRESS: 3, COMPLETED: 4, **dict.fromkeys(OUTCOMES, 4)}
_FINAL = 4

GOING_ON = tuple(status for status, rank in _RANKS.items() if rank < _FINAL)
"""The statuses of calls that are not over."""


def is_final(status: str) -> bool:
    """Whether the call is over."""
    return _RANKS.get(status) == _FINAL


def later(known: str, told: str) -> str:
    """The status of a call that was `known`, now that `told` has come. What Twilio may invent changes nothing."""
    return told if _RANKS.get(told, -1) > _RANKS[known] else known
