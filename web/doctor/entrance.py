"""The way in: PUBLIC_URL as Twilio sees it, from its name to a signed webhook and a websocket.

Where nothing listens on HOST and PORT yet, a stand-in does for as long as this takes, so that proxy or tunnel can be
checked before the first start. The real server logs one refusal and one stream that ended before it started.
"""

import contextlib
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import websocket

from config import WEBHOOK_PATH, Settings, is_loopback, stream_url_of
from web import health
from web.doctor.stand_in import NO_UPGRADE, TAKEN_IN, port_is_free, stand_in
from web.doctor.verdict import Verdict, failed, ok, skipped, warning
from wire.signature import SIGNATURE_HEADER, sign

TIMEOUT_SECONDS = 8.0
REFUSED = 403


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got: a status, or why there is none."""

    status: int | None = None
    problem: str = ""
    ours: bool = False
    """/health was answered by this very server."""


def check_port(settings: Settings) -> list[Verdict]:
    """Whether HOST and PORT are free, or taken by this server."""
    local = urlsplit(f"http://{settings.host}")
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else local.netloc
    free = port_is_free(settings)
    answer = Answer() if free else ask_health(f"http://{host}:{settings.port}", settings)
    return [judge_port(settings.port, free, answer)]


def check_entrance(settings: Settings) -> list[Verdict]:
    """Everything about PUBLIC_URL. TIMEOUT_SECONDS a request, of which there are four."""
    url = settings.public_url
    if url is None or settings.twilio_auth_token is None:
        return [
            skipped(
                "public URL",
                "PUBLIC_URL and TWILIO_AUTH_TOKEN are not set, so only this machine is served",
                "set both to take real calls",
            )
        ]
    verdicts = [judge_url(url), judge_addresses(urlsplit(url).hostname or "", addresses(url))]
    with stand_in(settings) if port_is_free(settings) else contextlib.nullcontext():
        found = ask_health(url, settings)
        verdicts.append(judge_health(found))
        if found.status is None:
            return [*verdicts, skipped("signature", "nothing answers there that could check one")]
        signed = ask_webhook(url, settings, sign_it=True)
        unsigned = ask_webhook(url, settings, sign_it=False)
        verdicts.append(judge_signature(signed, unsigned))
        verdicts.append(judge_stream(ask_stream(url, settings)))
    return verdicts


def judge_url(url: str) -> Verdict:
    """Twilio opens media streams over TLS on port 443 only. Source: twilio-media-streams.md, 6.2."""
    parts = urlsplit(url)
    if parts.scheme != "https" or is_loopback(parts.hostname):
        return warning(
            "public URL", f"{url} is for this machine only", "set the https URL of a proxy or a tunnel"
        )
    if parts.port not in (None, 443):
        return failed(
            "public URL", f"{url} is not on port 443", "let the proxy listen on 443; Twilio uses no other"
        )
    return ok("public URL", url)


def judge_addresses(host: str, found: tuple[str, ...]) -> Verdict:
    """Whether strangers can reach what the name stands for."""
    if not found:
        return failed("name", f"{host} has no address", "make a DNS record for it, or correct PUBLIC_URL")
    shown = ", ".join(found[:3])
    private = [each for each in found if not ipaddress.ip_address(each).is_global]
    if is_loopback(host) or all(ipaddress.ip_address(each).is_loopback for each in found):
        return warning(
            "name", f"{host} is this machine: {shown}", "Twilio cannot reach it; use a public name"
        )
    if len(private) == len(found):
        return warning("name", f"{host} is {shown} here", "make sure that it is a public address elsewhere")
    return ok("name", f"{host} is {shown}")


def judge_port(port: int, free: bool, answer: Answer) -> Verdict:
    """A port that another program has is found out at the start otherwise."""
    if free:
        return ok("port", f"{port} is free")
    if answer.ours:
        return ok("port", f"{port} is this server's, which is running")
    found = answer.problem or f"answers /health with HTTP {answer.status}"
    return failed(
        "port",
        f"{port} is taken by something that is not this server with these settings ({found})",
        "end it, set another PORT, or restart the server with these settings, from this folder",
    )


def judge_health(answer: Answer) -> Verdict:
    """Whether PUBLIC_URL leads here."""
    if answer.status is None:
        return failed(
            "reachable", answer.problem, "see that proxy or tunnel runs and has a valid certificate"
        )
    if answer.status != 200:
        advice = (
            "pass all paths on to HOST and PORT"
            if answer.status != 502
            else "point the proxy at HOST and PORT"
        )
        return failed("reachable", f"/health is answered with HTTP {answer.status}", advice)
    if not answer.ours:
        return warning(
            "reachable",
            "a server answers, and it is not this one",
            "point the proxy here, unless others share the work; all need the same settings, also this PORT",
        )
    return ok("reachable", "PUBLIC_URL leads to this server")


def judge_signature(signed: Answer, unsigned: Answer) -> Verdict:
    """A signed request has to be let in, and one that is not, refused."""
    if unsigned.status == TAKEN_IN:
        return failed(
            "signature",
            "a request without a signature is let in",
            "set TWILIO_AUTH_TOKEN for the running server too",
        )
    if signed.status == TAKEN_IN and unsigned.status == REFUSED:
        return ok("signature", "a signed webhook is let in, another is refused")
    if signed.status == REFUSED:
        return failed(
            "signature",
            "a signed webhook is refused",
            "the server needs the same TWILIO_AUTH_TOKEN and PUBLIC_URL; the proxy must pass X-Twilio-Signature and "
            "take off the path of PUBLIC_URL, if it has one",
        )
    shown = signed.problem or f"HTTP {signed.status}"
    return failed(
        "signature", f"a signed webhook gets {shown}", "pass POST /twiml on to the server as it comes"
    )


def judge_stream(answer: Answer) -> Verdict:
    """Whether a websocket comes through."""
    if answer.status in (101, NO_UPGRADE):
        return ok("media stream", "a signed websocket comes through")
    if answer.status == REFUSED:
        return failed(
            "media stream",
            "a signed websocket is refused",
            "let the proxy pass X-Twilio-Signature on upgrades, too",
        )
    shown = answer.problem or f"HTTP {answer.status}"
    return failed(
        "media stream",
        f"a websocket gets {shown}",
        "let the proxy pass on websockets: HTTP/1.1 with the headers Upgrade and Connection (Twilio's error 31920)",
    )


def addresses(url: str) -> tuple[str, ...]:
    """Of the URL's host, as this machine's resolver has it; none if it does not know it."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


def ask_health(url: str, settings: Settings) -> Answer:
    """Ask with a nonce, which only this server answers rightly."""
    nonce = secrets.token_hex(16)
    try:
        with requests.get(
            f"{url}/health", params={"nonce": nonce}, timeout=TIMEOUT_SECONDS, allow_redirects=False
        ) as answer:
            try:
                told = answer.json()
            except requests.JSONDecodeError:
                told = None
            ours = isinstance(told, dict) and told.get("proof") == health.proof(settings, nonce)
            return Answer(answer.status_code, ours=ours)
    except requests.RequestException as error:
        return Answer(problem=_problem(error))


def ask_webhook(url: str, settings: Settings, sign_it: bool) -> Answer:
    """As Twilio asks, but without a call."""
    assert settings.twilio_auth_token is not None
    form = {"AccountSid": settings.twilio_account_sid or "AC" + "0" * 32}
    target = url + WEBHOOK_PATH
    signature = sign(settings.twilio_auth_token.get_secret_value(), target, form.items())
    headers = {SIGNATURE_HEADER: signature} if sign_it else {}
    try:
        with requests.post(
            target, form, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
        ) as answer:
            return Answer(answer.status_code)
    except requests.RequestException as error:
        return Answer(problem=_problem(error))


def ask_stream(url: str, settings: Settings) -> Answer:
    """Open a media stream as Twilio does, and close it at once."""
    assert settings.twilio_auth_token is not None
    target = stream_url_of(url)
    signature = sign(settings.twilio_auth_token.get_secret_value(), target)
    try:
        stream = websocket.create_connection(
            target, timeout=TIMEOUT_SECONDS, header=[f"{SIGNATURE_HEADER}: {signature}"], suppress_origin=True
        )
    except websocket.WebSocketBadStatusException as error:
        return Answer(error.status_code)
    except (OSError, websocket.WebSocketException) as error:
        return Answer(problem=_problem(error))
    stream.close(timeout=0)
    return Answer(101)


def _problem(error: Exception) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "the certificate is not accepted"
        case requests.Timeout() | websocket.WebSocketTimeoutException() | TimeoutError():
            return f"no answer within {TIMEOUT_SECONDS:.0f} s"
        case requests.ConnectionError() | OSError():
            return "the connection is refused, or breaks off"
        case _:
            return f"no proper answer ({type(error).__name__})"
