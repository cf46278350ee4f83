"""Runs the tools of one call beside it: every call of the model is answered once, in time, whatever the tool does."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from pykka import ActorRef

from actors.call_context import CallContext
from actors.clock import Clock, Timer
from actors.member import call_log, post
from actors.messages import ToolFinished
from actors.tool import MAX_OUTPUT_CHARACTERS, AnyTool, ToolError
from actors.tool_pool import Ending, submit
from wire import event_json
from wire.realtime import FunctionCall

MAX_THREADS = 8
"""Tools that run at once in one call, those included that go on after their time was up."""

_FAILED = "%s failed, for a reason that is not known to you. Tell the caller that it did not work."
_OVERDUE = (
    "%s gave no result within %g seconds and is not waited for any more. Whether it took effect is not known: "
    "tell the caller so, and do not repeat it on your own."
)
_NOT_STARTED = "%s has not run: too much else was still being done. It may be called again in a while."


@dataclass(frozen=True, slots=True)
class ToolOverdue:
    """Clock → owner of a ToolRunner: a tool's time is up. To be handed to `ToolRunner.expire`."""

    use: int


@dataclass(slots=True, eq=False)
class _Use:
    """One call of one tool."""

    number: int
    call: FunctionCall
    tool: AnyTool
    began_at: float
    timer: Timer | None = None
    future: Future[Ending] | None = None


class ToolRunner:
    """Runs what the model calls, each in a daemon thread of its own; the owner is told `ToolFinished` once for each.

    The time of a tool counts from `run`, as the caller waits from then on. Of what is still running when its time is
    up, only the answer is given up: a thread cannot be ended. Any thread may call any method; none of them waits.
    """

    def __init__(
        self,
        owner: ActorRef[Any],
        call_sid: str,
        tools: Mapping[str, AnyTool],
        context: CallContext,
        clock: Clock,
    ) -> None:
        self._owner = owner
        self._call_sid = call_sid
        self._tools = tools
        self._context = context
        self._clock = clock
        self._log = call_log(__name__, call_sid)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = False
        self._unanswered: dict[int, _Use] = {}
        self._waiting: deque[_Use] = deque()
        self._started: list[_Use] = []

    @property
    def running(self) -> bool:
        """Whether the model waits for an answer. A tool whose time was up does not count."""
        with self._lock:
            return bool(self._unanswered)

    @property
    def silent(self) -> bool:
        """Whether the model waits only for tools with filler=False: nothing is played to the caller meanwhile."""
        with self._lock:
            return bool(self._unanswered) and not any(use.tool.filler for use in self._unanswered.values())

    def run(self, call: FunctionCall) -> None:
        """Answer this call by a `ToolFinished`, now or later. After `close`, nothing is run."""
        tool = self._tools.get(call.name)
        if tool is None:
            self._refuse(call)
            return
        with self._lock:
            if self._closed:
                return
            use = _Use(next(self._numbers), call, tool, time.monotonic())
            self._unanswered[use.number] = use
            try:
                overdue = ToolOverdue(use.number)
                use.timer = self._clock.after(tool.timeout_seconds, self._owner, overdue)
            except RuntimeError:
                self._fail_to_start(use)
                return
            self._waiting.append(use)
            self._start_waiting()

    def expire(self, overdue: ToolOverdue) -> None:
        """What the owner does with `ToolOverdue`: the model is answered, unless the tool was quicker."""
        with self._lock:
            use = self._unanswered.get(overdue.use)
            if use is None:
                return
            name, seconds = use.call.name, use.tool.timeout_seconds
            if use in self._waiting:
                self._waiting.remove(use)
                text = _NOT_STARTED % name
            else:
                text = _OVERDUE % (name, seconds)
            self._answer(use, _error(text), failed=True)
        self._log.warning("tool %s has not ended within %g s", name, seconds)
        if use.future is not None:
            use.future.cancel()

    def close(self) -> int:
        """The call has ended: from now on the owner is told nothing. Returns how many tools still run."""
        with self._lock:
            self._closed = True
            for use in self._unanswered.values():
                if use.timer is not None:
                    use.timer.cancel()
            self._unanswered.clear()
            self._waiting.clear()
            started = list(self._started)
        for use in started:
            if use.future is not None:
                use.future.cancel()
        if started:
            names = ", ".join(use.call.name for use in started)
            self._log.info("%d tools go on after the call: %s", len(started), names)
        return len(started)

    def _refuse(self, call: FunctionCall) -> None:
        known = ", ".join(self._tools) or "none"
        output = _error(f"There is no tool {call.name}. These there are: {known}.")
        with self._lock:
            if self._closed:
                return
            self._post(call, output, failed=True, seconds=0.0)
        self._log.warning("the model called %r, which is not a tool", call.name)

    def _start_waiting(self) -> None:
        """With the lock held: start what there is room for."""
        while self._waiting and len(self._started) < MAX_THREADS:
            use = self._waiting.popleft()
            name = f"tool {use.call.name} {self._call_sid}"
            try:
                threading.Thread(target=self._work, args=(use,), name=name, daemon=True).start()
            except RuntimeError:
                self._fail_to_start(use)
            else:
                self._started.append(use)

    def _fail_to_start(self, use: _Use) -> None:
        """With the lock held, while an exception is handled: the process has no thread left to give."""
        self._log.exception("tool %s was not started", use.call.name)
        self._answer(use, _error(_FAILED % use.call.name), failed=True)

    def _work(self, use: _Use) -> None:
        """One tool, from start to end. Runs in the tool's own thread."""
        name = use.call.name
        output, failed = _error(_FAILED % name), True
        try:
            output, failed = self._attempt(use)
        except BaseException:
            self._log.exception("tool %s failed", name)
        with self._lock:
            self._started.remove(use)
            late = not self._answer(use, output, failed)
            self._start_waiting()
        if late:
            seconds = time.monotonic() - use.began_at
            self._log.info("tool %s ended after %.1f s, too late to be answered", name, seconds)

    def _attempt(self, use: _Use) -> tuple[str, bool]:
        try:
            if use.tool.process:
                return self._run_in_process(use), False
            return use.tool.run(use.call.arguments, self._context), False
        except ToolError as error:
            self._log.info("tool %s refused", use.call.name)
            # Made for the model, of what the caller may have said.
            self._log.debug("tool %s: %s", use.call.name, error)
            return _error(str(error)), True

    def _run_in_process(self, use: _Use) -> str:
        future = submit(use.tool, use.call.arguments, self._context)
        with self._lock:
            use.future = future
            given_up = use.number not in self._unanswered
        if given_up:
            future.cancel()
        try:
            ending, text = future.result()
        except CancelledError:
            raise ToolError(_NOT_STARTED % use.call.name) from None
        except BrokenProcessPool:
            self._log.warning("tool %s failed: a process of its pool ended before it did", use.call.name)
            raise ToolError(_FAILED % use.call.name) from None
        if ending == "result":
            return text
        if ending == "refused":
            raise ToolError(text)
        if ending == "overdue":
            self._log.warning("tool %s was stopped in its process:\n%s", use.call.name, text)
            raise ToolError(_OVERDUE % (use.call.name, use.tool.timeout_seconds))
        raise RuntimeError(f"in its process: {text}")

    def _answer(self, use: _Use, output: str, failed: bool) -> bool:
        """With the lock held: tell the owner, unless it has been told, or is not to be told any more."""
        if self._unanswered.pop(use.number, None) is None:
            return False
        if use.timer is not None:
            use.timer.cancel()
        self._post(use.call, output, failed, time.monotonic() - use.began_at)
        return True

    def _post(self, call: FunctionCall, output: str, failed: bool, seconds: float) -> None:
        post(self._owner, ToolFinished(call.call_id, call.name, output, failed, seconds))


def _error(text: str) -> str:
    return event_json.encode({"error": text[: MAX_OUTPUT_CHARACTERS // 2]})
