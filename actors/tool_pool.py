"""Processes in which tools run that would hold the interpreter's lock of the server."""

import contextlib
import faulthandler
import importlib
import multiprocessing
import multiprocessing.connection
import operator
import os
import signal
import threading
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Literal

from actors.call_context import CallContext
from actors.tool import AnyTool, Tool, ToolError

KILL_AFTER_SECONDS = 5.0
"""How long a tool in a process may go on after it was interrupted, before its process is ended."""

_cores_at_first = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""Those that this program may use. A worker, which was forked from it since, may keep to one of them."""

Ending = tuple[Literal["result", "refused", "overdue", "failed"], str]
"""How a tool in a process ended, with its output, what the model is to be told, or (the last two) a traceback."""


class _Pool:
    """Processes for tools that would hold the interpreter's lock. They end with this one, however it ends."""

    def __init__(self) -> None:
        # Spawned: a fork would take along the locks that other threads hold just then, and the sockets of all calls.
        context = multiprocessing.get_context("spawn")
        self._reader, self._lifeline = context.Pipe(duplex=False)
        self.executor = ProcessPoolExecutor(
            os.cpu_count(), context, _prepare_process, (self._reader, _cores_at_first)
        )

    def end(self, wait: bool) -> None:
        self._lifeline.close()
        self.executor.shutdown(wait, cancel_futures=True)
        self._reader.close()


_pool: _Pool | None = None
_pool_lock = threading.Lock()


def submit(tool: AnyTool, arguments: str, context: CallContext) -> Future[Ending]:
    """Answer one call of a tool in a process of the pool. Any thread; waits for the start of a process at most.

    `arguments`: JSON, as the model wrote it. The tool is interrupted when its time is up, counted from when it
    begins there. The pool starts with its first task and after it broke, of which the future tells as
    BrokenProcessPool.
    """
    global _pool
    task = (
        tool.function.__module__,
        tool.function.__qualname__,
        arguments,
        # Not the context itself: its mapping may be one that pickle does not take.
        (
            context.call_sid,
            context.caller,
            context.called,
            dict(context.parameters),
            context.direction,
            dict(context.digits),
        ),
        tool.timeout_seconds,
        KILL_AFTER_SECONDS,
    )
    with _pool_lock:
        if _pool is not None:
            try:
                return _pool.executor.submit(_run_task, *task)
            except BrokenProcessPool:
                _pool.end(wait=False)
        _pool = _Pool()
        return _pool.executor.submit(_run_task, *task)


def shut_down_pool() -> None:
    """End the processes, with what they are doing. Waits for them; any thread. The next tool starts new ones."""
    global _pool
    with _pool_lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.end(wait=True)


class _Interrupted(BaseException):
    """Raised inside a tool whose time is up, past its `except Exception`."""


_interruptible = False


def _prepare_process(lifeline: Connection, cores: set[int]) -> None:
    if cores:
        with contextlib.suppress(OSError):  # they may have been taken away since; it runs where it may
            os.sched_setaffinity(0, cores)
    # Ctrl-C is for the server, which ends its calls first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _interrupt)
    threading.Thread(target=_end_with_server, args=(lifeline,), name="lifeline", daemon=True).start()


def _end_with_server(lifeline: Connection) -> None:
    # A server that was killed cannot say so, and nobody else ends a process that waits for its next task.
    multiprocessing.connection.wait([lifeline])
    os._exit(0)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    if _interruptible:
        raise _Interrupted("its time was up")


def _run_task(
    module: str,
    qualname: str,
    arguments: str,
    context: tuple[Any, ...],
    seconds: float,
    kill_after: float,
) -> Ending:
    """Run a tool in a process of the pool, in its main thread, for so many seconds at most.

    Returns only text: an exception that cannot be pickled, or unpickled, would break the whole pool.
    """
    global _interruptible
    try:
        # Before its time begins: a module that takes long to import would otherwise never get beyond that.
        tool = _find(module, qualname)
        # The alarm ends what Python runs; only this ends a C extension that does not let go of the interpreter.
        faulthandler.dump_traceback_later(seconds + kill_after, exit=True)
        _interruptible = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        result = tool.run(arguments, CallContext(*context))
        _interruptible = False
        return "result", result
    except ToolError as error:
        return "refused", str(error)
    except _Interrupted:
        return "overdue", traceback.format_exc()
    except BaseException:
        return "failed", traceback.format_exc()
    finally:
        _interruptible = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _find(module: str, qualname: str) -> AnyTool:
    try:
        found = operator.attrgetter(qualname)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise LookupError(
            f"{module}.{qualname} is not found in the tool's process ({error}); a tool with process=True must "
            "stand in a module that can be imported by its name"
        ) from error
    if not isinstance(found, Tool):
        raise LookupError(
            f"{module}.{qualname} is not the tool: process=True must be set by @tool above the def"
        )
    return found
