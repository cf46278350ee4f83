"""Warm transfers: whoever was called is joined or let go, in whatever order things are heard of."""

from hypothesis import given
from hypothesis import strategies as st

from wire.consultation import Command, Consultation, Failed, GiveUp, Join, State

LEG = "CA2"


def test_a_person_who_agrees_is_joined() -> None:
    consultation = Consultation()
    assert consultation.placed(LEG) == []
    assert consultation.state is State.RINGING
    assert consultation.accepted(LEG) == [Join()]
    consultation.joined()
    assert not consultation.open
    assert consultation.ended("completed") == []
    assert consultation.given_up("hung up") == []


def test_one_who_does_not_take_it_is_a_failure() -> None:
    consultation = Consultation()
    consultation.placed(LEG)
    assert consultation.ended("busy") == [Failed("busy")]
    assert consultation.ended("busy") == []


def test_one_who_agrees_and_hangs_up_before_the_caller_is_there_is_a_failure() -> None:
    consultation = Consultation()
    consultation.placed(LEG)
    consultation.accepted(LEG)
    assert consultation.ended("completed") == [Failed("completed")]


def test_a_caller_who_hangs_up_leaves_nobody_ringing() -> None:
    consultation = Consultation()
    consultation.placed(LEG)
    assert consultation.given_up("hung up") == [GiveUp(LEG), Failed("hung up")]


def test_a_call_that_was_given_up_before_it_was_placed_is_ended_then() -> None:
    consultation = Consultation()
    assert consultation.given_up("hung up") == [Failed("hung up")]
    assert consultation.placed(LEG) == [GiveUp(LEG)]
    assert consultation.placed(LEG) == []


def test_what_is_heard_of_it_may_overtake_the_answer_that_it_was_placed() -> None:
    consultation = Consultation()
    assert consultation.accepted(LEG) == [Join()]
    assert consultation.placed(LEG) == []
    assert consultation.state is State.ACCEPTED
    early = Consultation()
    assert early.ended("no-answer") == [Failed("no-answer")]
    assert early.placed(LEG) == []


@given(st.lists(st.sampled_from(["placed", "accepted", "ended", "given up", "joined"]), max_size=12))
def test_it_fails_or_is_joined_once_and_a_known_call_is_never_left_ringing(events: list[str]) -> None:
    consultation, commands = Consultation(), list[Command]()
    was_joined = ended = False
    for event in events:
        match event:
            case "placed":
                commands += consultation.placed(LEG)
            case "accepted":
                commands += consultation.accepted(LEG)
            case "ended":
                ended = True
                commands += consultation.ended("busy")
            case "given up":
                commands += consultation.given_up("hung up")
            case _:
                consultation.joined()
        was_joined = was_joined or consultation.state is State.JOINED
    assert sum(isinstance(each, Failed) for each in commands) <= 1
    assert sum(isinstance(each, Join) for each in commands) <= 1
    assert sum(isinstance(each, GiveUp) for each in commands) <= 1
    if consultation.state is State.OVER and not ended and consultation.leg_sid:
        assert GiveUp(LEG) in commands
    assert not (was_joined and any(isinstance(each, Failed) for each in commands))
