"""The phone's reader: reads one media stream and tells, and keeps what the caller says for a session to come."""

import threading
import time
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

from pykka import ActorRef

from actors.burst import Burst
from actors.member import Audience, NoAudience, lend, post
from actors.messages import CallerAudio, DigitPressed, MarkEchoed, StreamStopped
from wire import twilio
from wire.audio_format import UlawAudio
from wire.continuity import Continuity
from wire.g711 import BYTES_PER_MS, ULAW_SILENCE
from wire.kept_audio import KeptAudio
from wire.loudness import is_loud
from wire.protocol import ProtocolError

KEPT_SECONDS = 5.0
"""Of the caller's audio, while the caller is not known to speak."""
KEPT_SPEECH_SECONDS = 30.0
"""While the caller speaks, and until a session has put it into words. Takes 0.25 MiB when it is full."""


class PhoneReader:
    """Reads one media stream: audio to the model's actor, marks to the phone's, control to the call.

    Caller audio that got lost on the way is made up for with silence, because the model's voice activity detection
    counts time in audio. The latest is kept: a session that takes the place of a lost one hears what that one did
    not answer. `receive` runs in the WSGI thread that holds the socket, and may run these actors in it;
    the rest is the CallActor's.
    """

    def __init__(
        self,
        stream_sid: str,
        call: ActorRef[Any],
        phone: ActorRef[Any],
        listeners: Audience | None = None,
    ) -> None:
        self._stream_sid = stream_sid
        self._call = call
        self._phone = phone
        self._continuity = Continuity()
        self._lock = threading.Lock()
        self._listeners = listeners or NoAudience()
        self._model: ActorRef[Any] | None = None
        self._kept = KeptAudio(KEPT_SECONDS * 1000)
        self._burst = Burst()
        self._muted = False

    def mute(self, muted: bool) -> None:
        """Whether silence takes the place of what the caller says, for everybody: card mode."""
        with self._lock:
            self._muted = muted

    def receive(self, text: str | bytes, more: bool = False) -> None:
        """Take one frame. Raises ProtocolError if it is not a message of this stream.

        `more`: the next has come already, and is given to this at once. What has queued up goes out in one write.
        """
        try:
            self._tell(twilio.parse(text, self._stream_sid))
        except BaseException:
            self._burst.tell()
            raise
        if not more:
            self._burst.tell()

    def _tell(self, message: twilio.Message) -> None:
        match message:
            case twilio.Media(payload, ulaw, timestamp_ms):
                now = time.monotonic()
                duration_ms = len(ulaw) / BYTES_PER_MS
                silence = self._continuity.before(timestamp_ms, duration_ms)
                begins_ms = self._continuity.clock_ms - duration_ms
                if silence:
                    self._make_up(silence, begins_ms, now - duration_ms / 1000)
                audio = CallerAudio(duration_ms, payload, now, begins_ms, is_loud(ulaw))
                self._pass_on(audio, ulaw)
            case twilio.Mark(name=name):
                lend(self._phone, MarkEchoed(name, self._continuity.clock_ms, time.monotonic()))
            case twilio.Dtmf(digit=digit):
                post(self._call, DigitPressed(digit))
            case twilio.Stop():
                post(
                    self._call,
                    StreamStopped("caller hung up, or Twilio took the call elsewhere", by_twilio=True),
                )
            case twilio.Connected() | twilio.Start() as unexpected:
                raise ProtocolError(f"{type(unexpected).__name__.lower()} in the middle of a stream")
            case twilio.Unknown():
                pass  # Twilio may add events at any time

    def attach(self, model: ActorRef[Any] | None, since: float = float("inf")) -> None:
        """From now on `model` takes the caller's audio; first it gets what was kept since then (monotonic s)."""
        with self._lock:
            self._model = model
            for ulaw, arrived_at in self._kept.since(since):
                payload, duration_ms = b64encode(ulaw).decode(), len(ulaw) / BYTES_PER_MS
                post(model, CallerAudio(duration_ms, payload, arrived_at, loud=is_loud(ulaw)))

    def keep(self, seconds: float) -> None:
        """Keep so much of the caller's audio from now on."""
        with self._lock:
            self._kept.limit(seconds * 1000)

    def _make_up(self, silence: tuple[UlawAudio, ...], ends_ms: float, arrived_at: float) -> None:
        position_ms = ends_ms - sum(lost.duration_ms for lost in silence)
        for lost in silence:
            audio = CallerAudio(lost.duration_ms, lost.payload, arrived_at, position_ms)
            self._pass_on(audio, b64decode(lost.payload))
            position_ms += lost.duration_ms

    def _pass_on(self, audio: CallerAudio, ulaw: bytes) -> None:
        with self._lock:
            if self._muted:
                ulaw = ULAW_SILENCE * len(ulaw)
                audio = replace(audio, payload=b64encode(ulaw).decode(), loud=False)
            self._kept.add(ulaw, audio.arrived_at)
            model = self._model
        # Not with the lock held, which the CallActor takes: it must never wait for a model.
        self._burst.add(model, audio)
        self._listeners.tell(audio)
