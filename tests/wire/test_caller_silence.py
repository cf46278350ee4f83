"""How long a caller may be silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.caller_silence import (
    UNHEARD_SECONDS,
    AskAgain,
    CallerSilence,
    Command,
    Goodbye,
    Patience,
    Remind,
    Reprompt,
)

TEN = Patience(10.0, 2)


def reminded(commands: list[Command]) -> float:
    [remind] = commands
    assert isinstance(remind, Remind)
    return remind.seconds


def silence(patience: Patience = TEN, *, unheard: bool = False) -> CallerSilence:
    return CallerSilence(patience, unheard=unheard)


def test_a_silent_caller_is_asked_twice_and_then_the_call_ends() -> None:
    silent = silence()
    now = 100.0
    for expected in (Reprompt(), Reprompt(), Goodbye()):
        assert reminded(silent.turn(True, now)) == 10.0
        now += 10.0
        assert silent.due(now) == [expected]
        assert silent.turn(False, now) == []
        now += 3.0


def test_a_goodbye_that_a_noise_took_back_is_said_again() -> None:
    """protocol-gotchas 25: or nobody would ever be asked again, and the line were held for as long as it may be."""
    silent = silence(Patience(10.0, 0))
    silent.turn(True, 0.0)
    assert silent.due(10.0) == [Goodbye()]
    assert silent.turn(False, 10.0) == []
    assert reminded(silent.turn(True, 15.0)) == 10.0
    assert silent.due(25.0) == [Goodbye()]


def test_who_says_something_has_all_the_time_again() -> None:
    silent = silence()
    silent.turn(True, 0.0)
    assert silent.due(10.0) == [Reprompt()]
    silent.turn(True, 12.0)
    assert silent.due(22.0) == [Reprompt()]
    silent.turn(False, 22.0)
    silent.alive(23.0)
    silent.turn(True, 25.0)
    assert silent.due(35.0) == [Reprompt()]


def test_a_key_in_the_middle_of_a_silence_ends_it() -> None:
    silent = silence()
    silent.turn(True, 0.0)
    assert reminded(silent.alive(9.0)) == 10.0
    assert silent.due(10.0) == [Remind(9.0)]
    assert silent.due(19.0) == [Reprompt()]


def test_noise_without_words_does_not_keep_a_dead_line_for_ever() -> None:
    silent = silence()
    now, commands = 0.0, []
    while Goodbye() not in commands:
        silent.turn(True, now)
        now += 10.0
        commands = silent.due(now)
        silent.turn(False, now)  # what we say, and what is taken for speech after it
        now += 5.0
        assert now < 60, "the call goes on for ever"


def test_while_the_assistant_speaks_or_works_nobody_is_silent() -> None:
    silent = silence()
    silent.turn(True, 0.0)
    silent.turn(False, 9.0)
    assert silent.due(10.0) == []
    assert reminded(silent.turn(True, 50.0)) == 10.0


def test_it_can_be_switched_off_and_asked_never() -> None:
    off = silence(Patience(None))
    assert off.turn(True, 0.0) == []
    assert off.due(1e6) == []
    curt = silence(Patience(5.0, 0))
    curt.turn(True, 0.0)
    assert curt.due(5.0) == [Goodbye()]


def test_who_may_have_spoken_between_two_streams_is_asked_soon_and_then_as_anybody() -> None:
    silent = silence(Patience(10.0, 0), unheard=True)
    assert silent.turn(False, 0.0) == [], "the session is being made"
    assert reminded(silent.turn(True, 2.0)) == UNHEARD_SECONDS
    assert silent.due(2.0 + UNHEARD_SECONDS) == [AskAgain()]
    assert silent.turn(False, 6.0) == []
    assert reminded(silent.turn(True, 8.0)) == 10.0
    assert silent.due(18.0) == [Goodbye()]


@pytest.mark.parametrize("sign_of_life", ["words", "a sound", "the assistant speaks"])
def test_who_is_heard_after_two_streams_is_not_asked_to_say_it_again(sign_of_life: str) -> None:
    silent = silence(unheard=True)
    silent.turn(True, 0.0)
    if sign_of_life == "words":
        assert reminded(silent.alive(1.0)) == 10.0
    else:
        silent.turn(False, 1.0)
        assert reminded(silent.turn(True, 1.5)) == 10.0


@pytest.mark.parametrize(("patience", "seconds"), [(Patience(None), None), (Patience(3.0), 3.0)])
def test_nobody_is_asked_to_say_it_again_later_than_whether_they_are_there(
    patience: Patience, seconds: float | None
) -> None:
    commands = silence(patience, unheard=True).turn(True, 0.0)
    assert commands == ([] if seconds is None else [Remind(seconds)])


@pytest.mark.parametrize("wrong", [{"reprompt_seconds": 0.0}, {"reprompt_seconds": -1.0}, {"reprompts": -1}])
def test_patience_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Patience(**wrong)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.sampled_from(["turn", "other", "alive", "due"]), st.floats(0, 20))))
def test_nobody_is_asked_sooner_than_promised_or_oftener_before_the_goodbye(
    steps: list[tuple[str, float]],
) -> None:
    silent = silence()
    now, since, asked = 0.0, None, 0
    for what, seconds in steps:
        now += seconds
        before = since
        match what:
            case "turn":
                commands = silent.turn(True, now)
                since = now if since is None else since
            case "other":
                commands, since = silent.turn(False, now), None
            case "alive":
                commands, asked = silent.alive(now), 0
                since = None if since is None else now
            case _:
                commands = silent.due(now)
        for command in commands:
            if isinstance(command, Remind):
                assert 0 < command.seconds <= 10.001
                continue
            assert before is not None
            assert now - before >= 9.99
            asked += 1
            assert isinstance(command, Goodbye) == (asked >= 3)
            since = None
