"""The HTTP client that Twilio's SDK is given. Importing this imports the SDK: `Carrier` does so when it has to."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]

_TWILIO = "api.twilio.com"


class CarrierTransport(TwilioHttpClient):  # type: ignore[misc]
    """Sends what the SDK means for api.twilio.com to another origin: its base URL is fixed. Any number of threads."""

    def __init__(self, origin: str, timeout_seconds: float) -> None:
        """`origin` as https://api.dublin.ie1.twilio.com."""
        super().__init__(timeout=timeout_seconds)
        self._origin = urlsplit(origin)

    def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """As the SDK calls it. Raises ValueError for another of Twilio's hosts, and what `requests` raises."""
        parts = urlsplit(url)
        if parts.hostname != _TWILIO:
            # The token must go nowhere else.
            raise ValueError(f"{url} is not at {_TWILIO}, and nothing else is used")
        path = self._origin.path + parts.path
        moved = urlunsplit(parts._replace(scheme=self._origin.scheme, netloc=self._origin.netloc, path=path))
        return super().request(method, moved, params, data, headers, auth, timeout, allow_redirects)

    def log_request(self, kwargs: dict[str, Any]) -> None:
        """Not logged: the SDK would write phone numbers and TwiML at INFO."""

    def log_response(self, status_code: int, response: object) -> None:
        """Not logged either."""

    def close(self) -> None:
        """Give the kept connections back. What is being asked meanwhile still gets its answer."""
        if self.session is not None:
            self.session.close()
