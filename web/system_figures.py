"""Figures of the system for pages: computed by one thread at a time, and not anew for everyone who looks."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from store.figures import FiguresOf

SPANS = {"hour": (3600.0, 12), "day": (86400.0, 24), "week": (7 * 86400.0, 28)}
"""Seconds, and how many slices."""

FRESH_SECONDS = 10.0


class SystemFigures:
    """Any thread."""

    def __init__(self, figures: FiguresOf, clock: Callable[[], float] = time.monotonic) -> None:
        self._figures = figures
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    def of(self, span: str) -> dict[str, Any]:
        """The figures of that span, one of SPANS: a `store.figures.Figures` as JSON. Raises StoreError."""
        known = self._known.get(span)
        if known is not None and self._clock() < known[0] + FRESH_SECONDS:
            return known[1]
        if not self._lock.acquire(blocking=known is None):
            assert known is not None
            return known[1]
        try:
            known = self._known.get(span)
            if known is None or self._clock() >= known[0] + FRESH_SECONDS:
                seconds, slices = SPANS[span]
                known = (self._clock(), asdict(self._figures.last(seconds, slices)))
                self._known[span] = known
            return known[1]
        finally:
            self._lock.release()
