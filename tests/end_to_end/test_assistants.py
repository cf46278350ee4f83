"""Several assistants under gunicorn with two workers: by number, about each call, and changed between calls."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.assistant import Assistant
from actors.assistants import LOOK_SECONDS
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.script import silence
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from store.database import Database
from store.history import History
from tests.end_to_end.stage import EVER, PATIENCE, Greeting, Stage, finished, server_settings
from tests.probe import wait_until

pytestmark = pytest.mark.slow

DESK, SALES, VIP = "+15550100000", "+15550111111", "+15550122222"
CALLER = "+14155550123"
WORKERS = 2
AT_ONCE = 6
"""Calls that begin together, so that both workers get some."""
TRIES = 5
"""How often they are made, as one worker may get them all."""
CHANGED, BROKEN = "has changed: new calls have desk, sales, vip", "there is no {caler}"

CRM = """
import time


def assistant_for(assistant, call):
    time.sleep(1)
    text = f"{assistant.instructions} {{Ada}} called {call.called}."
    return assistant.changed(greeting="Hello Ada.", instructions=text)
"""


@dataclass
class Office:
    """A running server and the folder of its assistants."""

    folder: Path
    stage: Stage

    def write(self, name: str, text: str) -> None:
        """As an editor does: the file is there at every moment, and always whole."""
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(self.folder / f"{name}.toml")

    @contextmanager
    def call(self, number: str) -> Iterator[tuple[Phone, RealtimeSession]]:
        with self.stage.call(from_number=CALLER, to_number=number) as (phone, session):
            yield phone, session
            phone.hang_up()
            finished(phone)

    def said_to(self, number: str) -> tuple[str, str]:
        """The instructions of a call to that number, and those of its greeting."""
        with self.call(number) as (_, session):
            return instructions(session), greeting(session)

    def in_all_workers(self, number: str, logged: str) -> set[str]:
        """The instructions of calls that begin together, until both workers have looked at the files and said so."""
        heard: set[str] = set()
        for _ in range(TRIES):
            with ExitStack() as stack:
                calls = [stack.enter_context(self.call(number)) for _ in range(AT_ONCE)]
                # Until the next ones begin, the files may be looked at again.
                calls[0][0].await_silence(1000 * LOOK_SECONDS + 200, PATIENCE)
                heard |= {instructions(session) for _, session in calls}
            if self.stage.log().count(logged) >= WORKERS:
                break
        return heard


def instructions(session: RealtimeSession) -> str:
    return str(session.await_event("session.update", PATIENCE)["session"]["instructions"])


def greeting(session: RealtimeSession) -> str:
    return str(session.await_event("response.create", PATIENCE)["response"]["instructions"])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    directory = tmp_path_factory.mktemp("office")
    folder = directory / "assistants"
    folder.mkdir()
    (folder / "crm_of_the_office.py").write_text(CRM)
    (folder / "desk.toml").write_text(
        'instructions = "Desk. The caller is {caller}."\n'
        'greeting = "Hello {parameters.name|there}, you called {called}."'
    )
    (folder / "sales.toml").write_text(f'numbers = ["{SALES}"]\ninstructions = "Sales."\ngreeting = "Sales."')
    (folder / "vip.toml").write_text(
        f'numbers = ["{VIP}"]\ninstructions = "VIP."\nbuild = "crm_of_the_office:assistant_for"'
    )
    with OfflineModel(pace=100, **Greeting().equipment()) as model:
        settings = server_settings(model, directory) | {"ASSISTANT": str(folder)}
        with ServerProcess(settings, directory) as server:
            yield Office(folder, Stage(server, model, Greeting()))


def test_the_number_chooses_the_assistant_which_knows_about_the_call(office: Office) -> None:
    desk, hello = office.said_to(DESK)
    assert desk == f"Desk. The caller is {CALLER}."
    assert f'"Hello there, you called {DESK}."' in hello
    assert office.said_to(SALES)[0] == "Sales."


def test_an_assistant_is_built_while_the_caller_speaks_and_nothing_of_that_is_lost(office: Office) -> None:
    spoken = bytes(secrets.randbelow(256) for _ in range(160 * 40))
    before = len(office.stage.model.sessions)
    with office.stage.phone(from_number=CALLER, to_number=VIP) as phone:
        phone.dial()
        phone.await_stream(PATIENCE)
        phone.say(spoken + silence(300)).wait(PATIENCE)
        session = office.stage.model.await_session(before + 1, PATIENCE)
        phone.await_assistant(PATIENCE, EVER)
        phone.hang_up()
        finished(phone)
    assert session.closed.wait(PATIENCE)
    assert spoken in session.audio
    assert instructions(session) == f"VIP. {{Ada}} called {VIP}."


def test_a_changed_file_counts_for_new_calls_in_both_workers_and_a_broken_one_changes_nothing(
    office: Office,
) -> None:
    version = Assistant.load(office.folder / "desk.toml").version
    with office.stage.call(to_number=DESK, speak=lambda text: b"") as (old, old_session):
        old.await_silence(1000 * LOOK_SECONDS + 200, PATIENCE)
        office.write("desk", 'instructions = "New desk."\ngreeting = "Hi."')
        assert office.in_all_workers(DESK, CHANGED) == {"New desk."}
        assert office.stage.log().count(CHANGED) == WORKERS, "in each worker"

        office.write("desk", 'instructions = "Broken desk."\ngreeting = "Hi {caler}."')
        assert office.in_all_workers(DESK, BROKEN) == {"New desk."}
        assert office.in_all_workers(DESK, BROKEN) == {"New desk."}
        lines = [line for line in office.stage.log().splitlines() if " ERROR " in line]
        assert len(lines) == WORKERS, "once in each worker"
        assert all("desk.toml: greeting: " in line and BROKEN in line for line in lines)

        # The call that began before all that is cut, and goes on as it began.
        sessions = len(office.stage.model.sessions)
        old.drop()
        resumed = office.stage.model.await_session(sessions + 1, PATIENCE)
        assert instructions(resumed) == instructions(old_session) == "Desk. The caller is +15550100001."
        old.hang_up()
        old.await_end(PATIENCE)
    database = Database(f"sqlite:///{office.folder.parent / 'switchboard.db'}")
    try:
        history = History(database)
        wait_until(lambda: history.find(old.call_sid)[0].streams == 2, "the second stream is written down")
        assert history.find(old.call_sid)[0].assistant_version == version
    finally:
        database.close()
