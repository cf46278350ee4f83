"""OpenAIActor: the session's beginning, the caller's turns, barge-in, errors, and a reader that never outlives it."""

import base64
import contextlib
import socket as sockets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from actors.greeting import KEPT_RESPONSE
from actors.member import CallError
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Begin,
    CallerAudio,
    CheckAlive,
    CutOff,
    DeadlinePassed,
    Exited,
    Floor,
    FloorChanged,
    HeardLess,
    Interrupt,
    Open,
    Playback,
    Remember,
    Respond,
    SessionReady,
    SocketLost,
    SpeechUnnoticed,
    ToolOutput,
)
from actors.meter import NoMeter
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.phone_reader import KEPT_SPEECH_SECONDS
from tests.actors.parts import (
    GREETING,
    INSTRUCTIONS,
    LOUD,
    PARSED_UPDATED,
    QUIET,
    SESSION,
    UPDATED,
    VAD,
    asked,
    created,
    said,
)
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeModelSocket, HandClock, Probe, wait_until
from wire import realtime
from wire.dialect import BETA, OPENAI, Dialect, Session
from wire.false_start import TRANSCRIPT_SECONDS, Gating
from wire.instructions import RESUME
from wire.latency import Onset, TurnLatency
from wire.liveness import IDLE_SECONDS, URGENT_SECONDS
from wire.liveness import PATIENCE_SECONDS as PONG_SECONDS
from wire.loudness import is_loud
from wire.playback import Heard, Part
from wire.transcript import Entry, ToolUse
from wire.vad_watchdog import DEAF_MS

DEAF = replace(SESSION, turn_detection=VAD | {"interrupt_response": False})
GATED_VAD = VAD | {"create_response": False, "interrupt_response": False}
GATED = replace(SESSION, turn_detection=GATED_VAD)
GATE = Gating("gated", minimum_speech_ms=200)
RESUMING = replace(GATE, resume=True)
SEMANTIC = replace(SESSION, turn_detection=VAD | {"type": "semantic_vad"})
CREATED = created()
PART = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}
PLAYING, SILENT = Playback(assistant=True, sound=False), Playback(assistant=False, sound=False)


class Model:
    """An OpenAIActor with a socket whose server the test plays, and probes for the call and the phone."""

    def __init__(
        self, session: Session = SESSION, dialect: Dialect = OPENAI, gating: Gating | None = None
    ) -> None:
        self.call, self.phone = Probe("call"), Probe("phone")
        self.socket = FakeModelSocket()
        self.clock = HandClock()
        self.seconds = time.monotonic()
        self.arguments = (
            self.call,
            "CA1",
            self.phone,
            self.socket,
            dialect,
            session,
            self.clock,
            gating,
            NoMeter(),
            lambda: self.seconds,
        )
        self.actor = OpenAIActor(*self.arguments)
        self.actor._reader.heard_at = self.seconds

    def handle(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def hear(self, payload: str, duration_ms: int) -> None:
        """So much of the caller's audio, in frames of 20 ms."""
        loud = is_loud(base64.b64decode(payload))
        for _ in range(duration_ms // 20):
            self.seconds += 0.02
            self.handle(CallerAudio(20, payload, self.seconds, loud=loud))

    def pause(self, what: str = DeadlinePassed.TURN) -> float:
        """Let the time pass that the actor asked for last, and return its seconds."""
        seconds, timer = next(
            each for each in reversed(self.clock.timers) if each[1].message == DeadlinePassed(what)
        )
        self.clock.timers.remove((seconds, timer))
        self.seconds += seconds
        self.handle(timer.message)
        return seconds

    def ready(self, *owed: str | None) -> "Model":
        """Past the session's beginning, with nothing left to look at."""
        self.handle(realtime.SessionCreated(), PARSED_UPDATED, Begin((), owed))
        self.socket.sent()
        self.call.told()
        return self

    def answering(self) -> "Model":
        """In the middle of an answer that the caller can hear."""
        self.ready().handle(realtime.ResponseCreated("resp_1"), PLAYING)
        self.call.told()
        return self

    def sent(self) -> list[str]:
        """The types of what was sent by now, the caller's audio left out."""
        return [event["type"] for event in self.socket.sent() if event["type"] != "input_audio_buffer.append"]

    def floors(self) -> list[Floor]:
        """What the call was told of whose turn it is, by now."""
        return [message.floor for message in self.call.told() if isinstance(message, FloorChanged)]


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


def done(response_id: str, status: str = "completed", reason: str = "") -> realtime.ResponseDone:
    return realtime.ResponseDone(response_id, status, reason, None)


def failed(response_id: str, code: str = "server_error", kind: str = "server_error") -> realtime.ResponseDone:
    return realtime.ResponseDone(response_id, "failed", "", realtime.Error(kind, code, "Sorry."))


# The session's beginning


def test_nothing_is_sent_before_session_created_then_the_update_and_then_the_call_is_told(
    started: Model,
) -> None:
    assert started.socket.connecting.wait(PATIENCE_SECONDS)
    assert started.socket.sent() == []
    started.socket.say(CREATED)
    assert started.socket.expect("session.update") == orjson.loads(OPENAI.session_update(SESSION))
    started.socket.say(UPDATED)
    started.call.expect(SessionReady)
    assert started.socket.sent() == []


def test_the_call_is_told_once_however_often_the_session_is_updated_and_when_it_expires(
    model: Model,
) -> None:
    model.handle(realtime.SessionCreated(1_800_000_000.0), PARSED_UPDATED, PARSED_UPDATED)
    assert model.call.told() == [SessionReady(model.actor.actor_ref, 1_800_000_000.0)]
    assert model.sent() == ["session.update"]


def test_a_session_begins_with_what_was_said_and_then_what_is_owed(model: Model) -> None:
    model.handle(realtime.SessionCreated(), PARSED_UPDATED)
    model.socket.sent()
    history = (
        said("item_g", "Hello there."),
        asked("item_u", "Look it up"),
        Entry("item_f", "tool", "", "", 0, 0, tool=ToolUse("call_1", "look_up", "{}", "42")),
    )
    model.handle(Begin(history, (GREETING,)))
    sent = model.socket.sent()
    assert [event["type"] for event in sent] == 4 * ["conversation.item.create"] + ["response.create"]
    assert [event["item"]["type"] for event in sent[:4]] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert sent[4]["response"] == {"instructions": GREETING}
    assert model.call.told()[1:] == [FloorChanged(Floor.ASSISTANT, model.actor.actor_ref)]


def test_an_answer_that_says_nothing_is_asked_for_again_and_one_that_calls_a_function_is_not(
    model: Model,
) -> None:
    silent = replace(done("resp_1"), silent=True)
    model.ready().handle(realtime.ResponseCreated("resp_1"), silent)
    assert model.sent() == ["response.create"]
    call = realtime.FunctionCall("resp_2", "item_f", "call_1", "look_up", "{}")
    model.handle(realtime.ResponseCreated("resp_2"), call, replace(silent, response_id="resp_2"))
    assert model.sent() == []


def test_answers_that_say_nothing_again_and_again_end_the_session(model: Model) -> None:
    model.ready().handle(Respond(None))
    with pytest.raises(CallError, match="say nothing"):
        model.handle(*(replace(done(f"resp_{number}"), silent=True) for number in range(3)))


def test_a_goodbye_is_asked_for_although_the_caller_was_answered_first(model: Model) -> None:
    model.ready().handle(
        realtime.SpeechStarted(0, "item_u"),
        Respond("Say goodbye.", must=True),
        realtime.SpeechStopped(1000, "item_u"),
    )
    model.seconds += 1
    model.handle(realtime.ResponseCreated("resp_1"), done("resp_1"))
    assert model.socket.sent() == [
        {"type": "response.create", "response": {"instructions": "Say goodbye."}},
    ]


def test_a_session_that_owes_nothing_waits(model: Model) -> None:
    model.handle(realtime.SessionCreated(), PARSED_UPDATED)
    model.socket.sent()
    model.handle(Begin())
    assert model.socket.sent() == []
    assert model.floors() == []


def test_without_instructions_of_its_own_a_response_has_those_of_the_session(model: Model) -> None:
    model.ready().handle(Respond(None))
    assert model.socket.sent() == [{"type": "response.create"}]


def test_a_kept_greeting_that_plays_counts_as_said_until_it_is_cut_off(model: Model) -> None:
    greeting = said("item_g", "Hello there, this is Tailwind.")
    model.handle(realtime.SessionCreated(), PARSED_UPDATED)
    model.socket.sent()
    model.handle(Begin(playing=greeting), PLAYING)
    (told,) = model.socket.sent()
    assert told["item"]["content"] == [{"type": "output_text", "text": "Hello there, this is Tailwind."}]
    model.phone.told()
    model.handle(realtime.SpeechStarted(0, "item_u"))
    assert model.phone.told() == [Interrupt(frozenset({KEPT_RESPONSE}))], "what is on its way is not heard"
    model.handle(CutOff((Heard(Part("item_g", 0), 700),)))
    assert model.socket.sent() == [], "it has no audio here that could be truncated"
    model.handle(HeardLess(replace(greeting, heard_text="Hello there,")))
    heard, deleted = model.socket.sent()
    assert heard["previous_item_id"] == told["item"]["id"], "not behind what the caller says"
    assert heard["item"]["content"] == [{"type": "output_text", "text": "Hello there,"}]
    assert deleted == {"type": "conversation.item.delete", "item_id": told["item"]["id"]}


def test_of_a_kept_greeting_that_nobody_heard_the_model_knows_nothing(model: Model) -> None:
    greeting = said("item_g", "Hello there.", heard_text="")
    model.handle(realtime.SessionCreated(), PARSED_UPDATED, Begin(playing=greeting))
    model.socket.sent()
    model.handle(HeardLess(greeting))
    assert [event["type"] for event in model.socket.sent()] == ["conversation.item.delete"]


def test_what_has_been_said_meanwhile_is_put_into_the_conversation(model: Model) -> None:
    model.ready().handle(Remember((said("item_a", "We open at nine.", heard_text="We open"),)))
    (event,) = model.socket.sent()
    assert event["item"]["content"] == [{"type": "output_text", "text": "We open"}]


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
    assert model.sent() == ["session.update"]
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
    model.call.expect(SessionReady)


def test_an_error_instead_of_session_updated_ends_the_call(model: Model) -> None:
    """protocol-gotchas 2: the update was refused as a whole."""
    model.handle(realtime.SessionCreated())
    with pytest.raises(CallError, match="session refused: missing_required_parameter"):
        model.handle(realtime.Error("invalid_request_error", "missing_required_parameter", "session.type"))


def test_caller_audio_is_held_until_the_session_begins_the_oldest_dropped_and_then_in_order(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.expect("CA1: 200 ms of the caller's audio were dropped")
    monkeypatch.setattr(OpenAIActor, "audio_limit_ms", 2000.0)
    model = Model()
    ref = OpenAIActor.start(*model.arguments)
    model.socket.say(CREATED)
    model.socket.expect("session.update")  # by now the lane is held
    payloads = [base64.b64encode(bytes([number])).decode() for number in range(112)]
    for payload in payloads[:110]:
        ref.tell(CallerAudio(20, payload))
    model.socket.say(UPDATED)
    model.call.expect(SessionReady)
    ref.tell(CheckAlive())
    model.socket.expect_ping()
    assert model.socket.sent() == []
    ref.tell(Begin((), (GREETING,)))
    model.socket.expect("response.create")
    got = [model.socket.expect("input_audio_buffer.append")["audio"] for _ in range(100)]
    for payload in payloads[110:]:
        ref.tell(CallerAudio(20, payload))
    got += [model.socket.expect("input_audio_buffer.append")["audio"] for _ in range(2)]
    assert got == payloads[10:]
    ref.stop(timeout=PATIENCE_SECONDS)


def test_there_is_room_for_all_that_a_session_hears_again_when_it_begins() -> None:
    """The phone's reader hands over what it has kept at once."""
    assert OpenAIActor.audio_limit_ms > 1000 * KEPT_SPEECH_SECONDS


def test_what_has_queued_up_goes_out_in_few_writes_and_in_its_order(model: Model) -> None:
    model.ready()
    before = model.socket.writes
    assert isinstance(model.actor.mailbox.get().message, Open)  # nothing is to be started
    payloads = [base64.b64encode(bytes([number]) * 160).decode() for number in range(40)]
    for payload in payloads:
        model.actor.actor_ref.tell(CallerAudio(20, payload, model.seconds))
    while not model.actor.mailbox.empty():
        model.actor.on_receive(model.actor.mailbox.get().message)
    assert [event["audio"] for event in model.socket.sent()] == payloads
    assert model.socket.writes == before + 2


def test_what_the_model_is_told_does_not_overtake_the_caller(model: Model) -> None:
    model.ready()
    model.actor.actor_ref.tell(CallerAudio(20, "AAAA", model.seconds))
    model.handle(CallerAudio(20, "BBBB", model.seconds))
    assert model.socket.sent() == []
    model.handle(Respond(None))
    assert [event["type"] for event in model.socket.sent()] == [
        "input_audio_buffer.append",
        "response.create",
    ]


def test_audio_stays_in_the_mailbox_until_the_session_begins(model: Model) -> None:
    actor, mailbox = model.actor, model.actor.mailbox
    actor.on_receive(mailbox.get().message)  # Open
    actor.actor_ref.tell(CallerAudio(20, "AAAA"))
    actor.actor_ref.tell(CallerAudio(20, "BBBB"))
    model.handle(realtime.SessionCreated(), PARSED_UPDATED)
    assert mailbox.empty()
    model.handle(Begin((said("item_g", "Hello."),), (GREETING,)))
    while not mailbox.empty():
        actor.on_receive(mailbox.get().message)
    assert [(event["type"], event.get("audio")) for event in model.socket.sent()] == [
        ("session.update", None),
        ("conversation.item.create", None),
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


def test_a_response_that_ended_before_the_last_interruption_is_not_named_again(model: Model) -> None:
    model.ready().handle(
        realtime.ResponseCreated("resp_1"),
        realtime.SpeechStarted(1000, "item_u1"),
        realtime.ResponseDone("resp_1", "cancelled", "turn_detected", None),
        realtime.SpeechStopped(2000, "item_u1"),
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


def test_a_response_that_was_asked_for_when_the_caller_began_to_speak_is_cancelled(model: Model) -> None:
    """Its request and `speech_started` crossed: the server cancels only what is active when speech begins."""
    model.ready().handle(
        Respond("Greet."), realtime.SpeechStarted(1000, "item_u"), realtime.ResponseCreated("resp_1")
    )
    assert [event["type"] for event in model.socket.sent()] == ["response.create", "response.cancel"]
    assert [interrupt.dead_responses for interrupt in model.phone.told()] == [frozenset(), {"resp_1"}]


def test_nor_is_it_where_nothing_may_interrupt_or_a_gate_decides() -> None:
    for model in (Model(DEAF), Model(GATED, gating=GATE)):
        model.ready().handle(
            Respond("Greet."), realtime.SpeechStarted(1000, "item_u"), realtime.ResponseCreated("resp_1")
        )
        assert [event["type"] for event in model.socket.sent()] == ["response.create"]


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


# Whose turn it is


def test_the_floor_goes_from_the_caller_to_the_assistant_to_nobody(model: Model) -> None:
    model.ready()
    model.handle(realtime.SpeechStarted(1000, "item_u"))
    assert model.floors() == [Floor.CALLER]
    model.handle(realtime.SpeechStopped(2000, "item_u"))
    assert model.floors() == [Floor.ASSISTANT]
    model.handle(realtime.ResponseCreated("resp_1"))
    assert model.floors() == []
    model.handle(done("resp_1"))
    assert model.floors() == [Floor.NOBODY]


def test_the_floor_is_the_assistants_from_when_a_response_is_owed(model: Model) -> None:
    model.ready().handle(Respond("Say goodbye."))
    assert model.floors() == [Floor.ASSISTANT]
    model.handle(realtime.ResponseCreated("resp_1"), done("resp_1"))
    assert model.floors() == [Floor.NOBODY]


def test_a_response_that_failed_leaves_the_floor_with_the_assistant_who_tries_again(
    model: Model, logs: ExpectedLogs
) -> None:
    logs.expect("response failed")
    model.ready().handle(Respond(None), realtime.ResponseCreated("resp_1"), failed("resp_1"))
    assert model.floors() == [Floor.ASSISTANT]


def test_an_answer_that_is_interrupted_leaves_the_floor_with_the_caller(model: Model) -> None:
    model.answering().handle(
        realtime.SpeechStarted(1000, "item_u"), done("resp_1", "cancelled", "turn_detected")
    )
    assert model.floors() == [Floor.CALLER]


# Functions


def test_a_functions_output_is_told_to_the_model_and_the_last_one_is_answered(model: Model) -> None:
    model.ready()
    model.handle(ToolOutput("call_1", "41", last=False))
    assert model.sent() == ["conversation.item.create"]
    model.handle(ToolOutput("call_2", "42", last=True))
    output, response = model.socket.sent()
    assert output["item"] == {"type": "function_call_output", "call_id": "call_2", "output": "42"}
    assert response == {"type": "response.create"}


def test_the_output_of_a_function_waits_for_the_end_of_the_response_that_called_it(model: Model) -> None:
    call = realtime.FunctionCall("resp_1", "item_f", "call_1", "look_up", "{}")
    model.ready().handle(realtime.ResponseCreated("resp_1"), call)
    assert call in model.call.told()
    model.handle(ToolOutput("call_1", "42", last=True))
    assert model.sent() == ["conversation.item.create"]
    model.handle(done("resp_1"))
    assert model.sent() == ["response.create"]
    assert Floor.NOBODY not in model.floors()


def test_a_function_that_is_quicker_than_the_model_calls_the_next_one_is_not_answered_alone(
    model: Model,
) -> None:
    """When the first has its output, the call does not know of the second yet."""
    first, second = (
        realtime.FunctionCall("resp_1", f"item_{number}", f"call_{number}", "look_up", "{}")
        for number in (1, 2)
    )
    model.ready().handle(realtime.ResponseCreated("resp_1"), first, ToolOutput("call_1", "1", last=True))
    model.handle(second, done("resp_1"))
    assert model.sent() == ["conversation.item.create"]
    model.handle(ToolOutput("call_2", "2", last=True))
    assert model.sent() == ["conversation.item.create", "response.create"]


# MCP servers, whose tools the API runs, and then waits to be asked to go on


MCP_CALL, MCP_ENDED = realtime.McpCall("resp_1", "item_m"), realtime.McpCallEnded("item_m")


@pytest.mark.parametrize("order", [[MCP_ENDED, done("resp_1")], [done("resp_1"), MCP_ENDED]])
def test_the_answer_to_an_mcp_call_is_asked_for_once_it_and_its_response_have_ended(
    model: Model, order: list[realtime.Event]
) -> None:
    model.ready().handle(realtime.ResponseCreated("resp_1"), MCP_CALL)
    for event in order:
        assert model.sent() == []
        model.handle(replace(event, silent=True) if isinstance(event, realtime.ResponseDone) else event)
    assert model.sent() == ["response.create"]
    told = model.call.told()
    assert [each for each in told if each in (MCP_CALL, MCP_ENDED)] == [MCP_CALL, MCP_ENDED]
    model.handle(MCP_ENDED)
    assert MCP_ENDED not in model.call.told(), "a second end is none"


def test_an_mcp_call_and_a_function_are_answered_together(model: Model) -> None:
    call = realtime.FunctionCall("resp_1", "item_f", "call_1", "look_up", "{}")
    model.ready().handle(realtime.ResponseCreated("resp_1"), MCP_CALL, call, done("resp_1"))
    model.handle(ToolOutput("call_1", "42", last=False))
    assert model.sent() == ["conversation.item.create"]
    model.handle(MCP_ENDED)
    assert model.sent() == ["response.create"]


def test_an_mcp_call_of_an_interrupted_response_is_not_waited_for(model: Model) -> None:
    model.ready().handle(realtime.ResponseCreated("resp_1"), MCP_CALL)
    model.handle(realtime.SpeechStarted(0, "item_u"), done("resp_1", "cancelled", "turn_detected"))
    assert MCP_ENDED in model.call.told()
    call = realtime.FunctionCall("resp_2", "item_f", "call_1", "look_up", "{}")
    model.handle(realtime.SpeechStopped(900, "item_u"), realtime.ResponseCreated("resp_2"), call)
    model.handle(done("resp_2"), ToolOutput("call_1", "42", last=True))
    assert model.sent()[-1] == "response.create"


# Gated mode: who interrupts, and what counts as a turn, is decided here


def gated(gating: Gating = GATE) -> Model:
    """A gated session whose caller hears an answer."""
    model = Model(GATED, gating=gating)
    return model.answering()


def test_speech_that_lasts_interrupts_and_cancels_and_is_answered_when_it_is_over() -> None:
    model = gated()
    model.handle(realtime.SpeechStarted(0, "item_u"))
    assert (model.phone.told(), model.sent()) == ([], [])
    model.hear(LOUD, 180)
    assert model.phone.told() == []
    model.hear(LOUD, 20)
    assert model.phone.told() == [Interrupt(frozenset({"resp_1"}))]
    assert model.sent() == ["response.cancel"]
    model.handle(done("resp_1", "cancelled", "client_cancelled"), SILENT)
    model.handle(realtime.SpeechStopped(900, "item_u"))
    assert model.sent() == ["response.create"]
    assert model.floors() == [Floor.CALLER, Floor.ASSISTANT]


def test_with_no_response_active_there_is_nothing_to_cancel() -> None:
    model = gated()
    model.handle(done("resp_1"), realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 200)
    assert model.phone.told() == [Interrupt(frozenset({"resp_1"}))]
    assert model.sent() == []


def test_a_cough_is_taken_out_of_the_conversation_and_owes_nothing() -> None:
    model = gated()
    model.handle(realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 100)
    model.hear(QUIET, 300)
    model.handle(realtime.SpeechStopped(400, "item_u"))
    assert model.phone.told() == []
    assert model.socket.sent()[-1] == {"type": "conversation.item.delete", "item_id": "item_u"}
    assert model.floors() == [Floor.CALLER, Floor.ASSISTANT]  # the answer goes on
    model.handle(done("resp_1"))
    assert model.sent() == []
    assert model.floors() == [Floor.NOBODY]


def test_a_short_word_while_nothing_plays_is_answered() -> None:
    model = Model(GATED, gating=GATE).ready()
    model.handle(realtime.SpeechStarted(0, "item_u"), realtime.SpeechStopped(400, "item_u"))
    assert model.sent() == ["response.create"]


def test_a_caller_who_talks_on_interrupts_an_answer_that_begins_meanwhile() -> None:
    model = Model(GATED, gating=GATE).ready()
    model.handle(Respond(None), realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 400)
    assert model.phone.told() == []
    model.handle(realtime.ResponseCreated("resp_1"))
    assert model.phone.told() == [Interrupt(frozenset({"resp_1"}))]
    assert model.sent() == ["response.create", "response.cancel"]


def test_a_weak_voice_interrupts_after_its_time_where_quiet_speech_may() -> None:
    model = gated(replace(GATE, quiet_interrupts=True, stop_delay_ms=500))
    model.handle(realtime.SpeechStarted(0, "item_u"))
    assert model.phone.told() == []
    assert model.pause(DeadlinePassed.GATE) == pytest.approx(0.7)
    assert model.phone.told() == [Interrupt(frozenset({"resp_1"}))]


def interrupted_for(words: str | None) -> Model:
    """Interrupted with `resume` on; then come the words of what interrupted."""
    model = gated(RESUMING)
    model.handle(realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 200)
    model.handle(done("resp_1", "cancelled", "client_cancelled"), SILENT)
    model.handle(realtime.SpeechStopped(900, "item_u"))
    assert model.sent() == ["response.cancel"]
    model.floors()
    model.handle(realtime.CallerTranscript("item_u", words))
    return model


def test_an_answer_that_was_interrupted_for_nothing_is_resumed_and_no_pause_is_told_in_between() -> None:
    model = interrupted_for("")
    delete, response = model.socket.sent()
    assert delete == {"type": "conversation.item.delete", "item_id": "item_u"}
    assert response["response"] == {"instructions": f"{INSTRUCTIONS}\n\n{RESUME}"}
    assert model.floors() == [Floor.ASSISTANT]


@pytest.mark.parametrize("words", ["Wait!", None])
def test_an_answer_that_was_interrupted_with_words_is_not_resumed(words: str | None) -> None:
    assert interrupted_for(words).socket.sent() == [{"type": "response.create"}]


def test_a_transcript_that_does_not_come_is_not_waited_for_for_ever() -> None:
    model = gated(RESUMING)
    model.handle(realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 200)
    model.handle(done("resp_1", "cancelled", "client_cancelled"), realtime.SpeechStopped(900, "item_u"))
    model.socket.sent()
    assert model.pause(DeadlinePassed.GATE) == pytest.approx(TRANSCRIPT_SECONDS)
    assert model.sent() == ["response.create"]


def test_a_caller_who_goes_on_before_the_words_came_is_answered_once_and_not_talked_over() -> None:
    model = gated(RESUMING)
    model.handle(realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, 200)
    model.handle(done("resp_1", "cancelled", "client_cancelled"), SILENT)
    model.handle(realtime.SpeechStopped(900, "item_u"), realtime.SpeechStarted(1200, "item_v"))
    assert model.sent() == ["response.cancel"]
    assert model.floors() == [Floor.CALLER]
    model.handle(realtime.SpeechStopped(1900, "item_v"))
    assert model.sent() == ["response.create"]
    model.handle(realtime.ResponseCreated("resp_2"), done("resp_2"))
    assert model.sent() == []


# A server that does not hear the caller


def test_semantic_detection_that_hears_nothing_is_replaced_by_an_update_without_a_voice(
    logs: ExpectedLogs,
) -> None:
    """protocol-gotchas 16; and an update that names the voice after audio was sent is refused as a whole."""
    logs.expect("CA1: semantic_vad does not hear this caller")
    model = Model(SEMANTIC).ready()
    model.hear(LOUD, DEAF_MS)
    (update,) = [event for event in model.socket.sent() if event["type"] == "session.update"]
    assert update["session"] == {
        "type": "realtime",
        "audio": {
            "input": {
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                }
            }
        },
    }
    model.hear(LOUD, DEAF_MS)
    assert model.sent() == []


def test_what_may_interrupt_stays_as_it_was_configured_when_detection_is_replaced(
    logs: ExpectedLogs,
) -> None:
    logs.expect("CA1: semantic_vad does not hear this caller")
    detection = VAD | {"type": "semantic_vad", "interrupt_response": False}
    model = Model(replace(SESSION, turn_detection=detection)).ready()
    model.hear(LOUD, DEAF_MS)
    (update,) = [event for event in model.socket.sent() if event["type"] == "session.update"]
    found = update["session"]["audio"]["input"]["turn_detection"]
    assert (found["create_response"], found["interrupt_response"]) == (True, False)


def test_semantic_detection_that_hears_the_caller_stays() -> None:
    model = Model(SEMANTIC).ready()
    model.hear(LOUD, DEAF_MS - 100)
    model.handle(realtime.SpeechStarted(0, "item_u"))
    model.hear(LOUD, DEAF_MS)
    assert model.sent() == []


def test_speech_that_the_server_says_nothing_of_is_told_and_the_server_asked_whether_it_lives(
    model: Model,
) -> None:
    model.ready()
    model.hear(LOUD, 600)
    model.hear(QUIET, 1200)
    assert (model.call.told(), model.socket.pings()) == ([], 0)
    model.hear(QUIET, 200)
    (unnoticed,) = model.call.told()
    assert isinstance(unnoticed, SpeechUnnoticed)
    assert unnoticed.seconds_ago == pytest.approx(0.8, abs=0.05)
    assert model.socket.pings() == 1


def test_what_is_loud_while_the_assistant_is_heard_may_be_echo(model: Model) -> None:
    model.answering()
    model.hear(LOUD, 600)
    model.hear(QUIET, 2000)
    assert (model.call.told(), model.socket.pings()) == ([], 0)


# A server that does not answer


def test_a_server_that_says_nothing_is_pinged_and_given_up_if_it_does_not_answer(model: Model) -> None:
    model.ready()
    model.seconds += IDLE_SECONDS
    model.handle(DeadlinePassed(DeadlinePassed.ALIVE))
    assert model.socket.pings() == 1
    assert model.clock.timers[-1][0] == PONG_SECONDS
    with pytest.raises(CallError, match="does not answer any more"):
        model.pause(DeadlinePassed.ALIVE)
    assert model.socket.aborted


def test_a_server_that_answers_is_pinged_again_after_a_while(model: Model) -> None:
    model.ready()
    for _ in range(3):
        model.seconds += IDLE_SECONDS
        model.handle(DeadlinePassed(DeadlinePassed.ALIVE))
        assert model.socket.pings() == 1
        model.actor._reader.heard_at = model.seconds + 0.01
        model.seconds += PONG_SECONDS
        model.handle(DeadlinePassed(DeadlinePassed.ALIVE))
        assert model.socket.pings() == 0
        model.seconds = model.actor._reader.heard_at
    assert not model.socket.aborted


def test_a_server_that_may_have_missed_something_has_little_time_to_answer(model: Model) -> None:
    model.ready()
    model.seconds += 0.1
    model.handle(CheckAlive())
    assert model.socket.pings() == 1
    assert model.clock.timers[-1][0] == URGENT_SECONDS
    with pytest.raises(CallError, match="does not answer any more"):
        model.pause(DeadlinePassed.ALIVE)


def test_a_ping_that_cannot_be_sent_ends_the_socket(model: Model) -> None:
    model.ready()
    model.socket.break_writes()
    model.handle(CheckAlive())
    assert model.socket.aborted


# Latency


def test_the_call_is_told_how_long_the_caller_waited_for_an_answer(model: Model) -> None:
    model.ready()
    model.hear(LOUD, 1000)
    model.handle(realtime.SpeechStarted(300, "item_u"), realtime.SpeechStopped(1000, "item_u"))
    model.handle(realtime.ResponseCreated("resp_1"))
    model.call.told()
    now = model.seconds
    model.handle(Onset("resp_1", now + 0.2, now + 0.21, 0.0, now + 0.3, 20.0))
    (latency,) = model.call.told()
    assert isinstance(latency, TurnLatency)
    assert latency.model_ms == pytest.approx(200, abs=1)
    model.handle(Onset("resp_1", now + 0.2, now + 0.21, 0.0, now + 0.3, 20.0))
    assert model.call.told() == []


# What the server tells


def test_words_are_passed_on_to_the_call_the_empty_and_the_failed_ones_too(model: Model) -> None:
    words = [realtime.CallerTranscript("item_u", text) for text in ("Hello?", "", None)]
    model.ready().handle(*words)
    assert model.call.told() == words


def test_what_a_response_is_billed_for_is_passed_on(model: Model) -> None:
    usage = realtime.Usage(text_in=7, audio_out=9)
    model.ready().handle(realtime.ResponseDone("resp_1", "completed", "", None, usage))
    assert usage in model.call.told()


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
    model.ready(GREETING).handle(realtime.ResponseCreated("resp_1"), failed("resp_1"))
    model.pause()
    assert model.socket.sent() == [{"type": "response.create", "response": {"instructions": GREETING}}]


def test_an_answer_that_failed_is_not_asked_for_again_in_the_words_of_the_greeting(
    model: Model, logs: ExpectedLogs
) -> None:
    """The server's turn detection asked for it, so what we asked for last is something else."""
    logs.expect("response failed")
    model.ready(GREETING).handle(
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
    model.ready(GREETING).handle(
        realtime.Error("invalid_request_error", "conversation_already_has_active_response", "Wait."),
        realtime.ResponseCreated("resp_vad"),
    )
    assert model.socket.sent() == []
    model.handle(realtime.ResponseDone("resp_vad", "completed", "", None))
    assert model.socket.sent() == [{"type": "response.create", "response": {"instructions": GREETING}}]


def test_what_is_said_after_a_cough_is_no_answer_to_it() -> None:
    model = gated()
    model.hear(LOUD, 100)
    model.handle(realtime.SpeechStarted(0, "item_u"), realtime.SpeechStopped(400, "item_u"))
    model.handle(done("resp_1"), Respond(None), realtime.ResponseCreated("resp_2"))
    model.call.told()
    now = model.seconds
    model.handle(Onset("resp_2", now, now, 0.0, now + 0.1, 20.0))
    assert model.call.told() == []


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
    # What belongs to the conversation, the call is told past this actor.
    added, audio = started.call.told()
    assert added == realtime.ItemAdded("item_u", None, "user", "message")
    assert audio == realtime.AudioCommitted("item_u", None)


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
    ref.tell(Begin())
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


@pytest.mark.parametrize("was_ready", [False, True])
def test_a_code_that_refuses_a_session_is_for_good_only_where_there_was_none_yet(
    model: Model, was_ready: bool
) -> None:
    if was_ready:
        model.ready()
    with pytest.raises(CallError) as raised:
        model.handle(SocketLost("closed with code 4000", permanent=True))
    assert raised.value.permanent is not was_ready


def test_losing_the_socket_is_raised_where_it_is_handled(model: Model) -> None:
    with pytest.raises(CallError, match="gone"):
        model.handle(SocketLost("gone"))


def test_a_close_code_is_final_only_for_a_session_that_was_never_taken(model: Model) -> None:
    """One that has worked was not refused for its key or its shape."""
    with pytest.raises(CallError) as lost:
        model.handle(SocketLost("closed with code 4000", permanent=True))
    assert lost.value.permanent
    with pytest.raises(CallError) as lost:
        model.ready().handle(SocketLost("closed with code 4000", permanent=True))
    assert not lost.value.permanent


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
        ref = OpenAIActor.start(call, "CA1", None, socket, OPENAI, SESSION, HandClock())
        assert connected.wait(PATIENCE_SECONDS)
        began = time.monotonic()
        ref.stop(timeout=PATIENCE_SECONDS)
        assert time.monotonic() - began < 4
        assert call.expect(Exited).error is None
        wait_until(
            lambda: "model reader CA1" not in {thread.name for thread in threading.enumerate()},
            "reader ended",
        )
