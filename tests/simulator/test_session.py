"""Sessions over a real websocket, with a scripted mind, voice and detector."""

import base64
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from simulator.realtime import OfflineModel
from simulator.refusal import FailureError, RefusalError
from simulator.script import Script, ScriptedCall, ScriptedReply, silence, tone
from tests.conftest import ExpectedLogs

PCMU: dict[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
}
FAST = 1000.0


class Client:
    """A client that remembers all it received."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._connecting = connect(
            url,
            additional_headers={"Authorization": "Bearer test"} if headers is None else headers,
            compression=None,
            max_size=None,
            ping_interval=None,
            max_queue=None,  # who does not read on sees no end of the connection either, for ten seconds
        )
        self.socket: ClientConnection = self._connecting.__enter__()
        self.seen: list[dict[str, Any]] = []

    def close(self) -> None:
        self._connecting.__exit__(None, None, None)

    def send(self, event_type: str, **fields: Any) -> None:
        self.socket.send(orjson.dumps({"type": event_type, **fields}), text=True)

    def next(self, timeout: float = 15) -> dict[str, Any]:
        event: dict[str, Any] = orjson.loads(self.socket.recv(timeout))
        self.seen.append(event)
        return event

    def until(self, event_type: str, timeout: float = 15) -> dict[str, Any]:
        """Read on to the next event of a type, and return it."""
        while (event := self.next(timeout))["type"] != event_type:
            pass
        return event

    def has_seen(self, event_type: str) -> dict[str, Any]:
        """Return the first event of a type; read on if it has not come yet."""
        found = (event for event in self.seen if event["type"] == event_type)
        return next(found, None) or self.until(event_type)

    def configure(self, **session: Any) -> dict[str, Any]:
        """Mu-law both ways and these session fields; `audio` fields are merged by the server."""
        self.send("session.update", session=PCMU)
        self.until("session.updated")
        if session:
            self.send("session.update", session={"type": "realtime", **session})
            self.until("session.updated")
        return self.seen[-1]["session"]

    def hear(self, ulaw: bytes, piece: int = 160) -> None:
        for start in range(0, len(ulaw), piece):
            audio = base64.b64encode(ulaw[start : start + piece]).decode()
            self.send("input_audio_buffer.append", audio=audio)

    def types(self) -> list[str]:
        """The types seen, a run of the same one shown once."""
        kinds: list[str] = []
        for event in self.seen:
            if not kinds or kinds[-1] != event["type"]:
                kinds.append(event["type"])
        return kinds

    def audio(self, response_id: str | None = None) -> bytes:
        """All assistant audio seen, of one response if asked."""
        return b"".join(
            base64.b64decode(event["delta"])
            for event in self.seen
            if event["type"] == "response.output_audio.delta" and response_id in (None, event["response_id"])
        )

    def refusal(self) -> dict[str, Any]:
        error = self.until("error")["error"]
        assert isinstance(error, dict)
        return error


class Line:
    """Opens models and clients, and closes them."""

    def __init__(self) -> None:
        self._models: list[OfflineModel] = []
        self._clients: list[Client] = []
        self.model: OfflineModel

    def model_for(self, script: Script, **settings: Any) -> OfflineModel:
        model = OfflineModel(**{"pace": FAST, **script.equipment(), **settings})
        model.start()
        self._models.append(model)
        self.model = model
        return model

    def client(self, model: OfflineModel | None = None) -> Client:
        client = Client(f"{(model or self.model).url}?model=gpt-realtime-2.1")
        self._clients.append(client)
        return client

    def open(self, *replies: Any, heard: tuple[Any, ...] = (), **settings: Any) -> Client:
        self.model_for(Script(replies, heard), **settings)
        client = self.client()
        client.until("session.created")
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for model in self._models:
            model.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_event_is_session_created_with_the_documented_defaults(line: Line) -> None:
    client = line.open()
    session = client.seen[0]["session"]
    assert client.types() == ["session.created"]
    assert session["id"].startswith("sess_")
    assert session["model"] == "gpt-realtime-2.1"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.0,
    }
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_an_update_changes_only_what_it_names(line: Line) -> None:
    client = line.open()
    before = client.configure(instructions="Be brief.")
    client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    after = client.until("session.updated")["session"]
    assert after["audio"]["input"].pop("turn_detection") is None
    assert before["audio"]["input"].pop("turn_detection")["silence_duration_ms"] == 500
    assert after == before
    assert after["instructions"] == "Be brief."


def test_an_update_without_its_type_is_ignored_as_a_whole(line: Line) -> None:
    client = line.open()
    client.send("session.update", event_id="cfg-1", session={"instructions": "Be rude."})
    error = client.refusal()
    assert error["code"] == "missing_required_parameter"
    assert error["param"] == "session.type"
    assert error["event_id"] == "cfg-1"
    assert client.configure()["instructions"] != "Be rude."


def test_one_unknown_field_spoils_the_whole_update(line: Line) -> None:
    client = line.open()
    client.send("session.update", session={"type": "realtime", "instructions": "Be rude.", "voice": "marin"})
    error = client.refusal()
    assert (error["code"], error["message"]) == ("unknown_parameter", "Unknown parameter: 'session.voice'.")
    assert client.configure()["instructions"] != "Be rude."


def test_the_voice_is_locked_once_the_assistant_has_spoken(line: Line) -> None:
    client = line.open("Hello.")
    client.configure(audio={"output": {"voice": "cedar"}})
    client.send("response.create")
    client.until("response.done")
    client.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "ash"}}})
    assert client.refusal()["code"] == "cannot_update_voice"
    client.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "cedar"}}})
    assert client.refusal()["code"] == "cannot_update_voice", "also for the voice that it has"
    client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    assert client.until("session.updated")["session"]["audio"]["output"]["voice"] == "cedar"


def test_an_mcp_server_is_somewhere(line: Line) -> None:
    client = line.open()
    server = {"type": "mcp", "server_label": "crm", "require_approval": "never", "allowed_tools": ["find"]}
    client.send("session.update", session={"type": "realtime", "tools": [server]})
    refusal = client.refusal()
    assert (refusal["code"], refusal["param"]) == ("missing_required_parameter", "session.tools.0.server_url")
    server["server_url"] = "https://crm.example.com/mcp"
    client.send("session.update", session={"type": "realtime", "tools": [server]})
    assert client.until("session.updated")["session"]["tools"] == [server]


def test_the_model_of_a_session_cannot_be_changed(line: Line) -> None:
    client = line.open()
    client.send("session.update", session={"type": "realtime", "model": "gpt-realtime-2.1-mini"})
    assert client.refusal()["param"] == "session.model"


def test_a_spoken_turn_has_its_events_in_the_documented_order(line: Line) -> None:
    client = line.open("Hello there.", heard=("what are your hours",))
    client.configure(audio={"input": {"transcription": {"model": "gpt-transcribe", "language": "en"}}})
    client.seen.clear()
    client.hear(silence(400) + tone(600) + silence(520))
    client.until("response.done")
    completed = client.has_seen("conversation.item.input_audio_transcription.completed")
    transcription = "conversation.item.input_audio_transcription."
    main = [kind for kind in client.types() if not kind.startswith(transcription)]
    deltas = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
    assert [kind for kind in main if kind not in deltas] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert deltas[0] in main
    assert main.index(deltas[0]) < main.index(deltas[1])
    assert completed["transcript"] == "what are your hours"
    assert completed["usage"]["input_tokens"] > 0
    started, stopped = client.seen[0], client.seen[1]
    assert started["audio_start_ms"] == 100
    assert stopped["audio_end_ms"] == 1500
    assert started["item_id"] == stopped["item_id"] == completed["item_id"]


def test_a_response_reports_what_it_said_and_what_it_cost(line: Line) -> None:
    client = line.open("Hello there.", heard=("hi",))
    client.configure()
    client.hear(tone(1000) + silence(500))
    response = client.until("response.done")["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello there."}]
    audio_ms = len(client.audio()) / 8
    assert audio_ms == 12 * 60
    usage = response["usage"]
    assert usage["output_token_details"] == {"text_tokens": 3, "audio_tokens": 15}
    assert usage["input_token_details"]["audio_tokens"] == 15
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_the_next_response_is_charged_with_the_conversation_and_finds_it_cached(line: Line) -> None:
    client = line.open("One.", "Two.")
    client.configure()
    client.send("response.create")
    first = client.until("response.done")["response"]["usage"]
    client.send("response.create")
    second = client.until("response.done")["response"]["usage"]
    assert second["input_tokens"] == first["total_tokens"]
    assert second["input_token_details"]["cached_tokens"] == first["input_tokens"]


def test_the_callers_speech_cancels_the_response_at_once(line: Line) -> None:
    client = line.open(ScriptedReply(text="a long answer", audio=tone(80_000)), "Yes?", pace=8)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.hear(tone(200))
    client.until("input_audio_buffer.speech_started")
    response = client.until("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    kinds = [event["type"] for event in client.seen]
    after = kinds[kinds.index("input_audio_buffer.speech_started") :]
    assert after[1:5] == [
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
    ]
    assert "response.output_audio_transcript.delta" not in after
    item = line.model.await_session().items[0]
    assert item.audio_ms == len(client.audio()) // 8 < 80_000
    client.hear(silence(500))
    assert client.until("response.created")["response"]["id"] != response["id"]
    client.until("response.done")
    ended = client.seen.index(next(event for event in client.seen if event.get("response") == response))
    assert response["id"] not in {event.get("response_id") for event in client.seen[ended + 1 :]}


@pytest.mark.parametrize("late", [0, 3])
def test_as_many_deltas_as_asked_for_come_late(line: Line, late: int) -> None:
    client = line.open(ScriptedReply(audio=tone(20_000)), pace=2, late_deltas=late)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.until("response.output_audio.delta")
    client.hear(tone(200))
    client.until("input_audio_buffer.speech_started")
    before = len(client.audio())
    client.until("response.done")
    assert len(client.audio()) - before == late * 200 * 8
    [item] = line.model.await_session().items
    assert item.audio_ms == len(client.audio()) // 8, "what is late is in the item all the same"


def test_a_late_delta_costs_no_more_than_the_response_may(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(4000)), pace=0.05)
    client.configure()
    client.send("response.create", response={"max_output_tokens": 6})
    client.until("response.output_audio.delta")
    client.send("response.cancel")
    response = client.until("response.done")["response"]
    assert response["status"] == "cancelled"
    assert len(client.audio()) == 200 * 8
    assert response["usage"]["output_tokens"] == 4


@pytest.mark.parametrize(
    ("transcription", "field"),
    [
        ({"model": "whisper-1", "keywords": ["Tailwind"]}, "keywords"),
        ({"model": "gpt-4o-transcribe", "languages": ["en"]}, "languages"),
        ({"model": "gpt-transcribe", "delay": "low"}, "delay"),
        ({"model": "gpt-realtime-whisper", "prompt": "bicycles"}, "prompt"),
        ({"model": "gpt-4o-transcribe-diarize", "prompt": "bicycles"}, "prompt"),
    ],
)
def test_a_transcription_model_is_given_only_what_it_takes(
    line: Line, transcription: dict[str, Any], field: str
) -> None:
    client = line.open()
    update = {"type": "realtime", "audio": {"input": {"transcription": transcription}}}
    client.send("session.update", session=update)
    error = client.refusal()
    assert (error["code"], error["param"]) == (
        "invalid_value",
        f"session.audio.input.transcription.{field}",
    )
    assert client.configure()["audio"]["input"]["transcription"] is None


@pytest.mark.parametrize(
    "transcription",
    [
        {"model": "gpt-transcribe", "keywords": ["Tailwind"], "prompt": "bicycles", "languages": ["en"]},
        {"model": "gpt-live-transcribe", "keywords": ["Tailwind"]},
        {"model": "gpt-realtime-whisper", "delay": "low"},
        {"model": "whisper-1", "prompt": "bicycles"},
    ],
)
def test_a_transcription_model_takes_what_is_its_own(line: Line, transcription: dict[str, Any]) -> None:
    client = line.open()
    session = client.configure(audio={"input": {"transcription": transcription}})
    assert session["audio"]["input"]["transcription"] == transcription


def test_without_interrupt_response_the_answer_goes_on(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(16_000)), pace=8)
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.hear(tone(200) + silence(500))
    assert client.refusal()["code"] == "conversation_already_has_active_response"
    assert client.until("response.done")["response"]["status"] == "completed"
    assert len(client.audio()) == 16_000 * 8


def test_without_create_response_the_client_asks(line: Line) -> None:
    client = line.open("Yes.", heard=("hello",))
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    client.hear(tone(200) + silence(500))
    client.until("conversation.item.done")
    client.send("response.create")
    client.until("response.done")
    assert client.types().count("response.created") == 1


def test_semantic_vad_waits_as_long_as_its_eagerness_says(line: Line) -> None:
    client = line.open()
    client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}})
    client.hear(tone(200) + silence(500))
    assert client.until("input_audio_buffer.speech_stopped")["audio_end_ms"] == 600


def test_changing_the_detector_keeps_the_audio_clock(line: Line) -> None:
    client = line.open()
    client.configure()
    client.hear(silence(1000))
    vad = {"type": "server_vad", "prefix_padding_ms": 100}
    client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    client.until("session.updated")
    client.hear(silence(500) + tone(200))
    assert client.until("input_audio_buffer.speech_started")["audio_start_ms"] == 1400


def test_turns_may_be_marked_by_the_client(line: Line) -> None:
    client = line.open("Yes.", heard=("hello",))
    client.configure(audio={"input": {"turn_detection": None}})
    client.hear(tone(400))
    client.send("input_audio_buffer.commit")
    committed = client.until("input_audio_buffer.committed")
    assert committed["previous_item_id"] is None
    client.send("response.create")
    client.until("response.done")
    session = line.model.await_session()
    assert [(item.role, item.audio_ms) for item in session.items] == [("user", 400), ("assistant", 240)]


def test_a_commit_of_less_than_100_ms_is_refused(line: Line) -> None:
    client = line.open()
    client.configure(audio={"input": {"turn_detection": None}})
    client.hear(tone(80))
    client.send("input_audio_buffer.commit", event_id="c1")
    error = client.refusal()
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "c1")
    assert "80.00ms" in error["message"]


def test_a_cleared_buffer_is_empty(line: Line) -> None:
    client = line.open()
    client.configure(audio={"input": {"turn_detection": None}})
    client.hear(tone(400))
    client.send("input_audio_buffer.clear")
    client.until("input_audio_buffer.cleared")
    client.send("input_audio_buffer.commit")
    assert client.refusal()["code"] == "input_audio_buffer_commit_empty"


def test_a_text_message_is_answered_on_request(line: Line) -> None:
    script = Script(["Nine to five."])
    line.model_for(script)
    client = line.client()
    client.until("session.created")
    client.configure()
    part = {"type": "input_text", "text": "opening hours?"}
    client.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    added = client.until("conversation.item.added")
    assert added["item"]["content"] == [part]
    assert added["previous_item_id"] is None
    client.until("conversation.item.done")
    client.send("response.create")
    client.until("response.done")
    assert script.asked == [("reply", "opening hours?", ())]


def test_a_text_response_has_text_events(line: Line) -> None:
    client = line.open("Nine to five.")
    client.configure(output_modalities=["text"])
    client.send("response.create")
    response = client.until("response.done")["response"]
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "Nine to five."}]
    assert "response.output_text.delta" in client.types()
    assert "response.output_text.done" in client.types()
    assert client.audio() == b""


def test_instructions_of_a_response_are_followed(line: Line) -> None:
    script = Script(["Welcome."])
    line.model_for(script)
    client = line.client()
    client.configure()
    client.send("response.create", response={"instructions": "Greet the caller."})
    client.until("response.done")
    assert script.asked == [("follow", "Greet the caller.")]


def test_a_second_response_is_refused_while_one_is_active(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(80_000)), pace=8)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.send("response.create", event_id="second")
    error = client.refusal()
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")


def test_a_response_is_cancelled_on_request(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(80_000)), pace=8)
    client.configure()
    client.send("response.create")
    response_id = client.until("response.output_audio.delta")["response_id"]
    client.send("response.cancel", response_id=response_id)
    response = client.until("response.done")["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    client.send("response.cancel")
    error = client.refusal()
    assert error["code"] == "response_cancel_not_active"
    assert error["message"].startswith("Cancellation failed")


def test_an_out_of_band_response_runs_beside_and_leaves_no_trace(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(16_000)), "note", pace=8)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.send(
        "response.create",
        response={
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"for": "summary"},
            "input": [],
        },
    )
    done = client.until("response.done")["response"]
    assert done["metadata"] == {"for": "summary"}
    assert done["conversation_id"] is None
    assert len(line.model.await_session().items) == 1
    assert client.until("response.done")["response"]["status"] == "completed"


def test_a_function_is_called_and_its_result_spoken_about(line: Line) -> None:
    call = ScriptedCall("order_status", '{"order": 7, "detail": "everything there is"}')
    script = Script([ScriptedReply("One moment.", (call,)), "It is ready."], ["where is my order"])
    line.model_for(script)
    client = line.client()
    tool = {"type": "function", "name": "order_status", "parameters": {"type": "object"}}
    client.configure(tools=[tool])
    client.hear(tone(300) + silence(500))
    done = client.until("response.done")["response"]
    message, function_call = done["output"]
    assert message["content"][0]["transcript"] == "One moment."
    assert function_call["arguments"] == call.arguments
    deltas = [
        event["delta"] for event in client.seen if event["type"] == "response.function_call_arguments.delta"
    ]
    assert "".join(deltas) == call.arguments
    assert len(deltas) == 2
    finished = next(
        event for event in client.seen if event["type"] == "response.function_call_arguments.done"
    )
    assert (finished["name"], finished["output_index"]) == ("order_status", 1)
    output = {"type": "function_call_output", "call_id": function_call["call_id"], "output": '{"ok":true}'}
    client.send("conversation.item.create", item=output)
    client.until("conversation.item.done")
    client.send("response.create")
    client.until("response.done")
    assert script.asked == [
        ("reply", "where is my order", ("order_status",)),
        ("after_tool", "order_status", '{"ok":true}'),
    ]


def test_tool_choice_none_hides_the_tools(line: Line) -> None:
    script = Script(["No."], ["hello"])
    line.model_for(script)
    client = line.client()
    client.configure(tools=[{"type": "function", "name": "f"}], tool_choice="none")
    client.hear(tone(300) + silence(500))
    client.until("response.done")
    assert script.asked == [("reply", "hello", ())]


def test_a_truncated_item_keeps_what_was_heard_and_loses_its_text(line: Line) -> None:
    client = line.open(ScriptedReply(text="a long answer", audio=tone(3700)))
    client.configure()
    client.send("response.create")
    item_id = client.until("response.done")["response"]["output"][0]["id"]
    place = {"item_id": item_id, "content_index": 0}
    client.send("conversation.item.truncate", **place, audio_end_ms=3760, event_id="t1")
    error = client.refusal()
    assert error["code"] is None
    assert error["event_id"] is None
    assert error["message"] == "Audio content of 3700ms is already shorter than 3760ms"
    client.send("conversation.item.truncate", **place, audio_end_ms=1500)
    assert client.until("conversation.item.truncated")["audio_end_ms"] == 1500
    item = line.model.await_session().items[0]
    assert (item.audio_ms, item.truncated_at, item.text) == (1500, 1500, None)
    client.send("conversation.item.retrieve", item_id=item_id)
    part = client.until("conversation.item.retrieved")["item"]["content"][0]
    assert base64.b64decode(part["audio"]) == client.audio()[: 1500 * 8]
    assert part["transcript"] is None


@pytest.mark.parametrize("action", ["truncate", "delete", "retrieve"])
def test_unknown_items_are_refused(line: Line, action: str) -> None:
    client = line.open()
    place = {"content_index": 0, "audio_end_ms": 0} if action == "truncate" else {}
    client.send(f"conversation.item.{action}", item_id="item_nowhere", event_id="e", **place)
    error = client.refusal()
    assert error["code"] == f"item_{action}_invalid_item_id"
    assert error["event_id"] == "e"


def test_items_go_where_the_client_puts_them(line: Line) -> None:
    client = line.open()

    def create(item_id: str, **place: str) -> dict[str, Any]:
        part = {"type": "input_text", "text": item_id}
        item = {"id": item_id, "type": "message", "role": "user", "content": [part]}
        client.send("conversation.item.create", item=item, **place)
        while (event := client.next())["type"] not in ("conversation.item.done", "error"):
            pass
        return event

    create("b")
    assert create("a", previous_item_id="root")["previous_item_id"] is None
    assert create("c", previous_item_id="b")["previous_item_id"] == "b"
    assert create("ab", previous_item_id="a")["previous_item_id"] == "a"
    assert create("a")["error"]["code"] == "item_create_duplicate_item_id"
    assert create("d", previous_item_id="nowhere")["error"]["param"] == "previous_item_id"
    client.send("conversation.item.delete", item_id="b")
    client.until("conversation.item.deleted")
    assert [item.id for item in line.model.await_session().items] == ["a", "ab", "c"]


def test_a_result_for_an_unknown_call_is_refused(line: Line) -> None:
    client = line.open()
    item = {"type": "function_call_output", "call_id": "call_nowhere", "output": ""}
    client.send("conversation.item.create", item=item)
    assert client.refusal()["param"] == "item.call_id"


HISTORY: list[dict[str, Any]] = [
    {
        "id": "item_1",
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Earlier the caller asked about bells."}],
    },
    {
        "id": "item_2",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello, how can I help?"}],
    },
    {
        "id": "item_3",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Where is order seven?"}],
    },
    {
        "id": "item_4",
        "type": "function_call",
        "call_id": "call_1",
        "name": "order_status",
        "arguments": '{"order":7}',
    },
    {"id": "item_5", "type": "function_call_output", "call_id": "call_1", "output": '{"ready":true}'},
]
"""A conversation as a client restores it in a new session, with ids of its own (openai-realtime.md, 5.1 and 14)."""


def test_a_conversation_is_restored_item_by_item(line: Line) -> None:
    script = Script(["It is ready."])
    line.model_for(script)
    client = line.client()
    client.until("session.created")
    for item in HISTORY:
        client.send("conversation.item.create", item=item)
    for number, item in enumerate(HISTORY):
        added = client.until("conversation.item.added")
        assert added["previous_item_id"] == (HISTORY[number - 1]["id"] if number else None)
        assert item.items() <= added["item"].items()
        assert client.until("conversation.item.done")["item"] == added["item"]
    client.send("response.create")
    client.until("response.done")
    assert script.asked == [("after_tool", "order_status", '{"ready":true}')]
    restored = line.model.await_session().items[: len(HISTORY)]
    assert [(item.id, item.type, item.role) for item in restored] == [
        (item["id"], item["type"], item.get("role", "")) for item in HISTORY
    ]


@pytest.mark.parametrize("again", HISTORY, ids=lambda item: str(item.get("role", item["type"])))
def test_an_id_is_given_once(line: Line, again: dict[str, Any]) -> None:
    """Whatever has it already: also what the model itself has said."""
    client = line.open("Hello.")
    client.send("response.create")
    spoken = client.until("response.done")["response"]["output"][0]["id"]
    for item in HISTORY:
        client.send("conversation.item.create", item=item)
    for taken in (again["id"], spoken):
        client.send("conversation.item.create", item=again | {"id": taken}, event_id="e")
        error = client.refusal()
        assert (error["code"], error["event_id"]) == ("item_create_duplicate_item_id", "e")
    assert len(line.model.await_session().items) == 1 + len(HISTORY)


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (HISTORY[0] | {"content": [{"type": "output_text", "text": "x"}]}, "item.content.0.type"),
        (HISTORY[1] | {"content": [{"type": "input_text", "text": "x"}]}, "item.content.0.type"),
        (HISTORY[1] | {"content": [{"type": "output_audio", "audio": ""}]}, "item.content.0.type"),
        (HISTORY[2] | {"content": [{"type": "output_text", "text": "x"}]}, "item.content.0.type"),
        (HISTORY[2] | {"role": "caller"}, "item.role"),
        (HISTORY[2] | {"content": "x"}, "item.content"),
        (HISTORY[3] | {"arguments": {"order": 7}}, "item.arguments"),
        ({name: HISTORY[3][name] for name in ("type", "arguments")}, "item.name"),
        (HISTORY[4] | {"output": {"ready": True}}, "item.output"),
        (HISTORY[4] | {"call_id": "call_2"}, "item.call_id"),
        (HISTORY[4] | {"role": "user"}, "item.role"),
    ],
)
def test_an_item_of_the_wrong_shape_is_refused(line: Line, item: dict[str, Any], param: str) -> None:
    client = line.open()
    client.send("conversation.item.create", item=HISTORY[3] | {"id": "item_0"})
    client.send("conversation.item.create", item=item)
    assert client.refusal()["param"] == param
    assert [each.id for each in line.model.await_session().items] == ["item_0"]


def test_a_failing_model_arrives_as_a_failed_response(line: Line) -> None:
    client = line.open(FailureError("rate_limit_exceeded", "Slow down.", kind="rate_limit_error"))
    client.configure()
    client.send("response.create")
    response = client.until("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"] == {
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
        "message": "Slow down.",
    }


def test_a_crash_in_the_dialogue_fails_the_response_and_not_the_session(
    line: Line, logs: ExpectedLogs
) -> None:
    logs.expect("response resp_.* failed")
    client = line.open(ZeroDivisionError("oops"), "Sorry.")
    client.configure()
    client.send("response.create")
    assert client.until("response.done")["response"]["status"] == "failed"
    client.send("response.create")
    assert client.until("response.done")["response"]["status"] == "completed"


def test_a_failed_transcription_is_reported(line: Line) -> None:
    client = line.open(heard=(OSError("deaf"), "hello"))
    vad = {"type": "server_vad", "create_response": False}
    client.configure(audio={"input": {"transcription": {"model": "whisper-1"}, "turn_detection": vad}})
    client.hear(tone(300) + silence(500))
    failed = client.until("conversation.item.input_audio_transcription.failed")
    assert "deaf" in failed["error"]["message"]
    client.hear(tone(300) + silence(500))
    completed = client.until("conversation.item.input_audio_transcription.completed")
    assert completed["usage"] == {"type": "duration", "seconds": 0.8}


def test_a_response_stops_at_its_token_limit(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(4000)))
    client.configure()
    client.send("response.create", response={"max_output_tokens": 20})
    response = client.until("response.done")["response"]
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert len(client.audio()) == 1000 * 8
    assert response["usage"]["output_tokens"] == 20


def test_a_response_may_be_cut_short(line: Line) -> None:
    client = line.open(ScriptedReply("We are", audio=tone(400), cut_short="content_filter"))
    client.configure()
    client.send("response.create")
    response = client.until("response.done")["response"]
    assert response["status"] == response["output"][0]["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert client.audio() == tone(400)


def test_a_silent_caller_is_prompted(line: Line) -> None:
    clock = Hands()
    client = line.open(ScriptedReply(audio=tone(2000)), "Are you there?", clock=clock)
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    client.send("response.create")
    client.until("response.done")
    client.hear(silence(8000))
    client.send("conversation.item.retrieve", item_id="nowhere")
    client.until("error")
    clock.now = 6.9
    client.send("conversation.item.retrieve", item_id="nowhere")
    assert client.until("error")
    assert "input_audio_buffer.timeout_triggered" not in client.types()
    clock.now = 7.1
    triggered = client.until("input_audio_buffer.timeout_triggered")
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (3000, 8000)
    assert client.until("input_audio_buffer.committed")["item_id"] == triggered["item_id"]
    done = client.until("response.done")["response"]
    assert done["output"][0]["content"][0]["transcript"] == "Are you there?"


def test_a_session_ends_when_its_time_is_up(line: Line) -> None:
    clock = Hands()
    client = line.open(clock=clock)
    clock.now = 3600.0
    assert client.refusal()["code"] == "session_expired"
    with pytest.raises(ConnectionClosed) as ending:
        client.next()
    assert ending.value.rcvd is not None
    assert ending.value.rcvd.code == 1001
    assert "maximum duration of 60 minutes" in ending.value.rcvd.reason


@pytest.mark.parametrize("frame", ["{", "[1]", b"\x00\x01", '{"event_id": "x"}'])
def test_what_is_not_an_event_is_refused_and_the_session_goes_on(line: Line, frame: str | bytes) -> None:
    client = line.open()
    client.socket.send(frame)
    assert client.refusal()["code"] == "invalid_event"
    client.configure()


@pytest.mark.parametrize("depth", [300, 700])
def test_an_event_that_is_nested_too_deeply_is_refused_and_the_session_goes_on(
    line: Line, depth: int
) -> None:
    client = line.open()
    deep = '{"a":' * depth + "1" + "}" * depth
    tool = f'{{"type":"function","name":"f","parameters":{deep}}}'
    client.socket.send(f'{{"type":"session.update","session":{{"type":"realtime","tools":[{tool}]}}}}')
    assert client.refusal()["code"] == "invalid_event"
    client.configure()


def test_a_writer_that_fails_closes_the_socket(line: Line, logs: ExpectedLogs) -> None:
    logs.expect("model-writes sess_.* failed")
    client = line.open()
    session = line.model.await_session()
    session.send({"type": "error", "error": object()})
    with pytest.raises(ConnectionClosed) as ending:
        client.next()
    assert ending.value.rcvd is not None
    assert ending.value.rcvd.code == 1011
    assert session.closed.wait(15)


def test_audio_that_is_not_base64_is_refused(line: Line) -> None:
    client = line.open()
    client.send("input_audio_buffer.append", audio="%%%", event_id="a1")
    error = client.refusal()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "a1")


def test_the_buffer_of_the_phone_side_is_not_for_websockets(line: Line) -> None:
    client = line.open()
    client.send("output_audio_buffer.clear")
    assert "WebRTC" in client.refusal()["message"]


@pytest.mark.parametrize(("kind", "bytes_per_ms"), [("audio/pcmu", 8), ("audio/pcma", 8), ("audio/pcm", 48)])
def test_every_format_works_both_ways(line: Line, kind: str, bytes_per_ms: int) -> None:
    client = line.open(ScriptedReply(audio=tone(1000)))
    audio_format = {"format": {"type": kind}}
    client.configure(audio={"input": audio_format, "output": audio_format})
    client.send("response.create")
    client.until("response.done")
    spoken = client.audio()
    assert len(spoken) == 1000 * bytes_per_ms
    client.hear(spoken, piece=20 * bytes_per_ms)
    assert client.until("input_audio_buffer.speech_started")["audio_start_ms"] == 0
    client.send("conversation.item.retrieve", item_id="nowhere")
    client.until("error")
    assert line.model.await_session().audio == spoken


def test_speech_comes_at_the_pace_asked_for_in_deltas_of_the_size_asked_for(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(1650)), pace=4, delta_ms=100)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.done")
    sizes = [
        len(base64.b64decode(event["delta"])) // 8
        for event in client.seen
        if event["type"] == "response.output_audio.delta"
    ]
    assert sizes == [100] * 16 + [50]


def test_the_pace_may_be_changed_for_sessions_to_come(line: Line) -> None:
    model = line.model_for(Script([ScriptedReply(audio=tone(10_000))]), pace=1)
    model.pace = FAST
    assert model.pace == FAST
    client = line.client()
    client.until("session.created")
    client.configure()
    client.send("response.create")
    began = time.monotonic()
    client.until("response.output_audio.done")
    assert time.monotonic() - began < 9


def test_events_are_answered_while_the_assistant_speaks(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(80_000)), pace=8)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.send("session.update", session={"type": "realtime", "instructions": "Be quick."})
    client.until("session.updated")
    assert "response.done" not in client.types()


def test_the_test_can_make_the_assistant_speak(line: Line) -> None:
    client = line.open()
    client.configure()
    session = line.model.await_session()
    session.say("Hello.")
    client.until("response.done")
    session.say(tone(10_000))
    client.until("response.done")
    assert [item.audio_ms for item in session.items] == [360, 10_000]


def test_a_second_say_is_refused_while_the_first_is_spoken(line: Line) -> None:
    client = line.open(pace=8)
    client.configure()
    session = line.model.await_session()
    session.say(tone(60_000))
    with pytest.raises(RefusalError, match="active response"):
        session.say("Again.")


def test_the_test_sees_what_the_client_sent(line: Line) -> None:
    client = line.open()
    client.configure()
    client.hear(silence(100))
    client.send("conversation.item.delete", item_id="nowhere")
    session = line.model.await_session()
    event = session.await_event("conversation.item.delete")
    assert event == {"type": "conversation.item.delete", "item_id": "nowhere"}
    assert [received["type"] for received in session.received] == [
        "session.update",
        "conversation.item.delete",
    ]
    assert session.received[0].at <= session.received[1].at
    assert session.audio == silence(100)
    with pytest.raises(TimeoutError, match="there came session"):
        session.await_event("response.create", timeout=0.01)


def test_faults_can_be_injected(line: Line) -> None:
    client = line.open()
    session = line.model.await_session()
    session.send({"type": "rate_limits.updated", "rate_limits": []})
    assert client.until("rate_limits.updated")["event_id"].startswith("event_")
    session.send_raw("not json")
    assert client.socket.recv(5) == "not json"
    session.send_raw(b"\x00" * 2_000_000)
    assert len(client.socket.recv(5)) == 2_000_000
    session.close(4001, "enough")
    with pytest.raises(ConnectionClosed) as ending:
        client.next()
    assert ending.value.rcvd is not None
    assert (ending.value.rcvd.code, ending.value.rcvd.reason) == (4001, "enough")
    assert session.closed.wait(15)
    assert session.close_code == 4001


def test_a_dropped_connection_ends_without_a_close_frame(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(80_000)), pace=8)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    session = line.model.await_session()
    session.drop()
    with pytest.raises(ConnectionClosed) as ending:
        client.until("response.done")
    assert ending.value.rcvd is None
    assert session.closed.wait(15)
    assert session.close_code == 1006
    session.drop()


def test_a_client_that_hangs_up_ends_the_session_and_its_speech(line: Line) -> None:
    client = line.open(ScriptedReply(audio=tone(60_000)), pace=1)
    client.configure()
    client.send("response.create")
    client.until("response.output_audio.delta")
    client.socket.close()
    session = line.model.await_session()
    assert session.closed.wait(15)
    assert session.close_code == 1000
    assert not [
        each.name for each in threading.enumerate() if session.id in each.name and "reads" not in each.name
    ]


class Dawdler(Script):
    """A voice and a dialogue that take their time: to stop speaking, and to think of an answer."""

    def __init__(self) -> None:
        super().__init__(heard=["hello"])
        self.silent = threading.Event()

    def speak(self, text: str, *, voice: str = "marin", speed: float = 1.0) -> Iterator[bytes]:
        try:
            while True:
                yield tone(100)
        finally:
            threading.Event().wait(0.2)
            self.silent.set()

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        threading.Event().wait(0.2)
        return ScriptedReply("Yes.")


def test_a_session_is_closed_when_its_last_thread_has_ended(line: Line) -> None:
    script = Dawdler()
    client = Client(f"{line.model_for(script, pace=8).url}?model=m")
    session = line.model.await_session()
    session.say("A long story.")
    client.until("response.output_audio.delta")
    client.close()
    assert session.closed.wait(15)
    assert script.silent.is_set()


def test_the_transcript_waits_for_the_reply_to_begin(line: Line) -> None:
    client = Client(f"{line.model_for(Dawdler(), pace=8).url}?model=m")
    client.configure(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
    client.hear(tone(300) + silence(500))
    client.until("conversation.item.input_audio_transcription.completed")
    client.close()
    assert "response.output_item.added" in client.types()
