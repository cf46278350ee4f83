"""Tells calls that somebody watches them: often enough that they go on showing themselves, and no oftener."""

import threading
import time
from contextlib import suppress

from actors.messages import Watch
from actors.watcher import WATCH_SECONDS
from store.database import StoreError
from web.orders import OrderDesk

RENEWAL_SECONDS = WATCH_SECONDS / 2


class Watches:
    """Of all pages that this process serves. Any thread."""

    def __init__(self, orders: OrderDesk) -> None:
        self._orders = orders
        self._lock = threading.Lock()
        self._given: dict[tuple[str, bool], float] = {}

    def renew(self, call_sid: str, listen: bool = False) -> None:
        """Somebody watches the call. Raises nothing: where it cannot be told, there is nothing to see for a while."""
        now, key = time.monotonic(), (call_sid, listen)
        with self._lock:
            if now < self._given.get(key, 0.0) + RENEWAL_SECONDS:
                return
            self._given = {each: at for each, at in self._given.items() if now < at + RENEWAL_SECONDS} | {
                key: now
            }
        # The page is told that the database does not answer when it asks for what there is to see.
        with suppress(StoreError):
            self._orders.give(call_sid, Watch(listen))
