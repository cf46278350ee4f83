"""The model's reader: connects, then reads and tells until the socket ends."""

import time
from dataclasses import replace
from typing import Any

from pykka import ActorRef

from actors.burst import Burst
from actors.greeting import GreetingKeeper
from actors.member import call_log, post
from actors.messages import AssistantAudio, AssistantAudioDone, AssistantAudioReceived, SocketLost
from actors.model_socket import ModelSocket, ModelSocketError
from actors.transcoder import AssistantTranscoder
from wire import realtime, realtime_parser
from wire.audio_format import suspicious
from wire.dialect import Session
from wire.g711 import BYTES_PER_MS
from wire.playback import Part
from wire.protocol import ProtocolError

SAYING_SECONDS = 0.5
"""The assistant's words come one by one, and each one told wakes a thread: they are told together."""


class ModelReader:
    """Reads one model socket. Runs in a thread of its own.

    Audio goes straight to the phone's mailbox: a hop through the OpenAIActor would cost a thread wake-up a frame.
    """

    def __init__(
        self,
        socket: ModelSocket,
        session: Session,
        actor: ActorRef[Any],
        phone: ActorRef[Any] | None,
        call: ActorRef[Any] | None,
        call_sid: str,
        keeper: GreetingKeeper | None = None,
    ) -> None:
        self.heard_at = time.monotonic()
        """When the server last said anything, a pong included; s of the monotonic clock. Any thread may look."""
        self._socket = socket
        self._session = session
        self._actor = actor
        self._phone = phone
        self._call = call
        self._log = call_log(__name__, call_sid)
        self._keeper = keeper
        self._transcoder: AssistantTranscoder | None = None
        self._burst = Burst()
        self._saying: dict[Part, str] = {}
        self._saying_told_at = 0.0
        self._part = Part("", 0)
        """what the latest audio belongs to"""
        self._received: dict[str, int] = {}
        self._received_of: dict[Part, float] = {}

    def run(self) -> None:
        """Connect and read until the socket ends; then tell the actor why."""
        permanent = False
        try:
            if self._session.audio.transcoded:
                self._transcoder = AssistantTranscoder()
            self._socket.connect()
            while True:
                text = self._socket.receive()
                self.heard_at = time.monotonic()
                if text is not None:
                    self._tell(realtime_parser.parse(text))
                if not self._socket.more_came:
                    self._burst.tell()
        except ModelSocketError as error:
            reason, permanent = str(error), error.permanent
        except ProtocolError as error:
            reason = f"model sent what is not a Realtime event: {error}"
        except Exception as error:
            self._log.exception("the model's reader failed")
            reason = f"the model's reader failed: {type(error).__name__}"
        self._burst.tell()
        self._tell_saying()
        post(self._actor, SocketLost(reason, permanent))

    def _tell(self, event: realtime.Event) -> None:
        if isinstance(event, realtime.AudioDelta):
            self._play(event)
            return
        self._burst.tell()  # whoever is told of this event, the phone knows of the audio before it
        match event:
            case realtime.AudioDone():
                part = Part(event.item_id, event.content_index)
                if self._transcoder and (rest := self._transcoder.finish(part)):
                    self._post_audio(event.response_id, part, rest.payload, rest.duration_ms)
                self._burst.add(self._phone, AssistantAudioDone(0.0, part))
                # The phone's actor knows it too, but may be stuck with a phone that takes nothing.
                post(self._call, AssistantAudioReceived(part, round(self._received_of.pop(part, 0.0))))
            case realtime.AssistantTranscriptDelta(item_id=item_id, content_index=content_index, text=text):
                part = Part(item_id, content_index)
                self._saying[part] = self._saying.get(part, "") + text
                if self.heard_at >= self._saying_told_at + SAYING_SECONDS:
                    self._tell_saying()
            case realtime.AssistantTranscript(item_id=item_id, content_index=content_index, text=text):
                self._saying.pop(Part(item_id, content_index), None)
                if self._keeper is not None:
                    self._keeper.said(Part(item_id, content_index), text)
                post(self._call, event)
            case realtime.ItemAdded() | realtime.ItemDeleted() | realtime.AudioCommitted():
                # The session does not depend on them; the call keeps the conversation, for longer than a session.
                post(self._call, event)
            case realtime.McpFailed(text=text):
                self._log.warning("MCP: %s", text)
            case realtime.Other():
                pass  # nothing that a telephone call needs
            case realtime.ResponseDone():
                self._tell_saying()
                received = self._received.pop(event.response_id, 0)
                possible = self._check_length(event, received)
                post(self._actor, replace(event, silent=not received))
                if self._keeper is not None and self._keeper.done(
                    event.response_id, possible and event.status == "completed"
                ):
                    self._keeper = None
            case _:
                post(self._actor, event)

    def _tell_saying(self) -> None:
        self._saying_told_at = self.heard_at
        for part, text in self._saying.items():
            post(self._call, realtime.AssistantTranscriptDelta(part.item_id, part.content_index, text))
        self._saying.clear()

    def _play(self, delta: realtime.AudioDelta) -> None:
        if not delta.payload:
            return  # a media message without audio is an error to Twilio
        response_id, item_id, content_index, payload, duration_ms = delta
        part = self._part
        if part.item_id != item_id or part.content_index != content_index:
            part = self._part = Part(item_id, content_index)
        received = self._received
        received[response_id] = received.get(response_id, 0) + round(duration_ms * BYTES_PER_MS)
        if self._transcoder is None:
            self._post_audio(response_id, part, payload, duration_ms)
        elif audio := self._transcoder.transcode(part, payload):
            self._post_audio(response_id, part, audio.payload, audio.duration_ms)

    def _post_audio(self, response_id: str, part: Part, payload: str, duration_ms: float) -> None:
        self._received_of[part] = self._received_of.get(part, 0.0) + duration_ms
        self._burst.add(self._phone, AssistantAudio(duration_ms, response_id, part, payload, self.heard_at))
        if self._keeper is not None:
            self._keeper.audio(response_id, part, payload)

    def _check_length(self, done: realtime.ResponseDone, received: int) -> bool:
        """Whether the audio can be what it was told to be."""
        if done.status != "completed":
            return True  # may be billed for less than it sent
        why = suspicious(received, done.usage.audio_out, self._session.speed, self._session.audio)
        if why:
            self._log.warning("the model's audio cannot be in the format it was told to be: %s", why)
        return not why
