"""How late a process is, from how late one thread wakes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.lateness import BUSY, LEAST_SECONDS, RECOVERED, SOON, SOON_SECONDS, WINDOW_SECONDS, Lateness

BEAT_MS = 20.0
LIMIT_MS = 20.0


class Process:
    """Beats, and is as late as it is told."""

    def __init__(self, limit_ms: float = LIMIT_MS) -> None:
        self.lateness = Lateness(limit_ms)
        self.now = 1000.0
        self.cpu_seconds = 10.0
        self.busy = 0.5

    def beat(self, late_ms: float) -> None:
        seconds = (BEAT_MS + late_ms) / 1000
        self.now += seconds
        self.cpu_seconds += seconds * self.busy
        self.lateness.woke(late_ms, self.now, self.cpu_seconds)

    def beat_for(self, seconds: float, *late_ms: float) -> list[bool]:
        """These again and again. Returns what it said of itself each time."""
        said, until = [], self.now + seconds
        while self.now < until:
            for each in late_ms:
                self.beat(each)
                said.append(self.lateness.late)
        return said


@pytest.mark.parametrize(
    ("beats", "late"),
    [
        ((0.1,), False),
        ((19.0,), False),
        ((21.0,), True),
        ((200.0,), True),
        (
            (*[1.0] * 19, 300.0),
            False,
        ),  # one that is very late among many: a file was read, garbage was collected
        ((*[1.0] * 4, 60.0), True),
    ],
)
def test_who_is_late_often_enough_is_late(beats: tuple[float, ...], late: bool) -> None:
    process = Process()
    process.beat_for(10, *beats)
    assert process.lateness.late is late


def test_nothing_is_said_of_a_process_that_has_just_begun() -> None:
    process = Process()
    assert not any(process.beat_for(LEAST_SECONDS * 0.9, 100.0))
    process.beat_for(LEAST_SECONDS, 100.0)
    assert process.lateness.late
    assert process.lateness.ms == 100


def test_without_a_limit_nobody_is_late_and_how_late_is_known_all_the_same() -> None:
    process = Process(limit_ms=0)
    process.beat_for(10, 500.0)
    assert (process.lateness.late, process.lateness.ms) == (False, 500)


def test_who_was_late_is_so_until_it_is_much_less() -> None:
    process = Process()
    process.beat_for(10, LIMIT_MS + 1)
    assert all(process.beat_for(30, LIMIT_MS * RECOVERED + 1))
    process.beat_for(WINDOW_SECONDS * 2, LIMIT_MS * RECOVERED - 1)
    assert not process.lateness.late
    assert not any(process.beat_for(30, LIMIT_MS - 1))


def test_what_is_long_ago_does_not_count() -> None:
    process = Process()
    process.beat_for(30, 200.0)
    process.beat_for(WINDOW_SECONDS + 0.5, 0.0)
    assert (process.lateness.late, process.lateness.ms) == (False, 0)


def test_who_is_nearly_late_and_has_no_processor_time_left_takes_no_more_calls() -> None:
    process = Process()
    process.beat_for(10, 0.1)
    process.busy = BUSY + 0.01
    assert not any(process.beat_for(10, LIMIT_MS * SOON - 1))
    process.beat_for(SOON_SECONDS + 0.3, LIMIT_MS * SOON + 1)
    assert process.lateness.late
    assert process.lateness.ms < LIMIT_MS
    process.busy = BUSY - 0.01
    process.beat_for(WINDOW_SECONDS * 2, LIMIT_MS * RECOVERED - 1)
    assert not process.lateness.late


@pytest.mark.parametrize(("late_ms", "busy"), [(LIMIT_MS - 1, BUSY - 0.05), (1.0, 1.0)])
def test_who_is_busy_or_a_little_late_and_not_both_takes_them(late_ms: float, busy: float) -> None:
    process = Process()
    process.busy = busy
    assert not any(process.beat_for(20, late_ms))


def test_several_calls_that_begin_at_once_are_no_reason_to_refuse_one() -> None:
    process = Process()
    process.busy = 0.1
    process.beat_for(10, 0.1)
    process.busy = 1.0
    assert not any(process.beat_for(0.25, 40.0))
    process.busy = 0.1
    assert not any(process.beat_for(10, 0.1))


@given(st.lists(st.floats(0, 400), min_size=50, max_size=600))
def test_it_does_not_flap(beats: list[float]) -> None:
    process = Process()
    changes: list[float] = []
    for late_ms in beats:
        before = process.lateness.late
        process.beat(late_ms)
        if process.lateness.late is not before:
            changes.append(process.lateness.ms)
    for ms, late in zip(changes, [True, False] * len(changes), strict=False):
        assert ms > LIMIT_MS if late else ms <= LIMIT_MS * RECOVERED


@given(st.lists(st.floats(0, 400), min_size=100, max_size=300), st.floats(0, 50))
def test_who_is_later_all_the_time_is_found_to_be_later(beats: list[float], more: float) -> None:
    one, other = Lateness(LIMIT_MS), Lateness(LIMIT_MS)
    for number, late_ms in enumerate(beats):
        one.woke(late_ms, number * 0.02, 0.0)
        other.woke(late_ms + more, number * 0.02, 0.0)
    assert other.ms == pytest.approx(one.ms + more)
