"""Conferences, by TwiML and by REST: who hears whom, when they begin and end, and what the server is told."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twilio.base.exceptions import TwilioRestException

from simulator.bridge import DELAY_MS
from simulator.callee import Busy, NoAnswer, Person
from simulator.dtmf import tones
from simulator.phone import Phone
from simulator.phone_events import Joined, Left
from simulator.tone import tone
from tests.simulator.telephony import (
    OTHER,
    OURS,
    THEM,
    WORDS,
    Telephony,
    bursts,
    eventually,
    live_through,
    side,
    telephony,
)
from tests.simulator.test_phone import SOON, of

pytestmark = pytest.mark.slow

ROOM = "room <1>"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.network.callees[THEM] = stage.network.callees[OTHER] = Person()
        yield stage


def conference(attributes: str = "", dial: str = "", then: str = "") -> str:
    return (
        f"<Response><Dial {dial}><Conference {attributes}>room &lt;1&gt;</Conference></Dial>{then}</Response>"
    )


def joined(stage: Telephony, number: int) -> None:
    """Until they hear each other; who has just come in may not do so yet."""

    def all_there() -> bool:
        rooms = [each.room for each in list(stage.network.conferences.values())]
        return sum(len(room) for room in rooms) == sum(room.talking for room in rooms) == number

    eventually(all_there, f"{number} calls did not join")


def test_everybody_hears_everybody_else_a_fixed_time_later(stage: Telephony) -> None:
    caller = stage.caller(conference(), recording=stage.folder / "caller.wav")
    call = stage.create(twiml=conference())
    person = stage.network.await_call(THEM, SOON)
    joined(stage, 2)
    person.say(WORDS).wait(SOON)
    caller.await_assistant(SOON, since=0)
    caller.await_silence(200, SOON)
    caller.say(tone(880, 200)).wait(SOON)
    person.await_assistant(SOON, since=0)
    person.await_silence(200, SOON)
    caller.hang_up()
    person.hang_up()
    caller_result, person_result = caller.await_end(SOON), person.await_end(SOON)
    heard = bursts(side(stage.folder / "caller.wav", 1))
    said = bursts(side(stage.folder / f"{call.sid}.wav", 0))
    assert [end - start for start, end in heard] == [end - start for start, end in said]
    assert len(bursts(side(stage.folder / f"{call.sid}.wav", 1))) == 1
    utterance = person_result.utterances[0]
    assert utterance.started is not None
    spoken_at = utterance.started + utterance.speech[0] / 8000
    origin = caller_result.utterances[0].started
    assert origin is not None
    began = origin - caller_result.utterances[0].start / 8000 if caller_result.utterances[0].start else 0.0
    assert abs((began + heard[0][0] / 8000) - spoken_at - DELAY_MS / 1000) < 0.002
    assert [event.room for event in of(Joined, caller_result.events)] == [ROOM]


def test_three_voices_are_mixed(stage: Telephony) -> None:
    caller = stage.caller(conference())
    stage.create(twiml=conference())
    stage.create(OTHER, twiml=conference())
    one, two = stage.network.await_call(THEM, SOON), stage.network.await_call(OTHER, SOON)
    joined(stage, 3)
    # Each presses the row or the column of a key, for long, as they begin when they can: only who hears both hears
    # a digit.
    one.say(tone(770, 3000))
    two.say(tone(1336, 3000))
    caller.await_digits("5", SOON)
    assert one.digits_heard == two.digits_heard == ""


def test_who_is_muted_is_not_heard_and_who_is_held_hears_nothing(stage: Telephony) -> None:
    caller = stage.caller(conference())
    stage.create(twiml=conference("muted='true' participantLabel='agent'"))
    person = stage.network.await_call(THEM, SOON)
    joined(stage, 2)
    (found,) = stage.client.conferences.list(friendly_name=ROOM, status="in-progress")
    participants = {each.call_sid: each for each in found.participants.list()}
    agent = participants[person.call_sid]
    assert (agent.label, agent.muted, agent.hold, agent.status) == ("agent", True, False, "connected")
    person.say(tones("1")).wait(SOON)
    assert found.participants("agent").update(muted=False).muted is False
    person.say(tones("2"))
    caller.await_digits("2", SOON)
    assert caller.digits_heard == "2"
    found.participants(caller.call_sid).update(hold=True)
    person.say(tones("3")).wait(SOON)
    caller.say(tones("4")).wait(SOON)
    for each in (person, caller):
        live_through(each, time.monotonic() + DELAY_MS / 1000)
    found.participants(caller.call_sid).update(hold=False)
    person.say(tones("5"))
    caller.await_digits("5", SOON)
    assert caller.digits_heard == "25"
    assert person.digits_heard == ""


def test_a_conference_waits_for_who_may_start_it(stage: Telephony) -> None:
    callback = (
        f"statusCallback='{stage.server.url}/conference' statusCallbackEvent='start end join leave mute hold'"
    )
    waiting = stage.caller(conference(f"startConferenceOnEnter='false' {callback}"))
    joined(stage, 1)
    (found,) = stage.client.conferences.list(friendly_name=ROOM)
    assert found.status == "init"
    stage.create(twiml=conference("endConferenceOnExit='true'"))
    person = stage.network.await_call(THEM, SOON)
    eventually(lambda: found.fetch().status == "in-progress", "the conference did not start")
    person.say(WORDS)
    waiting.await_assistant(SOON, since=0)
    person.hang_up()
    result = waiting.await_end(SOON)
    assert result.reason == "end"
    assert [event.room for event in of(Left, result.events)] == [ROOM]
    ended = found.fetch()
    assert ended.reason_conference_ended == "participant-with-end-conference-on-exit-left"
    assert ended.call_sid_ending_conference == person.call_sid
    events = []
    while "conference-end" not in events:
        form = stage.server.request("/conference").form
        events.append(form["StatusCallbackEvent"])
        assert (form["ConferenceSid"], form["FriendlyName"]) == (found.sid, ROOM)
    assert events == [
        "participant-join", "participant-join", "conference-start", "participant-leave", "conference-end",
    ]  # fmt: skip


def test_a_conference_ends_with_the_last_who_leaves_and_the_next_is_another(stage: Telephony) -> None:
    for _ in range(2):
        caller = stage.caller(conference())
        joined(stage, 1)
        caller.hang_up()
        caller.await_end(SOON)
    assert [each.status for each in stage.client.conferences.list()] == ["completed", "completed"]


def test_rest_calls_somebody_into_a_conference(stage: Telephony) -> None:
    caller = stage.caller(conference())
    joined(stage, 1)
    (found,) = stage.client.conferences.list(status="in-progress")
    stage.network.callees[THEM] = Person(after_s=1, says=WORDS)
    added = found.participants.create(
        from_=OURS,
        to=THEM,
        label="agent",
        end_conference_on_exit=True,
        status_callback=stage.server.url + "/s",
    )
    assert (added.label, added.end_conference_on_exit) == ("agent", True)
    assert added.status in ("queued", "ringing")
    eventually(lambda: found.participants("agent").fetch().status == "connected", "nobody joined")
    caller.await_assistant(SOON, since=0)
    with pytest.raises(TwilioRestException):
        found.participants.create(from_=OURS, to=OTHER, label="agent")
    assert found.participants(added.call_sid).delete()
    assert stage.statuses("/s")[-1]["CallStatus"] == "completed"
    assert caller.await_end(SOON).reason == "end"


def test_rest_creates_a_conference_by_name_and_learns_of_a_busy_callee(stage: Telephony) -> None:
    stage.network.callees[THEM] = Busy(0.1)
    added = stage.client.conferences("fresh").participants.create(from_=OURS, to=THEM)
    (found,) = stage.client.conferences.list(friendly_name="fresh")
    assert found.status == "init"
    eventually(lambda: stage.client.calls(added.call_sid).fetch().status == "busy", "it was not busy")
    assert found.participants.list() == []


def test_a_participant_who_still_rings_is_given_up(stage: Telephony) -> None:
    stage.network.callees[THEM] = NoAnswer()
    added = stage.client.conferences("fresh").participants.create(from_=OURS, to=THEM)
    (found,) = stage.client.conferences.list(friendly_name="fresh")
    assert found.participants(added.call_sid).delete()
    eventually(lambda: stage.client.calls(added.call_sid).fetch().status == "canceled", "it still rings")


def test_rest_ends_a_conference_and_the_twiml_goes_on(stage: Telephony) -> None:
    stage.server.documents["/after"] = "<Response><Hangup/></Response>"
    caller = stage.caller(conference(dial="action='/after'"))
    joined(stage, 1)
    (found,) = stage.client.conferences.list()
    assert found.update(status="completed").status == "completed"
    assert caller.await_end(SOON).reason == "hangup"
    assert stage.server.request("/after").form["DialCallStatus"] == "answered"


def test_a_caller_is_moved_from_a_stream_into_a_conference(stage: Telephony) -> None:
    """The warm transfer: the person waits in the conference, and the caller is redirected into it."""
    caller = stage.caller(stage.server.stream())
    media = stage.server.connection()
    stage.network.callees[THEM] = Person(says=WORDS)
    stage.create(twiml=conference())
    person = stage.network.await_call(THEM, SOON)
    joined(stage, 1)
    stage.client.calls(caller.call_sid).update(twiml=conference("endConferenceOnExit='true'"))
    media.expect("stop")
    joined(stage, 2)
    person.say(WORDS)
    caller.await_assistant(SOON, since=0)
    caller.hang_up()
    assert person.await_end(SOON).reason == "end"


def test_unknown_conferences_and_participants_are_not_found(stage: Telephony) -> None:
    caller: Phone = stage.caller(conference())
    joined(stage, 1)
    (found,) = stage.client.conferences.list()
    for ask in (
        stage.client.conferences("CF" + "0" * 32).fetch,
        found.participants("nobody").fetch,
        lambda: stage.client.conferences("CF" + "0" * 32).participants.create(from_=OURS, to=THEM),
    ):
        with pytest.raises(TwilioRestException) as refused:
            ask()
        assert (refused.value.status, refused.value.code) == (404, 20404)
    caller.hang_up()
