"""The keypad by messages alone: what is entered, and who gets to know of it."""

import pytest

from actors.keypad import REST_SECONDS, TAIL_SECONDS
from actors.member import CallError
from actors.messages import CollectDigits, DeadlinePassed, Playback
from actors.telephony import COLLECT_TOOL, Telephony
from actors.tool import ToolError
from tests.actors.test_operator import Scene, scene
from tests.conftest import ExpectedLogs
from wire.transcript import Entry, ToolUse

__all__ = ["scene"]


def test_the_model_is_told_what_was_asked_for(scene: Scene) -> None:
    reply = scene.ask(CollectDigits("order"))
    scene.press("123")
    assert not reply.done()
    scene.press("4")
    assert reply.result(0) == "The caller has entered: 1234"
    assert scene.digits == {"order": "1234"}
    assert scene.call.done == ["hush"] * 4, "who types has understood, and nobody is muted for it"


def test_a_secret_number_is_for_tools_alone(scene: Scene) -> None:
    """Card mode: the digits come neither to the model nor into any note."""
    reply = scene.ask(CollectDigits("card"))
    assert scene.keypad.card_mode
    assert scene.call.done == [("mute", True)]
    scene.press("9876")
    assert reply.result(0) == "The caller has entered it: 4 digits, which are kept from you."
    assert scene.digits == {"card": "9876"}
    assert "9876" not in str(scene.call.notes)
    assert [kind for kind, _ in scene.call.notes] == ["card mode began", "card mode ended"]


def test_the_tone_of_the_last_key_is_not_heard_either(scene: Scene) -> None:
    scene.ask(CollectDigits("card"))
    scene.press("9876")
    assert scene.keypad.card_mode
    assert ("mute", False) not in scene.call.done
    [(seconds, timer)] = [
        each for each in scene.clock.timers if each[1].message.what == DeadlinePassed.UNMUTE
    ]
    assert seconds == TAIL_SECONDS
    scene.keypad.due(DeadlinePassed.UNMUTE, timer.message.about)
    assert scene.call.done[-1] == ("mute", False)
    assert not scene.keypad.card_mode


def test_a_key_too_many_is_nobody_s_business_either(scene: Scene) -> None:
    """Who enters five digits where there are four has entered a secret all the same."""
    scene.ask(CollectDigits("card"))
    scene.press("9876")
    first = scene.clock.timers[-1][1].message
    scene.press("5#")
    assert scene.keypad.card_mode
    scene.keypad.due(DeadlinePassed.UNMUTE, first.about)
    assert scene.call.done[-1] == ("mute", True), "its tone goes on"
    scene.keypad.due(DeadlinePassed.UNMUTE, scene.clock.timers[-1][1].message.about)
    assert scene.call.done[-1] == ("mute", False)
    scene.keypad.due(DeadlinePassed.DIGITS, None)
    assert "keys" not in str(scene.call.done)
    assert scene.digits == {"card": "9876"}


@pytest.mark.parametrize("resumed", [False, True])
def test_who_pauses_in_the_middle_of_a_secret_and_goes_on_keeps_it(
    monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    """With the entry its time is over, or it died with its process; the rest of the number is as secret."""
    now = [1000.0]
    monkeypatch.setattr("actors.keypad.time.monotonic", lambda: now[0])
    scene = Scene()
    if resumed:
        use = ToolUse("call_1", COLLECT_TOOL, '{"what": "card"}', None)
        scene.keypad.goes_on((Entry("item_1", "tool", "", "", 0, 0, tool=use),))
    else:
        scene.ask(CollectDigits("card"))
        scene.press("98")
        now[0] += 5.0
        scene.keypad.due(DeadlinePassed.DIGITS, None)
        now[0] += TAIL_SECONDS
        scene.keypad.due(DeadlinePassed.UNMUTE, scene.clock.timers[-1][1].message.about)
        assert scene.call.done[-1] == ("mute", False)
    assert scene.keypad.card_mode
    for _ in range(2):
        now[0] += REST_SECONDS - 1
        scene.press("7")
        assert scene.call.done[-1] == ("mute", True)
        now[0] += TAIL_SECONDS
        scene.keypad.due(DeadlinePassed.UNMUTE, scene.clock.timers[-1][1].message.about)
        assert scene.call.done[-1] == ("mute", False)
    now[0] += REST_SECONDS
    assert not scene.keypad.card_mode
    scene.press("1#")
    assert scene.call.done[-1] == ("keys", "1")


@pytest.mark.parametrize("keys", ["", "98#"])
def test_who_is_done_with_a_secret_may_press_a_key_for_something_else(
    monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    now = [1000.0]
    monkeypatch.setattr("actors.keypad.time.monotonic", lambda: now[0])
    scene = Scene()
    scene.ask(CollectDigits("card"))
    scene.press(keys)
    now[0] += 20.0
    scene.keypad.due(DeadlinePassed.DIGITS, None)
    now[0] += TAIL_SECONDS
    scene.keypad.due(DeadlinePassed.UNMUTE, scene.clock.timers[-1][1].message.about)
    scene.press("1#")
    assert scene.call.done[-1] == ("keys", "1")


def test_a_second_secret_right_behind_the_first_is_not_unmuted_by_the_first_one_s_end(scene: Scene) -> None:
    scene.ask(CollectDigits("card"))
    scene.press("9876")
    first = scene.clock.timers[-1][1].message.about
    scene.ask(CollectDigits("card"))
    scene.keypad.due(DeadlinePassed.UNMUTE, first)
    assert scene.call.done[-1] == ("mute", True)
    assert scene.keypad.card_mode


def test_too_few_digits_are_told_without_saying_which(scene: Scene) -> None:
    reply = scene.ask(CollectDigits("card"))
    scene.press("98#")
    with pytest.raises(ToolError, match="entered 2 digits in time, which is not enough") as told:
        reply.result(0)
    assert "98" not in str(told.value)
    assert scene.digits == {}


def test_a_caller_who_enters_nothing_is_waited_for_from_the_end_of_the_question(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("actors.keypad.time.monotonic", lambda: now[0])
    reply = scene.ask(CollectDigits("order"))
    now[0] += 15
    scene.keypad.handle(Playback(assistant=False, sound=False))
    now[0] += 19
    scene.keypad.due(DeadlinePassed.DIGITS, None)
    assert not reply.done()
    now[0] += 1
    scene.keypad.due(DeadlinePassed.DIGITS, None)
    with pytest.raises(ToolError, match="entered no digits in time"):
        reply.result(0)


def test_who_has_begun_is_not_made_to_begin_anew_by_the_end_of_the_question(scene: Scene) -> None:
    reply = scene.ask(CollectDigits("order"))
    scene.press("12")
    scene.keypad.handle(Playback(assistant=False, sound=False))
    scene.press("34")
    assert reply.result(0) == "The caller has entered: 1234"


def test_keys_that_nobody_asked_for_are_told_together(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("actors.keypad.time.monotonic", lambda: now[0])
    scene.press("12")
    assert scene.call.done == []
    now[0] += 2.0
    scene.keypad.due(DeadlinePassed.DIGITS, None)
    scene.press("3#")
    assert scene.call.done == [("keys", "12"), ("keys", "3")]
    deaf = Scene(Telephony(hear_keys=False))
    deaf.press("12#")
    assert deaf.call.done == []


def test_what_is_not_on_the_list_or_comes_twice_is_refused(scene: Scene, logs: ExpectedLogs) -> None:
    logs.expect("There is nothing of that name")
    logs.expect("entering something else")
    with pytest.raises(ToolError, match="nothing of that name"):
        scene.ask(CollectDigits("pin")).result(0)
    first = scene.ask(CollectDigits("order"))
    with pytest.raises(ToolError, match="entering something else"):
        scene.ask(CollectDigits("card")).result(0)
    scene.press("1234")
    assert first.result(0)


def test_a_call_that_leaves_answers_whoever_still_waits(scene: Scene) -> None:
    reply = scene.ask(CollectDigits("card"))
    scene.keypad.departed()
    with pytest.raises(CallError, match="left its stream"):
        reply.result(0)
