"""Orders to calls: handed to the call if it lives in this process, else left in the database for whoever has it."""

import logging
import threading

from actors.orders import Order, decode, encode
from store.database import StoreError
from store.orders import Orders
from web.calls import Calls

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often a process that holds calls looks for orders to them."""


class OrderDesk:
    """Gives orders to calls, wherever they live, and takes those to the calls of this process. Any thread."""

    def __init__(self, orders: Orders, calls: Calls, look_seconds: float = LOOK_SECONDS) -> None:
        """From now on `calls` has orders looked for while there are any calls."""
        self._orders = orders
        self._calls = calls
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._taker: threading.Thread | None = None
        self._in_trouble = False
        calls.when_begun = self._look

    def give(self, call_sid: str, order: Order) -> None:
        """Have the order carried out. Raises StoreError: the call is elsewhere, and nobody can be told."""
        if not self._calls.tell(call_sid, order):
            self._orders.give(call_sid, encode(order))

    def _look(self) -> None:
        with self._lock:
            if self._taker is not None:
                return
            taker = threading.Thread(target=self._run, name="order taker", daemon=True)
            try:
                taker.start()
            except RuntimeError as error:  # no thread to be had; the next call that begins tries again
                logger.warning("orders to calls wait: %s", error)
            else:
                self._taker = taker

    def _run(self) -> None:
        while True:
            with self._lock:
                call_sids = self._calls.live
                if not call_sids:
                    self._taker = None
                    return
            self._take(call_sids)
            self._calls.await_change(self._look_seconds)

    def _take(self, call_sids: list[str]) -> None:
        try:
            taken = self._orders.take(call_sids)
            self._in_trouble = False
        except StoreError as error:
            if not self._in_trouble:
                logger.warning("orders to calls wait: %s", error)
            self._in_trouble = True
            return
        for call_sid, body in taken:
            try:
                self._calls.tell(call_sid, decode(body))
            except ValueError as error:
                # Of a newer version, while a deploy is under way.
                logger.warning("%s: an order is not carried out: %s", call_sid, error)
