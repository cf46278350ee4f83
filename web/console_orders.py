"""What people can do to a call from the console: end it, speak into it, transfer it."""

import logging
from collections.abc import Mapping
from typing import Any

from actors.messages import HangUp, Inject, Say, Transfer
from actors.orders import Order
from store.database import StoreError
from store.news import LiveCalls
from web.orders import OrderDesk

logger = logging.getLogger(__name__)

LONGEST_TEXT = 1000
"""Letters that can be said into a call at once: a minute."""


class NotDone(Exception):  # noqa: N818  # an answer to whoever wanted it
    """An order was not given. The text says why, to the person who gave it."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


class ConsoleOrders:
    """Gives orders to calls that go on. Any thread."""

    def __init__(self, live: LiveCalls, desk: OrderDesk) -> None:
        self._live = live
        self._desk = desk

    def give(self, call_sid: str, action: str, fields: Mapping[str, Any]) -> str:
        """Have it done; returns what is done, in words. Raises NotDone."""
        order, done = _order(action, fields)
        try:
            call = self._live.find(call_sid)
            if call is None:
                raise NotDone("This call is not known, or it was erased.", 404)
            if self._live.over(call):
                raise NotDone("This call has ended in the meantime.", 409)
            self._desk.give(call_sid, order)
        except StoreError as error:
            logger.warning("%s: an order from the console was not given: %s", call_sid, error)
            raise NotDone(
                "The database does not answer, so the call cannot be reached. Try again.", 503
            ) from None
        logger.info("%s: the console gave an order: %s", call_sid, type(order).__name__)
        return done


def _order(action: str, fields: Mapping[str, Any]) -> tuple[Order, str]:
    match action:
        case "hang-up":
            if fields.get("goodbye") is True:
                return HangUp(
                    "ended from the console", goodbye=True
                ), "The assistant says goodbye and hangs up."
            return HangUp("ended from the console"), "Hanging up."
        case "say":
            return Say(
                _text(fields, "text", "what is to be said")
            ), "The assistant says it as soon as it may."
        case "inject":
            text = _text(fields, "text", "what the assistant is to know")
            return Inject(text, respond=fields.get("respond") is True), "The assistant knows it now."
        case "transfer":
            to = _text(fields, "to", "whom to connect the caller with")
            summary = fields.get("summary")
            return (
                Transfer(to, summary.strip()[:LONGEST_TEXT] if isinstance(summary, str) else ""),
                "The caller is being connected.",
            )
    raise NotDone("There is no such action.", 404)


def _text(fields: Mapping[str, Any], name: str, what: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not text.strip():
        raise NotDone(f"Write {what}.", 400)
    if len(text) > LONGEST_TEXT:
        raise NotDone(f"That is too long: {len(text)} letters, and {LONGEST_TEXT} are the most.", 400)
    return text.strip()
