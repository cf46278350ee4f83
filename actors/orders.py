"""Orders to a call that come from another process, as text: such messages as anyone may tell a CallActor."""

from dataclasses import asdict

import orjson
from pydantic import TypeAdapter, ValidationError

from actors.messages import (
    AnsweredBy,
    ConsultAccepted,
    ConsultEnded,
    HangUp,
    Inject,
    PauseRecording,
    Say,
    SendDigits,
    StartRecording,
    StopRecording,
    Transfer,
    Watch,
)
from wire import event_json

Order = (
    AnsweredBy
    | ConsultAccepted
    | ConsultEnded
    | HangUp
    | Inject
    | PauseRecording
    | Say
    | SendDigits
    | StartRecording
    | StopRecording
    | Transfer
    | Watch
)

_KINDS = {kind.__name__: kind for kind in Order.__args__}
_TIMED = {StartRecording, PauseRecording, StopRecording}
"""Their time is of a clock that every process has for itself: it is told anew where they arrive."""


def encode(order: Order) -> str:
    """JSON of the order."""
    fields = {} if type(order) in _TIMED else asdict(order)
    return event_json.encode({"order": type(order).__name__, **fields})


def decode(text: str) -> Order:
    """The order in the JSON. Raises ValueError."""
    try:
        fields = orjson.loads(text)
        kind = _KINDS[fields.pop("order")]
        order: Order = TypeAdapter(kind).validate_python(fields)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ValueError(f"not an order: {type(error).__name__}") from None
    return order
