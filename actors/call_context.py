"""What a tool may know of the call in which it runs."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallContext:
    """The call in which a tool runs. A parameter of this type is filled in by us; the model does not see it."""

    call_sid: str
    caller: str
    """the caller's number, or what Twilio says instead of one"""
    called: str
    parameters: Mapping[str, str]
    """the custom parameters of the stream"""
