"""X-Twilio-Signature: computing it, and checking it on webhooks and on websocket upgrades.

Source: Twilio, "Validating requests", and request_validator.py of its SDK 9.13. The signature is HMAC-SHA1
with the account's auth token over the URL that Twilio requested, followed by the decoded form fields in order
of name. It says who asked and nothing about when: a captured request stays valid, so what must happen only
once needs a token of its own.

Pure functions of their arguments: any thread may run them, and none raises for what a peer sent.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import parse_qs

SIGNATURE_HEADER = "X-Twilio-Signature"

BODY_HASH_FIELD = "bodySHA256"
"""In the query of a webhook whose body is no form: the SHA-256 of the body, as hexadecimal digits."""

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}

# Split by hand, because urlsplit and geturl do not give back every URL as it was written.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[^\]/?#]*\]|[^/?#:]*)(?P<port>:\d*)?(?P<rest>[/?#].*)?", re.DOTALL
)


def sign(auth_token: str, url: str, params: Iterable[tuple[str, str]] = ()) -> str:
    """The signature, in base64, of a request for `url` with the decoded form fields `params`.

    A GET request and a websocket upgrade have no fields: their query is part of the URL. A field that repeats
    a value counts once, as in Twilio's SDK.
    """
    signed = url + "".join(name + value for name, value in sorted(set(params)))
    # Only a forged request holds a lone surrogate. It must fail the comparison, not the encoding.
    digest = hmac.new(auth_token.encode(), signed.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def valid_webhook(
    auth_token: str, url: str, params: Iterable[tuple[str, str]], signature: str | None
) -> bool:
    """Whether Twilio signed a request for `url` that carried the form fields `params`, blank ones included.

    `url` is the public URL with its path and query exactly as requested; any of `webhook_urls(url)` may be
    the signed one. `signature` is the header's value, None where there was none.
    """
    return _signed_one_of(auth_token, webhook_urls(url), list(params), signature)


def valid_body_webhook(auth_token: str, url: str, body: bytes, signature: str | None) -> bool:
    """Whether Twilio signed a request for `url` whose body is JSON, or anything else that is no form.

    The query of such a URL has one `bodySHA256`, which ties the body to the signature. A URL without it does
    not vouch for its body and is refused.
    """
    query = url.partition("#")[0].partition("?")[2]
    try:
        hashes = parse_qs(query, max_num_fields=100).get(BODY_HASH_FIELD, [])
    except ValueError:
        return False
    if len(hashes) != 1 or not _equal(hashlib.sha256(body).hexdigest(), hashes[0].lower()):
        return False
    return _signed_one_of(auth_token, webhook_urls(url), [], signature)


def valid_upgrade(auth_token: str, url: str, signature: str | None) -> bool:
    """Whether Twilio signed a websocket upgrade to `url`, of scheme wss, or ws where there is no TLS.

    Any of `upgrade_urls(url)` may be the signed one. A URL with a query is refused: Twilio never sends one on
    an upgrade.
    """
    if "?" in url:
        return False
    return _signed_one_of(auth_token, upgrade_urls(url), [], signature)


def webhook_urls(url: str) -> tuple[str, ...]:
    """The forms of `url` that Twilio may have signed: as it is, and with the port added or left out.

    Twilio is not consistent about ports. Its SDK accepts both forms, and so do we.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return (url,)
    scheme, host, port = match.group("scheme", "host", "port")
    rest = match.group("rest") or ""
    if port is not None:
        return (url, f"{scheme}://{host}{rest}")
    default = _DEFAULT_PORTS.get(scheme.lower())
    return (url, f"{scheme}://{host}:{default}{rest}") if default else (url,)


def upgrade_urls(url: str) -> tuple[str, ...]:
    """The forms of a websocket URL that Twilio may have signed: with or without the port and a last slash.

    Unlike the SDK, which takes 80 for the port of wss, this tries 443.
    """
    other_slash = url[:-1] if url.endswith("/") else url + "/"
    return (*webhook_urls(url), *webhook_urls(other_slash))


def _signed_one_of(
    auth_token: str, urls: Iterable[str], params: list[tuple[str, str]], signature: str | None
) -> bool:
    if not auth_token or not signature:
        return False
    return any(_equal(sign(auth_token, url, params), signature) for url in urls)


def _equal(expected: str, given: str) -> bool:
    # As bytes, because compare_digest refuses a str that is not ASCII.
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))
