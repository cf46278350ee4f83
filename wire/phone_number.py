"""Phone numbers as Twilio writes them, in E.164: a plus sign, the country's code and the rest, digits only."""

import re

E164 = r"\+[1-9][0-9]{6,14}"
"""Regular expression of a whole number."""

WITHHELD = frozenset({"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"})
"""What Twilio writes for a number that it is not told: anonymous, restricted, blocked, unknown and unavailable,
spelt on a telephone's keys."""

SOFTPHONE, SWITCHBOARD = "client:softphone", "client:switchboard"
"""What stands for the numbers in a call from the page at `/`: whoever sits there, and this server."""


def is_e164(number: str) -> bool:
    """Whether it is a number, and not the address of a client or what stands for a withheld one."""
    return re.fullmatch(E164, number) is not None


def is_withheld(number: str) -> bool:
    """Whether it stands for a number that Twilio was not told."""
    return number in WITHHELD


def shortened(number: str) -> str:
    """For people to read: the last two of its digits, so that it can be told from another and not called.

    What is nobody's number is whole.
    """
    if number in (SOFTPHONE, SWITCHBOARD):
        return number.partition(":")[2]
    digits = re.sub(r"\D", "", number)
    return f"…{digits[-2:]}" if len(digits) > 4 else "…"
