"""When the model is asked to go on: a table of what is called and ends, and calls that end in any order."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.outputs import Outputs

Step = Callable[[Outputs], object]


def function(response_id: str, call_id: str) -> Step:
    return lambda outputs: outputs.function_called(response_id, call_id)


def mcp(response_id: str, item_id: str) -> Step:
    return lambda outputs: outputs.mcp_called(response_id, item_id)


def came(call_id: str, last: bool = True, respond: bool = True) -> Step:
    return lambda outputs: outputs.came(call_id, last, respond)


def ended(item_id: str) -> Step:
    return lambda outputs: outputs.mcp_ended(item_id)


def done(response_id: str) -> Step:
    return lambda outputs: outputs.response_done(response_id)


def cancelled(response_id: str) -> Step:
    return lambda outputs: (outputs.response_done(response_id), outputs.give_up(response_id))


SESSIONS: dict[str, list[tuple[Step, bool]]] = {
    "a response that calls nothing": [(done("r"), False)],
    "a function's output after the response": [
        (function("r", "f"), False),
        (done("r"), False),
        (came("f"), True),
    ],
    "a function that is quicker than its response": [
        (function("r", "f"), False),
        (came("f"), False),
        (done("r"), True),
        (done("r"), False),
    ],
    "a function that is quicker than the call of the next": [
        (function("r", "f"), False),
        (came("f"), False),
        (function("r", "g"), False),
        (done("r"), False),
        (came("g"), True),
    ],
    "of two functions the last one is answered": [
        (function("r", "f"), False),
        (function("r", "g"), False),
        (done("r"), False),
        (came("f", last=False), False),
        (came("g"), True),
    ],
    "an output that wants no answer": [
        (function("r", "f"), False),
        (done("r"), False),
        (came("f", respond=False), False),
        (done("s"), False),
    ],
    "the output of a function that an earlier session called": [(came("f"), True), (came("f"), True)],
    "an MCP call that ends after its response": [
        (mcp("r", "m"), False),
        (done("r"), False),
        (ended("m"), True),
        (ended("m"), False),
    ],
    "an MCP call that ends before its response": [
        (mcp("r", "m"), False),
        (ended("m"), False),
        (done("r"), True),
    ],
    "an MCP call that is unknown": [(ended("m"), False)],
    "an MCP call and a function": [
        (mcp("r", "m"), False),
        (function("r", "f"), False),
        (done("r"), False),
        (came("f", last=False), False),
        (ended("m"), True),
    ],
    "a function whose output comes before the call knows that the MCP call has ended": [
        (mcp("r", "m"), False),
        (function("r", "f"), False),
        (done("r"), False),
        (ended("m"), False),
        (came("f", last=False), True),
    ],
    "an MCP call of a cancelled response is neither waited for nor answered": [
        (mcp("r", "m"), False),
        (cancelled("r"), False),
        (ended("m"), False),
        (function("s", "f"), False),
        (done("s"), False),
        (came("f"), True),
    ],
    "a function of a cancelled response is waited for all the same": [
        (function("r", "f"), False),
        (cancelled("r"), False),
        (came("f"), True),
    ],
}


@pytest.mark.parametrize("steps", SESSIONS.values(), ids=SESSIONS)
def test_when_the_model_is_asked_to_go_on(steps: list[tuple[Step, bool]]) -> None:
    outputs = Outputs()
    for number, (step, due) in enumerate(steps):
        step(outputs)
        assert outputs.take_due() is due, f"step {number}"
        assert not outputs.take_due(), "once"


def test_whether_a_response_has_called_anything_is_known_at_its_end_and_forgotten() -> None:
    outputs = Outputs()
    outputs.function_called("r", "f")
    assert not outputs.response_done("s")
    assert outputs.response_done("r")
    assert not outputs.response_done("r")


def test_of_a_cancelled_response_only_its_own_mcp_calls_that_have_not_ended_are_given_up() -> None:
    outputs = Outputs()
    for response_id, item_id in (("r", "m"), ("r", "n"), ("r", "o"), ("s", "p")):
        outputs.mcp_called(response_id, item_id)
    outputs.function_called("r", "f")
    assert outputs.mcp_ended("n")
    assert outputs.give_up("r") == ["m", "o"]
    assert outputs.give_up("r") == []
    assert not outputs.mcp_ended("m")
    assert outputs.mcp_ended("p")


@given(st.lists(st.sampled_from(["function", "mcp"]), min_size=1, max_size=6), st.data())
def test_the_model_goes_on_once_it_has_everything_and_never_before(
    kinds: list[str], data: st.DataObject
) -> None:
    """Each thing is called in one of two responses; all of it ends, and so do the responses, in any order."""
    outputs = Outputs()
    calls = {f"{kind} {number}": kind for number, kind in enumerate(kinds)}
    response_of = {call: data.draw(st.sampled_from("rs")) for call in calls}
    uncalled, running, responding = set(calls), set[str](), set(response_of.values())
    asked, overtaken = False, set[str]()
    while uncalled or running or responding:
        endable = [response for response in responding if response not in map(response_of.get, uncalled)]
        step = data.draw(st.sampled_from(sorted(uncalled | running) + sorted(endable)))
        if step in uncalled:
            (outputs.mcp_called if calls[step] == "mcp" else outputs.function_called)(response_of[step], step)
            uncalled.discard(step)
            running.add(step)
        elif step in running:
            running.discard(step)
            if calls[step] == "mcp":
                assert outputs.mcp_ended(step)
                overtaken |= running
            else:  # the call says which is the last one, and may not know yet what has ended here
                functions = any(calls[other] == "function" for other in running)
                unaware = step in overtaken and data.draw(st.booleans())
                outputs.came(step, last=not functions and not unaware, respond=True)
        else:
            responding.discard(step)
            assert outputs.response_done(step)
        calling = {response_of[call] for call in set(calls) - uncalled} & responding
        if asked := outputs.take_due():
            assert not running
            assert not calling
        assert not outputs.take_due()
    assert asked, "the model waits for ever for what came last"
