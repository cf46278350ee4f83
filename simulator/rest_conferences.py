"""Conferences and their Participants in the REST stand-in.

Source: Twilio's Python SDK, `rest/api/v2010/account/conference`. Runs in the threads of the server.
"""

from xml.sax.saxutils import escape, quoteattr

from simulator import rest_calls
from simulator.conference import CONFERENCE_EVENTS, Conference, Participant
from simulator.document import Document
from simulator.network import PhoneNetwork
from simulator.rest_form import Form, RestError, not_found
from simulator.twiml_verbs import Conference as Noun


def list_all(network: PhoneNetwork, form: Form) -> list[dict[str, object]]:
    """The newest first."""
    name, status = form.optional("FriendlyName"), form.optional("Status")
    return [
        conference_json(network, each)
        for each in reversed(list(network.conferences.values()))
        if name in (None, each.name) and status in (None, each.status)
    ]


def fetch(network: PhoneNetwork, sid: str) -> dict[str, object]:
    return conference_json(network, _conference(network, sid))


def update(network: PhoneNetwork, sid: str, form: Form) -> dict[str, object]:
    """End a conference: all that are in it go on with their TwiML."""
    conference = _conference(network, sid)
    if form.optional("Status") == "completed":
        conference.end()
    return conference_json(network, conference)


def list_participants(network: PhoneNetwork, sid: str, form: Form) -> list[dict[str, object]]:
    """Those that are in the conference, or called for it."""
    conference = _conference(network, sid)
    muted, hold = (form.flag(name, False) if name in form else None for name in ("Muted", "Hold"))
    return [
        participant_json(conference, each)
        for each in list(conference.participants.values())
        if not each.left and not each.call.over
        if muted in (None, each.muted) and hold in (None, each.hold)
    ]


def create_participant(network: PhoneNetwork, name: str, form: Form) -> dict[str, object]:
    """Call a number into the conference of that name or identifier, which begins to exist if need be."""
    if name.startswith("CF") and len(name) == 34:
        _conference(network, name)
    label = form.optional("Label")
    start, end, muted = (
        form.flag("StartConferenceOnEnter", True),
        form.flag("EndConferenceOnExit", False),
        form.flag("Muted", False),
    )
    callback = form.callback("ConferenceStatusCallback", (), CONFERENCE_EVENTS, 21626)
    attributes = {"startConferenceOnEnter": str(start).lower(), "endConferenceOnExit": str(end).lower()}
    attributes["muted"] = str(muted).lower()
    if label is not None:
        attributes["participantLabel"] = label
    if callback is not None:
        attributes["statusCallback"] = callback.url
        attributes["statusCallbackMethod"] = callback.method
        attributes["statusCallbackEvent"] = " ".join(callback.events)
    written = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    conference = network.conference(name)
    twiml = f"<Response><Dial><Conference {written}>{escape(conference.name)}</Conference></Dial></Response>"
    order = rest_calls.order(network, form, Document(twiml.encode(), network.document_url))
    if label is not None and any(
        _here(each) and each.label == label for each in conference.participants.values()
    ):
        raise RestError(400, 16025, f"the label {label!r} is taken")
    noun = Noun(conference.name, start, end, muted, label, callback)
    phone = network.place(order, lambda call: conference.expect(call, noun))
    return participant_json(conference, conference.participants[phone.call_sid])


def fetch_participant(network: PhoneNetwork, sid: str, who: str) -> dict[str, object]:
    conference = _conference(network, sid)
    return participant_json(conference, _participant(conference, who))


def update_participant(network: PhoneNetwork, sid: str, who: str, form: Form) -> dict[str, object]:
    """Mute and hold."""
    conference = _conference(network, sid)
    participant = _participant(conference, who)
    conference.change(
        participant,
        muted=form.flag("Muted", False) if "Muted" in form else None,
        hold=form.flag("Hold", False) if "Hold" in form else None,
    )
    if "EndConferenceOnExit" in form:
        participant.end_on_exit = form.flag("EndConferenceOnExit", False)
    return participant_json(conference, participant)


def delete_participant(network: PhoneNetwork, sid: str, who: str) -> None:
    """Put somebody out: the call goes on with its TwiML, and one that still rings is given up."""
    participant = _participant(_conference(network, sid), who)
    participant.kicked = True
    if participant.member is None:
        network.handset(participant.call.sid).complete()


def conference_json(network: PhoneNetwork, conference: Conference) -> dict[str, object]:
    uri = f"/2010-04-01/Accounts/{network.account_sid}/Conferences/{conference.sid}"
    return {
        "sid": conference.sid,
        "account_sid": network.account_sid,
        "friendly_name": conference.name,
        "status": conference.status,
        "region": "us1",
        "reason_conference_ended": conference.ended_because,
        "call_sid_ending_conference": conference.ended_by,
        "date_created": rest_calls.date(conference.created),
        "date_updated": rest_calls.date(conference.updated),
        "api_version": "2010-04-01",
        "uri": f"{uri}.json",
        "subresource_uris": {"participants": f"{uri}/Participants.json"},
    }


def participant_json(conference: Conference, participant: Participant) -> dict[str, object]:
    call = participant.call
    return {
        "account_sid": call.account_sid,
        "call_sid": call.sid,
        "conference_sid": conference.sid,
        "label": participant.label,
        "muted": participant.muted,
        "hold": participant.hold,
        "coaching": False,
        "call_sid_to_coach": None,
        "status": participant.status,
        "start_conference_on_enter": participant.start_on_enter,
        "end_conference_on_exit": participant.end_on_exit,
        "queue_time": "0",
        "date_created": rest_calls.date(participant.created),
        "date_updated": rest_calls.date(participant.created),
        "uri": f"/2010-04-01/Accounts/{call.account_sid}/Conferences/{conference.sid}/Participants/{call.sid}.json",
    }


def _conference(network: PhoneNetwork, sid: str) -> Conference:
    if sid not in network.conferences:
        raise not_found(f"/Conferences/{sid}.json")
    return network.conferences[sid]


def _here(participant: Participant) -> bool:
    return not participant.left and not participant.call.over


def _participant(conference: Conference, who: str) -> Participant:
    for participant in list(conference.participants.values()):
        if who in (participant.call.sid, participant.label) and _here(participant):
            return participant
    raise not_found(f"/Conferences/{conference.sid}/Participants/{who}.json")
