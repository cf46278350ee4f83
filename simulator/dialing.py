"""The Dial verb: another phone, or a conference. Runs in the thread of the call that dials.

Source: Twilio, "TwiML Dial". As with Connect, `action` is asked for also when the caller has hung up.
"""

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from simulator.bridge import Room
from simulator.order import Order
from simulator.phone_events import Dialed, EndReason
from simulator.twiml_verbs import Conference, Dial, StatusCallback
from wire.g711 import SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.document import Document
    from simulator.exchange import Exchange
    from simulator.network import PhoneNetwork

BAD_NUMBER = 13223
"""Twilio's error: Dial: Invalid phone number format."""


def dial(
    exchange: "Exchange", network: "PhoneNetwork", verb: Dial, base: str
) -> "Document | EndReason | None":
    """Let the call talk to whom it dials until either leaves. None is the next verb."""
    if verb.conference is not None:
        return _confer(exchange, network, verb, verb.conference, base)
    exchange.emit(Dialed(exchange.at(), verb.number))
    if not network.valid(verb.number):
        exchange.report(BAD_NUMBER, f"<Dial>{verb.number}</Dial> is no number as +15550100009")
        return exchange.after(verb.action, verb.method, base, {"DialCallStatus": "failed"})
    room = Room()
    member = room.enter(exchange.line.origin)
    order = Order(
        verb.number,
        verb.caller_id or exchange.fields["From"],
        room=room,
        parent_sid=exchange.fields["CallSid"],
        timeout_s=verb.timeout,
        send_digits=verb.send_digits,
        callback=_absolute(verb.callback, base),
    )
    child = network.place(order)
    answered = False
    try:
        exchange.pacer.wait(lambda: len(room) > 1 or child.call.over)
        answered = len(room) > 1
        if answered:
            limit = None if verb.time_limit is None else round(verb.time_limit * SAMPLE_RATE)
            exchange.talk(member, verb.number, lambda: len(room) < 2, limit)
    finally:
        room.close()
        if not answered:
            child.cancel()
    told = {
        "DialCallSid": child.call_sid,
        "DialCallStatus": "completed" if answered else _status(child.call.status),
    }
    if answered:
        told["DialCallDuration"] = str(child.call.seconds)
    return exchange.after(verb.action, verb.method, base, told)


def _status(status: str) -> str:
    # Whoever still rings here was given up by the caller.
    return status if status in ("busy", "no-answer", "failed") else "canceled"


def _confer(
    exchange: "Exchange", network: "PhoneNetwork", verb: Dial, noun: Conference, base: str
) -> "Document | EndReason | None":
    noun = replace(noun, callback=_absolute(noun.callback, base))
    call = network.calls[exchange.fields["CallSid"]]
    while True:
        conference = network.conference(noun.name)
        participant = conference.join(call, exchange.line.origin, noun)
        if participant is not None:
            break
    member = participant.member
    assert member is not None
    limit = None if verb.time_limit is None else round(verb.time_limit * SAMPLE_RATE)
    try:
        exchange.talk(member, noun.name, lambda: conference.room.closed or participant.kicked, limit)
    finally:
        conference.leave(participant)
    return exchange.after(verb.action, verb.method, base, {"DialCallStatus": "answered"})


def _absolute(callback: StatusCallback | None, base: str) -> StatusCallback | None:
    return None if callback is None else replace(callback, url=urljoin(base, callback.url))
