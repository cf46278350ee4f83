"""The gate against coughs, echo and "mhm": scenarios, and any sequence of events at all."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wire.false_start import (
    TRANSCRIPT_SECONDS,
    Command,
    FalseStart,
    Gate,
    Gating,
    Interrupt,
    Remind,
    Resume,
    TurnOver,
)

GATED = Gating("gated", minimum_speech_ms=250, stop_delay_ms=500)
RESUMING = Gating("gated", minimum_speech_ms=250, stop_delay_ms=500, resume=True)
QUIET = Gating("gated", minimum_speech_ms=250, stop_delay_ms=500, quiet_interrupts=True)


@dataclass
class Caller:
    """A caller on a line, 20 ms after 20 ms, with a server that hears the caller 100 ms late, both ways."""

    gate: Gate
    now: float = 100.0
    said: list[tuple[float, Command]] = field(default_factory=list)

    def note(self, commands: list[Command]) -> list[Command]:
        self.said += [(round(self.now - 100.0, 3), command) for command in commands]
        return commands

    @property
    def commands(self) -> list[Command]:
        return [command for _, command in self.said]

    def sound(self, ms: int, loud: bool = True) -> None:
        for _ in range(ms // 20):
            self.now += 0.02
            self.note(self.gate.caller_audio(loud, 20, self.now))

    def speak(self, ms: int, item_id: str = "item_1", loud: bool = True, stop_delay_ms: int = 500) -> None:
        """Speech, as the gate gets to know of it: the server's events come when it has noticed."""
        noticed = min(ms, 100)
        self.sound(noticed, loud)
        if ms < 100:
            self.sound(100 - ms // 20 * 20, loud=False)
        self.note(self.gate.speech_started(item_id, self.now))
        self.sound(ms - noticed, loud)
        self.sound(stop_delay_ms, loud=False)
        self.note(self.gate.speech_stopped(item_id, self.now))

    def playing(self, playing: bool) -> None:
        self.note(self.gate.playing(playing, self.now))


def caller(gating: Gating, playing: bool) -> Caller:
    found = Caller(Gate(gating))
    found.playing(playing)
    return found


@pytest.mark.parametrize("playing", [False, True])
def test_in_server_mode_any_speech_interrupts_and_the_server_does_the_rest(playing: bool) -> None:
    line = caller(Gating(), playing)
    line.speak(60)
    assert line.commands == [Interrupt()]


@pytest.mark.parametrize("ms", [40, 100, 240])
def test_a_cough_while_the_assistant_speaks_is_a_false_start(ms: int) -> None:
    """protocol-gotchas 14 and 15"""
    line = caller(GATED, playing=True)
    line.speak(ms)
    assert line.commands == [FalseStart("item_1")]


@pytest.mark.parametrize("ms", [260, 600, 5000])
def test_speech_while_the_assistant_speaks_interrupts_once_and_is_a_turn(ms: int) -> None:
    line = caller(GATED, playing=True)
    line.speak(ms)
    assert line.commands == [Interrupt(), TurnOver("item_1")]


def test_speech_interrupts_as_soon_as_it_is_long_enough() -> None:
    line = caller(GATED, playing=True)
    line.speak(2000)
    assert line.said[0] == (0.26, Interrupt())


def test_what_was_said_before_the_server_noticed_counts() -> None:
    line = caller(GATED, playing=True)
    line.sound(400)
    assert line.commands == []
    line.note(line.gate.speech_started("item_1", line.now))
    assert line.commands == [Interrupt()]


@pytest.mark.parametrize("ms", [40, 600])
def test_a_turn_while_the_assistant_is_silent_is_a_turn_however_short(ms: int) -> None:
    line = caller(GATED, playing=False)
    line.speak(ms)
    assert line.commands == [TurnOver("item_1")]


def test_a_short_answer_that_begins_before_the_question_ends_is_a_turn() -> None:
    line = caller(GATED, playing=True)
    line.sound(100)
    line.note(line.gate.speech_started("item_1", line.now))
    line.playing(False)
    line.sound(500, loud=False)
    line.note(line.gate.speech_stopped("item_1", line.now))
    assert line.commands == [TurnOver("item_1")]


def test_an_answer_that_comes_while_the_caller_talks_on_is_interrupted_at_once() -> None:
    line = caller(GATED, playing=False)
    line.sound(100)
    line.note(line.gate.speech_started("item_1", line.now))
    line.sound(300)
    assert line.commands == []
    line.playing(True)
    assert line.commands == [Interrupt()]


def test_coughs_one_after_the_other_do_not_add_up() -> None:
    line = caller(GATED, playing=True)
    line.sound(200)
    line.note(line.gate.speech_started("item_1", line.now))
    for _ in range(5):
        line.sound(200, loud=False)
        line.sound(200)
    assert line.commands == []


def test_the_stops_inside_words_do_not_part_them() -> None:
    line = caller(GATED, playing=True)
    line.note(line.gate.speech_started("item_1", line.now))
    for _ in range(5):
        line.sound(60)
        line.sound(100, loud=False)
    assert line.commands == [Interrupt()]


def test_loud_audio_that_the_server_does_not_take_for_speech_is_no_interruption() -> None:
    line = caller(GATED, playing=True)
    line.sound(10_000)
    assert line.commands == []


def test_with_a_minimum_of_0_any_speech_interrupts() -> None:
    line = caller(Gating("gated", minimum_speech_ms=0), playing=True)
    line.speak(40)
    assert line.commands == [Interrupt(), TurnOver("item_1")]


def test_quiet_sounds_are_taken_for_echo_however_long() -> None:
    """protocol-gotchas 14"""
    line = caller(GATED, playing=True)
    line.speak(5000, loud=False)
    assert line.commands == [FalseStart("item_1")]


def test_on_a_line_without_echo_a_weak_voice_interrupts_when_it_must_have_been_long_enough() -> None:
    line = caller(QUIET, playing=True)
    started = line.now
    assert line.gate.speech_started("item_1", started) == [Remind(0.75)]
    assert line.gate.due(started + 0.5) == [Remind(0.25)]
    assert line.gate.due(started + 0.75) == [Interrupt()]
    assert line.gate.due(started + 0.76) == []
    assert line.gate.speech_stopped("item_1", started + 1) == [TurnOver("item_1")]


def test_a_weak_voice_interrupts_though_its_reminder_was_late() -> None:
    gate = Gate(QUIET)
    gate.playing(True, 1.0)
    gate.speech_started("item_1", 1.0)
    assert gate.speech_stopped("item_1", 1.8) == [Interrupt(), TurnOver("item_1")]


def test_a_short_quiet_sound_is_a_false_start_on_a_line_without_echo_too() -> None:
    gate = Gate(QUIET)
    gate.playing(True, 1.0)
    gate.speech_started("item_1", 1.0)
    assert gate.speech_stopped("item_1", 1.7) == [FalseStart("item_1")]
    assert gate.due(1.75) == []


def test_an_end_that_is_told_twice_counts_once() -> None:
    line = caller(GATED, playing=False)
    line.speak(300)
    assert line.gate.speech_stopped("item_1", line.now) == []


def test_a_speech_whose_start_was_lost_is_a_turn() -> None:
    assert Gate(GATED).speech_stopped("item_1", 1.0) == [TurnOver("item_1")]


def test_a_speech_whose_end_was_lost_does_not_keep_the_next_from_being_judged() -> None:
    line = caller(GATED, playing=True)
    line.note(line.gate.speech_started("item_1", line.now))
    line.speak(100, "item_2")
    assert line.commands == [FalseStart("item_2")]


def test_the_end_of_another_speech_is_not_the_end_of_this_one() -> None:
    line = caller(GATED, playing=True)
    line.note(line.gate.speech_started("item_2", line.now))
    assert line.gate.speech_stopped("item_1", line.now) == [TurnOver("item_1")]
    line.sound(300)
    assert line.commands == [Interrupt()]


def test_an_interruption_without_words_resumes_the_answer() -> None:
    line = caller(RESUMING, playing=True)
    line.speak(600)
    assert line.commands == [Interrupt(), Remind(TRANSCRIPT_SECONDS)]
    assert line.gate.transcript("item_1", " ... ") == [FalseStart("item_1"), Resume()]
    assert line.gate.due(line.now + TRANSCRIPT_SECONDS) == []


@pytest.mark.parametrize("text", ["Wait a moment.", "Nein!", "等等", "5", None])
def test_an_interruption_with_words_or_a_failed_transcription_is_a_turn(text: str | None) -> None:
    line = caller(RESUMING, playing=True)
    line.speak(600)
    assert line.gate.transcript("item_1", text) == [TurnOver("item_1")]


def test_a_transcript_that_is_late_does_not_keep_the_caller_waiting() -> None:
    line = caller(RESUMING, playing=True)
    line.speak(600)
    match line.gate.due(line.now + 0.6):
        case [Remind(seconds)]:
            assert seconds == pytest.approx(0.4)
        case other:
            pytest.fail(f"a reminder for the rest of the second was expected, not {other}")
    assert line.gate.due(line.now + TRANSCRIPT_SECONDS) == [TurnOver("item_1")]
    assert line.gate.transcript("item_1", "") == []


def test_a_transcript_that_is_early_is_remembered() -> None:
    line = caller(RESUMING, playing=True)
    line.sound(300)
    line.note(line.gate.speech_started("item_1", line.now))
    assert line.gate.transcript("item_1", "") == []
    assert line.gate.speech_stopped("item_1", line.now + 1) == [FalseStart("item_1"), Resume()]


def test_a_caller_who_goes_on_is_not_talked_over_by_a_resumed_answer() -> None:
    line = caller(RESUMING, playing=True)
    line.speak(600)
    line.playing(False)
    assert line.note(line.gate.speech_started("item_2", line.now)) == [TurnOver("item_1")]
    assert line.gate.transcript("item_1", "") == []
    assert line.gate.speech_stopped("item_2", line.now + 1) == [TurnOver("item_2")]


def test_only_interruptions_wait_for_their_words() -> None:
    line = caller(RESUMING, playing=False)
    line.speak(600)
    assert line.commands == [TurnOver("item_1")]


def test_transcripts_of_other_items_mean_nothing() -> None:
    line = caller(RESUMING, playing=True)
    line.sound(300)
    line.note(line.gate.speech_started("item_1", line.now))
    assert line.gate.transcript("item_0", "") == []
    assert line.gate.speech_stopped("item_1", line.now) == [Remind(TRANSCRIPT_SECONDS)]
    assert line.gate.transcript("item_0", "") == []


def test_what_the_server_may_do_by_itself_follows_from_the_mode() -> None:
    assert Gating().by_server
    assert not GATED.by_server


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"resume": True}, "resume needs mode gated"),
        ({"mode": "gated", "minimum_speech_ms": -1}, "not negative"),
        ({"mode": "gated", "stop_delay_ms": -1}, "not negative"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Gating(**wrong)  # type: ignore[arg-type]


class AnyCall(RuleBasedStateMachine):
    """Whatever happens: who is judged is judged once, and nothing is interrupted without a reason."""

    gating = RESUMING

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(self.gating)
        self.now = 1.0
        self.items = 0
        self.open: str | None = None
        self.is_playing = False
        self.loud_ms_in_a_row = 0.0
        self.quiet_ms = 0.0
        self.started_at = 0.0
        self.interrupted: set[str] = set()
        self.stopped: list[str] = []
        self.verdicts: dict[str, Command] = {}
        self.reminders: list[float] = []
        self.resumed = 0

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Interrupt():
                    assert self.is_playing
                    assert self.open is not None
                    assert self.open not in self.interrupted
                    assert self.long_enough()
                    self.interrupted.add(self.open)
                case TurnOver(item_id) | FalseStart(item_id):
                    assert item_id not in self.verdicts
                    assert item_id in self.stopped
                    self.verdicts[item_id] = command
                case Resume():
                    assert self.open is None
                    self.resumed += 1
                case Remind(seconds):
                    assert 0 < seconds < TRANSCRIPT_SECONDS + 0.001
                    self.reminders.append(self.now + seconds)

    def long_enough(self) -> bool:
        return self.loud_ms_in_a_row >= 250

    @precondition(lambda self: self.open is None)
    @rule()
    def start(self) -> None:
        self.items += 1
        self.open = f"item_{self.items}"
        self.started_at = self.now
        self.carry_out(self.gate.speech_started(self.open, self.now))

    @precondition(lambda self: self.open is not None)
    @rule()
    def stop(self) -> None:
        item_id = self.open
        assert item_id is not None
        self.stopped.append(item_id)
        commands = self.gate.speech_stopped(item_id, self.now)
        if Interrupt() in commands:
            self.carry_out([Interrupt()])
            commands.remove(Interrupt())
        self.open = None
        self.carry_out(commands)
        if item_id not in self.interrupted:
            wanted = FalseStart(item_id) if self.is_playing else TurnOver(item_id)
            assert self.verdicts[item_id] == wanted

    @rule(loud=st.booleans(), pieces=st.integers(1, 20))
    def hear(self, loud: bool, pieces: int) -> None:
        for _ in range(pieces):
            self.now += 0.02
            if loud:
                self.loud_ms_in_a_row += 20
                self.quiet_ms = 0
            else:
                self.quiet_ms += 20
                if self.quiet_ms >= 200:
                    self.loud_ms_in_a_row = 0
            self.carry_out(self.gate.caller_audio(loud, 20, self.now))

    @rule(playing=st.booleans())
    def play(self, playing: bool) -> None:
        self.is_playing = playing
        self.carry_out(self.gate.playing(playing, self.now))

    @precondition(lambda self: self.items)
    @rule(back=st.integers(0, 2), text=st.sampled_from(["", "yes", "?", None]))
    def transcribe(self, back: int, text: str | None) -> None:
        item_id = f"item_{max(self.items - back, 1)}"
        awaited = item_id in self.stopped and item_id not in self.verdicts
        resumed = self.resumed
        self.carry_out(self.gate.transcript(item_id, text))
        if awaited:
            wordless = text in ("", "?")
            assert self.verdicts[item_id] == (FalseStart(item_id) if wordless else TurnOver(item_id))
            assert self.resumed == resumed + wordless

    @rule(seconds=st.floats(0, 1.5))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.reminders and min(self.reminders) <= until:
            self.now = max(self.now, min(self.reminders))
            self.reminders.remove(min(self.reminders))
            self.carry_out(self.gate.due(self.now))
        self.now = until

    @rule()
    def remind_for_nothing(self) -> None:
        self.carry_out(self.gate.due(self.now))
        self.reminders = sorted(self.reminders)[:50]

    @invariant()
    def long_loud_speech_has_interrupted(self) -> None:
        if self.open is not None and self.is_playing and self.long_enough():
            assert self.open in self.interrupted

    @invariant()
    def what_interrupted_is_not_forgotten_without_being_resumed(self) -> None:
        forgotten = [item for item in self.interrupted if self.verdicts.get(item) == FalseStart(item)]
        assert len(forgotten) == self.resumed

    @invariant()
    def at_most_the_latest_speech_waits_for_its_verdict(self) -> None:
        assert [item for item in self.stopped[:-1] if item not in self.verdicts] == []

    def teardown(self) -> None:
        self.wait(10.0)
        assert set(self.verdicts) == set(self.stopped)


class AnyCallWithWeakVoices(AnyCall):
    gating = Gating("gated", quiet_interrupts=True, resume=True)

    def long_enough(self) -> bool:
        return super().long_enough() or self.now - self.started_at >= 0.7485

    @invariant()
    def long_loud_speech_has_interrupted(self) -> None:
        if self.open is not None and self.is_playing and AnyCall.long_enough(self):
            assert self.open in self.interrupted


TestAnyCall = AnyCall.TestCase
TestAnyCallWithWeakVoices = AnyCallWithWeakVoices.TestCase
