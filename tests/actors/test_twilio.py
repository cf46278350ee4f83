"""TwilioActor and PhoneReader: what the caller hears, what goes out in which order, what was cut off."""

import base64
from typing import Any

import orjson
import pytest

from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Attach,
    CallerAudio,
    CutOff,
    DigitPressed,
    Exited,
    Interrupt,
    MarkEchoed,
    StreamStopped,
)
from actors.twilio import PhoneReader, TwilioActor
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, Probe
from wire.playback import Heard, Part
from wire.protocol import ProtocolError

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
A, B = Part("item_a", 0), Part("item_b", 0)


class Phone:
    """An unstarted TwilioActor with everything around it, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parent = Probe("call")
        self.model = Probe("model")
        self.socket = FakeMediaSocket()
        self.actor = TwilioActor(self.parent, "CA1", STREAM, self.socket, clock=lambda: self.now)
        self.handle(Attach(self.model))

    def handle(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def take_from_mailbox(self, *messages: Any) -> None:
        """Put all of them into the mailbox before the first is handled."""
        for message in messages:
            self.actor.actor_ref.tell(message)
        while not self.actor.mailbox.empty():
            self.actor.on_receive(self.actor.mailbox.get().message)

    def events(self) -> list[str]:
        return [message["event"] for message in self.socket.sent()]


@pytest.fixture
def phone() -> Phone:
    return Phone()


def audio(part: Part = A, duration_ms: float = 200, response: str = "resp_1") -> AssistantAudio:
    payload = base64.b64encode(b"\xff" * int(duration_ms * 8)).decode()
    return AssistantAudio(duration_ms, response, part, payload)


def test_audio_goes_out_unchanged_with_a_mark_behind_it(phone: Phone) -> None:
    piece = audio()
    phone.handle(piece)
    media, mark = phone.socket.sent()
    assert media == {"event": "media", "streamSid": STREAM, "media": {"payload": piece.payload}}
    assert mark["event"] == "mark"
    assert mark["streamSid"] == STREAM


def test_marks_are_unique_over_interruptions(phone: Phone) -> None:
    for number in range(5):
        for _ in range(4):
            phone.handle(audio(Part(f"item_{number}", 0), response=f"resp_{number}"))
        phone.handle(Interrupt(frozenset({f"resp_{number}"})))
    marks = [message["mark"]["name"] for message in phone.socket.sent() if message["event"] == "mark"]
    assert len(marks) == len(set(marks)) == 20


def test_an_interruption_overtakes_waiting_audio_and_its_clear_goes_out_first(phone: Phone) -> None:
    phone.handle(audio())
    phone.socket.sent()
    phone.take_from_mailbox(
        audio(), audio(), audio(B, response="resp_2"), Interrupt(frozenset({"resp_1"})), MarkEchoed("0-1")
    )
    assert phone.events() == ["clear", "media", "mark"]


def test_an_interruption_when_nothing_is_playing_sends_and_reports_nothing(phone: Phone) -> None:
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.model.told() == []


def test_an_interruption_after_everything_was_heard_sends_and_reports_nothing(phone: Phone) -> None:
    """protocol-gotchas 12"""
    phone.handle(audio(), AssistantAudioDone(0.0, A))
    mark = phone.socket.sent()[-1]["mark"]["name"]
    phone.now += 0.25
    phone.handle(MarkEchoed(mark), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.model.told() == []


def test_generation_that_ended_long_before_playback_does_not_spare_the_clear(phone: Phone) -> None:
    """protocol-gotchas 8"""
    for _ in range(50):
        phone.handle(audio())
    phone.handle(AssistantAudioDone(0.0, A))
    phone.socket.sent()
    phone.now += 3.0
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["clear"]
    assert phone.model.expect(CutOff) == CutOff((Heard(A, 3000),))


def test_what_was_cut_off_is_told_to_the_millisecond(phone: Phone) -> None:
    phone.handle(audio(A, 3000), audio(B, 4000))
    phone.now += 4.256
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.model.told() == [CutOff((Heard(A, 3000), Heard(B, 1256)))]


def test_the_round_trip_of_the_marks_is_taken_into_account(phone: Phone) -> None:
    phone.handle(audio(A, 1000), audio(A, 4000))
    mark = phone.socket.sent()[1]["mark"]["name"]
    phone.now += 1.125  # 125 ms of it were on the way
    phone.handle(MarkEchoed(mark))
    phone.now += 0.5
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.model.told() == [CutOff((Heard(A, 1625),))]


def test_echoes_of_cleared_marks_mean_nothing(phone: Phone) -> None:
    """protocol-gotchas 10"""
    for _ in range(5):
        phone.handle(audio())
    cleared = [message["mark"]["name"] for message in phone.socket.sent() if message["event"] == "mark"]
    phone.handle(Interrupt(frozenset({"resp_1"})))
    phone.model.told()
    phone.handle(audio(B, 5000, "resp_2"), *(MarkEchoed(name) for name in cleared))
    phone.now += 1.0
    phone.handle(Interrupt(frozenset({"resp_2"})))
    assert phone.model.told() == [CutOff((Heard(B, 1000),))]
    assert phone.events() == ["clear", "media", "mark", "clear"]


def test_audio_of_a_dead_response_in_the_mailbox_is_dropped_and_reported_unheard_once(phone: Phone) -> None:
    phone.take_from_mailbox(audio(), audio(), audio(), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.model.told() == [CutOff((Heard(A, 0),))]
    phone.handle(audio())
    assert phone.model.told() == []


def test_late_audio_of_a_part_that_was_cut_off_does_not_report_it_again(phone: Phone) -> None:
    """protocol-gotchas 11"""
    phone.handle(audio(A, 3000))
    phone.now += 1.0
    phone.handle(Interrupt(frozenset({"resp_1"})), audio(), audio())
    assert phone.model.told() == [CutOff((Heard(A, 1000),))]
    assert phone.events() == ["media", "mark", "clear"]


def test_a_dead_response_stays_dead_after_the_next_interruption(phone: Phone) -> None:
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})), Interrupt(frozenset({"resp_2"})))
    phone.socket.sent()
    phone.handle(audio())
    assert phone.events() == []


def test_the_next_response_is_played_after_an_interruption(phone: Phone) -> None:
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})))
    phone.socket.sent()
    phone.handle(audio(B, response="resp_2"))
    assert phone.events() == ["media", "mark"]


def test_without_a_model_an_interruption_still_clears(phone: Phone) -> None:
    phone.model.die()
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["media", "mark", "clear"]


def test_a_socket_that_refuses_stops_the_stream_once_and_harms_nothing(phone: Phone) -> None:
    phone.socket.refusal = BrokenPipeError("the caller is gone")
    phone.handle(audio(), audio(), Interrupt(frozenset({"resp_1"})))
    stopped = phone.parent.expect(StreamStopped)
    assert "the caller is gone" in stopped.reason
    assert phone.parent.told() == []


def test_the_socket_is_closed_with_code_1000_when_the_actor_stops() -> None:
    parent, socket = Probe(), FakeMediaSocket()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.stop(timeout=PATIENCE_SECONDS)
    assert socket.journal == ["phone closed 1000"]
    assert parent.expect(Exited) == Exited(ref, None)


def test_audio_behind_a_stalled_phone_is_bounded_and_its_loss_is_logged(logs: ExpectedLogs) -> None:
    logs.expect("CA1: 2000 ms of the assistant's audio were dropped")
    parent, socket = Probe(), FakeMediaSocket()
    socket.block()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.tell(audio())
    assert socket.sending.wait(PATIENCE_SECONDS)
    for number in range(61):
        ref.tell(AssistantAudio(2000, "resp_1", Part(f"item_{number}", 0), "AAAA"))
    stopped = ref.stop(block=False)
    socket.unblock()
    stopped.get(timeout=PATIENCE_SECONDS)
    parent.expect(Exited)


def test_control_reaches_a_busy_phone_before_its_backlog() -> None:
    parent, model, socket = Probe(), Probe(), FakeMediaSocket()
    socket.block()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.tell(Attach(model))
    ref.tell(audio())
    assert socket.sending.wait(PATIENCE_SECONDS)
    for _ in range(50):
        ref.tell(audio())
    ref.tell(Interrupt(frozenset({"resp_1"})))
    socket.unblock()
    assert [socket.expect(event)["event"] for event in ("media", "mark", "clear")]
    model.expect(CutOff)
    ref.stop(timeout=PATIENCE_SECONDS)
    assert socket.sent() == []


class Reader:
    """A PhoneReader with probes where its actors would be."""

    def __init__(self) -> None:
        self.call, self.phone, self.model = Probe("call"), Probe("phone"), Probe("model")
        self.reader = PhoneReader(STREAM, self.call, self.phone, self.model)

    def receive(self, event: str, **fields: Any) -> None:
        self.reader.receive(orjson.dumps({"event": event, "streamSid": STREAM, **fields}).decode())

    def told(self) -> list[list[Any]]:
        return [probe.told() for probe in (self.call, self.phone, self.model)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_caller_audio_goes_straight_to_the_model_and_unchanged(reader: Reader) -> None:
    payload = base64.b64encode(b"\x7f" * 160).decode()
    reader.receive("media", media={"track": "inbound", "chunk": "1", "timestamp": "5", "payload": payload})
    assert reader.told() == [[], [], [CallerAudio(20.0, payload)]]


def test_lost_caller_frames_are_made_up_for_with_silence(reader: Reader) -> None:
    """The model's turn detection counts time in audio: without them a pause that was lost never ends a turn."""
    payload = base64.b64encode(b"\x7f" * 160).decode()
    for timestamp in ("0", "20", "80"):
        media = {"track": "inbound", "chunk": "1", "timestamp": timestamp, "payload": payload}
        reader.receive("media", media=media)
    *_, model = reader.told()
    silence = CallerAudio(40.0, base64.b64encode(b"\xff" * 320).decode())
    assert model == [CallerAudio(20.0, payload)] * 2 + [silence, CallerAudio(20.0, payload)]


def test_marks_go_to_the_phone_and_control_to_the_call(reader: Reader) -> None:
    reader.receive("mark", mark={"name": "0-1"})
    reader.receive("dtmf", dtmf={"track": "inbound_track", "digit": "#"})
    reader.receive("stop", stop={})
    call, phone, model = reader.told()
    assert call[0] == DigitPressed("#")
    assert isinstance(call[1], StreamStopped)
    assert (phone, model) == ([MarkEchoed("0-1")], [])


def test_unknown_events_are_ignored(reader: Reader) -> None:
    reader.receive("weather", weather={})
    assert reader.told() == [[], [], []]


def test_dead_actors_do_not_disturb_the_reader(reader: Reader) -> None:
    for probe in (reader.call, reader.phone, reader.model):
        probe.die()
    reader.receive("mark", mark={"name": "0-1"})
    reader.receive("media", media={"timestamp": "5", "payload": "AAAA"})
    reader.receive("stop")


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"connected"}',
        orjson.dumps({"event": "mark", "streamSid": "MZother", "mark": {"name": "x"}}).decode(),
        '{"event":"media","media":{"timestamp":"1","payload":"AA\\u0022"}}',
        b'{"event":"stop"}',
        "garbage",
    ],
)
def test_what_is_no_message_of_this_stream_is_refused_and_told_nobody(
    reader: Reader, text: str | bytes
) -> None:
    with pytest.raises(ProtocolError):
        reader.reader.receive(text)
    assert reader.told() == [[], [], []]


def test_a_second_start_in_the_middle_of_a_stream_is_refused(reader: Reader) -> None:
    start = {
        "accountSid": "AC1",
        "streamSid": STREAM,
        "callSid": "CA1",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    with pytest.raises(ProtocolError, match="start in the middle"):
        reader.receive("start", start=start)
