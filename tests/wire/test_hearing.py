"""What the server should have heard: by words that it misses, and by a voice that semantic detection never hears."""

import pytest

from wire.hearing import Hearing, Missed
from wire.liveness import GRACE_MS, SPOKEN_MS
from wire.vad_watchdog import DEAF_MS, SERVER_VAD_STOP_MS, SwitchToServerVad

STOP_DELAY_MS = 2000


def hear(
    hearing: Hearing, duration_ms: int, loud: bool = True, words: bool | None = None, playing: bool = False
) -> list[Missed | SwitchToServerVad]:
    """Pass on so much audio in frames of 20 ms; what it told."""
    said = loud if words is None else words
    told = [hearing.caller_audio(loud, said, 20, playing) for _ in range(duration_ms // 20)]
    return [command for command in told if command]


@pytest.mark.parametrize("semantic", [False, True])
def test_words_that_the_server_does_not_notice_are_missed_once(semantic: bool) -> None:
    hearing = Hearing(STOP_DELAY_MS, semantic)
    assert hear(hearing, SPOKEN_MS) == []
    assert hear(hearing, STOP_DELAY_MS + GRACE_MS, loud=False) == [Missed(GRACE_MS)]
    assert hear(hearing, 10_000, loud=False) == []


def test_words_that_it_notices_are_not() -> None:
    hearing = Hearing(STOP_DELAY_MS, semantic=False)
    hear(hearing, SPOKEN_MS)
    hearing.speech_started()
    hearing.speech_stopped()
    assert hear(hearing, 10_000, loud=False) == []


def test_what_may_be_echo_is_neither_missed_nor_counted() -> None:
    hearing = Hearing(STOP_DELAY_MS, semantic=True)
    assert hear(hearing, 2 * DEAF_MS, words=False, playing=True) == []
    assert hear(hearing, 10_000, loud=False) == []


def test_only_semantic_detection_is_replaced_and_only_once() -> None:
    assert hear(Hearing(STOP_DELAY_MS, semantic=False), 2 * DEAF_MS) == []
    assert hear(Hearing(STOP_DELAY_MS, semantic=True), 3 * DEAF_MS) == [SwitchToServerVad()]


def test_a_caller_who_is_heard_keeps_semantic_detection() -> None:
    hearing = Hearing(STOP_DELAY_MS, semantic=True)
    hear(hearing, DEAF_MS - 20)
    hearing.speech_started()
    assert hear(hearing, 2 * DEAF_MS) == []
    hearing.speech_stopped()
    assert hear(hearing, DEAF_MS - 20) == []


def test_once_replaced_the_server_has_the_shorter_time_of_its_successor() -> None:
    hearing = Hearing(STOP_DELAY_MS, semantic=True)
    hear(hearing, DEAF_MS)
    hear(hearing, SPOKEN_MS)
    assert hear(hearing, SERVER_VAD_STOP_MS + GRACE_MS, loud=False) == [Missed(GRACE_MS)]
