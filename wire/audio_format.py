"""Which audio a model session speaks, and whether what it sends can be that.

A session speaks mu-law both ways, so that audio crosses the bridge untouched. Some servers know 24 kHz PCM only;
for them the operator chooses `pcm24` and `actors.transcoder` converts. Source: openai-realtime.md, 3.2 and 8.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wire.g711 import BYTES_PER_MS

TOKEN_MS = 50
"""Assistant audio costs a token for so many ms of speech."""

TOO_LONG = 3.0
"""How many times too long audio must be. PCM at 24 kHz taken for mu-law is 6 times too long."""

FEWEST_TOKENS = 20
"""An answer billed for less, 1 s, is too short to be judged."""

LEAST_EXCESS_MS = 2000
"""How much too long audio must be in any case. Counts are rounded and lengths differ by some 100 ms."""


@dataclass(frozen=True, slots=True)
class UlawAudio:
    """A piece of audio as it travels on the telephone's side."""

    payload: str
    """base64 of mu-law at 8000 Hz"""
    duration_ms: float


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What a session is told to speak and to listen to; the same both ways."""

    setting: str
    """its name in OPENAI_REALTIME_AUDIO"""
    ga: Mapping[str, Any]
    """the GA `format` object, to the letter: a key too many and the server refuses the whole update"""
    beta: str
    """the beta's name for it"""
    bytes_per_ms: int
    transcoded: bool
    """whether audio must be converted on its way between this and the telephone's mu-law"""

    def is_named(self, name: str) -> bool:
        """Whether `session.updated` means this format by that name, in either dialect."""
        return name in (self.ga["type"], self.beta)


PCMU = AudioFormat("pcmu", {"type": "audio/pcmu"}, "g711_ulaw", BYTES_PER_MS, transcoded=False)
PCM24 = AudioFormat("pcm24", {"type": "audio/pcm", "rate": 24000}, "pcm16", 48, transcoded=True)

FORMATS: Mapping[str, AudioFormat] = {each.setting: each for each in (PCMU, PCM24)}


def suspicious(
    bytes_received: int, audio_tokens: int, speed: float = 1.0, audio_format: AudioFormat = PCMU
) -> str | None:
    """Why the audio of a whole response cannot be in its format; None if it can, or too little came to tell.

    `bytes_received` is decoded audio, `audio_tokens` is `usage.output_token_details.audio_tokens` of its
    `response.done`. Ask about completed responses: a cancelled one may be billed for less than it sent.

    `speed` is the session's. It stretches the audio after it was generated, and nobody says on which side of
    that the tokens are counted, so audio is suspicious only if it is too long either way: mu-law at a quarter of
    the speed would look like PCM otherwise.

    Only too much audio is suspicious. Too little has innocent reasons (the API's own example of `response.done`
    bills 91 tokens, 4.5 s, for three words), and no wrong format looks like it.
    """
    if audio_tokens < FEWEST_TOKENS:
        return None
    billed_ms = audio_tokens * TOKEN_MS * max(1.0, 1.0 / speed)
    received_ms = bytes_received / audio_format.bytes_per_ms
    if received_ms < billed_ms * TOO_LONG or received_ms < billed_ms + LEAST_EXCESS_MS:
        return None
    return (
        f"{bytes_received} bytes of audio for {audio_tokens} audio tokens: {received_ms / 1000:.1f} s as"
        f" {audio_format.ga['type']}, {received_ms / billed_ms:.1f} times what was billed;"
        f" 24 kHz PCM is {PCM24.bytes_per_ms / audio_format.bytes_per_ms:g} times."
        f" If callers hear noise, set OPENAI_REALTIME_AUDIO={PCM24.setting}"
    )
