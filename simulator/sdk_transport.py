"""How Twilio's Python SDK is pointed at the stand-in: its base URL is fixed, but its HTTP client can be chosen."""

import logging
from urllib.parse import urlsplit, urlunsplit

from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]

_TWILIO = "api.twilio.com"


class LocalTransport(TwilioHttpClient):  # type: ignore[misc]
    """Sends what is meant for api.twilio.com to another origin. Any number of threads; `close` it."""

    def __init__(self, origin: str, timeout: float = 15.0) -> None:
        """`origin` as http://127.0.0.1:5001; `timeout` in seconds."""
        # The SDK writes each request to its log at INFO, parameters included.
        super().__init__(timeout=timeout, logger=logging.getLogger("simulator.sdk_transport"))
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
        """As the SDK calls it. Raises ValueError for another host, and what `requests` raises."""
        parts = urlsplit(url)
        if parts.hostname != _TWILIO:
            raise ValueError(f"{url} is not at {_TWILIO}; the stand-in has nothing else")
        moved = urlunsplit(parts._replace(scheme=self._origin.scheme, netloc=self._origin.netloc))
        return super().request(method, moved, params, data, headers, auth, timeout, allow_redirects)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
