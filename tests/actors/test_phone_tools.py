"""The tools that come with the telephone: what the model sees of them, and what they tell the call."""

import threading
from typing import Any

import orjson
import pytest

from actors.call_context import CallContext
from actors.member import CallError
from actors.messages import Asked, CollectDigits, HangUp, SendDigits, Transfer
from actors.phone_tools import GRACE_SECONDS, phone_tools
from actors.telephony import COLLECT_TOOL, DECISION_SECONDS, Telephony
from actors.tool import ToolError
from tests.probe import Probe

EVERYTHING = Telephony.model_validate(
    {
        "transfer": {
            "sales": {"number": "+15550100001", "description": "for new bicycles", "ring_seconds": 40},
            "workshop": "+15550100002",
        },
        "digits": {"order": {"digits": 4, "description": "as on the receipt"}, "card": {"digits": 16}},
        "send_digits": True,
    }
)


def run(name: str, arguments: dict[str, Any], call: Probe) -> str:
    """Calls the tool as the model does."""
    context = CallContext("CA1", "+4930111", "+4930222", {}, call=call)
    output: str = orjson.loads(phone_tools(EVERYTHING)[name].run(orjson.dumps(arguments).decode(), context))
    return output


def answering(call: Probe, answer: str | Exception) -> threading.Thread:
    """Somebody who answers the next thing that the call is asked."""

    def answer_next() -> None:
        asked = call.expect(Asked)
        orders.append(asked.order)
        asked.reply.set_exception(answer) if isinstance(answer, Exception) else asked.reply.set_result(answer)

    thread = threading.Thread(target=answer_next)
    thread.start()
    return thread


orders: list[Any] = []


@pytest.fixture(autouse=True)
def no_orders() -> None:
    orders.clear()


def test_there_are_those_that_the_table_asks_for() -> None:
    assert set(phone_tools(Telephony())) == {"hang_up"}
    assert set(phone_tools(Telephony(hang_up=False))) == set()
    assert set(phone_tools(EVERYTHING)) == {"hang_up", "send_digits", "transfer_call", COLLECT_TOOL}


def test_the_model_sees_names_and_no_numbers() -> None:
    definition = phone_tools(EVERYTHING)["transfer_call"].definition
    assert definition["parameters"]["properties"]["to"]["enum"] == ["sales", "workshop"]
    assert "- sales: for new bicycles\n- workshop" in definition["description"]
    assert "+1555" not in str(definition)
    assert definition["parameters"]["required"] == ["to", "summary"]


def test_a_caller_who_is_connected_is_waited_for_as_long_as_it_rings() -> None:
    tools = phone_tools(EVERYTHING)
    assert tools["transfer_call"].timeout_seconds == 40 + DECISION_SECONDS + 2 * GRACE_SECONDS
    assert tools["collect_digits"].timeout_seconds > 16 * 5.0
    assert not any(tool.filler for tool in tools.values())


def test_hanging_up_is_told_and_not_waited_for() -> None:
    call = Probe()
    assert "when the caller has heard your goodbye" in run("hang_up", {}, call)
    assert call.expect(HangUp).goodbye


@pytest.mark.parametrize(
    ("name", "arguments", "order"),
    [
        ("transfer_call", {"to": "sales", "summary": "A buyer."}, Transfer("sales", "A buyer.")),
        ("send_digits", {"digits": "1w#"}, SendDigits("1w#")),
        ("collect_digits", {"what": "card"}, CollectDigits("card")),
    ],
)
def test_what_becomes_of_it_is_what_the_model_is_told(
    name: str, arguments: dict[str, Any], order: Any
) -> None:
    call = Probe()
    thread = answering(call, "done")
    assert run(name, arguments, call) == "done"
    thread.join()
    assert orders == [order]
    thread = answering(call, ToolError("nobody is there"))
    with pytest.raises(ToolError, match="nobody is there"):
        run(name, arguments, call)
    thread.join()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transfer_call", {"to": "boss", "summary": ""}),
        ("transfer_call", {"to": "+15550100666", "summary": ""}),
        ("send_digits", {"digits": "dial 1"}),
        ("collect_digits", {"what": "pin"}),
    ],
)
def test_what_is_not_on_the_list_never_gets_to_the_call(name: str, arguments: dict[str, Any]) -> None:
    call = Probe()
    with pytest.raises(ToolError, match="arguments are wrong"):
        run(name, arguments, call)
    assert call.told() == []


def test_a_call_that_is_over_cannot_be_told_anything() -> None:
    call = Probe()
    call.die()
    for name, arguments in (("hang_up", {}), ("send_digits", {"digits": "1"})):
        with pytest.raises(CallError, match="is over"):
            run(name, arguments, call)


def test_nor_one_whose_tool_runs_in_another_process() -> None:
    with pytest.raises(CallError, match="another process"):
        CallContext("CA1", "", "", {}).tell(HangUp("enough"))


def test_what_nothing_becomes_of_is_not_waited_for_for_ever() -> None:
    with pytest.raises(CallError, match="nothing became of it within"):
        CallContext("CA1", "", "", {}, call=Probe()).ask(SendDigits("1"), 0.01)
