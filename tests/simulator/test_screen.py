"""What a call looks like on a terminal, and in a log."""

import io

import pytest

from simulator.screen import REDRAW_SAMPLES, Screen, levels, loudness
from simulator.tone import tone

LOUD = tone(440, 100)
SILENCE = b"\xff" * 800


def shown(written: str) -> list[str]:
    """The lines that a terminal ends with: after a carriage return what comes goes over what was there."""
    lines: list[str] = []
    for row in written.split("\n"):
        text = ""
        for part in row.split("\r"):
            text = part + text[len(part) :]
        lines.append(text.rstrip())
    return lines


def test_in_a_log_there_are_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    with Screen(stream) as screen:
        screen.echo("one")
        screen.listen(REDRAW_SAMPLES, LOUD, LOUD)
        screen.echo("two")
    assert stream.getvalue() == "one\ntwo\n"


def test_a_terminal_that_cannot_go_back_is_treated_as_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for term, live in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", term)
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        with Screen(stream) as screen:
            screen.echo("word " * 40)
            screen.listen(REDRAW_SAMPLES, LOUD, LOUD)
        assert ("\r" in stream.getvalue()) is live
        assert max(map(len, stream.getvalue().split("\r")[0].splitlines())) <= screen.width, "but has a width"


def test_on_a_terminal_lines_are_above_the_levels_and_nothing_of_them_stays() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=True, width=60)
    screen.echo("one")
    screen.listen(REDRAW_SAMPLES, LOUD, SILENCE)
    assert shown(stream.getvalue()) == ["one", "  0.10 s  caller [#########---] assistant [------------]"]
    screen.echo("two")
    assert shown(stream.getvalue()) == ["one", "two", ""]
    screen.listen(3 * REDRAW_SAMPLES, SILENCE, LOUD)
    screen.close()
    assert shown(stream.getvalue()) == ["one", "two", ""]


def test_levels_are_drawn_ten_times_a_second_and_show_the_loudest_since() -> None:
    stream = io.StringIO()
    screen = Screen(stream, live=True, width=60)
    for frame in range(50):
        screen.listen(frame * 160, LOUD[:160] if frame % 5 == 2 else SILENCE[:160], SILENCE[:160])
    drawn = stream.getvalue().split("\r")[1:]
    assert len(drawn) == 9
    assert all("caller [####" in each for each in drawn)


def test_what_is_too_long_for_the_terminal_is_broken_and_a_log_has_it_whole() -> None:
    for live, rows in ((True, 2), (False, 1)):
        stream = io.StringIO()
        Screen(stream, live=live, width=60).echo("turn 2     " + "word " * 12)
        assert stream.getvalue().rstrip().count("\n") == rows - 1
        assert all(len(row) <= 60 for row in stream.getvalue().splitlines()) is live


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_levels_fit_into_the_terminal(width: int) -> None:
    assert len(levels(599.9, 255, 255, width)) <= width


def test_a_meter_goes_from_nothing_to_full() -> None:
    assert loudness(SILENCE) == loudness(b"") == 0
    quiet, loud = loudness(tone(440, 100)), loudness(b"\x00")
    assert 0 < quiet < loud
    assert "[------]" in levels(0, 0, 0, 47)
    assert levels(0, loud, 0, 47).count("#") == 6
