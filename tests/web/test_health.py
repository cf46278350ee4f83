"""web.health: who can tell which server answers."""

import pytest
from flask import Flask
from pydantic import SecretStr

from config import Settings
from web import health

NONCE = "0123456789abcdef" * 2


def settings(token: str = "12345", port: int = 8080) -> Settings:
    return Settings(
        openai_api_key=SecretStr("sk"), twilio_auth_token=SecretStr(token), public_url="https://v", port=port
    )


def answer(query: str) -> dict[str, object]:
    with Flask("test").test_request_context(f"/health{query}"):
        return health.answer(settings())


@pytest.mark.parametrize(
    "query", ["", "?nonce=", "?nonce=abc", f"?nonce={NONCE}0", f"?nonce={NONCE.upper()}"]
)
def test_without_a_proper_nonce_nothing_is_proven(query: str) -> None:
    assert answer(query) == {"status": "ok"}


def test_a_nonce_is_answered_as_no_other_server_would() -> None:
    proof = answer(f"?nonce={NONCE}")["proof"]
    assert proof == health.proof(settings(), NONCE)
    others = {
        health.proof(settings(token="other"), NONCE),
        health.proof(settings(port=8081), NONCE),
        health.proof(settings(), NONCE[::-1]),
    }
    assert proof not in others
    assert len(others) == 3
