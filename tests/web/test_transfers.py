"""Where Twilio takes a call that leaves its stream on purpose: to somebody else, to a room, or past some keys."""

import threading
import xml.etree.ElementTree as ElementTree

import pytest

from actors.carrier import CarrierError
from actors.messages import ConsultAccepted, ConsultEnded
from actors.orders import decode
from store.database import Database
from store.journal import CallJournal
from store.tokens import MAX_PLANNED, RESUMES_AT_ONCE
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS
from tests.web.test_voice import (
    CALL,
    CALLED,
    CALLER,
    PUBLIC,
    Server,
    ask,
    began,
    calls,
    database,
    journal,
    stream,
    twilio,
    verbs,
)
from web.calls import Calls
from web.twiml import SUMMARY_LIMIT, Documents
from wire.journal import Then

__all__ = ["calls", "database", "journal"]

PERSON = "+15550100009"
ROOM = f"consult-{'0' * 32}"
LEG = "CA" + "f" * 32
TELEPHONY = {"transfer": {"workshop": {"number": PERSON, "ring_seconds": 33}}}


class FakeCarrier:
    """Knows which calls it was told to end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.over: set[str] = set()
        self.refusal: CarrierError | None = None
        self.answers = threading.Event()
        self.answers.set()

    def is_over(self, call_sid: str) -> bool:
        self.answers.wait(PATIENCE_SECONDS)
        if self.refusal is not None:
            raise self.refusal
        return call_sid in self.over

    def hang_up(self, call_sid: str) -> bool:
        self.ended.append(call_sid)
        if self.refusal is not None:
            raise self.refusal
        return True


@pytest.fixture
def carrier() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
def server(database: Database, journal: CallJournal, calls: Calls, carrier: FakeCarrier) -> Server:
    made = Server(database, journal, calls, carrier=carrier, telephony=TELEPHONY)  # type: ignore[arg-type]
    stream(made, twilio(made.client, "/twiml")[1])
    began(journal)
    return made


def left(journal: CallJournal, then: Then, detail: str) -> None:
    journal.ended(CALL, "transferred", then, detail)
    assert journal.flush(20)


def only(text: str) -> ElementTree.Element:
    [verb] = ElementTree.fromstring(text)
    return verb


def test_a_transferred_caller_is_dialled_through(server: Server, journal: CallJournal) -> None:
    left(journal, Then.TRANSFER, PERSON)
    dial = only(ask(server.client))
    assert dial.tag == "Dial"
    assert dial.text == PERSON
    assert dial.attrib == {
        "action": f"{PUBLIC}/twiml/transferred?stream=1",
        "callerId": CALLED,
        "method": "POST",
        "timeout": "33",
    }


@pytest.mark.parametrize("status", ["completed", "answered"])
def test_after_a_transfer_that_was_taken_the_call_is_over(
    server: Server, journal: CallJournal, status: str
) -> None:
    left(journal, Then.TRANSFER, PERSON)
    _, text = twilio(
        server.client, "/twiml/transferred?stream=1", DialCallStatus=status, CallStatus="in-progress"
    )
    assert verbs(text) == ["Hangup"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_after_a_transfer_that_nobody_took_the_caller_is_with_the_assistant_again(
    server: Server, journal: CallJournal, status: str
) -> None:
    left(journal, Then.TRANSFER, PERSON)
    _, text = twilio(
        server.client, "/twiml/transferred?stream=1", DialCallStatus=status, CallStatus="in-progress"
    )
    assert stream(server, text) == 2


def test_who_hangs_up_during_a_transfer_is_not_called_back_into_it(
    server: Server, journal: CallJournal
) -> None:
    left(journal, Then.TRANSFER, PERSON)
    _, text = twilio(
        server.client, "/twiml/transferred?stream=1", DialCallStatus="busy", CallStatus="completed"
    )
    assert verbs(text) == ["Hangup"]


def filed(journal: CallJournal) -> tuple[str, float | None]:
    """The call's outcome, and when it ended."""
    stored = journal.load(CALL)
    assert stored is not None
    return stored.outcome, stored.ended_at


@pytest.mark.parametrize(("then", "detail"), [(Then.TRANSFER, PERSON), (Then.JOIN, f"{ROOM} {LEG}")])
def test_a_call_that_was_put_through_stays_filed_as_transferred_when_it_is_over(
    server: Server, journal: CallJournal, carrier: FakeCarrier, then: Then, detail: str
) -> None:
    """What the two said to each other is no part of it, as with calls that we have placed."""
    left(journal, then, detail)
    before = filed(journal)
    assert verbs(ask(server.client)) == ["Dial"]
    twilio(server.client, "/twiml/transferred?stream=1", DialCallStatus="completed", CallStatus="completed")
    assert verbs(twilio(server.client, "/twiml/ended", CallStatus="completed")[1]) == []
    assert filed(journal) == before == ("transferred", before[1])
    assert carrier.ended == ([LEG] if then is Then.JOIN else [])


@pytest.mark.parametrize(
    "paths", [["/twiml/ended?stream=1", "/twiml/ended"], ["/twiml/ended", "/twiml/ended?stream=1"]]
)
def test_who_hangs_up_before_they_are_put_through_is_filed_as_such_in_whatever_order_that_is_told(
    server: Server, journal: CallJournal, paths: list[str]
) -> None:
    left(journal, Then.TRANSFER, PERSON)
    for each in paths:
        assert verbs(twilio(server.client, each, CallStatus="completed")[1]) == []
    assert filed(journal)[0] == "hung_up"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("canceled", "hung_up"),
        ("no-answer", "hung_up"),
        ("answered", "transferred"),
        ("absent", "transferred"),
    ],
)
def test_who_gives_up_while_it_rings_was_not_transferred(
    server: Server, journal: CallJournal, status: str, outcome: str
) -> None:
    left(journal, Then.TRANSFER, PERSON)
    ask(server.client)
    twilio(server.client, "/twiml/ended", CallStatus="completed")
    asked = {"DialCallStatus": status, "CallStatus": "completed"}
    assert verbs(twilio(server.client, "/twiml/transferred?stream=1", **asked)[1]) == ["Hangup"]
    assert filed(journal)[0] == outcome


def test_a_caller_who_gives_up_while_the_database_is_gone_gets_no_error(
    server: Server, journal: CallJournal, database: Database, logs: ExpectedLogs
) -> None:
    logs.expect("stays filed as transferred: database .*no such table")
    left(journal, Then.TRANSFER, PERSON)
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE calls")
    asked = {"DialCallStatus": "canceled", "CallStatus": "completed"}
    assert verbs(twilio(server.client, "/twiml/transferred?stream=1", **asked)[1]) == ["Hangup"]


def test_keys_are_pressed_and_the_conversation_goes_on_behind_them(
    server: Server, journal: CallJournal
) -> None:
    left(journal, Then.SEND_DIGITS, "1w23#")
    text = ask(server.client)
    assert verbs(text) == ["Play", "Connect", "Say", "Hangup"]
    assert ElementTree.fromstring(text)[0].attrib == {"digits": "1w23#"}
    assert stream(server, text) == 2


def test_a_call_that_presses_many_keys_is_still_resumed_when_its_process_dies(
    server: Server, journal: CallJournal
) -> None:
    for number in range(1, 12):
        left(journal, Then.SEND_DIGITS, "1")
        assert stream(server, ask(server.client, number)) == number + 1
        began(journal)
    for number in range(12, 12 + RESUMES_AT_ONCE):
        assert stream(server, ask(server.client, number)) == number + 1


def test_a_call_that_presses_keys_without_end_gets_the_fallback(
    server: Server, journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect("resumed too often")
    for number in range(1, MAX_PLANNED + 1):
        left(journal, Then.SEND_DIGITS, "1")
        stream(server, ask(server.client, number))
    left(journal, Then.SEND_DIGITS, "1")
    assert verbs(ask(server.client, MAX_PLANNED + 1)) == ["Say", "Hangup"]


@pytest.mark.parametrize(
    ("then", "detail"),
    [(Then.SEND_DIGITS, "1w23#"), (Then.TRANSFER, PERSON), (Then.JOIN, f"{ROOM} {LEG}")],
)
def test_what_a_stream_was_left_for_is_not_done_again_behind_one_that_did_not_begin(
    server: Server, journal: CallJournal, then: Then, detail: str
) -> None:
    """Keys would be pressed twice, somebody called again, the caller taken to a room where nobody waits any more."""
    left(journal, then, detail)
    ask(server.client, 1)
    if then is not Then.SEND_DIGITS:
        twilio(server.client, "/twiml/transferred?stream=1", DialCallStatus="busy", CallStatus="in-progress")
    text = ask(server.client, 2)
    assert verbs(text)[0] == "Connect"
    assert stream(server, text) == 3


@pytest.mark.parametrize(("then", "detail"), [(Then.TRANSFER, PERSON), (Then.JOIN, f"{ROOM} {LEG}")])
def test_a_server_that_ends_does_not_have_a_transfer_made_again(
    server: Server, journal: CallJournal, calls: Calls, then: Then, detail: str
) -> None:
    left(journal, then, detail)
    calls.drain(0)
    _, text = twilio(
        server.client, "/twiml/transferred?stream=1", DialCallStatus="no-answer", CallStatus="in-progress"
    )
    again = only(text)
    assert (again.tag, again.text) == ("Redirect", f"{PUBLIC}/twiml/transferred?stream=1&waits=1")


def test_who_was_sent_elsewhere_behind_a_transfer_goes_on_there(server: Server, journal: CallJournal) -> None:
    """A redirect tells nothing of what became of the transfer."""
    left(journal, Then.TRANSFER, PERSON)
    _, text = twilio(server.client, "/twiml/transferred?stream=1&waits=1", CallStatus="in-progress")
    assert stream(server, text) == 2


# Warm transfers


def test_the_caller_meets_who_waits_in_the_room_and_either_of_them_ends_it(
    server: Server, journal: CallJournal
) -> None:
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    dial = only(ask(server.client))
    assert dial.attrib == {"action": f"{PUBLIC}/twiml/transferred?stream=1", "method": "POST"}
    [conference] = dial
    assert conference.text == ROOM
    assert conference.attrib == {
        "beep": "false",
        "endConferenceOnExit": "true",
        "startConferenceOnEnter": "true",
    }


def test_a_caller_is_not_taken_to_a_room_that_has_been_left(
    server: Server, journal: CallJournal, carrier: FakeCarrier
) -> None:
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    carrier.over.add(LEG)
    assert stream(server, ask(server.client)) == 2


@pytest.mark.parametrize("refusal", [CarrierError("no such"), None])
def test_but_is_taken_there_where_that_cannot_be_found_out(
    server: Server,
    journal: CallJournal,
    carrier: FakeCarrier,
    logs: ExpectedLogs,
    monkeypatch: pytest.MonkeyPatch,
    refusal: CarrierError | None,
) -> None:
    logs.expect(f"whether {LEG} still waits for the caller is not known: no (such|answer)")
    monkeypatch.setattr("web.consultations.has_left.__defaults__", (0.05,))
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    carrier.refusal = refusal
    if refusal is None:
        carrier.answers.clear()
    assert verbs(ask(server.client)) == ["Dial"]
    carrier.answers.set()


def path(name: str) -> str:
    return f"/twiml/{name}?call={CALL}&room={ROOM}"


def test_who_presses_1_waits_for_the_caller_and_the_call_is_told(server: Server) -> None:
    _, text = twilio(server.client, path("consult"), CallSid=LEG, Digits="1")
    [conference] = only(text)
    assert conference.text == ROOM
    assert conference.attrib["startConferenceOnEnter"] == "false"
    [(call_sid, body)] = server.orders.take([CALL])
    assert (call_sid, decode(body)) == (CALL, ConsultAccepted(ROOM, LEG))


@pytest.mark.parametrize(
    ("query", "digits"),
    [(path("consult"), "2"), (path("consult"), ""), (f"/twiml/consult?call={CALL}&room=lobby", "1")],
)
def test_anything_else_is_a_no(server: Server, query: str, digits: str) -> None:
    _, text = twilio(server.client, query, CallSid=LEG, Digits=digits)
    assert verbs(text) == ["Say", "Hangup"]
    assert server.orders.take([CALL]) == []


@pytest.mark.parametrize("then", [Then.HANG_UP, Then.FALLBACK, Then.TRANSFER])
def test_nobody_waits_for_a_caller_who_is_gone(server: Server, journal: CallJournal, then: Then) -> None:
    """Its process may have died while it rang there, and nobody knows of that call to end it."""
    left(journal, then, "")
    _, text = twilio(server.client, path("consult"), CallSid=LEG, Digits="1")
    assert verbs(text) == ["Say", "Hangup"]
    unknown = path("consult").replace(CALL, f"CA{'9' * 32}")
    _, text = twilio(server.client, unknown, CallSid=LEG, Digits="1")
    assert verbs(text) == ["Say", "Hangup"]


def test_a_key_that_twilio_tells_of_twice_sends_nobody_away_whom_the_caller_is_coming_to(
    server: Server, journal: CallJournal
) -> None:
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    _, text = twilio(server.client, path("consult"), CallSid=LEG, Digits="1")
    assert only(text).tag == "Dial"


def test_the_call_is_told_of_the_end_of_the_other_and_not_of_its_ringing(server: Server) -> None:
    twilio(server.client, path("consult-status"), CallSid=LEG, CallStatus="ringing")
    assert server.orders.take([CALL]) == []
    status, _ = twilio(server.client, path("consult-status"), CallSid=LEG, CallStatus="no-answer")
    assert status == 204
    [(_, body)] = server.orders.take([CALL])
    assert decode(body) == ConsultEnded(ROOM, "no-answer")


def test_who_waits_for_a_caller_who_has_hung_up_is_let_go(
    server: Server, journal: CallJournal, carrier: FakeCarrier
) -> None:
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    assert verbs(ask(server.client, status="completed")) == []
    assert carrier.ended == [LEG]
    assert verbs(ask(server.client, status="completed")) == []
    assert carrier.ended == [LEG], "once is enough"


def test_twilio_gets_its_answer_though_that_fails(
    server: Server, journal: CallJournal, carrier: FakeCarrier, logs: ExpectedLogs
) -> None:
    logs.expect("somebody still waits for a caller who has hung up: no such")
    carrier.refusal = CarrierError("no such")
    left(journal, Then.JOIN, f"{ROOM} {LEG}")
    assert verbs(ask(server.client, status="completed")) == []


def test_somebody_is_told_who_is_on_the_line_and_asked_twice(server: Server) -> None:
    documents = Documents(server.assistant, PUBLIC, CALLER, CALLED)
    text = documents.consult(CALL, ROOM, "Wants <a bicycle> & more.")
    assert verbs(text) == ["Gather", "Gather", "Say", "Hangup"]
    gather = ElementTree.fromstring(text)[0]
    assert gather.attrib["action"] == f"{PUBLIC}{path('consult')}"
    assert gather[0].text == (
        f"You have a call from {' '.join(CALLER)}. Wants <a bicycle> & more. Press 1 to take the call."
    )
    withheld = Documents(server.assistant, PUBLIC, "anonymous", CALLED).consult(CALL, ROOM, "~" * 5000)
    assert "anonymous" not in withheld
    assert withheld.count("~") == 2 * SUMMARY_LIMIT
    assert len(withheld) < 4000
    assert len(Documents(server.assistant, PUBLIC, CALLER, CALLED).consult(CALL, ROOM, "&" * 5000)) < 4000, (
        "or the person would not be called at all"
    )
