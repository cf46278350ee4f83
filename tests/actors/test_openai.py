"""OpenAIActor: the session's beginning, barge-in, errors, and a reader that never outlives its actor."""

import base64
import contextlib
import socket as sockets
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from actors.member import CallError
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    AssistantSaid,
    CallerAudio,
    CallerSaid,
    CutOff,
    Exited,
    Interrupt,
    SessionReady,
    SocketLost,
)
from actors.meter import NoMeter
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeModelSocket, HandClock, Probe, wait_until
from wire import realtime
from wire.dialect import BETA, OPENAI, Dialect, Session
from wire.playback import Heard, Part

VAD = {"type": "server_vad", "create_response": True, "interrupt_response": True}
SESSION = Session("Be brief.", "marin", VAD)
DEAF = Session("Be brief.", "marin", VAD | {"interrupt_response": False})
GREETING = 'Say "hello".'
ULAW = realtime.SessionUpdated("audio/pcmu", "audio/pcmu")
CREATED = {"type": "session.created", "session": {}}
UPDATED = {
    "type": "session.updated",
    "session": {
        "type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
    },
}
PART = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}


class Model:
    """An OpenAIActor with a socket whose server the test plays, and probes for the call and the phone."""

    def __init__(
        self, session: Session = SESSION, dialect: Dialect = OPENAI, greeting: str | None = GREETING
    ) -> None:
        self.call, self.phone = Probe("call"), Probe("phone")
        self.socket = FakeModelSocket()
        self.clock = HandClock()
        self.seconds = 100.0
        self.arguments = (
            self.call,
            "CA1",
            self.phone,
            self.socket,
            dialect,
            session,
            greeting,
            self.clock,
            NoMeter(),
            lambda: self.seconds,
        )
        self.actor = OpenAIActor(*self.arguments)

    def handle(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def pause(self) -> float:
        """Let the pause pass that the actor asked for last, and return its seconds."""
        seconds, timer = self.clock.timers[-1]
        self.seconds += seconds
        self.handle(timer.message)
        return seconds

    def ready(self) -> "Model":
        """Past the session's beginning, with nothing left to look at."""
        self.handle(realtime.SessionCreated(), ULAW)
        self.socket.sent()
        self.call.told()
        return self


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def started() -> Iterator[Model]:
    """A started actor; stopped at the end if the test has not ended it."""
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    yield model
    ref.stop(timeout=PATIENCE_SECONDS)
    assert model.socket.released.wait(PATIENCE_SECONDS)


def failed(response_id: str, code: str = "server_error", kind: str = "server_error") -> realtime.ResponseDone:
    return realtime.ResponseDone(response_id, "failed", "", realtime.Error(kind, code, "Sorry."))


# The session's beginning


def test_nothing_is_sent_before_session_created_then_the_update_and_only_then_the_greeting(
    started: Model,
) -> None:
    assert started.socket.connecting.wait(PATIENCE_SECONDS)
    assert started.socket.sent() == []
    started.socket.say(CREATED)
    update = started.socket.expect("session.update")
    assert update == orjson.loads(OPENAI.session_update(SESSION))
    assert started.socket.sent() == []
    started.socket.say(UPDATED)
    assert started.socket.expect("response.create")["response"] == {"instructions": GREETING}
    started.call.expect(SessionReady)


def test_the_greeting_is_asked_for_once_however_often_the_session_is_updated(model: Model) -> None:
    model.handle(realtime.SessionCreated(), ULAW, ULAW, ULAW)
    assert [event["type"] for event in model.socket.sent()] == ["session.update", "response.create"]
    assert model.call.told() == [SessionReady()]


def test_without_a_greeting_the_assistant_still_speaks_first() -> None:
    model = Model(greeting=None)
    model.handle(realtime.SessionCreated(), ULAW)
    assert model.socket.sent()[1] == {"type": "response.create"}


@pytest.mark.parametrize(
    ("updated", "direction"),
    [
        (realtime.SessionUpdated("audio/pcm", "audio/pcmu"), "input"),
        (realtime.SessionUpdated("audio/pcmu", "audio/pcm"), "output"),
        (realtime.SessionUpdated("audio/pcmu", ""), "output"),
    ],
)
def test_a_session_in_another_format_ends_the_call(
    model: Model, updated: realtime.SessionUpdated, direction: str
) -> None:
    model.handle(realtime.SessionCreated())
    with pytest.raises(CallError, match=f"session has {direction} format .* instead of pcmu"):
        model.handle(updated)
    assert [event["type"] for event in model.socket.sent()] == ["session.update"]
    assert model.call.told() == []


def test_a_session_in_another_format_never_gets_audio(logs: ExpectedLogs) -> None:
    logs.expect("CA1: session has output format 'audio/pcm'")
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    ref.tell(CallerAudio(20, "AAAA"))
    wrong = orjson.loads(orjson.dumps(UPDATED))
    wrong["session"]["audio"]["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
    model.socket.say(CREATED, wrong)
    assert isinstance(model.call.expect(Exited).error, CallError)
    assert [event["type"] for event in model.socket.sent()] == ["session.update"]
    assert model.phone.told() == []


def test_a_beta_server_is_verified_in_its_own_words() -> None:
    model = Model(dialect=BETA)
    model.handle(realtime.SessionCreated(), realtime.SessionUpdated("g711_ulaw", "g711_ulaw"))
    assert model.call.told() == [SessionReady()]


def test_an_error_instead_of_session_updated_ends_the_call(model: Model) -> None:
    """protocol-gotchas 2: the update was refused as a whole."""
    model.handle(realtime.SessionCreated())
    with pytest.raises(CallError, match="session refused: missing_required_parameter"):
        model.handle(realtime.Error("invalid_request_error", "missing_required_parameter", "session.type"))


def test_held_caller_audio_is_two_seconds_at_most_the_oldest_dropped_and_then_in_order(
    logs: ExpectedLogs,
) -> None:
    logs.expect("CA1: 200 ms of the caller's audio were dropped")
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    model.socket.say(CREATED)
    model.socket.expect("session.update")  # by now the lane is held
    payloads = [base64.b64encode(bytes([number])).decode() for number in range(112)]
    for payload in payloads[:110]:
        ref.tell(CallerAudio(20, payload))
    assert model.socket.sent() == []
    model.socket.say(UPDATED)
    model.socket.expect("response.create")
    model.call.expect(SessionReady)
    got = [model.socket.expect("input_audio_buffer.append")["audio"] for _ in range(100)]
    for payload in payloads[110:]:
        ref.tell(CallerAudio(20, payload))
    got += [model.socket.expect("input_audio_buffer.append")["audio"] for _ in range(2)]
    assert got == payloads[10:]
    ref.stop(timeout=PATIENCE_SECONDS)


def test_audio_stays_in_the_mailbox_until_the_session_takes_it(model: Model) -> None:
    actor, mailbox = model.actor, model.actor.mailbox
    actor.on_receive(mailbox.get().message)  # Open
    actor.actor_ref.tell(CallerAudio(20, "AAAA"))
    actor.actor_ref.tell(CallerAudio(20, "BBBB"))
    model.handle(realtime.SessionCreated())
    assert mailbox.empty()
    model.handle(ULAW)
    while not mailbox.empty():
        actor.on_receive(mailbox.get().message)
    assert [(event["type"], event.get("audio")) for event in model.socket.sent()] == [
        ("session.update", None),
        ("response.create", None),
        ("input_audio_buffer.append", "AAAA"),
        ("input_audio_buffer.append", "BBBB"),
    ]
    actor.close()


def test_closing_waits_for_the_reader(model: Model) -> None:
    model.socket.release_seconds = 0.05
    model.actor.on_receive(model.actor.mailbox.get().message)  # Open
    model.actor.close()
    assert model.socket.released.is_set()


# Barge-in


def test_speech_interrupts_the_phone_with_every_response_that_may_still_be_heard(model: Model) -> None:
    model.ready().handle(
        realtime.ResponseCreated("resp_1"),
        realtime.ResponseDone("resp_1", "completed", "", None),
        realtime.ResponseCreated("resp_2"),
        realtime.SpeechStarted(1000, "item_u"),
    )
    assert model.phone.told() == [Interrupt(frozenset({"resp_1", "resp_2"}))]
    assert model.call.told() == []


def test_a_response_that_ended_before_the_last_interruption_is_not_named_again(model: Model) -> None:
    model.ready().handle(
        realtime.ResponseCreated("resp_1"),
        realtime.SpeechStarted(1000, "item_u1"),
        realtime.ResponseDone("resp_1", "cancelled", "turn_detected", None),
        realtime.ResponseCreated("resp_2"),
        realtime.SpeechStarted(3000, "item_u2"),
    )
    assert [interrupt.dead_responses for interrupt in model.phone.told()] == [{"resp_1"}, {"resp_2"}]


def test_a_response_still_being_generated_is_named_at_every_interruption(model: Model) -> None:
    model.ready().handle(
        realtime.ResponseCreated("resp_1"),
        realtime.SpeechStarted(1000, "item_u1"),
        realtime.SpeechStarted(1500, "item_u2"),
    )
    assert [interrupt.dead_responses for interrupt in model.phone.told()] == [{"resp_1"}, {"resp_1"}]


def test_a_session_without_interruption_never_interrupts() -> None:
    model = Model(DEAF).ready()
    model.handle(realtime.ResponseCreated("resp_1"), realtime.SpeechStarted(1000, "item_u"))
    assert model.phone.told() == []
    assert model.call.told() == []


def test_nothing_is_cancelled_by_us_because_the_server_does(model: Model) -> None:
    """protocol-gotchas 13"""
    model.ready().handle(realtime.ResponseCreated("resp_1"), realtime.SpeechStarted(1000, "item_u"))
    assert model.socket.sent() == []


def test_what_was_cut_off_is_truncated_and_what_was_not_heard_is_deleted(model: Model) -> None:
    model.ready().handle(CutOff((Heard(Part("item_a", 0), 1256), Heard(Part("item_b", 0), 0))))
    assert model.socket.sent() == [
        {
            "type": "conversation.item.truncate",
            "item_id": "item_a",
            "content_index": 0,
            "audio_end_ms": 1256,
        },
        {"type": "conversation.item.delete", "item_id": "item_b"},
    ]


@pytest.mark.parametrize(
    "heard",
    [
        (Heard(Part("item_a", 0), 900), Heard(Part("item_a", 1), 0)),
        (Heard(Part("item_a", 0), 900), Heard(Part("item_b", 0), 0), Heard(Part("item_a", 1), 0)),
    ],
)
def test_an_item_of_which_a_part_was_heard_is_not_deleted(model: Model, heard: tuple[Heard, ...]) -> None:
    """Deleting is by item: it would take what the caller did hear out of the model's memory as well."""
    model.ready().handle(CutOff(heard))
    deleted = [
        event["item_id"] for event in model.socket.sent() if event["type"] == "conversation.item.delete"
    ]
    assert "item_a" not in deleted


def test_an_item_of_which_no_part_was_heard_is_deleted_once(model: Model) -> None:
    model.ready().handle(CutOff((Heard(Part("item_a", 0), 0), Heard(Part("item_a", 1), 0))))
    assert model.socket.sent() == [{"type": "conversation.item.delete", "item_id": "item_a"}]


def test_an_item_whose_first_part_was_heard_to_its_end_is_truncated_in_its_second(model: Model) -> None:
    """The ledger leaves parts out that were heard to their end."""
    model.ready().handle(CutOff((Heard(Part("item_a", 1), 0),)))
    (event,) = model.socket.sent()
    assert (event["type"], event["content_index"], event["audio_end_ms"]) == (
        "conversation.item.truncate",
        1,
        0,
    )


# What the server tells


def test_words_are_passed_on_to_the_call_and_empty_ones_are_not(model: Model) -> None:
    model.ready().handle(
        realtime.CallerTranscript("item_u", "Hello?"),
        realtime.CallerTranscript("item_u", ""),
        realtime.CallerTranscript("item_u", None),
        realtime.AssistantTranscript("item_a", 0, "Good day."),
        realtime.SpeechStopped(1500, "item_u"),
    )
    assert model.call.told() == [CallerSaid("item_u", "Hello?"), AssistantSaid("item_a", "Good day.")]


@pytest.mark.parametrize(
    "error",
    [
        realtime.Error(
            "invalid_request_error", "response_cancel_not_active", "Cancellation failed: no active response"
        ),
        realtime.Error("invalid_request_error", "item_truncate_invalid_item_id", "Item not found"),
        realtime.Error("invalid_request_error", "item_delete_invalid_item_id", "Item not found"),
        realtime.Error("invalid_request_error", "", "Audio content of 3700ms is already shorter than 3760ms"),
    ],
    ids=lambda error: error.code or "too long",
)
def test_benign_errors_do_not_warn(model: Model, error: realtime.Error) -> None:
    model.ready().handle(error)  # the suite fails for a warning that nobody expects


def test_other_errors_warn_and_the_call_goes_on(model: Model, logs: ExpectedLogs) -> None:
    logs.expect("CA1: model refused: invalid_value: What is this")
    model.ready().handle(realtime.Error("invalid_request_error", "invalid_value", "What is this?"))


@pytest.mark.parametrize(
    "code", ["invalid_api_key", "insufficient_quota", "account_deactivated", "session_expired"]
)
def test_fatal_errors_end_the_call(model: Model, code: str) -> None:
    model.ready()
    with pytest.raises(CallError, match=f"session ended: {code}"):
        model.handle(realtime.Error("invalid_request_error", code, "No."))


@pytest.mark.parametrize("kind", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_fatal_error_is_known_by_its_type_where_it_has_no_code(model: Model, kind: str) -> None:
    """openai-realtime.md 13: billing errors are to be matched on `code` or `type`."""
    model.ready()
    with pytest.raises(CallError):
        model.handle(realtime.Error(kind, "", "You exceeded your current quota."))


@pytest.mark.parametrize(("code", "kind"), [("", "insufficient_quota"), ("insufficient_quota", "x")])
def test_a_response_that_failed_for_good_ends_the_call_at_once(
    model: Model, logs: ExpectedLogs, code: str, kind: str
) -> None:
    logs.expect("CA1: response failed: insufficient_quota")
    model.ready()
    with pytest.raises(CallError, match="the model cannot answer: insufficient_quota"):
        model.handle(failed("resp_1", code=code, kind=kind))
    assert model.socket.sent() == []


def test_a_failed_response_is_asked_for_again_after_a_pause_and_then_the_call_ends(
    model: Model, logs: ExpectedLogs
) -> None:
    """protocol-gotchas 19"""
    logs.expect("CA1: response failed: rate_limit_exceeded")
    model.ready()
    pauses = []
    for attempt in range(3):
        model.handle(
            realtime.ResponseCreated(f"resp_{attempt}"), failed(f"resp_{attempt}", "rate_limit_exceeded")
        )
        assert model.socket.sent() == []
        pauses.append(model.pause())
        assert [event["type"] for event in model.socket.sent()] == ["response.create"]
    assert pauses == [0.5, 1.0, 2.0]
    model.handle(realtime.ResponseCreated("resp_3"))
    with pytest.raises(CallError, match="the model cannot answer: rate_limit_exceeded: Sorry"):
        model.handle(failed("resp_3", "rate_limit_exceeded"))


def test_a_greeting_that_failed_is_asked_for_again_in_the_same_words(
    model: Model, logs: ExpectedLogs
) -> None:
    """A greeting is said word for word; it may hold what the law requires to be said."""
    logs.expect("response failed")
    model.ready().handle(realtime.ResponseCreated("resp_1"), failed("resp_1"))
    model.pause()
    assert model.socket.sent() == [{"type": "response.create", "response": {"instructions": GREETING}}]


def test_an_answer_that_failed_is_not_asked_for_again_in_the_words_of_the_greeting(
    model: Model, logs: ExpectedLogs
) -> None:
    """The server's turn detection asked for it, so what we asked for last is something else."""
    logs.expect("response failed")
    model.ready().handle(
        realtime.ResponseCreated("resp_1"),
        realtime.ResponseDone("resp_1", "completed", "", None),
        realtime.SpeechStarted(1000, "item_u"),
        realtime.SpeechStopped(2000, "item_u"),
        realtime.ResponseCreated("resp_2"),
        failed("resp_2"),
    )
    model.pause()
    assert model.socket.sent() == [{"type": "response.create"}]


def test_a_response_refused_because_another_is_active_is_asked_for_when_that_has_ended(model: Model) -> None:
    """protocol-gotchas 20"""
    model.ready().handle(
        realtime.Error("invalid_request_error", "conversation_already_has_active_response", "Wait."),
        realtime.ResponseCreated("resp_vad"),
    )
    assert model.socket.sent() == []
    model.handle(realtime.ResponseDone("resp_vad", "completed", "", None))
    assert model.socket.sent() == [{"type": "response.create", "response": {"instructions": GREETING}}]


# The reader


def test_audio_goes_from_the_reader_straight_to_the_phone_with_its_ids(started: Model) -> None:
    started.socket.say(
        {"type": "response.output_audio.delta", **PART, "delta": "//////////8="},
        {"type": "response.output_audio.done", **PART},
        {
            "type": "response.audio.delta",
            **PART,
            "content_index": 1,
            "response_id": "resp_2",
            "delta": "AAAA",
        },
    )
    part = Part("item_a", 0)
    assert started.phone.expect(AssistantAudio) == AssistantAudio(1.0, "resp_1", part, "//////////8=")
    assert started.phone.expect(AssistantAudioDone) == AssistantAudioDone(0.0, part)
    late = started.phone.expect(AssistantAudio)
    assert (late.response_id, late.part) == ("resp_2", Part("item_a", 1))


def test_events_that_a_telephone_does_not_need_are_ignored(started: Model) -> None:
    item = {"id": "item_u", "type": "message", "role": "user"}
    started.socket.say(
        {"type": "rate_limits.updated", "rate_limits": []},
        {"type": "conversation.item.added", "item": item, "previous_item_id": None},
        {"type": "input_audio_buffer.committed", "item_id": "item_u", "previous_item_id": None},
        {"type": "novel"},
        CREATED,
    )
    started.socket.expect("session.update")
    assert started.phone.told() == []


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        ("<html>", "not JSON"),
        ("[]", "where an object is expected"),
        ("{}", "'type' must be str"),
        ({"type": "response.output_audio.delta", **PART, "delta": 'AA"'}, "not base64"),
        ({"type": "response.done", "response": []}, "'response' must be dict"),
    ],
)
def test_garbage_from_the_model_ends_it_with_a_reason(logs: ExpectedLogs, garbage: Any, why: str) -> None:
    logs.expect("CA1: model sent what is not a Realtime event")
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    model.socket.say(garbage)
    exited = model.call.expect(Exited)
    assert exited.member == ref
    assert isinstance(exited.error, CallError)
    assert why in str(exited.error)
    assert model.socket.released.is_set()


def test_a_lost_socket_ends_the_actor_with_the_reason(logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket closed with code 3000 invalid_api_key")
    model = Model()
    OpenAIActor.start(*model.arguments)
    model.socket.end("closed with code 3000 invalid_api_key")
    assert "code 3000 invalid_api_key" in str(model.call.expect(Exited).error)


def test_a_refused_connection_ends_the_actor_with_the_reason(logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket refused with HTTP status 401")
    model = Model()
    model.socket.refusal = "refused with HTTP status 401"
    OpenAIActor.start(*model.arguments)
    assert "HTTP status 401" in str(model.call.expect(Exited).error)
    assert model.socket.released.wait(PATIENCE_SECONDS)


def test_a_socket_that_cannot_be_written_ends_the_actor(logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket lost")
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    model.socket.say(CREATED, UPDATED)
    model.call.expect(SessionReady)
    model.socket.break_writes()
    ref.tell(CallerAudio(20, "AAAA"))
    assert isinstance(model.call.expect(Exited).error, CallError)
    assert model.socket.aborted


def test_a_socket_that_ended_is_reported_by_its_end_and_not_by_the_write_that_failed_for_it(
    logs: ExpectedLogs,
) -> None:
    """The close code tells a refused key from a bad network; a broken pipe tells nothing."""
    logs.expect("CA1: closed with code 3000")
    model = Model().ready()
    model.socket.break_writes()
    model.actor.on_receive(CallerAudio(20, "AAAA"))
    model.actor.on_receive(SocketLost("closed with code 3000 invalid_api_key"))


def test_a_lost_socket_is_not_taken_for_a_failure_after_an_orderly_stop(started: Model) -> None:
    assert started.socket.connecting.wait(PATIENCE_SECONDS)
    # The fixture stops it; a warning about the lost socket would fail the test.


def test_losing_the_socket_is_raised_where_it_is_handled(model: Model) -> None:
    with pytest.raises(CallError, match="gone"):
        model.handle(SocketLost("gone"))


@contextlib.contextmanager
def silent_listener() -> Iterator[tuple[int, threading.Event]]:
    """A server which takes the connection, reads the upgrade request and never answers it."""
    connected = threading.Event()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(sockets.create_server(("127.0.0.1", 0)))

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                stack.callback(connection.close)
                connection.recv(1)
                connected.set()

        thread = threading.Thread(target=accept, name="silent listener", daemon=True)
        thread.start()
        stack.callback(thread.join, PATIENCE_SECONDS)
        yield listener.getsockname()[1], connected


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_closing_while_the_handshake_is_not_answered_returns_at_once_and_leaves_no_thread(
    scheme: str,
) -> None:
    with silent_listener() as (port, connected):
        call = Probe("call")
        socket = ModelSocket(f"{scheme}://127.0.0.1:{port}/v1/realtime?model=m", ())
        ref = OpenAIActor.start(call, "CA1", None, socket, OPENAI, SESSION, None, HandClock())
        assert connected.wait(PATIENCE_SECONDS)
        began = time.monotonic()
        ref.stop(timeout=PATIENCE_SECONDS)
        assert time.monotonic() - began < 0.5
        assert call.expect(Exited).error is None
        wait_until(
            lambda: "model reader CA1" not in {thread.name for thread in threading.enumerate()},
            "reader ended",
        )
