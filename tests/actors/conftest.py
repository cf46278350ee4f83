"""A certificate that is trusted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import model_socket


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The certificate as one that this machine trusts, in the way a user would do it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    model_socket._tls.cache_clear()
    yield certificate
    model_socket._tls.cache_clear()
