"""The silences of a call, from what was heard in it. The rest of a result is tested with the phone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.call_result import CallResult
from simulator.line import Utterance

LOUD = b"\x80"
S = 8000


def result(
    seconds: float,
    audible: tuple[tuple[int, int], ...] = (),
    said: tuple[tuple[int, int], ...] = (),
    utterances: tuple[Utterance, ...] = (),
) -> CallResult:
    return CallResult("CA1", "caller", seconds, (), (), utterances, audible, 0.0, None, said)


def utterance(start: int | None, samples: int) -> Utterance:
    """Caller speech with a tenth of a second of silence around it."""
    spoken = Utterance(0, b"\xff" * 800 + LOUD * samples + b"\xff" * 800, 0.0)
    spoken.start = None if start is None else start - 800
    return spoken


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, None, 4000),  # from 4 s to 8 s
        (0.0, 4.0, 1000),  # the first second, and from 2 s to 3 s
        (0.5, 3.5, 1000),
        (0.5, 2.5, 500),
        (1.2, 1.8, 0),
        (5.0, 6.0, 1000),
        (8.5, 8.75, 0),
        (8.5, None, 1000),
        (2.25, 2.75, 500),
        (9.0, 9.0, 0),
    ],
)
def test_the_longest_silence_lies_between_two_moments(
    start_s: float, end_s: float | None, expected: float
) -> None:
    call = result(10.0, audible=((1 * S, 2 * S), (8 * S, 9 * S)), said=((3 * S, 4 * S),))
    assert call.longest_silence_ms(start_s, end_s) == expected


def test_what_overlaps_is_heard_once() -> None:
    call = result(4.0, audible=((1 * S, 2 * S),), said=((1 * S, 3 * S),))
    assert call.longest_silence_ms() == 1000


def test_a_silent_call_is_one_silence() -> None:
    assert result(1.5).longest_silence_ms() == 1500
    assert result(1.5).longest_dead_air_ms() == 1500


def test_the_callers_speech_is_silence_but_no_dead_air() -> None:
    call = result(10.0, audible=((0, S), (7 * S, 10 * S)), utterances=(utterance(4 * S, 2 * S),))
    assert call.longest_silence_ms() == 6000
    assert call.longest_dead_air_ms() == 3000
    assert call.longest_dead_air_ms(4.0) == 1000
    never_said = result(2.0, utterances=(utterance(None, S),))
    assert never_said.longest_dead_air_ms() == 2000


moments = st.integers(0, 400)


@given(
    st.lists(st.tuples(moments, moments).map(lambda ends: tuple(sorted(ends))), max_size=8), moments, moments
)
def test_no_silence_is_missed(sound: list[tuple[int, int]], start: int, end: int) -> None:
    """Against counting every sample; the unit here is one, so 1/8 ms."""
    call = result(400 / S, audible=tuple(sound))
    longest = run = 0
    for sample in range(start, end):
        run = 0 if any(began <= sample < ended for began, ended in sound) else run + 1
        longest = max(longest, run)
    assert call.longest_silence_ms(start / S, end / S) == longest / 8
