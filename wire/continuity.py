"""Lost caller audio: how much silence stands in for it, so that the model's clock stays true.

The model's turn detection counts the audio that it is given and has no other clock (openai-realtime.md, 8.3).
Where Twilio lost frames it hears the caller's words run together, and a pause that was lost never ends a turn.
Twilio says in each media message where its audio belongs: `timestamp`, in ms since the stream began.

    timestamps     0    20    40                  120   140
    caller      |====|====|====|                |====|====|
    the model   |====|====|====|~~~ 60 ms silence ~~~|====|====|

The clock is the first timestamp plus everything passed on since, silence included, and not the previous message's
timestamp. So jitter never adds up, and audio that came twice or too early is made up for by the next gap.
Only what is lost shows in the timestamps: frames that are merely late follow each other without a gap in them.

Pure. Source: Twilio, "Media Streams - WebSocket Messages", on `media`.
"""

import base64

from wire.audio_format import UlawAudio
from wire.g711 import BYTES_PER_MS, FRAME_MS, ULAW_SILENCE

JITTER_MS = 5
"""How much earlier than a whole frame a gap may look like one: timestamps are off by a few ms."""

PIECE_MS = 100
"""The longest piece of silence; longer appends make turn detection lag (openai-realtime.md, 8.1)."""

LONGEST_GAP_MS = 5000
"""No more silence than this goes into one gap.

A silent socket is given up after 5 s, so that a longer gap is a clock that jumped and not audio that was lost. And
turn detection needs `silence_duration_ms` to end a turn, some 500 ms: what comes after that changes nothing, but
would be as many appends at once.
"""

LONGEST_OVERLAP_MS = 1000
"""Timestamps further behind the audio than this are a clock that was set back: it starts anew from there."""


def silence(duration_ms: float) -> list[UlawAudio]:
    """So much silence, in pieces that can be appended one by one. Rounded down to the sample, 0.125 ms."""
    pieces, rest = divmod(int(duration_ms * BYTES_PER_MS), PIECE_MS * BYTES_PER_MS)
    return [_PIECE] * pieces + ([_silence(rest)] if rest else [])


def _silence(length: int) -> UlawAudio:
    return UlawAudio(base64.b64encode(ULAW_SILENCE * length).decode(), length / BYTES_PER_MS)


_PIECE = _silence(PIECE_MS * BYTES_PER_MS)
_FRAMES = tuple(tuple(silence(count * FRAME_MS)) for count in range(LONGEST_GAP_MS // FRAME_MS + 1))
"""The silence for every gap that is filled: whole frames, as it is whole frames that get lost."""


class Continuity:
    """The clock of one media stream's caller audio. One thread: the one that reads the stream."""

    def __init__(self) -> None:
        self._clock_ms: float | None = None
        self._latest_ms = 0
        self.padded_ms = 0
        """Silence that stood in for lost audio."""
        self.gaps = 0
        """How often it had to."""
        self.unfilled_ms = 0.0
        """What was missing beyond the longest gap and was left out."""
        self.out_of_order = 0
        """Messages that repeated a timestamp or went back behind one."""

    @property
    def clock_ms(self) -> float:
        """Where in the stream everything that was passed on ends, in ms since it began."""
        return self._clock_ms or 0.0

    def before(self, timestamp_ms: int, duration_ms: float) -> tuple[UlawAudio, ...]:
        """The silence that goes in front of a media message: most of the time none. Never raises.

        The message itself is always passed on behind it, a repeated one too: two frames of the caller's voice
        are better than none, and which of them is the mistake cannot be told.
        """
        if self._clock_ms is None:
            self._clock_ms = timestamp_ms + duration_ms  # what was before the first message, nobody lost
            self._latest_ms = timestamp_ms
            return ()
        if timestamp_ms <= self._latest_ms:
            self.out_of_order += 1
        self._latest_ms = timestamp_ms
        gap_ms = timestamp_ms - self._clock_ms
        frames = 0
        if gap_ms > LONGEST_GAP_MS + JITTER_MS:
            frames = len(_FRAMES) - 1
            self.unfilled_ms += gap_ms - LONGEST_GAP_MS
            self._clock_ms = float(timestamp_ms - LONGEST_GAP_MS)
        elif gap_ms < -LONGEST_OVERLAP_MS:
            self._clock_ms = float(timestamp_ms)
        elif gap_ms > 0:
            frames = int((gap_ms + JITTER_MS) // FRAME_MS)
        self._clock_ms += frames * FRAME_MS + duration_ms
        if frames:
            self.padded_ms += frames * FRAME_MS
            self.gaps += 1
        return _FRAMES[frames]
