"""Phone numbers as Twilio writes them, in E.164: a plus sign, the country's code and the rest, digits only."""

import re

E164 = r"\+[1-9][0-9]{6,14}"
"""Regular expression of a whole number."""


def is_e164(number: str) -> bool:
    """Whether it is a number, and not the address of a client or what stands for a withheld one."""
    return re.fullmatch(E164, number) is not None


def shortened(number: str) -> str:
    """For people to read: the last two of its digits, so that it can be told from another and not called."""
    digits = re.sub(r"\D", "", number)
    return f"…{digits[-2:]}" if len(digits) > 4 else "…"
