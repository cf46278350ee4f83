"""Why the server refuses a client event, in the fields of a Realtime `error` event."""

from typing import Any


class RefusalError(Exception):
    """A client event is refused. The session goes on.

    `code` is null for the one refusal that has none, a truncation beyond the audio; that one does not echo
    the client's `event_id` either (openai-realtime.md, 9.2), which `echo` says.
    """

    def __init__(
        self,
        code: str | None,
        message: str,
        param: str | None = None,
        *,
        kind: str = "invalid_request_error",
        echo: bool = True,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind
        self.echo = echo

    def event(self, event_id: str | None = None) -> dict[str, Any]:
        """Return the `error` event (without its own event_id) that answers the client event `event_id`."""
        return {
            "type": "error",
            "error": {
                "type": self.kind,
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "event_id": event_id if self.echo else None,
            },
        }


class FailureError(Exception):
    """A response fails: a dialogue or a voice raises this to choose what `response.done` tells the client.

    It arrives as `status: "failed"` with `status_details.error`, never as an `error` event
    (openai-realtime.md, 13).
    """

    def __init__(self, code: str, message: str, *, kind: str = "server_error") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.kind = kind
