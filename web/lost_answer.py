"""What Twilio had asked when it comes to the fallback URL, because it did not get the answer.

A machine dies, its calls' streams end, and the balancer still sends there what Twilio asks then. Twilio does not ask
again; it asks the fallback URL, which knows nothing of the stream but what stands in ErrorUrl.
Source: Twilio, "Availability and Reliability"; twilio-media-streams.md, 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from web.twiml import ENDED_PATH, TRANSFERRED_PATH

MAX_FIELDS = 10
"""In the query of a URL of ours there are fewer."""

_NOT_HAD = ("11", "12")
"""How the error codes begin of a URL that cannot be had, and of what comes from there and is no TwiML, hence not
ours. With others the answer was had and could not be followed, as the same again could not."""


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """To the question at that path of ours, ENDED_PATH or TRANSFERRED_PATH, with that query."""

    path: str
    query: Mapping[str, str]


def lost_answer(form: Mapping[str, str], base_url: str) -> LostAnswer | None:
    """The answer that this request stands for, by its fields; None: none, or not one of those two.

    Of ErrorUrl nothing counts but path and query: Twilio may write a port into it, and a fallback URL may be on
    another host than the webhook. Nothing is sent there.
    """
    if not form.get("ErrorCode", "").startswith(_NOT_HAD):
        return None
    try:
        parts = urlsplit(form.get("ErrorUrl", ""))
        query = dict(parse_qsl(parts.query, max_num_fields=MAX_FIELDS))
    except ValueError:
        return None
    root = urlsplit(base_url).path
    for path in (ENDED_PATH, TRANSFERRED_PATH):
        if parts.path == root + path:
            return LostAnswer(path, query)
    return None
