"""Whose turn it is: what the server does when the caller speaks, pauses, interrupts or says nothing.

Source: openai-realtime.md 4, 7 and 9. The session's reader calls everything here with the session's lock held.
Each response, and each transcription, has a thread of its own, so that nothing here waits for speech.
"""

import logging
from typing import Any

from simulator.client_item import make_item
from simulator.configuration import Configuration
from simulator.conversation import Conversation, Item
from simulator.crew import Crew
from simulator.engine import Answer, Equipment
from simulator.identifier import new_identifier
from simulator.input_audio import InputAudio, Utterance
from simulator.refusal import FailureError, RefusalError
from simulator.response import Emit, Response, Stopped
from simulator.response_settings import ResponseSettings
from simulator.speech import perform
from simulator.thought import Thought
from simulator.transcription import Transcription
from simulator.usage import Tokens, count
from simulator.vad import SpeechStarted

logger = logging.getLogger(__name__)

COMMIT_MIN_MS = 100


class Turns:
    """The turns of one session."""

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        conversation: Conversation,
        equipment: Equipment,
        emit: Emit,
        lock: Any,
    ) -> None:
        """`name` goes into the names of the threads; `lock` is the session's reentrant lock."""
        self._name = name
        self._configuration = configuration
        self._conversation = conversation
        self._equipment = equipment
        self._emit = emit
        self._lock = lock
        self._dialogue = equipment.dialogue()
        self._input = InputAudio(equipment.detector, equipment.voice.listen)
        self._active: Response | None = None
        self._running: set[Response] = set()
        self._crew = Crew(name)
        self._utterances: list[Utterance] = []
        self._speech_item_id = ""
        self._idle_at: float | None = None
        self._charged = Tokens()
        self._has_spoken = False

    @property
    def has_spoken(self) -> bool:
        """Whether there is assistant audio in the session, which locks the voice."""
        return self._has_spoken or any(response.audio_ms for response in self._running)

    def configure(self) -> None:
        """Take over a changed turn detection."""
        self._input.detect(self._configuration.detector)
        if not (self._configuration.turn_detection or {}).get("idle_timeout_ms"):
            self._idle_at = None

    def append(self, ulaw: bytes) -> None:
        """Add caller audio, mu-law at 8000 Hz, and act on what the detector notices in it."""
        for event, utterance in self._input.append(ulaw):
            if isinstance(event, SpeechStarted):
                self._speech_started(event.audio_start_ms)
            elif utterance is not None:
                self._speech_stopped(event.audio_end_ms, utterance)

    def commit(self) -> None:
        """Make a user message of the buffer. Raises RefusalError if it holds less than 100 ms."""
        buffered_ms = self._input.buffered_ms
        if buffered_ms < COMMIT_MIN_MS:
            raise RefusalError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {COMMIT_MIN_MS}ms "
                f"of audio, but buffer only has {buffered_ms:.2f}ms of audio.",
            )
        item_id = self._speech_item_id if self._input.speaking else new_identifier("item")
        item = self._user_item(item_id, self._input.commit())
        self._transcribe(item, None)

    def clear(self) -> None:
        """Throw the input audio buffer away."""
        self._input.clear()
        self._emit({"type": "input_audio_buffer.cleared"})

    def create_response(self, fields: dict[str, Any], answer: Answer | None = None) -> Response:
        """Start a response with the fields of `response.create`; `answer` replaces the dialogue.

        Raises RefusalError if the default conversation has an active response already.
        """
        in_band = fields.get("conversation", "auto") != "none"
        if in_band and self._active is not None:
            raise RefusalError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        items = self._items(fields)
        settings = ResponseSettings.of(self._configuration, fields)
        thought = Thought.about(items, self._conversation, settings, "instructions" in fields)
        charged = items if "input" in fields else self._conversation
        incoming = count((item.tokens for item in charged), settings.instructions, settings.tools)
        cached, self._charged = incoming.common(self._charged), incoming
        response = Response(
            settings,
            self._conversation if in_band else None,
            incoming=incoming,
            cached=cached,
            late_deltas=self._equipment.delivery.late_deltas,
            emit=self._emit,
            lock=self._lock,
            ended=self._response_ended,
        )
        if in_band:
            self._active = response
            self._idle_at = None
        self._running.add(response)
        response.begin()
        self._crew.start("model-speaks", self._respond, response, thought, answer)
        return response

    def cancel(self, response_id: str | None) -> None:
        """Cancel the active response, or the one named. Raises RefusalError if it is not active."""
        named = (response for response in self._running if response.id == response_id)
        response = self._active if response_id is None else next(named, None)
        if response is None:
            raise RefusalError("response_cancel_not_active", "Cancellation failed: no active response found.")
        response.stop("client_cancelled")

    def check_idle(self) -> None:
        """Prompt a caller who has been silent for `idle_timeout_ms` after the assistant's audio was over."""
        if self._idle_at is None or self._input.speaking or self._equipment.clock() < self._idle_at:
            return
        self._idle_at = None
        idle_ms = (self._configuration.turn_detection or {})["idle_timeout_ms"]
        item_id = new_identifier("item")
        end_ms = self._input.clock_ms
        self._emit(
            {
                "type": "input_audio_buffer.timeout_triggered",
                "audio_start_ms": max(end_ms - idle_ms, 0),
                "audio_end_ms": end_ms,
                "item_id": item_id,
            }
        )
        item = self._user_item(item_id, self._input.commit(last_ms=idle_ms))
        self._transcribe(item, self.create_response({}))

    def abandon(self) -> None:
        """The connection has gone: end every response and every recognition, with no event."""
        self._input.close()
        for response in list(self._running):
            response.abandon()
        for utterance in self._utterances:
            utterance.cancel()

    def join(self) -> None:
        """Wait for the threads, after `abandon`. Call it without the lock."""
        self._crew.join()

    def _speech_started(self, audio_start_ms: int) -> None:
        self._idle_at = None
        self._speech_item_id = new_identifier("item")
        self._emit(
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": audio_start_ms,
                "item_id": self._speech_item_id,
            }
        )
        if self._active is not None and (self._configuration.turn_detection or {}).get("interrupt_response"):
            self._active.stop("turn_detected")

    def _speech_stopped(self, audio_end_ms: int, utterance: Utterance) -> None:
        self._emit(
            {
                "type": "input_audio_buffer.speech_stopped",
                "audio_end_ms": audio_end_ms,
                "item_id": self._speech_item_id,
            }
        )
        item = self._user_item(self._speech_item_id, utterance)
        response = None
        if (self._configuration.turn_detection or {}).get("create_response"):
            try:
                response = self.create_response({})
            except RefusalError as refusal:
                self._emit(refusal.event())
        self._transcribe(item, response)

    def _user_item(self, item_id: str, utterance: Utterance) -> Item:
        self._utterances = [each for each in self._utterances if not each.known] + [utterance]
        item = Item(
            item_id,
            role="user",
            content_type="input_audio",
            audio=bytearray(utterance.audio),
            heard=utterance.text,
        )
        previous = self._conversation.append(item)
        self._emit({"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id})
        for what in ("added", "done"):
            self._emit(
                {"type": f"conversation.item.{what}", "previous_item_id": previous, "item": item.shown()}
            )
        return item

    def _transcribe(self, item: Item, response: Response | None) -> None:
        settings = self._configuration.transcription
        if settings is not None:
            transcription = Transcription(item, settings, self._emit, self._lock)
            self._crew.start("model-transcribes", transcription.run, response)

    def _items(self, fields: dict[str, Any]) -> list[Item]:
        if "input" not in fields:
            return self._conversation.unanswered()
        items = []
        for index, given in enumerate(fields["input"]):
            if given["type"] != "item_reference":
                made = make_item(given, self._configuration.input_format, self._equipment.voice.listen)
                items.append(made)
            elif (found := self._conversation.find(given["id"])) is not None:
                items.append(found)
            else:
                raise RefusalError(
                    "invalid_value", f"Item '{given['id']}' does not exist.", f"response.input.{index}.id"
                )
        return items

    def _respond(self, response: Response, thought: Thought, answer: Answer | None) -> None:
        """Runs in the thread of the response."""
        try:
            response.stopped.wait(self._equipment.faults.response_s)
            if failure := self._equipment.faults.next_failure():
                raise failure
            if answer is None:
                heard = thought.listen()
                with self._lock:
                    if not response.active:
                        return
                    answer = thought.answer(self._dialogue, heard)
            perform(answer, response, self._equipment.voice, self._equipment.delivery)
        except Stopped:
            pass
        except FailureError as failure:
            response.fail(kind=failure.kind, code=failure.code, message=failure.message)
        except Exception as error:
            if response.active:
                logger.exception("%s: response %s failed", self._name, response.id)
            response.fail(kind="server_error", code="server_error", message=f"The model failed: {error!r}")

    def _response_ended(self, response: Response) -> None:
        self._running.discard(response)
        self._has_spoken = self._has_spoken or response.audio_ms > 0
        if response is not self._active:
            return
        self._active = None
        idle_ms = (self._configuration.turn_detection or {}).get("idle_timeout_ms")
        if idle_ms and response.status == "completed":
            self._idle_at = self._equipment.clock() + (response.audio_ms + idle_ms) / 1000
