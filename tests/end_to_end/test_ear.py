"""What the fault matrix is measured with."""

import pytest

from simulator.script import silence, tone
from tests.end_to_end.ear import Ear, Sound
from tests.end_to_end.fault_row import silences
from wire.g711 import FRAME_BYTES

VOICES = {"low": 400, "high": 800}


def heard(audio: bytes) -> list[tuple[object, ...]]:
    ear = Ear(VOICES)
    for start in range(0, len(audio), FRAME_BYTES):
        ear.hear(start, audio[start : start + FRAME_BYTES])
    return [
        (each.voice, pytest.approx(each.start, abs=0.002), pytest.approx(each.end, abs=0.002))
        for each in ear.sounds
    ]


def test_voices_are_told_apart_by_their_pitch() -> None:
    audio = silence(110) + tone(500, 400) + silence(300) + tone(200, 800)
    assert heard(audio) == [("low", 0.11, 0.61), ("high", 0.91, 1.11)]


def test_a_voice_that_follows_another_within_a_frame_is_not_a_third_one() -> None:
    audio = tone(330, 400) + tone(330, 800)
    assert [voice for voice, _, _ in heard(audio)] == ["low", "high"]


def test_a_pause_between_words_is_no_silence() -> None:
    assert heard(tone(200, 400) + silence(150) + tone(200, 400)) == [("low", 0, 0.55)]


GREETING, REPLY = Sound("low", 0.5, 2.0), Sound("high", 4.0, 5.0)


def test_it_is_the_assistant_s_turn_from_the_beginning_and_from_the_end_of_the_caller_s() -> None:
    assert list(silences([GREETING, REPLY], [(2.5, 3.0)], 0.0, 9.0)) == [(0.0, 0.5), (3.5, 4.0)]


def test_where_an_answer_breaks_off_the_turn_goes_on_until_the_last_of_it() -> None:
    rest = Sound("high", 7.0, 8.0)
    assert list(silences([GREETING, REPLY, rest], [(2.5, 3.0)], 0.4, 9.0))[-1] == (5.0, 7.0)


def test_a_turn_in_which_nothing_is_heard_is_silent_to_its_end() -> None:
    assert list(silences([GREETING], [(2.5, 3.0)], 0.5, 9.0)) == [(3.5, 9.0)]


def test_what_is_heard_while_the_caller_speaks_is_no_silence_afterwards() -> None:
    fallback = Sound("low", 3.2, 3.7)
    assert list(silences([GREETING, fallback], [(2.5, 3.0)], 0.5, 3.7)) == []
