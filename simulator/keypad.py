"""The Gather verb: collects the keys that are pressed. Runs in the call's thread."""

from typing import TYPE_CHECKING

from simulator.phone_events import EndReason
from simulator.twiml_verbs import Gather
from wire.g711 import SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.document import Document
    from simulator.exchange import Exchange


def gather(exchange: "Exchange", verb: Gather, base: str) -> "Document | EndReason | None":
    """Play the prompt, which a key cuts short, and wait for keys. `action` is the document itself by default."""
    exchange.keys.clear()
    keys = exchange.keys

    def pressed() -> bool:
        return bool(keys)

    def complete() -> bool:
        return (verb.digits is not None and len(keys) >= verb.digits) or verb.finish_on_key in keys

    for prompt in verb.prompt:
        if not keys and not exchange.pacer.interrupted:
            exchange.perform(prompt, base, pressed)
    while not complete() and not exchange.pacer.interrupted:
        known = len(keys)
        exchange.pacer.pause(round(verb.timeout * SAMPLE_RATE), lambda known=known: len(keys) > known)  # type: ignore[misc]
        if len(keys) == known:
            break
    digits = "".join(keys).partition(verb.finish_on_key)[0] if verb.finish_on_key else "".join(keys)
    if not digits and not verb.on_empty:
        return None
    return exchange.after(verb.action or base, verb.method, base, {"Digits": digits[: verb.digits]})
