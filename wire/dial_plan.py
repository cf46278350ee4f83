"""Which numbers may be called: those of the prefixes that are allowed, and by default none. Pure.

A prefix is the beginning of a number in E.164, and the longest one that fits a number decides: `+49` opens Germany,
`!+4930` takes Berlin out again. What costs more than a call, and other countries that hide behind the same code, are
taken out before: `+49` does not open `+49900`, `+1` opens the United States and Canada only, and `+7` Russia. Who
means them names them.

The list of these is made from the numbering plans of the countries named here, and is a fence against mistakes: none
is complete. Twilio's geographic permissions are the other fence.
"""

from collections.abc import Iterable
from enum import StrEnum

from wire.phone_number import is_e164

SPECIAL = frozenset(
    f"+{code}{rest}"
    for code, rests in {
        # Satellites, international premium rate and shared cost have codes of their own.
        "": "808 870 878 881 882 883 888 979",
        # North American numbers of other countries than the United States and Canada, and premium rate.
        "1": "242 246 264 268 284 345 441 473 649 658 664 721 758 767 784 809 829 849 868 869 876 900",
        # Kazakhstan, and Russia's premium rate.
        "7": "6 7 803 809",
        "31": "900 906 909",
        "32": "90",
        "33": "81 82 89",
        "34": "118 803 806 807 905 907",
        "39": "178 199 892 895 899",
        "41": "84 900 901 906",
        "43": "810 820 821 828 90 93",
        "44": "118 70 84 87 9",
        "48": "30 70",
        # 11: the emergency numbers, and information at a price.
        "49": "11 137 180 190 700 900",
        "61": "19",
    }.items()
    for rest in rests.split()
)


class NotAllowed(StrEnum):
    """Why a number is not called."""

    NO_NUMBER = (
        "it is not a whole number in E.164: a plus sign, the country's code and the rest, such as +4930123456"
    )
    NOT_LISTED = "DIAL_COUNTRIES does not allow it"
    SPECIAL = (
        "it is one that costs extra, or of another country with the same code; if it is meant, let DIAL_COUNTRIES "
        "have its prefix"
    )


class DialPlan:
    """What the entries allow."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """`entries` as DIAL_COUNTRIES has them, which were checked there."""
        allowed = {entry.removeprefix("!"): not entry.startswith("!") for entry in entries}
        self._rules = dict.fromkeys(SPECIAL, False) | allowed

    def refusal(self, number: str) -> NotAllowed | None:
        """Why the number is not called; None: it may be."""
        if not is_e164(number):
            return NotAllowed.NO_NUMBER
        for length in range(len(number), 1, -1):
            allowed = self._rules.get(number[:length])
            if allowed:
                return None
            if allowed is not None:
                return NotAllowed.SPECIAL if number[:length] in SPECIAL else NotAllowed.NOT_LISTED
        return NotAllowed.NOT_LISTED
