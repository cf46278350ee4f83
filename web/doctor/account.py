"""The account at Twilio, and where its numbers' calls go."""

from actors.carrier import Carrier, CarrierError, carrier_errors
from config import Settings
from web.doctor.verdict import Verdict, failed, ok, skipped, warning
from web.phone_setup import OwnedNumber, fetch, plan, points_here
from wire.phone_number import shortened


def check_account(settings: Settings) -> list[Verdict]:
    """Asks twice: for the account, and for its numbers."""
    token = settings.twilio_auth_token
    if settings.twilio_account_sid is None or token is None:
        return [
            skipped(
                "Twilio",
                "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not both set",
                "copy both from the Twilio console, Account Info",
            )
        ]
    carrier = Carrier(settings.twilio_account_sid, token.get_secret_value(), settings.twilio_api_url)
    try:
        with carrier_errors():
            account = carrier.client.api.accounts(carrier.account_sid).fetch()
        return [
            judge_account(str(account.status), str(account.type)),
            *judge_numbers(fetch(carrier), settings.public_url),
        ]
    except CarrierError as error:
        finding, _, advice = str(error).partition(": ")
        return [failed("Twilio", finding, advice or "see the Twilio console")]
    finally:
        carrier.close()


def judge_account(status: str, kind: str) -> Verdict:
    if status != "active":
        return failed("Twilio", f"the account is {status}", "see what the Twilio console says about it")
    if kind == "Trial":
        return warning(
            "Twilio",
            "this is a trial account: callers hear an announcement first, and only verified numbers can be called",
            "upgrade it in the Twilio console, Billing",
        )
    return ok("Twilio", "the account is active, and the token is its own")


def judge_numbers(numbers: list[OwnedNumber], base_url: str | None) -> list[Verdict]:
    """One verdict for each that comes here, or almost; one for all if none does."""
    if base_url is None:
        return [skipped("number", "where they should point is not known without PUBLIC_URL")]
    if not numbers:
        return [
            failed(
                "number", "the account has no phone number", "buy one in the Twilio console, Phone Numbers"
            )
        ]
    verdicts = [judge_number(each, base_url) for each in numbers]
    mine = [verdict for verdict in verdicts if verdict is not None]
    if mine:
        return mine
    return [
        failed(
            "number",
            f"none of the account's {len(numbers)} numbers points at this server",
            "point one here: run.py setup-number NUMBER",
        )
    ]


def judge_number(number: OwnedNumber, base_url: str) -> Verdict | None:
    """None for one that is somebody else's."""
    shown = shortened(number.number)
    remedy = "correct it: run.py setup-number NUMBER"
    if points_here(number, base_url):
        left = plan(number, base_url).changes
        if left:
            return warning("number", f"{shown} comes here, and has no {' or '.join(_plain(left))}", remedy)
        return ok("number", f"{shown} comes here")
    if number["voice_url"].startswith(base_url + "/"):
        wrong = f"{number['voice_method']} {number['voice_url']}"
        if number["voice_application_sid"] or number["trunk_sid"]:
            wrong = "an application or a trunk, which goes before its webhook"
        return failed("number", f"{shown} is meant for this server, but has {wrong}", remedy)
    return None


def _plain(names: object) -> list[str]:
    assert isinstance(names, dict)
    return [
        name.removesuffix("_url").replace("_", " ") for name in names if not name.endswith("_method")
    ] or ["right method"]
