"""How much of a text was heard: by proportion, by what can be spoken, and to the last whole word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.heard_text import CHARACTERS_PER_SECOND, heard_of_partial_text, heard_text, pace

USUAL = CHARACTERS_PER_SECOND / 1000


@pytest.mark.parametrize(
    ("heard_ms", "heard"),
    [
        (0, ""),
        (199, ""),
        (300, "one"),
        (630, "one"),
        (640, "one two"),
        (999, "one two"),
        (1000, "one two six"),
        (1500, "one two six"),
    ],
)
def test_a_whole_text_was_heard_in_proportion_to_the_last_whole_word(heard_ms: int, heard: str) -> None:
    assert heard_text("one two six", heard_ms, 1000) == heard


@pytest.mark.parametrize(
    ("text", "permille", "heard"),
    [
        ("我们每天九点开门。", 500, "我们每天"),
        ("OK我", 670, "OK"),
        ("我OK of course", 500, "我OK of"),
        ("我internationally", 500, "我"),
        ("one  \n  two", 500, "one"),
        ("internationally", 999, ""),
    ],
)
def test_a_text_is_cut_at_a_space_or_beside_a_wide_character(text: str, permille: int, heard: str) -> None:
    assert heard_text(text, permille, 1000) == heard


def test_without_audio_nothing_was_heard() -> None:
    assert heard_text("one two", 0, 0) == heard_of_partial_text("one two", 0, 0, USUAL) == ""
    assert heard_text("", 500, 1000) == heard_of_partial_text("", 500, 1000, USUAL) == ""


def test_the_pace_is_that_of_all_that_is_known_together() -> None:
    assert pace([("x" * 30, 1000), ("x" * 10, 3000)]) == 0.01


@pytest.mark.parametrize("known", [[], [("", 1000)], [("Hello.", 0)]])
def test_without_a_text_and_its_audio_the_pace_is_that_of_english(known: list[tuple[str, int]]) -> None:
    assert pace(known) == USUAL


def test_of_a_text_that_runs_ahead_of_its_audio_only_what_can_have_been_spoken_was_heard() -> None:
    """A minute of text came before two seconds of audio; in proportion, half of it would have been heard."""
    text = "word " * 180
    assert heard_of_partial_text(text, 1000, 2000, USUAL) == "word word word"
    assert heard_of_partial_text(text, 1000, 2000, USUAL / 2) == "word"


def test_of_a_text_that_comes_slowly_no_more_was_heard_than_in_proportion() -> None:
    """What is slower than usual must not be taken for heard before it was spoken."""
    text = "one two three four five six"
    assert heard_of_partial_text(text, 2000, 4000, USUAL) == "one two three"
    assert heard_text(text, 2000, 4000) == "one two three"


def test_a_text_of_which_more_is_to_come_was_never_heard_to_its_end() -> None:
    assert heard_of_partial_text("one two three", 60_000, 60_000, USUAL) == "one two"


texts = st.text(max_size=60) | st.text(st.sampled_from("abc é\n我"), max_size=200)


@given(texts, st.lists(st.integers(0, 5000), min_size=2, max_size=5), st.floats(0.0001, 1.0))
def test_more_time_is_never_less_text_and_no_partial_text_is_heard_before_the_whole_one(
    text: str, heard: list[int], spoken: float
) -> None:
    whole = [heard_text(text, heard_ms, 5000) for heard_ms in sorted(heard)]
    partial = [heard_of_partial_text(text, heard_ms, 5000, spoken) for heard_ms in sorted(heard)]
    for found in (whole, partial):
        assert all(text.startswith(heard_text) for heard_text in found)
        assert found == sorted(found, key=len)
    for heard_ms, in_proportion, so_far in zip(sorted(heard), whole, partial, strict=True):
        assert len(so_far) <= min(len(in_proportion), heard_ms * spoken)
        assert so_far != text or not text
