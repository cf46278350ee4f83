"""The recordings that Twilio keeps: mono WAVs under their identifiers."""

import io
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wire.g711 import SAMPLE_RATE, decode_ulaw


@dataclass(frozen=True, slots=True)
class KeptRecording:
    """`audio` is mu-law at 8000 Hz."""

    sid: str
    call_sid: str
    audio: bytes
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def seconds(self) -> int:
        return -(-len(self.audio) // SAMPLE_RATE)

    def wav(self) -> bytes:
        """The file: 16-bit PCM, mono, 8000 Hz."""
        file = io.BytesIO()
        with wave.open(file, "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(SAMPLE_RATE)
            recording.writeframes(decode_ulaw(self.audio))
        return file.getvalue()
