"""Whether the server hears the caller: what it should have noticed is listened for here as well.

    the caller's audio                                 the server          then
    words, and a silence behind them                   says nothing        Missed: it may not live any more
    15 s of a voice, with semantic turn detection      says nothing        SwitchToServerVad, once

Pure, and without a clock: time is the audio's own.
"""

from dataclasses import dataclass

from wire.liveness import UnnoticedSpeech
from wire.vad_watchdog import SERVER_VAD_STOP_MS, SwitchToServerVad, VadWatchdog


@dataclass(frozen=True, slots=True)
class Missed:
    """The server should have said that the caller's turn is over."""

    late_ms: float
    """since when"""


class Hearing:
    """One model session's. Not thread-safe: it belongs to the actor that owns the model's socket."""

    def __init__(self, stop_delay_ms: float, semantic: bool) -> None:
        """`stop_delay_ms`: the silence after which the server takes a turn to be over."""
        self._unnoticed = UnnoticedSpeech(stop_delay_ms)
        self._watchdog = VadWatchdog() if semantic else None

    def speech_started(self) -> None:
        """The server hears the caller."""
        if self._watchdog is not None:
            self._watchdog.speech_started()

    def speech_stopped(self) -> None:
        """The server has said that the caller's turn is over."""
        self._unnoticed.noticed()
        if self._watchdog is not None:
            self._watchdog.speech_stopped()

    def caller_audio(
        self, loud: bool, words: bool, duration_ms: float, playing: bool
    ) -> Missed | SwitchToServerVad | None:
        """A piece was passed on. `words`: it is loud and no echo; `playing`: the assistant can be heard."""
        if (late_ms := self._unnoticed.caller_audio(words, duration_ms)) is not None:
            return Missed(late_ms)
        if self._watchdog is None or not (switch := self._watchdog.caller_audio(loud, duration_ms, playing)):
            return None
        self._unnoticed = UnnoticedSpeech(SERVER_VAD_STOP_MS)
        return switch
