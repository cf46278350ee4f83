"""The threads of one session that work for a while: one for each response and one for each transcription."""

import logging
import threading
from collections.abc import Callable
from typing import Any

JOIN_SECONDS = 5

logger = logging.getLogger(__name__)


class Crew:
    """Starts threads and waits for them. `start` under the session's lock, `join` without it."""

    def __init__(self, name: str) -> None:
        """`name` goes into the names of the threads."""
        self._name = name
        self._threads: list[threading.Thread] = []

    def start(self, what: str, target: Callable[..., None], *arguments: Any) -> None:
        """Run `target` in a daemon thread called `what` and the session's name."""
        thread = threading.Thread(target=target, args=arguments, name=f"{what} {self._name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def join(self) -> None:
        """Wait for all, 5 s for each at most; who is late is named in the log."""
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                logger.warning("%s did not end within %d s", thread.name, JOIN_SECONDS)
