"""The hook that makes an assistant for one caller, and calls that go on without what it cannot give them."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from actors.assistant import Assistant, AssistantError
from actors.builds import Builds
from actors.call_context import CallContext
from tests.conftest import ExpectedLogs

CONTEXT = CallContext("CA1", "+4930123456", "+4989654321", {"name": "Ada"})
KEYS = {
    "instructions": "Be brief to {caller}.",
    "greeting": "Hello {parameters.name}.",
    "build": "crm:assistant_for",
}

Hook = Callable[[Assistant, CallContext], Any]


@pytest.fixture(autouse=True)
def crm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crm", ModuleType("crm"))


def with_hook(hook: Hook | None, **keys: Any) -> Assistant:
    """An assistant whose `build` is the hook."""
    sys.modules["crm"].assistant_for = hook or (lambda assistant, call: None)  # type: ignore[attr-defined]
    assistant = Assistant.model_validate(KEYS | keys | ({} if hook else {"build": None}))
    return assistant.changed()


@dataclass
class Gate:
    """A hook that waits to be let go."""

    open: threading.Event = field(default_factory=threading.Event)

    def __call__(self, assistant: Assistant, call: CallContext) -> None:
        assert self.open.wait(5)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def test_without_a_hook_the_texts_have_the_calls_variables() -> None:
    built = Builds().for_call(with_hook(None), CONTEXT)
    assert (built.instructions, built.greeting) == ("Be brief to +4930123456.", "Hello Ada.")


def test_the_hook_gets_the_filled_assistant_and_the_call_and_gives_another() -> None:
    asked: list[tuple[str, CallContext, str]] = []

    def hook(assistant: Assistant, call: CallContext) -> Assistant:
        asked.append((assistant.instructions, call, threading.current_thread().name))
        return assistant.changed(
            greeting="Hello again.", voice="cedar", instructions=f"{assistant.instructions} VIP."
        )

    built = Builds().for_call(with_hook(hook), CONTEXT)
    assert asked == [("Be brief to +4930123456.", CONTEXT, "build CA1")]
    assert (built.greeting, built.voice) == ("Hello again.", "cedar")
    assert built.instructions == "Be brief to +4930123456. VIP."


def test_what_the_hook_writes_is_not_looked_at_for_variables() -> None:
    """It may be what a customer's record, or a caller, says."""

    def hook(assistant: Assistant, call: CallContext) -> Assistant:
        return assistant.changed(greeting="Hello {caller}, {{you}} {")

    assert Builds().for_call(with_hook(hook), CONTEXT).greeting == "Hello {caller}, {{you}} {"


def test_a_copy_will_do_and_so_will_an_assistant_from_elsewhere() -> None:
    def copy(assistant: Assistant, call: CallContext) -> Assistant:
        return assistant.model_copy(update={"greeting": "Hi {caller}."})

    def other(assistant: Assistant, call: CallContext) -> Assistant:
        return Assistant.model_validate({"instructions": "Know {called}."})

    assert Builds().for_call(with_hook(copy), CONTEXT).greeting == "Hi {caller}."
    assert Builds().for_call(with_hook(other), CONTEXT).instructions == "Know +4989654321."


def test_none_is_the_assistant_as_it_is() -> None:
    built = Builds().for_call(with_hook(lambda assistant, call: None), CONTEXT)
    assert built.greeting == "Hello Ada."


def fails(error: BaseException) -> Hook:
    def hook(assistant: Assistant, call: CallContext) -> None:
        raise error

    return hook


@pytest.mark.parametrize(
    ("hook", "complaint"),
    [
        (fails(RuntimeError("database gone")), "it failed"),
        (fails(TimeoutError("timed out")), "it failed"),
        (fails(SystemExit(1)), "it failed"),
        (lambda assistant, call: "Hello", "it returned a str instead of an Assistant or None"),
        (lambda assistant, call: assistant.changed(voice="nobody"), "voice: Input should be"),
        (lambda assistant, call: assistant.changed(voise="cedar"), "voise: Extra inputs"),
        (
            lambda assistant, call: assistant.changed(tools=["nowhere_at_all:x"]),
            "there is no module nowhere_at_all",
        ),
        (lambda assistant, call: assistant.model_copy(update={"turn_detection": 7}), "it failed"),
    ],
)
def test_whatever_the_hook_does_the_call_goes_on(hook: Hook, complaint: str, logs: ExpectedLogs) -> None:
    logs.expect(f"CA1: goes on without crm:assistant_for: {complaint}")
    built = Builds().for_call(with_hook(hook), CONTEXT)
    assert built.greeting == "Hello Ada."


def test_an_assistant_that_cannot_be_served_here_is_not_taken(logs: ExpectedLogs) -> None:
    def check(assistant: Assistant) -> None:
        if assistant.webhook is not None:
            raise AssistantError("[webhook] needs WEBHOOK_SECRET")

    def hook(assistant: Assistant, call: CallContext) -> Assistant:
        return assistant.changed(webhook={"url": "https://crm.example.com/"})

    logs.expect("goes on without .*WEBHOOK_SECRET")
    assert Builds(check).for_call(with_hook(hook), CONTEXT).webhook is None


def test_a_call_does_not_wait_longer_than_it_may(gate: Gate, logs: ExpectedLogs) -> None:
    logs.expect(r"CA1: goes on without .*: it has not returned within 0\.05 s")
    assert Builds().for_call(with_hook(gate, build_seconds=0.05), CONTEXT).greeting == "Hello Ada."


def test_hooks_that_hang_do_not_pile_up(gate: Gate, logs: ExpectedLogs) -> None:
    logs.expect("it has not returned")
    logs.expect("too many of its answers are still waited for")
    builds, hanging = Builds(max_threads=1), with_hook(gate, build_seconds=0.05)
    for _ in range(2):
        builds.for_call(hanging, CONTEXT)
    (thread,) = [each for each in threading.enumerate() if each.name == "build CA1"]
    gate.open.set()
    thread.join(5)
    quick = with_hook(lambda assistant, call: assistant.changed(voice="cedar"))
    assert builds.for_call(quick, CONTEXT).voice == "cedar"


# As a file names it


def test_the_hook_stands_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "crm_of_a_test.py").write_text(
        "number = 7\n"
        "async def slow(assistant, call): ...\n"
        "def assistant_for(assistant, call):\n"
        "    return assistant.changed(name=call.parameters['name'], limits={'max_minutes': 2})\n"
    )

    def load(name: str) -> Assistant:
        (tmp_path / "a.toml").write_text(f'instructions = "Be brief."\nbuild = "crm_of_a_test:{name}"')
        return Assistant.load(tmp_path / "a.toml")

    assistant = load("assistant_for")
    built = Builds().for_call(assistant, CONTEXT)
    assert (built.name, built.limits.max_minutes, built.version) == ("Ada", 2, assistant.version)
    for name, complaint in (
        ("number", "is not a function"),
        ("slow", "is async"),
        ("missing", "has no missing"),
    ):
        with pytest.raises(AssistantError, match=rf"a\.toml: .*{complaint}"):
            load(name)
