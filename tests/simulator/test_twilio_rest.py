"""simulator.twilio_rest with Twilio's real SDK as its client, on real sockets."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from twilio.base.exceptions import TwilioRestException

from actors.carrier import Carrier
from simulator.callee import NoAnswer, Person
from simulator.phone_events import Spoke, StreamClosed
from tests.simulator.telephony import OTHER, OURS, THEM, Telephony, eventually, telephony
from tests.simulator.test_phone import SOON, of


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.network.callees[THEM] = Person()
        yield stage


HANG_UP = "<Response><Hangup/></Response>"
STAY = "<Response><Pause length='60'/></Response>"


def test_a_call_is_created_fetched_and_listed(stage: Telephony) -> None:
    created = stage.create(twiml=STAY)
    assert created.sid.startswith("CA")
    assert (created.to, created._from, created.direction) == (THEM, OURS, "outbound-api")
    stage.network.await_call(THEM, SOON).await_answer(SOON)
    fetched = stage.client.calls(created.sid).fetch()
    assert fetched.status == "in-progress"
    assert fetched.start_time is not None
    assert fetched.duration is None
    assert [call.sid for call in stage.client.calls.list(to=THEM)] == [created.sid]
    assert stage.client.calls.list(status="completed") == []
    fetched.update(status="completed")
    eventually(lambda: created.fetch().status == "completed", "the call was not ended")
    assert created.fetch().duration == "1"


def test_a_list_is_read_page_by_page(stage: Telephony) -> None:
    sids = [stage.create(twiml=HANG_UP).sid for _ in range(5)]
    assert [call.sid for call in stage.client.calls.list(page_size=2)] == sids[::-1]


def test_a_call_that_waits_is_canceled_and_one_that_talks_is_not(stage: Telephony) -> None:
    stage.network.callees[OTHER] = NoAnswer()
    waiting, talking = stage.create(OTHER, twiml=STAY), stage.create(twiml=STAY)
    phone = stage.network.await_call(THEM, SOON)
    phone.await_answer(SOON)
    waiting.update(status="canceled")
    assert talking.update(status="canceled").status == "in-progress"
    assert stage.network.await_call(OTHER, SOON).await_end(SOON).reason == "canceled"
    assert waiting.fetch().status == "canceled"
    assert talking.fetch().status == "in-progress"


def test_a_live_inbound_call_is_redirected_out_of_its_stream(stage: Telephony) -> None:
    phone = stage.caller(stage.server.stream())
    media = stage.server.connection()
    call = stage.client.calls(phone.call_sid)
    assert call.fetch().direction == "inbound"
    call.update(twiml="<Response><Say>one moment</Say><Hangup/></Response>")
    assert media.expect("stop")["stop"]["callSid"] == phone.call_sid
    result = phone.await_end(SOON)
    assert [event.text for event in of(Spoke, result.events)] == ["one moment"]
    assert [event.by for event in of(StreamClosed, result.events)] == ["phone"]
    assert result.reason == "hangup"
    assert call.fetch().status == "completed"


def test_a_live_call_is_redirected_to_a_url(stage: Telephony) -> None:
    phone = stage.caller(STAY)
    stage.server.documents["/next"] = HANG_UP
    stage.client.calls(phone.call_sid).update(url=stage.server.url + "/next", method="GET")
    asked = stage.server.request("/next")
    assert (asked.method, asked.form["CallStatus"]) == ("GET", "in-progress")
    assert phone.await_end(SOON).reason == "hangup"


def test_a_live_inbound_call_is_completed(stage: Telephony) -> None:
    phone = stage.caller(stage.server.stream())
    media = stage.server.connection()
    callback = stage.server.url + "/status"
    stage.client.calls(phone.call_sid).update(status="completed", status_callback=callback)
    media.expect("stop")
    assert phone.await_end(SOON).reason == "completed"
    form = stage.server.request("/status").form
    assert (form["CallStatus"], form["Direction"]) == ("completed", "inbound")


def test_a_time_limit_ends_a_call_whose_twiml_goes_on(stage: Telephony) -> None:
    phone = stage.caller(STAY)
    stage.client.calls(phone.call_sid).update(time_limit=1)
    result = phone.await_end(SOON)
    assert result.reason == "completed"
    assert 0.9 < result.seconds < SOON


def code(refused: "pytest.ExceptionInfo[TwilioRestException]") -> tuple[int, int]:
    return refused.value.status, refused.value.code


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": "5550100"}, 21211),
        ({"to": "+8811234567"}, 21215),
        ({"timeout": 601}, 21208),
        ({"machine_detection": "Enable", "async_amd": "true"}, 21262),
        ({"machine_detection": "Perhaps"}, 21263),
        ({"machine_detection": "Enable", "machine_detection_timeout": 2}, 21263),
        ({"send_digits": "1" * 33}, 21502),
        ({"send_digits": "x"}, 21502),
        ({"twiml": "<Response>" + " " * 4000}, 21217),
        ({"status_callback": "http://h/", "status_callback_event": ["rung"]}, 21626),
    ],
)
def test_a_bad_order_is_refused_with_twilios_code(
    stage: Telephony, options: dict[str, object], expected: int
) -> None:
    stage.network.forbidden.append("+881")
    with pytest.raises(TwilioRestException) as refused:
        stage.create(**{"twiml": STAY, **options})
    assert code(refused) == (400, expected)
    assert stage.network.calls == {}


def test_an_order_without_twiml_or_from_a_foreign_number_is_refused(stage: Telephony) -> None:
    with pytest.raises(TwilioRestException) as refused:
        stage.client.calls.create(to=THEM, from_=OURS)
    assert code(refused) == (400, 21205)
    stage.network.own(OTHER)
    with pytest.raises(TwilioRestException) as refused:
        stage.create(twiml=STAY)
    assert code(refused) == (400, 21210)


def test_what_is_over_or_unknown_is_not_found_for_an_update(stage: Telephony) -> None:
    phone = stage.caller(HANG_UP)
    phone.await_end(SOON)
    for sid in (phone.call_sid, "CA" + "f" * 32):
        with pytest.raises(TwilioRestException) as refused:
            stage.client.calls(sid).update(status="completed")
        assert code(refused) == (404, 20404)
    assert stage.client.calls(phone.call_sid).fetch().status == "completed"
    assert stage.client.calls(phone.call_sid).delete()
    with pytest.raises(TwilioRestException) as refused:
        stage.client.calls(phone.call_sid).fetch()
    assert code(refused) == (404, 20404)


def test_a_call_that_still_rings_cannot_be_redirected(stage: Telephony) -> None:
    stage.network.callees[OTHER] = NoAnswer()
    call = stage.create(OTHER, twiml=STAY)
    with pytest.raises(TwilioRestException) as refused:
        call.update(twiml=HANG_UP)
    assert code(refused) == (400, 21220)


def test_only_the_accounts_token_is_admitted(stage: Telephony) -> None:
    stranger = Carrier(stage.network.account_sid, "wrong", stage.rest.url)
    with pytest.raises(TwilioRestException) as refused:
        stranger.client.calls(THEM).fetch()
    stranger.close()
    assert code(refused) == (401, 20003)
    with pytest.raises(urllib.error.HTTPError) as anonymous:
        urllib.request.urlopen(f"{stage.rest.url}/2010-04-01/Accounts/{stage.network.account_sid}.json")
    assert anonymous.value.code == 401
    anonymous.value.close()


def test_the_account_is_fetched_and_no_other(stage: Telephony) -> None:
    account = stage.client.api.accounts(stage.network.account_sid).fetch()
    assert (account.sid, account.status, account.type) == (stage.network.account_sid, "active", "Full")
    with pytest.raises(TwilioRestException) as refused:
        stage.client.api.accounts("AC" + "9" * 32).fetch()
    assert code(refused) == (404, 20404)


def test_the_voice_url_of_a_number_is_set(stage: Telephony) -> None:
    owned = stage.network.own(OURS)
    stage.network.own(OTHER)
    (number,) = stage.client.incoming_phone_numbers.list(phone_number=OURS)
    assert (number.sid, number.phone_number, number.voice_url) == (owned.sid, OURS, "")
    number.update(
        voice_url="https://voice.example.com/twiml", voice_method="GET", status_callback="https://v/s"
    )
    assert (owned.voice_url, owned.voice_method, owned.status_callback) == (
        "https://voice.example.com/twiml",
        "GET",
        "https://v/s",
    )
    assert stage.client.incoming_phone_numbers(owned.sid).fetch().voice_method == "GET"


def test_the_status_callback_of_a_number_hears_of_its_calls(stage: Telephony) -> None:
    stage.network.own(OURS).status_callback = stage.server.url + "/status"
    phone = stage.caller(HANG_UP, to_number=OURS)
    phone.await_end(SOON)
    assert stage.server.request("/status").form["CallSid"] == phone.call_sid


def test_a_refusal_can_be_ordered(stage: Telephony) -> None:
    stage.rest.refuse_next(429, 20429, "Too Many Requests")
    with pytest.raises(TwilioRestException) as refused:
        stage.create(twiml=STAY)
    assert code(refused) == (429, 20429)
    assert stage.network.calls == {}
    assert stage.create(twiml=HANG_UP).sid in stage.network.calls


def test_the_answer_to_a_creation_may_come_before_or_after_the_stream(stage: Telephony) -> None:
    stage.network.callees[THEM] = Person(after_s=0.3)
    created = stage.create(twiml=stage.server.stream())
    with pytest.raises(TimeoutError):
        stage.network.handset(created.sid).await_stream(0)
    stage.rest.respond_after_stream = True
    created = stage.create(twiml=stage.server.stream())
    stage.network.handset(created.sid).await_stream(0)
    assert stage.create(twiml=HANG_UP).sid in stage.network.calls


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("DELETE", 405)])
def test_what_is_not_there_is_said_so(stage: Telephony, method: str, status: int) -> None:
    path = "/Nothing.json" if method == "GET" else "/Conferences.json"
    url = f"https://api.twilio.com/2010-04-01/Accounts/{stage.network.account_sid}{path}"
    response = stage.client.request(method, url)
    assert response.status_code == status
