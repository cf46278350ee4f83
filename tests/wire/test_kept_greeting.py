"""Which greeting is kept, and how it is given back."""

import base64

import pytest

from tests.actors.parts import ulaw
from wire.kept_greeting import LEAD_MS, MAX_MS, GreetingTake, KeptGreeting, same_words
from wire.playback import Part

WORDS = "Hello, this is Tailwind."
PART = Part("item_g", 0)


def take(
    *payloads: str, text: str | None = WORDS, completed: bool = True, part: Part = PART
) -> KeptGreeting | None:
    """What is kept of a first response with this audio and this transcript."""
    taking = GreetingTake(WORDS)
    for payload in payloads:
        taking.audio("resp_1", part, payload)
    if text is not None:
        taking.said(part, text)
    return taking.done("resp_1", completed)


def test_the_greeting_is_kept_whole() -> None:
    kept = take(ulaw(300), ulaw(55))
    assert kept == KeptGreeting(WORDS, b"\x80" * 355 * 8)
    assert kept.duration_ms == 355


def test_it_is_given_back_in_pieces_that_are_all_of_it() -> None:
    pieces = list(KeptGreeting(WORDS, bytes(range(256)) * 10).pieces())
    assert b"".join(base64.b64decode(payload) for payload, _ in pieces) == bytes(range(256)) * 10
    assert [duration_ms for _, duration_ms in pieces] == [200, 120]


def test_the_silence_before_the_voice_is_not_kept() -> None:
    kept = take(ulaw(400, 0xFF), ulaw(200))
    assert kept is not None
    assert kept.ulaw == b"\xff" * LEAD_MS * 8 + b"\x80" * 200 * 8


@pytest.mark.parametrize(
    "text",
    [
        "Hello, this is Tail",
        "Good morning, this is Tailwind.",
        "",
        None,
        "Hello, this is Tailwind. How are you?",
    ],
)
def test_other_words_are_not_kept(text: str | None) -> None:
    assert take(ulaw(300), text=text) is None


def test_what_was_broken_off_is_not_kept() -> None:
    assert take(ulaw(300), completed=False) is None


def test_silence_is_not_kept() -> None:
    assert take(ulaw(300, 0xFF)) is None


def test_what_is_too_long_is_not_kept_and_takes_no_memory() -> None:
    taking = GreetingTake(WORDS)
    for _ in range(MAX_MS // 1000 + 2):
        taking.audio("resp_1", PART, ulaw(1000))
    assert taking.over
    taking.said(PART, WORDS)
    assert taking.done("resp_1", True) is None


def test_an_answer_in_two_parts_is_not_kept() -> None:
    taking = GreetingTake(WORDS)
    taking.audio("resp_1", PART, ulaw(300))
    taking.audio("resp_1", Part("item_h", 0), ulaw(300))
    taking.said(PART, WORDS)
    assert taking.done("resp_1", True) is None


def test_a_response_without_a_voice_does_not_count_as_the_first() -> None:
    taking = GreetingTake(WORDS)
    assert taking.done("resp_0", False) is None
    assert not taking.over
    taking.audio("resp_1", PART, ulaw(300))
    taking.said(PART, WORDS)
    assert taking.done("resp_1", True) is not None
    assert taking.over


def test_only_the_first_response_counts() -> None:
    taking = GreetingTake(WORDS)
    taking.audio("resp_1", PART, ulaw(300))
    taking.done("resp_1", False)
    taking.audio("resp_2", PART, ulaw(300))
    taking.said(PART, WORDS)
    assert taking.done("resp_2", True) is None


def test_words_are_the_same_whatever_their_punctuation() -> None:
    assert same_words("Hello – this is TAILWIND!", WORDS)
    assert same_words("您好，这里是", "您好 这里是。")
    assert not same_words("…", "!")
