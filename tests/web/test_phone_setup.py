"""web.phone_setup: what changes, as a table, and against the REST stand-in with Twilio's real SDK."""

from collections.abc import Iterator

import pytest

from actors.carrier import Carrier
from simulator.network import PhoneNetwork
from simulator.twilio_rest import TwilioRest
from web.phone_setup import OwnedNumber, as_text, carry_out, fetch, plan, points_here

URL = "https://voice.example.com"
HERE = {
    "voice_url": f"{URL}/twiml",
    "voice_method": "POST",
    "voice_fallback_url": f"{URL}/twiml",
    "voice_fallback_method": "POST",
    "status_callback": f"{URL}/twiml/ended",
    "status_callback_method": "POST",
}
NUMBER = "+15550100002"


def number(**settings: str) -> OwnedNumber:
    return OwnedNumber("PN1", NUMBER, settings)


@pytest.mark.parametrize(
    ("settings", "changed", "taken_from"),
    [
        ({}, set(HERE), ""),
        (HERE, set(), ""),
        (HERE | {"voice_method": "GET"}, {"voice_method"}, ""),
        (HERE | {"voice_url": "https://demo.twilio.com/welcome/voice/"}, {"voice_url"}, ""),
        (HERE | {"voice_url": "https://other.example.com/"}, {"voice_url"}, "https://other.example.com/"),
        (HERE | {"voice_fallback_url": "https://backup.example.com/"}, set(), ""),
        (HERE | {"voice_fallback_url": "https://old.example.com/twiml"}, {"voice_fallback_url"}, ""),
        (HERE | {"voice_application_sid": "AP1"}, {"voice_application_sid"}, "the application AP1"),
    ],
)
def test_only_what_is_needed_changes(settings: dict[str, str], changed: set[str], taken_from: str) -> None:
    planned = plan(number(**settings), URL)
    assert (set(planned.changes), planned.taken_from, planned.obstacle) == (changed, taken_from, "")
    after = settings | {name: value for name, (_, value) in planned.changes.items()}
    assert not plan(number(**after), URL).changes
    assert points_here(number(**after), URL)


@pytest.mark.parametrize(
    ("owned", "url", "why"),
    [
        (number(trunk_sid="TK1"), URL, "SIP trunk"),
        (OwnedNumber("PN1", NUMBER, {}, voice=False), URL, "voice calls"),
        (number(), "http://127.0.0.1:8080", "not https"),
    ],
)
def test_what_cannot_work_is_not_done(owned: OwnedNumber, url: str, why: str) -> None:
    planned = plan(owned, url)
    assert why in planned.obstacle
    assert not planned.changes
    assert why in as_text(owned, planned)


def test_what_changes_is_shown() -> None:
    owned = number(**HERE | {"voice_url": "https://other.example.com/"})
    assert as_text(owned, plan(owned, URL)).splitlines() == [
        f"{NUMBER} changes:",
        f"  voice url: https://other.example.com/ -> {URL}/twiml",
        "Its calls go to https://other.example.com/ now, which then gets none.",
    ]
    assert as_text(number(**HERE), plan(number(**HERE), URL)).endswith("nothing changes")


@pytest.fixture
def network() -> Iterator[PhoneNetwork]:
    with PhoneNetwork("12345") as network:
        yield network


def test_a_number_of_the_account_is_found_and_pointed_here(network: PhoneNetwork) -> None:
    owned, longer = network.own(NUMBER), network.own(NUMBER + "0")
    with TwilioRest(network) as rest:
        carrier = Carrier(network.account_sid, "12345", rest.url)
        (found,) = fetch(carrier, NUMBER)
        assert (found.sid, found["voice_url"]) == (owned.sid, "")
        changed = carry_out(carrier, found, plan(found, URL))
        assert points_here(changed, URL)
        assert {name: getattr(owned, name) for name in HERE} == HERE
        assert len(fetch(carrier)) == 2
        assert fetch(carrier, "+4930123456") == []
        carrier.close()
    assert longer.voice_url == ""
