"""What the tests of running tools share."""

import enum
import json
import threading
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from actors.call_context import CallContext
from actors.clock import Clock
from actors.tool import AnyTool
from actors.tool_runner import ToolRunner
from tests.probe import HandClock, Probe
from wire.realtime import FunctionCall

CONTEXT = CallContext("CA1", "+15550001", "+15550002", MappingProxyType({"language": "en"}))


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Guest(BaseModel):
    title: str
    age: int | None = None


@dataclass
class Point:
    x: int
    y: int = 0


def answer(made: AnyTool, **arguments: Any) -> Any:
    """What the tool answers, in this thread."""
    return json.loads(made.run(json.dumps(arguments), CONTEXT))


def call(name: str, call_id: str = "call_1", arguments: str = "{}") -> FunctionCall:
    return FunctionCall("resp_1", "item_1", call_id, name, arguments)


def runner_of(owner: Probe, *tools: AnyTool, clock: Clock | None = None) -> ToolRunner:
    return ToolRunner(owner, "CA1", {each.name: each for each in tools}, CONTEXT, clock or HandClock())


def threads_of_tools() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tool ")]
