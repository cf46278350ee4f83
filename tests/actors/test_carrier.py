"""actors.carrier against the REST stand-in, with Twilio's real SDK and real sockets."""

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from actors.carrier import CALL_EVENTS, Carrier, CarrierError, MachineDetection, carrier_errors
from simulator.callee import NoAnswer, Person
from tests.simulator.telephony import OTHER, OURS, THEM, Telephony, eventually, telephony
from tests.simulator.test_phone import SOON

STAY = "<Response><Pause length='60'/></Response>"
NOBODY = "CA" + "0" * 32


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.network.callees[THEM] = Person()
        stage.network.callees[OTHER] = NoAnswer()
        yield stage


def test_a_call_is_placed_and_hung_up(stage: Telephony) -> None:
    call_sid = stage.carrier.place(THEM, OURS, twiml=STAY)
    stage.network.await_call(THEM, SOON).await_answer(SOON)
    assert stage.carrier.hang_up(call_sid)
    eventually(lambda: stage.network.calls[call_sid].over, "the call was not ended")


def test_hanging_up_a_call_that_is_over_is_no_error(stage: Telephony) -> None:
    call_sid = stage.carrier.place(THEM, OURS, twiml="<Response><Hangup/></Response>")
    stage.network.await_call(THEM, SOON).await_end(SOON)
    assert not stage.carrier.hang_up(call_sid)
    assert not stage.carrier.hang_up(NOBODY)
    stage.rest.refuse_next(400, 21220, "Call is not in-progress. Cannot redirect.")
    assert not stage.carrier.hang_up(call_sid)


def test_it_is_found_out_whether_a_call_is_over(stage: Telephony) -> None:
    call_sid = stage.carrier.place(THEM, OURS, twiml=STAY)
    called = stage.network.await_call(THEM, SOON)
    called.await_answer(SOON)
    assert not stage.carrier.is_over(call_sid)
    stage.carrier.hang_up(call_sid)
    called.await_end(SOON)
    assert stage.carrier.is_over(call_sid)
    assert stage.carrier.is_over(NOBODY)
    stage.rest.refuse_next(503, 20500, "because of the test")
    with pytest.raises(CarrierError):
        stage.carrier.is_over(call_sid)


def test_a_call_that_rings_is_cancelled_and_one_that_was_answered_is_left_alone(stage: Telephony) -> None:
    ringing, answered = (stage.carrier.place(to, OURS, twiml=STAY) for to in (OTHER, THEM))
    stage.network.await_call(THEM, SOON).await_answer(SOON)
    stage.network.await_call(OTHER, SOON)
    assert stage.carrier.cancel(ringing)
    assert stage.carrier.cancel(answered)
    eventually(lambda: stage.network.calls[ringing].status == "canceled", "the call was not cancelled")
    assert stage.network.calls[answered].status == "in-progress"


def test_the_url_goes_before_the_twiml(stage: Telephony) -> None:
    stage.server.documents["/outbound"] = STAY
    stage.carrier.place(THEM, OURS, url=stage.server.url + "/outbound", twiml="<Response>" + "x" * 5000)
    assert stage.server.request("/outbound").form["To"] == THEM


def test_every_status_is_told_unless_fewer_are_asked_for(stage: Telephony) -> None:
    bye = "<Response><Hangup/></Response>"
    for path in ("/all", "/last"):
        stage.server.documents[path] = ""
    stage.carrier.place(THEM, OURS, twiml=bye, status_callback=stage.server.url + "/all")
    assert len(stage.statuses("/all")) == len(CALL_EVENTS)
    stage.carrier.place(
        THEM, OURS, twiml=bye, status_callback=stage.server.url + "/last", status_events=("completed",)
    )
    assert len(stage.statuses("/last")) == 1


def test_a_verdict_comes_while_the_call_goes_on(stage: Telephony) -> None:
    stage.server.documents["/amd"] = ""
    detection = MachineDetection(callback=stage.server.url + "/amd", timeout_seconds=5)
    stage.carrier.place(THEM, OURS, twiml=STAY, machine_detection=detection, time_limit_seconds=30.4)
    assert stage.server.request("/amd").form["AnsweredBy"] == "human"


def test_parameters_of_machine_detection_are_as_twilio_wants_them() -> None:
    assert {name: value for name, value in MachineDetection().parameters().items() if value is not None} == {
        "machine_detection": "Enable"
    }
    asynchronous = MachineDetection("DetectMessageEnd", "https://v/amd", 30, 2400, 1200, 5000).parameters()
    assert asynchronous == {
        "machine_detection": "DetectMessageEnd",
        "machine_detection_timeout": 30,
        "machine_detection_speech_threshold": 2400,
        "machine_detection_speech_end_threshold": 1200,
        "machine_detection_silence_timeout": 5000,
        "async_amd": "true",
        "async_amd_status_callback": "https://v/amd",
    }


def test_a_call_without_anything_to_do_or_with_too_much_is_not_placed() -> None:
    carrier = Carrier("AC" + "0" * 32, "12345")
    with pytest.raises(ValueError, match="needs either url or twiml"):
        carrier.place(THEM, OURS)
    with pytest.raises(ValueError, match="4001 characters"):
        carrier.place(THEM, OURS, twiml="x" * 4001)


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, 20003, "TWILIO_API_URL names"),
        (400, 21215, "Geographic permissions"),
        (400, 21219, "verify it"),
        (429, 20429, "wait a few seconds"),
        (503, 20500, "status.twilio.com"),
        (400, 21999, "https://www.twilio.com/docs/errors/21999"),
    ],
)
def test_a_refusal_says_what_to_do(stage: Telephony, status: int, code: int, says: str) -> None:
    stage.rest.refuse_next(status, code, "because of the test")
    with pytest.raises(CarrierError, match=says) as refused:
        stage.carrier.hang_up(NOBODY)
    assert (refused.value.status, refused.value.code, refused.value.over) == (status, code, False)
    assert f"error {code}, because of the test" in str(refused.value)
    assert refused.value.__suppress_context__


def test_no_refusal_holds_a_phone_number(stage: Telephony) -> None:
    stage.network.forbidden.append(THEM[:4])
    with pytest.raises(CarrierError, match="not authorized to call …09") as refused:
        stage.carrier.place(THEM, OURS, twiml=STAY)
    assert THEM not in str(refused.value)


def test_a_host_that_does_not_answer_is_said_to_be_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        carrier = Carrier("AC" + "0" * 32, "12345", f"http://127.0.0.1:{server.getsockname()[1]}", 0.2)
        with pytest.raises(CarrierError, match="does not answer in time") as slow:
            carrier.hang_up(NOBODY)
        carrier.close()
    assert (slow.value.status, slow.value.code) == (None, None)
    with pytest.raises(CarrierError, match="cannot be reached"):
        carrier.hang_up(NOBODY)
    carrier.close()


def test_an_api_url_that_leads_elsewhere_is_said_to_be_so() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        carrier = Carrier("AC" + "0" * 32, "12345", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(CarrierError, match="not Twilio's REST API"):
            carrier.hang_up(NOBODY)
        carrier.close()
        thread.join()


def test_nothing_but_the_api_is_sent_the_token(stage: Telephony) -> None:
    with pytest.raises(ValueError, match=r"lookups\.twilio\.com"):
        stage.client.lookups.v2.phone_numbers(THEM).fetch()


def test_the_environment_does_not_lead_elsewhere(stage: Telephony, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    carrier = Carrier(stage.network.account_sid, stage.network.auth_token, stage.rest.url)
    with carrier_errors():
        assert carrier.client.calls.list() == []
    carrier.close()


def test_no_request_is_logged(stage: Telephony, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage.carrier.place(THEM, OURS, twiml=STAY)
    assert not [record for record in caplog.records if THEM in record.getMessage()]
    assert not [record for record in caplog.records if "Twilio API" in record.getMessage()]


def test_the_sdk_is_loaded_when_it_is_needed() -> None:
    check = (
        "import sys\n"
        "from actors.carrier import Carrier\n"
        "carrier = Carrier('AC' + '0' * 32, '12345')\n"
        "assert not [name for name in sys.modules if name.startswith('twilio')]\n"
        "carrier.client\n"
        "assert 'twilio.rest' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
