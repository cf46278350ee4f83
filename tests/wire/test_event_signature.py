"""The signature of an event."""

import hashlib
import hmac

import pytest

from wire.event_signature import TOLERANCE_SECONDS, sign, valid

NOW = 1_795_372_538.7
BODY = b'{"type": "turn"}'


def test_the_signature_is_what_the_documentation_says() -> None:
    digest = hmac.new(b"secret", b"1795372538." + BODY, hashlib.sha256).hexdigest()
    assert sign("secret", BODY, NOW) == f"t=1795372538,v1={digest}"


def test_what_was_signed_is_valid_for_some_minutes() -> None:
    header = sign("secret", BODY, NOW)
    assert valid("secret", BODY, header, NOW)
    assert valid("secret", BODY, header, NOW + TOLERANCE_SECONDS - 1)
    assert not valid("secret", BODY, header, NOW + TOLERANCE_SECONDS + 1)
    assert not valid("secret", BODY, header, NOW - TOLERANCE_SECONDS - 1)


def test_another_body_secret_or_time_is_not_valid() -> None:
    header = sign("secret", BODY, NOW)
    assert not valid("secret", BODY + b" ", header, NOW)
    assert not valid("other", BODY, header, NOW)
    assert not valid("secret", BODY, header.replace("t=1795372538", "t=1795372539"), NOW)


@pytest.mark.parametrize(
    "header", [None, "", "t=,v1=", "t=1,v1=é", "v1=00", "t=" + "9" * 99 + ",v1=" + "0" * 64]
)
def test_no_header_raises_anything(header: str | None) -> None:
    assert not valid("secret", BODY, header, NOW)
