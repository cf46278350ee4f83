"""The model's reader: connects, then reads and tells until the socket ends."""

import time
from typing import Any

from pykka import ActorRef

from actors.member import call_log, post
from actors.messages import AssistantAudio, AssistantAudioDone, SocketLost
from actors.model_socket import ModelSocket, ModelSocketError
from actors.transcoder import AssistantTranscoder
from wire import realtime
from wire.audio_format import UlawAudio, suspicious
from wire.dialect import Session
from wire.g711 import BYTES_PER_MS
from wire.playback import Part
from wire.protocol import ProtocolError


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
        call_sid: str,
    ) -> None:
        self._socket = socket
        self._session = session
        self._actor = actor
        self._phone = phone
        self._log = call_log(__name__, call_sid)
        self._transcoder: AssistantTranscoder | None = None
        self._received: dict[str, int] = {}

    def run(self) -> None:
        """Connect and read until the socket ends; then tell the actor why."""
        try:
            if self._session.audio.transcoded:
                self._transcoder = AssistantTranscoder()
            self._socket.connect()
            while True:
                self._tell(realtime.parse(self._socket.receive()))
        except ModelSocketError as error:
            reason = str(error)
        except ProtocolError as error:
            reason = f"model sent what is not a Realtime event: {error}"
        except Exception as error:
            self._log.exception("the model's reader failed")
            reason = f"the model's reader failed: {type(error).__name__}"
        post(self._actor, SocketLost(reason))

    def _tell(self, event: realtime.Event) -> None:
        match event:
            case realtime.AudioDelta():
                self._play(event)
            case realtime.AudioDone():
                part = Part(event.item_id, event.content_index)
                if self._transcoder and (rest := self._transcoder.finish(part)):
                    self._post_audio(event.response_id, part, rest)
                post(self._phone, AssistantAudioDone(0.0, part))
            case realtime.Other() | realtime.ItemAdded() | realtime.AudioCommitted():
                pass  # nothing that a telephone call needs
            case realtime.ResponseDone():
                self._check_length(event)
                post(self._actor, event)
            case _:
                post(self._actor, event)

    def _play(self, delta: realtime.AudioDelta) -> None:
        part = Part(delta.item_id, delta.content_index)
        received = self._received.get(delta.response_id, 0)
        self._received[delta.response_id] = received + round(delta.duration_ms * BYTES_PER_MS)
        if self._transcoder is None:
            self._post_audio(delta.response_id, part, UlawAudio(delta.payload, delta.duration_ms))
        elif audio := self._transcoder.transcode(part, delta.payload):
            self._post_audio(delta.response_id, part, audio)

    def _post_audio(self, response_id: str, part: Part, audio: UlawAudio) -> None:
        message = AssistantAudio(audio.duration_ms, response_id, part, audio.payload, time.monotonic())
        post(self._phone, message)

    def _check_length(self, done: realtime.ResponseDone) -> None:
        received = self._received.pop(done.response_id, 0)
        if done.status != "completed":
            return  # may be billed for less than it sent
        if why := suspicious(received, done.audio_tokens, self._session.speed, self._session.audio):
            self._log.warning("the model's audio cannot be in the format it was told to be: %s", why)
