"""Phones that REST calls: how they ring, answer or do not, and what the server is told of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from simulator.callee import Busy, Callee, Failed, Fax, Machine, NoAnswer, Person
from simulator.document import Document
from simulator.line import CallOverError
from simulator.network import PhoneNetwork
from simulator.order import Order
from simulator.phone_events import Answered, AssistantAudible, WebhookAnswered
from simulator.tone import tone
from tests.simulator.telephony import OURS, THEM, WORDS, Telephony, bursts, side, telephony
from tests.simulator.test_phone import SILENCE, SOON, TOKEN, of

pytestmark = pytest.mark.slow

HANG_UP = "<Response><Hangup/></Response>"
STAY = "<Response><Pause length='60'/></Response>"
ALL_EVENTS = ["initiated", "ringing", "answered", "completed"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.server.documents["/outbound"] = HANG_UP
        yield stage


def order(stage: Telephony, callee: Callee, **options: Any) -> Any:
    stage.network.callees[THEM] = callee
    status = stage.server.url + "/status"
    return stage.create(status_callback=status, status_callback_event=ALL_EVENTS, **options)


def test_a_call_that_is_answered_is_reported_step_by_step(stage: Telephony) -> None:
    call = order(stage, Person(after_s=0.1))
    forms = stage.statuses("/status")
    assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", "in-progress", "completed"]
    assert [form["SequenceNumber"] for form in forms] == ["0", "1", "2", "3"]
    assert {form["CallSid"] for form in forms} == {call.sid}
    assert int(forms[-1]["CallDuration"]) == stage.network.calls[call.sid].seconds > 0
    assert forms[-1]["SipResponseCode"] == "200"
    assert (forms[0]["From"], forms[0]["To"], forms[0]["Direction"]) == (OURS, THEM, "outbound-api")


def test_callbacks_and_requests_for_twiml_are_signed(stage: Telephony) -> None:
    order(stage, Person())
    validator, missing = RequestValidator(TOKEN), {"/status", "/outbound"}
    while missing:
        asked = stage.server.asked.get(timeout=SOON)
        assert validator.validate(stage.server.url + asked.path, asked.form, asked.signature)
        missing.discard(asked.path)


def test_the_request_for_twiml_says_who_is_called(stage: Telephony) -> None:
    order(stage, Person())
    form = stage.server.request("/outbound").form
    assert (form["From"], form["Called"], form["Direction"]) == (OURS, THEM, "outbound-api")
    assert form["CallStatus"] == "in-progress"
    assert "AnsweredBy" not in form


@pytest.mark.parametrize(
    ("callee", "status", "sip_code"),
    [
        (Busy(0.05), "busy", "486"),
        (NoAnswer(0.05), "no-answer", "487"),
        (Failed(), "failed", "404"),
        (Failed(0.05, 603), "failed", "603"),
    ],
)
def test_a_call_that_nobody_answers_ends_with_its_status(
    stage: Telephony, callee: Callee, status: str, sip_code: str
) -> None:
    call = order(stage, callee)
    forms = stage.statuses("/status", last=status)
    assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", status]
    assert (forms[-1]["SipResponseCode"], forms[-1]["CallDuration"]) == (sip_code, "0")
    phone = stage.network.await_call(THEM, SOON)
    result = phone.await_end(SOON)
    assert result.reason == "unanswered"
    assert of(Answered, result.events) == of(WebhookAnswered, result.events) == []
    assert call.fetch().status == status
    with pytest.raises(CallOverError):
        phone.await_answer(SOON)


def test_there_is_nobody_at_an_unknown_number(stage: Telephony) -> None:
    stage.create(twiml=STAY)
    assert stage.network.await_call(THEM, SOON).await_end(SOON).reason == "unanswered"
    assert [call.status for call in stage.network.calls.values()] == ["failed"]


@pytest.mark.parametrize("callee", [NoAnswer(), Person(after_s=30)])
def test_nobody_is_rung_for_longer_than_the_timeout(stage: Telephony, callee: Callee) -> None:
    order(stage, callee, timeout=1)
    assert stage.statuses("/status", last="no-answer")[-1]["SipResponseCode"] == "487"
    assert 0.9 < stage.network.await_call(THEM, SOON).await_end(SOON).seconds < SOON


def test_only_the_end_is_reported_by_default(stage: Telephony) -> None:
    stage.network.callees[THEM] = Person()
    stage.create(status_callback=stage.server.url + "/status")
    assert [form["CallStatus"] for form in stage.statuses("/status")] == ["completed"]


@pytest.mark.parametrize(
    ("callee", "mode", "verdict"),
    [
        (Person(), "Enable", "human"),
        (Person(unknown=True), "Enable", "unknown"),
        (Machine(), "Enable", "machine_start"),
        (Machine(greeting=WORDS), "DetectMessageEnd", "machine_end_beep"),
        (Machine(greeting=WORDS, beep=False), "DetectMessageEnd", "machine_end_silence"),
        (Fax(), "Enable", "fax"),
    ],
)
def test_detection_beside_the_call_tells_who_answered(
    stage: Telephony, callee: Callee, mode: str, verdict: str
) -> None:
    call = order(
        stage,
        callee,
        twiml=STAY,
        machine_detection=mode,
        async_amd="true",
        async_amd_status_callback=stage.server.url + "/amd",
    )
    asked = stage.server.request("/amd")
    assert asked.form["AnsweredBy"] == verdict
    assert asked.form["CallSid"] == call.sid
    assert int(asked.form["MachineDetectionDuration"]) > 0
    assert RequestValidator(TOKEN).validate(stage.server.url + "/amd", asked.form, asked.signature)
    fetched = call.fetch()
    assert (fetched.status, fetched.answered_by) == ("in-progress", verdict)


def test_the_beep_is_over_when_detection_says_so(stage: Telephony) -> None:
    call = order(
        stage,
        Machine(greeting=WORDS),
        twiml=STAY,
        machine_detection="DetectMessageEnd",
        async_amd="true",
        async_amd_status_callback=stage.server.url + "/amd",
    )
    assert stage.server.request("/amd").form["MachineDetectionDuration"] == "800"
    call.update(twiml="<Response><Play digits='5'/></Response>")
    phone = stage.network.await_call(THEM, SOON)
    result = phone.await_end(SOON)
    said, heard = (bursts(side(stage.folder / f"{call.sid}.wav", channel)) for channel in (0, 1))
    assert said[-1][1] < heard[0][0]
    assert result.utterances[0].ended is not None


def test_synchronous_detection_holds_the_twiml_back(stage: Telephony) -> None:
    order(stage, Machine(greeting=WORDS), machine_detection="DetectMessageEnd")
    asked = stage.server.request("/outbound")
    assert asked.form["AnsweredBy"] == "machine_end_beep"
    result = stage.network.await_call(THEM, SOON).await_end(SOON)
    (answered,), (fetched,) = of(Answered, result.events), of(WebhookAnswered, result.events)
    assert fetched.at - answered.at >= 0.8


def test_detection_gives_up_after_its_timeout(stage: Telephony) -> None:
    order(stage, Person(detected_s=60), machine_detection="Enable", machine_detection_timeout=3)
    assert stage.server.request("/outbound").form["AnsweredBy"] == "unknown"


def test_sent_digits_are_heard_and_disable_detection(stage: Telephony) -> None:
    order(stage, Person(), twiml=STAY, send_digits="w12#", machine_detection="Enable")
    phone = stage.network.await_call(THEM, SOON)
    phone.await_digits("12#", SOON)
    assert phone.call.answered_by is None


def test_the_callee_speaks_hears_and_presses_keys_on_a_stream(stage: Telephony) -> None:
    stage.network.callees[THEM] = Person(says=WORDS)
    call = stage.create(twiml=stage.server.stream())
    media = stage.server.connection()
    start = media.expect("start")["start"]
    assert (start["callSid"], start["customParameters"]) == (call.sid, {"token": "k3F"})
    phone = stage.network.await_call(THEM, SOON)
    phone.press("7")
    assert media.expect("dtmf")["dtmf"]["digit"] == "7"
    media.play(tone(500, 200))
    phone.await_assistant(SOON, since=0)
    phone.say(SILENCE).wait(SOON)  # behind what it says by itself
    phone.hang_up()
    media.expect("stop")
    result = phone.await_end(SOON)
    assert result.reason == "caller"
    assert len(of(AssistantAudible, result.events)) == 1
    assert result.recording == stage.folder / f"{call.sid}.wav"
    ((start_of_words, end_of_words),) = bursts(side(stage.folder / f"{call.sid}.wav", 0))
    assert abs(end_of_words - start_of_words - len(WORDS)) < 80


def test_a_callee_can_hang_up_by_itself(stage: Telephony) -> None:
    call = order(stage, Person(hangs_up_s=0.2), twiml=STAY)
    assert stage.network.await_call(THEM, SOON).await_end(SOON).reason == "caller"
    (*_, last) = stage.statuses("/status")
    assert int(last["CallDuration"]) == stage.network.calls[call.sid].seconds > 0


def test_a_call_ends_at_its_time_limit(stage: Telephony) -> None:
    order(stage, Person(), twiml=STAY, time_limit=1)
    result = stage.network.await_call(THEM, SOON).await_end(SOON)
    assert result.reason == "completed"
    assert 0.9 < result.seconds < SOON


def test_twiml_that_cannot_be_had_comes_from_the_fallback(stage: Telephony) -> None:
    stage.server.statuses["/outbound"] = 500
    stage.server.documents["/fallback"] = HANG_UP
    order(stage, Person(), fallback_url=stage.server.url + "/fallback")
    assert stage.server.request("/fallback").form["ErrorCode"] == "11200"
    assert stage.network.await_call(THEM, SOON).await_end(SOON).reason == "hangup"


def speechless(text: str) -> bytes:
    raise ValueError(f"no voice for {text!r}")


def test_what_ends_a_phone_is_raised_when_the_network_closes(tmp_path: Path) -> None:
    network = PhoneNetwork(TOKEN, speak=speechless)
    network.callees[THEM] = Person()
    phone = network.place(Order(THEM, OURS, Document(b"<Response><Say>hm</Say></Response>", "")))
    with pytest.raises(ValueError):
        phone.await_end(SOON)
    with pytest.raises(ValueError):
        network.close()
    with pytest.raises(RuntimeError, match="closed"):
        network.place(Order(THEM, OURS))


def test_closing_the_network_ends_its_calls(stage: Telephony) -> None:
    order(stage, NoAnswer())
    stage.network.close()
    assert [form["CallStatus"] for form in stage.statuses("/status", last="canceled")][-1] == "canceled"
