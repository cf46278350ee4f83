"""The events of a Realtime server, as they are told to people."""

import pytest

from wire.realtime import Error


@pytest.mark.parametrize(
    ("kind", "code", "beginning"),
    [
        ("server_error", "", "server_error"),
        ("invalid_request_error", "invalid_event", "invalid_event"),
        ("", "", "error"),
    ],
)
def test_an_error_reads_as_a_sentence_with_or_without_a_code(kind: str, code: str, beginning: str) -> None:
    assert str(Error(kind, code, "Try again.")) == f"{beginning}: Try again."
