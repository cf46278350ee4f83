"""What Twilio asks and tells about calls that we have placed."""

import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.carrier import CarrierError
from store.database import StoreError
from store.history import History
from tests.conftest import ExpectedLogs
from tests.probe import wait_until
from tests.web.conftest import Line
from tests.web.outbound_parts import CALL, OTHER_CALL, OURS, PERSON, PUBLIC, OutboundServer, outbound_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OutboundServer]:
    with outbound_server(tmp_path) as server:
        yield server


def urls(server: OutboundServer) -> dict[str, str]:
    placed = server.carrier.placed[-1]
    return {
        "answer": placed["url"],
        "status": placed["status_callback"],
        "verdict": placed["machine_detection"].callback,
    }


def parameters(document: str) -> dict[str, str]:
    return {
        each.attrib["name"]: each.attrib["value"]
        for each in ElementTree.fromstring(document).iter("Parameter")
    }


def verbs(document: str) -> list[str]:
    return [verb.tag for verb in ElementTree.fromstring(document)]


def test_who_answers_gets_a_stream_that_says_whose_call_it_is(server: OutboundServer) -> None:
    call = server.place()
    status, document = server.twilio(urls(server)["answer"], CallStatus="in-progress")
    assert status == 200
    assert verbs(document)[0] == "Connect"
    told = parameters(document)
    assert (told["from"], told["to"], told["direction"]) == (OURS, PERSON, "outbound")
    assert server.carrier.token not in document
    assert server.ask("GET", f"/calls/{call['id']}")[1]["status"] == "in-progress"


def test_a_webhook_that_is_replayed_opens_nothing(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect(f"call {CALL} is hung up, it has had its stream")
    logs.expect(f"call {OTHER_CALL} is hung up: it was not placed with this token")
    server.place()
    answer = urls(server)["answer"]
    token = parameters(server.twilio(answer)[1])["token"]
    assert server.tokens.spend(token, CALL) == 1
    assert verbs(server.twilio(answer)[1]) == ["Hangup"]
    assert verbs(server.twilio(answer, CallSid=OTHER_CALL)[1]) == ["Hangup"]


def test_a_call_whose_stream_and_question_went_to_a_dead_machine_goes_on(
    server: OutboundServer, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} did not get the answer of /twiml/ended")
    server.place()
    answer = urls(server)["answer"]
    server.tokens.spend(parameters(server.twilio(answer)[1])["token"], CALL)
    asked = f"{PUBLIC}/twiml/ended?stream=1"
    _, text = server.twilio(answer, CallStatus="in-progress", ErrorCode="11200", ErrorUrl=asked)
    told = parameters(text)
    assert (told["resumed"], told["direction"]) == ("1", "outbound")
    assert server.tokens.spend(told["token"], CALL) == 2


@pytest.mark.parametrize("asked", ["/twiml/recorded", "/twiml/dialed?dial=x"])
def test_who_holds_a_telephone_when_something_fails_is_not_hung_up_without_a_word(
    server: OutboundServer, logs: ExpectedLogs, asked: str
) -> None:
    logs.expect(f"call {CALL} gets the fallback, it has had its stream")
    server.place()
    answer = urls(server)["answer"]
    server.tokens.spend(parameters(server.twilio(answer)[1])["token"], CALL)
    failed = {"CallStatus": "in-progress", "ErrorCode": "11200", "ErrorUrl": PUBLIC + asked}
    assert verbs(server.twilio(answer, **failed)[1]) == ["Say", "Hangup"]


def test_a_first_answer_that_was_lost_is_given_again(server: OutboundServer) -> None:
    server.place()
    answer = urls(server)["answer"]
    server.twilio(answer)
    _, text = server.twilio(answer, ErrorCode="11200", ErrorUrl=answer)
    assert server.tokens.spend(parameters(text)["token"], CALL) == 1


@pytest.mark.parametrize("query", ["", "?dial=", "?dial=nonsense"])
def test_a_call_that_was_not_placed_gets_no_stream(
    server: OutboundServer, logs: ExpectedLogs, query: str
) -> None:
    logs.expect("is hung up: it was not placed with this token")
    assert verbs(server.twilio(f"{PUBLIC}/twiml/dialed{query}")[1]) == ["Hangup"]


def test_what_is_told_of_a_call_that_was_not_placed_is_not_heard(
    server: OutboundServer, logs: ExpectedLogs
) -> None:
    logs.expect(f"what is told of call {CALL} is not heard")
    assert server.twilio(f"{PUBLIC}/twiml/call-status?dial=x", CallStatus="completed")[0] == 204
    assert server.twilio(f"{PUBLIC}/twiml/answered-by?dial=x", AnsweredBy="human")[0] == 204
    assert History(server.database).latest(10) == []
    assert server.orders.take([CALL]) == []


def test_a_call_that_expired_while_it_rang_is_hung_up(server: OutboundServer) -> None:
    server.place()
    server.twilio(urls(server)["status"], CallStatus="canceled")
    assert verbs(server.twilio(urls(server)["answer"])[1]) == ["Hangup"]


def test_a_call_that_nobody_wants_any_more_is_hung_up_when_it_is_answered(server: OutboundServer) -> None:
    call = server.place()
    server.ask("DELETE", f"/calls/{call['id']}")
    assert verbs(server.twilio(urls(server)["answer"])[1]) == ["Hangup"]


def given_up_unplaced(server: OutboundServer, logs: ExpectedLogs) -> str:
    """The status URL of a call that was given up before anybody knew its CallSid."""
    logs.expect("call .* is not placed: no answer")
    server.carrier.trouble = CarrierError("no answer")
    status, answer = server.ask("POST", body={"to": PERSON})
    assert (status, answer["call"]["call_sid"]) == (504, None)
    assert server.ask("DELETE", f"/calls/{answer['call']['id']}")[0] == 202
    assert server.carrier.ended == []
    server.carrier.trouble = None
    return urls(server)["status"]


@pytest.mark.parametrize("status", ["initiated", "ringing", "in-progress"])
def test_a_call_that_was_given_up_before_its_sid_was_known_does_not_go_on_ringing(
    server: OutboundServer, logs: ExpectedLogs, status: str
) -> None:
    told = given_up_unplaced(server, logs)
    assert server.twilio(told, CallStatus=status)[0] == 204
    wait_until(lambda: server.carrier.ended == [CALL], "it is hung up")


def test_twilio_is_answered_before_it_has_hung_up(server: OutboundServer, logs: ExpectedLogs) -> None:
    told = given_up_unplaced(server, logs)
    answered = server.carrier.answers
    answered.clear()
    assert server.twilio(told, CallStatus="ringing")[0] == 204
    answered.set()
    wait_until(lambda: server.carrier.ended == [CALL], "it is hung up")


def test_what_is_told_of_a_call_that_was_given_up_is_heard_though_it_cannot_be_hung_up(
    server: OutboundServer, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} is not wanted any more, and goes on: no answer")
    told = given_up_unplaced(server, logs)
    server.carrier.trouble = CarrierError("no answer")
    assert server.twilio(told, CallStatus="initiated")[0] == 204
    wait_until(lambda: server.carrier.ended == [CALL], "that was tried")
    wait_until(lambda: not givers_up(), "and has failed")
    server.carrier.trouble = None
    assert server.twilio(told, CallStatus="ringing")[0] == 204
    wait_until(lambda: server.carrier.ended == [CALL, CALL], "it is hung up")


def test_nor_does_it_need_a_thread_to_be_heard(
    server: OutboundServer, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect(f"call {CALL} is not wanted any more, and goes on: can't start new thread")
    told = given_up_unplaced(server, logs)

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert server.twilio(told, CallStatus="ringing")[0] == 204


def givers_up() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("giving up")]


@pytest.mark.parametrize("status", ["completed", "busy", "no-answer", "failed", "canceled"])
def test_a_call_that_is_over_is_not_hung_up(server: OutboundServer, logs: ExpectedLogs, status: str) -> None:
    told = given_up_unplaced(server, logs)
    server.twilio(told, CallStatus=status)
    server.twilio(told, CallStatus="ringing")
    assert (givers_up(), server.carrier.ended) == ([], [])


def test_a_call_that_is_wanted_is_not_hung_up(server: OutboundServer) -> None:
    server.place()
    server.twilio(urls(server)["status"], CallStatus="ringing")
    assert (givers_up(), server.carrier.ended) == ([], [])


def test_a_server_that_ends_sends_the_call_on_with_its_token(server: OutboundServer) -> None:
    server.place()
    server.calls.drain(0)
    answer = urls(server)["answer"]
    document = ElementTree.fromstring(server.twilio(answer)[1])
    assert [verb.tag for verb in document] == ["Redirect"]
    again = document.findtext("Redirect") or ""
    assert sorted(again.partition("?")[2].split("&")) == [f"dial={server.carrier.token}", "waits=1"]
    assert verbs(server.twilio(again)[1]) == ["Redirect"]


def test_nobody_waits_for_another_server_for_ever(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("no server takes it but this")
    server.place()
    server.calls.drain(0)
    assert verbs(server.twilio(urls(server)["answer"] + "&waits=13")[1]) == ["Say", "Hangup"]


def test_where_the_database_is_gone_the_person_hears_the_fallback(
    server: OutboundServer, logs: ExpectedLogs
) -> None:
    logs.expect("gets the fallback: gone")
    logs.expect("what is told of call .* is lost: gone")
    server.place()
    told = urls(server)

    def gone(*_: object) -> None:
        raise StoreError("gone")

    server.dialed.claim = server.dialed.told = server.dialed.answered = gone  # type: ignore[method-assign, assignment]
    assert verbs(server.twilio(told["answer"])[1]) == ["Say", "Hangup"]
    assert server.twilio(told["status"], CallStatus="ringing")[0] == 503
    assert server.twilio(told["verdict"], AnsweredBy="human")[0] == 503


def test_the_verdict_waits_for_the_stream(server: OutboundServer) -> None:
    call = server.place()
    assert server.twilio(urls(server)["verdict"], AnsweredBy="machine_end_beep")[0] == 204
    [(call_sid, order)] = server.orders.take([CALL])
    assert (call_sid, "machine_end_beep" in order) == (CALL, True)
    assert server.ask("GET", f"/calls/{call['id']}")[1]["answered_by"] == "machine_end_beep"


def test_the_verdict_is_told_once_and_to_no_call_that_is_over(server: OutboundServer) -> None:
    server.place()
    verdict = urls(server)["verdict"]
    server.twilio(verdict, AnsweredBy="human")
    server.twilio(verdict, AnsweredBy="fax")
    assert len(server.orders.take([CALL])) == 1
    server.carrier.call_sid = OTHER_CALL
    server.place()
    status, verdict = urls(server)["status"], urls(server)["verdict"]
    server.twilio(status, CallSid=OTHER_CALL, CallStatus="completed")
    server.twilio(verdict, CallSid=OTHER_CALL, AnsweredBy="human")
    assert server.orders.take([OTHER_CALL]) == []


def test_a_verdict_that_is_none_is_not_passed_on(server: OutboundServer) -> None:
    call = server.place()
    assert server.twilio(urls(server)["verdict"], AnsweredBy="<script>")[0] == 204
    assert server.ask("GET", f"/calls/{call['id']}")[1]["answered_by"] is None


def test_a_verdict_reaches_the_call_that_lives_here(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("Unexpected message received by IdleCall .*AnsweredBy.verdict='human'")
    server.place()
    with Line(server.calls, CALL):
        assert server.twilio(urls(server)["verdict"], AnsweredBy="human")[0] == 204
        assert server.orders.take([CALL]) == [], "it went straight to the call"


def test_callbacks_that_overtake_each_other_say_how_the_call_went(server: OutboundServer) -> None:
    call = server.place()
    for number, status in enumerate(("in-progress", "initiated", "completed", "ringing")):
        assert server.twilio(urls(server)["status"], CallStatus=status, SequenceNumber=str(number))[0] == 204
    told = server.ask("GET", f"/calls/{call['id']}")[1]
    assert (told["status"], told["outcome"]) == ("completed", "hung_up")
    assert [past.call_sid for past in History(server.database).latest(10)] == [CALL]


def test_callbacks_need_twilios_signature(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("refused POST /twiml/")
    server.place()
    for url in urls(server).values():
        assert server.client.post(url.removeprefix(PUBLIC), data={"CallSid": CALL}).status_code == 403
