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

from actors.assistant import Assistant
from actors.assistants import LOOK_SECONDS, Assistants
from actors.carrier import Carrier
from config import Settings
from store.database import Database
from store.journal import CallJournal
from store.orders import Orders
from store.tokens import RESUMES_AT_ONCE, Refusal, StreamTokens, TokenRefused
from tests.conftest import ExpectedLogs
from tests.web.conftest import IdleCall, Line, ToldPulse
from web import security, twiml
from web.admission import Admission
from web.calls import Calls
from web.orders import OrderDesk
from web.voice import NOT_RESUMED, Voice
from wire.journal import CallRecord, Then
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
def journal(database: Database) -> Iterator[CallJournal]:
    made = CallJournal(database)
    yield made
    made.close()


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls(threads=2, actor=IdleCall)
    yield made
    made.drain(5)


class Server:
    """An app with the voice routes, and what stands behind them."""

    def __init__(
        self,
        database: Database,
        journal: CallJournal,
        calls: Calls,
        signed: bool = True,
        assistants: Assistants | None = None,
        carrier: Carrier | None = None,
        **tables: object,
    ) -> None:
        assistant = Assistant.model_validate(
            {"instructions": "Be brief.", "fallback": SENTENCE, "overflow": {"goodbye": ""}, **tables}
        )
        assistants = assistants or Assistants(Path("assistant.toml"), lambda path: assistant)
        self.assistant = assistant
        settings = Settings(openai_api_key="sk-test")
        if signed:
            settings = Settings(openai_api_key="sk-test", twilio_auth_token=AUTH_TOKEN, public_url=PUBLIC)
        self.tokens = StreamTokens(database, 60)
        admission = Admission(calls, journal, 2, None, lambda: 1800)
        app = Flask("voice", static_folder=None)
        security.register(app, settings)
        self.orders = Orders(database)
        desk = OrderDesk(self.orders, calls)
        Voice(settings, self.tokens, assistants, calls, journal, admission, desk, carrier).register(app)
        self.client = app.test_client()


@pytest.fixture
def server(database: Database, journal: CallJournal, calls: Calls) -> Server:
    return Server(database, journal, calls)


@pytest.fixture
def tokens(server: Server) -> StreamTokens:
    return server.tokens


@pytest.fixture
def client(server: Server) -> FlaskClient:
    return server.client


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
        f'<Connect action="{PUBLIC}/twiml/ended?stream=1" method="POST">'
        '<Stream name="switchboard" '
        f'statusCallback="{PUBLIC}/twiml/stream-status" statusCallbackMethod="POST" '
        'url="wss://voice.example.com/phone/websocket">'
        f'<Parameter name="token" value="{token}" />'
        f'<Parameter name="from" value="{CALLER}" /><Parameter name="to" value="{CALLED}" />'
        "</Stream></Connect>"
        "<Say>Sorry — nobody is here. Ring again &amp; again.</Say><Hangup /></Response>"
    )
    tokens.spend(token, CALL)


def test_the_called_number_decides_who_says_that_nobody_is_here(
    database: Database, journal: CallJournal, calls: Calls, tmp_path: Path
) -> None:
    for name, numbers in (("desk", []), ("sales", [CALLED])):
        text = f'instructions = "Be brief."\nnumbers = {numbers}\nfallback = "No {name}."'
        (tmp_path / f"{name}.toml").write_text(text.replace("'", '"'))
    server = Server(database, journal, calls, assistants=Assistants(tmp_path))
    said = [
        ElementTree.fromstring(twilio(server.client, "/twiml", To=called)[1]).findtext("Say")
        for called in (CALLED, "+4930999999", "client:alice")
    ]
    assert said == ["No sales.", "No desk.", "No desk."]


def test_a_call_that_has_begun_keeps_its_way_out_whatever_its_file_says_now(
    database: Database, journal: CallJournal, calls: Calls, tmp_path: Path
) -> None:
    now, file = [100.0], tmp_path / "desk.toml"
    file.write_text('instructions = "Be brief."\nfallback = "Nobody is here."')
    assistants = Assistants(file, clock=lambda: now[0])
    version = assistants.default.version
    journal.began(CallRecord(CALL, "MZ1", CALLER, CALLED, "Desk", version))
    journal.ended(CALL, "model failed", Then.FALLBACK)
    file.write_text('instructions = "Be brief."\nfallback = "Nobody will ever be here."')
    now[0] += LOOK_SECONDS
    server = Server(database, journal, calls, assistants=assistants)
    _, text = twilio(server.client, "/twiml/ended?stream=1", CallStatus="in-progress")
    assert ElementTree.fromstring(text).findtext("Say") == "Nobody is here."
    assert assistants.default.version != version


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


def test_in_development_the_stream_is_on_the_host_that_was_asked(
    database: Database, journal: CallJournal, calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("signatures are not checked")
    client = Server(database, journal, calls, signed=False).client
    answer = client.post("/twiml", data=FIELDS, base_url="http://127.0.0.1:4711")
    assert 'url="ws://127.0.0.1:4711/websocket"' in answer.text
    assert 'action="http://127.0.0.1:4711/twiml/ended?stream=1"' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/twiml", "/twiml/ended", "/twiml/ended?stream=1", "/twiml/transferred", "/twiml/recorded",
        "/twiml/stream-status", "/twiml/recording-status", "/twiml/consult", "/twiml/consult-status",
    ],
)  # fmt: skip
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
    assert all(len(key) + len(value) < twiml.PARAMETER_LIMIT for key, value in found.items())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # tokens may be issued again
@given(caller=st.text(max_size=600), called=st.text(max_size=20))
def test_any_number_makes_a_document_that_parses(client: FlaskClient, caller: str, called: str) -> None:
    status, text = twilio(client, "/twiml", From=caller, To=called)
    assert status == 200
    assert verbs(text) == ["Connect", "Say", "Hangup"]


def test_without_a_database_the_caller_hears_the_fallback(
    server: Server, database: Database, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} gets the fallback: database .*no such table")
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE stream_tokens")
    status, text = twilio(server.client, "/twiml")
    assert (status, verbs(text)) == (200, ["Say", "Hangup"])


# Overflow


def test_who_calls_a_full_server_is_told_at_once(
    client: FlaskClient, calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} is not taken: this process takes no more calls; raise THREADS or WORKERS")
    with Line(calls, "CA1"):
        _, text = twilio(client, "/twiml")
    assert verbs(text) == ["Say", "Hangup"]
    assert "all our lines are busy" in text
    assert verbs(twilio(client, "/twiml")[1])[0] == "Connect"


def test_who_waits_in_the_queue_comes_back_and_is_taken(
    database: Database, journal: CallJournal, calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("is not taken")
    client = Server(database, journal, calls, overflow={"queue_seconds": 20, "queue_rounds": 2}).client
    with Line(calls, "CA1"):
        _, first = twilio(client, "/twiml")
        _, second = twilio(client, "/twiml?rounds=1")
        _, last = twilio(client, "/twiml?rounds=2")
    assert verbs(first) == verbs(second) == ["Say", "Pause", "Redirect"]
    assert (f"{PUBLIC}/twiml?rounds=1" in first, f"{PUBLIC}/twiml?rounds=2" in second) == (True, True)
    assert verbs(last) == ["Say", "Say", "Hangup"]
    assert verbs(twilio(client, "/twiml?rounds=1")[1])[0] == "Connect"


def test_who_calls_a_late_server_waits_like_who_calls_a_full_one_and_a_call_that_goes_on_does_not(
    database: Database, journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect("is not taken: this process is late; add WORKERS or machines")
    pulse = ToldPulse()
    calls = Calls(threads=8, actor=IdleCall, pulse=pulse)
    client = Server(database, journal, calls, overflow={"queue_seconds": 20}).client
    assert verbs(twilio(client, "/twiml")[1])[0] == "Connect"
    pulse.told_late = True
    assert verbs(ask(client))[0] == "Connect"
    other = {"CallSid": f"CA{'8' * 32}"}
    assert verbs(twilio(client, "/twiml", **other)[1]) == ["Say", "Pause", "Redirect"]
    pulse.told_late = False
    assert verbs(twilio(client, "/twiml?rounds=1", **other)[1])[0] == "Connect"


def test_who_has_too_many_calls_is_not_queued(
    database: Database, journal: CallJournal, calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("is not taken: its caller has MAX_CALLS_PER_CALLER calls already")
    client = Server(database, journal, calls, overflow={"queue_seconds": 20}).client
    for number in range(2):
        began(journal, f"CA{number}")
    assert "Redirect" not in verbs(twilio(client, "/twiml")[1])
    assert verbs(twilio(client, "/twiml", From="+14158675311")[1])[0] == "Connect"


# After a stream


def began(journal: CallJournal, call_sid: str = CALL) -> None:
    journal.began(CallRecord(call_sid, "MZ1", CALLER, CALLED, "Desk", "1"))
    assert journal.flush(20)


def ended(journal: CallJournal, then: Then) -> None:
    journal.ended(CALL, "ended", then)
    assert journal.flush(20)


def ask(client: FlaskClient, stream: int = 1, status: str = "in-progress") -> str:
    code, text = twilio(client, f"/twiml/ended?stream={stream}", CallStatus=status)
    assert code == 200
    return text


def stream(server: Server, text: str) -> int:
    """Does what Twilio does with a document that has a stream; returns the stream's number."""
    return server.tokens.spend(parameters(text)["token"], CALL)


@pytest.mark.parametrize("told", [None, Then.RESUME])
def test_a_call_that_has_lost_its_stream_gets_another_one(
    server: Server, journal: CallJournal, told: Then | None
) -> None:
    """After a `kill -9` nobody has told how it ended; after a hand-over somebody has."""
    assert stream(server, twilio(server.client, "/twiml")[1]) == 1
    began(journal)
    if told:
        ended(journal, told)
    text = ask(server.client)
    assert verbs(text) == ["Connect", "Say", "Hangup"]
    assert f'action="{PUBLIC}/twiml/ended?stream=2"' in text
    given = parameters(text)
    assert (given["resumed"], given["from"], given["to"]) == ("1", CALLER, CALLED)
    assert stream(server, text) == 2


@pytest.mark.parametrize(
    ("told", "direction"), [("outbound-api", "outbound"), ("inbound", None), ("absent", None)]
)
def test_a_call_that_goes_on_is_still_ours_or_the_callers(
    server: Server, told: str, direction: str | None
) -> None:
    stream(server, twilio(server.client, "/twiml")[1])
    text = twilio(server.client, "/twiml/ended?stream=1", Direction=told)[1]
    assert parameters(text).get("direction") == direction


@pytest.mark.parametrize("status", ["in-progress", "ringing", "", "absent", "something-new"])
def test_a_call_is_not_over_before_twilio_says_so(server: Server, status: str) -> None:
    stream(server, twilio(server.client, "/twiml")[1])
    assert verbs(ask(server.client, status=status))[0] == "Connect"


def test_a_stream_that_no_worker_had_room_for_is_followed_by_another_try(server: Server) -> None:
    """The call never began, so no journal knows it."""
    twilio(server.client, "/twiml")
    assert stream(server, ask(server.client)) == 2


def test_a_call_that_nobody_has_room_for_tries_less_and_less_often_and_gives_up(
    server: Server, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} gets the fallback: stream token refused: resumed too often")
    twilio(server.client, "/twiml")
    found = []
    while "Connect" in verbs(text := ask(server.client, len(found) + 1)):
        found.append(verbs(text)[0])
    assert found == ["Connect"] * 8 + ["Pause"] * 5
    assert verbs(text) == ["Say", "Hangup"]


def test_a_call_that_we_ended_is_hung_up(server: Server, journal: CallJournal) -> None:
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    ended(journal, Then.HANG_UP)
    assert verbs(ask(server.client)) == ["Hangup"]


def test_a_call_that_broke_gets_the_fallback(server: Server, journal: CallJournal) -> None:
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    ended(journal, Then.FALLBACK)
    text = ask(server.client)
    assert verbs(text) == ["Say", "Hangup"]
    assert "Sorry — nobody is here." in text


def test_the_stream_of_an_unknown_call_is_followed_by_the_fallback(
    client: FlaskClient, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} gets the fallback: stream token refused: unknown")
    assert verbs(ask(client)) == ["Say", "Hangup"]


def test_a_captured_question_opens_no_second_stream_and_harms_no_call(
    server: Server, journal: CallJournal, logs: ExpectedLogs
) -> None:
    """The call goes on with its second stream while somebody repeats what Twilio asked after the first."""
    logs.expect(f"call {CALL} gets the fallback: stream token refused: replayed")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    stream(server, ask(server.client))
    began(journal)
    assert verbs(ask(server.client, 1)) == ["Say", "Hangup"]
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.then is Then.RESUME
    assert stream(server, ask(server.client, 2)) == 3


def test_a_call_that_breaks_again_and_again_ends_with_the_fallback(
    server: Server, journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} gets the fallback: stream token refused: resumed too often")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    for number in range(1, RESUMES_AT_ONCE + 1):
        assert stream(server, ask(server.client, number)) == number + 1
    for _ in range(2):
        assert verbs(ask(server.client, RESUMES_AT_ONCE + 1)) == ["Say", "Hangup"]
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.outcome, stored.then) == (NOT_RESUMED, Then.FALLBACK)


@pytest.mark.parametrize("table", ["calls", "stream_tokens"])
def test_without_a_database_a_call_ends_with_the_fallback(
    server: Server, database: Database, logs: ExpectedLogs, table: str
) -> None:
    logs.expect(f"call {CALL} gets the fallback: database .*no such table")
    twilio(server.client, "/twiml")
    with database.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {table}")
    assert verbs(ask(server.client)) == ["Say", "Hangup"]


OVER = ["completed", "busy", "failed", "no-answer", "canceled"]


@pytest.mark.parametrize("status", OVER)
def test_when_the_call_is_over_nothing_is_said(client: FlaskClient, status: str) -> None:
    assert verbs(ask(client, status=status)) == []


def test_a_call_that_was_over_when_its_worker_died_has_an_end(server: Server, journal: CallJournal) -> None:
    """Else it would count as one that goes on."""
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    assert verbs(ask(server.client, status="completed")) == []
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.outcome, stored.then) == ("hung_up", Then.HANG_UP)


def test_a_call_that_is_over_keeps_the_outcome_that_was_told(server: Server, journal: CallJournal) -> None:
    began(journal)
    ended(journal, Then.FALLBACK)
    ask(server.client, status="completed")
    stored = journal.load(CALL)
    assert stored is not None
    assert (stored.outcome, stored.then) == ("ended", Then.FALLBACK)


# Answers that Twilio did not get


def lost(client: FlaskClient, path: str, code: str = "11200", **fields: str) -> str:
    """What it is answered with at the fallback URL, after it has asked there and nothing came."""
    fields = {"CallStatus": "in-progress", "ErrorCode": code, "ErrorUrl": PUBLIC + path, **fields}
    status, text = twilio(client, "/twiml", **fields)
    assert status == 200
    return text


@pytest.mark.parametrize("asked", ["/twiml/ended?stream=1", "/twiml/ended?stream=1&waits=2"])
def test_a_call_whose_stream_and_question_went_to_a_dead_machine_goes_on(
    server: Server, journal: CallJournal, logs: ExpectedLogs, asked: str
) -> None:
    logs.expect(f"call {CALL} did not get the answer of /twiml/ended")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    text = lost(server.client, asked)
    assert f'action="{PUBLIC}/twiml/ended?stream=2"' in text
    assert stream(server, text) == 2


@pytest.mark.parametrize(("then", "found"), [(Then.HANG_UP, ["Hangup"]), (Then.FALLBACK, ["Say", "Hangup"])])
def test_a_call_whose_question_was_lost_ends_as_it_would_have(
    client: FlaskClient, journal: CallJournal, logs: ExpectedLogs, then: Then, found: list[str]
) -> None:
    logs.expect("did not get the answer")
    began(journal)
    ended(journal, then)
    assert verbs(lost(client, "/twiml/ended?stream=1")) == found


def test_a_call_that_is_over_when_its_question_is_lost_has_an_end(
    server: Server, journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect("did not get the answer")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    assert verbs(lost(server.client, "/twiml/ended?stream=1", CallStatus="completed")) == []
    stored = journal.load(CALL)
    assert stored is not None
    assert stored.outcome == "hung_up"


def test_a_server_that_ends_lets_others_give_the_answer_that_was_lost(
    client: FlaskClient, journal: CallJournal, calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("did not get the answer")
    began(journal)
    calls.drain(0)
    text = lost(client, "/twiml/ended?stream=1&waits=2")
    assert ElementTree.fromstring(text).findtext("Redirect") == f"{PUBLIC}/twiml/ended?stream=1&waits=3"


@pytest.mark.parametrize("status", ["absent", "no-answer"])
def test_who_could_not_be_put_through_is_with_the_assistant_again_though_that_was_lost(
    server: Server, journal: CallJournal, logs: ExpectedLogs, status: str
) -> None:
    """Whether the fallback URL is told what the lost question told, Twilio does not say."""
    logs.expect("did not get the answer of /twiml/transferred")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    ended(journal, Then.TRANSFER)
    text = lost(server.client, "/twiml/transferred?stream=1", DialCallStatus=status)
    assert stream(server, text) == 2


def test_who_was_put_through_is_not_called_back_though_that_was_lost(
    client: FlaskClient, logs: ExpectedLogs
) -> None:
    logs.expect("did not get the answer of /twiml/transferred")
    assert verbs(lost(client, "/twiml/transferred?stream=1", DialCallStatus="completed")) == ["Hangup"]


def test_a_first_answer_that_was_lost_is_given_again(server: Server) -> None:
    lost_token = parameters(twilio(server.client, "/twiml")[1])["token"]
    text = lost(server.client, "/twiml")
    assert parameters(text)["token"] != lost_token
    assert stream(server, text) == 1


@pytest.mark.parametrize(
    ("asked", "code"),
    [("/twiml/recorded", "11200"), ("/twiml/ended/x?stream=1", "11200"), ("/twiml/ended?stream=1", "13223")],
)
def test_whatever_else_fails_leads_to_the_fallback(
    server: Server, journal: CallJournal, logs: ExpectedLogs, asked: str, code: str
) -> None:
    """An answer that came and could not be followed would not be better for being given again."""
    logs.expect("gets the fallback, it has had its stream")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    assert verbs(lost(server.client, asked, code)) == ["Say", "Hangup"]


def test_a_captured_request_for_a_lost_answer_opens_no_second_stream(
    server: Server, journal: CallJournal, logs: ExpectedLogs
) -> None:
    logs.expect("did not get the answer")
    logs.expect(f"call {CALL} gets the fallback: stream token refused: replayed")
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    stream(server, lost(server.client, "/twiml/ended?stream=1"))
    began(journal)
    assert verbs(lost(server.client, "/twiml/ended?stream=1")) == ["Say", "Hangup"]


# A server that is about to end


def test_a_server_that_ends_sends_new_callers_elsewhere(
    client: FlaskClient, calls: Calls, tokens: StreamTokens, logs: ExpectedLogs
) -> None:
    logs.expect(f"call {CALL} gets the fallback: no server takes it but this, which ends")
    calls.drain(0)
    path, seen = "/twiml", []
    while "Redirect" in verbs(text := twilio(client, path)[1]):
        path = (ElementTree.fromstring(text).findtext("Redirect") or "").removeprefix(PUBLIC)
        seen.append(path)
    assert seen[:2] == ["/twiml?rounds=0&waits=1", "/twiml?rounds=0&waits=2"]
    assert len(seen) == len(twiml.WAIT_SECONDS)
    assert verbs(text) == ["Say", "Hangup"]


def test_a_caller_who_was_sent_elsewhere_is_taken_there(server: Server, journal: CallJournal) -> None:
    assert stream(server, twilio(server.client, "/twiml?rounds=0&waits=3")[1]) == 1
    began(journal)
    assert stream(server, twilio(server.client, "/twiml/ended?stream=1&waits=2")[1]) == 2


def test_a_server_that_ends_lets_others_go_on_with_its_calls(
    server: Server, journal: CallJournal, calls: Calls
) -> None:
    stream(server, twilio(server.client, "/twiml")[1])
    began(journal)
    ended(journal, Then.RESUME)
    calls.drain(0)
    text = ask(server.client)
    assert verbs(text) == ["Redirect"]
    assert ElementTree.fromstring(text).findtext("Redirect") == f"{PUBLIC}/twiml/ended?stream=1&waits=1"


@pytest.mark.parametrize(("then", "found"), [(Then.HANG_UP, ["Hangup"]), (Then.FALLBACK, ["Say", "Hangup"])])
def test_a_server_that_ends_still_answers_what_needs_no_other(
    client: FlaskClient, journal: CallJournal, calls: Calls, then: Then, found: list[str]
) -> None:
    began(journal)
    ended(journal, then)
    calls.drain(0)
    assert verbs(ask(client)) == found


# Transfers and voicemail


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", ""])
def test_who_was_not_transferred_hears_the_goodbye(
    database: Database, journal: CallJournal, calls: Calls, status: str
) -> None:
    tables = {"fallback": {"goodbye": "Nobody there."}, "overflow": {"goodbye": "Busy as well."}}
    client = Server(database, journal, calls, **tables).client
    _, text = twilio(client, "/twiml/transferred", DialCallStatus=status, CallStatus="in-progress")
    assert verbs(text) == ["Say", "Hangup"]
    assert "Nobody there." in text
    _, text = twilio(client, "/twiml/transferred?overflow=1", DialCallStatus=status, CallStatus="in-progress")
    assert "Busy as well." in text


@pytest.mark.parametrize(
    ("status", "call_status"),
    [("completed", "in-progress"), ("answered", "in-progress"), ("no-answer", "completed")],
)
def test_after_a_transfer_there_is_nothing_to_say(client: FlaskClient, status: str, call_status: str) -> None:
    _, text = twilio(client, "/twiml/transferred", DialCallStatus=status, CallStatus=call_status)
    assert verbs(text) == ["Hangup"]


def test_who_left_a_message_is_thanked(client: FlaskClient) -> None:
    assert verbs(twilio(client, "/twiml/recorded", CallStatus="in-progress")[1]) == ["Say", "Hangup"]
    assert verbs(twilio(client, "/twiml/recorded", CallStatus="completed")[1]) == []


@pytest.mark.parametrize(
    ("status", "level"),
    [("completed", "INFO"), ("in-progress", "INFO"), ("failed", "WARNING"), ("x\ny", "INFO")],
)
def test_what_became_of_a_message_is_logged_without_its_address(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, logs: ExpectedLogs, status: str, level: str
) -> None:
    logs.allow("message RE1 of call")
    with caplog.at_level(logging.INFO, logger="web.voice"):
        answer = twilio(
            client,
            "/twiml/recording-status",
            RecordingSid="RE1",
            RecordingStatus=status,
            RecordingDuration="7",
            RecordingUrl="https://api.twilio.com/secret",
        )
    assert answer == (204, "")
    assert [(record.levelname, len(record.getMessage().splitlines())) for record in caplog.records] == [
        (level, 1)
    ]
    assert f"message RE1 of call {CALL}" in caplog.text
    assert "secret" not in caplog.text


# The log


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
