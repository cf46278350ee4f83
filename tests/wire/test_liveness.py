"""Whether the server still answers: a table of what is asked when, and servers that hang at any moment."""

import heapq
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.liveness import (
    CLOCK_SECONDS,
    GAP_MS,
    GRACE_MS,
    IDLE_SECONDS,
    PATIENCE_SECONDS,
    SPOKEN_MS,
    URGENT_SECONDS,
    Command,
    Liveness,
    Lost,
    Ping,
    Remind,
    UnnoticedSpeech,
)

Step = tuple[float, Callable[[Liveness, float], list[Command]], list[Command]]


def due(heard_at: float) -> Callable[[Liveness, float], list[Command]]:
    return lambda liveness, now: liveness.due(heard_at, now)


check = Liveness.check

CALLS: dict[str, list[Step]] = {
    "a server that speaks is not asked": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(4.0), [Remind(4.0)]),
        (9.0, due(8.75), [Remind(4.75)]),
    ],
    "one that is silent is asked, and left in peace when it answers": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(0.0), [Ping(), Remind(5.0)]),
        (10.0, due(5.25), [Remind(0.25)]),
        (10.25, due(5.25), [Ping(), Remind(5.0)]),
    ],
    "one that does not answer is lost": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(0.0), [Ping(), Remind(5.0)]),
        (10.0, due(0.0), [Lost()]),
    ],
    "where the caller waits it has less time": [
        (0.0, due(0.0), [Remind(5.0)]),
        (2.0, check, [Ping(), Remind(1.0)]),
        (3.0, due(1.75), [Lost()]),
    ],
    "what it said before it was asked is no answer": [
        (0.0, due(0.0), [Remind(5.0)]),
        (2.0, check, [Ping(), Remind(1.0)]),
        (3.0, due(2.25), [Remind(4.25)]),
    ],
    "a question that becomes urgent has less time left": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(0.0), [Ping(), Remind(5.0)]),
        (6.0, check, [Ping(), Remind(1.0)]),
        (7.0, due(0.0), [Lost()]),
    ],
    "and one that is urgent gets no more time by being asked again": [
        (0.0, due(0.0), [Remind(5.0)]),
        (2.0, check, [Ping(), Remind(1.0)]),
        (2.5, check, [Ping(), Remind(0.5)]),
        (3.0, due(0.0), [Lost()]),
    ],
    "an answer to the question before is none to the one that is urgent": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(0.0), [Ping(), Remind(5.0)]),
        (6.0, check, [Ping(), Remind(1.0)]),
        (7.0, due(5.5), [Lost()]),
    ],
    "an answer before the urgent question does not make it more urgent": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5.0, due(0.0), [Ping(), Remind(5.0)]),
        (9.75, check, [Ping(), Remind(0.25)]),
        (10.0, due(5.5), [Remind(0.75)]),
        (10.75, due(5.5), [Lost()]),
    ],
    "reminders that a question has made pointless are ignored": [
        (0.0, due(0.0), [Remind(5.0)]),
        (4.5, check, [Ping(), Remind(1.0)]),
        (5.0, due(0.0), []),
        (5.5, due(5.25), [Remind(4.75)]),
        (10.25, due(10.0), [Remind(4.75)]),
    ],
    "a timer that is a little early is early enough": [
        (0.0, due(0.0), [Remind(5.0)]),
        (5 - 1 / 2048, due(0.0), [Ping(), Remind(5.0)]),
        (10 - 1 / 1024, due(0.0), [Lost()]),
    ],
}


@pytest.mark.parametrize("steps", CALLS.values(), ids=CALLS)
def test_what_is_asked_when(steps: list[Step]) -> None:
    liveness = Liveness()
    for now, step, expected in steps:
        assert step(liveness, now) == expected


@given(
    st.lists(st.floats(0.05, 20.0), max_size=12),
    st.lists(st.floats(0.1, 30.0), max_size=8),
    st.floats(0.0, 30.0),
    st.floats(0.0, 0.9),
    st.floats(-CLOCK_SECONDS / 2, 0.01),
)
def test_a_server_that_hangs_is_lost_in_time_and_one_that_lives_never(
    words: list[float], checks: list[float], hangs_at: float, answers_after: float, late: float
) -> None:
    """It says something after each of `words` s, answers each ping, and hangs at some time. Checks come whenever."""
    liveness, now, heard_at = Liveness(), 0.0, 0.0
    checked_at = list(itertools.accumulate(checks))
    events = [(0.0, "due"), *((at, "check") for at in checked_at)]
    events += [(at, "word") for at in itertools.accumulate(words) if at < hangs_at]
    heapq.heapify(events)
    lost_at: float | None = None
    while events:
        now, event = heapq.heappop(events)
        if event == "word":
            heard_at = now
            continue
        for command in liveness.check(now) if event == "check" else liveness.due(heard_at, now):
            match command:
                case Ping() if now + answers_after < hangs_at:
                    heapq.heappush(events, (now + answers_after, "word"))
                case Remind(seconds):
                    assert seconds >= 0
                    heapq.heappush(events, (now + seconds + late, "due"))
                case Lost():
                    lost_at = now
        if lost_at is not None:
            break
        assert now < hangs_at + IDLE_SECONDS + PATIENCE_SECONDS + 1, "nobody noticed"
    assert lost_at is not None
    assert lost_at >= hangs_at
    assert lost_at <= hangs_at + IDLE_SECONDS + PATIENCE_SECONDS + 0.1
    if urgent := [at for at in checked_at if at >= hangs_at]:
        assert lost_at <= urgent[0] + URGENT_SECONDS + 0.1


# What the caller said and the server has not noticed.


def hear(unnoticed: UnnoticedSpeech, *pieces: tuple[bool, int]) -> list[float]:
    """Pass on so many frames of 20 ms each, loud or not; what it told."""
    told = [unnoticed.caller_audio(loud, 20.0) for loud, frames in pieces for _ in range(frames)]
    return [ms for ms in told if ms is not None]


LOUD = SPOKEN_MS // 20
STOP_DELAY_MS = 500
WAIT = (STOP_DELAY_MS + GRACE_MS) // 20


def test_speech_that_the_server_does_not_notice_is_told_once_with_when_its_turn_was_over() -> None:
    unnoticed = UnnoticedSpeech(STOP_DELAY_MS)
    assert hear(unnoticed, (True, LOUD), (False, WAIT - 1)) == []
    assert hear(unnoticed, (False, 1)) == [GRACE_MS]
    assert hear(unnoticed, (False, 500)) == []


def test_speech_that_the_server_notices_is_not_told() -> None:
    unnoticed = UnnoticedSpeech(STOP_DELAY_MS)
    hear(unnoticed, (True, LOUD), (False, WAIT - 1))
    unnoticed.noticed()
    assert hear(unnoticed, (False, 500)) == []
    assert hear(unnoticed, (True, LOUD), (False, WAIT)) == [GRACE_MS]


def test_a_sound_shorter_than_a_word_is_not_missed_by_anybody() -> None:
    assert hear(UnnoticedSpeech(STOP_DELAY_MS), (True, LOUD - 1), (False, 500)) == []


def test_words_with_pauses_between_them_count_together() -> None:
    unnoticed = UnnoticedSpeech(STOP_DELAY_MS)
    assert hear(unnoticed, (True, LOUD - 1), (False, GAP_MS // 20), (True, 1), (False, WAIT)) == [GRACE_MS]


def test_sounds_far_from_each_other_do_not_count_together() -> None:
    unnoticed = UnnoticedSpeech(STOP_DELAY_MS)
    assert hear(unnoticed, *[(True, LOUD - 1), (False, GAP_MS // 20 + 1)] * 5, (False, 500)) == []


def test_a_caller_who_goes_on_is_not_told_of_before_the_end() -> None:
    unnoticed = UnnoticedSpeech(STOP_DELAY_MS)
    assert hear(unnoticed, *[(True, 100), (False, WAIT // 2)] * 5) == []


def test_a_server_that_waits_longer_has_more_time() -> None:
    """Semantic turn detection may take seconds to see that a turn is over."""
    unnoticed = UnnoticedSpeech(8000)
    assert hear(unnoticed, (True, LOUD), (False, (8000 + GRACE_MS) // 20 - 1)) == []
    assert hear(unnoticed, (False, 1)) == [GRACE_MS]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 120)), max_size=30),
    st.sampled_from([200, 500, 2000]),
    st.sampled_from([20, 40, 100]),
)
def test_what_is_told_is_a_silence_behind_words(
    pieces: list[tuple[bool, int]], stop_delay_ms: int, frame_ms: int
) -> None:
    """By a look back at all the audio: enough of it was loud since what was told last, and then came silence."""
    unnoticed = UnnoticedSpeech(stop_delay_ms)
    heard: list[bool] = []
    since = 0
    for loud, frames in pieces:
        for _ in range(frames):
            heard.append(loud)
            late_ms = unnoticed.caller_audio(loud, frame_ms)
            quiet_ms = frame_ms * next((n for n, was in enumerate(reversed(heard)) if was), len(heard))
            if late_ms is not None:
                assert late_ms == quiet_ms - stop_delay_ms >= GRACE_MS
                assert sum(heard[since:]) * frame_ms >= SPOKEN_MS
                since = len(heard)
            elif quiet_ms >= stop_delay_ms + GRACE_MS:
                together = _spoken_together_ms(heard[since:], frame_ms)
                assert together < SPOKEN_MS


def _spoken_together_ms(heard: list[bool], frame_ms: int) -> int:
    """How much was loud since the last gap before the silence at the end."""
    spoken = quiet = 0
    for loud in heard:
        if loud:
            spoken = (0 if quiet > GAP_MS else spoken) + frame_ms
            quiet = 0
        else:
            quiet += frame_ms
    return spoken
