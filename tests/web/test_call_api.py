"""The API that places calls: what it lets through to Twilio, and what it says when it does not."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.carrier_error import CarrierError
from store.database import StoreError
from store.history import History
from tests.conftest import ExpectedLogs
from tests.store.conftest import Clock
from tests.web.outbound_parts import (
    API_TOKEN,
    CALL,
    OURS,
    PERSON,
    PUBLIC,
    OutboundServer,
    outbound_server,
)
from web.dialing import HANDED_ON_SECONDS

OTHER_PERSON = "+15550100009"
TRANSFER = {"transfer": {"sales": OTHER_PERSON}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OutboundServer]:
    with outbound_server(tmp_path) as server:
        yield server


def test_a_call_is_placed_with_everything_that_twilio_has_to_know(server: OutboundServer) -> None:
    call = server.place()
    [placed] = server.carrier.placed
    token = server.carrier.token
    detection = placed.pop("machine_detection")
    assert placed == {
        "to": PERSON,
        "caller_id": OURS,
        "url": f"{PUBLIC}/twiml/dialed?dial={token}",
        "fallback_url": f"{PUBLIC}/twiml/dialed?dial={token}",
        "status_callback": f"{PUBLIC}/twiml/call-status?dial={token}",
        "timeout_seconds": 25,
        "time_limit_seconds": 660,
    }
    assert (detection.mode, detection.callback) == (
        "DetectMessageEnd",
        f"{PUBLIC}/twiml/answered-by?dial={token}",
    )
    assert call == {
        "id": call["id"],
        "status": "queued",
        "to": PERSON,
        "from": OURS,
        "assistant": "desk",
        "variables": {"name": "Anna"},
        "placed_at": call["placed_at"],
        "call_sid": CALL,
        "answered_by": None,
        "outcome": None,
        "error": None,
    }
    assert server.ask("GET", f"/calls/{call['id']}") == (200, call)
    assert token not in str(call)


@pytest.mark.parametrize(
    ("outbound", "mode"), [({"machine_detection": False}, None), ({"detection_seconds": 10}, "Enable")]
)
def test_a_beep_is_waited_for_only_where_a_message_is_left(
    tmp_path: Path, outbound: dict[str, Any], mode: str | None
) -> None:
    with outbound_server(tmp_path, tables={"outbound": {"caller_id": OURS, **outbound}}) as server:
        server.place()
        detection = server.carrier.placed[0]["machine_detection"]
        assert (detection and detection.mode) == mode


@pytest.mark.parametrize(
    ("tables", "seconds"),
    [
        ({}, 660),
        ({"fallback": {"voicemail": True, "voicemail_seconds": 600}}, 1260),
        ({"fallback": {"transfer_to": OTHER_PERSON}}, HANDED_ON_SECONDS),
        ({"telephony": TRANSFER}, HANDED_ON_SECONDS),
        ({"telephony": {"transfer": {"sales": {"number": OTHER_PERSON, "warm": True}}}}, HANDED_ON_SECONDS),
        ({"telephony": TRANSFER, "limits": {"max_minutes": 300}}, 18060),
        ({"telephony": TRANSFER, "limits": {"max_minutes": 1440}}, 86400),
        ({"build": "math:gcd"}, HANDED_ON_SECONDS),
    ],
)
def test_twilio_cuts_nobody_off_whom_the_call_is_handed_on_to(
    tmp_path: Path, tables: dict[str, Any], seconds: float
) -> None:
    with outbound_server(tmp_path, tables=tables) as server:
        server.place()
        assert server.carrier.placed[0]["time_limit_seconds"] == seconds


def test_a_call_that_somebody_else_has_taken_over_is_not_over(tmp_path: Path) -> None:
    clock = Clock()
    with outbound_server(tmp_path, tables={"telephony": TRANSFER}, clock=clock) as server:
        call = server.place()
        server.twilio(server.carrier.placed[0]["url"], CallStatus="in-progress")
        clock.now += HANDED_ON_SECONDS
        server.dialed.clear()
        assert server.ask("GET", f"/calls/{call['id']}")[1]["status"] == "in-progress"
        server.twilio(server.carrier.placed[0]["status_callback"], CallStatus="completed")
        assert server.ask("GET", f"/calls/{call['id']}")[1]["status"] == "completed"


def test_of_several_assistants_the_one_that_is_named_calls(tmp_path: Path) -> None:
    sales = {"numbers": ["+15550100007"], "name": "Sales", "outbound": {"caller_id": "+15550100007"}}
    with outbound_server(tmp_path, others={"sales": sales}) as server:
        status, call = server.ask("POST", body={"to": PERSON, "assistant": "sales"})
        assert (status, call["assistant"], call["from"]) == (201, "sales", "+15550100007")
        assert server.ask("POST", body={"to": PERSON})[1]["assistant"] == "desk"
        url = server.carrier.placed[0]["status_callback"]
        server.twilio(url, CallStatus="busy")
        assert [past.assistant for past in History(server.database).latest(1)] == ["Sales"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": API_TOKEN}])
def test_without_the_token_nobody_gets_in(
    server: OutboundServer, logs: ExpectedLogs, header: dict[str, str]
) -> None:
    logs.expect("refused (POST|GET|DELETE) /calls.*: its bearer token is not API_TOKEN")
    for method, path in (("POST", "/calls"), ("GET", "/calls/1"), ("DELETE", "/calls/1")):
        answer = server.client.open(path, method=method, json={"to": PERSON}, headers=header)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json is not None
        assert answer.json["error"]["code"] == "unauthorized"
    assert server.carrier.placed == []


def test_without_the_setting_nobody_does_with_any_token(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("API_TOKEN is not set, so nobody may use this")
    with outbound_server(tmp_path, api_token=None) as server:
        assert server.ask("POST", body={"to": PERSON})[0] == 401
        assert server.ask("POST", body={"to": PERSON}, Authorization="Bearer ")[0] == 401


def test_twilios_signature_is_no_token(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("its bearer token is not API_TOKEN")
    assert server.twilio(f"{PUBLIC}/calls")[0] == 401


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({"to": "030123456"}, 422, "invalid_number", "E.164"),
        ({"to": "112"}, 422, "invalid_number", "E.164"),
        ({"to": "+43123456789"}, 403, "number_not_allowed", "DIAL_COUNTRIES"),
        ({"to": "+499001234567"}, 403, "number_not_allowed", "costs extra"),
        ({"to": PERSON, "assistant": "Nobody"}, 422, "unknown_assistant", "'Nobody'; there are: desk"),
        ({}, 400, "invalid_request", "to: Field required"),
        ({"to": 49}, 400, "invalid_request", "to: "),
        ({"to": PERSON, "form": OURS}, 400, "invalid_request", "form: Extra inputs"),
        ({"to": PERSON, "variables": {"a b": "c"}}, 400, "invalid_request", "'a b'"),
        ({"to": PERSON, "variables": {"a": "c" * 2001}}, 400, "invalid_request", "variables.a"),
        ({"to": PERSON, "variables": {str(n): "" for n in range(51)}}, 400, "invalid_request", "variables"),
        ([], 400, "invalid_request", "body"),
        ("x" * 70_000, 400, "invalid_request", "too large"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_placed(
    server: OutboundServer, body: Any, status: int, code: str, message: str
) -> None:
    answer = server.ask("POST", body=body)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    assert message in answer[1]["error"]["message"]
    assert server.carrier.placed == []


def test_a_body_that_is_no_json_is_refused(server: OutboundServer) -> None:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = server.client.post("/calls", data=b"to=%2B4930123456", headers=headers)
    assert (answer.status_code, answer.json) == (
        400,
        {"error": {"code": "invalid_request", "message": "the body is not JSON"}},
    )


@pytest.mark.parametrize(
    ("options", "status", "code", "message"),
    [
        ({"tables": {"outbound": None}}, 503, "not_configured", "add [outbound]"),
        ({"daily_budget": 5.0, "spent": 5.0}, 429, "budget_spent", "DAILY_BUDGET"),
        ({"dial_countries": ""}, 403, "number_not_allowed", "DIAL_COUNTRIES"),
    ],
)
def test_a_server_that_may_not_call_says_why(
    tmp_path: Path, options: dict[str, Any], status: int, code: str, message: str
) -> None:
    with outbound_server(tmp_path, **options) as server:
        answer = server.ask("POST", body={"to": PERSON})
        assert (answer[0], answer[1]["error"]["code"]) == (status, code)
        assert message in answer[1]["error"]["message"]


@pytest.mark.parametrize(
    ("limit", "named", "least"),
    [({"calls_per_second": 1}, "CALLS_PER_SECOND", 1), ({"calls_per_day": 1}, "CALLS_PER_DAY", 1)],
)
def test_who_calls_too_often_is_told_when_to_try_again(
    tmp_path: Path, limit: dict[str, int], named: str, least: int
) -> None:
    with outbound_server(tmp_path, **limit) as server:
        server.place()
        answer = server.client.post(
            "/calls", json={"to": PERSON}, headers={"Authorization": f"Bearer {API_TOKEN}"}
        )
        assert answer.json is not None
        assert (answer.status_code, answer.json["error"]["code"]) == (429, "too_many_calls")
        assert named in answer.json["error"]["message"]
        assert int(answer.headers["Retry-After"]) >= least
        assert len(server.carrier.placed) == 1


def test_limits_hold_for_requests_at_the_same_time(tmp_path: Path) -> None:
    with outbound_server(tmp_path, calls_per_second=3) as server:
        barrier, statuses = threading.Barrier(8), []

        def ask() -> None:
            barrier.wait()
            statuses.append(server.ask("POST", body={"to": PERSON})[0])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # On a machine that is very busy some of them may come a second later.
        assert statuses.count(201) == len(server.carrier.placed) >= 3
        assert {*statuses} <= {201, 429}


def test_a_request_that_is_repeated_places_no_other_call(server: OutboundServer) -> None:
    call = server.place(**{"Idempotency-Key": "order-66"})
    again = server.ask(
        "POST", body={"to": PERSON, "variables": {"name": "Anna"}}, **{"Idempotency-Key": "order-66"}
    )
    assert again == (200, call)
    assert len(server.carrier.placed) == 1
    status, answer = server.ask("POST", body={"to": "+4930999999"}, **{"Idempotency-Key": "order-66"})
    assert (status, answer["error"]["code"]) == (422, "idempotency_key_reused")
    assert server.ask("POST", body={"to": PERSON}, **{"Idempotency-Key": "a key"})[0] == 400
    assert len(server.carrier.placed) == 1


def test_what_is_told_of_a_call_is_kept_by_no_cache(server: OutboundServer) -> None:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = server.client.get(f"/calls/{server.place()['id']}", headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


def test_a_repeated_request_hears_of_its_call_also_when_no_other_may_be_placed(tmp_path: Path) -> None:
    with outbound_server(tmp_path, daily_budget=5.0) as server:
        call = server.place(**{"Idempotency-Key": "order-66"})
        server.spent = 5.0
        body = {"to": PERSON, "variables": {"name": "Anna"}}
        assert server.ask("POST", body=body, **{"Idempotency-Key": "order-66"}) == (200, call)
        assert server.ask("POST", body=body, **{"Idempotency-Key": "order-67"})[0] == 429


def test_a_refusal_of_twilios_is_passed_on_with_its_code(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("call .* is not placed: error 21215")
    server.carrier.trouble = CarrierError("error 21215: allow that country", 400, 21215)
    status, answer = server.ask("POST", body={"to": PERSON}, **{"Idempotency-Key": "k"})
    assert status == 502
    assert answer["error"] == {
        "code": "carrier_refused",
        "message": "error 21215: allow that country",
        "twilio_code": 21215,
    }
    assert (answer["call"]["status"], answer["call"]["outcome"]) == ("failed", "refused")
    # It is certain that there is no call: who asks again is told the same, and Twilio is not.
    assert server.ask("POST", body={"to": PERSON}, **{"Idempotency-Key": "k"})[0] == 502
    assert len(server.carrier.placed) == 1


def break_off(server: OutboundServer) -> None:
    """The database fails as soon as Twilio has been asked for a call."""
    place = server.carrier.place

    def place_and_break(to: str, caller_id: str, **options: Any) -> str:
        try:
            return place(to, caller_id, **options)
        finally:
            server.break_database()

    server.carrier.place = place_and_break  # type: ignore[method-assign]


def test_a_call_that_twilio_has_taken_is_placed_though_the_database_fails_then(
    server: OutboundServer, logs: ExpectedLogs
) -> None:
    logs.expect("call .* is placed, and the database is not told as which one: database")
    break_off(server)
    body, key = {"to": PERSON, "variables": {"name": "Anna"}}, {"Idempotency-Key": "order-66"}
    status, call = server.ask("POST", body=body, **key)
    assert (status, call["call_sid"], call["status"]) == (201, CALL, "queued")
    server.mend_database()
    assert server.ask("POST", body=body, **key) == (200, call | {"call_sid": None})
    assert len(server.carrier.placed) == 1
    server.twilio(server.carrier.placed[0]["status_callback"], CallStatus="ringing")
    assert server.ask("GET", f"/calls/{call['id']}") == (200, call | {"status": "ringing"})


@pytest.mark.parametrize(
    ("trouble", "status", "code", "told"),
    [
        (CarrierError("error 21215: no", 400, 21215), 502, "carrier_refused", ("failed", "refused")),
        (CarrierError("a fault", 503), 504, "carrier_silent", ("queued", None)),
    ],
)
def test_what_twilio_says_is_passed_on_though_the_database_fails_then(
    server: OutboundServer,
    logs: ExpectedLogs,
    trouble: CarrierError,
    status: int,
    code: str,
    told: tuple[str, str | None],
) -> None:
    logs.expect("call .* is not placed")
    logs.expect("the database is not told that call .* is not placed: database")
    server.carrier.trouble = trouble
    break_off(server)
    answer = server.ask("POST", body={"to": PERSON})
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    call = answer[1]["call"]
    assert (call["error"], call["status"], call["outcome"]) == (str(trouble), *told)


@pytest.mark.parametrize("trouble", [CarrierError("no answer"), CarrierError("a fault", 503)])
def test_where_twilio_did_not_answer_there_may_be_a_call(
    server: OutboundServer, logs: ExpectedLogs, trouble: CarrierError
) -> None:
    logs.expect("call .* is not placed")
    server.carrier.trouble = trouble
    status, answer = server.ask("POST", body={"to": PERSON}, **{"Idempotency-Key": "k"})
    assert (status, answer["error"]["code"], answer["call"]["status"]) == (504, "carrier_silent", "queued")
    assert server.twilio(f"{PUBLIC}/twiml/call-status?dial={server.carrier.token}", CallStatus="ringing")
    status, again = server.ask("POST", body={"to": PERSON}, **{"Idempotency-Key": "k"})
    assert (status, again["status"], again["id"]) == (200, "ringing", answer["call"]["id"])
    assert len(server.carrier.placed) == 1


def test_a_call_is_ended(server: OutboundServer) -> None:
    call = server.place()
    path, callback = f"/calls/{call['id']}", f"{PUBLIC}/twiml/call-status?dial={server.carrier.token}"
    assert server.ask("DELETE", path)[0] == 202
    assert server.carrier.ended == [CALL]
    server.twilio(callback, CallStatus="canceled")
    status, answer = server.ask("DELETE", path)
    assert (status, answer["status"], answer["outcome"]) == (200, "canceled", "canceled")
    assert server.carrier.ended == [CALL], "it is over: there is nothing to end"


def test_a_call_that_twilio_has_not_taken_yet_is_ended_as_soon_as_it_has(server: OutboundServer) -> None:
    place = server.carrier.place
    ended: list[int] = []

    def end_meanwhile(to: str, caller_id: str, **options: Any) -> str:
        with server.database.read() as connection:
            [call_id] = connection.exec_driver_sql("SELECT id FROM dialed_calls").scalars()
        ended.append(server.ask("DELETE", f"/calls/{call_id}")[0])
        return place(to, caller_id, **options)

    server.carrier.place = end_meanwhile  # type: ignore[method-assign]
    server.place()
    assert ended == [202]
    assert server.carrier.ended == [CALL]


def test_a_call_that_cannot_be_ended_says_why(server: OutboundServer) -> None:
    call = server.place()
    server.carrier.trouble = CarrierError("cannot be reached")
    status, answer = server.ask("DELETE", f"/calls/{call['id']}")
    assert (status, answer["error"]["message"]) == (504, "cannot be reached")


def test_a_call_that_never_was_is_not_found(server: OutboundServer) -> None:
    for method in ("GET", "DELETE"):
        status, answer = server.ask(method, "/calls/0123456789abcdef")
        assert (status, answer["error"]["code"]) == (404, "no_such_call")


def test_without_a_database_nothing_is_placed(server: OutboundServer, logs: ExpectedLogs) -> None:
    logs.expect("POST /calls fails: database: gone")

    def gone(*_: object) -> None:
        raise StoreError("database: gone")

    server.dialed.open = gone  # type: ignore[method-assign, assignment]
    status, answer = server.ask("POST", body={"to": PERSON})
    assert (status, answer["error"]["code"]) == (503, "no_database")
    assert server.carrier.placed == []


def test_without_twilios_token_only_this_machine_is_served_and_nobody_is_called(
    tmp_path: Path, logs: ExpectedLogs
) -> None:
    logs.expect("signatures are not checked")
    logs.expect("it came through a proxy or a tunnel")
    with outbound_server(tmp_path, twilio_auth_token=None, public_url=None) as server:
        status, answer = server.ask("POST", body={"to": PERSON})
        assert (status, answer["error"]["code"]) == (503, "not_configured")
        assert server.ask("POST", body={"to": PERSON}, **{"X-Forwarded-For": "192.0.2.1"})[0] == 403
        assert server.carrier.placed == []
