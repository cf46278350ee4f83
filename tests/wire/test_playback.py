"""The ledger against a phone that plays in real time behind a network with latency."""

import copy
import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.playback import Heard, Ledger, Part

A = Part("item_a", 0)
B = Part("item_b", 0)
C = Part("item_c", 0)


def test_nothing_was_playing_so_nothing_is_cut_off() -> None:
    assert Ledger().interrupt(now=1.0) == []


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
    assert [ledger.confirm(mark, now=2.1) for mark in cleared] == [False] * 5
    assert ledger.pending
    assert [ledger.confirm(mark, now=3.0 + i) for i, mark in enumerate(fresh)] == [True, True]
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


def test_memory_stays_flat_over_a_long_call() -> None:
    ledger = Ledger()
    for turn in range(1000):
        part = Part(f"item_{turn}", 0)
        mark = ledger.queue(part, 100, now=turn)
        ledger.finish(part)
        ledger.confirm(mark, now=turn + 0.2)
    assert len(ledger._segments) + len(ledger._finished) + len(ledger._marks) <= 3


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

    def clear(self, now: float) -> dict[Part, float]:
        """What had been played of each part when the clear took effect, in ms."""
        at = now + self.one_way
        played: dict[Part, float] = {}
        for part, start, end in self.pieces:
            played[part] = played.get(part, 0.0) + max(min(at, end) - start, 0.0) * 1000
        for played_at, mark in self.pending:
            heapq.heappush(self.echoes, (min(played_at, at) + self.one_way, mark))
        self.pieces, self.pending, self.buffer_ends_at = [], [], at
        return played


steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(20, 2000), st.integers(0, 300)),
        st.tuples(st.just("next item"), st.just(0), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 4000)),
        st.tuples(st.just("interrupt"), st.just(0), st.integers(0, 300)),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([0, 20, 100, 300]))
def test_what_was_heard_is_exact_whatever_happens(steps: list[tuple[str, int, int]], one_way_ms: int) -> None:
    """Over random deltas, items, pauses and interruptions: never more than was queued, never cleared audio
    taken for heard, and as exact as a millisecond on a steady network."""
    phone, ledger, now, item = ReferencePhone(one_way_ms / 1000), Ledger(), 1.0, 0
    queued: dict[Part, float] = {}
    echoed: set[str] = set()

    def deliver() -> None:
        for at, mark in sorted(phone.echoes_until(now)):
            assert mark not in echoed
            echoed.add(mark)
            ledger.confirm(mark, at)

    for action, size, pause in [*steps, ("interrupt", 0, 0)]:
        deliver()
        part = Part(f"item_{item}", 0)
        if action == "audio":
            queued[part] = queued.get(part, 0.0) + size
            phone.audio(now, part, size / 1000, ledger.queue(part, size, now))
        elif action == "next item":
            ledger.finish(part)
            item += 1
        elif action == "interrupt":
            ledger.finish(part)
            truth = phone.clear(now)
            cut_off = {heard.part: heard.heard_ms for heard in ledger.interrupt(now)}
            for cut, heard_ms in cut_off.items():
                assert heard_ms <= queued[cut]
                assert heard_ms == pytest.approx(truth[cut], abs=1.001)
            for untouched in truth.keys() - cut_off.keys():
                assert truth[untouched] == pytest.approx(queued[untouched], abs=1.001)
            queued, item = {}, item + 1
        now += pause / 1000


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
