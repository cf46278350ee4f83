"""Signatures against the vectors of Twilio's documentation and against its SDK."""

import hashlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from wire.signature import (
    sign,
    upgrade_urls,
    valid_body_webhook,
    valid_upgrade,
    valid_webhook,
    webhook_urls,
)

TOKEN = "12345"
CALL = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675310"),
    ("Digits", "1234"),
    ("From", "+14158675310"),
    ("To", "+18005551212"),
]

VECTORS = [
    ("https://mycompany.com/myapp.php?foo=1&bar=2", CALL, "GvWf1cFY/Q7PnoempGyD5oXAezc="),
    ("https://example.com/voice/incoming", CALL, "bdy6DbQEa+EQNRMDMtbFhLkUAI0="),
    ("wss://example.com/media", [], "7PR3qMkpDyEJtMrVOY/LDyNq8J8="),
    ("wss://example.com/media/", [], "T+WBXwUXC0/CyoZ1DA+p9ilZORs="),
    ("wss://example.com:443/media", [], "zyyJQiPZXIGCLy3HYdHEfry0yDg="),
    ("https://example.com/media", [], "6HZQ7Cq/dSYDCAiy3qRA6PZfACI="),
]
HMAC_SHA256_VECTOR = "WsVOM+BbmOmFy8huOF1z+TwepvEVxgyabSDXdrvuM/U="
WSS_VECTORS = [signature for url, _, signature in VECTORS if url.startswith("wss")]

hosts = st.sampled_from(["example.com", "voice.example.com", "127.0.0.1", "a-b.example.co.uk"])
ports = st.sampled_from(["", ":80", ":443", ":8080"])
segments = st.text("abcXYZ019-._~%2F+@", min_size=1, max_size=8)
paths = st.lists(segments, max_size=3).map(lambda parts: "/" + "/".join(parts))
queries = st.one_of(st.just(""), st.text("abc=&1%20+", min_size=1, max_size=12).map("?q={}".format))
http_urls = st.builds(
    "{}://{}{}{}{}".format, st.sampled_from(["http", "https"]), hosts, ports, paths, queries
)
fields = st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=6)


class Form(dict[str, list[str]]):
    """The shape of a form that the SDK reads: `getlist`."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def form(pairs: list[tuple[str, str]]) -> Form:
    values = Form()
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


@pytest.mark.parametrize(("url", "params", "signature"), VECTORS)
def test_a_documented_vector_is_reproduced(url: str, params: list[tuple[str, str]], signature: str) -> None:
    assert sign(TOKEN, url, params) == signature


def test_the_documented_webhook_is_valid() -> None:
    url, params, signature = VECTORS[0]
    assert valid_webhook(TOKEN, url, params, signature)
    assert valid_webhook(TOKEN, url, reversed(params), signature)


def test_the_sha256_of_a_shared_key_is_not_taken_for_the_auth_token() -> None:
    url, params, _ = VECTORS[1]
    assert not valid_webhook(TOKEN, url, params, HMAC_SHA256_VECTOR)


@pytest.mark.parametrize("signature", WSS_VECTORS)
@pytest.mark.parametrize(
    "url",
    [
        "wss://example.com/media",
        "wss://example.com/media/",
        "wss://example.com:443/media",
        "wss://example.com:443/media/",
    ],
)
def test_an_upgrade_is_valid_with_and_without_port_and_slash(url: str, signature: str) -> None:
    assert valid_upgrade(TOKEN, url, signature)


def test_an_upgrade_signed_as_https_is_refused() -> None:
    assert not valid_upgrade(TOKEN, "wss://example.com/media", VECTORS[-1][2])


def test_an_upgrade_with_a_query_is_refused_even_when_signed() -> None:
    url = "wss://example.com/media?token=1"
    assert not valid_upgrade(TOKEN, url, sign(TOKEN, url))


def test_an_upgrade_without_tls_has_port_80() -> None:
    assert valid_upgrade(TOKEN, "ws://127.0.0.1/media", sign(TOKEN, "ws://127.0.0.1:80/media"))


@pytest.mark.parametrize("signature", [None, "", " ", "é", "\ud800", "GvWf1cFY/Q7PnoempGyD5oXAezc"])
def test_a_missing_or_odd_header_is_refused(signature: str | None) -> None:
    url, params, _ = VECTORS[0]
    assert not valid_webhook(TOKEN, url, params, signature)
    assert not valid_upgrade(TOKEN, "wss://example.com/media", signature)
    assert not valid_body_webhook(TOKEN, url, b"", signature)


def test_an_empty_auth_token_validates_nothing() -> None:
    url, params, _ = VECTORS[0]
    assert not valid_webhook("", url, params, sign("", url, params))


def test_a_blank_field_is_part_of_what_is_signed() -> None:
    url = "https://example.com/twiml"
    signature = sign(TOKEN, url, [*CALL, ("CallerState", "")])
    assert valid_webhook(TOKEN, url, [*CALL, ("CallerState", "")], signature)
    assert not valid_webhook(TOKEN, url, CALL, signature)


def test_a_url_keeps_its_escapes_empty_query_and_brackets() -> None:
    url = "https://[::1]/a%2Fb/%7e//?"
    assert webhook_urls(url) == (url, "https://[::1]:443/a%2Fb/%7e//?")
    assert webhook_urls("http://[::1]:8080/a") == ("http://[::1]:8080/a", "http://[::1]/a")


def test_an_upgrade_has_four_candidates() -> None:
    assert upgrade_urls("wss://example.com/media") == (
        "wss://example.com/media",
        "wss://example.com:443/media",
        "wss://example.com/media/",
        "wss://example.com:443/media/",
    )


@pytest.mark.parametrize("url", ["", "/twiml", "https//x", "ftp://example.com/x", "https://user@x:1/y"])
def test_a_url_of_another_kind_is_its_own_only_sure_candidate(url: str) -> None:
    assert webhook_urls(url)[0] == url
    assert valid_webhook(TOKEN, url, CALL, sign(TOKEN, url, CALL))


def test_a_json_body_is_tied_to_the_url_by_its_hash() -> None:
    body = json.dumps({"CallSid": "CA1", "name": "Zoë"}).encode()
    url = f"https://example.com/events?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = sign(TOKEN, url)
    assert valid_body_webhook(TOKEN, url, body, signature)
    assert not valid_body_webhook(TOKEN, url, body + b" ", signature)
    assert not valid_body_webhook("54321", url, body, signature)
    assert RequestValidator(TOKEN).validate(url, body.decode(), signature)


def test_a_body_without_one_hash_is_refused() -> None:
    body = b"{}"
    digest = hashlib.sha256(body).hexdigest()
    for query in ("", f"?bodySHA256={digest}&bodySHA256={digest}", "?" + "&".join(["a=1"] * 101)):
        url = f"https://example.com/events{query}"
        assert not valid_body_webhook(TOKEN, url, body, sign(TOKEN, url))


@given(token=st.text("0123456789abcdef", min_size=1, max_size=32), url=http_urls, params=fields)
@example(token=TOKEN, url="https://example.com/twiml", params=[("a", "1"), ("a", "1"), ("a", "0"), ("", "")])
def test_the_sdk_agrees_with_every_signature(token: str, url: str, params: list[tuple[str, str]]) -> None:
    validator = RequestValidator(token)
    signature = sign(token, url, params)
    assert signature == validator.compute_signature(url, form(params))
    assert valid_webhook(token, url, params, signature)
    assert validator.validate(url, form(params), signature)


@given(signed=http_urls, asked=http_urls, params=fields)
@example(signed="https://example.com:443/a", asked="https://example.com/a", params=[])
@example(signed="https://example.com/a", asked="https://example.com:8443/a", params=[])
@example(signed="http://example.com/a", asked="https://example.com/a", params=[])
def test_the_sdk_agrees_on_which_url_may_have_been_signed(
    signed: str, asked: str, params: list[tuple[str, str]]
) -> None:
    signature = sign(TOKEN, signed, params)
    sdk = RequestValidator(TOKEN).validate(asked, form(params), signature)
    assert valid_webhook(TOKEN, asked, params, signature) == sdk


@given(url=http_urls, params=fields, change=st.tuples(st.text(max_size=4), st.text(min_size=1, max_size=4)))
def test_another_field_invalidates_a_signature(
    url: str, params: list[tuple[str, str]], change: tuple[str, str]
) -> None:
    if change not in params:
        assert not valid_webhook(TOKEN, url, [*params, change], sign(TOKEN, url, params))


@given(url=st.text(max_size=40), signature=st.text(max_size=40), body=st.binary(max_size=40))
def test_nothing_that_a_peer_sends_raises(url: str, signature: str, body: bytes) -> None:
    assert not valid_webhook(TOKEN, url, [(url, signature)], signature)
    assert not valid_body_webhook(TOKEN, url, body, signature)
    assert not valid_upgrade(TOKEN, url, signature)
