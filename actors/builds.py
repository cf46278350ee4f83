"""The hook that makes an assistant for one caller: `build = "crm:assistant_for"` in its file.

    from actors import Assistant, CallContext

    def assistant_for(assistant: Assistant, call: CallContext) -> Assistant | None:
        customer = crm.find(call.caller)
        if customer is None:
            return None
        return assistant.changed(
            greeting=f"Hello {customer.name}, this is Tailwind.",
            instructions=f"{assistant.instructions}\nAsk for the order's number before you say anything about it.",
            tools=["shop:look_up_order"],
        )

It gets the assistant with the variables of the call filled in, and returns another one, or None for the assistant as
it is. It may block. After `build_seconds`, and whatever it raises, the call goes on with the assistant as it is. When
the call goes on with another stream, it is asked again.

Anybody can call with any number: caller ID is not checked on its way. So greet a caller by it, but tell nothing that
is private, and do nothing that costs anything, before the caller has proved to be who that number says.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from actors.assistant import Assistant, AssistantError, Build
from actors.call_context import CallContext

logger = logging.getLogger(__name__)

MAX_THREADS = 64
"""Builds that run at once in one process, those included that are not waited for any more."""


class Builds:
    """Builds the assistants of calls, each in a daemon thread of its own. Any thread; shared by all calls."""

    def __init__(
        self, check: Callable[[Assistant], None] = lambda assistant: None, max_threads: int = MAX_THREADS
    ) -> None:
        """`check` raises AssistantError for an assistant that cannot be served here."""
        self._check = check
        self._room = threading.BoundedSemaphore(max_threads)

    def for_call(self, assistant: Assistant, context: CallContext) -> Assistant:
        """The assistant for this call. Waits for its `build_seconds` at most, and raises nothing.

        What comes over the call's media socket meanwhile waits in it: nothing that the caller says is lost.
        """
        plain = assistant.for_call(context, time.time())
        if plain.builder is None:
            return plain
        try:
            built = self._build(plain, plain.builder, context)
        except AssistantError as error:
            logger.warning("%s: goes on without %s: %s", context.call_sid, plain.build, error)
        except BaseException:
            logger.warning("%s: goes on without %s: it failed", context.call_sid, plain.build, exc_info=True)
        else:
            return built
        return plain

    def _build(self, plain: Assistant, build: Build, context: CallContext) -> Assistant:
        if not self._room.acquire(blocking=False):
            raise AssistantError("too many of its answers are still waited for")
        future: Future[Assistant | None] = Future()
        name = f"build {context.call_sid}"
        try:
            threading.Thread(
                target=self._run, args=(future, build, plain, context), name=name, daemon=True
            ).start()
        except RuntimeError:
            self._room.release()
            raise
        wait([future], plain.build_seconds)
        if not future.done():
            raise AssistantError(f"it has not returned within {plain.build_seconds:g} s")
        built = future.result()
        if built is None:
            return plain
        if not isinstance(built, Assistant):
            raise AssistantError(f"it returned a {type(built).__name__} instead of an Assistant or None")
        self._check(built)
        # An assistant that it has from elsewhere may have variables, and what is wrong with it is to be seen here.
        filled = built.for_call(context, time.time())
        _ = filled.session(), filled.sounds
        return filled

    def _run(
        self, future: Future[Assistant | None], build: Build, plain: Assistant, context: CallContext
    ) -> None:
        """Runs in the build's own thread."""
        try:
            built = build(plain, context)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(built)
        finally:
            self._room.release()
