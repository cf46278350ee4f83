"""The servers that the model can be reached at, in order of preference, and which of them works at the moment."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.model_socket import ModelSocket
from wire.audio_format import PCMU, AudioFormat
from wire.dialect import Dialect

FAILURES_IN_A_ROW = 2
"""One may be the network's; after so many, another endpoint is used, if there is one."""

AVOIDED_SECONDS = 60.0
REFUSED_SECONDS = 600.0
"""After what does not pass by itself, such as a refused key or an exhausted quota."""


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One server, or one deployment on it."""

    name: str
    """for the log and the journal"""
    dial: Callable[[], ModelSocket]
    """A socket to it that is not connected yet."""
    dialect: Dialect
    audio: AudioFormat = PCMU


class Endpoints:
    """Chooses among endpoints for all calls of the process. Any thread."""

    def __init__(self, endpoints: Sequence[Endpoint], now: Callable[[], float] = time.monotonic) -> None:
        """`endpoints`: at least one, the preferred one first. `now`: seconds of a clock that never goes back.

        Raises ValueError without any.
        """
        if not endpoints:
            raise ValueError("at least one endpoint is needed to reach the model at")
        self._endpoints = tuple(endpoints)
        self._now = now
        self._lock = threading.Lock()
        self._failures = dict.fromkeys(self._endpoints, 0)
        self._avoided_until = dict.fromkeys(self._endpoints, float("-inf"))

    def choose(self) -> Endpoint:
        """The first that is not avoided; where all are, the one that will not be soonest."""
        with self._lock:
            now = self._now()
            for endpoint in self._endpoints:
                if self._avoided_until[endpoint] <= now:
                    return endpoint
            return min(self._endpoints, key=self._avoided_until.__getitem__)

    def has_another(self, endpoint: Endpoint) -> bool:
        """Whether there is one to go to that is not known to refuse us just as well."""
        with self._lock:
            now = self._now()
            return any(each is not endpoint and self._avoided_until[each] <= now for each in self._endpoints)

    def avoids(self, endpoint: Endpoint) -> bool:
        """Whether no call goes there that can go elsewhere."""
        with self._lock:
            return self._avoided_until[endpoint] > self._now()

    def failed(self, endpoint: Endpoint, permanently: bool) -> None:
        """A session there could not be had, broke off, or said nothing."""
        with self._lock:
            self._failures[endpoint] += 1
            if permanently:
                seconds = REFUSED_SECONDS
            elif self._failures[endpoint] >= FAILURES_IN_A_ROW:
                seconds = AVOIDED_SECONDS
            else:
                return
            # What fails after it was refused, was tried for want of another: that makes it no better.
            self._avoided_until[endpoint] = max(self._avoided_until[endpoint], self._now() + seconds)

    def worked(self, endpoint: Endpoint) -> None:
        """A session there was heard. That one was taken is no proof: it may say nothing, or break off at once."""
        with self._lock:
            self._failures[endpoint] = 0
            self._avoided_until[endpoint] = float("-inf")
