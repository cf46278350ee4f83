"""The Calls resource of the REST stand-in. Source: twilio-media-streams.md, 10.1 to 10.4, and Twilio's Python SDK.

Runs in the threads of the server. A call that is over is still fetched and listed, and no longer updated.
"""

from datetime import datetime
from email.utils import format_datetime

from simulator.call_record import CALL_EVENTS, CallRecord
from simulator.callee import DetectionMode
from simulator.document import Document
from simulator.network import PhoneNetwork
from simulator.order import Detection, Order
from simulator.rest_form import Form, RestError, not_found
from simulator.twiml_verbs import Redirect, StatusCallback

LONGEST_TWIML = 4000
LONGEST_SEND_DIGITS = 32

_SEND_DIGITS = frozenset("0123456789*#wWABCD")
_COMPLETED = ("completed",)


def create(network: PhoneNetwork, form: Form) -> dict[str, object]:
    return call_json(network, network.place(order(network, form)).call)


def order(network: PhoneNetwork, form: Form, document: Document | None = None) -> Order:
    """The call that a form asks for. `document` takes the place of its Url and Twiml. Raises RestError."""
    to, caller_id = form.required("To", 21201), form.required("From", 21213)
    if not network.valid(to):
        raise RestError(400, 21211, f"The phone number you are attempting to call, {to}, is not valid.")
    if not network.valid(caller_id):
        raise RestError(400, 21212, f"The 'From' number {caller_id} is not valid.")
    if network.numbers and not any(each.number == caller_id for each in network.numbers.values()):
        raise RestError(400, 21210, f"The source phone number {caller_id} is not of this account.")
    if any(to.startswith(beginning) for beginning in network.forbidden):
        raise RestError(
            400,
            21215,
            f"Account not authorized to call {to}. Perhaps you need to enable some international permissions",
        )
    redirect = None
    if document is None:
        redirect, document = _what_to_run(network, form)
    send_digits = form.text("SendDigits")
    if len(send_digits) > LONGEST_SEND_DIGITS or not _SEND_DIGITS.issuperset(send_digits):
        raise RestError(400, 21502, f"SendDigits is at most {LONGEST_SEND_DIGITS} of 0-9 * # w W")
    return Order(
        to,
        caller_id,
        document,
        redirect,
        timeout_s=form.number("Timeout", 60, 21208, (1, 600)),
        time_limit_s=form.number("TimeLimit", 14400, 20001, (1, 86400)) if "TimeLimit" in form else None,
        send_digits=send_digits,
        detection=None if send_digits else _detection(form),
        callback=form.callback("StatusCallback", _COMPLETED, CALL_EVENTS, 21626),
        fallback_url=form.optional("FallbackUrl"),
    )


def fetch(network: PhoneNetwork, sid: str) -> dict[str, object]:
    return call_json(network, record(network, sid))


def list_all(network: PhoneNetwork, form: Form) -> list[dict[str, object]]:
    """The newest first."""
    found = reversed(list(network.calls.values()))
    wanted = {
        "to": form.optional("To"),
        "caller_id": form.optional("From"),
        "status": form.optional("Status"),
        "parent_sid": form.optional("ParentCallSid"),
    }
    return [
        call_json(network, call)
        for call in found
        if all(value is None or getattr(call, name) == value for name, value in wanted.items())
    ]


def update(network: PhoneNetwork, sid: str, form: Form) -> dict[str, object]:
    """Redirect or end a call. 20404 for one that is over, 21220 for one that is not in progress yet."""
    call = record(network, sid)
    if call.over:
        raise not_found(f"/Calls/{sid}.json (the call is over)")
    handset = network.handset(sid)
    status = form.optional("Status")
    if status not in (None, "completed", "canceled"):
        raise RestError(400, 21218, f"Status is completed or canceled, not {status!r}")
    if (callback := form.callback("StatusCallback", _COMPLETED, CALL_EVENTS, 21626)) is not None:
        call.callback = StatusCallback(callback.url, callback.method, callback.events)
    if "TimeLimit" in form:
        handset.limit(form.number("TimeLimit", 14400, 20001, (1, 86400)))
    if status == "completed" or (status == "canceled" and call.status != "in-progress"):
        handset.complete()
    elif "Url" in form or "Twiml" in form:
        if call.status != "in-progress":
            raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
        redirect, document = _what_to_run(network, form)
        if redirect is not None:
            handset.redirect(redirect.url, redirect.method)
        elif document is not None:
            handset.update(document.body.decode())
    return call_json(network, call)


def delete(network: PhoneNetwork, sid: str) -> None:
    """Forget a call that is over."""
    if not record(network, sid).over:
        raise RestError(400, 20409, "a call in progress cannot be deleted")
    network.calls.pop(sid, None)


def record(network: PhoneNetwork, sid: str) -> CallRecord:
    """Raises RestError 20404."""
    call = network.calls.get(sid)
    if call is None:
        raise not_found(f"/Calls/{sid}.json")
    return call


def call_json(network: PhoneNetwork, call: CallRecord) -> dict[str, object]:
    uri = f"/2010-04-01/Accounts/{call.account_sid}/Calls/{call.sid}"
    return {
        "sid": call.sid,
        "account_sid": call.account_sid,
        "parent_call_sid": call.parent_sid,
        "to": call.to,
        "to_formatted": call.to,
        "from": call.caller_id,
        "from_formatted": call.caller_id,
        "phone_number_sid": next(
            (n.sid for n in network.numbers.values() if n.number in (call.to, call.caller_id)), ""
        ),
        "status": call.status,
        "direction": call.direction,
        "answered_by": call.answered_by,
        "start_time": date(call.started),
        "end_time": date(call.ended),
        "duration": str(call.seconds) if call.over else None,
        "date_created": date(call.created),
        "date_updated": date(call.ended or call.started or call.created),
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "api_version": "2010-04-01",
        "uri": f"{uri}.json",
        "subresource_uris": {"recordings": f"{uri}/Recordings.json"},
    }


def date(moment: datetime | None) -> str | None:
    """As in Twilio's 2010 API: RFC 2822."""
    return None if moment is None else format_datetime(moment)


def _what_to_run(network: PhoneNetwork, form: Form) -> tuple[Redirect | None, Document | None]:
    if url := form.optional("Url"):  # Twiml beside it is ignored
        return Redirect(url, form.method("Method")), None
    if twiml := form.optional("Twiml"):
        if len(twiml) > LONGEST_TWIML:
            raise RestError(400, 21217, f"Twiml has {len(twiml)} characters; it has at most {LONGEST_TWIML}")
        return None, Document(twiml.encode(), network.document_url)
    raise RestError(400, 21205, "Url parameter is required: there is neither Url nor Twiml")


def _detection(form: Form) -> Detection | None:
    mode: DetectionMode
    match form.text("MachineDetection"):
        case "" | "false":
            return None
        case "Enable" | "true":
            mode = "Enable"
        case "DetectMessageEnd":
            mode = "DetectMessageEnd"
        case other:
            raise RestError(400, 21263, f"MachineDetection is Enable or DetectMessageEnd, not {other!r}")
    timeout = form.number("MachineDetectionTimeout", 30, 21263, (3, 59))
    if not form.flag("AsyncAmd", False):
        return Detection(mode, timeout)
    callback = form.callback("AsyncAmdStatusCallback", (), (), 21262)
    if callback is None:
        raise RestError(400, 21262, "AsyncAmd needs an AsyncAmdStatusCallback")
    return Detection(mode, timeout, callback)
