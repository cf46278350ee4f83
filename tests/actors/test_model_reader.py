"""ModelReader: what it tells whom, how it says that a session ended, and what it notices about the audio."""

import base64
import threading
import time
from typing import Any

import pytest

from actors.messages import AssistantAudio, AssistantAudioDone, AssistantAudioReceived, SocketLost
from actors.model_reader import ModelReader
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeModelSocket, Probe, wait_until
from wire import realtime
from wire.audio_format import PCM24, PCMU, AudioFormat
from wire.dialect import Session
from wire.playback import Part

PART = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}


def delta(audio: bytes) -> dict[str, Any]:
    return {"type": "response.output_audio.delta", **PART, "delta": base64.b64encode(audio).decode()}


def done(audio_tokens: int, status: str = "completed") -> dict[str, Any]:
    usage = {"output_token_details": {"audio_tokens": audio_tokens}}
    return {"type": "response.done", "response": {"id": "resp_1", "status": status, "usage": usage}}


class Reading:
    """A reader that has run to its end in this thread, and what it told whom."""

    def __init__(
        self,
        *events: dict[str, Any] | str | None,
        audio: AudioFormat = PCMU,
        end: str = "closed with code 1000",
    ) -> None:
        """`events`: what the server says, and None for a pong; then it ends the connection."""
        self.socket, actor, phone, call = FakeModelSocket(), Probe("model"), Probe("phone"), Probe("call")
        for event in events:
            self.socket.say_pong() if event is None else self.socket.say(event)
        self.socket.end(end, permanent="3000" in end)
        session = Session("Be brief.", "marin", {"type": "server_vad"}, audio=audio)
        self.reader = ModelReader(self.socket, session, actor, phone, call, "CA1")
        self.reader.run()
        *self.actor, self.lost = actor.told()
        self.phone, self.call = phone.told(), call.told()
        assert isinstance(self.lost, SocketLost)


def read(*events: dict[str, Any], audio: AudioFormat = PCMU) -> list[object]:
    """What the phone is told."""
    return Reading(*events, audio=audio).phone


# Who is told what


def saying(text: str, item_id: str = "item_a") -> dict[str, Any]:
    part = PART | {"item_id": item_id}
    return {"type": "response.output_audio_transcript.delta", **part, "delta": text}


def said(text: str) -> dict[str, Any]:
    return {"type": "response.output_audio_transcript.done", **PART, "transcript": text}


def test_of_a_response_that_ends_it_is_told_whether_any_audio_of_it_has_come() -> None:
    reading = Reading(delta(b""), done(0), delta(b"\x00" * 800), done(10), done(0))
    assert [event.silent for event in reading.actor] == [True, False, True]


def test_audio_goes_straight_to_the_phone_with_its_end_behind_it() -> None:
    reading = Reading(
        delta(b"\x00" * 800), delta(b"\x01" * 160), {"type": "response.output_audio.done", **PART}
    )
    part = Part("item_a", 0)
    assert reading.phone == [
        AssistantAudio(100.0, "resp_1", part, base64.b64encode(b"\x00" * 800).decode()),
        AssistantAudio(20.0, "resp_1", part, base64.b64encode(b"\x01" * 160).decode()),
        AssistantAudioDone(0.0, part),
    ]
    assert reading.phone[0].received_at > 0
    assert reading.actor == []


def test_the_call_is_told_how_much_audio_there_is_of_a_part() -> None:
    """The phone's actor may be stuck with a phone that takes nothing, and a text stands for all of its audio."""
    done = {"type": "response.output_audio.done", **PART}
    reading = Reading(delta(b"\x00" * 800), delta(b"\x01" * 160), done, delta(b"\x00" * 80), done)
    part = Part("item_a", 0)
    assert reading.call == [AssistantAudioReceived(part, 120), AssistantAudioReceived(part, 10)]


def test_audio_without_a_byte_of_audio_is_not_passed_on() -> None:
    """A media message without a payload is an error to Twilio."""
    assert read(delta(b"")) == []


def test_the_call_keeps_the_conversation_and_the_session_what_it_acts_upon() -> None:
    call = {
        "id": "item_f",
        "type": "function_call",
        "status": "completed",
        "name": "hours",
        "call_id": "call_1",
        "arguments": "{}",
    }
    reading = Reading(
        {"type": "session.created", "session": {"expires_at": 1756324832}},
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_u"},
        {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": "item_u"},
        {
            "type": "conversation.item.added",
            "previous_item_id": "item_u",
            "item": {"id": "item_a", "type": "message", "role": "assistant"},
        },
        {"type": "conversation.item.deleted", "item_id": "item_u"},
        said("Good day."),
        {"type": "response.output_item.done", "response_id": "resp_1", "item": call},
        {"type": "rate_limits.updated", "rate_limits": []},
    )
    assert reading.actor == [
        realtime.SessionCreated(1756324832.0),
        realtime.SpeechStarted(0, "item_u"),
        realtime.FunctionCall("resp_1", "item_f", "call_1", "hours", "{}"),
    ]
    assert reading.call == [
        realtime.AudioCommitted("item_u", None),
        realtime.ItemAdded("item_a", "item_u", "assistant", "message"),
        realtime.ItemDeleted("item_u"),
        realtime.AssistantTranscript("item_a", 0, "Good day."),
    ]
    assert reading.phone == []


def test_words_that_come_one_by_one_are_told_together() -> None:
    """Each one told would wake a thread, some twenty times a second."""
    words = [f"{number} " for number in range(100)]
    reading = Reading(*map(saying, words), done(audio_tokens=0))
    assert all(isinstance(told, realtime.AssistantTranscriptDelta) for told in reading.call)
    assert "".join(told.text for told in reading.call) == "".join(words)
    assert len(reading.call) < 10


def test_words_of_several_items_are_told_apart_and_in_order() -> None:
    reading = Reading(saying("One "), saying("two "), saying("three ", "item_b"), saying("four", "item_b"))
    told = dict.fromkeys(("item_a", "item_b"), "")
    for delta in reading.call:
        told[delta.item_id] += delta.text
    assert told == {"item_a": "One two ", "item_b": "three four"}


def test_a_whole_text_makes_words_that_wait_pointless() -> None:
    reading = Reading(saying("One "), saying("two"), said("One two."))
    assert reading.call[-1] == realtime.AssistantTranscript("item_a", 0, "One two.")
    assert "two" not in "".join(told.text for told in reading.call[:-1])


# How a session ends


def test_words_that_wait_are_told_when_the_session_is_lost() -> None:
    """They are what another session goes on with."""
    reading = Reading(saying("One "), saying("two "), saying("three"), end="lost: reset")
    assert "".join(told.text for told in reading.call) == "One two three"


@pytest.mark.parametrize(
    ("end", "permanent"),
    [("closed with code 1011 internal", False), ("closed with code 3000 invalid_api_key", True)],
)
def test_how_the_socket_ended_is_told_and_whether_it_would_again(end: str, permanent: bool) -> None:
    assert Reading(end=end).lost == SocketLost(f"model socket {end}", permanent)


def test_a_socket_that_cannot_be_opened_is_told_in_the_same_way() -> None:
    socket, actor = FakeModelSocket(), Probe("model")
    socket.refusal = "refused with HTTP status 503"
    session = Session("Be brief.", "marin", {"type": "server_vad"})
    ModelReader(socket, session, actor, None, None, "CA1").run()
    assert actor.told() == [SocketLost("model socket refused with HTTP status 503")]


@pytest.mark.parametrize("garbage", ["{", '{"type": 7}', '{"type": "response.done"}', '["type"]'])
def test_what_is_no_event_ends_the_session_and_another_may_do_better(garbage: str) -> None:
    lost = Reading(garbage, end="never got to").lost
    assert "model sent what is not a Realtime event" in lost.reason
    assert not lost.permanent


def test_a_reader_that_fails_itself_says_so_and_ends(logs: ExpectedLogs) -> None:
    logs.expect("CA1: the model's reader failed")

    class Broken(FakeModelSocket):
        def receive(self) -> str:
            raise ZeroDivisionError

    actor = Probe("model")
    session = Session("Be brief.", "marin", {"type": "server_vad"})
    ModelReader(Broken(), session, actor, None, None, "CA1").run()
    assert actor.told() == [SocketLost("the model's reader failed: ZeroDivisionError")]


def test_a_pong_is_a_sign_of_life_and_nothing_else() -> None:
    before = time.monotonic()
    reading = Reading(None, None)
    assert reading.actor == reading.call == reading.phone == []
    assert before <= reading.reader.heard_at <= time.monotonic()


def test_when_the_server_last_said_anything_is_known_while_it_is_silent() -> None:
    socket, actor = FakeModelSocket(), Probe("model")
    reader = ModelReader(
        socket, Session("Be brief.", "marin", {"type": "server_vad"}), actor, None, None, "CA1"
    )
    thread = threading.Thread(target=reader.run, name="model reader", daemon=True)
    made_at = reader.heard_at
    thread.start()
    try:
        socket.say_pong()
        wait_until(lambda: reader.heard_at > made_at, "a pong was read")
        pong_at = reader.heard_at
        socket.say({"type": "rate_limits.updated"})
        wait_until(lambda: reader.heard_at > pong_at, "an event was read")
    finally:
        socket.abort()
        thread.join(PATIENCE_SECONDS)


# The audio's format


def test_pcm_reaches_the_phone_as_mu_law_of_the_same_length_before_the_end_of_its_part() -> None:
    pytest.importorskip("samplerate", reason="the extra pcm is not installed")
    one_second = bytes(48_000)
    told = read(
        delta(one_second[:10_001]),
        delta(one_second[10_001:]),
        {"type": "response.output_audio.done", **PART},
        audio=PCM24,
    )
    assert told[-1] == AssistantAudioDone(0.0, Part("item_a", 0))
    audio = [message for message in told if isinstance(message, AssistantAudio)]
    assert sum(message.duration_ms for message in audio) == 1000
    assert len(base64.b64decode("".join(message.payload for message in audio[:1]))) % 160 == 0


def test_audio_that_is_far_too_long_for_its_tokens_is_reported(logs: ExpectedLogs) -> None:
    """protocol-gotchas 5: a session that says mu-law and sends PCM is loud static in the caller's ear."""
    logs.expect("CA1: the model's audio cannot be in the format .* 6.0 times what was billed")
    read(delta(bytes(48 * 3000)), done(audio_tokens=60))


@pytest.mark.parametrize(
    ("milliseconds", "tokens", "status"), [(3000, 60, "completed"), (18_000, 60, "cancelled")]
)
def test_audio_that_fits_and_answers_that_were_cut_off_are_not_reported(
    milliseconds: int, tokens: int, status: str
) -> None:
    read(delta(bytes(8 * milliseconds)), done(tokens, status))


def test_an_mcp_server_that_does_not_work_is_said_in_the_log(logs: ExpectedLogs) -> None:
    logs.expect("MCP: a server's tools cannot be listed")
    fields = {"item_id": "item_m", "response_id": "resp_1", "output_index": 0}
    reading = Reading(
        {"type": "mcp_list_tools.in_progress", "item_id": "item_l"},
        {"type": "mcp_list_tools.failed", "item_id": "item_l"},
        {"type": "response.mcp_call_arguments.delta", **fields, "delta": "{}"},
        {"type": "response.mcp_call_arguments.done", **fields, "arguments": "{}"},
        {"type": "response.mcp_call.in_progress", **fields},
        {"type": "response.mcp_call.failed", **fields},
    )
    assert reading.actor == [realtime.McpCall("resp_1", "item_m"), realtime.McpCallEnded("item_m")]
    assert (reading.phone, reading.call) == ([], [])
