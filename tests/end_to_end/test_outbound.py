"""Calls that we place to a person, voicemail, a fax, nobody: the real server and SDK, and a stand-in for Twilio."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from simulator.called_phone import CalledPhone
from simulator.callee import Busy, Callee, Failed, Fax, Machine, NoAnswer, Person
from simulator.network import ACCOUNT_SID, PhoneNetwork
from simulator.phone_events import Spoke
from simulator.realtime import OfflineModel
from simulator.script import Script, ScriptedReply, tone
from simulator.server_process import RUN, ServerProcess
from simulator.twilio_rest import TwilioRest
from store.database import Database
from store.history import History, PastCall
from tests.end_to_end.stage import AUTH_TOKEN, EVER, PATIENCE, ask, server_settings
from tests.probe import wait_until
from tests.simulator.telephony import bursts, side

pytestmark = pytest.mark.slow

API_TOKEN = "an API token of the tests"
OURS = "+15550100000"
GREETING_MS, MESSAGE_MS = 400, 700
ASSISTANT = f"""
name = "Tests"
instructions = "You are a test."
greeting = "Who answers a call says this"
[outbound]
caller_id = "{OURS}"
greeting = "Who makes a call says this, {{parameters.name}}"
voicemail = "Please call us back"
timeout_seconds = 5
"""


class Speaker(Script):
    """Says each of the things that it is told to in a tone of its own length."""

    def follow(self, instructions: str) -> ScriptedReply:
        if "Please call us back" in instructions:
            return ScriptedReply("Please call us back", audio=tone(MESSAGE_MS))
        assert "Who makes a call says this" in instructions
        return ScriptedReply("Who makes a call says this", audio=tone(GREETING_MS))

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        return ScriptedReply("yes", audio=tone(300))


class Exchange:
    """A server with two workers, the phone network that it calls into, and whoever has the API's token."""

    def __init__(self, folder: Path, model: OfflineModel, **settings: str) -> None:
        (folder / "assistant.toml").write_text(ASSISTANT)
        self.folder = folder
        self.model = model
        self.settings = server_settings(model, folder) | {
            "ASSISTANT": str(folder / "assistant.toml"),
            "API_TOKEN": API_TOKEN,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "DIAL_COUNTRIES": "+1",
            "CALLS_PER_SECOND": "100",
            **settings,
        }
        self.address = f"127.0.0.1:{self.settings['PORT']}"
        self.network = PhoneNetwork(AUTH_TOKEN, server_url=f"http://{self.address}", recordings=folder)
        self.network.own(OURS)
        self.rest = TwilioRest(self.network)
        self._numbers = iter(range(1, 100))

    @contextmanager
    def open(self) -> Iterator["Exchange"]:
        with self.rest:
            self.settings["TWILIO_API_URL"] = self.rest.url
            with ServerProcess(self.settings, self.folder) as server, self.network:
                yield self
                self.check_nothing_is_left()
            log = server.log.read_text()
            assert [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line] == []

    def number_of(self, callee: Callee) -> str:
        """A number at which that one answers."""
        number = f"+1555010{next(self._numbers):04}"
        self.network.callees[number] = callee
        return number

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def dial(self, callee: Callee) -> tuple[Any, CalledPhone]:
        """The call as the API says it, and the phone that rings."""
        number = self.number_of(callee)
        status, call = self.ask("POST", "/calls", {"to": number, "variables": {"name": "Anna"}})
        assert status == 201, call
        return call, self.network.await_call(number, PATIENCE)

    def told_when(self, call: Any, what: str, value: str) -> Any:
        """What the API says of the call when one thing is so; Twilio tells of it in a request of its own."""
        path = f"/calls/{call['id']}"
        wait_until(lambda: self.ask("GET", path)[1][what] == value, f"{what} is {value}", PATIENCE)
        return self.ask("GET", path)[1]

    def end_of(self, call: Any) -> Any:
        """What the API says of the call when it is over; other processes write it, which have no event to give."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, told = self.ask("GET", f"/calls/{call['id']}")
            assert status == 200
            if told["outcome"] is not None:
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)

    def past(self, call_sid: str) -> PastCall:
        """The call as the history has it."""
        database = Database(self.settings["DATABASE_URL"])
        try:
            [past] = History(database).find(call_sid)
            return past
        finally:
            database.close()

    def check_nothing_is_left(self) -> None:
        """No call at Twilio, no session with the model, no call in a worker, and nothing open in the database."""
        wait_until(lambda: all(call.over for call in self.network.calls.values()), "no call", PATIENCE)
        assert all(session.closed.wait(PATIENCE) for session in self.model.sessions)
        # Whoever is asked six times is asked in both workers.
        wait_until(lambda: not any(self.calls_in_a_worker() for _ in range(6)), "no call there", PATIENCE)
        database = Database(self.settings["DATABASE_URL"])
        try:
            for rows in (
                "SELECT id, status FROM dialed_calls WHERE status NOT IN "
                "('completed', 'busy', 'no-answer', 'failed', 'canceled')",
                "SELECT call_sid FROM calls WHERE ended_at IS NULL OR next_answer = 'resume'",
                "SELECT * FROM orders",
            ):
                wait_until(lambda rows=rows: not found(database, rows), f"no {rows}", PATIENCE)  # type: ignore[misc]
        finally:
            database.close()

    def calls_in_a_worker(self) -> int:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request("GET", "/ready")
            return int(json.loads(connection.getresponse().read())["calls"])
        finally:
            connection.close()


def found(database: Database, query: str) -> list[Any]:
    with database.read() as connection:
        return list(connection.exec_driver_sql(query).all())


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with OfflineModel(pace=100, **Speaker().equipment()) as model:
        exchange = Exchange(tmp_path_factory.mktemp("outbound"), model)
        with exchange.open():
            yield exchange


def finished(phone: CalledPhone) -> Any:
    result = phone.await_end(PATIENCE)
    assert not result.errors, result.errors
    return result


def heard(exchange: Exchange, phone: CalledPhone) -> list[tuple[int, int]]:
    """From when to when, in samples, the other side heard something."""
    return bursts(side(exchange.folder / f"{phone.call_sid}.wav", 1))


def test_a_person_is_spoken_with(exchange: Exchange) -> None:
    call, phone = exchange.dial(Person(says=tone(300)))
    phone.await_assistant(PATIENCE, EVER)
    phone.await_silence(300, PATIENCE)
    told = exchange.told_when(call, "status", "in-progress")
    assert told["call_sid"] == phone.call_sid
    ask(phone, tone(400))
    phone.await_silence(100, PATIENCE)
    phone.hang_up()
    result = finished(phone)
    [stream] = result.streams
    assert (stream.parameters["from"], stream.parameters["direction"]) == (OURS, "outbound")
    told = exchange.end_of(call)
    assert (told["status"], told["answered_by"], told["outcome"]) == ("completed", "human", "hung_up")
    greetings = [
        event["response"]["instructions"]
        for session in exchange.model.sessions
        for event in session.received
        if event["type"] == "response.create" and "response" in event
    ]
    assert any("Who makes a call says this, Anna" in words for words in greetings)
    # One worker is told by Twilio that the call is over, and another writes down what was said in it.
    wait_until(lambda: exchange.past(phone.call_sid).turns >= 1, "what was said is written down", PATIENCE)
    past = exchange.past(phone.call_sid)
    assert (past.direction, past.caller, past.called, past.streams) == ("outbound", OURS, call["to"], 1)


def test_a_machine_is_left_a_message_after_its_beep(exchange: Exchange) -> None:
    call, phone = exchange.dial(Machine())
    finished(phone)
    told = exchange.end_of(call)
    assert (told["answered_by"], told["outcome"]) == ("machine_end_beep", "voicemail")
    recorded = heard(exchange, phone)
    said = bursts(side(exchange.folder / f"{phone.call_sid}.wav", 0))
    began, ended = recorded[-1]
    assert began > said[-1][1], "the message begins after the beep"
    assert (ended - began) / 8 == pytest.approx(MESSAGE_MS, abs=20), "and is heard to its end"
    assert all(end < began for _, end in recorded[:-1])
    assert exchange.past(phone.call_sid).outcome == "voicemail"


def test_a_machine_without_a_beep_is_left_a_message_too(exchange: Exchange) -> None:
    call, phone = exchange.dial(Machine(beep=False))
    finished(phone)
    told = exchange.end_of(call)
    assert (told["answered_by"], told["outcome"]) == ("machine_end_silence", "voicemail")
    began, ended = heard(exchange, phone)[-1]
    assert (ended - began) / 8 == pytest.approx(MESSAGE_MS, abs=20)


@pytest.mark.parametrize("detected_s", [0.0, 0.3])
def test_a_fax_is_hung_up(exchange: Exchange, detected_s: float) -> None:
    """Also one that is found out before the stream begins."""
    call, phone = exchange.dial(Fax(detected_s=detected_s))
    result = finished(phone)
    told = exchange.end_of(call)
    assert (told["answered_by"], told["outcome"], told["status"]) == ("fax", "fax", "completed")
    assert result.reason == "hangup"


def test_who_cannot_be_told_from_a_machine_is_a_person(exchange: Exchange) -> None:
    call, phone = exchange.dial(Person(unknown=True))
    phone.await_assistant(PATIENCE, EVER)
    phone.await_silence(500, PATIENCE)
    phone.hang_up()
    finished(phone)
    told = exchange.end_of(call)
    assert (told["answered_by"], told["outcome"]) == ("unknown", "hung_up")


@pytest.mark.parametrize(
    ("callee", "status", "outcome"),
    [
        (Busy(), "busy", "busy"),
        (NoAnswer(0.3), "no-answer", "no_answer"),
        (NoAnswer(), "no-answer", "no_answer"),
        (Failed(), "failed", "failed"),
        (Failed(sip_code=603), "failed", "failed"),
    ],
)
def test_where_nobody_answers_there_is_no_session(
    exchange: Exchange, callee: Callee, status: str, outcome: str
) -> None:
    sessions = len(exchange.model.sessions)
    call, phone = exchange.dial(callee)
    phone.await_end(PATIENCE)
    told = exchange.end_of(call)
    assert (told["status"], told["outcome"], told["answered_by"]) == (status, outcome, None)
    past = exchange.past(phone.call_sid)
    assert (past.outcome, past.streams, past.direction) == (outcome, 0, "outbound")
    assert len(exchange.model.sessions) == sessions


def test_a_person_who_hangs_up_at_once_leaves_nothing_behind(exchange: Exchange) -> None:
    call, phone = exchange.dial(Person(hangs_up_s=0.0))
    phone.await_end(PATIENCE)
    assert exchange.end_of(call)["outcome"] == "hung_up"


def test_twilios_answer_may_come_after_the_conversation_has_begun(exchange: Exchange) -> None:
    exchange.rest.respond_after_stream = True
    try:
        call, phone = exchange.dial(Person())
    finally:
        exchange.rest.respond_after_stream = False
    assert (call["status"], call["call_sid"]) == ("in-progress", phone.call_sid)
    phone.await_assistant(PATIENCE, EVER)
    phone.hang_up()
    finished(phone)
    assert exchange.end_of(call)["outcome"] == "hung_up"


def test_what_twilio_refuses_is_said_with_its_code(exchange: Exchange) -> None:
    exchange.rest.refuse_next(400, 21215, "Account not authorized to call")
    status, answer = exchange.ask("POST", "/calls", {"to": exchange.number_of(Person())})
    assert (status, answer["error"]["twilio_code"]) == (502, 21215)
    assert "Geographic permissions" in answer["error"]["message"]
    assert exchange.ask("GET", f"/calls/{answer['call']['id']}")[1]["outcome"] == "refused"


def test_a_call_that_rings_is_given_up(exchange: Exchange) -> None:
    call, phone = exchange.dial(NoAnswer())
    assert exchange.ask("DELETE", f"/calls/{call['id']}")[0] == 202
    assert phone.await_end(PATIENCE).reason == "canceled"
    told = exchange.end_of(call)
    assert (told["status"], told["outcome"]) == ("canceled", "canceled")


def test_a_call_that_is_talked_on_is_ended(exchange: Exchange) -> None:
    call, phone = exchange.dial(Person())
    phone.await_assistant(PATIENCE, EVER)
    assert exchange.ask("DELETE", f"/calls/{call['id']}")[0] == 202
    assert phone.await_end(PATIENCE).reason == "completed"
    assert exchange.end_of(call)["status"] == "completed"


def test_the_person_hears_the_fallback_where_there_is_no_model(exchange: Exchange) -> None:
    exchange.model.faults.refuse(503)
    try:
        call, phone = exchange.dial(Person())
        result = phone.await_end(PATIENCE)
    finally:
        exchange.model.faults.let_in()
    assert [event.text for event in result.events if isinstance(event, Spoke)] != []
    told = exchange.end_of(call)
    assert (told["status"], told["outcome"]) == ("completed", "model_failed")


def test_limits_hold_over_all_workers_for_requests_at_the_same_time(
    exchange: Exchange, tmp_path: Path
) -> None:
    limited = Exchange(tmp_path, exchange.model, CALLS_PER_DAY="3")
    with limited.open():
        number, barrier, statuses = limited.number_of(Busy()), threading.Barrier(10), []

        def ask() -> None:
            barrier.wait()
            statuses.append(limited.ask("POST", "/calls", {"to": number})[0])

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [201] * 3 + [429] * 7
        assert len(limited.network.calls) == 3
        for _ in range(3):
            limited.network.await_call(number, PATIENCE).await_end(PATIENCE)


def run_dial(exchange: Exchange, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), "dial", *arguments],
        cwd=exchange.folder,
        env=exchange.settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_shows_how_a_call_goes(exchange: Exchange) -> None:
    done = run_dial(exchange, exchange.number_of(Machine()), "--wait", "--variable", "name=Anna")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.partition(" to ")[0][:5] for line in lines[:1]] == ["call "]
    assert lines[-2:] == ["completed", "outcome: voicemail"]
    assert "answered by: machine end beep" in lines
    assert "+1555" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("callee", "status", "outcome"), [(Busy(), 3, "outcome: busy"), (Fax(), 3, "outcome: fax")]
)
def test_the_command_fails_where_nobody_was_reached(
    exchange: Exchange, callee: Callee, status: int, outcome: str
) -> None:
    done = run_dial(exchange, exchange.number_of(callee), "--wait")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, outcome)


def test_the_command_says_why_it_does_not_call(exchange: Exchange) -> None:
    done = run_dial(exchange, "+4930123456")
    assert (done.returncode, done.stdout) == (1, "")
    assert "DIAL_COUNTRIES does not allow it" in done.stderr


def test_the_command_takes_no_variable_without_a_value(exchange: Exchange) -> None:
    done = run_dial(exchange, exchange.number_of(Person()), "--variable", "Anna")
    assert (done.returncode, done.stdout) == (2, "")
    assert "NAME=VALUE" in done.stderr
