"""The Record verb: what is kept, and when it is over."""

import math
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.callee import Person
from simulator.phone import Phone
from simulator.wav import parse_wav
from tests.simulator.telephony import THEM, WORDS, Telephony, bursts, telephony
from tests.simulator.test_phone import SOON, TOKEN

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Telephony]:
    with telephony(tmp_path) as stage:
        stage.server.documents["/after"] = "<Response><Hangup/></Response>"
        yield stage


def fetch(stage: Telephony, url: str) -> bytes:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, stage.rest.url, stage.network.account_sid, TOKEN)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    with opener.open(url) as response:
        return bytes(response.read())


def test_what_is_said_after_the_beep_is_kept_until_silence(stage: Telephony) -> None:
    caller = stage.caller(
        "<Response><Record timeout='3' action='/after' recordingStatusCallback='/kept'/></Response>"
    )
    caller.await_assistant(SOON, since=0)  # the beep
    caller.await_silence(100, SOON)
    caller.say(WORDS)
    assert caller.await_end(SOON).reason == "hangup"
    form = stage.server.request("/kept").form
    assert (form["RecordingStatus"], form["CallSid"]) == ("completed", caller.call_sid)
    (recording,) = stage.client.recordings.list(call_sid=caller.call_sid)
    assert recording.sid == form["RecordingSid"]
    assert recording.duration == form["RecordingDuration"]
    assert [each.sid for each in stage.client.calls(caller.call_sid).recordings.list()] == [recording.sid]
    kept = parse_wav(fetch(stage, form["RecordingUrl"] + ".wav"), "recording")
    assert int(recording.duration) == math.ceil(len(kept) / 8000)
    ((start, end),) = bursts(kept)
    assert len(kept) - end >= 2.9 * 8000
    assert abs(end - start - len(WORDS)) < 80
    assert recording.delete()
    assert stage.client.recordings.list() == []


def test_the_action_gets_the_recording_and_the_key_that_ended_it(stage: Telephony) -> None:
    caller = stage.caller("<Response><Record playBeep='false' finishOnKey='#' action='/after'/></Response>")
    caller.say(WORDS).wait(SOON)
    caller.press("1")
    caller.press("#")
    assert caller.await_end(SOON).reason == "hangup"
    form = stage.server.request("/after").form
    assert form["RecordingUrl"].endswith(form["RecordingSid"])
    assert form["Digits"] == "1"


def test_a_hang_up_ends_a_recording(stage: Telephony) -> None:
    stage.network.callees[THEM] = Person(says=WORDS, hangs_up_s=0.6)
    stage.create(twiml=f"<Response><Record playBeep='false' action='{stage.server.url}/after'/></Response>")
    assert stage.server.request("/after").form["Digits"] == "hangup"


def test_silence_is_no_recording(stage: Telephony) -> None:
    caller = stage.caller("<Response><Record playBeep='false' timeout='0.2' action='/after'/></Response>")
    assert caller.await_end(SOON).reason == "end"
    assert stage.network.recordings == {}


def test_the_longest_time_ends_a_recording(stage: Telephony) -> None:
    caller = stage.caller("<Response><Record playBeep='false' maxLength='1' action='/after'/></Response>")
    caller.say(WORDS * 10)
    assert caller.await_end(SOON).reason == "hangup"
    assert stage.server.request("/after").form["RecordingDuration"] == "1"


def test_a_recording_needs_a_network(stage: Telephony) -> None:
    stage.server.documents["/twiml"] = "<Response><Record/></Response>"
    with Phone(stage.server.url + "/twiml") as phone:
        phone.dial()
        with pytest.raises(RuntimeError, match="give the Phone a network"):
            phone.await_end(SOON)
