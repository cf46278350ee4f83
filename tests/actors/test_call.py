"""CallActor: what is started, what is done about what fails, what ends what, and that nothing is left of a call."""

import base64
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pykka
import pytest
from pykka import ActorRef

from actors.call import FLUSH_SECONDS, PHONE_CLOSED_SECONDS, Answer, CallActor
from actors.clock import Clock
from actors.costs import CallLimits, Prices
from actors.departure import Departure
from actors.endpoints import FAILURES_IN_A_ROW, Endpoints
from actors.farewell import GAP_SECONDS, GOODBYE_SECONDS
from actors.greeting import FixedGreeting
from actors.listener import Listener
from actors.member import post
from actors.messages import (
    AssistantAudio,
    CutOff,
    DeadlinePassed,
    DigitPressed,
    Drain,
    Floor,
    FloorChanged,
    HangUp,
    SessionReady,
    SpeechUnnoticed,
    StreamStopped,
)
from actors.meter import NoMeter, Outcome
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.phone_reader import PhoneReader
from actors.sessions import CLOSED_SECONDS, LAST_MOMENT_SECONDS, READY_SECONDS
from actors.setup import CallSetup
from actors.tool import tool
from actors.twilio import TwilioActor
from tests.actors.parts import (
    FILLER,
    GREETING,
    QUIET,
    RECORD,
    SESSION,
    STREAM,
    UPDATED,
    KeptJournal,
    asked,
    audio_done,
    committed,
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
from tests.actors.test_greeting import Box
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket, HandClock, wait_until
from wire.dead_air import Limits
from wire.journal import Then
from wire.playback import Heard, Part
from wire.realtime import AssistantTranscript, CallerTranscript
from wire.transcript import Entry, ToolUse

CLOCK = Clock()
QUICK = Limits(0.02, 0.02, 0.02, 0.02, 0.02)
RETRY = DeadlinePassed(DeadlinePassed.RETRY_MODEL)
ROLL_OVER = DeadlinePassed(DeadlinePassed.ROLL_OVER)
LIMIT = DeadlinePassed(DeadlinePassed.LIMIT)


A, B, C = (ulaw(20, code) for code in (1, 2, 3))
"""Frames of the caller's that can be told apart."""


class KeptMeter(NoMeter):
    def __init__(self) -> None:
        self.live = 0
        self.outcomes: list[Outcome] = []

    def call_started(self) -> None:
        self.live += 1

    def call_ended(self, outcome: Outcome) -> None:
        self.live -= 1
        self.outcomes.append(outcome)


class Call:
    """A started CallActor. Both sockets are faked, and time passes when the test says so, or by a clock given."""

    def __init__(
        self,
        *names: str,
        call_sid: str = "CA1",
        clock: Clock | None = None,
        before: Callable[[FakeModelSocket], None] | None = None,
        **differences: Any,
    ) -> None:
        """`names`: of the endpoints. `before`: is shown each model socket before anything is done with it."""
        self.order: list[str] = []
        self.phone = FakeMediaSocket(self.order)
        self.journal = KeptJournal(self.order)
        self.meter = KeptMeter()
        self.sockets: list[FakeModelSocket] = []
        self.dialled: list[str] = []
        self.before = before
        self.clock = HandClock()
        self.ended = threading.Event()
        endpoints = Endpoints([endpoint(name, self._dial(name)) for name in names or ("only",)])
        self.call_sid = call_sid
        record = replace(RECORD, call_sid=call_sid)
        own = {"record": record, "endpoints": endpoints, "journal": self.journal, "meter": self.meter}
        self.setup: CallSetup = setup(self.phone, **own | differences)
        seen: list[CallActor] = []

        class SeenCallActor(CallActor):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                seen.append(self)

        self.ref: ActorRef[Any] = SeenCallActor.start(self.setup, clock or self.clock, self.ended)
        (self.actor,) = seen
        self.reader: PhoneReader | None = None
        self.timestamp_ms = 0

    def _dial(self, name: str) -> Callable[[], ModelSocket]:
        def dial() -> ModelSocket:
            socket = FakeModelSocket(self.order)
            if self.before is not None:
                self.before(socket)
            self.sockets.append(socket)
            self.dialled.append(name)
            return socket

        return dial

    def answer(self) -> PhoneReader:
        reader = self.ref.ask(Answer(), timeout=PATIENCE_SECONDS)
        assert isinstance(reader, PhoneReader)
        self.reader = reader
        return reader

    def socket(self, number: int) -> FakeModelSocket:
        """Of the so many-th session, counted from 1, once there is one."""
        wait_until(lambda: len(self.sockets) >= number, f"session {number} was dialled")
        return self.sockets[number - 1]

    def connect(self, number: int, expires_at: float | None = None) -> FakeModelSocket:
        """That session is set up as far as the call's own part in it."""
        socket = self.socket(number)
        socket.say(created(expires_at), UPDATED)
        socket.expect("session.update")
        return socket

    def talk(self) -> FakeModelSocket:
        """Answer, and go on until the greeting has been asked for."""
        self.answer()
        socket = self.connect(1)
        assert socket.expect("response.create")["response"] == {"instructions": GREETING}
        return socket

    def greet(self, expires_at: float | None = None) -> FakeModelSocket:
        """Go on until the caller has heard the greeting, and nobody speaks."""
        self.answer()
        socket = self.connect(1, expires_at)
        socket.expect("response.create")
        say(socket, "resp_g", "item_g", "Hello there.", None)
        self.play()
        self.pause()
        return socket

    def pause(self) -> None:
        """Wait until nobody speaks or is about to."""
        wait_until(lambda: self.actor._sessions.talking and not self.actor._talk.busy, "a pause")

    def floor(self, floor: Floor) -> None:
        """Wait until the call knows whose turn it is."""
        wait_until(lambda: self.actor._talk._floor is floor, f"the floor is {floor}")

    def confirm(self, mark: str) -> None:
        """The phone has played what stands before this mark."""
        assert self.reader is not None
        echo = {"event": "mark", "streamSid": STREAM, "mark": {"name": mark}}
        self.reader.receive(orjson.dumps(echo).decode())

    def play(self, sound: bytes | None = None) -> bytes:
        """The phone plays the next piece that it is sent, at once. `sound`: what it must be."""
        sent = base64.b64decode(self.phone.expect("media")["media"]["payload"])
        assert sound is None or sent == sound
        self.confirm(self.phone.expect("mark")["mark"]["name"])
        return sent

    def hear(self, payload: str, frames: int = 1) -> None:
        """The caller says something, in frames of 20 ms."""
        assert self.reader is not None
        for _ in range(frames):
            self.reader.receive(media(self.timestamp_ms, payload))
            self.timestamp_ms += 20

    def settle(self) -> None:
        """Wait until the call has handled what it was told by now."""
        self.ref.ask(DeadlinePassed("nothing"), timeout=PATIENCE_SECONDS)

    def wait(self) -> None:
        assert self.ended.wait(PATIENCE_SECONDS), "the call did not end"
        wait_until(self.nothing_lives, "all of the call's actors and threads ended")
        assert self.meter.live == 0

    def nothing_lives(self) -> bool:
        return not self.ref.is_alive() and not [
            thread for thread in threading.enumerate() if thread.name.endswith(f" {self.call_sid}")
        ]

    def hang_up(self) -> None:
        post(self.ref, HangUp("the test is over"))
        self.wait()


def say(
    socket: FakeModelSocket, response: str, item: str, text: str, previous: str | None, ms: float = 400
) -> None:
    """The model gives a whole answer."""
    begin_to_say(socket, response, item, text, previous, ms)
    socket.say(audio_done(response, item), response_done(response))


def begin_to_say(
    socket: FakeModelSocket, response: str, item: str, text: str, previous: str | None, ms: float = 400
) -> None:
    """The model gives the beginning of an answer; its text is always ahead of its voice."""
    socket.say(
        response_created(response),
        item_added(item, previous),
        transcript(response, item, text),
        delta(response, item, ms),
    )


def items(socket: FakeModelSocket, count: int) -> list[tuple[str, str]]:
    """The next things that a session is told of the conversation: their kind or role, and their text."""
    told = []
    for _ in range(count):
        item = socket.expect("conversation.item.create")["item"]
        if item["type"] == "message":
            told.append((item["role"], item["content"][0]["text"]))
        else:
            told.append((item["type"], item.get("output") or item["call_id"]))
    return told


def instructions(socket: FakeModelSocket) -> str:
    """Those of the response that is asked for next."""
    found: str = socket.expect("response.create")["response"]["instructions"]
    return found


def audio(socket: FakeModelSocket, count: int) -> list[str]:
    """The caller's audio that a session is given next."""
    return [socket.expect("input_audio_buffer.append")["audio"] for _ in range(count)]


def kept_greeting(ms: int, text: str = "Hello there.") -> FixedGreeting:
    """One that an earlier call has left."""
    box = Box()
    fixed = FixedGreeting(text, "1", SESSION, box)
    keeper = fixed.keeper(endpoint("only"))
    keeper.audio("resp_g", Part("item_g", 0), ulaw(ms))
    keeper.said(Part("item_g", 0), text)
    keeper.done("resp_g", True)
    return fixed


Calls = Callable[..., Call]


@pytest.fixture
def calls() -> Iterator[Calls]:
    """Makes calls, and ends those that a test leaves."""
    made: list[Call] = []

    def make(*arguments: Any, **keywords: Any) -> Call:
        made.append(Call(*arguments, **keywords))
        return made[-1]

    yield make
    for call in made:
        for socket in call.sockets:
            socket.deaf = False
        call.hang_up()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session may be given up as soon as it has begun."""
    monkeypatch.setattr("wire.dead_air.FRESH_SECONDS", 0.0)


@pytest.fixture
def call(calls: Calls) -> Call:
    return calls()


# Ordinary calls


def test_answering_starts_both_sides_and_gives_the_reader(call: Call) -> None:
    socket = call.talk()
    assert len(pykka.ActorRegistry.get_by_class(TwilioActor)) == 1
    assert len(pykka.ActorRegistry.get_by_class(OpenAIActor)) == 1
    call.hear("//8=")
    assert audio(socket, 1) == ["//8="]


def test_a_kept_greeting_is_heard_before_the_model_has_said_anything(calls: Calls) -> None:
    call = calls(fixed_greeting=kept_greeting(400))
    call.answer()
    heard = b"".join(call.play() for _ in range(2))
    assert heard == base64.b64decode(ulaw(400))
    call.settle()
    socket = call.socket(1)
    assert call.sockets == [socket]
    assert socket.sent() == [], "the session has not even begun"
    call.connect(1)
    assert items(socket, 1) == [("assistant", "Hello there.")]
    call.pause()
    assert socket.sent() == [], "it is said once, and nothing more is due"
    call.settle()
    ((position, entry),) = call.journal.entries.values()
    assert (position, entry.text, entry.heard_text, entry.heard_ms) == (
        0,
        "Hello there.",
        "Hello there.",
        400,
    )
    assert "kept greeting" in call.journal.kinds()


def test_who_interrupts_a_kept_greeting_ends_it_and_the_model_knows_what_was_heard(calls: Calls) -> None:
    call = calls(fixed_greeting=kept_greeting(4000, "One two three four five six seven eight nine ten"))
    call.answer()
    for _ in range(5):
        call.play()
    call.hear(A, 3)
    socket = call.connect(1)
    (told,) = items(socket, 1)
    assert told == ("assistant", "One two three four five six seven eight nine ten")
    assert audio(socket, 3) == [A, A, A], "what was said before the session was ready"
    socket.say(speech_started("item_u"))
    sent: list[str] = []

    def cleared() -> bool:
        sent.extend(message["event"] for message in call.phone.sent())
        return "clear" in sent

    wait_until(cleared, "the rest of the greeting is thrown away")
    less = socket.expect("conversation.item.create")
    heard = less["item"]["content"][0]["text"]
    assert "One two three four five six seven eight nine ten".startswith(heard)
    assert 0 < len(heard) < 20
    socket.expect("conversation.item.delete")
    assert socket.sent() == []


def test_listeners_are_told_of_a_kept_greeting_as_of_any_other_answer(calls: Calls) -> None:
    told: queue.SimpleQueue[object] = queue.SimpleQueue()

    class Hearing(Listener):
        wants = (AssistantTranscript, AssistantAudio)

        def handle(self, message: Any) -> Any:
            if isinstance(message, self.wants):
                return told.put(message)
            return super().handle(message)

    call = calls(fixed_greeting=kept_greeting(400), listeners=(Hearing,))
    call.answer()
    for _ in range(2):
        call.play()
    call.hang_up()
    kinds = sorted(type(told.get(timeout=PATIENCE_SECONDS)).__name__ for _ in range(3))
    assert kinds == ["AssistantAudio", "AssistantAudio", "AssistantTranscript"]


@pytest.mark.parametrize("differences", [{"history": (said("item_g", "Hello."),)}, {"broke_off": True}])
def test_a_call_that_goes_on_hears_no_kept_greeting(calls: Calls, differences: dict[str, Any]) -> None:
    call = calls(fixed_greeting=kept_greeting(400), **differences)
    call.answer()
    call.connect(1)
    call.settle()
    assert call.phone.sent() == []


def test_what_the_model_says_first_is_kept_for_the_next_call(calls: Calls) -> None:
    box = Box()
    fixed = FixedGreeting("Hello there.", "1", SESSION, box)
    calls(fixed_greeting=fixed).greet()
    wait_until(lambda: bool(box.kept), "the greeting is kept")
    next_call = calls(call_sid="CA2", fixed_greeting=fixed)
    next_call.answer()
    assert next_call.play() == base64.b64decode(ulaw(200))
    assert len(box.kept) == 1


def test_audio_flows_from_the_model_to_the_phone(call: Call) -> None:
    call.talk().say(delta("resp_1", "item_a", 20))
    assert call.phone.expect("media")["media"] == {"payload": ulaw(20)}
    call.phone.expect("mark")


def test_barge_in_goes_round_from_the_model_over_the_phone_to_the_model(call: Call) -> None:
    socket = call.talk()
    begin_to_say(socket, "resp_1", "item_a", "A long story.", None, ms=1500)
    call.phone.expect("media")
    call.phone.expect("mark")
    socket.say(speech_started("item_u"))
    call.phone.expect("clear")
    told = orjson.loads(socket._sent.get(timeout=PATIENCE_SECONDS))
    assert told["type"] in ("conversation.item.truncate", "conversation.item.delete")
    assert told["item_id"] == "item_a"


def test_the_model_calls_a_function_and_speaks_about_its_output(calls: Calls) -> None:
    @tool
    def opening_hours() -> str:
        """When we are open."""
        return "nine to five"

    call = calls(tools={"opening_hours": opening_hours})
    socket = call.greet()
    socket.say(response_created("resp_f"), function_call("resp_f", "item_f", "call_1", "opening_hours"))
    assert "nine to five" in items(socket, 1)[0][1]
    asked = call.journal.entries["item_f"][1].tool
    assert asked is not None
    assert asked.output == '"nine to five"', "no process that is killed now has it called once more"
    assert socket.sent() == []
    socket.say(response_done("resp_f"))
    socket.expect("response.create")
    data = call.journal.wait_for("tool")
    assert (data["name"], data["failed"]) == ("opening_hours", False)


def test_the_model_has_an_mcp_server_asked_and_speaks_about_its_answer(calls: Calls) -> None:
    server = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}

    @tool
    def opening_hours() -> str:
        """When we are open."""
        return "nine to five"

    call = calls(session=replace(SESSION, tools=(server,)), tools={"opening_hours": opening_hours})
    socket = call.greet()
    fields = {"response_id": "resp_m", "item_id": "item_m", "output_index": 0}
    socket.say(response_created("resp_m"), {"type": "response.mcp_call_arguments.done", **fields})
    silence = call.actor._talk._dead_air
    wait_until(lambda: silence._tool_running, "the server is asked")
    assert call.actor._talk.busy
    socket.say(response_done("resp_m"))
    socket.say({"type": "response.mcp_call.completed", **fields})
    socket.expect("response.create")
    wait_until(lambda: not silence._tool_running, "the server has answered, and silence is ours again")


def test_a_pressed_key_is_noted_without_saying_which(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """protocol-gotchas 45: it may be part of a card number."""
    caplog.set_level("DEBUG")
    call.talk()
    call.ref.ask(DigitPressed("7"), timeout=PATIENCE_SECONDS)
    lines = [record.getMessage() for record in caplog.records if "key" in record.getMessage()]
    assert len(lines) == 1
    assert "7" not in lines[0]
    assert call.journal.wait_for("key pressed") == {}


def test_two_calls_do_not_touch_each_other(calls: Calls) -> None:
    first, second = calls(), calls(call_sid="CA2")
    first.talk()
    second.talk()
    first.ref.tell(HangUp("enough"))
    assert first.ended.wait(PATIENCE_SECONDS)
    assert second.order == []
    second.settle()
    second.ref.tell(HangUp("enough too"))
    second.wait()
    assert second.order == first.order


# The journal


def test_the_journal_gets_the_conversation_as_it_happens_and_what_is_left_at_the_end(calls: Calls) -> None:
    call = calls()
    socket = call.greet()
    assert call.journal.began_with == [RECORD]
    wait_until(lambda: "item_g" in call.journal.entries, "the greeting was journalled")
    socket.say(speech_started("item_u"), speech_stopped("item_u"), committed("item_u", "item_g"))
    socket.say(transcribed("item_u", "When do you open?"))
    wait_until(lambda: len(call.actor._talk.conversation.entries) == 2, "the caller's words are known")
    call.hang_up()
    position, entry = call.journal.entries["item_u"]
    assert (position, entry.text) == (1, "When do you open?")
    assert call.journal.entries["item_g"][1].heard_text == "Hello there."
    assert call.journal.kinds()[0] == "session ready"
    assert call.journal.endings == [("ended", Then.HANG_UP)]


def test_what_happens_is_journalled_at_once(call: Call) -> None:
    """A process that is killed tells nothing more. What changes again soon, the journal's writer writes once."""
    socket = call.greet()
    socket.say(committed("item_u", "item_g"), transcribed("item_u", "When do you"))
    wait_until(lambda: "item_u" in call.journal.entries, "no time had to pass")
    socket.say(transcribed("item_u", "When do you open?"))
    wait_until(lambda: call.journal.entries["item_u"][1].text == "When do you open?", "nor the next time")


def test_how_much_of_an_answer_came_and_was_heard_is_journalled_at_once(call: Call) -> None:
    socket = call.greet()
    begin_to_say(socket, "resp_1", "item_a", "A long story.", "item_g", ms=1500)
    socket.say(audio_done("resp_1", "item_a"))
    wait_until(lambda: "item_a" in call.journal.entries, "it has begun")
    wait_until(lambda: call.journal.entries["item_a"][1].total_ms == 1500, "all of it has come")
    call.ref.tell(CutOff((Heard(Part("item_a", 0), 123, 1500),)))
    call.settle()
    assert call.journal.entries["item_a"][1].heard_ms == 123


def test_that_the_caller_speaks_is_journalled_until_the_words_have_an_item(call: Call) -> None:
    """Whoever goes on with the call, if this process dies now, has heard nothing of it."""
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    call.settle()
    [unfinished] = call.journal.entries.keys() - {"item_g"}
    assert call.journal.entries[unfinished] == (1, Entry(unfinished, "caller", "", "", 0, 0))
    socket.say(speech_stopped("item_u"))
    call.floor(Floor.ASSISTANT)
    call.settle()
    assert call.journal.entries.keys() == {"item_g", unfinished}, "the item is still to come"
    socket.say(committed("item_u", "item_g"))
    wait_until(lambda: call.journal.entries.keys() == {"item_g", "item_u"}, "the turn is an item")


def test_latencies_are_events_of_the_journal(call: Call) -> None:
    socket = call.greet()
    call.hear(ulaw(20), frames=50)
    socket.say(speech_started("item_u"), speech_stopped("item_u"))
    call.floor(Floor.ASSISTANT)
    say(socket, "resp_1", "item_a", "At nine.", None)
    call.play()
    data = call.journal.wait_for("answered")
    assert isinstance(data["model_ms"], float)
    assert "answer_ms" in data


def test_an_interruption_is_an_event_of_the_journal(call: Call) -> None:
    socket = call.greet()
    begin_to_say(socket, "resp_1", "item_a", "A long story.", "item_g", ms=3000)
    call.phone.expect("media")
    name = call.phone.expect("mark")["mark"]["name"]
    socket.say(speech_started("item_u"))
    call.phone.expect("clear")
    call.confirm(name)
    assert "silence_ms" in call.journal.wait_for("interrupted")


# How a call ends


@pytest.mark.parametrize(
    ("message", "outcome", "then"),
    [
        (HangUp("enough"), Outcome.ENDED, Then.HANG_UP),  # else another worker would take the call up again
        (StreamStopped("caller hung up", by_twilio=True), Outcome.HUNG_UP, Then.HANG_UP),
        (StreamStopped("the socket is gone"), Outcome.HUNG_UP, Then.RESUME),
        (Drain(now=True), Outcome.TORN_AWAY, Then.RESUME),
    ],
)
def test_the_model_is_closed_before_the_phone_and_what_comes_then_is_known_before_that(
    message: Any, outcome: Outcome, then: Then, calls: Calls
) -> None:
    call = calls()
    call.talk()
    call.ref.tell(message)
    call.wait()
    over = outcome is Outcome.HUNG_UP and then is Then.HANG_UP
    written = [] if over else ["flushed"]
    assert call.order == [
        "model closing",
        "model released",
        f"ended {then}",
        *written,
        "phone closed 1000",
    ]
    assert call.journal.endings == [(outcome.value, then)]
    assert call.meter.outcomes == [outcome]


def test_a_journal_that_is_not_written_in_time_does_not_keep_the_call(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: the journal was not written in time")
    call = calls()
    call.journal.written = False
    call.talk()
    call.ref.tell(Drain(now=True))
    call.wait()
    assert call.order[-1] == "phone closed 1000"


def test_a_phone_that_cannot_be_written_ends_the_call_model_first_and_may_be_asked_for_again(
    calls: Calls,
) -> None:
    call = calls()
    socket = call.talk()
    call.phone.refusal = ConnectionError("gone")
    socket.say(delta("resp_1", "item_a", 20))
    call.wait()
    assert call.order[:2] == ["model closing", "model released"]
    assert call.journal.endings == [("hung_up", Then.RESUME)]


def test_a_phone_that_fails_ends_the_call_here_and_the_model_is_closed(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: failed at AssistantAudio")
    call = calls()
    socket = call.talk()
    call.phone.refusal = ValueError("a mistake of ours")  # type: ignore[assignment]
    socket.say(delta("resp_1", "item_a", 20))
    call.wait()
    assert "model released" in call.order
    assert call.journal.endings == [("phone_failed", Then.RESUME)]


def test_a_model_that_does_not_close_is_cut_after_its_deadline(calls: Calls) -> None:
    call = calls(before=lambda socket: setattr(socket, "deaf", True))
    socket = call.talk()
    session = call.actor._sessions.current
    assert session is not None
    call.ref.tell(HangUp("enough"))
    due = DeadlinePassed(DeadlinePassed.MODEL_CLOSED, session.ref)
    assert call.clock.expire(due) == CLOSED_SECONDS
    call.wait()
    assert socket.aborted
    assert call.phone.closed.is_set()


def test_a_phone_that_does_not_close_is_cut_after_its_deadline(calls: Calls) -> None:
    call = calls()
    call.phone.block_close()
    call.talk()
    call.ref.tell(HangUp("enough"))
    assert call.phone.closing.wait(PATIENCE_SECONDS)
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.PHONE_CLOSED)) == PHONE_CLOSED_SECONDS
    call.wait()
    assert call.order[-2:] == ["phone closed 1000", "phone aborted"]


def test_a_phone_blocked_in_a_send_is_cut_after_its_deadline(calls: Calls) -> None:
    call = calls()
    socket = call.talk()
    call.phone.block()
    socket.say(delta("resp_1", "item_a", 20))
    assert call.phone.sending.wait(PATIENCE_SECONDS)
    call.ref.tell(HangUp("enough"))
    call.clock.expire(DeadlinePassed(DeadlinePassed.PHONE_CLOSED))
    call.wait()
    assert call.phone.aborted.is_set()


def test_all_deadlines_of_an_end_together_are_short() -> None:
    assert CLOSED_SECONDS + PHONE_CLOSED_SECONDS < 1  # a caller's hang-up, after which nothing is asked
    assert CLOSED_SECONDS + FLUSH_SECONDS + PHONE_CLOSED_SECONDS < 1.5


def test_hanging_up_twice_is_hanging_up_once(calls: Calls) -> None:
    call = calls()
    call.talk()
    for reason in ("first", "second", "third"):
        post(call.ref, HangUp(reason))
    post(call.ref, StreamStopped("and the stream too"))
    call.wait()
    assert call.order == ["model closing", "model released", "ended hang up", "flushed", "phone closed 1000"]
    assert call.journal.kinds().count("ended") == 1


def test_hanging_up_while_the_model_is_being_reached_ends_the_call(calls: Calls) -> None:
    call = calls()
    call.answer()
    assert call.socket(1).connecting.wait(PATIENCE_SECONDS)
    call.ref.tell(HangUp("the caller was impatient"))
    call.wait()
    assert call.order[0] == "model closing"
    assert call.order[-1] == "phone closed 1000"


@pytest.mark.parametrize("message", [HangUp("over"), Drain(now=True)])
def test_a_call_that_ended_before_it_was_answered_does_not_start_anything(message: Any, calls: Calls) -> None:
    """A drain may come between the start of the actor and the route's Answer."""
    started = calls()
    actor = CallActor(started.setup, started.clock, threading.Event())
    for each in (message, Answer()):
        answer = actor.on_receive(each)
    try:
        assert answer is None
        assert pykka.ActorRegistry.get_by_class(TwilioActor) == []
        assert pykka.ActorRegistry.get_by_class(OpenAIActor) == []
    finally:
        started.hang_up()


# What fails


@pytest.mark.parametrize("permanent", [False, True])
def test_a_model_that_keeps_failing_ends_the_call_with_its_way_out(
    logs: ExpectedLogs, permanent: bool, calls: Calls
) -> None:
    """What comes then has to be in the journal before Twilio asks, which is when the phone's socket closes."""
    logs.expect("CA1: model socket refused")

    def refuse(socket: FakeModelSocket) -> None:
        socket.end("refused with HTTP status 401", permanent)

    call = calls(before=refuse)
    call.answer()
    pauses = [] if permanent else [call.clock.expire(RETRY) for _ in range(5)]
    call.wait()
    assert pauses == ([] if permanent else [0, 0.2, 0.4, 0.8, 1.6])
    assert len(call.sockets) == 1 + len(pauses)
    assert call.order[-3:] == ["ended fallback", "flushed", "phone closed 1000"]
    assert call.journal.endings == [("model_failed", Then.FALLBACK)]
    assert call.journal.kinds() == [*["session lost"] * (1 + len(pauses)), "ended"]


def test_a_refused_key_is_tried_at_another_endpoint_at_once(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: session refused: invalid_api_key")
    call = calls("first", "second")
    call.answer()
    refusal = {"type": "invalid_request_error", "code": "invalid_api_key", "message": "No."}
    call.socket(1).say(created(), {"type": "error", "error": refusal})
    assert call.clock.expire(RETRY) == 0
    assert instructions(call.connect(2)) == GREETING
    assert call.dialled == ["first", "second"]
    assert call.journal.wait_for("session ready") == {"endpoint": "second"}


def test_an_endpoint_that_keeps_failing_is_left_for_another(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: model socket lost")
    call = calls("first", "second")
    call.answer()
    for number in range(1, FAILURES_IN_A_ROW + 1):
        call.socket(number).end("lost: reset")
        call.clock.expire(RETRY)
    assert instructions(call.connect(FAILURES_IN_A_ROW + 1)) == GREETING
    assert call.dialled == [*["first"] * FAILURES_IN_A_ROW, "second"]


def test_a_session_that_is_not_ready_in_time_is_cut_and_replaced(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: the model's session is given up: it was not ready in time")
    call = calls()
    call.answer()
    slow = call.actor._sessions.current
    assert slow is not None
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY, slow.ref)) == READY_SECONDS
    call.clock.expire(RETRY)
    assert instructions(call.connect(2)) == GREETING
    assert call.sockets[0].aborted


def test_a_sessions_deadline_means_nothing_once_it_is_ready(call: Call) -> None:
    call.talk()
    session = call.actor._sessions.current
    assert session is not None
    call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY, session.ref))
    call.settle()
    assert call.actor._sessions.current is session


def test_a_system_exit_in_the_models_actor_costs_a_session_and_no_call(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    """threads-and-sockets 12: Pykka would stop every actor of the process."""
    logs.expect("CA1: failed at Begin")
    call, other = calls(), calls(call_sid="CA2")
    other.talk()
    exits = [SystemExit(1)]
    begin = OpenAIActor._begin

    def once(self: OpenAIActor, *arguments: Any) -> None:
        if exits:
            raise exits.pop()
        begin(self, *arguments)

    monkeypatch.setattr(OpenAIActor, "_begin", once)
    call.answer()
    call.connect(1)
    call.clock.expire(RETRY)
    assert instructions(call.connect(2)) == GREETING
    other.settle()
    assert other.order == []


def test_an_actor_that_dies_in_opening_is_followed_by_another(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    """threads-and-sockets 10: what fails in Pykka's on_start is told to nobody."""
    logs.expect("CA1: failed at Open")
    failures = [RuntimeError("can't start new thread")]
    opening = OpenAIActor.open

    def once(self: OpenAIActor) -> None:
        if failures:
            raise failures.pop()
        opening(self)

    monkeypatch.setattr(OpenAIActor, "open", once)
    call = calls()
    call.answer()
    call.clock.expire(RETRY)
    assert instructions(call.connect(2)) == GREETING
    call.hang_up()
    assert call.order.count("model released") == 2


def test_a_session_that_does_not_close_does_not_keep_the_next_one(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: the model's session is given up: it was not ready in time")
    call = calls(before=lambda socket: setattr(socket, "deaf", True))
    call.answer()
    stuck = call.actor._sessions.current
    assert stuck is not None
    call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY, stuck.ref))
    call.clock.expire(RETRY)
    assert instructions(call.connect(2)) == GREETING
    for socket in call.sockets:
        socket.deaf = False


def test_a_model_that_cannot_even_be_dialled_fails_the_call_and_leaves_nothing(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: failed at Answer")

    def dial() -> ModelSocket:
        raise OSError("no more files")

    call = calls(endpoints=Endpoints([endpoint("only", dial)]))
    assert call.ref.ask(Answer(), timeout=PATIENCE_SECONDS) is None
    call.wait()
    assert "phone aborted" in call.order
    assert call.meter.outcomes == [Outcome.FAILED]


def test_a_failure_of_the_call_itself_closes_everything_below_it(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: failed at StreamStopped")
    call = calls()
    socket = call.talk()
    call.clock.after = None  # type: ignore[method-assign, assignment]
    call.ref.tell(StreamStopped("x"))
    call.wait()
    assert socket.aborted
    assert call.phone.aborted.is_set()
    assert call.journal.endings == []  # nothing is known of what comes then, so that the call is resumed


def test_stopping_the_actor_from_outside_leaves_nothing_either(calls: Calls) -> None:
    call = calls()
    socket = call.talk()
    call.ref.stop(timeout=PATIENCE_SECONDS)
    call.wait()
    assert socket.aborted


# A session that is lost: what the next one is told


def test_lost_while_connecting_the_next_session_greets_and_hears_what_was_said_meanwhile(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket cannot connect")
    call = calls()
    call.answer()
    call.hear(A)
    call.socket(1).end("cannot connect: refused")
    call.hear(B)
    call.clock.expire(RETRY)
    socket = call.connect(2)
    assert instructions(socket) == GREETING
    assert audio(socket, 2) == [A, B]
    call.hear(C)
    assert audio(socket, 1) == [C]
    assert socket.sent() == []


def test_lost_before_its_configuration_was_confirmed_the_same(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: model socket closed with code 1011")
    call = calls()
    call.answer()
    call.socket(1).say(created())
    call.socket(1).expect("session.update")
    call.hear(A)
    call.socket(1).end("closed with code 1011")
    call.clock.expire(RETRY)
    socket = call.connect(2)
    assert instructions(socket) == GREETING
    assert audio(socket, 1) == [A]
    assert call.sockets[0].sent() == []


def test_lost_in_a_pause_the_next_session_knows_the_conversation_and_waits(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    call.greet().end("lost: reset")
    call.clock.expire(RETRY)
    socket = call.connect(2)
    assert items(socket, 1) == [("assistant", "Hello there.")]
    call.pause()
    assert socket.sent() == []
    assert call.phone.sent() == []
    assert call.journal.wait_for("session lost")["reason"] == "model socket lost: reset"


def test_what_the_caller_says_while_there_is_no_session_is_heard_by_the_next(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    call.greet().end("lost: reset")
    call.journal.wait_for("session lost")
    call.hear(A)
    call.clock.expire(RETRY)
    call.hear(B)
    socket = call.connect(2)
    items(socket, 1)
    assert audio(socket, 2) == [A, B]


def test_what_is_said_in_a_long_gap_is_not_lost_either(logs: ExpectedLogs, calls: Calls) -> None:
    """While nobody is known to speak, 5 s are kept; but without a session, nobody can know."""
    logs.expect("CA1: model socket lost")
    call = calls()
    call.greet().end("lost: reset")
    call.journal.wait_for("session lost")
    call.hear(A)
    call.hear(QUIET, frames=400)  # 8 s
    call.clock.expire(RETRY)
    socket = call.connect(2)
    items(socket, 1)
    assert audio(socket, 1) == [A]


def test_lost_while_the_caller_speaks_the_next_session_hears_all_of_it_and_is_asked_for_nothing(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    call.hear(A)
    assert audio(first, 1) == [A]
    first.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    call.hear(B)
    first.end("lost: reset")
    call.clock.expire(RETRY)
    call.hear(C)
    second = call.connect(2)
    assert items(second, 1) == [("assistant", "Hello there.")]
    assert audio(second, 3) == [A, B, C]
    # It answers by itself, as its turn detection says; and the call knows whose turn it is.
    second.say(speech_started("item_v"), speech_stopped("item_v"), committed("item_v", "item_g"))
    call.floor(Floor.ASSISTANT)
    say(second, "resp_2", "item_a", "At nine.", "item_v")
    call.play()
    call.pause()
    assert second.sent() == []


def test_lost_when_the_words_were_known_the_answer_is_asked_for(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    first.say(speech_started("item_u"), speech_stopped("item_u"), committed("item_u", "item_g"))
    first.say(transcribed("item_u", "When do you open?"))
    call.floor(Floor.ASSISTANT)
    wait_until(lambda: not call.actor._talk.unheard_turn, "the words are known")
    first.end("lost: reset")
    call.clock.expire(RETRY)
    second = call.connect(2)
    assert items(second, 2) == [("assistant", "Hello there."), ("user", "When do you open?")]
    assert "not answered yet" in instructions(second)


def test_lost_in_mid_answer_the_next_session_goes_on_when_the_phone_has_played_it_out(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    begin_to_say(first, "resp_1", "item_a", "We open at nine in the morning.", "item_g", ms=1000)
    wait_until(lambda: call.actor._talk.assistant_audible, "the answer plays")
    first.end("lost: reset")
    call.clock.expire(RETRY)
    second = call.connect(2)
    assert items(second, 1) == [("assistant", "Hello there.")]
    wait_until(lambda: call.actor._sessions.talking, "the new session has begun")
    call.settle()
    assert second.sent() == []  # it would talk over, or behind, what is still playing
    call.play()
    ((role, heard),) = items(second, 1)
    assert role == "assistant"
    assert "We open at nine in the morning.".startswith(heard)
    going_on = instructions(second)
    assert heard in going_on
    assert "Do not greet the caller again" in going_on


def test_lost_in_mid_answer_after_its_last_audio_was_played_it_is_asked_to_go_on_at_once(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    begin_to_say(first, "resp_1", "item_a", "We open at nine in the morning.", "item_g", ms=1000)
    call.play()
    wait_until(lambda: not call.actor._talk.assistant_audible, "the answer was played")
    first.end("lost: reset")
    call.clock.expire(RETRY)
    second = call.connect(2)
    assert [role for role, _ in items(second, 2)] == ["assistant", "assistant"]
    assert "go on from exactly there" in instructions(second)


def test_lost_while_a_function_runs_its_output_goes_to_the_next_session(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    finish = threading.Event()

    @tool
    def look_up() -> str:
        """Looks it up."""
        finish.wait(PATIENCE_SECONDS)
        return "found"

    call = calls(tools={"look_up": look_up})
    first = call.greet()
    first.say(response_created("resp_f"), function_call("resp_f", "item_f", "call_1", "look_up"))
    first.say(response_done("resp_f"))
    call.floor(Floor.NOBODY)
    wait_until(lambda: call.actor._talk.conversation.tools_running, "the function runs")
    first.end("lost: reset")
    call.clock.expire(RETRY)
    second = call.connect(2)
    assert items(second, 2) == [("assistant", "Hello there."), ("function_call", "call_1")]
    wait_until(lambda: call.actor._sessions.talking, "the new session has begun")
    assert second.sent() == []
    finish.set()
    assert items(second, 1) == [("function_call_output", '"found"')]
    second.expect("response.create")


def test_a_function_that_ends_while_there_is_no_session_is_told_of_once(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    finish = threading.Event()

    @tool
    def look_up() -> str:
        """Looks it up."""
        finish.wait(PATIENCE_SECONDS)
        return "found"

    call = calls(tools={"look_up": look_up})
    first = call.greet()
    first.say(response_created("resp_f"), function_call("resp_f", "item_f", "call_1", "look_up"))
    first.say(response_done("resp_f"))
    wait_until(lambda: call.actor._talk.conversation.tools_running, "the function runs")
    first.end("lost: reset")
    call.journal.wait_for("session lost")
    finish.set()
    call.journal.wait_for("tool")
    call.clock.expire(RETRY)
    second = call.connect(2)
    assert items(second, 3)[1:] == [("function_call", "call_1"), ("function_call_output", '"found"')]
    assert "result of your last function call" in instructions(second)
    assert second.sent() == []


def test_sessions_may_be_lost_one_after_the_other_and_the_conversation_stays(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    socket = call.greet()
    for number in (2, 3):
        socket.end("lost: reset")
        call.clock.expire(RETRY)
        socket = call.connect(number)
        assert items(socket, 1) == [("assistant", "Hello there.")]
        wait_until(lambda: call.actor._sessions.talking, "the new session has begun")


def test_what_a_session_says_that_was_given_up_is_not_taken_for_the_next_ones(
    logs: ExpectedLogs, calls: Calls
) -> None:
    """It may still have had something in its mailbox; a floor that is the caller's for ever would stop all."""
    logs.expect("CA1: model socket lost")
    call = calls()
    call.greet().end("lost: reset")
    call.journal.wait_for("session lost")
    gone = call.ref  # stands for an actor that no session is known by
    for stale in (
        FloorChanged(Floor.CALLER, gone),
        SpeechUnnoticed(1.0, gone),
        SessionReady(gone),
        DeadlinePassed(DeadlinePassed.SESSION_READY, gone),
        DeadlinePassed(DeadlinePassed.MODEL_CLOSED, gone),
    ):
        call.ref.tell(stale)
    call.settle()
    assert not call.actor._talk.unheard_turn
    assert not call.actor._talk.busy
    call.clock.expire(RETRY)
    items(call.connect(2), 1)
    call.pause()


def test_what_a_replaced_session_had_still_to_say_is_not_taken_for_its_successors(call: Call) -> None:
    """Its successor hears by itself that the caller speaks; or it would wait for the end of that for ever."""
    rolling_over(call)
    replaced = call.actor._sessions.current
    assert replaced is not None
    second = call.connect(2)
    items(second, 1)
    wait_until(lambda: call.actor._sessions.current is not replaced, "the successor has taken over")
    call.ref.tell(FloorChanged(Floor.CALLER, replaced.ref))
    call.ref.tell(SpeechUnnoticed(1.0, replaced.ref))
    call.settle()
    assert not call.actor._talk.unheard_turn
    assert not call.actor._talk.busy
    second.say(speech_started("item_u"))
    call.floor(Floor.CALLER)


def test_a_turn_whose_words_come_while_the_next_session_connects_is_not_heard_again(
    logs: ExpectedLogs, calls: Calls
) -> None:
    """It is in the history that the session is given: heard as well, it would be answered twice."""
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    call.hear(A)
    assert audio(first, 1) == [A]
    first.say(speech_started("item_u"), speech_stopped("item_u"), committed("item_u", "item_g"))
    call.floor(Floor.ASSISTANT)
    first.end("lost: reset")
    call.clock.expire(RETRY)
    call.socket(2)
    call.settle()
    call.ref.tell(CallerTranscript("item_u", "When do you open?"))  # was in the mailbox of the lost session
    call.settle()
    call.hear(B)
    second = call.connect(2)
    assert items(second, 2)[1] == ("user", "When do you open?")
    assert "not answered yet" in instructions(second)
    assert audio(second, 1) == [B]


def test_all_that_is_said_before_the_first_session_begins_is_heard_by_it(call: Call) -> None:
    call.answer()
    call.hear(A)
    call.hear(QUIET, frames=400)  # 8 s
    socket = call.connect(1)
    instructions(socket)
    assert audio(socket, 1) == [A]


def test_what_is_said_while_a_lost_sessions_words_still_play_is_kept(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls()
    first = call.greet()
    for item, previous in (("item_a", "item_g"), ("item_b", "item_a")):
        begin_to_say(first, "resp_1", item, "We open at nine in the morning.", previous, ms=1000)
    sent = [call.phone.expect(kind) for kind in ("media", "mark", "media", "mark")]
    first.end("lost: reset")
    call.journal.wait_for("session lost")
    call.hear(A)
    call.confirm(sent[1]["mark"]["name"])
    wait_until(
        lambda: call.actor._talk.conversation.entries[1].heard_ms > 0, "a part of the answer was heard"
    )
    call.settle()
    call.hear(QUIET, frames=400)  # 8 s
    call.clock.expire(RETRY)
    second = call.connect(2)
    items(second, 2)
    assert audio(second, 1) == [A]


def test_a_session_for_which_there_is_no_thread_is_tried_again(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    logs.expect("CA1: no session can be started: can't start new thread")
    call = calls()
    first = call.greet()
    failures = [RuntimeError("can't start new thread")] * 2
    start = OpenAIActor.start

    def later(*arguments: Any, **keywords: Any) -> Any:
        if failures:
            raise failures.pop()
        return start(*arguments, **keywords)

    monkeypatch.setattr(OpenAIActor, "start", later)
    first.end("lost: reset")
    assert [call.clock.expire(RETRY) for _ in range(3)] == [0, 0.2, 0.4]
    socket = call.connect(4)
    items(socket, 1)
    instructions(socket)  # the caller may have waited by now


def test_a_session_for_which_there_is_never_a_thread_ends_the_call_with_its_way_out(
    logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    logs.expect("CA1: no session can be started: can't start new thread")
    call = calls()
    first = call.greet()

    def never(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(OpenAIActor, "start", never)
    first.end("lost: reset")
    for _ in range(5):
        call.clock.expire(RETRY)
    call.wait()
    assert call.journal.endings == [("model_failed", Then.FALLBACK)]


def test_a_session_that_gets_ready_too_late_does_not_begin(logs: ExpectedLogs, calls: Calls) -> None:
    logs.expect("it was not ready in time")
    call = calls(before=lambda socket: setattr(socket, "deaf", True))
    call.answer()
    late = call.actor._sessions.current
    assert late is not None
    call.clock.expire(DeadlinePassed(DeadlinePassed.SESSION_READY, late.ref))
    call.ref.ask(SessionReady(late.ref), timeout=PATIENCE_SECONDS)
    assert not late.ready
    assert not late.begun
    call.clock.expire(RETRY)
    assert instructions(call.connect(2)) == GREETING
    for socket in call.sockets:
        socket.deaf = False


# Calls that are resumed


def test_a_resumed_call_is_continued_and_not_greeted(calls: Calls) -> None:
    history = (said("item_g", "Hello there."), asked("item_u", "When do you open?"))
    call = calls(history=history, broke_off=True)
    call.answer()
    socket = call.connect(1)
    assert items(socket, 2) == [("assistant", "Hello there."), ("user", "When do you open?")]
    assert "Do not greet the caller again" in instructions(socket)
    call.hang_up()


def test_a_resumed_call_tells_of_a_function_that_its_process_took_along(calls: Calls) -> None:
    running = Entry("item_f", "tool", "", "", 0, 0, tool=ToolUse("call_1", "look_up", "{}"))
    call = calls(history=(asked("item_u", "Look it up"), running), broke_off=True)
    call.answer()
    socket = call.connect(1)
    told = items(socket, 3)
    assert [kind for kind, _ in told] == ["user", "function_call", "function_call_output"]
    assert "not known" in told[2][1]
    socket.expect("response.create")


def test_the_time_that_a_call_has_lasted_counts_on_every_stream(calls: Calls) -> None:
    call = calls(limits=CallLimits(max_minutes=10), lasted_seconds=400.0)
    call.answer()
    assert call.clock.expire(LIMIT) == 200


# Dead air


def test_an_answer_without_a_voice_is_asked_for_again(call: Call) -> None:
    socket = call.greet()
    socket.say(speech_started("item_u"), speech_stopped("item_u"), committed("item_u", "item_g"))
    socket.say(response_created("resp_1"), response_done("resp_1"))
    socket.expect("response.create")
    say(socket, "resp_2", "item_a", "At nine.", "item_u")
    call.play()
    call.pause()
    assert socket.sent() == []


@pytest.mark.usefixtures("no_grace")
def test_a_model_that_says_nothing_costs_a_filler_a_new_session_an_apology_and_then_the_call(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: the model's session is given up: nothing is heard of it")
    call = calls(clock=CLOCK, patience=QUICK)
    first = call.talk()
    call.play(FILLER)
    second = call.connect(2)
    assert first.aborted
    assert instructions(second) == GREETING
    while call.play() == FILLER:
        pass  # it takes its time to get a new session, in this call's measure of time
    call.wait()
    assert call.order[-3:] == ["ended fallback", "flushed", "phone closed 1000"]
    assert call.journal.endings == [("silent", Then.FALLBACK)]
    kinds = [kind for kind in call.journal.kinds() if kind != "filler"]
    assert kinds == ["session ready", "session lost", "session ready", "apology", "ended"]
    assert call.journal.wait_for("ended")["longest_silence_ms"]


def test_with_every_filler_the_server_is_asked_whether_it_lives(calls: Calls) -> None:
    call = calls(clock=CLOCK, patience=Limits(0.02, 0.02, 60.0, 60.0, 60.0))
    first = call.talk()
    call.play(FILLER)
    first.expect_ping(timeout=2.0)  # sooner than it would be without a reason


def test_while_a_tool_runs_that_wants_no_filler_the_caller_hears_none(calls: Calls) -> None:
    begun, may_end = threading.Event(), threading.Event()

    @tool(filler=False)
    def look_up() -> str:
        """Look it up."""
        begun.set()
        assert may_end.wait(PATIENCE_SECONDS)
        return "found"

    limits = Limits(0.02, 0.02, 60.0, 60.0, 60.0)
    call = calls(clock=CLOCK, patience=limits, tools={"look_up": look_up})
    socket = call.talk()
    call.play(FILLER)
    # The second filler sounds until the test says otherwise, and no third one comes before that.
    call.phone.expect("media")
    mark = call.phone.expect("mark")["mark"]["name"]
    socket.say(response_created("resp_f"), function_call("resp_f", "item_f", "call_1", "look_up"))
    assert begun.wait(PATIENCE_SECONDS)
    call.confirm(mark)
    for _ in range(4):
        socket.expect_ping()  # one with every filler, the two that were not played included
        socket.say_pong()
    call.settle()
    assert call.journal.kinds().count("filler") == 2
    assert call.phone.sent() == []
    may_end.set()
    assert "found" in items(socket, 1)[0][1]
    call.play(FILLER)


@pytest.mark.usefixtures("no_grace")
def test_a_session_that_heard_a_turn_again_and_makes_nothing_of_it_is_not_followed_by_one_like_it(
    logs: ExpectedLogs, calls: Calls
) -> None:
    """A noise that only a lost session took for speech would else end the call."""
    logs.expect("CA1: model socket lost")
    logs.expect("nothing is heard of it")
    call = calls(clock=CLOCK, patience=Limits(0.05, 0.05, 0.05, 60.0, 60.0))
    first = call.greet()
    call.hear(A)
    first.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    first.end("lost: reset")
    second = call.connect(2)
    items(second, 1)
    assert audio(second, 1) == [A]
    call.play(FILLER)
    third = call.connect(3)
    items(third, 1)
    instructions(third)


def test_a_session_that_has_just_begun_is_given_time_to_speak(calls: Calls) -> None:
    """What the caller waited for may have been the session before it."""
    call = calls(clock=CLOCK, patience=QUICK)
    first = call.talk()
    while call.play() == FILLER:
        pass
    call.wait()
    assert call.journal.endings == [("silent", Then.FALLBACK)]
    assert len(call.sockets) == 1
    assert first.released.is_set()


def test_nothing_is_done_about_a_silence_any_more_when_the_call_ends(calls: Calls) -> None:
    call = calls(patience=QUICK, before=lambda socket: setattr(socket, "deaf", True))
    call.talk()
    call.ref.ask(HangUp("enough"), timeout=PATIENCE_SECONDS)
    filler_at = time.monotonic() + 0.02
    wait_until(lambda: time.monotonic() > filler_at, "it is time for a filler")
    call.clock.expire(DeadlinePassed(DeadlinePassed.SILENCE))
    call.settle()
    assert call.journal.kinds()[-1] == "ended"
    for socket in call.sockets:
        socket.abort()
    call.wait()


# The end of a session's time


def rolling_over(call: Call) -> FakeModelSocket:
    """In a pause, a successor of the first session is on its way."""
    first = call.greet(expires_at=time.time() + 100)
    call.clock.expire(ROLL_OVER)
    call.socket(2)
    return first


def test_before_a_session_expires_another_takes_over_in_a_pause(call: Call) -> None:
    first = rolling_over(call)
    call.hear(A)
    assert audio(first, 1) == [A]
    second = call.connect(2)
    assert items(second, 1) == [("assistant", "Hello there.")]
    assert audio(second, 1) == [A]  # what the first one heard without a word about it
    assert first.released.wait(PATIENCE_SECONDS)
    call.hear(B)
    assert audio(second, 1) == [B]
    call.pause()
    assert second.sent() == []
    assert "session lost" not in call.journal.kinds()
    assert call.phone.sent() == []


def test_a_successor_waits_for_a_pause(call: Call) -> None:
    first = rolling_over(call)
    begin_to_say(first, "resp_1", "item_a", "At nine.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "the answer plays")
    second = call.connect(2)
    wait_until(lambda: call.actor._sessions.spare is not None and call.actor._sessions.spare.ready, "ready")
    assert second.sent() == []
    first.say(audio_done("resp_1", "item_a"), response_done("resp_1"))
    call.play()
    assert items(second, 2)[1] == ("assistant", "At nine.")


def test_at_the_last_moment_a_successor_takes_over_in_mid_answer_and_goes_on_with_it(call: Call) -> None:
    first = rolling_over(call)
    begin_to_say(first, "resp_1", "item_a", "We open at nine in the morning.", "item_g", ms=1000)
    wait_until(lambda: call.actor._talk.assistant_audible, "the answer plays")
    second = call.connect(2)
    wait_until(lambda: call.actor._sessions.spare is not None and call.actor._sessions.spare.ready, "ready")
    current = call.actor._sessions.current
    assert current is not None
    current.expires_at = time.time() + LAST_MOMENT_SECONDS
    call.clock.expire(ROLL_OVER)
    assert items(second, 1) == [("assistant", "Hello there.")]
    call.play()
    items(second, 1)
    assert "Do not greet" in instructions(second)


def test_a_successor_that_gets_ready_at_the_last_moment_takes_over_then(call: Call) -> None:
    first = rolling_over(call)
    begin_to_say(first, "resp_1", "item_a", "We open at nine in the morning.", "item_g", ms=1000)
    wait_until(lambda: call.actor._talk.assistant_audible, "the answer plays")
    current = call.actor._sessions.current
    assert current is not None
    current.expires_at = time.time() + LAST_MOMENT_SECONDS
    second = call.connect(2)
    assert items(second, 1) == [("assistant", "Hello there.")]
    assert call.actor._talk.busy


def test_a_session_that_is_lost_while_its_successor_is_ready_is_followed_by_that(
    call: Call, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: session ended: session_expired")
    first = rolling_over(call)
    first.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    second = call.connect(2)
    wait_until(lambda: call.actor._sessions.spare is not None and call.actor._sessions.spare.ready, "ready")
    expired = {"type": "invalid_request_error", "code": "session_expired", "message": "Too old."}
    first.say({"type": "error", "error": expired})
    call.clock.expire(RETRY)
    assert items(second, 1) == [("assistant", "Hello there.")]
    assert len(call.sockets) == 2


def test_a_successor_that_fails_is_noted_and_the_session_that_talks_goes_on(
    call: Call, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: model socket closed with code 1013")
    first = rolling_over(call)
    call.socket(2).end("closed with code 1013")
    call.journal.wait_for("session lost")
    call.hear(A)
    assert audio(first, 1) == [A]
    call.clock.expire(ROLL_OVER)
    items(call.connect(3), 1)


# Deploys


def test_a_call_is_handed_over_at_the_next_pause(calls: Calls) -> None:
    call = calls()
    socket = call.talk()
    begin_to_say(socket, "resp_g", "item_g", "Hello there.", None)
    wait_until(lambda: call.actor._talk.assistant_audible, "the greeting plays")
    call.ref.tell(Drain())
    call.settle()
    assert not call.ended.is_set()
    socket.say(audio_done("resp_g", "item_g"), response_done("resp_g"))
    call.play()
    call.wait()
    assert call.order[-3:] == ["ended resume", "flushed", "phone closed 1000"]
    assert call.journal.endings == [("handed_over", Then.RESUME)]
    assert call.journal.entries["item_g"][1].heard_text == "Hello there."


def test_a_call_in_a_pause_is_handed_over_at_once(calls: Calls) -> None:
    call = calls()
    call.greet()
    call.ref.tell(Drain())
    call.wait()
    assert call.journal.endings == [("handed_over", Then.RESUME)]


def test_a_call_that_is_drained_before_it_is_answered_is_still_answered_and_then_handed_over(
    calls: Calls,
) -> None:
    call = calls()
    call.ref.tell(Drain())
    socket = call.talk()
    say(socket, "resp_g", "item_g", "Hello there.", None)
    call.play()
    call.wait()
    assert call.journal.endings == [("handed_over", Then.RESUME)]


# Limits


def test_a_call_that_has_lasted_long_enough_says_goodbye_and_ends_when_that_was_heard(
    calls: Calls,
) -> None:
    call = calls(limits=CallLimits(max_minutes=10))
    socket = call.greet()
    assert call.clock.expire(LIMIT) == 600
    assert "it has lasted as long as a call may" in instructions(socket)
    say(socket, "resp_b", "item_b", "Goodbye.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()
    assert call.journal.endings == [("ended", Then.HANG_UP)]


def test_a_goodbye_that_is_not_heard_is_not_waited_for_for_ever(calls: Calls) -> None:
    call = calls(limits=CallLimits(max_minutes=10))
    call.greet()
    call.clock.expire(LIMIT)
    over = Departure("ended with a goodbye, because it has lasted as long as a call may", Outcome.ENDED)
    call.settle()
    call.actor._talk._audible_until -= GAP_SECONDS
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.GOODBYE, over)) == GOODBYE_SECONDS
    call.wait()
    assert "it was not heard" in str(call.journal.wait_for("ended")["reason"])


def test_a_goodbye_that_a_lost_session_has_not_said_is_said_by_the_next(
    logs: ExpectedLogs, calls: Calls
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls(limits=CallLimits(max_minutes=10))
    first = call.greet()
    call.clock.expire(LIMIT)
    instructions(first)
    first.end("lost: reset")
    call.clock.expire(RETRY)
    second = call.connect(2)
    items(second, 1)
    assert "it has lasted as long as a call may" in instructions(second)


def test_a_goodbye_is_said_although_the_caller_was_speaking_when_the_time_was_up(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.turns.IN_FLIGHT_SECONDS", 0.0)  # nobody speaks as briefly as this test
    call = calls(limits=CallLimits(max_minutes=10))
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    call.clock.expire(LIMIT)
    call.settle()
    socket.say(speech_stopped("item_u"), committed("item_u", "item_g"))
    say(socket, "resp_1", "item_a", "At nine.", "item_u")
    assert "it has lasted as long as a call may" in instructions(socket)
    call.play()
    say(socket, "resp_b", "item_b", "Goodbye.", "item_a")
    call.play()
    call.wait()
    assert call.journal.endings == [("ended", Then.HANG_UP)]


def test_a_call_whose_budget_is_used_up_says_goodbye(calls: Calls) -> None:
    prices = Prices(text_in=0, text_cached=0, text_out=0, audio_in=0, audio_cached=0, audio_out=100)
    call = calls(prices=prices, limits=CallLimits(budget=1.0), cost=0.5)
    socket = call.greet()
    usage = {"usage": {"output_token_details": {"audio_tokens": 4000}}}
    voice = delta("resp_1", "item_a", 400), delta("resp_2", "item_b", 400)
    socket.say(response_created("resp_1"), voice[0], response_done("resp_1", **usage))
    wait_until(lambda: call.journal.cost > 0, "it was journalled")
    assert call.journal.cost == pytest.approx(0.4)
    assert socket.sent() == []
    socket.say(response_created("resp_2"), voice[1], response_done("resp_2", **usage))
    assert "the budget for one call is used up" in instructions(socket)
    assert call.journal.cost == pytest.approx(0.8)
