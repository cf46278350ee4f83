"""The TwiML that Twilio gets, and what the log says of a call."""

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import Settings
from store.database import Database
from store.tokens import Refusal, StreamTokens, TokenRefused
from tests.conftest import ExpectedLogs
from web import security, voice
from wire.signature import SIGNATURE_HEADER, sign

AUTH_TOKEN = "12345"
PUBLIC = "https://voice.example.com/phone"
CALL = "CA" + "0123456789abcdef" * 2
CALLER, CALLED = "+14158675310", "+18005551299"
FIELDS = {"CallSid": CALL, "From": CALLER, "To": CALLED, "CallStatus": "ringing", "CallerState": ""}
SENTENCE = "Sorry — nobody is here. Ring again & again."


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/calls.db")
    yield opened
    opened.close()


@pytest.fixture
def tokens(database: Database) -> StreamTokens:
    return StreamTokens(database, 60)


def app_with(tokens: StreamTokens, language: str = "en") -> Flask:
    settings = Settings(openai_api_key="sk-test", twilio_auth_token=AUTH_TOKEN, public_url=PUBLIC)
    app = Flask("voice", static_folder=None)
    security.register(app, settings)
    voice.register(app, settings, tokens, SENTENCE, language)
    return app


@pytest.fixture
def client(tokens: StreamTokens) -> FlaskClient:
    return app_with(tokens).test_client()


def twilio(client: FlaskClient, path: str, **fields: str) -> tuple[int, str]:
    """The status and text of the answer to a signed form post with FIELDS and `fields`."""
    form = {name: value for name, value in {**FIELDS, **fields}.items() if value != "absent"}
    headers = {SIGNATURE_HEADER: sign(AUTH_TOKEN, PUBLIC + path, form.items())}
    answer = client.post(path, data=form, headers=headers)
    return answer.status_code, answer.text


def verbs(text: str) -> list[str]:
    return [verb.tag for verb in ElementTree.fromstring(text)]


def parameters(text: str) -> dict[str, str]:
    return {
        element.attrib["name"]: element.attrib["value"]
        for element in ElementTree.fromstring(text).iter("Parameter")
    }


def test_a_call_is_connected_and_has_a_way_out(client: FlaskClient, tokens: StreamTokens) -> None:
    status, text = twilio(client, "/twiml")
    token = parameters(text)["token"]
    assert status == 200
    assert text == (
        '<?xml version="1.0" encoding="UTF-8"?><Response>'
        f'<Connect action="{PUBLIC}/twiml/ended" method="POST">'
        '<Stream name="switchboard" '
        f'statusCallback="{PUBLIC}/twiml/stream-status" statusCallbackMethod="POST" '
        'url="wss://voice.example.com/phone/websocket">'
        f'<Parameter name="token" value="{token}" />'
        f'<Parameter name="from" value="{CALLER}" /><Parameter name="to" value="{CALLED}" />'
        "</Stream></Connect>"
        "<Say>Sorry — nobody is here. Ring again &amp; again.</Say><Hangup /></Response>"
    )
    tokens.spend(token, CALL)


def test_the_token_is_for_this_call_alone(client: FlaskClient, tokens: StreamTokens) -> None:
    token = parameters(twilio(client, "/twiml")[1])["token"]
    with pytest.raises(TokenRefused) as refused:
        tokens.spend(token, "CA" + "0" * 32)
    assert refused.value.reason is Refusal.OTHER_CALL


def test_the_answer_is_xml_in_utf_8(client: FlaskClient) -> None:
    headers = {SIGNATURE_HEADER: sign(AUTH_TOKEN, f"{PUBLIC}/twiml", FIELDS.items())}
    answer = client.post("/twiml", data=FIELDS, headers=headers)
    assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert "—".encode() in answer.data


def test_a_get_webhook_is_answered_alike(client: FlaskClient) -> None:
    path = f"/twiml?CallSid={CALL}&From=%2B14158675310&To="
    answer = client.get(path, headers={SIGNATURE_HEADER: sign(AUTH_TOKEN, PUBLIC + path)})
    assert answer.status_code == 200
    assert {**parameters(answer.text), "token": ""} == {"token": "", "from": CALLER, "to": ""}


def test_the_fallback_is_spoken_in_its_language(tokens: StreamTokens) -> None:
    _, text = twilio(app_with(tokens, "de").test_client(), "/twiml")
    assert '<Say language="de">' in text


def test_in_development_the_stream_is_on_the_host_that_was_asked(
    tokens: StreamTokens, logs: ExpectedLogs
) -> None:
    logs.expect("signatures are not checked")
    app = Flask("voice", static_folder=None)
    settings = Settings(openai_api_key="sk-test")
    security.register(app, settings)
    voice.register(app, settings, tokens)
    answer = app.test_client().post("/twiml", data=FIELDS, base_url="http://127.0.0.1:4711")
    assert 'url="ws://127.0.0.1:4711/websocket"' in answer.text
    assert 'action="http://127.0.0.1:4711/twiml/ended"' in answer.text
    assert voice.FALLBACK in answer.text


@pytest.mark.parametrize("path", ["/twiml", "/twiml/ended", "/twiml/stream-status"])
def test_every_route_wants_a_signature(client: FlaskClient, logs: ExpectedLogs, path: str) -> None:
    logs.expect("refused POST")
    assert client.post(path, data=FIELDS).status_code == 403


@pytest.mark.parametrize("call_sid", ["absent", "", "CA1", CALL + "0", CALL.replace("CA", "MZ"), CALL + "\n"])
def test_a_request_without_a_call_is_told_what_is_missing(client: FlaskClient, call_sid: str) -> None:
    status, text = twilio(client, "/twiml", CallSid=call_sid)
    assert status == 400
    assert text.startswith("CallSid is missing, or not CA and 32 hexadecimal digits.")


def test_a_long_number_is_clipped_and_stays_xml(client: FlaskClient) -> None:
    name = "sip:" + "<&\"'>é😀" * 200
    _, text = twilio(client, "/twiml", From=name, To="client:a\x00b\x0b\ufffe")
    found = parameters(text)
    assert found["from"] == name[: 499 - len("from")]
    assert found["to"] == "client:ab"
    assert all(len(key) + len(value) < voice.PARAMETER_LIMIT for key, value in found.items())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # tokens may be issued again
@given(caller=st.text(max_size=600), called=st.text(max_size=20))
def test_any_number_makes_a_document_that_parses(client: FlaskClient, caller: str, called: str) -> None:
    status, text = twilio(client, "/twiml", From=caller, To=called)
    assert status == 200
    assert verbs(text) == ["Connect", "Say", "Hangup"]


def test_without_a_database_the_caller_hears_the_fallback(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect(f"call {CALL} gets the fallback: database .*no such table")
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE stream_tokens")
    status, text = twilio(app_with(StreamTokens(database, 60)).test_client(), "/twiml")
    database.close()
    assert (status, verbs(text)) == (200, ["Say", "Hangup"])


@pytest.mark.parametrize("status", ["in-progress", "ringing", "", "absent", "something-new"])
def test_when_the_stream_ends_a_caller_who_is_there_hears_the_fallback(
    client: FlaskClient, status: str
) -> None:
    code, text = twilio(client, "/twiml/ended", CallStatus=status)
    assert (code, verbs(text)) == (200, ["Say", "Hangup"])
    assert "Sorry — nobody is here." in text


@pytest.mark.parametrize("status", ["completed", "busy", "failed", "no-answer", "canceled"])
def test_when_the_call_is_over_nothing_is_said(client: FlaskClient, status: str) -> None:
    code, text = twilio(client, "/twiml/ended", CallStatus=status)
    assert (code, verbs(text)) == (200, [])


def test_a_failed_stream_is_a_warning(client: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect(rf"stream of call {CALL} failed: 31920 handshake\\nforged: line$")
    answer = twilio(
        client,
        "/twiml/stream-status",
        StreamEvent="stream-error",
        StreamError="31920 handshake\nforged: line",
    )
    assert answer == (204, "")
    assert [record.levelname for record in logs.records] == ["WARNING"]


@pytest.mark.parametrize("event", ["stream-started", "stream-stopped", ""])
def test_other_notices_are_only_noted(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    with caplog.at_level(logging.INFO, logger="web.voice"):
        assert twilio(client, "/twiml/stream-status", StreamEvent=event) == (204, "")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert f"stream of call {CALL}: {event}" in caplog.text


def test_the_log_has_no_number_and_no_token(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        _, text = twilio(client, "/twiml")
        twilio(client, "/twiml/ended")
    assert f"call {CALL} from …10 to …99" in caplog.text
    for secret in (CALLER, CALLED, CALLER[-7:], parameters(text)["token"]):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("number", "shown"),
    [(CALLER, "…10"), ("sip:+4930123456@example.com", "…56"), ("anonymous", "…"), ("", "…"), ("911", "…")],
)
def test_a_number_is_shortened_for_the_log(number: str, shown: str) -> None:
    assert voice.shortened(number) == shown
