"""Who gets a Realtime session: key, model and API shape, as the handshake's request states them.

Source: openai-realtime.md 0 (beta), 1 (key, model) and 13. Like the real server, this one completes the handshake
first; whoever is turned away gets an error event and then a close.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request

from simulator.refusal import RefusalError

INVALID_KEY = "sk-invalid"
"""Any other key is good. This one is for trying what a client does when its key is not."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """No session: the error event to send and the code to close with."""

    error: RefusalError
    close_code: int

    @property
    def close_reason(self) -> str:
        """What the real server writes into the close frame."""
        return f"{self.error.kind}.{self.error.code}"


def admit(request: Request) -> str | TurnedAway:
    """Return the model the client asked for, or why it gets none."""
    if "OpenAI-Beta" in request.headers:
        message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
        return TurnedAway(RefusalError("beta_api_shape_disabled", message), 4000)
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() in ("", INVALID_KEY):
        message = "Incorrect API key provided. Send the header 'Authorization: Bearer <key>'."
        return TurnedAway(RefusalError("invalid_api_key", message), 3000)
    query = parse_qs(urlsplit(request.path).query)
    if "model" not in query:
        message = "You must provide a model parameter."
        return TurnedAway(RefusalError("missing_required_parameter", message, "model"), 4000)
    if "call_id" in query:
        message = "Provide either model or call_id, not both."
        return TurnedAway(RefusalError("invalid_value", message, "call_id"), 4000)
    return query["model"][0]
