"""The Dial of a number: who is rung, what both sides hear, and what comes after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.bridge import DELAY_MS
from simulator.callee import Busy, Callee, Failed, NoAnswer, Person
from simulator.phone_events import Dialed, Joined, ProtocolError
from simulator.tone import tone
from tests.simulator.telephony import OURS, THEM, WORDS, Telephony, bursts, side, telephony
from tests.simulator.test_phone import SOON, of

pytestmark = pytest.mark.slow

AFTER = "<Response><Hangup/></Response>"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.network.callees[THEM] = Person()
        stage.server.documents["/after"] = AFTER
        yield stage


def dial(attributes: str = "", noun: str = THEM, then: str = "") -> str:
    return f"<Response><Dial {attributes}>{noun}</Dial>{then}</Response>"


def test_caller_and_callee_hear_each_other(stage: Telephony) -> None:
    caller = stage.caller(dial(f"callerId='{OURS}'"), recording=stage.folder / "caller.wav")
    person = stage.network.await_call(THEM, SOON)
    for each in (caller, person):
        each.await_company(SOON)
    caller.say(WORDS).wait(SOON)
    person.await_assistant(SOON, since=0)
    person.say(tone(880, 200)).wait(SOON)
    caller.await_assistant(SOON, since=0)
    caller.await_silence(200, SOON)
    person.await_silence(200, SOON)
    caller.hang_up()
    result, called = caller.await_end(SOON), person.await_end(SOON)
    assert (result.reason, called.reason) == ("caller", "parent")
    assert [event.number for event in of(Dialed, result.events)] == [THEM]
    said, heard = (bursts(side(stage.folder / "caller.wav", channel)) for channel in (0, 1))
    said_there, heard_there = (
        bursts(side(stage.folder / f"{person.call_sid}.wav", channel)) for channel in (0, 1)
    )
    length = [end - start for ((start, end),) in (said, heard, said_there, heard_there)]
    assert length[0] == length[3]
    assert length[1] == length[2]
    # The two recordings are of one clock: there and back takes two delays, whatever the threads did.
    there, back = heard_there[0][0] - said[0][0], heard[0][0] - said_there[0][0]
    assert abs(there + back - 2 * DELAY_MS * 8) <= 2
    record = stage.network.calls[person.call_sid]
    assert (record.direction, record.parent_sid, record.caller_id) == (
        "outbound-dial",
        caller.call_sid,
        OURS,
    )


def test_the_action_learns_that_the_callee_hung_up(stage: Telephony) -> None:
    caller = stage.caller(dial("action='/after'"))
    person = stage.network.await_call(THEM, SOON)
    person.await_answer(SOON)
    person.hang_up()
    assert caller.await_end(SOON).reason == "hangup"
    form = stage.server.request("/after").form
    assert form["DialCallStatus"] == "completed"
    assert form["DialCallSid"] == person.call_sid
    assert int(form["DialCallDuration"]) > 0
    assert form["CallStatus"] == "in-progress"


@pytest.mark.parametrize(
    ("callee", "status"),
    [(Busy(), "busy"), (NoAnswer(), "no-answer"), (Failed(), "failed"), (NoAnswer(0.05), "no-answer")],
)
def test_the_action_learns_that_nobody_answered(stage: Telephony, callee: Callee, status: str) -> None:
    stage.network.callees[THEM] = callee
    caller = stage.caller(dial("action='/after' timeout='1'"))
    assert caller.await_end(SOON).reason == "hangup"
    assert stage.server.request("/after").form["DialCallStatus"] == status
    assert of(Joined, caller.await_end(SOON).events) == []


def test_a_caller_who_gives_up_ends_the_ringing(stage: Telephony) -> None:
    stage.network.callees[THEM] = NoAnswer()
    caller = stage.caller(dial("action='/after'"))
    person = stage.network.await_call(THEM, SOON)
    caller.hang_up()
    assert person.await_end(SOON).reason == "canceled"
    assert caller.await_end(SOON).reason == "caller"
    assert stage.server.request("/after").form["DialCallStatus"] == "canceled"


def test_without_an_action_the_next_verb_follows(stage: Telephony) -> None:
    stage.network.callees[THEM] = Busy()
    caller = stage.caller(dial(then="<Reject reason='busy'/>"))
    assert caller.await_end(SOON).reason == "reject"
    assert stage.network.calls[caller.call_sid].status == "busy"


def test_what_is_no_number_is_not_dialled(stage: Telephony) -> None:
    caller = stage.caller(dial("action='/after'", noun="Bob"))
    assert [event.code for event in of(ProtocolError, caller.await_end(SOON).events)] == [13223]
    assert stage.server.request("/after").form["DialCallStatus"] == "failed"


def test_a_dial_ends_at_its_time_limit(stage: Telephony) -> None:
    caller = stage.caller(dial("timeLimit='1' action='/after'"))
    person = stage.network.await_call(THEM, SOON)
    assert person.await_end(SOON).reason == "parent"
    assert caller.await_end(SOON).reason == "hangup"
    assert stage.server.request("/after").form["DialCallStatus"] == "completed"


def test_digits_are_sent_to_who_answers_and_keys_are_heard(stage: Telephony) -> None:
    noun = f"<Number sendDigits='w42' statusCallback='/leg' statusCallbackEvent='ringing answered'>{THEM}</Number>"
    caller = stage.caller(dial(noun=noun))
    person = stage.network.await_call(THEM, SOON)
    person.await_digits("42", SOON)
    caller.await_company(SOON)
    person.await_company(SOON)
    caller.press("7")
    person.await_digits("427", SOON)
    caller.hang_up()
    person.await_end(SOON)
    assert [stage.server.request("/leg").form["CallStatus"] for _ in range(2)] == ["ringing", "in-progress"]


def test_a_redirected_callee_leaves_the_caller_with_the_next_verb(stage: Telephony) -> None:
    caller = stage.caller(dial("action='/after'"))
    person = stage.network.await_call(THEM, SOON)
    person.await_answer(SOON)
    stage.client.calls(person.call_sid).update(twiml="<Response><Pause length='60'/></Response>")
    assert caller.await_end(SOON).reason == "hangup"
    assert stage.network.calls[person.call_sid].status == "in-progress"


def test_a_redirected_caller_leaves_the_callee_alone(stage: Telephony) -> None:
    caller = stage.caller(dial("action='/after'"))
    person = stage.network.await_call(THEM, SOON)
    person.await_answer(SOON)
    stage.client.calls(caller.call_sid).update(twiml="<Response><Play digits='1'/><Reject/></Response>")
    assert person.await_end(SOON).reason == "parent"
    assert caller.await_end(SOON).reason == "reject"
    assert all(asked.path != "/after" for asked in list(stage.server.asked.queue))


def test_played_digits_are_heard_by_who_is_on_the_phone(stage: Telephony) -> None:
    stage.create(twiml="<Response><Play digits='1w2'/><Pause length='60'/></Response>")
    person = stage.network.await_call(THEM, SOON)
    person.await_digits("12", SOON)
    assert person.digits_heard == "12"
