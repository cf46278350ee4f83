"""Threads that are lent to an actor: one at a time, nothing overtaken, nothing lost, and no reader held up."""

import base64
import gc
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pykka import ActorRef
from pykka._envelope import Envelope

from actors.mailbox import Mailbox
from actors.member import LENT_MS, Member, lend, post
from actors.messages import (
    AssistantAudio,
    Audio,
    Begin,
    CallerAudio,
    Exited,
    Interrupt,
    MarkEchoed,
)
from actors.model_reader import ModelReader
from actors.model_socket import ModelSocketError
from actors.openai import OpenAIActor
from actors.phone_reader import PhoneReader
from actors.send_buffer import ROOM_BYTES
from actors.twilio import TwilioActor
from tests.actors.parts import SESSION
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, FakeModelSocket, HandClock, Probe, wait_until
from wire.dialect import OPENAI
from wire.playback import Part
from wire.protocol import ProtocolError

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
FRAME = base64.b64encode(b"\x20" * 160).decode()
A = Part("item_a", 0)


class Borrower(Member):
    """Borrows threads, and writes down who ran it with what. No two threads may ever do so at once."""

    def __init__(self, during: Callable[[Any], None] | None = None) -> None:
        super().__init__(None, "CA1")
        self.handled: list[tuple[str, str]] = []
        self.room = True
        self.during = during or (lambda message: None)
        self.collisions = 0
        self._running = threading.Lock()
        self.mailbox.borrow_threads(self.on_receive, lambda: self.room)

    def handle(self, message: Any) -> Any:
        if not isinstance(message, CallerAudio | MarkEchoed):
            return super().handle(message)
        if not self._running.acquire(blocking=False):
            self.collisions += 1
            return None
        try:
            self.handled.append((name_of(message), threading.current_thread().name))
            self.during(message)
        finally:
            self._running.release()


def name_of(message: Audio | MarkEchoed) -> str:
    return message.name if isinstance(message, MarkEchoed) else str(getattr(message, "payload", ""))


def audio(name: str) -> CallerAudio:
    return CallerAudio(20.0, name)


@pytest.fixture
def start() -> Iterator[Callable[..., Borrower]]:
    """Start a Borrower, and wait until it has nothing to do."""
    refs: list[ActorRef[Any]] = []

    def start(during: Callable[[Any], None] | None = None) -> Borrower:
        ref = Borrower.start(during)
        refs.append(ref)
        idle(ref)
        actor = actor_of(ref)
        assert isinstance(actor, Borrower)
        return actor

    yield start
    for ref in refs:
        ref.stop(timeout=PATIENCE_SECONDS)


def actor_of(ref: ActorRef[Any]) -> Any:
    return ref._actor_weakref()


def idle(ref: ActorRef[Any]) -> None:
    """Wait until the actor's own thread waits for a message."""
    mailbox = ref.actor_inbox
    assert isinstance(mailbox, Mailbox)
    wait_until(lambda: mailbox.empty() and not mailbox._running.locked(), "it has nothing to do")


HERE = threading.current_thread().name
OWN = "Borrower CA1"


def test_what_is_lent_to_an_idle_actor_is_handled_by_the_thread_that_tells_it(
    start: Callable[..., Borrower],
) -> None:
    actor = start()
    lend(actor.actor_ref, audio("a"))
    lend(actor.actor_ref, MarkEchoed("m"))
    assert actor.handled == [("a", HERE), ("m", HERE)]


def test_an_actor_that_has_something_to_do_is_not_waited_for(start: Callable[..., Borrower]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def during(message: Any) -> None:
        if name_of(message) == "long":
            begun.set()
            assert go_on.wait(PATIENCE_SECONDS)

    actor = start(during)
    post(actor.actor_ref, audio("long"))
    assert begun.wait(PATIENCE_SECONDS)
    lend(actor.actor_ref, audio("a"))
    assert actor.handled == [("long", OWN)]
    go_on.set()
    wait_until(lambda: len(actor.handled) == 2, "the actor's own thread handles it")
    assert actor.handled == [("long", OWN), ("a", OWN)]


def test_nothing_is_handled_here_that_would_have_to_wait(start: Callable[..., Borrower]) -> None:
    actor = start()
    actor.room = False
    lend(actor.actor_ref, audio("a"))
    wait_until(lambda: len(actor.handled) == 1, "the actor's own thread handles it")
    assert actor.handled == [("a", OWN)]


def test_what_is_lent_does_not_overtake_audio_that_is_held(start: Callable[..., Borrower]) -> None:
    actor = start()
    actor.mailbox.hold_audio()
    lend(actor.actor_ref, audio("a"))
    lend(actor.actor_ref, audio("b"))
    assert actor.handled == []
    actor.mailbox.release_audio()
    wait_until(lambda: len(actor.handled) == 2, "it is let out")
    assert actor.handled == [("a", OWN), ("b", OWN)]


def test_what_comes_while_a_thread_is_lent_is_handled_behind_it_and_by_the_actors_own(
    start: Callable[..., Borrower],
) -> None:
    """Among it what the actor tells itself, and a second thread that is lent meanwhile."""

    def during(message: Any) -> None:
        if name_of(message) != "first":
            return
        other = threading.Thread(target=lend, args=(actor.actor_ref, audio("second")))
        other.start()
        other.join(PATIENCE_SECONDS)
        post(actor.actor_ref, audio("itself"))
        post(actor.actor_ref, MarkEchoed("control"))
        wait_until(lambda: actor.mailbox._wake.qsize() == 2, "the actor's own thread was woken")
        assert actor.handled == [("first", HERE)]

    actor = start(during)
    lend(actor.actor_ref, audio("first"))
    wait_until(lambda: len(actor.handled) == 4, "all of it is handled")
    assert actor.handled == [("first", HERE), ("control", OWN), ("second", OWN), ("itself", OWN)]
    idle(actor.actor_ref)
    lend(actor.actor_ref, audio("later"))
    assert actor.handled[-1] == ("later", HERE)


def test_a_failure_ends_the_actor_and_not_the_thread_that_was_lent(logs: ExpectedLogs) -> None:
    parent = Probe("parent")

    class Breaking(Member):
        def __init__(self) -> None:
            super().__init__(parent, "CA1")
            self.mailbox.borrow_threads(self.on_receive, lambda: True)

        def handle(self, message: Any) -> Any:
            if isinstance(message, CallerAudio):
                raise RuntimeError("broken")
            return super().handle(message)

    logs.expect("failed at CallerAudio")
    ref = Breaking.start()
    idle(ref)
    lend(ref, audio("a"))
    exited = parent.expect(Exited)
    assert str(exited.error) == "broken"
    assert ref.actor_stopped.wait(PATIENCE_SECONDS)
    lend(ref, audio("nobody is there any more"))


@pytest.mark.parametrize("which", ["phone", "model"])
def test_an_actor_that_has_ended_is_kept_in_memory_by_nobody(which: str) -> None:
    """Whoever keeps its ref keeps its mailbox, and as long as there are calls the interpreter looks for no cycles."""
    sockets = Sockets()
    gone = {"phone": sockets.phone, "model": sockets.model}[which]._actor_weakref
    assert gone() is not None
    gc.disable()
    try:
        sockets.end()
        wait_until(lambda: gone() is None, "it is gone")
    finally:
        gc.enable()


def test_who_borrows_no_threads_gets_it_in_its_mailbox() -> None:
    mailbox = Mailbox()
    mailbox.lend(audio("a"))
    assert mailbox.get().message == audio("a")


TOLD = st.lists(
    st.tuples(st.sampled_from(["audio", "control"]), st.sampled_from(["lend", "lend three", "put"])),
    max_size=40,
)


@settings(max_examples=60)
@given(st.lists(TOLD, min_size=2, max_size=4))
def test_whoever_tells_it_whatever_way_nothing_is_lost_or_overtaken_and_one_thread_runs_it(
    tellers: list[list[tuple[str, str]]],
) -> None:
    ref = Borrower.start()
    actor = actor_of(ref)
    begin = threading.Barrier(len(tellers))

    def tell(teller: int, told: list[tuple[str, str]]) -> None:
        begin.wait(PATIENCE_SECONDS)
        for number, (lane, way) in enumerate(told):
            messages = [
                audio(name) if lane == "audio" else MarkEchoed(name)
                for name in names_of(teller, number, lane, way)
            ]
            if way == "put":
                actor.mailbox.put(Envelope(*messages))
            else:
                actor.mailbox.lend(*messages)

    threads = [
        threading.Thread(target=tell, args=each, name=f"teller {each[0]}") for each in enumerate(tellers)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        idle(ref)
    finally:
        ref.stop(timeout=PATIENCE_SECONDS)
    assert actor.collisions == 0
    names = [name for name, _ in actor.handled]
    for teller, told in enumerate(tellers):
        for lane in ("audio", "control"):
            expected = [
                name
                for number, (each, way) in enumerate(told)
                if each == lane
                for name in names_of(teller, number, lane, way)
            ]
            assert [name for name in names if name.startswith(f"{teller} ") and lane in name] == expected


def names_of(teller: int, number: int, lane: str, way: str) -> list[str]:
    return [f"{teller} {number} {lane} {each}" for each in range(3 if way == "lend three" else 1)]


# The two actors that carry audio


class Sockets:
    """A started TwilioActor and OpenAIActor with fakes at their edges, and the threads that wrote to these."""

    def __init__(self) -> None:
        self.call, self.wrote = Probe("call"), queue.SimpleQueue[tuple[str, str]]()
        wrote = self.wrote

        class Media(FakeMediaSocket):
            def send(self, *texts: str) -> None:
                super().send(*texts)
                wrote.put(("phone", threading.current_thread().name))

        class Model(FakeModelSocket):
            room = True

            def has_room(self) -> bool:
                return self.room

            def send(self, *texts: str) -> None:
                super().send(*texts)
                wrote.put(("model", threading.current_thread().name))

        self.media, self.model_socket = Media(), Model()
        self.phone = TwilioActor.start(self.call, "CA1", STREAM, self.media)
        self.model = OpenAIActor.start(
            self.call, "CA1", self.phone, self.model_socket, OPENAI, SESSION, HandClock()
        )
        self.reader = PhoneReader(STREAM, self.call, self.phone)
        self.reader.attach(self.model)
        post(self.model, Begin())
        for ref in (self.phone, self.model):
            idle(ref)

    def hear(self, timestamp_ms: int, more: bool = False, frames: int = 1) -> None:
        payload = base64.b64encode(b"\x7f" * 160 * frames).decode()
        self.reader.receive(
            f'{{"event":"media","streamSid":"{STREAM}","media":'
            f'{{"track":"inbound","timestamp":"{timestamp_ms}","payload":"{payload}"}}}}',
            more,
        )

    def expect_writes(self, *threads: tuple[str, str]) -> None:
        """The next writes: to whom, and in which thread."""
        assert [self.wrote.get(timeout=PATIENCE_SECONDS) for _ in threads] == list(threads)
        assert self.wrote.empty()

    def end(self) -> None:
        self.media.abort()
        for ref in (self.model, self.phone):
            ref.stop(timeout=PATIENCE_SECONDS)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    sockets.end()


def appended(sockets: Sockets) -> list[str]:
    return [event["audio"] for event in sockets.model_socket.sent()]


MODELS_OWN, PHONES_OWN, MODELS_READER = "OpenAIActor CA1", "TwilioActor CA1", "model reader CA1"


def test_a_frame_of_the_callers_wakes_no_thread_on_its_way_to_the_model(sockets: Sockets) -> None:
    sockets.hear(0)
    sockets.expect_writes(("model", HERE))


def test_frames_that_have_queued_up_wake_no_thread_and_go_out_in_one_write(sockets: Sockets) -> None:
    """A server that does not keep up has less to do, not more: else it never would again."""
    sockets.hear(0, more=True)
    sockets.hear(20, more=True)
    sockets.hear(40)
    sockets.expect_writes(("model", HERE))
    assert len(appended(sockets)) == 3


def test_frames_that_have_queued_up_are_not_held_back_by_a_message_that_is_none(sockets: Sockets) -> None:
    sockets.hear(0, more=True)
    with pytest.raises(ProtocolError):
        sockets.reader.receive("{")
    sockets.expect_writes(("model", HERE))


def test_frames_of_several_models_that_have_queued_up_each_go_to_their_own(sockets: Sockets) -> None:
    """A session that takes another's place gets what was kept, and not what was on its way to the other one."""
    successor = Probe("successor")
    sockets.hear(0, more=True)
    sockets.reader.attach(successor)
    sockets.hear(20)
    sockets.expect_writes(("model", HERE))
    assert len(appended(sockets)) == 1
    assert successor.expect(CallerAudio).position_ms == 20


def test_the_phones_reader_does_not_wait_for_a_model_that_takes_nothing(sockets: Sockets) -> None:
    sockets.model_socket.room = False
    sockets.hear(0)
    sockets.expect_writes(("model", MODELS_OWN))


def test_much_audio_at_once_is_left_to_the_models_thread(sockets: Sockets) -> None:
    sockets.hear(0, frames=LENT_MS // 20 + 1)
    sockets.expect_writes(("model", MODELS_OWN))


def test_what_takes_the_place_of_lost_audio_is_lent_in_pieces_that_there_is_room_for(
    sockets: Sockets,
) -> None:
    sockets.hear(0)
    sockets.expect_writes(("model", HERE))
    sockets.hear(20 + 1000)  # a second was lost: ten pieces of 100 ms
    sockets.expect_writes(*[("model", HERE)] * (1000 // LENT_MS + 1))
    assert len(appended(sockets)) == 1 + 10 + 1


def test_an_answer_wakes_no_thread_on_its_way_to_the_phone(sockets: Sockets) -> None:
    sockets.model_socket.say(delta(20))
    sockets.expect_writes(("phone", MODELS_READER))


def test_an_echoed_mark_wakes_no_thread(sockets: Sockets) -> None:
    lend(sockets.phone, AssistantAudio(20.0, "resp_1", A, FRAME))
    lend(sockets.phone, AssistantAudio(20.0, "resp_1", A, FRAME))  # its mark waits for the first one's echo
    sockets.expect_writes(("phone", HERE), ("phone", HERE))
    sockets.media.expect("media")
    mark = sockets.media.expect("mark")["mark"]["name"]
    sockets.reader.receive(f'{{"event":"mark","streamSid":"{STREAM}","mark":{{"name":"{mark}"}}}}')
    sockets.expect_writes(("phone", HERE))


def test_the_models_reader_does_not_wait_for_a_phone_that_takes_nothing(sockets: Sockets) -> None:
    """It has to hear that the caller speaks, whatever the phone does."""
    sockets.media.block()
    lend(sockets.phone, AssistantAudio(20.0, "resp_1", A, FRAME))  # comes back, though nothing can be sent
    assert sockets.media.sending.wait(PATIENCE_SECONDS)
    lend(sockets.phone, AssistantAudio(20.0, "resp_1", A, FRAME))
    post(sockets.phone, Interrupt(frozenset({"resp_1"}), None))
    sockets.media.unblock()
    sockets.media.expect("media")
    sockets.media.expect("mark")
    sockets.media.expect("clear")


def test_what_is_lent_fits_into_the_room_that_has_been_looked_for() -> None:
    """In the format that takes the most: 24 kHz and 16 bits, as base64, and a quarter more for what goes along."""
    assert LENT_MS * 24 * 2 * 4 / 3 * 1.25 <= ROOM_BYTES


def delta(duration_ms: int) -> str:
    payload = base64.b64encode(b"\x7f" * 8 * duration_ms).decode()
    return (
        '{"type":"response.output_audio.delta","response_id":"resp_1","item_id":"item_a","content_index":0,'
        f'"delta":"{payload}"}}'
    )


@pytest.mark.parametrize(
    ("durations_ms", "lent"),
    [
        ([20], [1]),
        ([20, 20, 20], [3]),
        ([LENT_MS], [1]),
        ([LENT_MS + 1], []),
        ([20, LENT_MS + 1, 20], [1, 1]),
        ([120, 80, 20], [2, 1]),
    ],
)
def test_the_models_reader_lends_its_thread_once_for_all_that_came_together_if_it_is_short(
    durations_ms: list[int], lent: list[int]
) -> None:
    phone = read_by_the_models_reader([delta(each) for each in durations_ms])
    assert [phone.expect(AssistantAudio).duration_ms for _ in durations_ms] == durations_ms
    assert phone.lent == lent


def test_the_models_reader_tells_the_phone_of_all_audio_before_anybody_of_what_came_after_it() -> None:
    told: list[str] = []

    class Order(Probe):
        def lend(self, *messages: object) -> None:
            told.append(type(messages[0]).__name__)

        def put(self, envelope: Envelope[Any]) -> None:
            told.append(type(envelope.message).__name__)

    speech = '{"type":"input_audio_buffer.speech_started","audio_start_ms":0,"item_id":"item_b"}'
    read_by_the_models_reader([delta(20), delta(20), speech, delta(20), "{"], phone=Order(), actor=Order())
    assert told == ["AssistantAudio", "SpeechStarted", "AssistantAudio", "SocketLost"]


def read_by_the_models_reader(
    texts: list[str], phone: Probe | None = None, actor: Probe | None = None
) -> Probe:
    """Let it read these, all of which have come already. Returns the phone."""
    left = deque(texts)

    class Socket(FakeModelSocket):
        @property
        def more_came(self) -> bool:
            return bool(left)

        def receive(self) -> str | None:
            if left:
                return left.popleft()
            raise ModelSocketError("over")

    phone = phone or Probe("phone")
    ModelReader(Socket(), SESSION, actor or Probe(), phone, Probe(), "CA1").run()
    return phone
