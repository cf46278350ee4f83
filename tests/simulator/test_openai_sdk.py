"""The official SDK against the offline server: it holds a spoken turn, and it knows every event that we send."""

import base64
import wave
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai._models import BaseModel, validate_type
from openai.types.realtime import RealtimeServerEvent

from simulator.realtime import OfflineModel
from simulator.refusal import FailureError
from simulator.script import Script, ScriptedCall, ScriptedReply, silence, tone
from tests.simulator.test_session import Client, Hands
from wire.g711 import encode_ulaw

QUESTION = Path(__file__).parents[2] / "simulator" / "audio" / "caller" / "question.wav"

SERVER_EVENTS = {
    "conversation.item.added",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.failed",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "error",
    "input_audio_buffer.cleared",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "rate_limits.updated",
    "response.content_part.added",
    "response.content_part.done",
    "response.created",
    "response.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.output_text.done",
    "session.created",
    "session.updated",
}
"""All that the offline server sends: the 46 of the API without MCP, SIP, WebRTC, diarization and legacy names."""

NOT_IN_THE_SDK = {"session": {"object", "id", "expires_at"}}
"""The server adds these to the session (openai-realtime.md 3.2); the SDK's type is that of the request."""


def unknown_fields(value: object, name: str = "event") -> list[str]:
    """Every field in a parsed event that the SDK's types do not declare."""
    if isinstance(value, list):
        return [found for each in value for found in unknown_fields(each, name)]
    if not isinstance(value, BaseModel):
        return []
    extra = set(value.model_extra or {}) - NOT_IN_THE_SDK.get(name, set())
    found = [f"{name}.{field}" for field in extra]
    for field in type(value).model_fields:
        found += unknown_fields(getattr(value, field), field)
    return found


def mulaw(path: Path) -> bytes:
    with wave.open(str(path)) as recording:
        assert recording.getframerate() == 8000
        return encode_ulaw(recording.readframes(recording.getnframes()))


# The SDK calls websockets in the way that websockets deprecated.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_the_official_client_holds_a_spoken_turn_with_the_real_engines() -> None:
    with (
        OfflineModel(pace=50) as model,
        OpenAI(api_key="test", websocket_base_url=model.url.removesuffix("/realtime")) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        connection.session.update(
            session={
                "type": "realtime",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcmu"},
                        "transcription": {"model": "gpt-transcribe", "language": "en"},
                    },
                    "output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"},
                },
            }
        )
        speech = silence(300) + mulaw(QUESTION) + silence(700)
        for start in range(0, len(speech), 160):
            connection.input_audio_buffer.append(audio=base64.b64encode(speech[start : start + 160]).decode())
        transcript, response, spoken = None, None, b""
        while transcript is None or response is None:
            event = connection.recv()
            if event.type == "response.output_audio.delta":
                spoken += base64.b64decode(event.delta)
            elif event.type == "conversation.item.input_audio_transcription.completed":
                transcript = event.transcript
            elif event.type == "response.done":
                response = event.response
        abilities = model.abilities
    assert response.status == "completed"
    assert response.output is not None
    assert response.output[0].type == "message"
    assert response.usage is not None
    assert response.usage.output_token_details is not None
    audio_tokens = response.usage.output_token_details.audio_tokens or 0
    assert abs(audio_tokens * 50 - len(spoken) / 8) <= 50
    if "pocketsphinx" in abilities:
        assert transcript == "what does a full service include"
        assert len(spoken) > 8000 * 8, "the long answer"


def converse(client: Client, clock: Hands) -> None:
    """Make the server send each of its events."""
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    client.configure(
        tools=[tool],
        audio={
            "input": {
                "turn_detection": vad,
                "transcription": {"model": "gpt-transcribe"},
                "noise_reduction": {"type": "near_field"},
            }
        },
    )
    client.hear(tone(300) + silence(500))
    response = client.until("response.done")["response"]
    client.has_seen("conversation.item.input_audio_transcription.completed")
    item_id = response["output"][0]["id"]
    client.send("conversation.item.retrieve", item_id=item_id)
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=200)
    client.send("conversation.item.delete", item_id=item_id)
    call_id = response["output"][1]["call_id"]
    client.send(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": call_id, "output": "{}"},
    )
    client.send("response.create", response={"output_modalities": ["text"], "metadata": {"a": "b"}})
    client.until("response.done")
    client.send("response.create")
    assert client.until("response.done")["response"]["status"] == "failed"
    client.hear(tone(300) + silence(500))
    client.until("response.done")
    client.has_seen("conversation.item.input_audio_transcription.failed")
    client.send("response.create", response={"instructions": "Say the long thing.", "max_output_tokens": 10})
    assert client.until("response.done")["response"]["status"] == "incomplete"
    client.send("response.create")
    client.until("response.done")
    clock.now = 100.0
    client.until("input_audio_buffer.timeout_triggered")
    client.until("response.output_audio.delta")
    client.hear(tone(200))
    assert client.until("response.done")["response"]["status"] == "cancelled"
    client.send("input_audio_buffer.clear")
    client.until("input_audio_buffer.cleared")
    part = {"type": "input_text", "text": "typed"}
    for role in ("system", "user"):
        client.send("conversation.item.create", item={"type": "message", "role": role, "content": [part]})
        client.until("conversation.item.done")


def test_the_sdk_knows_every_event_and_every_field_that_the_server_sends() -> None:
    long = ScriptedReply(audio=tone(4000))
    script = Script(
        [
            ScriptedReply("One moment.", (ScriptedCall("f", "{}"),)),
            "Done.",
            FailureError("rate_limit_exceeded", "Slow down."),
            "never said, because the caller was not understood",
            long,
            "Yes.",
            long,
        ],
        ["hello", OSError("deaf")],
    )
    clock = Hands()
    with OfflineModel(pace=20, clock=clock, **script.equipment()) as model:
        client = Client(f"{model.url}?model=gpt-realtime-2.1")
        converse(client, clock)
        client.close()
    seen: list[dict[str, Any]] = client.seen
    assert {event["type"] for event in seen} == SERVER_EVENTS
    for event in seen:
        parsed = validate_type(type_=RealtimeServerEvent, value=event)  # type: ignore[arg-type]
        assert not unknown_fields(parsed), event
    ids = [event["event_id"] for event in seen]
    assert len(ids) == len(set(ids))
