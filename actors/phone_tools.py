"""The tools that come with the telephone: what the model may call of the table `[telephony]`.

They are ordinary tools, which tell the call the same messages as anybody may.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from actors.call_context import CallContext
from actors.messages import CollectDigits, HangUp, SendDigits, Transfer
from actors.telephony import KEYS, Number, Target, Telephony
from actors.tool import AnyTool, tool

GRACE_SECONDS = 30.0
"""How much longer than planned the call may take to answer its own tools."""


@tool(filler=False)
def hang_up(call: CallContext) -> str:
    """End the phone call.

    Call this when the caller has said goodbye or wants nothing more, or asks you to hang up. Say goodbye in the same
    answer, before you call it.
    """
    call.tell(HangUp("the assistant ended the call", goodbye=True, said=True))
    return "The call ends when the caller has heard your goodbye, unless the caller speaks before."


@tool(filler=False)
def send_digits(digits: Annotated[str, Field(pattern=f"^{KEYS.pattern}$")], call: CallContext) -> str:
    """Press keys on the telephone, for example to choose from a menu that you hear.

    Args:
        digits: The keys 0 to 9, * and #; w waits for half a second, W for a second.
    """
    return call.ask(SendDigits(digits), GRACE_SECONDS)


def phone_tools(telephony: Telephony) -> dict[str, AnyTool]:
    """The tools that the table asks for, by name."""
    tools: list[AnyTool] = []
    if telephony.hang_up:
        tools.append(hang_up)
    if telephony.send_digits:
        tools.append(send_digits)
    if telephony.transfer:
        tools.append(_transfer_tool(telephony.transfer))
    if telephony.digits:
        tools.append(_collect_tool(telephony.digits))
    return {each.name: each for each in tools}


def _transfer_tool(targets: dict[str, Target]) -> AnyTool:
    # Longer than a consultation, or the model would tell the caller that it failed, and then somebody took the call.
    seconds = max(target.consult_seconds for target in targets.values()) + GRACE_SECONDS

    def transfer_call(to: Any, summary: str, call: CallContext) -> str:
        return call.ask(Transfer(to, summary), seconds)

    transfer_call.__annotations__["to"] = Literal[tuple(targets)]
    transfer_call.__annotations__["summary"] = Annotated[str, Field(max_length=1000)]
    listed = "\n".join(
        f"- {name}" + (f": {target.description}" if target.description else "")
        for name, target in targets.items()
    )
    description = (
        "Connect the caller with somebody. Tell the caller first, in the same answer, whom you connect them with.\n"
        f"Whom you can connect them with:\n{listed}\n\n"
        "Args:\n    to: Whom.\n    summary: Who calls and what about, in one or two sentences, for that person."
    )
    transfer_call.__doc__ = description
    return tool(filler=False, timeout_seconds=min(seconds + GRACE_SECONDS, 3600.0))(transfer_call)


def _collect_tool(numbers: dict[str, Number]) -> AnyTool:
    seconds = max(_longest_seconds(number) for number in numbers.values()) + GRACE_SECONDS

    def collect_digits(what: Any, call: CallContext) -> str:
        return call.ask(CollectDigits(what), seconds)

    collect_digits.__annotations__["what"] = Literal[tuple(numbers)]
    listed = "\n".join(
        f"- {name}" + (f": {number.description}" if number.description else "")
        for name, number in numbers.items()
    )
    collect_digits.__doc__ = (
        "Have the caller enter a number with the keys of the telephone. Ask them for it first, in the same answer, "
        f"and tell them to finish with the hash key.\nWhat can be asked for:\n{listed}\n\n"
        "Args:\n    what: Which of them."
    )
    return tool(filler=False, timeout_seconds=min(seconds + GRACE_SECONDS, 3600.0))(collect_digits)


def _longest_seconds(number: Number) -> float:
    # Until the asking has been heard, and then the keys one by one.
    form = number.form()
    return 60.0 + number.first_seconds + (form.longest or 1) * number.between_seconds
