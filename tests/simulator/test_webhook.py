"""Which URL is signed and which one is connected to. The requests themselves are in test_phone."""

import pytest

from simulator.webhook import Route

HTTPS = Route("https://voice.example.com", "http://127.0.0.1:5000/twiml")
HTTP = Route("http://voice.example.com", "http://127.0.0.1:5000/twiml")


@pytest.mark.parametrize(
    ("route", "url", "local"),
    [
        (HTTPS, "https://voice.example.com/next?x=1", "http://127.0.0.1:5000/next?x=1"),
        (HTTPS, "wss://voice.example.com/m", "ws://127.0.0.1:5000/m"),
        (HTTP, "ws://voice.example.com/m", "ws://127.0.0.1:5000/m"),
        (HTTP, "http://voice.example.com/", "http://127.0.0.1:5000/"),
        (HTTPS, "https://elsewhere.example.com/m", "https://elsewhere.example.com/m"),
        (HTTPS, "ftp://voice.example.com/m", "ftp://voice.example.com/m"),
        (Route(None, "http://127.0.0.1:5000"), "wss://voice.example.com/m", "wss://voice.example.com/m"),
    ],
)
def test_urls_of_the_public_origin_are_opened_at_the_local_one(route: Route, url: str, local: str) -> None:
    assert route.local_url(url) == local


def test_the_webhook_is_signed_with_its_public_origin() -> None:
    assert HTTPS.public_url("http://127.0.0.1:5000/twiml?x=1") == "https://voice.example.com/twiml?x=1"
