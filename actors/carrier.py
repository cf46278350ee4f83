"""Twilio's REST API, through its SDK: what is done to a call from outside its stream.

Source: twilio-media-streams.md, 9 and 10, and Twilio's Python SDK 9.13.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from actors.carrier_error import CarrierError, carrier_errors
from wire.call_progress import is_final

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

    from actors.carrier_transport import CarrierTransport

__all__ = ["CALL_EVENTS", "Carrier", "CarrierError", "MachineDetection", "carrier_errors"]

TWILIO_API_URL = "https://api.twilio.com"
LONGEST_TWIML = 4000
"""Characters of TwiML that may stand in a request itself."""
RING_SECONDS = 30.0
CALL_EVENTS = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True, slots=True)
class MachineDetection:
    """Let Twilio find out whether a machine answers. What is None is as Twilio has it by default.

    With `callback` the call goes on at once, and the verdict is posted there; without it nothing is said until there
    is one, which comes as AnsweredBy with the request for TwiML. So inline TwiML needs `callback`.
    """

    mode: Literal["Enable", "DetectMessageEnd"] = "Enable"
    callback: str | None = None
    timeout_seconds: int | None = None
    """From 3 to 59."""
    speech_threshold_ms: int | None = None
    speech_end_threshold_ms: int | None = None
    silence_timeout_ms: int | None = None

    def parameters(self) -> dict[str, Any]:
        """As the SDK's arguments."""
        detected: dict[str, Any] = {
            "machine_detection": self.mode,
            "machine_detection_timeout": self.timeout_seconds,
            "machine_detection_speech_threshold": self.speech_threshold_ms,
            "machine_detection_speech_end_threshold": self.speech_end_threshold_ms,
            "machine_detection_silence_timeout": self.silence_timeout_ms,
        }
        if self.callback is not None:
            # A string, not a boolean, is what Twilio takes.
            detected |= {"async_amd": "true", "async_amd_status_callback": self.callback}
        return detected


class Carrier:
    """One account at Twilio. Any thread; each request takes `timeout_seconds` at most, twice that while connecting.

    Nothing is tried a second time: where the answer was lost, the call may have been placed.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        api_url: str = TWILIO_API_URL,
        timeout_seconds: float = 10.0,
    ) -> None:
        self.account_sid = account_sid
        self._auth_token = auth_token
        self._api_url = api_url
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._transport: CarrierTransport | None = None
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        """The SDK's client, for what has no method here; use it within `carrier_errors`."""
        with self._lock:
            if self._client is None:
                # The SDK takes 18 MiB and 0.1 s, and most servers never ask for anything.
                from twilio.rest import Client

                from actors.carrier_transport import CarrierTransport

                self._transport = CarrierTransport(self._api_url, self._timeout_seconds)
                self._client = Client(
                    self.account_sid,
                    self._auth_token,
                    http_client=self._transport,
                    # Or else the SDK reads TWILIO_EDGE and TWILIO_REGION, and goes elsewhere than `api_url`.
                    environment={"TWILIO_ACCOUNT_SID": self.account_sid},
                )
            return self._client

    def hang_up(self, call_sid: str) -> bool:
        """End a call, also one that still rings. Whether there was one: that it is over already is no error.

        Raises CarrierError.
        """
        return self._end(call_sid, "completed")

    def cancel(self, call_sid: str) -> bool:
        """End a call if it is queued or rings, and leave it alone if somebody has answered. Returns as `hang_up`.

        Raises CarrierError.
        """
        return self._end(call_sid, "canceled")

    def is_over(self, call_sid: str) -> bool:
        """Whether a call has ended, or is not known. Raises CarrierError."""
        try:
            with carrier_errors():
                return is_final(self.client.calls(call_sid).fetch().status)
        except CarrierError as error:
            if not error.over:
                raise
            return True

    def place(
        self,
        to: str,
        caller_id: str,
        *,
        url: str | None = None,
        twiml: str | None = None,
        fallback_url: str | None = None,
        status_callback: str | None = None,
        status_events: Sequence[str] = CALL_EVENTS,
        timeout_seconds: float = RING_SECONDS,
        time_limit_seconds: float | None = None,
        send_digits: str | None = None,
        machine_detection: MachineDetection | None = None,
    ) -> str:
        """Place a call that asks `url` what to do, or does what `twiml` says, and return its CallSid.

        With both, only `url` counts, as with Twilio. `timeout_seconds` is how long it may ring, `time_limit_seconds`
        how long the call may last. The media stream may be open before this returns. Raises CarrierError, and
        ValueError if there is neither, or if the TwiML is too long to be sent along.
        """
        if url is None and twiml is None:
            raise ValueError("a call needs either url or twiml")
        if url is None and twiml is not None and len(twiml) > LONGEST_TWIML:
            raise ValueError(
                f"this TwiML has {len(twiml)} characters; Twilio takes {LONGEST_TWIML}, so use url"
            )
        given: dict[str, Any] = {
            "to": to,
            "from_": caller_id,
            "url": url,
            "twiml": twiml if url is None else None,
            "fallback_url": fallback_url,
            "status_callback": status_callback,
            "status_callback_event": None if status_callback is None else list(status_events),
            "timeout": round(timeout_seconds),
            "time_limit": None if time_limit_seconds is None else round(time_limit_seconds),
            "send_digits": send_digits,
        }
        if machine_detection is not None:
            given |= machine_detection.parameters()
        with carrier_errors():
            placed = self.client.calls.create(
                **{name: value for name, value in given.items() if value is not None}
            )
        return str(placed.sid)

    def close(self) -> None:
        """Give the connections back. It may be used again afterwards."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()

    def _end(self, call_sid: str, status: str) -> bool:
        try:
            with carrier_errors():
                self.client.calls(call_sid).update(status=status)
        except CarrierError as error:
            if not error.over:
                raise
            return False
        return True
