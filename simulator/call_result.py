"""All that is known of a simulated call when it is over: the truth that tests and benchmarks compare with.

Sample times count samples at 8000 Hz since `dial`; 8 are a millisecond.
"""

from dataclasses import dataclass, field
from pathlib import Path

from simulator.line import Utterance
from simulator.phone_events import EndReason, PhoneEvent, ProtocolError
from simulator.playout import ClearRecord, MarkRecord, MediaRecord
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE


@dataclass(slots=True)
class StreamRecord:
    """One media stream. The call's thread changes it until the stream has ended."""

    stream_sid: str
    url: str
    name: str
    parameters: dict[str, str]
    opened: int = 0
    """Sample time of the end of the handshake."""
    closed: int | None = None
    close_code: int | None = None
    frames_sent: int = 0
    """Media messages sent, 20 ms each."""
    media: list[MediaRecord] = field(default_factory=list)
    marks: list[MarkRecord] = field(default_factory=list)
    clears: list[ClearRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of the caller and what the assistant did, in milliseconds, as heard at the phone."""

    utterance: int
    response_ms: float | None
    """From the end of the caller's speech to the first audible assistant audio after it.

    None if there was none before the caller's next utterance ended.
    """
    silence_ms: float | None
    """From the start of the caller's speech to the assistant's silence. None if it was silent already."""


@dataclass(frozen=True, slots=True)
class CallResult:
    call_sid: str
    reason: EndReason
    seconds: float
    """From `dial` to the end of the call."""
    events: tuple[PhoneEvent, ...]
    streams: tuple[StreamRecord, ...]
    utterances: tuple[Utterance, ...]
    audible: tuple[tuple[int, int], ...]
    """Sample times from when to when the assistant was audible, pauses between words included."""
    max_lateness_ms: float
    """The longest that a media frame left after its time: more than a few, and this machine was too busy."""
    recording: Path | None
    said: tuple[tuple[int, int], ...] = ()
    """Sample times from when to when a Say of the TwiML was spoken. That is sound, whether or not it was rendered."""

    @property
    def errors(self) -> tuple[ProtocolError, ...]:
        return tuple(event for event in self.events if isinstance(event, ProtocolError))

    def turns(self) -> tuple[Turn, ...]:
        """The latencies of each utterance whose audible part was said to its end, in order."""
        spoken = [
            (utterance.number, utterance.start + utterance.speech[0], utterance.start + utterance.speech[1])
            for utterance in self.utterances
            if utterance.start is not None and not utterance.cut
        ]
        limits = [end for _, _, end in spoken[1:]] + [None]
        return tuple(
            Turn(number, self._response_ms(end, limit), self._silence_ms(start))
            for (number, start, end), limit in zip(spoken, limits, strict=False)
        )

    def longest_silence_ms(self, start_s: float = 0.0, end_s: float | None = None) -> float:
        """The longest stretch between two moments, in seconds since `dial`, in which the assistant was not heard.

        In ms. A Say is heard as well, and so is a pause between words, of 300 ms at most. Where a call had several
        streams, the time between them counts like any other. `end_s` None is the end of the call.
        """
        return self._longest_gap_ms([*self.audible, *self.said], start_s, end_s)

    def longest_dead_air_ms(self, start_s: float = 0.0, end_s: float | None = None) -> float:
        """As `longest_silence_ms`, but the caller's own speech is no silence either."""
        spoken = [
            (each.start + each.speech[0], each.start + each.speech[1])
            for each in self.utterances
            if each.start is not None
        ]
        return self._longest_gap_ms([*self.audible, *self.said, *spoken], start_s, end_s)

    def _longest_gap_ms(self, sound: list[tuple[int, int]], start_s: float, end_s: float | None) -> float:
        position, longest = round(start_s * SAMPLE_RATE), 0
        end = round((self.seconds if end_s is None else end_s) * SAMPLE_RATE)
        for began, ended in sorted(sound):
            if began == ended:
                continue
            longest = max(longest, min(began, end) - position)
            position = max(position, ended)
        return max(longest, end - position) / BYTES_PER_MS

    def _response_ms(self, ended: int, limit: int | None) -> float | None:
        starts = (start for start, _ in self.audible if start >= ended and (limit is None or start < limit))
        first = next(starts, None)
        return None if first is None else (first - ended) / BYTES_PER_MS

    def _silence_ms(self, started: int) -> float | None:
        ends = (end for start, end in self.audible if start <= started < end)
        last = next(ends, None)
        return None if last is None else (last - started) / BYTES_PER_MS
