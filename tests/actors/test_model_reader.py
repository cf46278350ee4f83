"""What goes to the phone of a session that speaks PCM, and what is noticed about audio of the wrong length."""

import base64

import pytest

from actors.messages import AssistantAudio, AssistantAudioDone, SocketLost
from actors.model_reader import ModelReader
from tests.conftest import ExpectedLogs
from tests.probe import FakeModelSocket, Probe
from wire.audio_format import PCM24, PCMU, AudioFormat
from wire.dialect import Session
from wire.playback import Part

PART = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}


def delta(audio: bytes) -> dict[str, object]:
    return {"type": "response.output_audio.delta", **PART, "delta": base64.b64encode(audio).decode()}


def done(audio_tokens: int, status: str = "completed") -> dict[str, object]:
    usage = {"output_token_details": {"audio_tokens": audio_tokens}}
    return {"type": "response.done", "response": {"id": "resp_1", "status": status, "usage": usage}}


def read(*events: dict[str, object], audio: AudioFormat = PCMU) -> list[object]:
    """What a reader tells the phone, in this thread."""
    socket, actor, phone = FakeModelSocket(), Probe("model"), Probe("phone")
    socket.say(*events)
    socket.end("closed with code 1000")
    session = Session("Be brief.", "marin", {"type": "server_vad"}, audio=audio)
    ModelReader(socket, session, actor, phone, "CA1").run()
    assert isinstance(actor.told()[-1], SocketLost)
    return phone.told()


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
