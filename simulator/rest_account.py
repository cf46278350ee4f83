"""The Account, IncomingPhoneNumbers and Recordings resources of the REST stand-in, as far as Switchboard needs them.

Source: Twilio's Python SDK, `rest/api/v2010/account`. Runs in the threads of the server.
"""

from simulator.network import PhoneNetwork
from simulator.owned_number import OwnedNumber
from simulator.recording_store import KeptRecording
from simulator.rest_calls import date
from simulator.rest_form import Form, not_found


def account_json(network: PhoneNetwork) -> dict[str, object]:
    return {
        "sid": network.account_sid,
        "owner_account_sid": network.account_sid,
        "friendly_name": "simulated",
        "status": "active",
        "type": "Full",
        "uri": f"/2010-04-01/Accounts/{network.account_sid}.json",
    }


def list_numbers(network: PhoneNetwork, form: Form) -> list[dict[str, object]]:
    """All, or those that contain the digits of PhoneNumber."""
    wanted = form.text("PhoneNumber")
    return [number_json(network, each) for each in list(network.numbers.values()) if wanted in each.number]


def fetch_number(network: PhoneNetwork, sid: str) -> dict[str, object]:
    return number_json(network, _number(network, sid))


def update_number(network: PhoneNetwork, sid: str, form: Form) -> dict[str, object]:
    number = _number(network, sid)
    for name in ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback", "FriendlyName"):
        if name in form:
            setattr(number, _attribute(name), form.text(name))
    for name in ("VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod"):
        if name in form:
            setattr(number, _attribute(name), form.method(name))
    return number_json(network, number)


def number_json(network: PhoneNetwork, number: OwnedNumber) -> dict[str, object]:
    return {
        "sid": number.sid,
        "account_sid": network.account_sid,
        "phone_number": number.number,
        "friendly_name": number.friendly_name or number.number,
        "voice_url": number.voice_url,
        "voice_method": number.voice_method,
        "voice_fallback_url": number.voice_fallback_url,
        "voice_fallback_method": number.voice_fallback_method,
        "status_callback": number.status_callback,
        "status_callback_method": number.status_callback_method,
        "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
        "api_version": "2010-04-01",
        "uri": f"/2010-04-01/Accounts/{network.account_sid}/IncomingPhoneNumbers/{number.sid}.json",
    }


def list_recordings(network: PhoneNetwork, form: Form) -> list[dict[str, object]]:
    call_sid = form.optional("CallSid")
    return [
        recording_json(network, each)
        for each in reversed(list(network.recordings.values()))
        if call_sid in (None, each.call_sid)
    ]


def fetch_recording(network: PhoneNetwork, sid: str) -> dict[str, object]:
    return recording_json(network, recording(network, sid))


def delete_recording(network: PhoneNetwork, sid: str) -> None:
    recording(network, sid)
    network.recordings.pop(sid, None)


def recording(network: PhoneNetwork, sid: str) -> KeptRecording:
    """Raises RestError 20404."""
    kept = network.recordings.get(sid)
    if kept is None:
        raise not_found(f"/Recordings/{sid}")
    return kept


def recording_json(network: PhoneNetwork, kept: KeptRecording) -> dict[str, object]:
    return {
        "sid": kept.sid,
        "account_sid": network.account_sid,
        "call_sid": kept.call_sid,
        "duration": str(kept.seconds),
        "channels": 1,
        "source": "RecordVerb",
        "status": "completed",
        "date_created": date(kept.created),
        "date_updated": date(kept.created),
        "start_time": date(kept.created),
        "price": None,
        "price_unit": "USD",
        "api_version": "2010-04-01",
        "media_url": network.recording_url(kept),
        "uri": f"/2010-04-01/Accounts/{network.account_sid}/Recordings/{kept.sid}.json",
    }


def _number(network: PhoneNetwork, sid: str) -> OwnedNumber:
    if sid not in network.numbers:
        raise not_found(f"/IncomingPhoneNumbers/{sid}.json")
    return network.numbers[sid]


def _attribute(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
