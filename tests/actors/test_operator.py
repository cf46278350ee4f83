"""The operator by messages alone: who is connected, what is entered, and who gets to know of it."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from actors.call_context import CallContext
from actors.departure import Departure
from actors.keypad import Keypad
from actors.member import CallError
from actors.messages import (
    Asked,
    ConsultAccepted,
    ConsultEnded,
    ConsultPlaced,
    DigitPressed,
    SendDigits,
    Transfer,
)
from actors.meter import Outcome
from actors.operator import CONNECTING, NOT_CONNECTED, SENT, Operator
from actors.telephony import Target, Telephony
from actors.tool import ToolError
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, HandClock, Probe, wait_until
from wire.journal import Then

TELEPHONY = Telephony.model_validate(
    {
        "transfer": {"sales": "+15550100001", "workshop": {"number": "+15550100002", "warm": True}},
        "digits": {"order": {"digits": 4}, "card": {"digits": 4, "secret": True}},
        "send_digits": True,
    }
)
LEG = "CA2"


class FakeCall:
    """Remembers what the operator does to it."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []

    def note(self, kind: str, **data: Any) -> None:
        self.notes.append((kind, data))

    def have_told(self, what: str) -> None:
        self.done.append(("tell", what))

    def depart(self, departure: Departure) -> None:
        self.done.append(departure)

    def stay(self, departure: Departure, why: str) -> None:
        self.done.append(("stay", departure.then, why))

    def keys_entered(self, digits: str) -> None:
        self.done.append(("keys", digits))

    def stop_talking(self) -> None:
        self.done.append("hush")

    def mute_caller(self, muted: bool) -> None:
        self.done.append(("mute", muted))


class FakeDesk:
    """Calls people, or does not."""

    def __init__(self) -> None:
        self.consulted: list[tuple[str, Target, str]] = []
        self.given_up: list[str] = []
        self.refusal: CallError | None = None
        self.answers = threading.Event()
        self.answers.set()

    def consult(self, room: str, target: Target, summary: str) -> str:
        self.consulted.append((room, target, summary))
        self.answers.wait(PATIENCE_SECONDS)
        if self.refusal is not None:
            raise self.refusal
        return LEG

    def give_up(self, leg_sid: str) -> None:
        self.given_up.append(leg_sid)
        if self.refusal is not None:
            raise self.refusal


class Scene:
    def __init__(self, telephony: Telephony = TELEPHONY, desk: FakeDesk | None = None) -> None:
        self.call = FakeCall()
        self.ref = Probe("call")
        self.desk = desk
        self.clock = HandClock()
        self.digits: dict[str, str] = {}
        context = CallContext("CA1", "+4930111", "+4930222", {})
        self.keypad = Keypad(self.call, self.ref, telephony, self.digits, self.clock)
        self.operator = Operator(
            self.call, self.call, self.ref, telephony, context, self.keypad, desk, self.clock
        )

    def ask(self, order: Any) -> "Future[str]":
        reply: Future[str] = Future()
        self.operator.handle(Asked(order, reply))
        return reply

    def press(self, keys: str) -> None:
        for key in keys:
            self.keypad.handle(DigitPressed(key))

    def consulted(self) -> str:
        """The room, once somebody is called."""
        placed = self.ref.expect(ConsultPlaced)
        self.operator.handle(placed)
        return placed.room


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def warm() -> Iterator[Scene]:
    desk = FakeDesk()
    yield Scene(desk=desk)
    desk.answers.set()


# Transfers


@pytest.mark.parametrize("to", ["sales", "+15550100001"])
def test_a_caller_is_connected_with_whom_the_list_names(scene: Scene, to: str) -> None:
    assert scene.ask(Transfer(to)).result(0) == CONNECTING
    assert scene.call.done == [
        Departure("transferred to sales", Outcome.TRANSFERRED, Then.TRANSFER, "+15550100001")
    ]
    assert scene.call.notes == [("transfer", {"to": "sales", "warm": False})]


@pytest.mark.parametrize("to", ["", "boss", "+15550100666", "SALES"])
def test_nobody_else_is_called(scene: Scene, logs: ExpectedLogs, to: str) -> None:
    """protocol-gotchas 43: whatever the model was talked into."""
    logs.expect("not done: There is no such person on the list")
    with pytest.raises(ToolError, match="no such person"):
        scene.ask(Transfer(to)).result(0)
    assert scene.call.done == []


def test_an_order_of_which_nobody_waits_is_carried_out_all_the_same(scene: Scene) -> None:
    scene.operator.handle(Transfer("sales"))
    assert isinstance(scene.call.done[0], Departure)


def test_a_person_is_called_first_and_the_caller_joined_when_they_agree(warm: Scene) -> None:
    reply = warm.ask(Transfer("workshop", "Wants a bicycle."))
    room = warm.consulted()
    assert warm.operator.ringing
    assert warm.desk is not None
    assert [(told, summary) for told, _, summary in warm.desk.consulted] == [(room, "Wants a bicycle.")]
    assert not reply.done(), "the model waits for it"
    assert warm.call.done == [], "and the caller stays with the assistant meanwhile"
    warm.operator.handle(ConsultAccepted(room, LEG))
    assert reply.result(0) == CONNECTING
    assert warm.call.done == [
        Departure("transferred to workshop", Outcome.TRANSFERRED, Then.JOIN, f"{room} {LEG}")
    ]
    warm.operator.departed(Then.JOIN)
    assert warm.desk.given_up == []


def test_a_person_who_does_not_take_the_call_leaves_the_caller_where_they_are(warm: Scene) -> None:
    reply = warm.ask(Transfer("workshop"))
    warm.operator.handle(ConsultEnded(warm.consulted(), "no-answer"))
    with pytest.raises(ToolError, match="not connected: no-answer"):
        reply.result(0)
    assert not warm.operator.ringing
    assert warm.call.notes[-1] == ("transfer failed", {"to": "workshop", "reason": "no-answer"})


def test_a_call_that_cannot_be_placed_is_a_failure(warm: Scene, logs: ExpectedLogs) -> None:
    logs.expect("nobody can be called: no money")
    assert warm.desk is not None
    warm.desk.refusal = CallError("no money")
    reply = warm.ask(Transfer("workshop"))
    warm.operator.handle(warm.ref.expect(ConsultEnded))
    with pytest.raises(ToolError, match="it could not be called"):
        reply.result(0)


def test_who_agrees_and_hangs_up_at_once_does_not_get_the_caller(warm: Scene) -> None:
    reply = warm.ask(Transfer("workshop"))
    room = warm.consulted()
    warm.operator.handle(ConsultAccepted(room, LEG))
    warm.operator.handle(ConsultEnded(room, "completed"))
    assert reply.result(0) == CONNECTING
    stays, told = warm.call.done[-2:]
    assert stays == ("stay", Then.JOIN, "transfer failed")
    assert told == ("tell", NOT_CONNECTED.format("completed")), "or both would wait for the other"


def test_a_transfer_that_was_ordered_from_elsewhere_and_fails_is_told_to_the_model(warm: Scene) -> None:
    """The caller has heard it ring, and no tool of the model's has an answer to give."""
    warm.operator.handle(Transfer("workshop"))
    warm.operator.handle(ConsultEnded(warm.consulted(), "busy"))
    assert warm.call.done == [("tell", NOT_CONNECTED.format("busy"))]


def test_a_caller_who_hangs_up_leaves_nobody_ringing(warm: Scene) -> None:
    reply = warm.ask(Transfer("workshop"))
    warm.consulted()
    warm.operator.departed(Then.HANG_UP)
    assert warm.desk is not None
    wait_until(lambda: warm.desk is not None and warm.desk.given_up == [LEG], "the person was let go")
    with pytest.raises(ToolError):
        reply.result(0)


def test_nor_one_who_hangs_up_while_twilio_is_still_asked(warm: Scene) -> None:
    assert warm.desk is not None
    warm.desk.answers.clear()
    warm.ask(Transfer("workshop"))
    warm.operator.departed(Then.HANG_UP)
    warm.desk.answers.set()
    warm.consulted()
    wait_until(lambda: warm.desk is not None and warm.desk.given_up == [LEG], "the person was let go")


def test_a_call_that_is_over_before_twilio_answers_leaves_nobody_ringing(
    warm: Scene, logs: ExpectedLogs
) -> None:
    logs.allow("may go on ringing")
    assert warm.desk is not None
    warm.desk.answers.clear()
    warm.ask(Transfer("workshop"))
    warm.ref.die()
    warm.desk.answers.set()
    wait_until(lambda: warm.desk is not None and warm.desk.given_up == [LEG], "the person was let go")


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)


def test_where_no_thread_is_to_be_had_a_transfer_fails_and_the_call_does_not(
    warm: Scene, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("Twilio is not asked: can't start new thread")
    no_threads(monkeypatch)
    reply = warm.ask(Transfer("workshop"))
    with pytest.raises(ToolError, match="it could not be called"):
        reply.result(0)
    assert not warm.operator.ringing


def test_nor_does_the_end_of_a_call_that_cannot_let_somebody_go(
    warm: Scene, logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("Twilio is not asked: can't start new thread")
    warm.ask(Transfer("workshop"))
    warm.consulted()
    no_threads(monkeypatch)
    warm.operator.departed(Then.HANG_UP)
    assert not warm.operator.ringing


def test_nobody_is_rung_for_ever(warm: Scene) -> None:
    reply = warm.ask(Transfer("workshop"))
    room = warm.consulted()
    assert warm.clock.timers[0][0] == 25 + 60
    warm.operator.due("another room")
    assert warm.operator.ringing
    warm.operator.due(room)
    with pytest.raises(ToolError, match="nobody took it in time"):
        reply.result(0)
    wait_until(lambda: warm.desk is not None and warm.desk.given_up == [LEG], "the person was let go")


def test_what_is_heard_of_another_consultation_changes_nothing(warm: Scene) -> None:
    warm.ask(Transfer("workshop"))
    warm.consulted()
    warm.operator.handle(ConsultAccepted("another room", "CA3"))
    warm.operator.handle(ConsultEnded("another room", "busy"))
    assert warm.operator.ringing
    assert warm.call.done == []


@pytest.mark.parametrize(
    "told", [ConsultAccepted("another room", "CA3"), ConsultPlaced("another room", "CA3")]
)
def test_who_was_called_by_a_process_that_has_died_does_not_wait_for_ever(warm: Scene, told: Any) -> None:
    warm.operator.handle(told)
    wait_until(lambda: warm.desk is not None and warm.desk.given_up == ["CA3"], "the person was let go")
    assert warm.call.done == []


def test_who_took_it_late_still_gets_the_caller_who_is_on_the_way(warm: Scene) -> None:
    warm.ask(Transfer("workshop"))
    room = warm.consulted()
    warm.operator.handle(ConsultAccepted(room, LEG))
    warm.operator.due(room)
    warm.operator.departed(Then.JOIN)
    assert warm.desk is not None
    assert warm.desk.given_up == []
    assert "stay" not in str(warm.call.done)


def test_two_people_are_not_called_at_once(warm: Scene, logs: ExpectedLogs) -> None:
    logs.expect("being called already")
    warm.ask(Transfer("workshop"))
    with pytest.raises(ToolError, match="being called already"):
        warm.ask(Transfer("workshop")).result(0)
    warm.operator.handle(ConsultEnded(warm.consulted(), "busy"))
    warm.ask(Transfer("workshop"))
    warm.consulted()


def test_without_an_account_nobody_is_called(scene: Scene, logs: ExpectedLogs) -> None:
    logs.expect("Nobody can be called")
    with pytest.raises(ToolError, match="Nobody can be called"):
        scene.ask(Transfer("workshop")).result(0)


# Keys that are sent


def test_keys_are_pressed_when_the_call_has_left_its_stream(scene: Scene) -> None:
    assert scene.ask(SendDigits("1w2#")).result(0) == SENT
    [departure] = scene.call.done
    assert (departure.then, departure.detail) == (Then.SEND_DIGITS, "1w2#")
    assert scene.call.notes == [("keys sent", {"count": 4})], "which ones may be a secret"


@pytest.mark.parametrize("digits", ["", "call me", "1 2", "1" * 65, "１"])
def test_what_is_no_key_is_not_pressed(scene: Scene, logs: ExpectedLogs, digits: str) -> None:
    logs.expect("no keys")
    with pytest.raises(ToolError, match="no keys"):
        scene.ask(SendDigits(digits)).result(0)
