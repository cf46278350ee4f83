"""This machine's clock, against those of the servers it talks to.

A wrong clock makes certificates look expired, and stream tokens too where another machine's clock is right.
"""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from config import Settings, is_loopback
from web.doctor.verdict import Verdict, failed, ok, skipped, warning

TIMEOUT_SECONDS = 5.0
NOTICED_SECONDS = 5.0
"""A `Date` has whole seconds, and an answer is on its way for a while."""
BAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one server's `Date` says."""

    host: str
    ahead_seconds: float
    """By how much this machine's clock is ahead of it."""


def check_clock(settings: Settings) -> list[Verdict]:
    """Asks the model's host and Twilio's, without a key, what time it is."""
    urls = {f"https://{urlsplit(each.url).netloc}/" for each in settings.model_endpoints} | {
        f"{settings.twilio_api_url}/"
    }
    return [judge([reading for url in sorted(urls) if (reading := look(url)) is not None])]


def look(url: str) -> Reading | None:
    """None if there is no answer, or none with a date. Servers on this machine have its clock and are not asked."""
    import requests

    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        return None
    asked = time.time()
    try:
        with requests.head(url, timeout=TIMEOUT_SECONDS, allow_redirects=False) as answer:
            return reading(host, answer.headers.get("Date"), asked, time.time())
    except requests.RequestException:
        return None


def reading(host: str, date: str | None, asked: float, answered: float) -> Reading | None:
    """`asked` and `answered` in seconds of this machine's clock."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    # Its second began at some time within the last one.
    return Reading(host, (asked + answered) / 2 - (told + 0.5))


def judge(readings: list[Reading]) -> Verdict:
    """By the one that differs least: the others may be wrong themselves."""
    if not readings:
        return skipped("clock", "no server that could be asked told the time")
    best = min(readings, key=lambda each: abs(each.ahead_seconds))
    off = abs(best.ahead_seconds)
    found = f"{off:.0f} s {'ahead of' if best.ahead_seconds > 0 else 'behind'} {best.host}"
    advice = "set it, and keep it right with NTP (timedatectl set-ntp true)"
    if off > BAD_SECONDS:
        return failed("clock", found, advice)
    if off > NOTICED_SECONDS:
        return warning("clock", found, advice)
    return ok("clock", f"right, says {best.host}")
