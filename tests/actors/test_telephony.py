"""The tables of the telephone: what is refused, and what is on the lists."""

import pytest
from pydantic import ValidationError

from actors.telephony import CallerSilenceTable, Telephony
from wire.caller_silence import Patience
from wire.digits import Form


def test_a_number_alone_is_short_for_somebody() -> None:
    telephony = Telephony.model_validate({"transfer": {"sales": "+15550100001"}})
    assert telephony.target("sales") == telephony.target("+15550100001")
    assert telephony.target("sales") == ("sales", telephony.transfer["sales"])
    assert telephony.target("+15550100002") is None


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"transfer": {"sales": "110"}}, "transfer.sales.number"),
        ({"transfer": {"the boss": "+15550100001"}}, "is not a name"),
        ({"digits": {"pin": {"digits": 0}}}, "digits.pin.digits"),
        ({"digits": {"pin": {"shortest": 5, "longest": 4}}}, "cannot be entered"),
        ({"digits": {"1pin": {}}}, "is not a name"),
        ({"hangup": True}, "hangup"),
    ],
)
def test_a_mistake_is_named(table: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Telephony.model_validate(table)
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in refused.value.errors())
    assert complaint in told


def test_a_number_of_so_many_digits_is_over_with_the_last_one() -> None:
    telephony = Telephony.model_validate({"digits": {"card": {"digits": 16}, "order": {"longest": 8}}})
    assert telephony.digits["card"].form() == Form(16, 16, 20.0, 5.0)
    assert telephony.digits["order"].form() == Form(1, 8, 20.0, 5.0)


def test_silence_of_no_seconds_is_never_asked_after() -> None:
    assert CallerSilenceTable(reprompt_seconds=0).patience() == Patience(None, 2)
    assert CallerSilenceTable().patience() == Patience()
