"""TurnTaking by itself: what goes where and in which order. Whole turns are in test_openai.py."""

import time
from dataclasses import replace

import pytest

from actors.member import CallError, call_log
from actors.messages import CallerAudio, Floor, FloorChanged, Interrupt, Respond, SpeechUnnoticed
from actors.model_writer import ModelWriter
from actors.turn_taking import TurnTaking
from tests.actors.parts import SESSION, VAD
from tests.probe import FakeModelSocket, HandClock, Probe
from wire import realtime
from wire.dialect import OPENAI, Session
from wire.false_start import Gating

UNANSWERED = replace(SESSION, turn_detection=VAD | {"create_response": False, "interrupt_response": False})


class Turn:
    """A TurnTaking with a writer over a fake socket, and probes for everybody else."""

    def __init__(self, session: Session = SESSION, gating: Gating | None = None) -> None:
        self.actor, self.call, self.phone = Probe("model"), Probe("call"), Probe("phone")
        self.socket = FakeModelSocket()
        self.seconds = time.monotonic()
        self.taking = TurnTaking(
            session,
            OPENAI,
            gating,
            ModelWriter(self.socket, None),
            self.actor,
            self.phone,
            self.call,
            HandClock(),
            lambda: self.seconds,
            call_log(__name__, "CA1"),
        )

    def sent(self) -> list[str]:
        return [event["type"] for event in self.socket.sent()]

    def floors(self) -> list[Floor]:
        return [told.floor for told in self.call.told() if isinstance(told, FloorChanged)]


@pytest.fixture
def turn() -> Turn:
    return Turn()


def done(response_id: str, status: str = "completed") -> realtime.ResponseDone:
    return realtime.ResponseDone(response_id, status, "", None)


def test_the_phone_is_silenced_although_the_model_cannot_be_written_to(turn: Turn) -> None:
    turn.taking.response_created("resp_1")
    turn.socket.break_writes()
    turn.taking.speech_started(0, "item_u")
    (interrupt,) = turn.phone.told()
    assert isinstance(interrupt, Interrupt)


def test_an_answered_output_never_leaves_the_floor_to_nobody_in_between(turn: Turn) -> None:
    turn.taking.response_created("resp_1")
    turn.taking.function_called(realtime.FunctionCall("resp_1", "item_f", "call_1", "look_up", "{}"))
    turn.taking.output_came("call_1", last=True, respond=True)
    turn.taking.response_done(done("resp_1"))
    assert turn.sent() == ["response.create"]
    assert turn.floors() == [Floor.ASSISTANT]


def test_an_output_that_wants_no_answer_leaves_the_floor_to_nobody(turn: Turn) -> None:
    turn.taking.response_created("resp_1")
    turn.taking.function_called(realtime.FunctionCall("resp_1", "item_f", "call_1", "look_up", "{}"))
    turn.taking.response_done(done("resp_1"))
    turn.taking.output_came("call_1", last=True, respond=False)
    assert turn.sent() == []
    assert turn.floors() == [Floor.ASSISTANT, Floor.NOBODY]


def test_what_the_server_begins_by_itself_is_not_heard_once_nobody_listens(turn: Turn) -> None:
    turn.taking.go_deaf(Respond("Say goodbye."))
    assert turn.sent() == ["session.update", "response.create"]
    turn.taking.response_created("resp_ours")
    assert (turn.phone.told(), turn.sent()) == ([], [])
    turn.taking.response_done(done("resp_ours"))
    turn.taking.response_created("resp_theirs")
    assert turn.phone.told() == [Interrupt(frozenset({"resp_ours", "resp_theirs"}), None)]
    assert turn.sent() == ["response.cancel"]


def deaf(*, speaking: bool = False, gating: Gating | None = None) -> Turn:
    """A machine has answered, and a message is to be left; the server does not know yet that nobody listens."""
    turn = Turn(UNANSWERED if gating else SESSION, gating)
    if speaking:
        turn.taking.speech_started(0, "item_u")
    turn.taking.go_deaf(Respond("Leave word.", must=True))
    assert turn.sent() == ["session.update", "response.create"]
    turn.call.told()
    return turn


def test_a_beep_that_begins_as_the_machine_is_known_does_not_silence_the_message() -> None:
    turn = deaf()
    turn.taking.speech_started(0, "item_u")
    turn.taking.response_created("resp_ours")
    assert (turn.phone.told(), turn.sent()) == ([], [])
    turn.taking.response_done(done("resp_ours"))
    assert turn.sent() == []
    assert turn.floors()[-1] is Floor.NOBODY, "the call may leave"


@pytest.mark.parametrize("told", ["before", "after"])
def test_what_the_server_answers_a_machine_s_greeting_with_is_not_taken_for_the_message(told: str) -> None:
    """The end of that greeting is heard of as the machine is known, before or after the message was asked for."""
    turn = Turn()
    turn.taking.speech_started(0, "item_u")
    turn.phone.told()
    if told == "before":
        turn.taking.speech_stopped(900, "item_u")
    turn.taking.go_deaf(Respond("Leave word.", must=True))
    if told == "after":
        turn.taking.speech_stopped(900, "item_u")
    sent = turn.sent()
    turn.taking.response_created("resp_theirs")
    assert turn.phone.told() == [Interrupt(frozenset({"resp_theirs"}), None)]
    sent += turn.sent()
    turn.taking.response_done(done("resp_theirs", "cancelled"))
    sent += turn.sent()
    assert sorted(sent) == ["response.cancel", "response.create", "session.update"]
    turn.taking.response_created("resp_ours")
    turn.taking.response_done(done("resp_ours"))
    assert (turn.phone.told(), turn.sent()) == ([], []), "and nothing is said after it"


@pytest.mark.parametrize("loud_ms", [100, 400])
def test_nothing_that_a_gate_makes_of_a_machine_s_words_is_said_or_silenced(loud_ms: int) -> None:
    turn = deaf(speaking=True, gating=Gating("gated", minimum_speech_ms=200, resume=True))
    turn.taking.response_created("resp_ours")
    for _ in range(loud_ms // 20):
        turn.taking.caller_audio(CallerAudio(20, "", turn.seconds, loud=True))
    turn.taking.speech_stopped(900, "item_u")
    turn.taking.transcript("item_u", "")
    turn.taking.gate_due()
    assert (turn.phone.told(), turn.sent()) == ([], [])
    turn.taking.response_done(done("resp_ours"))
    assert turn.sent() == []


def test_only_speech_that_the_server_missed_makes_it_worth_asking_whether_it_lives(turn: Turn) -> None:
    asked = [turn.taking.caller_audio(CallerAudio(20, "", turn.seconds, loud=True)) for _ in range(30)]
    asked += [turn.taking.caller_audio(CallerAudio(20, "", turn.seconds)) for _ in range(100)]
    assert asked.count(True) == 1
    assert [type(told) for told in turn.call.told()] == [SpeechUnnoticed]


def test_a_session_that_nothing_may_interrupt_leaves_the_phone_alone() -> None:
    turn = Turn(replace(SESSION, turn_detection=VAD | {"interrupt_response": False}))
    turn.taking.response_created("resp_1")
    turn.taking.speech_started(0, "item_u")
    assert turn.phone.told() == []
    turn.taking.stop_talking()
    assert turn.phone.told() == [Interrupt(frozenset({"resp_1"}), None)]


def test_a_model_that_cannot_answer_any_more_is_an_error(turn: Turn) -> None:
    turn.taking.response_created("resp_1")
    failed = realtime.Error("insufficient_quota", "insufficient_quota", "no money left")
    with pytest.raises(CallError, match="the model cannot answer"):
        turn.taking.response_done(replace(done("resp_1", "failed"), error=failed))
