"""PhoneReader: what it tells whom of one media stream, and what it keeps for a session to come."""

import base64
import threading
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import CallerAudio, DigitPressed, MarkEchoed, StreamStopped
from actors.phone_reader import KEPT_SECONDS, KEPT_SPEECH_SECONDS, PhoneReader
from tests.probe import PATIENCE_SECONDS, Probe
from wire.protocol import ProtocolError

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
FRAME = base64.b64encode(b"\x7f" * 160).decode()


class Reader:
    """A PhoneReader with probes where its actors would be."""

    def __init__(self) -> None:
        self.call, self.phone, self.model = Probe("call"), Probe("phone"), Probe("model")
        self.listeners = Probe("listeners")
        self.reader = PhoneReader(STREAM, self.call, self.phone, self.listeners)
        self.reader.attach(self.model)
        self.frames = 0

    def receive(self, event: str, **fields: Any) -> None:
        self.reader.receive(orjson.dumps({"event": event, "streamSid": STREAM, **fields}).decode())

    def hear(self, frames: int) -> list[str]:
        """The caller speaks: so many frames of 20 ms, each another. Returns their payloads."""
        payloads = []
        for _ in range(frames):
            ulaw = self.frames.to_bytes(4, "big") * 40
            payloads.append(base64.b64encode(ulaw).decode())
            media = {"track": "inbound", "timestamp": str(20 * self.frames), "payload": payloads[-1]}
            self.receive("media", media=media)
            self.frames += 1
        return payloads

    def told(self) -> list[list[Any]]:
        return [probe.told() for probe in (self.call, self.phone, self.model)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def payloads(probe: Probe) -> list[str]:
    return [message.payload for message in probe.told()]


def test_a_frame_lasts_as_long_as_its_audio_and_not_as_long_as_usual(reader: Reader) -> None:
    payload = base64.b64encode(b"\xff" * 100).decode()
    reader.receive("media", media={"track": "inbound", "chunk": "1", "timestamp": "5", "payload": payload})
    assert reader.model.told() == [CallerAudio(12.5, payload)]


def test_caller_audio_goes_straight_to_the_model_and_unchanged(reader: Reader) -> None:
    reader.receive("media", media={"track": "inbound", "chunk": "1", "timestamp": "5", "payload": FRAME})
    assert reader.told() == [[], [], [CallerAudio(20.0, FRAME)]]


def test_lost_caller_frames_are_made_up_for_with_silence(reader: Reader) -> None:
    """The model's turn detection counts time in audio: without them a pause that was lost never ends a turn."""
    for timestamp in ("0", "20", "80"):
        media = {"track": "inbound", "chunk": "1", "timestamp": timestamp, "payload": FRAME}
        reader.receive("media", media=media)
    *_, model = reader.told()
    silence = CallerAudio(40.0, base64.b64encode(b"\xff" * 320).decode())
    assert model == [CallerAudio(20.0, FRAME)] * 2 + [silence, CallerAudio(20.0, FRAME)]


def test_marks_go_to_the_phone_and_control_to_the_call(reader: Reader) -> None:
    reader.receive("mark", mark={"name": "0-1"})
    reader.receive("dtmf", dtmf={"track": "inbound_track", "digit": "#"})
    reader.receive("stop", stop={})
    call, phone, model = reader.told()
    assert call[0] == DigitPressed("#")
    assert isinstance(call[1], StreamStopped)
    assert call[1].by_twilio
    assert (phone, model) == ([MarkEchoed("0-1")], [])


def test_listeners_hear_the_caller_too(reader: Reader) -> None:
    assert reader.hear(3) == payloads(reader.listeners)


def test_unknown_events_are_ignored(reader: Reader) -> None:
    reader.receive("weather", weather={})
    assert reader.told() == [[], [], []]


def test_dead_actors_do_not_disturb_the_reader(reader: Reader) -> None:
    for probe in (reader.call, reader.phone, reader.model):
        probe.die()
    reader.receive("mark", mark={"name": "0-1"})
    reader.receive("media", media={"timestamp": "5", "payload": "AAAA"})
    reader.receive("stop")
    reader.reader.attach(reader.model, since=0.0)


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


# What is kept for another session


def test_what_a_lost_session_did_not_answer_goes_to_the_next_one_and_then_what_follows(
    reader: Reader,
) -> None:
    reader.hear(3)
    *_, last_of_all = reader.model.told()
    unanswered = reader.hear(4)
    since = reader.model.told()[0].arrived_at
    assert last_of_all.arrived_at < since
    reader.reader.attach(following := Probe("next model"), since)
    assert payloads(following) == unanswered
    assert reader.hear(2) == payloads(following)
    assert reader.model.told() == []


def test_without_a_session_the_caller_is_kept(reader: Reader) -> None:
    reader.reader.attach(None)
    kept = reader.hear(5)
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == kept
    assert reader.model.told() == []


def test_whether_the_caller_is_loud_is_told_with_the_audio_also_when_it_is_heard_again(
    reader: Reader,
) -> None:
    """The model's actor does not look at the audio: a caller of whom nobody knew would be left without an answer."""
    for number, ulaw in enumerate((b"\x00" * 160, b"\xff" * 160)):
        payload = base64.b64encode(ulaw).decode()
        reader.receive("media", media={"track": "inbound", "timestamp": str(20 * number), "payload": payload})
    assert [audio.loud for audio in reader.model.told()] == [True, False]
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert [audio.loud for audio in following.told()] == [True, False]


def test_who_is_muted_is_not_loud(reader: Reader) -> None:
    reader.reader.mute(True)
    payload = base64.b64encode(b"\x00" * 160).decode()
    reader.receive("media", media={"track": "inbound", "timestamp": "0", "payload": payload})
    assert [audio.loud for audio in reader.model.told()] == [False]


def test_a_session_that_takes_over_between_turns_hears_nothing_of_before(reader: Reader) -> None:
    reader.hear(5)
    reader.reader.attach(following := Probe("next model"))
    assert following.told() == []


def test_what_was_kept_is_kept_still_for_the_session_after_the_next(reader: Reader) -> None:
    said = reader.hear(5)
    for _ in range(3):
        reader.reader.attach(following := Probe("next model"), since=0.0)
        assert payloads(following) == said


def test_only_the_latest_is_kept_and_more_of_it_while_the_caller_speaks(reader: Reader) -> None:
    said = reader.hear(2000)
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == said[-int(KEPT_SECONDS * 50) :]
    reader.reader.keep(KEPT_SPEECH_SECONDS)
    said = said[-int(KEPT_SECONDS * 50) :] + reader.hear(500)
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == said
    said += reader.hear(1000)
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == said[-int(KEPT_SPEECH_SECONDS * 50) :]
    reader.reader.keep(KEPT_SECONDS)
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == said[-int(KEPT_SECONDS * 50) :]


@given(st.lists(st.tuples(st.sampled_from(["hear", "keep"]), st.integers(0, 200)), max_size=20))
def test_as_much_is_kept_as_was_asked_for_or_spoken_since(steps: list[tuple[str, int]]) -> None:
    reader = Reader()
    expected: list[str] = []
    frames = int(KEPT_SECONDS * 50)
    for action, amount in steps:
        if action == "hear":
            expected += reader.hear(amount)
        else:
            frames = amount
            reader.reader.keep(amount / 50)
        expected = expected[max(len(expected) - frames, 0) :]
    reader.reader.attach(following := Probe("next model"), since=0.0)
    assert payloads(following) == expected


def test_a_session_that_takes_over_in_mid_word_hears_each_frame_once_and_in_order(reader: Reader) -> None:
    """The stream is read while the call attaches another session: neither a gap nor an echo of a frame."""
    reader.reader.keep(60.0)
    said: list[str] = []
    talking = threading.Thread(target=lambda: said.extend(reader.hear(2000)), name="caller")
    models = [Probe(f"model {number}") for number in range(20)]
    talking.start()
    for model in models:
        reader.reader.attach(model, since=0.0)
    talking.join(PATIENCE_SECONDS)
    assert not talking.is_alive()
    for model in models[:-1]:
        heard = payloads(model)
        assert heard == said[: len(heard)]
    assert payloads(models[-1]) == said


def test_the_call_does_not_wait_for_a_model_that_the_reader_waits_for(reader: Reader) -> None:
    """The CallActor is who cuts the socket of a model that takes nothing."""
    told, go_on = threading.Event(), threading.Event()
    went_on: list[bool] = []

    class Slow(Probe):
        def lend(self, *messages: object) -> None:
            told.set()
            went_on.append(go_on.wait(PATIENCE_SECONDS))

    reader.reader.attach(Slow())
    reading = threading.Thread(target=reader.hear, args=(1,))
    reading.start()
    assert told.wait(PATIENCE_SECONDS)
    reader.reader.attach(None)
    go_on.set()
    reading.join(PATIENCE_SECONDS)
    assert went_on == [True]
