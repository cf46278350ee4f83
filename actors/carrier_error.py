"""What goes wrong with Twilio's REST API, in words that say what to do.

Source: twilio-media-streams.md, 9, and https://www.twilio.com/docs/api/errors.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from wire.phone_number import E164, shortened

_OVER = frozenset({20404, 21220})
"""What Twilio says of a call that has ended already. Source: protocol-gotchas.md, 31."""

_ADVICE = {
    20003: "the account SID and the auth token do not belong together; copy both from the Twilio console, Account "
    "Info, of the region that TWILIO_API_URL names",
    20008: "these are test credentials, which cannot do it; use the account's live ones",
    20404: "there is no such thing in this account, or not any more; look it up in the Twilio console",
    20429: "too many requests at once; wait a few seconds and try again",
    21205: "the URL that Twilio should ask is not valid; it must be a public https URL",
    21210: "the caller's number is not of this account and not verified; buy or verify it in the Twilio console",
    21211: "the number called is not a phone number; write it as +4930123456",
    21212: "the caller's number is not a phone number; write it as +4930123456, one that the account owns",
    21214: "the number called cannot be reached; check it",
    21215: "the account may not call that country; allow it in the Twilio console, Voice, Geographic permissions",
    21219: "a trial account may call verified numbers only; verify it in the Twilio console, or upgrade the account",
    21220: "the call is not in progress any more; nothing is left to do",
}
"""What to do, by Twilio's code."""


class CarrierError(Exception):
    """Twilio refused, or could not be asked. The text says what is wrong and what to do, without phone numbers.

    `status` is HTTP's and `code` Twilio's; both are None where there was no answer.
    """

    def __init__(self, text: str, status: int | None = None, code: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    @property
    def over(self) -> bool:
        """Whether what the request was about, such as a call, is over or gone."""
        return self.status == 404 or self.code in _OVER


@contextmanager
def carrier_errors() -> Iterator[None]:
    """Makes CarrierError of whatever the SDK, or the network below it, raises."""
    from requests import RequestException, Timeout  # the SDK's own dependency
    from twilio.base.exceptions import (  # type: ignore[import-untyped]
        TwilioException,
        TwilioRestException,
        TwilioServiceException,
    )

    error: CarrierError
    try:
        yield
        return
    except TwilioRestException as refusal:
        error = _refused(refusal.status, refusal.code, refusal.msg)
    except TwilioServiceException as refusal:
        error = _refused(refusal.status, refusal.code, refusal.title)
    except TwilioException as refusal:
        error = CarrierError(f"Twilio's SDK refuses: {_without_numbers(str(refusal))}")
    except Timeout:
        error = CarrierError(
            "Twilio's REST API does not answer in time; it may have done what was asked all the same"
        )
    except RequestException as failure:
        # Its own text has the whole URL.
        reason = type(failure).__name__
        error = CarrierError(
            f"Twilio's REST API cannot be reached ({reason}); check the network and TWILIO_API_URL"
        )
    except JSONDecodeError:
        error = CarrierError("what answers there is not Twilio's REST API; check TWILIO_API_URL")
    raise error from None  # what Twilio's own says may hold phone numbers


def _refused(status: int, code: int | None, message: str | None) -> CarrierError:
    # The SDK puts "HTTP 400 error: Unable to create record: " before what Twilio says.
    said = _without_numbers((message or "").rpartition("record: ")[2])
    known = _ADVICE.get(20003 if status == 401 else 20429 if status == 429 else code or 0)
    if known is None and status >= 500:
        known = "Twilio has a fault; try again, and look at status.twilio.com"
    advice = known or f"see https://www.twilio.com/docs/errors/{code or ''}"
    number = f"error {code}" if code is not None else f"HTTP {status}"
    return CarrierError(f"Twilio refuses with {number}, {said or 'without a reason'}: {advice}", status, code)


def _without_numbers(text: str) -> str:
    return re.sub(E164, lambda found: shortened(found[0]), text)
