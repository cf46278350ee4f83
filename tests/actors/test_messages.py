"""The vocabulary: messages are frozen, say what they are, and stand in the lane that they belong to."""

import dataclasses
import inspect

import pytest

from actors import messages
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Audio,
    CallerAudio,
    Cleared,
    DeadlinePassed,
    Interrupt,
    Played,
    Queued,
)
from wire.playback import Part

VOCABULARY = [
    each
    for _, each in inspect.getmembers(messages, dataclasses.is_dataclass)
    if isinstance(each, type) and each.__module__ == messages.__name__
]


@pytest.mark.parametrize("message", VOCABULARY, ids=lambda message: message.__name__)
def test_every_message_is_frozen_and_slotted_and_says_who_tells_it(message: type) -> None:
    assert message.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(message)
    assert message.__doc__
    assert message is Audio or " → " in message.__doc__.split(": ")[0]


def test_only_audio_and_what_keeps_its_place_in_it_may_be_dropped() -> None:
    droppable = {message for message in VOCABULARY if issubclass(message, Audio)}
    assert droppable == {Audio, CallerAudio, AssistantAudio, AssistantAudioDone, Queued, Played, Cleared}


def test_a_message_cannot_be_changed_after_it_was_told() -> None:
    audio = AssistantAudio(20.0, "resp_1", Part("item_1", 0), "AAAA")
    with pytest.raises(dataclasses.FrozenInstanceError):
        audio.payload = "BBBB"  # type: ignore[misc]


def test_messages_are_compared_by_what_they_say() -> None:
    assert Interrupt(frozenset({"a"})) == Interrupt(frozenset({"a"}))
    assert DeadlinePassed(DeadlinePassed.SESSION_READY) != DeadlinePassed(DeadlinePassed.MODEL_CLOSED)
    assert CallerAudio(20.0, "AAAA", arrived_at=1.0) == CallerAudio(20.0, "AAAA", arrived_at=2.0)


def test_every_deadline_has_a_name_of_its_own() -> None:
    names = [value for name, value in vars(DeadlinePassed).items() if name.isupper()]
    assert len(names) == len(set(names)) > 10
