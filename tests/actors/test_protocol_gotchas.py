"""The ways in which bridges like this one fail: sections B and C of protocol-gotchas.md, entry by entry.

Each test is the heart of one entry, and its docstring begins with the entry's number. docs/protocol-coverage.md
says what is done about every entry, these and the others.
"""

import contextlib
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka import ActorRef
from pykka._envelope import Envelope
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from actors.assistant import Assistant
from actors.call import Answer, CallActor
from actors.departure import Departure
from actors.farewell import GOODBYE_SECONDS
from actors.listener import Listener
from actors.member import post
from actors.messages import (
    AssistantAudio,
    Attach,
    Begin,
    DeadlinePassed,
    Floor,
    FloorChanged,
    HangUp,
    HeardSoFar,
    SessionReady,
    ToolOutput,
)
from actors.meter import NoMeter, Outcome
from actors.model_reader import ModelReader
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.phone_reader import PhoneReader
from actors.sessions import ROLL_OVER_SECONDS
from actors.tool import tool
from actors.twilio import TwilioActor
from tests.actors.parts import (
    GREETING,
    INSTRUCTIONS,
    LOUD,
    PARSED_UPDATED,
    QUIET,
    SESSION,
    STREAM,
    UPDATED,
    KeptJournal,
    asked,
    audio_done,
    created,
    delta,
    endpoint,
    function_call,
    item_added,
    media,
    response_created,
    response_done,
    said,
    setup,
    speech_started,
    speech_stopped,
    transcribed,
    transcript,
    ulaw,
)
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket, HandClock, Probe
from wire import realtime, realtime_parser
from wire.dialect import OPENAI, Session
from wire.false_start import Gating
from wire.g711 import encode_ulaw
from wire.instructions import RESUME
from wire.journal import Then
from wire.restore import RECENT
from wire.vad_watchdog import DEAF_MS

FAINT = ulaw(20, encode_ulaw(struct.pack("<h", 200))[0])
"""As faint as an echo from the other end of the line: -44 dBFS."""

CANCEL_NOT_ACTIVE = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "code": "response_cancel_not_active",
        "message": "Cancellation failed: no active response found",
    },
}
ALREADY_ACTIVE = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "code": "conversation_already_has_active_response",
        "message": "Conversation already has an active response in progress",
    },
}


class Bridge:
    """The actors of a session that has begun, and their readers, without threads; the test is Twilio and the model.

    Time passes when the test says so. What the server sends in one go is read before any of it is handled.
    """

    def __init__(self, session: Session = SESSION, gating: Gating | None = None) -> None:
        self.seconds = float(int(time.monotonic()))  # so that eighths of a second are exact
        self.call = Probe("call")
        self.clock = HandClock()
        self.phone_socket, self.model_socket = FakeMediaSocket(), FakeModelSocket()
        self.phone = TwilioActor(self.call, "CA1", STREAM, self.phone_socket, clock=self._now)
        self.model = OpenAIActor(
            self.call,
            "CA1",
            self.phone.actor_ref,
            self.model_socket,
            OPENAI,
            session,
            self.clock,
            gating,
            NoMeter(),
            self._now,
        )
        for actor in (self.phone, self.model):
            actor.mailbox.get()  # Open, which would start the reader's thread
        self._model_reader = ModelReader(
            self.model_socket, session, self.model.actor_ref, self.phone.actor_ref, self.call, "CA1"
        )
        self._phone_reader = PhoneReader(STREAM, self.call, self.phone.actor_ref)
        self._phone_reader.attach(self.model.actor_ref)
        self._caller_ms = 0
        self._to_phone: list[dict[str, Any]] = []
        self._to_model: list[dict[str, Any]] = []
        self.model.handle(realtime.SessionCreated())
        self.model.handle(PARSED_UPDATED)
        self.model.handle(Begin())
        self.phone.handle(Attach(self.model.actor_ref))
        self._settle()
        self.to_model()
        self.call.told()

    @classmethod
    def of(cls, **turn_detection: Any) -> "Bridge":
        """With the turn detection that an assistant's file may ask for."""
        assistant = Assistant.model_validate({"instructions": INSTRUCTIONS, "turn_detection": turn_detection})
        return cls(assistant.session(), assistant.gating())

    def _now(self) -> float:
        return self.seconds

    def _settle(self) -> None:
        actors = (self.model, self.phone)
        while busy := [actor for actor in actors if not actor.mailbox.empty()]:
            for actor in busy:
                while not actor.mailbox.empty():
                    actor.handle(actor.mailbox.get().message)
        self._to_phone += self.phone_socket.sent()
        self._to_model += self.model_socket.sent()

    def wait(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1000

    def server(self, *events: dict[str, Any]) -> None:
        """The model's server sends these in one go."""
        for event in events:
            self._model_reader._tell(realtime_parser.parse(orjson.dumps(event).decode()))
        self._settle()

    def echo(self, *marks: str) -> None:
        """Twilio echoes these marks."""
        for name in marks:
            event = {"event": "mark", "streamSid": STREAM, "mark": {"name": name}}
            self._phone_reader.receive(orjson.dumps(event).decode())
        self._settle()

    def caller(self, payload: str, milliseconds: int) -> None:
        """So much of the caller's audio, in frames of 20 ms."""
        for _ in range(milliseconds // 20):
            self.wait(20)
            self._phone_reader.receive(media(self._caller_ms, payload))
            self._caller_ms += 20
            self._settle()

    def tell_model(self, message: object) -> None:
        self.model.actor_ref.tell(message)
        self._settle()

    def expire(self, what: str) -> None:
        """Let the time pass that the session asked for last."""
        timers = self.clock.timers
        each = next(each for each in reversed(timers) if each[1].message == DeadlinePassed(what))
        timers.remove(each)
        self.seconds += each[0]
        self.tell_model(each[1].message)

    def to_phone(self) -> list[dict[str, Any]]:
        """What Twilio got since it was asked for last."""
        sent, self._to_phone = self._to_phone, []
        return sent

    def marks(self) -> list[str]:
        """The names of the marks that Twilio got since then."""
        return [message["mark"]["name"] for message in self.to_phone() if message["event"] == "mark"]

    def to_model(self) -> list[dict[str, Any]]:
        """What the server got since it was asked for last, the caller's audio left out."""
        sent, self._to_model = self._to_model, []
        return [event for event in sent if event["type"] != "input_audio_buffer.append"]


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message.get("event") or message["type"] for message in messages]


def truncate(item_id: str, audio_end_ms: int) -> dict[str, Any]:
    kind = "conversation.item.truncate"
    return {"type": kind, "item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}


def delete(item_id: str) -> dict[str, Any]:
    return {"type": "conversation.item.delete", "item_id": item_id}


class Call:
    """A started CallActor, its sockets faked and its clock in the test's hand."""

    def __init__(self, **differences: Any) -> None:
        self.phone = FakeMediaSocket()
        self.clock = HandClock()
        self.journal = KeptJournal()
        self._dialled: queue.SimpleQueue[FakeModelSocket] = queue.SimpleQueue()
        self.ended = threading.Event()
        fields = {"journal": self.journal} | differences
        made = setup(self.phone, endpoint("only", self._dial), **fields)
        self.ref: ActorRef[CallActor] = CallActor.start(made, self.clock, self.ended)
        reader = self.ref.ask(Answer(), timeout=PATIENCE_SECONDS)
        assert isinstance(reader, PhoneReader)
        self.reader = reader
        self.model = self.next_model()

    def _dial(self) -> ModelSocket:
        socket = FakeModelSocket()
        self._dialled.put(socket)
        return socket

    def next_model(self) -> FakeModelSocket:
        """The socket of the session that is made next."""
        return self._dialled.get(timeout=PATIENCE_SECONDS)

    def greet(self, expires_at: float | None = None) -> "Call":
        """Until the caller has heard the greeting, and it is nobody's turn."""
        self.model.say(created(expires_at), UPDATED)
        self.model.expect("session.update")
        self.model.expect("response.create")
        self.model.say(
            response_created("resp_g"),
            item_added("item_g", None),
            transcript("resp_g", "item_g", "hello"),
            delta("resp_g", "item_g", 20),
            audio_done("resp_g", "item_g"),
            response_done("resp_g"),
        )
        self.phone.expect("media")
        mark = self.phone.expect("mark")
        self.reader.receive(orjson.dumps(mark).decode())
        return self


@pytest.fixture
def ring() -> Iterator[Callable[..., Call]]:
    """Begins calls, which are ended with the test."""
    calls: list[Call] = []

    def ring(**differences: Any) -> Call:
        calls.append(Call(**differences))
        return calls[-1]

    yield ring
    for call in calls:
        post(call.ref, HangUp("the test is over"))
        assert call.ended.wait(PATIENCE_SECONDS), "the call did not end"


# B. Interruption


def test_the_agent_does_not_keep_talking_over_the_caller() -> None:
    """protocol-gotchas 8: 10 s of audio in 1 s, `response.done`, and the caller speaks at 3 s."""
    bridge = Bridge()
    bridge.server(response_created("resp_1"))
    for _ in range(8):
        bridge.server(delta("resp_1", "item_a", 1250))
        bridge.wait(125)
    bridge.server(audio_done("resp_1", "item_a"), response_done("resp_1"))
    assert kinds(bridge.to_phone()) == ["media", "mark"] * 8
    bridge.wait(2000)
    bridge.server(speech_started("item_u"))
    assert kinds(bridge.to_phone()) == ["clear"]
    assert bridge.to_model() == [truncate("item_a", 3000)]


def test_the_truncate_point_lies_in_the_answer_that_was_being_heard() -> None:
    """protocol-gotchas 9: two answers are queued, the second is cut off; what was heard to its end is left alone."""
    bridge = Bridge()
    for response_id, item_id, duration_ms in (("resp_1", "item_a", 3000), ("resp_2", "item_b", 4000)):
        bridge.server(
            response_created(response_id),
            delta(response_id, item_id, duration_ms),
            audio_done(response_id, item_id),
            response_done(response_id),
        )
    bridge.wait(5250)
    bridge.server(speech_started("item_u"))
    assert bridge.to_model() == [truncate("item_b", 2250)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), st.integers(1, 3000)),
        st.tuples(st.just("wait"), st.integers(0, 4000)),
        st.tuples(st.sampled_from(["echo", "speak", "item", "response"]), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_truncate_point_is_never_beyond_what_was_received(steps: list[tuple[str, int]]) -> None:
    """protocol-gotchas 9: whatever the order of deltas, echoes and interruptions, late deltas included."""
    bridge = Bridge()
    received: dict[str, int] = {}
    told: set[str] = set()
    unechoed: list[str] = []
    response, item = 0, 0
    bridge.server(response_created("resp_0"))
    for step, value in steps:
        response_id, item_id = f"resp_{response}", f"item_{item}"
        match step:
            case "delta":
                received[item_id] = received.get(item_id, 0) + value
                bridge.server(delta(response_id, item_id, value))
            case "wait":
                bridge.wait(value)
            case "echo" if unechoed:
                bridge.echo(unechoed.pop(0))
            case "speak":
                bridge.server(speech_started("item_u"), speech_stopped("item_u"))
            case "item":
                item += 1
                bridge.server(audio_done(response_id, item_id))
            case "response":
                response, item = response + 1, item + 1
                # Not completed: too many of those that say nothing end the session.
                done = response_done(response_id, status="incomplete")
                bridge.server(audio_done(response_id, item_id), done, response_created(f"resp_{response}"))
        unechoed += bridge.marks()
        for event in bridge.to_model():
            if event["type"] not in ("conversation.item.truncate", "conversation.item.delete"):
                continue
            assert event["item_id"] not in told, "an item is cut off once"
            told.add(event["item_id"])
            assert event.get("audio_end_ms", 0) <= received[event["item_id"]]
            assert event.get("audio_end_ms", 1) > 0, "what was not heard is deleted"


def answer_after_an_interruption() -> tuple[Bridge, list[str], list[str]]:
    """An answer of two pieces of 1 s behind one that was cleared, and the marks of the cleared one and of its own."""
    bridge = Bridge()
    bridge.server(response_created("resp_1"), *[delta("resp_1", "item_a", 200) for _ in range(5)])
    cleared = bridge.marks()
    bridge.wait(250)
    bridge.server(speech_started("item_u"))
    bridge.server(response_done("resp_1", status="cancelled"), speech_stopped("item_u"))
    bridge.to_phone()
    bridge.server(response_created("resp_2"), *[delta("resp_2", "item_b", 1000) for _ in range(2)])
    marks = bridge.marks()
    assert bridge.to_model() == [truncate("item_a", 250)]
    bridge.call.told()
    return bridge, cleared, marks


def test_echoes_of_cleared_marks_do_not_make_the_next_interruption_fail() -> None:
    """protocol-gotchas 10: 5 marks, clear, 2 marks, and the caller interrupts again between the echoes of those."""
    bridge, cleared, marks = answer_after_an_interruption()
    bridge.echo(*cleared)
    assert not any(isinstance(message, HeardSoFar) for message in bridge.call.told())
    bridge.wait(1000)
    bridge.echo(marks[0])
    bridge.wait(500)
    bridge.server(speech_started("item_v"))
    assert kinds(bridge.to_phone()) == ["clear"]
    assert bridge.to_model() == [truncate("item_b", 1500)]


def test_echoes_of_cleared_marks_do_not_make_a_heard_answer_be_cut_off() -> None:
    """protocol-gotchas 10: 5 marks, clear, 2 marks, and all 7 echoes in order."""
    bridge, cleared, marks = answer_after_an_interruption()
    bridge.server(audio_done("resp_2", "item_b"), response_done("resp_2"))
    bridge.echo(*cleared)
    bridge.wait(2000)
    bridge.echo(*marks)
    bridge.server(speech_started("item_v"))
    assert (bridge.to_phone(), bridge.to_model()) == ([], [])


def test_late_deltas_of_an_interrupted_response_are_not_heard() -> None:
    """protocol-gotchas 11: of the item that was cut off, and of one that had not begun; the next answer is heard."""
    bridge = Bridge()
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 1000))
    bridge.wait(375)
    bridge.to_phone()
    # All in one go: this first delta waits in the phone's mailbox when the interruption overtakes it.
    bridge.server(delta("resp_1", "item_a", 500), speech_started("item_u"))
    bridge.server(delta("resp_1", "item_a", 500), delta("resp_1", "item_b", 500))
    bridge.server(response_done("resp_1", status="cancelled"))
    assert kinds(bridge.to_phone()) == ["clear"]
    assert bridge.to_model() == [truncate("item_a", 375), delete("item_b")]
    bridge.server(speech_stopped("item_u"), response_created("resp_2"), delta("resp_2", "item_c", 500))
    assert kinds(bridge.to_phone()) == ["media", "mark"]


@pytest.mark.parametrize("confirmed", [True, False])
def test_nothing_is_truncated_when_nothing_plays(confirmed: bool) -> None:
    """protocol-gotchas 12: neither before the first word, nor after the last, whether or not its mark came back."""
    bridge = Bridge()
    bridge.server(speech_started("item_u"), speech_stopped("item_u"))
    assert (bridge.to_phone(), bridge.to_model()) == ([], [])
    bridge.server(
        response_created("resp_1"),
        delta("resp_1", "item_a", 300),
        audio_done("resp_1", "item_a"),
        response_done("resp_1"),
    )
    marks = bridge.marks()
    bridge.wait(310)
    if confirmed:
        bridge.echo(*marks)
    bridge.server(speech_started("item_v"))
    assert kinds(bridge.to_phone()) == ([] if confirmed else ["clear"])
    assert bridge.to_model() == []


def test_what_the_server_cancels_by_itself_is_not_cancelled_again() -> None:
    """protocol-gotchas 13: and the error that comes of it is no warning, or the suite would fail here."""
    bridge = Bridge()
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 1000))
    bridge.wait(500)
    bridge.server(speech_started("item_u"), CANCEL_NOT_ACTIVE)
    assert bridge.to_model() == [truncate("item_a", 500)]


def test_what_the_server_leaves_to_us_is_cancelled_once() -> None:
    """protocol-gotchas 13: in gated mode the response may have ended when our cancellation gets there."""
    bridge = Bridge.of(mode="gated")
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 5000))
    bridge.server(speech_started("item_u"))
    bridge.caller(LOUD, 600)
    assert kinds(bridge.to_model()) == ["response.cancel", "conversation.item.truncate"]
    bridge.server(response_done("resp_1"), CANCEL_NOT_ACTIVE)
    bridge.caller(LOUD, 600)
    assert bridge.to_model() == []


def test_the_agent_does_not_interrupt_itself_by_its_echo() -> None:
    """protocol-gotchas 14: with the gate, neither a short loud echo nor a long faint one; the caller's voice does."""
    assistant = Assistant.model_validate(
        {"instructions": INSTRUCTIONS, "turn_detection": {"mode": "gated", "threshold": 0.7}}
    )
    heard = OPENAI.describe(assistant.session())["audio"]["input"]
    assert heard["noise_reduction"] == {"type": "near_field"}
    assert heard["turn_detection"]["threshold"] == 0.7
    assert heard["turn_detection"]["interrupt_response"] is False
    bridge = Bridge(assistant.session(), assistant.gating())
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 20_000))
    bridge.to_phone()
    bridge.server(speech_started("item_u"))
    bridge.caller(LOUD, 200)
    bridge.caller(FAINT, 3000)
    bridge.server(speech_stopped("item_u"))
    assert bridge.to_phone() == []
    assert bridge.to_model() == [delete("item_u")]
    bridge.server(speech_started("item_v"))
    bridge.caller(LOUD, 260)
    assert kinds(bridge.to_phone()) == ["clear"]


def test_an_mhm_does_not_interrupt() -> None:
    """protocol-gotchas 15: with the gate, the answer goes on, and the model does not answer the sound."""
    bridge = Bridge.of(mode="gated")
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 5000))
    bridge.to_phone()
    bridge.server(speech_started("item_u"))
    bridge.caller(LOUD, 220)
    bridge.caller(QUIET, 500)
    bridge.server(speech_stopped("item_u"), delta("resp_1", "item_a", 1000), response_done("resp_1"))
    assert kinds(bridge.to_phone()) == ["media", "mark"]
    assert bridge.to_model() == [delete("item_u")]


def test_an_answer_that_a_noise_interrupted_goes_on() -> None:
    """protocol-gotchas 15: with `resume`, an interruption without words is taken back."""
    bridge = Bridge.of(mode="gated", resume=True)
    bridge.server(response_created("resp_1"), delta("resp_1", "item_a", 5000))
    bridge.server(speech_started("item_u"))
    bridge.caller(LOUD, 400)
    bridge.server(response_done("resp_1", status="cancelled"), speech_stopped("item_u"))
    assert kinds(bridge.to_model()) == ["response.cancel", "conversation.item.truncate"]
    bridge.server(transcribed("item_u", " "))
    response = {"instructions": f"{INSTRUCTIONS}\n\n{RESUME}"}
    assert bridge.to_model() == [delete("item_u"), {"type": "response.create", "response": response}]


def test_a_caller_whom_semantic_vad_does_not_hear_is_heard_after_15_seconds(logs: ExpectedLogs) -> None:
    """protocol-gotchas 16: by default it is not even asked to."""
    default = Assistant.model_validate({"instructions": INSTRUCTIONS}).session()
    assert default.turn_detection["type"] == "server_vad"
    logs.expect("CA1: semantic_vad does not hear this caller")
    bridge = Bridge.of(type="semantic_vad")
    bridge.caller(LOUD, int(DEAF_MS) - 20)
    assert bridge.to_model() == []
    bridge.caller(LOUD, 20)
    (update,) = bridge.to_model()
    assert update["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"


# C. Silence and dead air


def test_the_agent_speaks_first(ring: Callable[..., Call]) -> None:
    """protocol-gotchas 17: no word of the caller's is needed for it."""
    model = ring().model
    model.say(created(), UPDATED)
    model.expect("session.update")
    assert model.expect("response.create")["response"] == {"instructions": GREETING}


def test_the_first_words_of_the_caller_are_not_lost(ring: Callable[..., Call]) -> None:
    """protocol-gotchas 18: what is said before `session.updated` is kept, and sent behind it, in order and whole."""
    call = ring()
    said_early = [ulaw(20, code) for code in range(6)]
    for number, payload in enumerate(said_early[:3]):
        call.reader.receive(media(20 * number, payload))
    call.model.say(created())
    call.model.expect("session.update")
    for number, payload in enumerate(said_early[3:], 3):
        call.reader.receive(media(20 * number, payload))
    call.model.say(UPDATED)
    call.model.expect("response.create")
    assert [call.model.expect("input_audio_buffer.append")["audio"] for _ in said_early] == said_early


def test_a_response_that_failed_is_asked_for_again(logs: ExpectedLogs) -> None:
    """protocol-gotchas 19: after a pause, in which it stays the assistant's turn, so that a silence is noticed."""
    logs.expect("CA1: response failed: rate_limit_exceeded")
    bridge = Bridge()
    bridge.server(speech_started("item_u"), speech_stopped("item_u"), response_created("resp_1"))
    failure = {"error": {"type": "rate_limit_exceeded", "code": "rate_limit_exceeded", "message": "Wait."}}
    bridge.server(response_done("resp_1", status="failed", status_details=failure))
    assert bridge.to_model() == []
    floors = [message.floor for message in bridge.call.told() if isinstance(message, FloorChanged)]
    assert floors[-1] is Floor.ASSISTANT
    bridge.expire(DeadlinePassed.TURN)
    assert bridge.to_model() == [{"type": "response.create"}]


def test_a_model_that_cannot_answer_any_more_leads_the_caller_to_the_fallback(
    ring: Callable[..., Call], logs: ExpectedLogs
) -> None:
    """protocol-gotchas 19: with the quota used up, asking again would be silence."""
    logs.expect("CA1: response failed: insufficient_quota")
    logs.expect("CA1: the model cannot answer: insufficient_quota")
    call = ring().greet()
    failure = {"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No."}}
    call.model.say(
        response_created("resp_1"), response_done("resp_1", status="failed", status_details=failure)
    )
    assert call.ended.wait(PATIENCE_SECONDS)
    assert call.journal.endings == [("model_failed", Then.FALLBACK)]
    assert call.phone.closed.is_set(), "now Twilio asks what comes next"


def test_a_tool_result_is_spoken_although_another_response_is_active() -> None:
    """protocol-gotchas 20: the caller's next question is being answered when the result comes."""
    bridge = Bridge()
    bridge.server(
        response_created("resp_1"),
        function_call("resp_1", "item_f", "call_1", "look_up"),
        response_done("resp_1"),
    )
    bridge.server(speech_started("item_u"), speech_stopped("item_u"), response_created("resp_2"))
    bridge.wait(500)
    bridge.tell_model(ToolOutput("call_1", "42", last=True))
    assert kinds(bridge.to_model()) == ["conversation.item.create"]
    bridge.server(response_done("resp_2"))
    assert bridge.to_model() == [{"type": "response.create"}]


def test_a_response_that_was_refused_because_another_is_active_is_still_owed() -> None:
    """protocol-gotchas 20: the server's own response may begin while our request is on its way."""
    bridge = Bridge()
    bridge.tell_model(ToolOutput("call_1", "42", last=True))
    assert kinds(bridge.to_model()) == ["conversation.item.create", "response.create"]
    bridge.server(ALREADY_ACTIVE, response_created("resp_1"))
    assert bridge.to_model() == []
    bridge.server(response_done("resp_1"))
    assert bridge.to_model() == [{"type": "response.create"}]


def test_a_tool_that_blocks_does_not_freeze_the_agent(ring: Callable[..., Call]) -> None:
    """protocol-gotchas 21: the caller interrupts meanwhile, and is heard; then its result is told."""
    running, release = threading.Event(), threading.Event()

    @tool
    def look_up() -> int:
        """Look it up."""
        running.set()
        release.wait(2 * PATIENCE_SECONDS)
        return 42

    call = ring(tools={"look_up": look_up}).greet()
    call.model.say(
        response_created("resp_1"),
        delta("resp_1", "item_a", 1000),
        delta("resp_1", "item_a", 4000),
        function_call("resp_1", "item_f", "call_1", "look_up"),
    )
    assert running.wait(PATIENCE_SECONDS)
    call.phone.expect("media")
    first_mark = call.phone.expect("mark")
    call.reader.receive(orjson.dumps(first_mark).decode())
    call.phone.expect("media")
    call.phone.expect("mark")
    call.model.say(speech_started("item_u"), response_done("resp_1", status="cancelled"))
    call.phone.expect("clear")
    cut_off = call.model.expect("conversation.item.truncate")
    assert cut_off["item_id"] == "item_a"
    call.reader.receive(media(0))
    call.model.expect("input_audio_buffer.append")
    digit = {"event": "dtmf", "streamSid": STREAM, "dtmf": {"digit": "1"}}
    call.reader.receive(orjson.dumps(digit).decode())
    call.journal.wait_for("key pressed")
    release.set()
    assert call.model.expect("conversation.item.create")["item"]["output"] == "42"


class StuckProbe(Probe):
    """Whoever tells it that the session is ready waits until it is released."""

    def __init__(self) -> None:
        super().__init__("call")
        self.reached, self.released = threading.Event(), threading.Event()

    def put(self, envelope: Envelope[Any]) -> None:
        super().put(envelope)
        if isinstance(envelope.message, SessionReady):
            self.reached.set()
            self.released.wait(PATIENCE_SECONDS)


def test_pings_are_answered_and_audio_passes_while_the_actor_is_busy() -> None:
    """protocol-gotchas 22: a reader that has to wait for somebody is what ends in 1011 keepalive ping timeout."""
    call, phone = StuckProbe(), Probe("phone")
    ponged = threading.Event()

    def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            connection.send(orjson.dumps(created()).decode())
            connection.recv(PATIENCE_SECONDS)
            connection.send(orjson.dumps(UPDATED).decode())
            call.reached.wait(PATIENCE_SECONDS)
            connection.send(orjson.dumps(delta("resp_1", "item_a", 20)).decode())
            if connection.ping().wait(PATIENCE_SECONDS):
                ponged.set()
            connection.recv()

    with serve(handler, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
        thread.start()
        socket = ModelSocket(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime", ())
        ref = OpenAIActor.start(call, "CA1", phone, socket, OPENAI, SESSION, HandClock())
        assert call.reached.wait(PATIENCE_SECONDS)
        phone.expect(AssistantAudio)
        assert ponged.wait(PATIENCE_SECONDS)
        assert not call.released.is_set()
        call.released.set()
        ref.stop(timeout=PATIENCE_SECONDS)
    thread.join(PATIENCE_SECONDS)


def test_a_quiet_connection_to_the_model_never_looks_idle() -> None:
    """protocol-gotchas 22: proxies close what is idle for 60 s."""
    bridge = Bridge()
    reader = bridge.model._reader
    reader.heard_at = began = pinged_at = bridge.seconds
    bridge.expire(DeadlinePassed.ALIVE)
    while bridge.seconds < began + 120:
        if bridge.model_socket.pings():
            assert bridge.seconds - pinged_at <= 15
            pinged_at = bridge.seconds
            reader.heard_at = bridge.seconds + 0.02  # the pong
        bridge.expire(DeadlinePassed.ALIVE)
    assert bridge.seconds - pinged_at <= 15
    assert not bridge.model_socket.aborted


def test_the_call_does_not_die_after_60_minutes(
    ring: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """protocol-gotchas 23: another session takes over in a pause before that, and knows what was said."""
    wall_clock = time.time()
    now = SimpleNamespace(time=lambda: wall_clock, monotonic=time.monotonic)
    monkeypatch.setattr("actors.sessions.time", now)
    call = ring().greet(expires_at=wall_clock + 3600)
    first = call.model
    due = DeadlinePassed(DeadlinePassed.ROLL_OVER)
    assert [seconds for seconds, timer in call.clock.timers if timer.message == due] == [
        3600 - ROLL_OVER_SECONDS
    ]
    wall_clock += 3600 - ROLL_OVER_SECONDS
    call.clock.expire(due)
    second = call.next_model()
    second.say(created(wall_clock + 3600), UPDATED)
    second.expect("session.update")
    remembered = second.expect("conversation.item.create")["item"]
    assert remembered["content"] == [{"type": "output_text", "text": "hello"}]
    assert first.released.wait(PATIENCE_SECONDS)
    call.reader.receive(media(0))
    second.expect("input_audio_buffer.append")
    assert second.sent() == [], "nobody is greeted again"
    assert not call.ended.is_set()


def test_a_session_that_is_too_old_is_replaced_where_nobody_said_when_it_would_end(
    ring: Callable[..., Call], logs: ExpectedLogs
) -> None:
    """protocol-gotchas 23: `session_expired` ends the session and not the call."""
    logs.expect("CA1: session ended: session_expired")
    call = ring().greet()
    error = {"type": "invalid_request_error", "code": "session_expired", "message": "60 minutes."}
    call.model.say({"type": "error", "error": error})
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.next_model()
    second.say(created(), UPDATED)
    second.expect("session.update")
    second.expect("conversation.item.create")
    assert not call.ended.is_set()


def test_a_replayed_conversation_neither_turns_to_text_nor_greets_again(ring: Callable[..., Call]) -> None:
    """protocol-gotchas 24: little of the assistant's text is put back, and what is asked for says where to go on."""
    turns = [
        (asked(f"item_u{number}", f"Question {number}?"), said(f"item_a{number}", f"Answer {number}."))
        for number in range(20)
    ]
    history = (*(entry for turn in turns for entry in turn), asked("item_last", "And on Sunday?"))
    model = ring(history=history, broke_off=True).model
    model.say(created(), UPDATED)
    assert model.expect("session.update")["session"]["output_modalities"] == ["audio"]
    items = [model.expect("conversation.item.create")["item"] for _ in range(1 + RECENT)]
    response = model.expect("response.create")["response"]
    assert [item["role"] for item in items].count("system") == 1
    assert [item["role"] for item in items].count("assistant") <= RECENT // 2
    assert "Answer 0." in items[0]["content"][0]["text"]
    assert response["instructions"].startswith(INSTRUCTIONS)
    assert "Do not greet the caller again" in response["instructions"]


def test_a_caller_who_never_falls_silent_does_not_keep_the_call_for_ever(ring: Callable[..., Call]) -> None:
    """protocol-gotchas 25: what counts is how long the call lasts, on all of its streams, and not who is silent."""
    floors: queue.SimpleQueue[Floor] = queue.SimpleQueue()

    class Floors(Listener):
        wants = (FloorChanged,)

        def handle(self, message: Any) -> Any:
            match message:
                case FloorChanged(floor=floor):
                    floors.put(floor)
                case _:
                    return super().handle(message)

    call = ring(lasted_seconds=600, listeners=(Floors,)).greet()
    call.model.say(speech_started("item_u"))
    while floors.get(timeout=PATIENCE_SECONDS) is not Floor.CALLER:
        pass
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.LIMIT)) == 30 * 60 - 600
    over = Departure("ended with a goodbye, because it has lasted as long as a call may", Outcome.ENDED)
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.GOODBYE, over)) == GOODBYE_SECONDS
    assert call.ended.wait(PATIENCE_SECONDS)
    assert call.journal.endings == [("ended", Then.HANG_UP)]
    assert "response.create" not in kinds(call.model.sent()), "the caller is not talked over"
