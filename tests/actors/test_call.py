"""CallActor: what is started, what ends what, in which order, and that nothing is left whatever fails."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest
from pykka import ActorRef

from actors.call import (
    MODEL_CLOSED_SECONDS,
    PHONE_CLOSED_SECONDS,
    SESSION_READY_SECONDS,
    Answer,
    CallActor,
    CallSetup,
)
from actors.member import post
from actors.messages import CallerSaid, DeadlinePassed, DigitPressed, HangUp, SessionReady, StreamStopped
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.twilio import PhoneReader, TwilioActor
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket, HandClock, wait_until
from wire.dialect import OPENAI, Session

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
SESSION = Session("Be brief.", "marin", {"type": "server_vad"})
ULAW = {"format": {"type": "audio/pcmu"}}
CREATED = {"type": "session.created", "session": {}}
UPDATED = {
    "type": "session.updated",
    "session": {"type": "realtime", "audio": {"input": ULAW, "output": ULAW}},
}


class Call:
    """A started CallActor with both sockets faked and the clock in the test's hand."""

    def __init__(self, dial: Callable[[], ModelSocket] | None = None) -> None:
        self.journal: list[str] = []
        self.phone = FakeMediaSocket(self.journal)
        self.model = FakeModelSocket(self.journal)
        self.clock = HandClock()
        self.ended = threading.Event()
        setup = CallSetup(
            "CA1", STREAM, self.phone, dial or (lambda: self.model), OPENAI, SESSION, "Say hello."
        )
        self.arguments = (setup, self.clock, self.ended)
        self.ref: ActorRef[CallActor] = CallActor.start(*self.arguments)

    def answer(self) -> PhoneReader:
        reader = self.ref.ask(Answer(), timeout=PATIENCE_SECONDS)
        assert isinstance(reader, PhoneReader)
        return reader

    def talk(self) -> PhoneReader:
        """Answer, and go on until the session is ready."""
        reader = self.answer()
        self.model.say(CREATED, UPDATED)
        self.model.expect("session.update")
        self.model.expect("response.create")
        return reader

    def wait(self) -> None:
        assert self.ended.wait(PATIENCE_SECONDS), "the call did not end"
        wait_until(self.nothing_lives, "all of the call's actors and threads ended")

    def nothing_lives(self) -> bool:
        return not self.ref.is_alive() and not [
            thread for thread in threading.enumerate() if thread.name.endswith(" CA1")
        ]


@pytest.fixture
def call() -> Iterator[Call]:
    call = Call()
    yield call
    post(call.ref, HangUp("the test is over"))
    call.wait()


def test_answering_starts_both_sides_and_gives_the_reader(call: Call) -> None:
    reader = call.talk()
    assert len(pykka.ActorRegistry.get_by_class(TwilioActor)) == 1
    assert len(pykka.ActorRegistry.get_by_class(OpenAIActor)) == 1
    reader.receive('{"event":"media","media":{"timestamp":"20","payload":"//8="}}')
    assert call.model.expect("input_audio_buffer.append")["audio"] == "//8="


def test_audio_flows_from_the_model_to_the_phone(call: Call) -> None:
    call.talk()
    call.model.say(
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "delta": "//8=",
        }
    )
    assert call.phone.expect("media")["media"] == {"payload": "//8="}
    call.phone.expect("mark")


def test_barge_in_goes_round_from_the_model_over_the_phone_to_the_model(call: Call) -> None:
    call.talk()
    delta = "/" * 16_000  # 1.5 s
    call.model.say(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "delta": delta,
        },
    )
    call.phone.expect("media")
    call.phone.expect("mark")
    call.model.say({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_u"})
    call.phone.expect("clear")
    (told,) = [call.model._sent.get(timeout=PATIENCE_SECONDS)]
    assert "item_a" in told
    assert "conversation.item.truncate" in told or "conversation.item.delete" in told


@pytest.mark.parametrize("message", [HangUp("enough"), StreamStopped("caller hung up")])
def test_the_model_is_closed_before_the_phone(call: Call, message: Any) -> None:
    call.talk()
    call.ref.tell(message)
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000"]


def test_a_model_that_fails_ends_the_call_and_the_phone_is_closed(call: Call, logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket closed with code 1011")
    call.talk()
    call.model.end("closed with code 1011")
    call.wait()
    assert call.journal[-1] == "phone closed 1000"
    assert "model released" in call.journal


def test_a_model_that_cannot_be_reached_ends_the_call(logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket refused with HTTP status 401")
    call = Call()
    call.model.refusal = "refused with HTTP status 401"
    call.answer()
    call.wait()
    assert call.journal[-1] == "phone closed 1000"


def test_a_phone_that_cannot_be_written_ends_the_call_model_first(call: Call) -> None:
    call.talk()
    call.phone.refusal = ConnectionError("gone")
    call.model.say(
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "delta": "//8=",
        }
    )
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000"]


def test_a_phone_that_fails_ends_the_call_and_the_model_is_closed(call: Call, logs: ExpectedLogs) -> None:
    logs.expect("CA1: failed at AssistantAudio")
    call.talk()
    call.phone.refusal = ValueError("a mistake of ours")  # type: ignore[assignment]
    call.model.say(
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "delta": "//8=",
        }
    )
    call.wait()
    assert "model released" in call.journal


def test_a_session_that_is_not_ready_in_time_ends_the_call(call: Call, logs: ExpectedLogs) -> None:
    logs.expect("CA1: model session was not ready within 8 s")
    call.answer()
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY)) == SESSION_READY_SECONDS
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000"]


def test_the_sessions_deadline_means_nothing_once_it_is_ready(call: Call) -> None:
    call.talk()
    wait_until(lambda: call.clock.timers != [], "the deadline was set")
    call.ref.ask(
        SessionReady(), timeout=PATIENCE_SECONDS
    )  # behind the one of the model, whichever came first
    call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY))
    call.ref.ask(CallerSaid("item_u", "go on"), timeout=PATIENCE_SECONDS)
    assert call.ref.is_alive()
    assert not call.ended.is_set()


def test_a_model_that_does_not_close_is_cut_after_its_deadline(call: Call) -> None:
    call.model.deaf = True
    call.talk()
    call.ref.tell(HangUp("enough"))
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.MODEL_CLOSED)) == MODEL_CLOSED_SECONDS
    call.wait()
    assert call.model.aborted
    assert call.phone.closed.is_set()


def test_a_phone_that_does_not_close_is_cut_after_its_deadline(call: Call) -> None:
    call.phone.block_close()
    call.talk()
    call.ref.tell(HangUp("enough"))
    assert call.phone.closing.wait(PATIENCE_SECONDS)
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.PHONE_CLOSED)) == PHONE_CLOSED_SECONDS
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000", "phone aborted"]


def test_a_phone_blocked_in_a_send_is_cut_after_its_deadline(call: Call) -> None:
    call.talk()
    call.phone.block()
    call.model.say(
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "delta": "//8=",
        }
    )
    assert call.phone.sending.wait(PATIENCE_SECONDS)
    call.ref.tell(HangUp("enough"))
    call.clock.expire(DeadlinePassed(DeadlinePassed.PHONE_CLOSED))
    call.wait()
    assert call.phone.aborted.is_set()


def test_all_deadlines_of_an_end_together_are_below_a_second() -> None:
    assert MODEL_CLOSED_SECONDS + PHONE_CLOSED_SECONDS < 1


def test_hanging_up_twice_is_hanging_up_once(call: Call) -> None:
    call.talk()
    for reason in ("first", "second", "third"):
        post(call.ref, HangUp(reason))
    post(call.ref, StreamStopped("and the stream too"))
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000"]
    assert [
        timer.message.what
        for _, timer in call.clock.timers
        if isinstance(timer.message, DeadlinePassed) and timer.message.what != DeadlinePassed.TURN
    ] == [
        DeadlinePassed.SESSION_READY,
        DeadlinePassed.MODEL_CLOSED,
        DeadlinePassed.PHONE_CLOSED,
    ]


def test_hanging_up_while_the_model_is_being_reached_ends_the_call(call: Call) -> None:
    call.answer()
    assert call.model.connecting.wait(PATIENCE_SECONDS)
    call.ref.tell(HangUp("the caller was impatient"))
    call.wait()
    assert call.journal == ["model closing", "model released", "phone closed 1000"]


def test_hanging_up_before_answering_ends_the_call(call: Call) -> None:
    call.ref.tell(HangUp("this server is shutting down"))
    call.wait()
    assert call.journal == []


def test_a_call_that_was_hung_up_before_it_was_answered_does_not_start_anything() -> None:
    """A drain may come between the start of the actor and the route's Answer."""
    call = Call()
    actor = CallActor(*call.arguments)
    for message in (HangUp("this server is shutting down"), Answer()):
        answer = actor.on_receive(message)
    try:
        assert answer is None
        assert pykka.ActorRegistry.get_by_class(TwilioActor) == []
        assert pykka.ActorRegistry.get_by_class(OpenAIActor) == []
    finally:
        for started in (TwilioActor, OpenAIActor):
            for ref in pykka.ActorRegistry.get_by_class(started):
                ref.stop(timeout=PATIENCE_SECONDS)
        call.ref.tell(HangUp("over"))
        call.wait()


def test_a_model_that_cannot_even_be_dialled_fails_the_call_and_leaves_nothing(logs: ExpectedLogs) -> None:
    logs.expect("CA1: failed at Answer")

    def dial() -> ModelSocket:
        raise OSError("no more files")

    call = Call(dial)
    assert call.ref.ask(Answer(), timeout=PATIENCE_SECONDS) is None
    call.wait()
    assert "phone aborted" in call.journal


def test_a_failure_of_the_call_itself_closes_everything_below_it(call: Call, logs: ExpectedLogs) -> None:
    logs.expect("CA1: failed at StreamStopped")
    call.talk()

    call.clock.after = None  # type: ignore[method-assign, assignment]
    call.ref.tell(StreamStopped("x"))
    call.wait()
    assert call.model.aborted
    assert call.phone.aborted.is_set()


def test_stopping_the_actor_from_outside_leaves_nothing_either(call: Call) -> None:
    call.talk()
    call.ref.stop(timeout=PATIENCE_SECONDS)
    call.wait()
    assert call.model.aborted


def test_a_pressed_key_is_noted_without_saying_which(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """protocol-gotchas 45: it may be part of a card number."""
    caplog.set_level("DEBUG")
    call.talk()
    call.ref.ask(DigitPressed("7"), timeout=PATIENCE_SECONDS)
    lines = [record.getMessage() for record in caplog.records if "key" in record.getMessage()]
    assert len(lines) == 1
    assert "7" not in lines[0]


def test_two_calls_do_not_touch_each_other() -> None:
    first, second = Call(), Call()
    first.talk()
    second.talk()
    first.ref.tell(HangUp("enough"))
    assert first.ended.wait(PATIENCE_SECONDS)
    assert second.journal == []
    second.ref.ask(CallerSaid("item_u", "still here"), timeout=PATIENCE_SECONDS)
    second.ref.tell(HangUp("enough too"))
    second.wait()
    assert second.journal == first.journal
