"""A document of TwiML as it was received."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """TwiML and the public URL that its relative URLs start from."""

    body: bytes
    url: str
    content_type: str = "text/xml"
