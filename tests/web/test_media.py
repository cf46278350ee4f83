"""A media stream over a real socket, up to the call that it is handed to."""

import base64
import json
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import websocket
from flask import Flask
from werkzeug.serving import make_server

from actors.assistant import Assistant
from actors.assistants import LOOK_SECONDS, Assistants
from actors.call_context import CallContext
from actors.messages import CallerAudio
from actors.meter import NoMeter, Outcome
from actors.phone_reader import PhoneReader
from actors.setup import CallSetup
from config import STREAM_PATH, Settings
from store.database import Database
from store.dialed import DialedCalls
from store.greetings import Greetings
from store.journal import CallJournal
from store.tokens import StreamTokens
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, wait_until
from tests.web.conftest import KnownCall, Line, ToldPulse, setups
from web import security
from web.calls import Calls
from web.media import MediaStreams
from wire.dial_rate import DialRate
from wire.journal import CallRecord, Then
from wire.kept_greeting import KeptGreeting
from wire.transcript import Entry

CALL = "CA" + "0123456789abcdef" * 2
CALLER, CALLED = "+14158675310", "+18005551299"
ASSISTANT = Assistant.model_validate(
    {
        "instructions": "Be brief.",
        "name": "Desk",
        "limits": {"max_minutes": 7},
        "dead_air": {"filler_seconds": 3},
        "greeting": "Hello, who calls?",
        "outbound": {
            "caller_id": "+18005551299",
            "greeting": "Hello, we call.",
            "voicemail": "Call us back.",
        },
    }
)
SAID = Entry("item_1", "caller", "How much?", "How much?", 900, 900)

heard_audio: "queue.SimpleQueue[bytes]" = queue.SimpleQueue()


class HearingCall(KnownCall):
    """Shows what its caller said, too."""

    def handle(self, message: Any) -> Any:
        if isinstance(message, CallerAudio):
            heard_audio.put(base64.b64decode(message.payload))
            return None
        answer = super().handle(message)
        if isinstance(answer, PhoneReader):
            answer.attach(self.actor_ref)
        return answer


class Server:
    """An app with the media route, served by threads of this process."""

    def __init__(self, directory: Path, assistants: Assistants | None = None, **changes: Any) -> None:
        settings = Settings(openai_api_key="sk-test", **changes)
        self.database = Database(f"sqlite:///{directory}/calls.db")
        self.journal = CallJournal(self.database)
        self.tokens = StreamTokens(self.database, 60)
        self.pulse = ToldPulse()
        self.calls = Calls(threads=2, actor=HearingCall, pulse=self.pulse)
        self.dialed = DialedCalls(self.database)
        assistants = assistants or Assistants(Path("assistant.toml"), lambda path: ASSISTANT)
        app = Flask("media", static_folder=None)
        security.register(app, settings)
        self.greetings = Greetings(self.database, settings.retention_days)
        self.streams = MediaStreams(
            settings,
            self.tokens,
            assistants,
            self.calls,
            self.journal,
            NoMeter(),
            dialed=self.dialed,
            greetings=self.greetings,
        )
        self.streams.register(app)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, name="serve", daemon=True)
        self._thread.start()

    @contextmanager
    def stream(self, token: str, **more: str) -> Iterator[websocket.WebSocket]:
        """A media socket on which Twilio has said connected and start. `more` parameters it has."""
        parameters = {"token": token, "from": CALLER, "to": CALLED, "colour": "blue", **more}
        start = {
            "accountSid": f"AC{'0' * 32}",
            "streamSid": f"MZ{'0' * 32}",
            "callSid": CALL,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        }
        media = websocket.WebSocket()
        media.connect(f"ws://127.0.0.1:{self._server.server_port}{STREAM_PATH}", timeout=PATIENCE_SECONDS)
        try:
            media.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            media.send(
                json.dumps(
                    {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": start["streamSid"]}
                )
            )
            yield media
        finally:
            media.shutdown()

    def setup(self, token: str, **more: str) -> CallSetup:
        """What the call of a stream with that token is set up with."""
        with self.stream(token, **more):
            return setups.get(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.calls.drain(PATIENCE_SECONDS)
        self._server.shutdown()
        self._thread.join(PATIENCE_SECONDS)
        self._server.server_close()
        self.journal.close()
        self.database.close()


@pytest.fixture
def server(tmp_path: Path, logs: ExpectedLogs) -> Iterator[Server]:
    logs.expect("signatures are not checked")
    made = Server(tmp_path, openai_second_url="ws://127.0.0.1:1/v1", openai_second_model="small")
    yield made
    made.close()


def began(server: Server) -> None:
    """What a call leaves behind that another process held."""
    server.journal.began(CallRecord(CALL, "MZ1", CALLER, CALLED, "Desk", "1"))
    server.journal.entry(CALL, 0, SAID)
    server.journal.ended(CALL, Outcome.HUNG_UP.value, Then.RESUME)
    assert server.journal.flush(PATIENCE_SECONDS)


def close_of(media: websocket.WebSocket) -> tuple[int, str]:
    opcode, data = media.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(data[:2], "big"), data[2:].decode()


def test_a_call_is_set_up_with_what_is_known_about_it(server: Server) -> None:
    setup = server.setup(server.tokens.issue(CALL))
    assert setup.record == CallRecord(CALL, f"MZ{'0' * 32}", CALLER, CALLED, "Desk", "")
    assert (setup.history, setup.broke_off, setup.lasted_seconds) == ((), False, 0.0)
    assert (setup.context.caller, setup.context.called) == (CALLER, CALLED)
    assert setup.context.parameters == {"from": CALLER, "to": CALLED, "colour": "blue"}
    assert setup.session == ASSISTANT.session()
    assert (setup.limits, setup.prices) == (ASSISTANT.limits, None)
    assert (setup.gating, setup.patience) == (ASSISTANT.gating(), ASSISTANT.dead_air())
    assert setup.journal is server.journal


def dialed(server: Server) -> None:
    """What is there of a call that we have placed, when somebody answers."""
    rate = DialRate(1, 1)
    _, token = server.dialed.open(CALLED, CALLER, "assistant", "Desk", {"name": "Anna"}, 30, 600, rate)
    assert token is not None
    server.dialed.claim(token, CALL)


def test_a_call_that_we_have_placed_is_set_up_with_what_it_is_about(server: Server) -> None:
    dialed(server)
    setup = server.setup(server.tokens.issue(CALL), direction="outbound")
    assert setup.record.direction == setup.context.direction == "outbound"
    assert (setup.context.person, setup.context.ours) == (CALLED, CALLER)
    assert setup.context.parameters["name"] == "Anna"
    assert setup.voicemail == "Call us back."
    assert "Hello, we call." in (setup.greeting or "")


def test_a_call_that_comes_in_is_not_taken_for_one_that_we_have_placed(server: Server) -> None:
    setup = server.setup(server.tokens.issue(CALL))
    assert setup.record.direction == setup.context.direction == "inbound"
    assert (setup.context.person, setup.context.ours) == (CALLER, CALLED)
    assert setup.voicemail is None
    assert "Hello, who calls?" in (setup.greeting or "")


def test_a_call_of_which_everything_was_erased_is_still_one_that_we_have_placed(server: Server) -> None:
    setup = server.setup(server.tokens.issue(CALL), direction="outbound")
    assert setup.record.direction == "outbound"
    assert "name" not in setup.context.parameters


def test_there_are_two_places_for_the_model_if_two_are_given(server: Server) -> None:
    endpoints = server.setup(server.tokens.issue(CALL)).endpoints
    first = endpoints.choose()
    assert first.name == "gpt-realtime-2.1 at api.openai.com"
    endpoints.failed(first, permanently=True)
    assert endpoints.choose().name == "small at 127.0.0.1:1"


def test_a_call_that_goes_on_knows_what_was_said(server: Server) -> None:
    server.tokens.spend(server.tokens.issue(CALL), CALL)
    began(server)
    setup = server.setup(server.tokens.issue(CALL, after=1))
    assert (setup.history, setup.broke_off) == ((SAID,), True)
    assert 0 < setup.lasted_seconds < PATIENCE_SECONDS


def test_a_call_that_was_handed_over_at_a_pause_did_not_break_off(server: Server) -> None:
    server.tokens.spend(server.tokens.issue(CALL), CALL)
    began(server)
    server.journal.ended(CALL, Outcome.HANDED_OVER.value, Then.RESUME)
    setup = server.setup(server.tokens.issue(CALL, after=1))
    assert (setup.history, setup.broke_off) == ((SAID,), False)


@pytest.mark.parametrize(("outcome", "listens"), [(Outcome.SENT_DIGITS, True), (Outcome.TRANSFERRED, False)])
def test_a_call_that_was_left_to_press_keys_listens_first(
    server: Server, outcome: Outcome, listens: bool
) -> None:
    server.tokens.spend(server.tokens.issue(CALL), CALL)
    began(server)
    server.journal.ended(CALL, outcome.value, Then.SEND_DIGITS, "1")
    assert server.setup(server.tokens.issue(CALL, after=1)).listens_first == listens


def test_a_first_stream_has_no_history_whatever_the_journal_says(server: Server) -> None:
    began(server)
    assert server.setup(server.tokens.issue(CALL)).history == ()


def test_a_call_that_never_got_a_stream_begins_with_its_second(server: Server) -> None:
    server.tokens.issue(CALL)
    setup = server.setup(server.tokens.issue(CALL, after=1))
    assert (setup.history, setup.broke_off) == ((), False)


def test_a_call_whose_history_cannot_be_read_goes_on_without(server: Server, logs: ExpectedLogs) -> None:
    logs.expect(f"{CALL}: goes on without what was said before: database .*no such table: entries")
    server.tokens.spend(server.tokens.issue(CALL), CALL)
    began(server)
    with server.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE entries")
    setup = server.setup(server.tokens.issue(CALL, after=1))
    assert (setup.history, setup.broke_off) == ((), False)


def test_a_stream_without_room_is_sent_on_and_has_not_begun(server: Server, logs: ExpectedLogs) -> None:
    logs.expect(f"{CALL}: sent on: there is no room for it here")
    token = server.tokens.issue(CALL)
    with Line(server.calls, "CA1"):
        setups.get(timeout=PATIENCE_SECONDS)
        with server.stream(token) as media:
            assert close_of(media) == (1013, "there is no room for it here")
    assert server.tokens.spend(token, CALL) == 1


def test_a_new_calls_stream_is_sent_on_by_who_is_late_and_taken_when_it_comes_again(
    server: Server, logs: ExpectedLogs
) -> None:
    logs.expect(f"{CALL}: sent on: this process is late")
    server.pulse.told_late = True
    with server.stream(server.tokens.issue(CALL)) as media:
        assert close_of(media) == (1013, "this process is late")
    assert server.setup(server.tokens.issue(CALL, after=1), resumed="1").history == ()


def test_a_call_that_goes_on_does_so_also_where_everything_is_late(server: Server) -> None:
    began(server)
    server.tokens.spend(server.tokens.issue(CALL), CALL)
    server.pulse.told_late = True
    assert server.setup(server.tokens.issue(CALL, after=1), resumed="1").history == (SAID,)


def test_a_stream_that_comes_while_the_process_ends_is_sent_on(server: Server, logs: ExpectedLogs) -> None:
    logs.expect(f"{CALL}: sent on")
    server.calls.drain(0)
    with server.stream(server.tokens.issue(CALL)) as media:
        assert close_of(media)[0] == 1013


def test_a_stream_of_the_past_is_refused(server: Server, logs: ExpectedLogs) -> None:
    logs.expect("media stream: refused: stream token refused: replayed")
    token = server.tokens.issue(CALL)
    server.tokens.spend(server.tokens.issue(CALL, after=1), CALL)
    with server.stream(token) as media:
        assert close_of(media) == (1008, "stream token refused: replayed")


# Which assistant it is, and what it is for this call


class Folder:
    """Two assistants, one of them for a number of its own, and a clock to look at them by."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 100.0
        path.mkdir()
        self.write("desk", "Hello {parameters.colour|there}.")
        self.write("sales", "Sales.", f'numbers = ["{CALLED}"]')
        self.assistants = Assistants(path, clock=lambda: self.now)

    def write(self, name: str, greeting: str, more: str = "") -> None:
        text = f'name = "{name}"\ninstructions = "To {{caller}}."\ngreeting = "{greeting}"\n{more}'
        (self.path / f"{name}.toml").write_text(text)

    def wait(self) -> None:
        self.now += LOOK_SECONDS


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "assistants")


@pytest.fixture
def several(tmp_path: Path, folder: Folder, logs: ExpectedLogs) -> Iterator[Server]:
    logs.expect("signatures are not checked")
    made = Server(tmp_path, folder.assistants)
    yield made
    made.close()


def test_the_called_number_chooses_the_assistant_and_its_texts_are_about_this_call(several: Server) -> None:
    setup = several.setup(several.tokens.issue(CALL))
    assert (setup.record.assistant, setup.session.instructions) == ("sales", f"To {CALLER}.")
    assert '"Sales."' in (setup.greeting or "")


def test_a_name_in_the_streams_parameters_chooses_it_too(several: Server, folder: Folder) -> None:
    setup = several.setup(several.tokens.issue(CALL), assistant="desk")
    assert setup.record.assistant == "desk"
    assert setup.record.assistant_version == folder.assistants.all["desk"].version
    assert '"Hello blue."' in (setup.greeting or "")


def test_a_call_that_goes_on_does_so_with_the_version_that_it_began_with(
    several: Server, folder: Folder
) -> None:
    several.tokens.spend(several.tokens.issue(CALL), CALL)
    before = folder.assistants.choose(CALLED)
    several.journal.began(CallRecord(CALL, "MZ1", CALLER, CALLED, before.name, before.version))
    assert several.journal.flush(PATIENCE_SECONDS)
    folder.write("sales", "New sales.", f'numbers = ["{CALLED}"]')
    folder.wait()
    assert several.setup(several.tokens.issue(CALL, after=1)).record.assistant_version == before.version
    assert folder.assistants.choose(CALLED).version != before.version


def test_a_call_that_began_with_what_nobody_has_any_more_goes_on_with_what_there_is(several: Server) -> None:
    several.tokens.spend(several.tokens.issue(CALL), CALL)
    began(several)
    setup = several.setup(several.tokens.issue(CALL, after=1))
    assert (setup.record.assistant, setup.history) == ("sales", (SAID,))


def test_what_the_caller_says_while_the_assistant_is_built_is_not_lost(
    tmp_path: Path, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("signatures are not checked")
    go_on = threading.Event()
    crm = ModuleType("crm_that_waits")

    def assistant_for(assistant: Assistant, call: CallContext) -> Assistant:
        assert go_on.wait(PATIENCE_SECONDS)
        return assistant.changed(name=call.parameters["colour"])

    crm.assistant_for = assistant_for  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "crm_that_waits", crm)
    file = tmp_path / "assistant.toml"
    file.write_text('instructions = "Be brief."\nbuild = "crm_that_waits:assistant_for"\nbuild_seconds = 5')
    server = Server(tmp_path, Assistants(file))
    try:
        with server.stream(server.tokens.issue(CALL)) as media:
            for number in range(1, 51):
                said = {"track": "inbound", "chunk": str(number), "timestamp": str(20 * number)}
                payload = base64.b64encode(bytes([number]) * 160).decode()
                message = {
                    "event": "media",
                    "streamSid": f"MZ{'0' * 32}",
                    "media": said | {"payload": payload},
                }
                media.send(json.dumps(message))
            go_on.set()
            assert setups.get(timeout=PATIENCE_SECONDS).record.assistant == "blue"
            heard = [heard_audio.get(timeout=PATIENCE_SECONDS)[0] for _ in range(50)]
        assert heard == list(range(1, 51))
    finally:
        server.close()


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_greeting_that_is_the_same_in_every_call_may_be_kept(server: Server, direction: str) -> None:
    dialed(server)
    setup = server.setup(server.tokens.issue(CALL), direction=direction)
    assert setup.fixed_greeting is not None
    assert setup.fixed_greeting.words in (setup.greeting or "")
    assert setup.fixed_greeting.session == setup.session
    assert setup.fixed_greeting.box is server.greetings


def test_without_warm_sessions_nothing_is_connected_before_there_is_a_call(server: Server) -> None:
    assert server.streams.warm is None


def test_a_greeting_that_was_kept_in_a_call_is_written_when_it_is_over(server: Server) -> None:
    with server.stream(server.tokens.issue(CALL)):
        setup = setups.get(timeout=PATIENCE_SECONDS)
        assert setup.fixed_greeting is not None
        server.greetings.keep("key", KeptGreeting("Hello, who calls?", b"\x80" * 800))
    another = Greetings(server.database, 30)
    wait_until(lambda: another.find("key") is not None, "another worker finds it")
