"""What a refusal means for the call: the end, nothing at all, or that a response is being generated already.

The server names its errors by code; but some come as a type with the code null, and some as words alone, so each
of the three is looked at. Source: OpenAI Realtime reference, errors, and the traces in which the codes were null.
"""

import re

from wire.realtime import Error

_PERMANENT = frozenset(
    {
        "invalid_api_key",
        "beta_api_shape_disabled",
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "account_deactivated",
    }
)
_PERMANENT_WORDS = re.compile(
    "incorrect api key|exceeded your current quota|billing hard limit|beta api is no longer supported",
    re.IGNORECASE,
)

_TOO_OLD = "session_expired"
_TOO_OLD_WORDS = re.compile("session hit the maximum duration", re.IGNORECASE)

_BENIGN = re.compile(
    "response_cancel_not_active|item_[a-z]+_invalid_item_id|item_already_truncated|item_create_duplicate_item_id"
    "|input_audio_buffer_commit_empty"
)
_BENIGN_WORDS = re.compile("Audio content of .* already shorter than|Cancellation failed", re.IGNORECASE)

_ACTIVE = "conversation_already_has_active_response"
_ACTIVE_WORDS = re.compile("already has an active response", re.IGNORECASE)


def fatal(error: Error) -> bool:
    """The model says nothing more in this session, and asking again does not help: quota, billing, key, age."""
    too_old = _TOO_OLD in (error.code, error.kind) or _TOO_OLD_WORDS.search(error.message) is not None
    return too_old or permanent(error)


def permanent(error: Error) -> bool:
    """Another session there would not be better off: all that is fatal but a session's age."""
    return bool({error.code, error.kind} & _PERMANENT) or _PERMANENT_WORDS.search(error.message) is not None


def benign(error: Error) -> bool:
    """A race that whoever interrupts loses now and then; nothing is wrong and nothing needs doing."""
    if error.code:
        return _BENIGN.fullmatch(error.code) is not None
    return _BENIGN.fullmatch(error.kind) is not None or _BENIGN_WORDS.match(error.message) is not None


def already_active(error: Error) -> bool:
    """A response was asked for while another was being generated: it is still owed."""
    return _ACTIVE in (error.code, error.kind) or _ACTIVE_WORDS.search(error.message) is not None
