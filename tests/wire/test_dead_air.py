"""The watchdog of silences: scenarios on a simulated clock, and any sequence of events at all."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wire.dead_air import Apologise, Command, DeadAir, Filler, GiveUp, Limits, Recover, Remind

F, R, A, G = Filler(), Recover(), Apologise(), GiveUp()
LIMITS = Limits(filler_seconds=2, again_seconds=3, recover_seconds=2, apologise_seconds=4, give_up_seconds=2)
START = 1000.0


@dataclass
class Call:
    """A call whose sounds last `sound_seconds`, driven by inputs and by the reminders that were asked for."""

    dead_air: DeadAir
    sound_seconds: float = 1.0
    now: float = START
    said: list[tuple[float, Command]] = field(default_factory=list)
    timers: list[tuple[float, str]] = field(default_factory=list)

    def tell(self, give: Callable[..., list[Command]], *args: bool) -> None:
        for command in give(*args, self.now):
            if isinstance(command, Remind):
                assert command.seconds > 0
                self.timers.append((self.now + command.seconds, "due"))
                continue
            self.said.append((round(self.now - START, 2), command))
            if isinstance(command, Filler | Apologise) and self.sound_seconds:
                self.timers.append((self.now + self.sound_seconds, "sounded"))
                self.tell(self.dead_air.sounding, True)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and min(self.timers)[0] <= until:
            timer = min(self.timers)
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            if timer[1] == "due":
                self.tell(self.dead_air.due)
            else:
                self.tell(self.dead_air.sounding, False)
        self.now = until

    def play(self, seconds: float) -> None:
        self.tell(self.dead_air.playing, True)
        self.wait(seconds)
        self.tell(self.dead_air.playing, False)


def call(limits: Limits = LIMITS, sound_seconds: float = 1.0, due: bool = True) -> Call:
    made = Call(DeadAir(limits), sound_seconds)
    if due:
        made.tell(made.dead_air.reply_due)
    return made


def test_a_reply_that_never_comes_is_filled_recovered_apologised_for_and_given_up() -> None:
    silent = call()
    silent.wait(60)
    # filler 2 to 3, recovery 2 s after it, another filler 3 s after it, apology 9 to 10, the end 2 s after it
    assert silent.said == [(2, F), (5, R), (6, F), (9, A), (12, G)]


def test_sounds_that_cannot_be_played_keep_nothing_waiting() -> None:
    silent = call(sound_seconds=0)
    silent.wait(60)
    assert silent.said == [(2, F), (4, R), (5, F), (8, A), (10, G)]


@pytest.mark.parametrize("off", [None, 0])
def test_without_a_filler_a_session_is_not_given_up_any_sooner(off: float | None) -> None:
    silent = call(Limits(filler_seconds=off, recover_seconds=2))
    silent.tell(silent.dead_air.tool_running, True)
    silent.wait(1.9)
    silent.tell(silent.dead_air.tool_running, False)
    silent.wait(60)
    assert silent.said == [(5.9, R), (9.9, A), (12.9, G)]


def test_a_reply_in_time_causes_nothing() -> None:
    quick = call()
    quick.wait(1.9)
    quick.tell(quick.dead_air.playing, True)
    quick.tell(quick.dead_air.settled)
    quick.wait(30)
    quick.tell(quick.dead_air.playing, False)
    quick.wait(30)
    assert quick.said == []
    assert not quick.dead_air.assistant_turn
    assert quick.dead_air.longest_ms == 1900


def test_nothing_is_due_before_a_reply_is() -> None:
    new = call(due=False)
    new.tell(new.dead_air.due)
    new.wait(30)
    assert new.said == []
    assert new.timers == []
    assert not new.dead_air.assistant_turn


def test_the_turn_lasts_until_a_complete_answer_has_been_played() -> None:
    answered = call()
    answered.tell(answered.dead_air.playing, True)
    answered.tell(answered.dead_air.settled)
    assert answered.dead_air.assistant_turn
    answered.tell(answered.dead_air.playing, False)
    assert not answered.dead_air.assistant_turn


def test_an_answer_that_is_never_heard_ends_the_turn_when_it_is_complete() -> None:
    answered = call()
    answered.wait(1)
    answered.tell(answered.dead_air.settled)
    answered.wait(30)
    assert answered.said == []
    assert not answered.dead_air.assistant_turn


def test_an_answer_that_breaks_off_counts_from_the_end_of_its_audio() -> None:
    broken = call()
    broken.wait(1)
    broken.play(5)
    broken.wait(60)
    assert broken.said == [(8, F), (11, R), (12, F), (15, A), (18, G)]


def test_more_that_is_owed_after_an_answer_keeps_its_turn() -> None:
    """settled was said of the answer, and then a tool's result came."""
    owing = call()
    owing.tell(owing.dead_air.playing, True)
    owing.tell(owing.dead_air.settled)
    owing.tell(owing.dead_air.reply_due)
    owing.tell(owing.dead_air.playing, False)
    owing.wait(2)
    assert owing.said == [(2, F)]


def test_settled_of_an_earlier_turn_does_not_end_the_next() -> None:
    next_turn = call(due=False)
    next_turn.tell(next_turn.dead_air.settled)
    next_turn.tell(next_turn.dead_air.reply_due)
    next_turn.wait(2)
    assert next_turn.said == [(2, F)]


def test_the_assistant_s_voice_makes_it_begin_again_from_the_first() -> None:
    slow = call()
    slow.wait(5.5)
    slow.play(1)
    slow.wait(4)
    assert slow.said == [(2, F), (5, R), (8.5, F)]


def test_voice_during_the_apology_takes_the_end_back() -> None:
    late = call()
    late.wait(9.5)
    late.tell(late.dead_air.playing, True)
    late.tell(late.dead_air.settled)
    late.wait(60)
    late.tell(late.dead_air.playing, False)
    late.wait(60)
    assert late.said == [(2, F), (5, R), (6, F), (9, A)]


def test_a_caller_who_speaks_ends_the_escalation() -> None:
    patient = call()
    patient.wait(10.5)
    patient.tell(patient.dead_air.caller_speaks)
    patient.wait(60)
    assert patient.said == [(2, F), (5, R), (6, F), (9, A)]
    assert not patient.dead_air.assistant_turn
    patient.tell(patient.dead_air.reply_due)
    patient.wait(2)
    assert patient.said[4:] == [(72.5, F)]


def test_a_reply_that_is_due_again_and_again_does_not_put_anything_off() -> None:
    """a session that is lost every second"""
    flapping = call()
    for _ in range(20):
        flapping.wait(1)
        flapping.tell(flapping.dead_air.reply_due)
    assert flapping.said == [(2, F), (5, R), (6, F), (9, A), (12, G)]


def test_what_is_known_already_does_not_put_anything_off() -> None:
    repeated = call()
    for _ in range(20):
        repeated.wait(1)
        repeated.tell(repeated.dead_air.playing, False)
        repeated.tell(repeated.dead_air.tool_running, False)
        if not any(what == "sounded" for _, what in repeated.timers):
            repeated.tell(repeated.dead_air.sounding, False)
    assert repeated.said == [(2, F), (5, R), (6, F), (9, A), (12, G)]


def test_a_sound_of_ours_that_nobody_asked_for_is_not_silence() -> None:
    played = call()
    played.wait(1)
    played.tell(played.dead_air.sounding, True)
    played.wait(5)
    played.tell(played.dead_air.sounding, False)
    played.wait(2)
    assert played.said == [(8, F)]
    assert played.dead_air.longest_ms == 2000


def test_a_late_apology_waits_for_the_end_of_a_filler() -> None:
    filled = call(sound_seconds=3.5)
    filled.wait(2)
    filled.tell(filled.dead_air.recovering, True)
    filled.wait(60)
    # The second filler would be cut short by the apology, which is due at 11.5.
    assert filled.said == [(2, F), (8.5, F), (12, A), (17.5, G)]


def test_fillers_come_again_while_a_tool_runs_and_nothing_worse() -> None:
    working = call()
    working.tell(working.dead_air.tool_running, True)
    working.wait(20)
    assert working.said == [(2, F), (6, F), (10, F), (14, F), (18, F)]


def test_fillers_that_cannot_be_played_come_no_faster() -> None:
    working = call(sound_seconds=0)
    working.tell(working.dead_air.tool_running, True)
    working.wait(10)
    assert working.said == [(2, F), (5, F), (8, F)]


def test_after_a_tool_it_begins_again_from_the_first() -> None:
    worked = call()
    worked.tell(worked.dead_air.tool_running, True)
    worked.wait(3.1)
    worked.tell(worked.dead_air.tool_running, False)
    worked.tell(worked.dead_air.reply_due)
    worked.wait(60)
    assert worked.said == [(2, F), (5.1, F), (8.1, R), (9.1, F), (12.1, A), (15.1, G)]


def test_the_end_of_a_tool_does_not_put_off_the_next_filler() -> None:
    worked = call()
    worked.tell(worked.dead_air.tool_running, True)
    worked.wait(5.5)
    worked.tell(worked.dead_air.tool_running, False)
    worked.wait(1)
    assert worked.said == [(2, F), (6, F)]


def test_a_tool_that_ends_before_the_first_filler_does_not_put_it_off() -> None:
    worked = call()
    worked.tell(worked.dead_air.tool_running, True)
    worked.wait(1.5)
    worked.tell(worked.dead_air.tool_running, False)
    worked.wait(1)
    assert worked.said == [(2, F)]


@pytest.mark.parametrize("off", [None, 0])
def test_fillers_need_not_come_again(off: float | None) -> None:
    working = call(Limits(again_seconds=off))
    working.tell(working.dead_air.tool_running, True)
    working.wait(20)
    assert working.said == [(2, F)]
    working.tell(working.dead_air.tool_running, False)
    working.wait(2)
    assert working.said == [(2, F), (22, F)]


def test_a_tool_that_begins_late_holds_the_end_back() -> None:
    working = call()
    working.wait(9.5)
    working.tell(working.dead_air.tool_running, True)
    working.wait(6)
    assert working.said == [(2, F), (5, R), (6, F), (9, A), (13, F)]


def test_a_tool_of_the_caller_s_turn_is_nobody_s_silence() -> None:
    working = call(due=False)
    working.tell(working.dead_air.tool_running, True)
    working.wait(20)
    working.tell(working.dead_air.tool_running, False)
    working.wait(20)
    assert working.said == []


def test_a_session_that_is_being_replaced_is_not_replaced_again_but_the_rest_goes_on() -> None:
    lost = call()
    lost.tell(lost.dead_air.recovering, True)
    lost.wait(60)
    # 2 s after the first filler's end there is nothing to recover; the apology is due 4 s later all the same.
    assert lost.said == [(2, F), (6, F), (9, A), (12, G)]


def test_a_session_that_has_just_begun_is_given_up_later_and_the_rest_goes_on() -> None:
    lost = call()
    lost.tell(lost.dead_air.recovering, True)
    lost.wait(4.5)
    lost.tell(lost.dead_air.recovering, False)
    lost.wait(60)
    assert lost.said == [(2, F), (6, F), (7.5, R), (9, A), (12, G)]


def test_a_session_is_not_given_up_for_what_another_was_given_time_for() -> None:
    lost = call()
    lost.tell(lost.dead_air.recovering, True)
    lost.wait(4.5)
    lost.tell(lost.dead_air.recovering, False)
    lost.wait(2.6)
    lost.play(1)
    lost.wait(1.9)
    assert lost.said == [(2, F), (6, F)]


def test_fillers_in_quick_succession_do_not_put_off_the_rest() -> None:
    lost = call(Limits(again_seconds=0.5, recover_seconds=4))
    lost.tell(lost.dead_air.recovering, True)
    lost.wait(20)
    fillers = [(2, F), (3.5, F), (5, F), (6.5, F), (8, F), (9.5, F), (11, F)]
    # 4 s after the first filler's end another is heard until 7.5; 4 s later another still, until 12.
    assert lost.said == [*fillers, (12, A), (15, G)]


def test_what_is_given_up_when_another_filler_is_due_comes_first() -> None:
    stalled = call(Limits(again_seconds=2, recover_seconds=2))
    stalled.wait(5)
    assert stalled.said == [(2, F), (5, R), (5, F)]
    stalled.tell(stalled.dead_air.recovering, True)
    stalled.wait(2)
    stalled.tell(stalled.dead_air.recovering, False)
    stalled.play(1)
    assert stalled.said == [(2, F), (5, R), (5, F)]
    assert stalled.dead_air.longest_ms == 2000


def test_a_caller_turn_during_a_recovery_is_nobody_s_silence() -> None:
    lost = call(due=False)
    lost.tell(lost.dead_air.recovering, True)
    lost.wait(30)
    assert lost.said == []


def test_after_the_end_nothing_comes_any_more() -> None:
    over = call()
    over.wait(12)
    assert over.said[-1] == (12, G)
    for give in (
        over.dead_air.caller_speaks,
        over.dead_air.reply_due,
        over.dead_air.due,
        over.dead_air.settled,
    ):
        over.tell(give)
        over.wait(30)
    over.play(5)
    over.tell(over.dead_air.reply_due)
    over.wait(30)
    assert over.said[-1] == (12, G)


def test_one_reminder_is_enough() -> None:
    silent = call()
    assert silent.timers == [(START + 2, "due")]
    silent.tell(silent.dead_air.reply_due)
    silent.tell(silent.dead_air.recovering, True)
    assert silent.timers == [(START + 2, "due")]


def test_a_reminder_that_comes_early_is_asked_for_again() -> None:
    silent = call()
    silent.timers.clear()
    silent.wait(1.99)
    silent.tell(silent.dead_air.due)
    silent.wait(1)
    assert silent.said == [(2, F)]


def test_what_comes_late_comes_one_by_one() -> None:
    """an actor that was busy for a minute"""
    busy = call(sound_seconds=0)
    busy.now += 60
    busy.wait(0)
    assert busy.said == [(60, F)]
    busy.wait(2)
    assert busy.said == [(60, F), (62, R)]


def test_the_longest_silence_counts_up_to_the_latest_input() -> None:
    silent = call()
    silent.wait(1)
    assert silent.dead_air.longest_ms == 0
    silent.tell(silent.dead_air.due)
    assert silent.dead_air.longest_ms == 1000
    silent.tell(silent.dead_air.caller_speaks)
    silent.wait(20)
    silent.tell(silent.dead_air.reply_due)
    assert silent.dead_air.longest_ms == 1000


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"recover_seconds": 0}, "recover_seconds must be a positive"),
        ({"apologise_seconds": float("nan")}, "apologise_seconds must be a positive"),
        ({"give_up_seconds": float("inf")}, "give_up_seconds must be a positive"),
        ({"filler_seconds": -1}, "filler_seconds must not be negative"),
        ({"again_seconds": float("inf")}, "again_seconds must not be negative"),
    ],
)
def test_limits_that_cannot_work_are_refused(wrong: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Limits(**wrong)


class AnyCall(RuleBasedStateMachine):
    """Whatever happens: nothing is done without a reason, and nothing is waited for longer than the limits say."""

    limits = Limits(
        filler_seconds=2, again_seconds=3, recover_seconds=1.5, apologise_seconds=4, give_up_seconds=2.5
    )

    def __init__(self) -> None:
        super().__init__()
        self.dead_air = DeadAir(self.limits)
        self.now = 1.0
        self.reminders: list[float] = []
        self.turn = self.complete = self.is_playing = self.is_sounding = False
        self.tool = self.replacing = self.over = False
        self.waiting_since = 1.0
        """since something happened that may make the caller wait longer"""
        self.silent_since: float | None = None
        self.longest = 0.0
        self.ladder: list[Command] = []
        self.was_replaced = False

    def begin(self) -> None:
        self.ladder.clear()
        self.was_replaced = self.replacing

    @property
    def audible(self) -> bool:
        return self.is_playing or self.is_sounding

    @property
    def silent(self) -> bool:
        return self.turn and not self.audible and not self.over

    def input(self, commands: list[Command]) -> None:
        if self.complete and not self.is_playing:
            self.turn = False
        self.complete = self.complete and self.turn
        if self.silent_since is not None:
            self.longest = max(self.longest, self.now - self.silent_since)
        self.silent_since = (self.silent_since or self.now) if self.silent else None
        for command in commands:
            assert not self.over, "nothing comes after the end"
            assert self.silent, "nothing comes while something is audible, or the caller has the floor"
            if isinstance(command, Remind):
                assert command.seconds > 0
                self.reminders.append(self.now + command.seconds)
                continue
            self.waiting_since = self.now
            assert isinstance(command, Filler) or not self.tool
            match command:
                case Filler():
                    assert self.limits.filler_seconds
                    assert self.tool or A not in self.ladder
                case Recover():
                    assert not self.replacing
                    assert R not in self.ladder
                    assert A not in self.ladder
                case Apologise():
                    assert A not in self.ladder
                case GiveUp():
                    assert A in self.ladder
                    self.over = True
            self.ladder.append(command)
        assert self.dead_air.longest_ms == pytest.approx(self.longest * 1000, abs=1)
        assert self.dead_air.assistant_turn == self.turn

    @rule()
    def reply_due(self) -> None:
        if not self.turn:
            self.turn = True
            self.waiting_since = self.now
            self.begin()
        self.complete = False
        self.input(self.dead_air.reply_due(self.now))

    @rule()
    def caller_speaks(self) -> None:
        self.turn = False
        self.input(self.dead_air.caller_speaks(self.now))

    @rule(playing=st.booleans())
    def play(self, playing: bool) -> None:
        if playing != self.is_playing:
            self.is_playing = playing
            self.waiting_since = self.now
            self.begin()
        self.input(self.dead_air.playing(playing, self.now))

    @rule(sounding=st.booleans())
    def sound(self, sounding: bool) -> None:
        if sounding != self.is_sounding:
            self.is_sounding = sounding
            self.waiting_since = self.now
        self.input(self.dead_air.sounding(sounding, self.now))

    @rule()
    def settle(self) -> None:
        self.complete = True
        self.input(self.dead_air.settled(self.now))

    @rule(running=st.booleans())
    def run_tool(self, running: bool) -> None:
        if self.tool and not running:
            self.begin()
            if not self.limits.again_seconds or not self.limits.filler_seconds:
                self.waiting_since = self.now
        self.tool = running
        self.input(self.dead_air.tool_running(running, self.now))

    @rule(replacing=st.booleans())
    def replace(self, replacing: bool) -> None:
        self.replacing = replacing
        self.was_replaced |= replacing
        self.input(self.dead_air.recovering(replacing, self.now))

    @rule()
    def remind_for_nothing(self) -> None:
        self.input(self.dead_air.due(self.now))
        self.reminders = sorted(set(self.reminders))

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.reminders and min(self.reminders) <= until:
            self.now = max(self.now, min(self.reminders))
            self.reminders.remove(min(self.reminders))
            self.input(self.dead_air.due(self.now))
        self.now = until

    @precondition(lambda self: self.silent and not self.over)
    @invariant()
    def the_caller_never_waits_longer_than_the_limits_say(self) -> None:
        waited = self.now - self.waiting_since
        if F not in self.ladder and self.limits.filler_seconds:
            # At a tool's end what was left until another filler may still be left.
            assert waited <= max(self.limits.filler_seconds, self.limits.again_seconds or 0) + 0.001
        waits = self.tool or A not in self.ladder
        if waits and self.limits.filler_seconds and self.limits.again_seconds:
            assert waited <= max(self.limits.filler_seconds, self.limits.again_seconds) + 0.001
        if not self.tool:
            limits = self.limits
            if A in self.ladder:
                longest = limits.give_up_seconds
            elif R in self.ladder:
                longest = limits.apologise_seconds
            elif F in self.ladder and not self.was_replaced:
                longest = limits.recover_seconds
            else:
                first = max(limits.filler_seconds or 2.0, limits.again_seconds or 0)
                longest = first + limits.recover_seconds + limits.apologise_seconds
            assert waited <= longest + 0.001

    def teardown(self) -> None:
        """Reminders suffice: with nothing to be heard, no tool and a reply due, they lead to the end."""
        self.run_tool(False)
        self.caller_speaks()
        self.play(False)
        self.sound(False)
        self.reply_due()
        self.wait(2 + 1.5 + 4 + 2.5 + 0.01)
        assert self.over


class AnyCallWithoutFillers(AnyCall):
    limits = Limits(filler_seconds=None, recover_seconds=1.5, apologise_seconds=4, give_up_seconds=2.5)


class AnyCallWithOneFiller(AnyCall):
    limits = Limits(again_seconds=None, recover_seconds=1.5, apologise_seconds=4, give_up_seconds=2.5)


TestAnyCall = AnyCall.TestCase
TestAnyCallWithoutFillers = AnyCallWithoutFillers.TestCase
TestAnyCallWithOneFiller = AnyCallWithOneFiller.TestCase
