"""The ledger against a phone that plays in real time behind a network with latency."""

import copy
import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire.playback import ENDED_KEPT, ROUND_TRIP_SAMPLES, Heard, Ledger, Part

A = Part("item_a", 0)
B = Part("item_b", 0)
C = Part("item_c", 0)


def test_nothing_was_playing_so_nothing_is_cut_off() -> None:
    assert Ledger().interrupt(now=1.0) == []


def test_the_next_mark_is_due_when_its_audio_has_been_played() -> None:
    ledger = Ledger()
    assert ledger.due_at is None
    mark = ledger.queue(A, 3000, now=1.0)
    ledger.queue(A, 1000, now=1.5)
    assert ledger.due_at == 4.0
    ledger.confirm(mark, now=4.2)
    assert ledger.due_at == 5.0
    ledger.interrupt(now=4.5)
    assert ledger.due_at is None


def test_a_part_is_cut_off_where_the_caller_stopped_hearing_it() -> None:
    ledger = Ledger()
    ledger.queue(A, 10_000, now=1.0)
    assert ledger.interrupt(now=5.2) == [Heard(A, 4200)]


def test_parts_behind_the_one_being_heard_were_not_heard() -> None:
    ledger = Ledger()
    ledger.queue(A, 3000, now=1.0)
    ledger.queue(B, 4000, now=1.1)
    assert ledger.interrupt(now=2.7) == [Heard(A, 1700), Heard(B, 0)]


def test_a_part_heard_to_its_end_is_left_alone_and_the_next_is_cut_off() -> None:
    ledger = Ledger()
    mark = ledger.queue(A, 3000, now=1.0)
    ledger.finish(A)
    ledger.queue(B, 4000, now=1.1)
    assert ledger.confirm(mark, now=4.0)
    assert ledger.interrupt(now=6.2) == [Heard(B, 2200)]


def test_an_unfinished_part_is_cut_off_even_if_all_that_came_was_heard() -> None:
    """The model may hold more of it than it has sent, and would believe that it said that."""
    ledger = Ledger()
    ledger.queue(A, 500, now=1.0)
    assert ledger.interrupt(now=3.0) == [Heard(A, 500)]


def test_marks_echoed_because_of_a_clear_are_not_taken_for_played_ones() -> None:
    """protocol-gotchas 10"""
    ledger = Ledger()
    cleared = [ledger.queue(A, 1000, now=1.0) for _ in range(5)]
    ledger.interrupt(now=1.5)
    fresh = [ledger.queue(B, 1000, now=2.0) for _ in range(2)]
    assert [ledger.confirm(mark, now=2.1) for mark in cleared] == [()] * 5
    assert ledger.pending
    confirmed = [ledger.confirm(mark, now=3.0 + i) for i, mark in enumerate(fresh)]
    assert confirmed == [(Heard(B, 1000),), (Heard(B, 2000),)]
    assert not ledger.pending


def test_mark_names_are_never_used_twice() -> None:
    ledger = Ledger()
    names = []
    for second in range(1, 20):
        names += [ledger.queue(A, 200, now=second), ledger.queue(B, 200, now=second)]
        ledger.interrupt(now=second + 0.1)
    assert len(set(names)) == len(names)


def test_playback_that_ran_dry_starts_again_when_audio_comes() -> None:
    ledger = Ledger()
    ledger.queue(A, 1000, now=1.0)
    ledger.finish(A)
    ledger.queue(B, 1000, now=10.0)
    assert ledger.interrupt(now=10.4) == [Heard(B, 400)]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=3 * ROUND_TRIP_SAMPLES))
@example(
    [0, *range(7, 30), *([5] * ROUND_TRIP_SAMPLES)]
)  # the shortest is forgotten, which chance seldom brings
def test_the_round_trip_is_the_shortest_of_the_latest(delays_ms: list[int]) -> None:
    ledger = Ledger()
    for number, delay_ms in enumerate(delays_ms):
        at = number * 10.0
        ledger.confirm(ledger.queue(A, 20, at), at + 0.02 + delay_ms / 1000)
        assert ledger.round_trip_ms == pytest.approx(
            min(delays_ms[: number + 1][-ROUND_TRIP_SAMPLES:]), abs=1e-6
        )


def test_the_round_trip_of_marks_is_measured_and_corrected_for() -> None:
    ledger = Ledger()
    first = ledger.queue(A, 200, now=1.0)
    ledger.queue(A, 5000, now=1.0)
    ledger.confirm(first, now=1.8)  # 200 ms of audio, and 600 ms there and back
    assert ledger.round_trip_ms == pytest.approx(600)
    assert ledger.interrupt(now=2.0) == [Heard(A, 1000)]


def test_a_phone_that_fell_behind_is_followed() -> None:
    """Echoes 300 ms later than the shortest ones: the phone's playback stood still for that long."""
    ledger = Ledger()
    marks = [ledger.queue(A, 500, now=1.0) for _ in range(10)]
    ledger.confirm(marks[0], now=1.5)
    ledger.confirm(marks[1], now=2.3)
    assert ledger.interrupt(now=2.4) == [Heard(A, 1100)]


def test_an_echo_tells_of_every_part_that_was_heard_since_the_last_one() -> None:
    ledger = Ledger()
    first = ledger.queue(A, 400, now=1.0)
    ledger.queue(A, 600, now=1.0)
    ledger.queue(B, 300, now=1.0)
    second = ledger.queue(B, 300, now=1.0)
    ledger.queue(B, 400, now=1.0)
    assert ledger.confirm(first, now=1.4) == (Heard(A, 400),)
    assert ledger.confirm(second, now=2.6) == (Heard(A, 1000), Heard(B, 600))


def test_how_much_of_a_part_had_gone_to_the_phone_is_told_with_what_was_heard_of_it() -> None:
    ledger = Ledger()
    first = ledger.queue(A, 200, now=1.0)
    ledger.queue(A, 300.5, now=1.0)
    assert [heard.queued_ms for heard in ledger.confirm(first, now=1.2)] == [500]
    ledger.queue(A, 1000, now=1.3)
    assert [heard.queued_ms for heard in ledger.interrupt(now=1.4)] == [1500]


def test_an_echo_counts_once_and_passes_the_marks_before_it() -> None:
    ledger = Ledger()
    first, second = [ledger.queue(A, 1000, now=1.0) for _ in range(2)]
    assert ledger.confirm(second, now=3.0) == (Heard(A, 2000),)
    assert ledger.confirm(second, now=3.1) == ledger.confirm(first, now=3.2) == ()
    assert ledger.confirm("never sent", now=3.3) == ()


def test_a_mark_is_awaited_from_when_it_was_sent_until_it_is_passed_or_cleared() -> None:
    ledger = Ledger()
    first, second, third = [ledger.queue(A, 1000, now=1.0) for _ in range(3)]
    ledger.confirm(second, now=3.0)
    assert [ledger.awaits(mark) for mark in (first, second, third, None)] == [False, False, True, False]
    ledger.interrupt(now=3.5)
    assert not ledger.awaits(third)


def test_a_part_whose_end_was_heard_before_it_was_known_to_be_the_end() -> None:
    """The model paused behind the last word, and then it turned out to be the last."""
    ledger = Ledger()
    mark = ledger.queue(A, 1000, now=1.0)
    ledger.confirm(mark, now=2.0)
    assert not ledger.heard_to_the_end(A)
    finished = ledger.finish(A)
    assert finished == Heard(A, 1000)
    assert finished.queued_ms == 1000
    assert ledger.heard_to_the_end(A)
    assert ledger.finish(A) is None
    assert ledger.interrupt(now=2.1) == []


def test_a_part_whose_end_is_known_before_it_is_heard() -> None:
    ledger = Ledger()
    first, last = [ledger.queue(A, 1000, now=1.0) for _ in range(2)]
    assert ledger.finish(A) is None
    ledger.confirm(first, now=2.0)
    assert not ledger.heard_to_the_end(A)
    ledger.confirm(last, now=3.0)
    assert ledger.heard_to_the_end(A)


def test_what_goes_on_after_its_end_is_not_heard_to_the_end() -> None:
    """A sound of ours is one part however often it is played."""
    ledger = Ledger()
    for second in (1, 5):
        mark = ledger.queue(A, 1000, now=second)
        ledger.finish(A)
        assert not ledger.heard_to_the_end(A)
        assert ledger.confirm(mark, now=second + 1) == (Heard(A, 1000),)
        assert ledger.heard_to_the_end(A)


def test_the_end_of_what_was_cut_off_or_never_queued_means_nothing() -> None:
    ledger = Ledger()
    ledger.queue(A, 1000, now=1.0)
    ledger.interrupt(now=1.5)
    assert ledger.finish(A) is ledger.finish(B) is None
    assert not ledger.heard_to_the_end(A)
    ledger.queue(B, 500, now=2.0)
    assert ledger.interrupt(now=4.0) == [Heard(B, 500)]


def test_a_part_between_two_pieces_of_another_is_heard_to_its_end_and_the_other_goes_on() -> None:
    """One of our own sounds, played while the model paused."""
    ledger = Ledger()
    ledger.queue(A, 1000, now=1.0)
    sound = ledger.queue(C, 500, now=1.0)
    ledger.finish(C)
    assert ledger.confirm(sound, now=2.5) == (Heard(A, 1000), Heard(C, 500))
    assert ledger.heard_to_the_end(C)
    last = ledger.queue(A, 1000, now=2.5)
    ledger.queue(B, 1000, now=2.5)
    ledger.finish(A)
    later = copy.deepcopy(ledger)
    assert ledger.interrupt(now=2.75) == [Heard(A, 1250), Heard(B, 0)]
    assert later.confirm(last, now=3.5) == (Heard(A, 2000),)
    assert later.interrupt(now=3.75) == [Heard(B, 250)]


def test_a_piece_without_length_disturbs_nothing() -> None:
    ledger = Ledger()
    marks = [ledger.queue(A, 0, now=1.0), ledger.queue(A, 500, now=1.0), ledger.queue(A, 0, now=1.0)]
    ledger.finish(A)
    assert [ledger.confirm(mark, now=1.5) for mark in marks] == [(Heard(A, ms),) for ms in (0, 500, 500)]
    assert ledger.heard_to_the_end(A)
    assert not ledger.pending


def test_a_part_that_broke_off_is_let_go_when_what_came_of_it_was_heard() -> None:
    """Its session was lost. The next session knows nothing of that item, and must not be asked to truncate it."""
    ledger = Ledger()
    mark = ledger.queue(A, 1000, now=1.0)
    ledger.break_off()
    assert ledger.confirm(mark, now=2.0) == (Heard(A, 1000),)
    assert not ledger.heard_to_the_end(A)
    assert ledger.interrupt(now=2.5) == []


def test_a_part_that_broke_off_after_it_was_heard_is_let_go_at_once() -> None:
    ledger = Ledger()
    ledger.confirm(ledger.queue(A, 1000, now=1.0), now=2.0)
    ledger.break_off()
    assert not ledger.heard_to_the_end(A)
    assert ledger.interrupt(now=2.5) == []


def test_what_comes_late_of_a_part_that_broke_off_changes_nothing_about_it() -> None:
    """It waited for a slow socket when its session was lost."""
    ledger = Ledger()
    ledger.confirm(ledger.queue(A, 1000, now=1.0), now=2.0)
    ledger.break_off()
    ledger.confirm(ledger.queue(A, 500, now=2.0), now=2.5)
    assert ledger.interrupt(now=2.75) == []


def test_a_part_that_broke_off_is_cut_off_while_it_plays_and_so_is_one_that_was_finished_before() -> None:
    ledger = Ledger()
    ledger.queue(A, 1000, now=1.0)
    ledger.finish(A)
    ledger.queue(B, 1000, now=1.0)
    ledger.break_off()
    later = copy.deepcopy(ledger)
    assert ledger.interrupt(now=1.5) == [Heard(A, 500), Heard(B, 0)]
    assert later.interrupt(now=2.5) == [Heard(B, 500)]


def test_what_comes_after_a_part_that_broke_off_is_heard_to_its_end() -> None:
    ledger = Ledger()
    ledger.confirm(ledger.queue(A, 1000, now=1.0), now=2.0)
    mark = ledger.queue(B, 1000, now=2.0)
    ledger.finish(B)
    ledger.confirm(mark, now=3.0)
    assert ledger.heard_to_the_end(B)
    assert ledger.interrupt(now=3.5) == [Heard(A, 1000)]  # nobody has said that no more of it will come


def test_what_a_clear_comes_too_late_for_is_told_although_its_mark_has_not_come_back() -> None:
    ledger = Ledger()
    ledger.confirm(ledger.queue(A, 1000, now=1.0), now=2.5)  # 500 ms there and back
    ledger.queue(A, 1000, now=2.5)
    ledger.finish(A)
    ledger.queue(B, 1000, now=2.5)
    assert ledger.heard_out(now=2.9) == ()
    assert ledger.heard_out(now=3.6) == (Heard(A, 2000),)
    assert ledger.heard_out(now=9.0) == (Heard(A, 2000),)  # B may go on
    assert ledger.interrupt(now=3.6) == [Heard(B, 100)]


def test_where_the_play_head_is_of_what_was_queued_is_known_by_generation() -> None:
    ledger = Ledger()
    assert (ledger.generation, ledger.queued_ms, ledger.head_ms(now=1.0)) == (0, 0.0, 0.0)
    first = ledger.queue(A, 1000, now=1.0)
    ledger.queue(A, 1000, now=1.0)
    ledger.confirm(first, now=2.25)  # 250 ms there and back
    assert (ledger.generation, ledger.queued_ms, ledger.head_ms(now=2.5)) == (0, 2000.0, 1500.0)
    assert ledger.head_ms(now=9.0) == 2000.0
    ledger.interrupt(now=2.5)
    assert (ledger.generation, ledger.queued_ms, ledger.head_ms(now=2.5)) == (1, 0.0, 0.0)


def test_memory_stays_flat_over_a_long_call() -> None:
    ledger = Ledger()
    for turn in range(1000):
        part, broken_off = Part(f"item_{turn}", 0), Part(f"broken_off_{turn}", 0)
        ledger.confirm(ledger.queue(part, 100, now=turn), now=turn + 0.2)
        ledger.finish(part)
        mark = ledger.queue(broken_off, 100, now=turn + 0.3)
        ledger.break_off()
        ledger.confirm(mark, now=turn + 0.5)
        ledger.finish(Part(f"never_queued_{turn}", 0))
    kept = [len(value) for value in vars(ledger).values() if hasattr(value, "__len__")]
    assert max(kept) <= max(ENDED_KEPT, ROUND_TRIP_SAMPLES)
    assert sum(kept) <= ENDED_KEPT + ROUND_TRIP_SAMPLES + 3


# A phone to compare with: a network that delays both ways alike, and a buffer played in real time.


@dataclass(slots=True)
class ReferencePhone:
    """Plays what arrives, in real time, and echoes marks; the truth that the ledger has to find."""

    one_way: float
    echoes: list[tuple[float, str]] = field(default_factory=list)
    buffer_ends_at: float = 0.0
    pieces: list[tuple[Part, float, float]] = field(default_factory=list)
    pending: list[tuple[float, str]] = field(default_factory=list)

    def audio(self, now: float, part: Part, duration: float, mark: str) -> None:
        at = now + self.one_way
        start = max(at, self.buffer_ends_at)
        self.buffer_ends_at = start + duration
        self.pieces.append((part, start, self.buffer_ends_at))
        self.pending.append((self.buffer_ends_at, mark))

    def echoes_until(self, now: float) -> list[tuple[float, str]]:
        """Echoes that have got back by now, with the time at which each did."""
        back = [
            (played + self.one_way, mark) for played, mark in self.pending if played + self.one_way <= now
        ]
        self.pending = [entry for entry in self.pending if entry[0] + self.one_way > now]
        return back + self._cleared_echoes(now)

    def _cleared_echoes(self, now: float) -> list[tuple[float, str]]:
        due = [entry for entry in self.echoes if entry[0] <= now]
        self.echoes = [entry for entry in self.echoes if entry[0] > now]
        return due

    def played(self, at: float) -> dict[Part, float]:
        """What has been played of each part at that time, in ms."""
        played: dict[Part, float] = {}
        for part, start, end in self.pieces:
            played[part] = played.get(part, 0.0) + max(min(at, end) - start, 0.0) * 1000
        return played

    def clear(self, now: float) -> dict[Part, float]:
        """What had been played of each part when the clear took effect, in ms."""
        at = now + self.one_way
        played = self.played(at)
        for played_at, mark in self.pending:
            heapq.heappush(self.echoes, (min(played_at, at) + self.one_way, mark))
        self.pieces, self.pending, self.buffer_ends_at = [], [], at
        return played


class Playout:
    """One stream: a ledger, the phone that it has to follow, and what the ledger has told so far."""

    def __init__(self, one_way_ms: int) -> None:
        self.phone = ReferencePhone(one_way_ms / 1000)
        self.ledger = Ledger()
        self.now = 1.0
        self.item = 0
        self.queued: dict[Part, float] = {}
        self.finished: set[Part] = set()
        self.broken_off: set[Part] = set()
        self.told: dict[Part, int] = {}
        self.to_the_end: set[Part] = set()
        self.echoed: set[str] = set()

    @property
    def part(self) -> Part:
        return Part(f"item_{self.item}", 0)

    def audio(self, part: Part, size: int) -> None:
        self.queued[part] = self.queued.get(part, 0.0) + size
        self.phone.audio(self.now, part, size / 1000, self.ledger.queue(part, size, self.now))

    def finish(self, part: Part) -> None:
        self.finished.add(part)
        if heard := self.ledger.finish(part):
            self.hear(heard)
            assert part in self.to_the_end

    def lose_session(self) -> None:
        self.broken_off |= self.queued.keys() - self.finished
        self.ledger.break_off()
        self.item += 1

    def echoes(self) -> None:
        """What has come back by now. What the ledger tells of it was true when the phone sent it."""
        for at, mark in sorted(self.phone.echoes_until(self.now)):
            assert mark not in self.echoed
            self.echoed.add(mark)
            truth = self.phone.played(at - self.phone.one_way)
            for heard in self.ledger.confirm(mark, at):
                assert heard.heard_ms <= truth[heard.part] + 0.001
                self.hear(heard)

    def hear(self, heard: Heard) -> None:
        assert self.told.get(heard.part, 0) <= heard.heard_ms <= heard.queued_ms
        assert heard.queued_ms == self.queued[heard.part]
        self.told[heard.part] = heard.heard_ms
        if self.ledger.heard_to_the_end(heard.part):
            assert heard.part in self.finished
            assert heard.heard_ms == self.queued[heard.part]
            self.to_the_end.add(heard.part)

    def interrupt(self) -> None:
        heard_out = {heard.part for heard in self.ledger.heard_out(self.now)}
        cut_off = {heard.part: heard for heard in self.ledger.interrupt(self.now)}
        truth = self.phone.clear(self.now)
        for part, heard in cut_off.items():
            assert self.told.get(part, 0) - 1 <= heard.heard_ms <= heard.queued_ms == self.queued[part]
            assert heard.heard_ms == pytest.approx(truth[part], abs=1.001)
            assert part not in self.to_the_end
        for part in truth.keys() - cut_off.keys():
            assert truth[part] == pytest.approx(self.queued[part], abs=1.001)
            if part in self.finished:
                assert part in heard_out | self.to_the_end
            else:
                assert part in self.broken_off
                assert self.told[part] == self.queued[part]
        assert heard_out <= self.finished - cut_off.keys()
        assert not self.ledger.pending
        self.queued, self.told, self.item = {}, {}, self.item + 1
        self.finished, self.broken_off, self.to_the_end = set(), set(), set()

    def play(self, steps: list[tuple[str, int, int]]) -> None:
        for number, (action, size, pause) in enumerate(steps):
            self.echoes()
            match action:
                case "audio":
                    self.audio(self.part, size)
                case "sound":
                    sound = Part(f"sound_{number}", 0)
                    self.audio(sound, size)
                    self.finish(sound)
                case "next item":
                    self.finish(self.part)
                    self.item += 1
                case "lose session":
                    self.lose_session()
                case "interrupt":
                    self.interrupt()
            self.now += pause / 1000


actions = [
    st.tuples(st.just("audio"), st.integers(20, 2000), st.integers(0, 300)),
    st.tuples(st.just("next item"), st.just(0), st.integers(0, 50)),
    st.tuples(st.just("wait"), st.just(0), st.integers(1, 4000)),
]
interrupt = st.tuples(st.just("interrupt"), st.just(0), st.integers(0, 300))
lose_session = st.tuples(st.just("lose session"), st.just(0), st.integers(0, 300))
sound = st.tuples(st.just("sound"), st.sampled_from([260, 1350]), st.integers(0, 300))

steps = st.lists(st.one_of(*actions, interrupt, lose_session, sound), max_size=60)
latencies = st.sampled_from([0, 20, 100, 300])


@given(steps, latencies)
def test_what_was_heard_is_exact_whatever_happens(steps: list[tuple[str, int, int]], one_way_ms: int) -> None:
    """Over random deltas, items, sounds, pauses, interruptions and lost sessions: never more than was queued,
    never cleared audio taken for heard, and as exact as a millisecond on a steady network."""
    playout = Playout(one_way_ms)
    playout.play([*steps, ("interrupt", 0, 0)])


@given(st.lists(st.one_of(*actions, lose_session, sound), max_size=60), latencies)
def test_what_the_marks_confirm_is_complete_at_the_end(
    steps: list[tuple[str, int, int]], one_way_ms: int
) -> None:
    playout = Playout(one_way_ms)
    playout.play([*steps, ("wait", 0, 200_000), ("wait", 0, 0)])
    assert playout.told == playout.queued
    assert playout.to_the_end == playout.finished & playout.queued.keys()
    assert not playout.ledger.pending


@given(steps, st.integers(0, 300))
def test_what_was_heard_never_goes_backwards(steps: list[tuple[str, int, int]], one_way_ms: int) -> None:
    phone, ledger, now = ReferencePhone(one_way_ms / 1000), Ledger(), 1.0
    latest = 0
    for action, size, pause in steps:
        for at, mark in sorted(phone.echoes_until(now)):
            ledger.confirm(mark, at)
        if action == "audio":
            phone.audio(now, A, size / 1000, ledger.queue(A, size, now))
        heard = sum(part.heard_ms for part in copy.deepcopy(ledger).interrupt(now))
        assert heard >= latest - 1
        latest = heard
        now += pause / 1000


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 40), st.booleans(), st.integers(0, 60))))
def test_a_mark_that_was_not_sent_may_move_along(pieces: list[tuple[Part, int, bool, int]]) -> None:
    """Only marks that were sent come back: it is all the same where those that were not have stood."""
    each, moving = Ledger(), Ledger()
    sent: list[tuple[str, str]] = []
    unsent: str | None = None
    now = 1.0
    for part, duration_ms, send, pause_ms in pieces:
        mark, moved = each.queue(part, duration_ms, now), moving.queue(part, duration_ms, now, unsent)
        unsent = None if send else moved
        if send:
            sent.append((mark, moved))
        now += pause_ms / 1000
        if pause_ms > 40 and sent:
            mark, moved = sent.pop(0)
            assert each.confirm(mark, now) == moving.confirm(moved, now)
        assert each.awaits(mark) == moving.awaits(moved)
        assert each.head_ms(now) == moving.head_ms(now)
        assert each.pending == moving.pending
    assert copy.deepcopy(each).interrupt(now) == copy.deepcopy(moving).interrupt(now)


def test_small_pieces_take_one_mark_along_that_was_not_sent() -> None:
    ledger = Ledger()
    ledger.queue(A, 20, now=1.0)
    unsent = ledger.queue(A, 20, now=1.0)
    assert ledger.queue(A, 20, now=1.0, unsent=unsent) == unsent
    assert ledger.queue(B, 20, now=1.0, unsent=unsent) != unsent
    assert ledger.confirm(unsent, now=1.1) == (Heard(A, 60, 60),)
