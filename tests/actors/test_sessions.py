"""Sessions: which one talks, which one gets ready to follow it, and that each of them ends."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from actors.endpoints import FAILURES_IN_A_ROW, Endpoints
from actors.member import CallError
from actors.messages import CheckAlive, DeadlinePassed, Exited, SessionReady
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.sessions import (
    AGAIN_SECONDS,
    CLOSED_SECONDS,
    LAST_MOMENT_SECONDS,
    READY_SECONDS,
    ROLL_OVER_SECONDS,
    ModelSession,
    Sessions,
)
from actors.supervision import FallBack, Restart, Supervision
from actors.tool import tool
from tests.actors.parts import SESSION, UPDATED, created, endpoint, setup
from tests.conftest import ExpectedLogs
from tests.probe import FakeModelSocket, HandClock, Probe
from wire.audio_format import PCM24

ROLL_OVER = DeadlinePassed(DeadlinePassed.ROLL_OVER)


class Stage:
    """Sessions of a call that is a probe. A socket is kept by its endpoint's name."""

    def __init__(self, *names: str) -> None:
        self.call = Probe("call")
        self.clock = HandClock()
        self.sockets: list[FakeModelSocket] = []
        self.dialled: list[str] = []
        endpoints = [endpoint(name, self._dial(name)) for name in names or ("only",)]
        self.endpoints = Endpoints(endpoints)
        self.sessions = Sessions(self.call, setup(endpoints=self.endpoints), self.clock, Supervision())

    def _dial(self, name: str) -> Callable[[], ModelSocket]:
        def dial() -> ModelSocket:
            self.dialled.append(name)
            self.sockets.append(FakeModelSocket())
            return self.sockets[-1]

        return dial

    def begun(self, seconds: float | None = None) -> ModelSession:
        """A session that talks, and lasts so long."""
        session = self.sessions.start()
        self.sessions.ready(session, None if seconds is None else time.time() + seconds)
        session.begun = True
        return session

    def ends_in(self, seconds: float) -> None:
        """The session that talks is so close to its end."""
        assert self.sessions.current is not None
        self.sessions.current.expires_at = time.time() + seconds

    def reminders(self) -> list[float]:
        """The times after which it wants to look at the end of a session."""
        return [seconds for seconds, timer in self.clock.timers if timer.message == ROLL_OVER]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.sessions.abort()


def failure(permanent: bool = False) -> CallError:
    return CallError("it failed", permanent)


def test_a_session_is_made_for_its_endpoint_and_given_a_time_to_be_ready(stage: Stage) -> None:
    session = stage.sessions.start()
    assert (session.endpoint.name, session.ready, session.begun) == ("only", False, False)
    assert stage.sessions.find(session.ref) is session
    due = DeadlinePassed(DeadlinePassed.SESSION_READY, session.ref)
    assert [seconds for seconds, timer in stage.clock.timers if timer.message == due] == [READY_SECONDS]
    stage.sockets[0].say(created(), UPDATED)
    assert stage.call.expect(SessionReady).model is session.ref


def test_the_format_is_that_of_the_endpoint_whatever_the_session_says() -> None:
    socket = FakeModelSocket()
    stage = Stage()
    pcm = replace(endpoint("pcm", lambda: socket), audio=PCM24)
    sessions = Sessions(stage.call, setup(endpoints=Endpoints([pcm])), stage.clock, Supervision())
    sessions.start()
    socket.say(created())
    update = socket.expect("session.update")["session"]
    assert update["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    sessions.abort()


def test_mcp_servers_stand_beside_the_functions() -> None:
    @tool
    def look_up() -> None:
        """Look it up."""

    server = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}
    socket, stage = FakeModelSocket(), Stage()
    made = setup(
        endpoints=Endpoints([endpoint("any", lambda: socket)]),
        session=replace(SESSION, tools=(server,)),
        tools={"look_up": look_up},
    )
    sessions = Sessions(stage.call, made, stage.clock, Supervision())
    sessions.start()
    socket.say(created())
    tools = socket.expect("session.update")["session"]["tools"]
    assert [(each["type"], each.get("name")) for each in tools] == [("mcp", None), ("function", "look_up")]
    sessions.abort()


def test_only_a_session_that_has_begun_is_told_anything(stage: Stage) -> None:
    session = stage.sessions.start()
    stage.sessions.tell(CheckAlive())
    assert not stage.sessions.talking
    session.begun = True
    assert stage.sessions.talking
    stage.sessions.tell(CheckAlive())
    stage.sockets[0].expect_ping()
    assert stage.sockets[0].pings() == 0


def test_a_session_that_is_closed_is_looked_after_until_its_actor_has_ended(stage: Stage) -> None:
    session = stage.begun()
    stage.sessions.end_all()
    assert (stage.sessions.current, stage.sessions.all) == (None, [session])
    assert stage.call.expect(Exited).member is session.ref
    assert stage.sessions.lost(session, failure(), exited=True) is None
    assert stage.sessions.all == []
    closed_by = DeadlinePassed(DeadlinePassed.MODEL_CLOSED, session.ref)
    assert [seconds for seconds, timer in stage.clock.timers if timer.message == closed_by] == [
        CLOSED_SECONDS
    ]


def test_a_session_that_is_given_up_is_cut_so_that_nothing_more_of_it_is_heard(stage: Stage) -> None:
    session = stage.begun()
    assert stage.sessions.lost(session, failure(), exited=False) == Restart(0.0)
    assert stage.sockets[0].aborted
    assert stage.sessions.all == [session]


def test_giving_up_what_was_given_up_already_changes_nothing(stage: Stage) -> None:
    """It was silent, and then it was not ready in time either."""
    session = stage.sessions.start()
    stage.sessions.lost(session, failure(), exited=False)
    assert not stage.sessions.wanted(session)
    assert stage.sessions.lost(session, failure(), exited=False) is None
    assert stage.sessions.all == [session]
    assert stage.sessions.lost(session, failure(), exited=True) is None
    assert stage.sessions.all == []


def test_the_end_of_a_session_that_was_replaced_is_not_a_failure(stage: Stage) -> None:
    first = stage.begun(100)
    stage.ends_in(50)
    stage.sessions.roll_over()
    second = stage.sessions.swap()
    assert stage.sessions.lost(first, failure(), exited=True) is None
    assert stage.sessions.current is second
    assert stage.sessions.lost(second, failure(), exited=False) == Restart(0.0)


# What follows a failure


def test_a_lost_session_is_followed_by_another_until_there_were_too_many(stage: Stage) -> None:
    consequences = [stage.sessions.lost(stage.sessions.start(), failure(), exited=False) for _ in range(6)]
    assert [each.seconds for each in consequences if isinstance(each, Restart)] == [0, 0.2, 0.4, 0.8, 1.6]
    assert consequences[-1] == FallBack()


def test_what_cannot_pass_by_itself_is_not_tried_again(stage: Stage) -> None:
    assert stage.sessions.lost(stage.sessions.start(), failure(permanent=True), exited=False) == FallBack()


def test_where_there_is_another_endpoint_what_cannot_pass_is_tried_there() -> None:
    stage = Stage("first", "second")
    consequence = stage.sessions.lost(stage.sessions.start(), failure(permanent=True), exited=False)
    assert consequence == Restart(0.0)
    stage.sessions.start()
    assert stage.dialled == ["first", "second"]
    consequence = stage.sessions.lost(stage.sessions.all[0], failure(permanent=True), exited=False)
    assert consequence == FallBack()
    stage.sessions.abort()


def test_an_endpoint_that_keeps_failing_is_left_for_another_one() -> None:
    stage = Stage("first", "second")
    for _ in range(FAILURES_IN_A_ROW):
        stage.sessions.lost(stage.sessions.start(), failure(), exited=False)
    stage.sessions.start()
    assert stage.dialled == [*["first"] * FAILURES_IN_A_ROW, "second"]
    stage.sessions.abort()


# The end of a session's time


def test_a_session_whose_end_is_known_gets_a_successor_in_time(stage: Stage) -> None:
    stage.begun(3600)
    (seconds,) = stage.reminders()
    assert seconds == pytest.approx(3600 - ROLL_OVER_SECONDS, abs=1)
    stage.ends_in(ROLL_OVER_SECONDS)
    assert stage.sessions.roll_over() is False
    assert stage.sessions.spare is not None
    assert stage.reminders()[-1] == pytest.approx(ROLL_OVER_SECONDS - LAST_MOMENT_SECONDS, abs=1)


def test_a_short_session_gets_one_in_the_middle_of_it(stage: Stage) -> None:
    stage.begun(100)
    assert stage.reminders() == [pytest.approx(50, abs=1)]


@pytest.mark.parametrize("expires_at", [None, 0.0, 1.0])
def test_a_session_whose_end_is_not_known_or_makes_no_sense_gets_none(
    stage: Stage, expires_at: float | None
) -> None:
    """A server that says 0 where it means never would be left for the next one without an end."""
    session = stage.sessions.start()
    stage.sessions.ready(session, expires_at)
    assert stage.reminders() == []
    assert stage.sessions.roll_over() is False
    assert stage.sessions.spare is None


def test_a_successor_is_made_once_however_often_it_is_reminded_of(stage: Stage) -> None:
    stage.begun(100)
    for _ in range(3):
        stage.sessions.roll_over()
    assert len(stage.dialled) == 2


def test_a_reminder_that_comes_too_early_is_asked_for_again(stage: Stage) -> None:
    """The wall clock, which a session's end is told by, may be set back."""
    stage.begun(3600)
    stage.ends_in(2000)
    assert stage.sessions.roll_over() is False
    assert stage.sessions.spare is None
    assert stage.reminders()[-1] == pytest.approx(2000 - ROLL_OVER_SECONDS, abs=1)


def test_a_successor_takes_over_at_the_last_moment_if_it_is_ready(stage: Stage) -> None:
    first = stage.begun(100)
    stage.sessions.roll_over()
    spare = stage.sessions.spare
    assert spare is not None
    stage.ends_in(LAST_MOMENT_SECONDS)
    assert stage.sessions.roll_over() is False
    stage.sessions.ready(spare, None)
    assert stage.sessions.roll_over() is True
    assert stage.sessions.swap() is spare
    assert (stage.sessions.current, stage.sessions.spare) == (spare, None)
    assert stage.sessions.all == [spare, first]
    assert stage.call.expect(Exited).member is first.ref


def test_a_successor_that_fails_is_replaced_after_a_while_and_harms_nobody(stage: Stage) -> None:
    first = stage.begun(100)
    stage.sessions.roll_over()
    spare = stage.sessions.spare
    assert spare is not None
    assert stage.sessions.lost(spare, failure(permanent=True), exited=False) is None
    assert (stage.sessions.current, stage.sessions.spare) == (first, None)
    assert stage.reminders()[-1] == AGAIN_SECONDS
    stage.sessions.roll_over()
    assert stage.sessions.spare is not None


def test_a_successor_for_which_there_is_no_thread_does_not_end_the_session_that_talks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: no session can be made to follow this one: can't start new thread")
    stage.begun(100)

    def start(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(OpenAIActor, "start", start)
    assert stage.sessions.roll_over() is False
    assert stage.reminders()[-1] == AGAIN_SECONDS
    assert stage.sessions.talking


def test_a_successor_that_is_there_takes_the_place_of_a_session_that_is_lost(stage: Stage) -> None:
    first = stage.begun(100)
    stage.sessions.roll_over()
    spare = stage.sessions.spare
    stage.sessions.lost(first, failure(), exited=False)
    assert stage.sessions.start() is spare
    assert (stage.sessions.current, stage.sessions.spare) == (spare, None)
    assert len(stage.dialled) == 2


def test_when_everything_is_cut_every_socket_is(stage: Stage) -> None:
    stage.begun(100)
    stage.sessions.roll_over()
    second = stage.sessions.swap()
    stage.sessions.ready(second, time.time() + 50)
    stage.sessions.roll_over()
    stage.sessions.abort()
    assert [socket.aborted for socket in stage.sockets] == [True, True, True]


@pytest.mark.parametrize("heard", [False, True])
def test_an_endpoint_that_takes_sessions_and_says_nothing_is_left_for_another(heard: bool) -> None:
    stage = Stage("first", "second")
    for _ in range(2):
        session = stage.begun()
        if heard:
            stage.sessions.heard()
        stage.sessions.lost(session, CallError("nothing is heard of it"), exited=False)
    stage.begun()
    assert stage.dialled == ["first", "first", "first" if heard else "second"]
    stage.sessions.abort()
