"""What a phone number at Twilio must say so that its calls come here, and the way there.

Only `fetch` and `carry_out` ask Twilio; the rest is arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from actors.carrier import Carrier, carrier_errors
from config import WEBHOOK_PATH
from web.twiml import ENDED_PATH

FIELDS = (
    "voice_url",
    "voice_method",
    "voice_fallback_url",
    "voice_fallback_method",
    "status_callback",
    "status_callback_method",
    "voice_application_sid",
    "trunk_sid",
)
_DEMO_HOST = "demo.twilio.com"
"""Where a number points that was just bought."""


@dataclass(frozen=True, slots=True)
class OwnedNumber:
    """A number of the account, with those of its settings that decide about calls; what is not set is blank."""

    sid: str
    number: str
    settings: Mapping[str, str] = field(default_factory=dict)
    voice: bool = True
    """It can take calls at all."""

    def __getitem__(self, name: str) -> str:
        return self.settings.get(name, "")


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change."""

    changes: Mapping[str, tuple[str, str]]
    """By name: what it says and what it will say."""
    taken_from: str = ""
    """What the number's calls went to until now, where that is somebody else's."""
    obstacle: str = ""
    """Why it cannot be done from here."""


def plan(number: OwnedNumber, base_url: str) -> Plan:
    """The webhook is set in any case; a fallback and a status callback where there is none, or one of ours.

    The fallback is the same webhook: asked again, another worker answers, also for what comes behind a stream; see
    web/lost_answer.py. The status callback tells how a call ended whose process was gone by then.
    """
    if not base_url.startswith("https:"):
        return Plan({}, obstacle="Twilio cannot reach a PUBLIC_URL that is not https; set one that it can")
    if not number.voice:
        return Plan({}, obstacle="it cannot take voice calls; buy one that can")
    if number["trunk_sid"]:
        return Plan({}, obstacle="it belongs to a SIP trunk, which takes its calls; remove it there first")
    webhook = base_url + WEBHOOK_PATH
    wanted = {"voice_url": webhook, "voice_method": "POST"}
    for name, url in (("voice_fallback", webhook), ("status_callback", base_url + ENDED_PATH)):
        key = f"{name}_url" if name == "voice_fallback" else name
        if not number[key] or _ours(number[key]):
            wanted |= {key: url, f"{name}_method": "POST"}
    if number["voice_application_sid"]:
        wanted["voice_application_sid"] = ""  # or else Twilio asks the application, and not the webhook
    changes = {name: (number[name], value) for name, value in wanted.items() if number[name] != value}
    return Plan(changes, _taken_from(number, webhook))


def as_text(number: OwnedNumber, plan: Plan) -> str:
    """What would change, for people."""
    if plan.obstacle:
        return f"{number.number} cannot be used: {plan.obstacle}"
    if not plan.changes:
        return f"{number.number} points here already; nothing changes"
    lines = [f"{number.number} changes:"]
    for name, (before, after) in plan.changes.items():
        lines.append(f"  {name.replace('_', ' ')}: {before or '(none)'} -> {after or '(none)'}")
    if plan.taken_from:
        lines.append(f"Its calls go to {plan.taken_from} now, which then gets none.")
    return "\n".join(lines)


def points_here(number: OwnedNumber, base_url: str) -> bool:
    """Whether its calls come to this server."""
    return (
        number["voice_url"] == base_url + WEBHOOK_PATH
        and number["voice_method"] == "POST"
        and not number["voice_application_sid"]
        and not number["trunk_sid"]
    )


def fetch(carrier: Carrier, number: str | None = None) -> list[OwnedNumber]:
    """The account's numbers, or that one, if the account has it. Raises CarrierError."""
    with carrier_errors():
        # Twilio finds what contains the digits, too.
        found = carrier.client.incoming_phone_numbers.list(
            **({} if number is None else {"phone_number": number})
        )
    owned = [_owned(each) for each in found]
    return [each for each in owned if number in (None, each.number)]


def carry_out(carrier: Carrier, number: OwnedNumber, plan: Plan) -> OwnedNumber:
    """Change it, and return what Twilio has then. Raises CarrierError."""
    with carrier_errors():
        context = carrier.client.incoming_phone_numbers(number.sid)
        return _owned(context.update(**{name: after for name, (_, after) in plan.changes.items()}))


def _owned(resource: Any) -> OwnedNumber:
    settings = {name: getattr(resource, name, None) or "" for name in FIELDS}
    voice = (resource.capabilities or {}).get("voice", True)
    return OwnedNumber(resource.sid, resource.phone_number, settings, bool(voice))


def _taken_from(number: OwnedNumber, webhook: str) -> str:
    if number["voice_application_sid"]:
        return f"the application {number['voice_application_sid']}"
    url = number["voice_url"]
    if not url or url == webhook or urlsplit(url).hostname == _DEMO_HOST:
        return ""
    return url


def _ours(url: str) -> bool:
    return urlsplit(url).path.endswith((WEBHOOK_PATH, ENDED_PATH))
