"""Lost caller audio: whatever Twilio loses, repeats or reorders, the model's clock stays with the caller's."""

import base64
import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.continuity import LONGEST_GAP_MS, LONGEST_OVERLAP_MS, PIECE_MS, Continuity, silence
from wire.g711 import FRAME_MS


def padding(continuity: Continuity, timestamps: Iterable[int], duration_ms: float = FRAME_MS) -> list[float]:
    """The silence, in ms, that goes in front of each message."""
    return [sum(each.duration_ms for each in continuity.before(at, duration_ms)) for at in timestamps]


def test_a_stream_without_gaps_is_left_alone() -> None:
    assert padding(Continuity(), range(61, 2061, 20)) == [0] * 100


def test_nothing_was_lost_before_the_first_message() -> None:
    assert padding(Continuity(), [7_000, 7_020]) == [0, 0]


def test_lost_frames_become_silence_of_their_length() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 20, 60, 80, 160, 180]) == [0, 0, 20, 0, 60, 0]
    assert continuity.padded_ms == 80
    assert continuity.gaps == 2


def test_a_lost_frame_makes_one_frame_of_mulaw_silence() -> None:
    continuity = Continuity()
    continuity.before(0, 20)
    (piece,) = continuity.before(40, 20)
    assert base64.b64decode(piece.payload, validate=True) == b"\xff" * 160
    assert piece.duration_ms == 20


def test_jitter_is_no_gap() -> None:
    assert padding(Continuity(), [0, 23, 38, 64, 80, 97, 124, 140, 174]) == [0] * 9


def test_a_lost_frame_is_seen_through_jitter() -> None:
    assert padding(Continuity(), [0, 20, 56, 80]) == [0, 0, 20, 0]


def test_jitter_that_adds_up_is_a_gap_in_the_end() -> None:
    """Twilio's clock runs faster than its audio comes: now and then a frame is missing and no step shows it."""
    continuity = Continuity()
    assert max(padding(continuity, range(0, 21_000, 21))) == 20
    assert continuity.padded_ms == pytest.approx(1000, abs=FRAME_MS)


def test_a_repeated_message_is_counted_and_made_up_for_by_the_next_gap() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 20, 20, 40, 60, 120, 140]) == [0, 0, 0, 0, 0, 20, 0]
    assert continuity.out_of_order == 1


def test_a_message_from_the_past_is_counted_and_not_padded() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 20, 60, 40, 80]) == [0, 0, 20, 0, 0]
    assert continuity.out_of_order == 1


def test_messages_need_not_be_20_ms_long() -> None:
    continuity = Continuity()
    assert continuity.before(0, 50.0) == ()
    assert continuity.before(50, 12.5) == ()
    assert continuity.before(62, 100.0) == ()
    assert sum(each.duration_ms for each in continuity.before(222, 30.0)) == 60


def test_a_huge_gap_gets_no_more_silence_than_is_good_for_and_the_clock_goes_on_behind_it() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 3_600_000, 3_600_020, 3_600_080]) == [0, LONGEST_GAP_MS, 0, 40]
    assert continuity.unfilled_ms == 3_600_000 - 20 - LONGEST_GAP_MS
    assert continuity.padded_ms == LONGEST_GAP_MS + 40


def test_the_longest_gap_is_filled() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 20 + LONGEST_GAP_MS]) == [0, LONGEST_GAP_MS]
    assert continuity.unfilled_ms == 0


def test_a_gap_just_below_the_longest_is_filled_like_any_other() -> None:
    continuity = Continuity()
    assert padding(continuity, [0, 10 + LONGEST_GAP_MS]) == [0, LONGEST_GAP_MS - 20]
    assert continuity.unfilled_ms == 0


def test_a_clock_that_was_set_back_starts_anew() -> None:
    """Else every later gap would be made up for by an hour that never was."""
    assert padding(Continuity(), [3_600_000, 0, 20, 80]) == [0, 0, 0, 40]


@given(st.floats(0, 3000))
def test_silence_is_right_for_any_length(duration_ms: float) -> None:
    pieces = silence(duration_ms)
    assert b"".join(base64.b64decode(each.payload, validate=True) for each in pieces) == b"\xff" * int(
        duration_ms * 8
    )
    assert all(0 < each.duration_ms <= PIECE_MS for each in pieces)
    assert sum(each.duration_ms for each in pieces) == int(duration_ms * 8) / 8


@given(st.lists(st.tuples(st.integers(0, LONGEST_GAP_MS // FRAME_MS), st.integers(-2, 2)), min_size=1))
def test_the_silence_is_what_was_lost_whatever_the_jitter(messages: list[tuple[int, int]]) -> None:
    continuity = Continuity()
    position = 1000
    lost_behind_the_first = 0
    for number, (lost, jitter) in enumerate(messages):
        if number:
            position += lost * FRAME_MS
            lost_behind_the_first += lost * FRAME_MS
        before = continuity.before(position + jitter, FRAME_MS)
        assert sum(each.duration_ms for each in before) == (lost * FRAME_MS if number else 0)
        position += FRAME_MS
    assert continuity.padded_ms == lost_behind_the_first
    assert continuity.out_of_order == 0
    assert continuity.unfilled_ms == 0


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 800).map(lambda samples: samples / 8))),
)
def test_the_clock_of_the_model_stays_within_a_frame_of_the_callers(
    first_ms: int, messages: list[tuple[int, float]]
) -> None:
    """Gaps of any length, not only whole frames, between messages of any length."""
    continuity = Continuity()
    at = first_ms
    appended = 0.0
    for gap, duration_ms in [(0, 20.0), *messages]:
        at += gap
        appended += sum(each.duration_ms for each in continuity.before(at, duration_ms)) + duration_ms
        assert abs(appended - (at + duration_ms - first_ms)) < FRAME_MS
        at = -int(-(at + duration_ms) // 1)


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.floats(0, 2000)), max_size=40))
def test_nonsense_gets_bounded_silence_and_everything_is_counted(messages: list[tuple[int, float]]) -> None:
    continuity = Continuity()
    padded = [sum(padding(continuity, [at], duration_ms)) for at, duration_ms in messages]
    assert all(0 <= each <= LONGEST_GAP_MS and each % FRAME_MS == 0 for each in padded)
    assert continuity.padded_ms == sum(padded)
    assert continuity.gaps == sum(map(bool, padded))
    timestamps = [at for at, _ in messages]
    backwards = [later <= earlier for earlier, later in itertools.pairwise(timestamps)]
    assert continuity.out_of_order == sum(backwards)


@given(st.integers(1, 100))
def test_after_any_overlap_gaps_are_filled_again(repeats: int) -> None:
    continuity = Continuity()
    padding(continuity, [0] * (repeats + 1))
    overlap_ms = min(repeats * FRAME_MS, LONGEST_OVERLAP_MS)
    assert 2000 - overlap_ms - FRAME_MS <= padding(continuity, [2020])[0] <= 2000
