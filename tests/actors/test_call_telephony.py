"""CallActor and the telephone: how a call leaves its stream, what is said before, and who falls silent."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from actors.costs import CallLimits
from actors.farewell import GAP_SECONDS, GOODBYE_SECONDS, LONGEST_SECONDS, LOOKS_AGAIN_SECONDS
from actors.listener import Listener
from actors.member import CallError, post
from actors.messages import (
    AnsweredBy,
    CallerAudio,
    ConsultAccepted,
    ConsultEnded,
    DeadlinePassed,
    DigitPressed,
    Drain,
    Floor,
    HangUp,
    Inject,
    PauseRecording,
    Say,
    SendDigits,
    StartRecording,
    StopRecording,
    StreamStopped,
    Transfer,
)
from actors.phone_tools import phone_tools
from actors.sound import ringing
from actors.telephony import Target, Telephony
from tests.actors.parts import (
    LOUD,
    QUIET,
    SESSION,
    asked,
    audio_done,
    committed,
    function_call,
    item_added,
    response_created,
    response_done,
    said,
    speech_started,
    speech_stopped,
    transcribed,
)
from tests.actors.test_call import Call, Calls, begin_to_say, call, calls, instructions, items, say
from tests.actors.test_openai import GATE, GATED, RESUMING
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeModelSocket, wait_until
from wire.caller_silence import Patience
from wire.false_start import Gating
from wire.instructions import GOODBYE, NOBODY_THERE, REPROMPT, RESUME, UNHEARD, word_for_word
from wire.journal import Then

__all__ = ["call", "calls"]

TELEPHONY = Telephony.model_validate(
    {
        "transfer": {"sales": "+15550100001", "workshop": {"number": "+15550100002", "warm": True}},
        "digits": {"order": {"digits": 3}, "card": {"digits": 4, "secret": True}},
        "send_digits": True,
    }
)
SILENCE = DeadlinePassed(DeadlinePassed.CALLER_SILENCE)


def with_telephone(calls: Calls, **differences: Any) -> Call:
    return calls(tools=phone_tools(TELEPHONY), telephony=TELEPHONY, **differences)


def use(socket: FakeModelSocket, name: str, arguments: str, words: str = "") -> None:
    """The model calls a function, and says something before that or not."""
    socket.say(response_created("resp_t"))
    if words:
        begin_to_say(socket, "resp_t", "item_w", words, "item_g")
    called = function_call("resp_t", "item_t", "call_t", name)
    called["item"]["arguments"] = arguments
    socket.say(called, response_done("resp_t"))


def caller_says(socket: FakeModelSocket, words: str, item: str = "item_u", previous: str = "item_g") -> None:
    socket.say(
        speech_started(item), speech_stopped(item), committed(item, previous), transcribed(item, words)
    )


def lately_silent(call: Call) -> None:
    """The assistant was heard some time ago."""
    call.settle()
    call.actor._talk._audible_until -= GAP_SECONDS


def the_next(socket: FakeModelSocket, kind: str) -> dict[str, Any]:
    """The next event of that type, whatever comes before it."""
    while True:
        event: dict[str, Any] = orjson.loads(socket._sent.get(timeout=PATIENCE_SECONDS))
        if event["type"] == kind:
            return event


def instructions_of_next(socket: FakeModelSocket) -> str:
    """Those of the response that is asked for next, whatever comes before it."""
    found: str = the_next(socket, "response.create")["response"]["instructions"]
    return found


def next_events(socket: FakeModelSocket, wanted: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """So many events of each of these types, in whatever order they come, and among whatever others."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in wanted}
    while any(len(found[kind]) < count for kind, count in wanted.items()):
        event: dict[str, Any] = orjson.loads(socket._sent.get(timeout=PATIENCE_SECONDS))
        found.setdefault(event["type"], []).append(event)
    return found


# Hanging up


def test_the_model_hangs_up_when_its_goodbye_has_been_heard(calls: Calls) -> None:
    """protocol-gotchas 26: generation ends long before playback does."""
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "hang_up", "{}", "Goodbye then!")
    items(socket, 1)
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()
    assert call.journal.endings == [("ended", Then.HANG_UP)]
    assert "response.create" not in [event["type"] for event in socket.sent()], "it has said goodbye"


def test_a_model_that_hangs_up_without_a_word_is_made_to_say_goodbye(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    caller_says(socket, "That was all.")
    wait_until(lambda: not call.actor._talk.assistant_had_last_word, "the caller has spoken")
    use(socket, "hang_up", "{}")
    assert "the caller has heard your goodbye" in items(socket, 1)[0][1]
    assert GOODBYE in instructions(socket)
    say(socket, "resp_b", "item_b", "Goodbye.", "item_t")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()


def test_a_caller_who_speaks_before_the_goodbye_was_heard_is_not_hung_up_on(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "hang_up", "{}", "Goodbye then!")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    socket.say(speech_started("item_u"))
    assert call.journal.wait_for("does not leave") == {"reason": "the caller speaks"}
    call.phone.expect("media")
    call.phone.expect("mark")
    call.phone.expect("clear")
    socket.say(speech_stopped("item_u"), committed("item_u", "item_t"), transcribed("item_u", "Wait!"))
    call.floor(Floor.ASSISTANT)
    say(socket, "resp_2", "item_2", "Yes?", "item_u")
    call.play()
    call.pause()
    assert not call.ended.is_set()


def test_a_goodbye_is_not_cut_off_because_an_earlier_one_was_taken_back(calls: Calls) -> None:
    """protocol-gotchas 26. The model gives the same reason each time; its first deadline is not the second's."""
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "hang_up", "{}", "Goodbye then!")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    first = call.actor._farewell.departure
    socket.say(speech_started("item_u"))
    call.journal.wait_for("does not leave")
    post(call.ref, HangUp(first.reason, goodbye=True, said=True))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end again")
    call.clock.expire(DeadlinePassed(DeadlinePassed.GOODBYE, first))
    call.settle()
    assert not call.ended.is_set()
    second = call.actor._farewell.departure
    socket.say(speech_stopped("item_u"))
    call.floor(Floor.ASSISTANT)
    post(call.ref, HangUp(first.reason, goodbye=True, said=True))
    wait_until(lambda: call.actor._farewell.departure is not second, "it is taken back")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end once more")
    lately_silent(call)
    call.ref.tell(DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure))
    call.wait()


def test_who_orders_a_goodbye_gets_one_that_the_caller_hears(call: Call) -> None:
    socket = call.greet()
    post(call.ref, HangUp("closing time", goodbye=True))
    assert GOODBYE in instructions(socket), "it had the last word, which was no goodbye"
    say(socket, "resp_b", "item_b", "Goodbye.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()
    assert call.journal.wait_for("ended")["reason"] == "closing time"


@pytest.mark.parametrize(
    "moment", ["the caller speaks", "they are about to be answered", "they are answered"]
)
def test_an_ordered_goodbye_waits_until_everybody_has_finished(call: Call, moment: str) -> None:
    """What was asked is answered, and that answer is no goodbye; who spoke before it has not contradicted it."""
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    if moment == "the caller speaks":
        post(call.ref, HangUp("closing time", goodbye=True))
        call.settle()
    socket.say(speech_stopped("item_u"), committed("item_u", "item_g"))
    socket.say(transcribed("item_u", "Are you open on Sunday?"))
    call.floor(Floor.ASSISTANT)
    if moment == "they are about to be answered":
        post(call.ref, HangUp("closing time", goodbye=True))
        call.settle()
    begin_to_say(socket, "resp_1", "item_1", "Yes, we are.", "item_u")
    wait_until(lambda: call.actor._talk.assistant_audible, "the answer plays")
    if moment == "they are answered":
        post(call.ref, HangUp("closing time", goodbye=True))
        call.settle()
    socket.say(audio_done("resp_1", "item_1"), response_done("resp_1"))
    call.play()
    assert GOODBYE in instructions(socket)
    say(socket, "resp_b", "item_b", "Goodbye.", "item_1")
    call.play()
    call.wait()
    assert call.journal.wait_for("ended")["reason"] == "closing time"


def test_an_ordered_goodbye_has_its_time_from_the_pause_on(call: Call) -> None:
    socket = call.greet()
    begin_to_say(socket, "resp_1", "item_1", "Well.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "it speaks")
    post(call.ref, HangUp("closing time", goodbye=True))
    wait_until(lambda: call.actor._farewell._ordered is not None, "it waits for a pause")
    ordered = call.actor._farewell._ordered
    socket.say(audio_done("resp_1", "item_1"), response_done("resp_1"))
    call.play()
    assert GOODBYE in instructions(socket)
    lately_silent(call)
    call.ref.tell(DeadlinePassed(DeadlinePassed.GOODBYE, ordered))
    call.settle()
    assert call.actor.talking, "the goodbye is about to be said"
    call.ref.tell(DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure))
    call.wait()


def test_a_cough_cuts_no_goodbye_off_at_its_deadline(calls: Calls) -> None:
    """Gated, what the assistant says goes on then."""
    call = calls(session=GATED, gating=GATE, limits=CallLimits(max_minutes=10))
    socket = call.greet()
    call.clock.expire(DeadlinePassed(DeadlinePassed.LIMIT))
    instructions(socket)
    begin_to_say(socket, "resp_b", "item_b", "Goodbye.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    deadline = DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure)
    assert call.clock.expire(deadline) == GOODBYE_SECONDS
    assert call.clock.expire(deadline) == LOOKS_AGAIN_SECONDS


def test_an_ordered_goodbye_is_not_said_to_who_is_transferred_meanwhile(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    begin_to_say(socket, "resp_1", "item_1", "One moment.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "it speaks")
    post(call.ref, HangUp("closing time", goodbye=True))
    post(call.ref, Transfer("sales"))
    socket.say(audio_done("resp_1", "item_1"), response_done("resp_1"))
    call.play()
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]
    assert "response.create" not in [event["type"] for event in socket.sent()]


def a_sound_against_a_goodbye(calls: Calls, gating: Gating) -> tuple[Call, FakeModelSocket]:
    """The model has hung up, its goodbye plays, and the server hears something of the caller."""
    call = with_telephone(calls, session=GATED, gating=gating)
    socket = call.greet()
    use(socket, "hang_up", "{}", "Goodbye then!")
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    return call, socket


def hears_it_and_is_hung_up_on(call: Call) -> None:
    call.play()
    call.wait()
    assert call.journal.endings == [("ended", Then.HANG_UP)]
    assert "does not leave" not in call.journal.kinds()


def test_a_cough_takes_no_goodbye_back(calls: Calls) -> None:
    """Nor does its echo, for the sake of which turns are gated: else the line would be held for ever."""
    call, socket = a_sound_against_a_goodbye(calls, GATE)
    socket.say(speech_stopped("item_u"), committed("item_u", "item_t"))
    call.floor(Floor.NOBODY)
    hears_it_and_is_hung_up_on(call)


def test_nor_does_a_loud_one_that_turns_out_to_have_no_words(calls: Calls) -> None:
    call, socket = a_sound_against_a_goodbye(calls, RESUMING)
    call.hear(LOUD, 15)
    call.phone.expect("media")
    call.phone.expect("mark")
    call.phone.expect("clear")
    socket.say(speech_stopped("item_u"), committed("item_u", "item_t"), transcribed("item_u", ""))
    assert RESUME in instructions_of_next(socket)
    say(socket, "resp_2", "item_2", "then!", "item_t")
    hears_it_and_is_hung_up_on(call)


def test_but_words_do(calls: Calls) -> None:
    call, _ = a_sound_against_a_goodbye(calls, GATE)
    call.hear(LOUD, 10)
    assert call.journal.wait_for("does not leave") == {"reason": "the caller speaks"}


def test_who_began_to_speak_before_the_model_hung_up_is_answered_and_not_hung_up_on(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    post(call.ref, HangUp("the assistant ended the call", goodbye=True, said=True))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    socket.say(speech_stopped("item_u"), committed("item_u", "item_g"))
    assert call.journal.wait_for("does not leave") == {"reason": "the caller speaks"}


def test_a_goodbye_that_the_caller_was_quicker_than_is_not_said_after_their_answer(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes on: a goodbye behind the answer would leave the caller with an assistant that has taken leave."""
    monkeypatch.setattr("wire.turns.IN_FLIGHT_SECONDS", 0.0)  # nobody speaks as briefly as this test
    call = with_telephone(calls)
    socket = call.greet()
    caller_says(socket, "That was all.")
    wait_until(lambda: not call.actor._talk.assistant_had_last_word, "the caller has spoken")
    socket.say(response_created("resp_1"))
    call.floor(Floor.ASSISTANT)
    post(call.ref, HangUp("the assistant ended the call", goodbye=True, said=True))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    call.settle()
    socket.say(speech_started("item_v"))
    call.journal.wait_for("does not leave")
    socket.say(response_done("resp_1", status="cancelled"))
    socket.say(speech_stopped("item_v"), committed("item_v", "item_u"), transcribed("item_v", "No, wait."))
    call.floor(Floor.ASSISTANT)
    say(socket, "resp_2", "item_2", "Yes?", "item_v")
    call.play()
    call.pause()
    assert "response.create" not in [event["type"] for event in socket.sent()]


# Leaving for somebody else


def test_a_caller_is_transferred_when_the_announcement_has_been_heard(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "transfer_call", '{"to": "sales", "summary": "A buyer."}', "I put you through to sales.")
    wait_until(lambda: call.actor._talk.assistant_audible, "the announcement plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]
    assert call.journal.detail == "+15550100001"
    assert "response.create" not in [event["type"] for event in socket.sent()]
    [tool] = [entry.tool for _, entry in call.journal.entries.values() if entry.tool]
    assert tool.output is not None
    assert "nobody has answered there" in tool.output, "what a stream finds that begins because of that"


def test_a_transfer_without_a_word_is_not_waited_for(calls: Calls) -> None:
    call = with_telephone(calls)
    use(call.greet(), "transfer_call", '{"to": "sales", "summary": ""}')
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]


def test_an_announcement_that_is_never_heard_holds_nobody_up_for_ever(calls: Calls) -> None:
    call = with_telephone(calls)
    use(call.greet(), "transfer_call", '{"to": "sales", "summary": ""}', "I put you through.")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    about = call.actor._farewell.departure
    wait_until(lambda: call.actor._talk.assistant_audible, "the announcement plays")
    deadline = DeadlinePassed(DeadlinePassed.GOODBYE, about)
    assert call.clock.expire(deadline) == GOODBYE_SECONDS
    assert call.clock.expire(deadline) == LOOKS_AGAIN_SECONDS, "it is being heard, and not cut off"
    call.settle()
    assert not call.ended.is_set()
    call.actor._farewell._leaves_by -= LONGEST_SECONDS
    call.clock.expire(deadline)
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]


def test_what_is_not_even_begun_in_time_is_not_waited_for(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    post(call.ref, Transfer("sales"))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    lately_silent(call)
    call.clock.expire(DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure))
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]


def test_who_speaks_against_a_goodbye_is_not_hung_up_on_before_they_have_finished(calls: Calls) -> None:
    """Gated: whether it was a cough is known at its end, and that may come after the deadline."""
    call = with_telephone(calls, session=GATED, gating=GATE)
    socket = call.greet()
    use(socket, "hang_up", "{}", "Goodbye then!")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    about = call.actor._farewell.departure
    wait_until(lambda: call.actor._talk.assistant_audible, "the goodbye plays")
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    call.play()
    wait_until(lambda: not call.actor._talk.assistant_audible, "the goodbye was heard")
    lately_silent(call)
    deadline = DeadlinePassed(DeadlinePassed.GOODBYE, about)
    call.clock.expire(deadline)
    assert call.clock.expire(deadline) == LOOKS_AGAIN_SECONDS
    socket.say(speech_stopped("item_u"), committed("item_u", "item_t"))
    assert call.journal.wait_for("does not leave") == {"reason": "the caller speaks"}


def test_nothing_is_waited_for_that_a_machine_is_not_told(calls: Calls) -> None:
    call = calls(voicemail="Please call us back.")
    socket = call.greet()
    post(call.ref, AnsweredBy("machine_end_beep"))
    socket.expect("session.update")
    instructions(socket)
    say(socket, "resp_v", "item_v", "Please call us back.", "item_g")
    wait_until(lambda: call.actor._talk.assistant_audible, "the message plays")
    post(call.ref, Inject("The caller is a member.", respond=True))
    call.settle()
    call.play()
    call.wait()
    assert call.journal.endings == [("voicemail", Then.HANG_UP)]


def test_a_gap_in_a_long_message_is_not_its_end(calls: Calls) -> None:
    call = calls(voicemail="Please call us back. " * 40)
    socket = call.greet()
    post(call.ref, AnsweredBy("machine_end_beep"))
    socket.expect("session.update")
    instructions(socket)
    begin_to_say(socket, "resp_v", "item_v", "Please call us", "item_g")
    call.play()
    call.settle()
    deadline = DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure)
    call.clock.expire(deadline)
    assert call.clock.expire(deadline) == LOOKS_AGAIN_SECONDS, "it was heard a moment ago"
    call.settle()
    assert call.actor.talking
    lately_silent(call)
    call.clock.expire(deadline)
    call.wait()
    assert "it was not heard" in str(call.journal.wait_for("ended")["reason"])


def transferring(calls: Calls, what: object) -> Call:
    """A call that leaves for somebody else, when what is being said has been heard, and to which that happens."""
    call = with_telephone(calls)
    use(call.greet(), "transfer_call", '{"to": "sales", "summary": ""}', "I put you through.")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    wait_until(lambda: call.actor._talk.assistant_audible, "the announcement plays")
    post(call.ref, what)
    call.wait()
    return call


@pytest.mark.parametrize("what", [Drain(now=True), StreamStopped("connection reset")])
def test_a_caller_gets_to_whom_they_were_promised_although_this_process_or_its_socket_ends(
    calls: Calls, what: object
) -> None:
    call = transferring(calls, what)
    assert (call.journal.endings, call.journal.detail) == ([("transferred", Then.TRANSFER)], "+15550100001")


def test_but_not_when_they_hang_up_themselves(calls: Calls) -> None:
    call = transferring(calls, StreamStopped("stop", by_twilio=True))
    assert call.journal.endings == [("hung_up", Then.HANG_UP)]


def test_nor_does_the_fallback_take_a_caller_who_is_being_transferred(
    calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("session ended")
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "transfer_call", '{"to": "sales", "summary": ""}', "I put you through.")
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    wait_until(lambda: call.actor._talk.assistant_audible, "the announcement plays")
    socket.say({"type": "error", "error": {"type": "insufficient_quota", "code": "insufficient_quota"}})
    call.wait()
    assert call.journal.endings == [("transferred", Then.TRANSFER)]


def test_the_console_transfers_and_sends_keys_by_the_same_messages(calls: Calls) -> None:
    first = with_telephone(calls)
    first.greet()
    post(first.ref, Transfer("sales"))
    first.wait()
    assert (first.journal.endings, first.journal.detail) == ([("transferred", Then.TRANSFER)], "+15550100001")
    second = with_telephone(calls, call_sid="CA2")
    second.greet()
    post(second.ref, SendDigits("12#"))
    second.wait()
    assert (second.journal.endings, second.journal.detail) == ([("sent_digits", Then.SEND_DIGITS)], "12#")


def test_a_number_that_is_not_on_the_list_is_not_called(calls: Calls, logs: ExpectedLogs) -> None:
    logs.expect("no such person")
    call = with_telephone(calls)
    call.greet()
    post(call.ref, Transfer("+15550100666"))
    call.settle()
    assert call.actor._farewell.departure is None


class Desk:
    def __init__(self) -> None:
        self.rooms: list[str] = []
        self.given_up: list[str] = []

    def consult(self, room: str, target: Target, summary: str) -> str:
        self.rooms.append(room)
        return "CA9"

    def give_up(self, leg_sid: str) -> None:
        self.given_up.append(leg_sid)


@pytest.fixture
def desk() -> Iterator[Desk]:
    return Desk()


def consulting(calls: Calls, desk: Desk) -> tuple[Call, FakeModelSocket]:
    call = with_telephone(calls, desk=desk)
    socket = call.greet()
    use(socket, "transfer_call", '{"to": "workshop", "summary": "A flat tyre."}', "One moment.")
    call.play()
    wait_until(lambda: bool(desk.rooms), "somebody is called")
    wait_until(lambda: not call.actor._talk.assistant_audible, "the announcement was heard")
    return call, socket


def test_the_caller_hears_it_ring_and_is_joined_when_somebody_takes_the_call(
    calls: Calls, desk: Desk
) -> None:
    call, _ = consulting(calls, desk)
    call.clock.expire(DeadlinePassed(DeadlinePassed.SILENCE))
    call.settle()
    call.actor._talk._dead_air._quiet_since -= 10
    call.ref.tell(DeadlinePassed(DeadlinePassed.SILENCE))
    call.play(ringing())
    post(call.ref, ConsultAccepted(desk.rooms[0], "CA9"))
    call.wait()
    assert call.journal.endings == [("transferred", Then.JOIN)]
    assert call.journal.detail == f"{desk.rooms[0]} CA9"
    assert desk.given_up == []


def test_where_nobody_takes_it_the_model_is_told_and_the_call_goes_on(calls: Calls, desk: Desk) -> None:
    call, socket = consulting(calls, desk)
    post(call.ref, ConsultEnded(desk.rooms[0], "busy"))
    assert "not connected: busy" in items(socket, 1)[0][1]
    socket.expect("response.create")
    say(socket, "resp_2", "item_2", "They are busy.", "item_t")
    call.play()
    call.pause()


def test_who_takes_the_call_and_hangs_up_before_the_caller_is_there_leaves_them_with_the_assistant(
    calls: Calls, desk: Desk
) -> None:
    call, socket = consulting(calls, desk)
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    post(call.ref, ConsultAccepted(desk.rooms[0], "CA9"))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    post(call.ref, ConsultEnded(desk.rooms[0], "completed"))
    assert call.journal.wait_for("does not leave") == {"reason": "transfer failed"}
    assert "being connected now" in the_next(socket, "conversation.item.create")["item"]["output"]
    socket.say(speech_stopped("item_u"), committed("item_u", "item_t"))
    say(socket, "resp_2", "item_2", "Yes?", "item_u")
    assert "not connected: completed" in instructions_of_next(socket), "or both would wait for the other"


def test_a_call_that_is_over_ends_although_nobody_takes_it(calls: Calls, desk: Desk) -> None:
    """The longest time passes once: what is taken back with a transfer must not be the end that comes of it."""
    call, socket = consulting(calls, desk)
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    call.ref.tell(DeadlinePassed(DeadlinePassed.LIMIT))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    limit = call.actor._farewell.departure
    post(call.ref, ConsultEnded(desk.rooms[0], "busy"))
    call.journal.wait_for("transfer failed")
    call.settle()
    assert call.actor._farewell.departure is limit


def test_a_time_limit_that_passes_behind_a_transfer_that_fails_is_not_forgotten(
    calls: Calls, desk: Desk
) -> None:
    call, socket = consulting(calls, desk)
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    post(call.ref, ConsultAccepted(desk.rooms[0], "CA9"))
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to leave")
    call.clock.expire(DeadlinePassed(DeadlinePassed.LIMIT))
    call.settle()
    post(call.ref, ConsultEnded(desk.rooms[0], "completed"))
    call.journal.wait_for("does not leave")
    assert call.clock.expire(DeadlinePassed(DeadlinePassed.LIMIT)) == GOODBYE_SECONDS
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")


@pytest.mark.parametrize("busy", ["the caller talks on", "a tool runs"])
def test_an_ordered_goodbye_does_not_wait_for_a_pause_for_ever(calls: Calls, desk: Desk, busy: str) -> None:
    if busy == "a tool runs":
        call, _ = consulting(calls, desk)
    else:
        call = calls()
        call.greet().say(speech_started("item_u"))
        call.floor(Floor.CALLER)
    post(call.ref, HangUp("closing time", goodbye=True))
    wait_until(lambda: call.actor._farewell._ordered is not None, "it waits for a pause")
    assert call.actor._farewell.departure is None
    ordered = DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell._ordered)
    assert call.clock.expire(ordered) == GOODBYE_SECONDS
    wait_until(lambda: call.actor._farewell.departure is not None, "the call is about to end")
    lately_silent(call)
    over = DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure)
    assert call.clock.expire(over) == GOODBYE_SECONDS
    call.wait()
    assert call.journal.endings == [("ended", Then.HANG_UP)]


def test_a_caller_who_hangs_up_leaves_nobody_ringing(calls: Calls, desk: Desk) -> None:
    call, _ = consulting(calls, desk)
    wait_until(lambda: call.actor._operator._consultation.leg_sid == "CA9", "it is known whom we call")
    call.hang_up()
    wait_until(lambda: desk.given_up == ["CA9"], "that person was let go")


# Keys


def test_keys_that_nobody_asked_for_are_answered_as_words_are(call: Call) -> None:
    socket = call.greet()
    for key in "12#":
        post(call.ref, DigitPressed(key))
    item = socket.expect("conversation.item.create")["item"]
    assert item["content"] == [{"type": "input_text", "text": "(The caller pressed the keys 1 2.)"}]
    assert len(item["id"]) <= 32
    socket.expect("response.create")
    call.floor(Floor.ASSISTANT)
    socket.say(item_added(item["id"], "item_g", "user"))
    say(socket, "resp_1", "item_1", "Twelve, I see.", item["id"])
    call.play()
    call.pause()
    call.settle()
    assert call.journal.entries[item["id"]][1].text == "(The caller pressed the keys 1 2.)"


class Everything(Listener):
    """Keeps what a listener can hear of the caller."""

    wants = (DigitPressed, CallerAudio)
    heard: "list[Any]" = []  # noqa: RUF012  # one for all instances, so that the test finds it

    def handle(self, message: Any) -> Any:
        if isinstance(message, self.wants):
            self.heard.append(message)
            return None
        return super().handle(message)


def test_in_card_mode_digits_get_neither_to_the_model_nor_to_listeners_nor_to_the_journal(
    calls: Calls,
) -> None:
    Everything.heard.clear()
    call = with_telephone(calls, listeners=(Everything,))
    socket = call.greet()
    call.hear(LOUD)
    assert socket.expect("input_audio_buffer.append")["audio"] == LOUD
    use(socket, "collect_digits", '{"what": "card"}', "Please enter it.")
    call.play()
    call.journal.wait_for("card mode began")
    wait_until(lambda: not call.actor._talk.assistant_audible, "the caller has been asked")
    for key in "4929":
        call.hear(LOUD, 3)  # the key's tone
        post(call.ref, DigitPressed(key))
    events = next_events(socket, {"input_audio_buffer.append": 12, "conversation.item.create": 1})
    appended = [event["audio"] for event in events["input_audio_buffer.append"]]
    assert appended == [QUIET] * 12, "as long as what it stands for"
    [output] = events["conversation.item.create"]
    assert "4 digits, which are kept from you" in output["item"]["output"]
    call.journal.wait_for("card mode ended")
    wait_until(lambda: len(Everything.heard) == 13, "the listener has heard everything")
    assert [audio.payload for audio in Everything.heard] == [LOUD] + [QUIET] * 12
    words = [value for _, data in call.journal.events for value in data.values() if isinstance(value, str)]
    assert "4929" not in str(words) + str(call.journal.entries), "a time may have these digits by chance"
    messages = [timer.message for _, timer in call.clock.timers if isinstance(timer.message, DeadlinePassed)]
    [unmute] = [message for message in messages if message.what == DeadlinePassed.UNMUTE]
    call.ref.ask(unmute, timeout=PATIENCE_SECONDS)
    call.hear(LOUD)
    wait_until(lambda: Everything.heard[-1].payload == LOUD, "the caller is heard again")


class Fragile(Listener):
    """Fails at a key, and keeps what it is told of the recording."""

    wants = (DigitPressed, StartRecording, PauseRecording, StopRecording)
    told: "list[Any]" = []  # noqa: RUF012  # one for all instances, so that the test finds it

    def handle(self, message: Any) -> Any:
        if isinstance(message, DigitPressed):
            raise CallError("a key")
        if isinstance(message, self.wants):
            self.told.append(message)
            return None
        return super().handle(message)


@pytest.mark.parametrize("order", [PauseRecording(), StopRecording()])
def test_a_recorder_that_begins_anew_does_not_record_what_is_not_to_be_recorded(
    calls: Calls, logs: ExpectedLogs, order: Any
) -> None:
    logs.expect("CA1: a key")
    Fragile.told.clear()
    call = calls(listeners=(Fragile,))
    call.greet()
    post(call.ref, order)
    wait_until(lambda: Fragile.told == [order], "the listener was told")
    post(call.ref, DigitPressed("1"))
    call.journal.wait_for("listener failed")
    call.clock.expire(DeadlinePassed(DeadlinePassed.RESTART_LISTENER, Fragile))
    wait_until(lambda: Fragile.told == [order, order], "and its successor was told")


def test_tools_find_what_was_entered(calls: Calls) -> None:
    call = with_telephone(calls)
    socket = call.greet()
    use(socket, "collect_digits", '{"what": "card"}')
    call.journal.wait_for("card mode began")
    for key in "4929":
        post(call.ref, DigitPressed(key))
    items(socket, 1)
    assert dict(call.actor._tools._context.digits) == {"card": "4929"}


# Saying, injecting


def test_whoever_may_has_the_assistant_say_something_word_for_word(call: Call) -> None:
    socket = call.greet()
    post(call.ref, Say("The shop closes in five minutes."))
    assert instructions(socket) == (
        'Say exactly these words to the caller and then stop: "The shop closes in five minutes."'
    )


def test_the_model_is_let_know_and_so_is_its_successor(call: Call, logs: ExpectedLogs) -> None:
    logs.expect("CA1: model socket lost")
    first = call.greet()
    post(call.ref, Inject("The caller is a member.", respond=True))
    assert items(first, 1) == [("system", "The caller is a member.")]
    assert first.expect("response.create") == {"type": "response.create"}
    first.end("lost: reset")
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.connect(2)
    told = items(second, 2)
    assert told[-1] == ("system", "The caller is a member.")


def test_what_is_to_be_said_while_there_is_no_session_is_said_by_the_next(
    call: Call, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: model socket lost")
    first = call.greet()
    first.end("lost: reset")
    wait_until(lambda: call.actor._sessions.talking is None, "the session is known to be lost")
    post(call.ref, Say("The shop closes in five minutes."))
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.connect(2)
    items(second, 1)
    assert "The shop closes in five minutes." in instructions(second)


CLOSING = "The shop closes in five minutes."


@pytest.mark.parametrize("moment", ["the caller speaks", "it is asked for", "it is being said"])
def test_what_a_session_was_told_to_say_and_did_not_live_to_is_said_by_the_next(
    call: Call, logs: ExpectedLogs, moment: str
) -> None:
    logs.expect("CA1: model socket lost")
    first = call.greet()
    if moment == "the caller speaks":
        first.say(speech_started("item_u"))
        call.floor(Floor.CALLER)
    post(call.ref, Say(CLOSING))
    if moment == "the caller speaks":
        call.settle()
    else:
        assert CLOSING in instructions(first)
    if moment == "it is being said":
        begin_to_say(first, "resp_1", "item_1", "The shop", "item_g")
        call.play()
    first.end("lost: reset")
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.connect(2)
    assert word_for_word(CLOSING) in instructions_of_next(second), "and nothing else before"
    if moment == "the caller speaks":
        # The new session is given to hear what the old one did, which cancels what it was asked for.
        second.say(response_created("resp_1"), speech_started("item_v"))
        second.say(response_done("resp_1", status="cancelled"), speech_stopped("item_v"))
        second.say(committed("item_v", "item_g"))
        say(second, "resp_2", "item_2", "Yes?", "item_v")
        assert CLOSING in instructions_of_next(second)


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_what_was_said_or_interrupted_is_not_said_again_by_the_next_session(
    call: Call, logs: ExpectedLogs, status: str
) -> None:
    logs.expect("CA1: model socket lost")
    socket = call.greet()
    post(call.ref, Say(CLOSING))
    post(call.ref, Say("And another thing."))
    assert CLOSING in instructions(socket)
    wait_until(lambda: len(call.actor._succession._being_said) == 2, "both are to be said")
    begin_to_say(socket, "resp_1", "item_1", CLOSING, "item_g")
    socket.say(audio_done("resp_1", "item_1"), response_done("resp_1", status=status))
    assert "another thing" in instructions(socket)
    socket.end("lost: reset")
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.connect(2)
    call.play()
    asked_for = [instructions_of_next(second)]
    say(second, "resp_2", "item_2", "And so on.", None)
    call.settle()
    second.say(speech_started("item_v"), speech_stopped("item_v"), committed("item_v", "item_2"))
    call.floor(Floor.ASSISTANT)
    asked_for += [event["response"]["instructions"] for event in second.sent() if "response" in event]
    assert any("another thing" in words for words in asked_for)
    assert not any(word_for_word(CLOSING) in words for words in asked_for)


# Who answers a call that we placed


@pytest.mark.parametrize("verdict", ["human", "unknown"])
def test_a_person_is_talked_to(call: Call, verdict: str) -> None:
    call.greet()
    post(call.ref, AnsweredBy(verdict))
    assert call.journal.wait_for("answered by") == {"verdict": verdict}
    assert call.actor._farewell.departure is None


@pytest.mark.parametrize(("verdict", "outcome"), [("fax", "fax"), ("machine_start", "voicemail")])
def test_nobody_talks_to_a_machine_without_a_message(call: Call, verdict: str, outcome: str) -> None:
    call.greet()
    post(call.ref, AnsweredBy(verdict))
    call.wait()
    assert call.journal.endings == [(outcome, Then.HANG_UP)]


def leave_message(call: Call, socket: FakeModelSocket) -> None:
    """The model says it, the machine hears it, and that is the end."""
    say(socket, "resp_v", "item_v", "Please call us back.", "item_u")
    wait_until(lambda: call.actor._talk.assistant_audible, "the message plays")
    assert not call.ended.is_set()
    call.play()
    call.wait()
    assert call.journal.endings == [("voicemail", Then.HANG_UP)]


def test_a_machine_is_left_the_message_and_nothing_else(calls: Calls) -> None:
    call = calls(voicemail="Please call us back.")
    socket = call.talk()
    begin_to_say(socket, "resp_g", "item_g", "Hello, this is", None, ms=2000)
    call.phone.expect("media")
    call.phone.expect("mark")
    socket.say(speech_started("item_u"))
    call.phone.expect("clear")
    call.floor(Floor.CALLER)
    socket.sent()
    post(call.ref, AnsweredBy("machine_end_beep"))
    update = the_next(socket, "session.update")
    assert update["session"]["audio"]["input"] == {"turn_detection": None}
    assert "voice" not in str(update)
    # What it had heard of the machine's greeting it may just be answering.
    socket.say(response_done("resp_g", status="cancelled"))
    assert 'Say exactly these words to the caller and then stop: "Please call us back."' in instructions(
        socket
    )
    leave_message(call, socket)


def test_a_machine_is_left_a_long_message_to_its_end(calls: Calls) -> None:
    call = calls(voicemail="Please call us back. " * 40)
    socket = call.greet()
    post(call.ref, AnsweredBy("machine_end_beep"))
    socket.expect("session.update")
    instructions(socket)
    say(socket, "resp_v", "item_v", "Please call us back.", "item_g", ms=30_000)
    wait_until(lambda: call.actor._talk.assistant_audible, "the message plays")
    call.clock.expire(DeadlinePassed(DeadlinePassed.GOODBYE, call.actor._farewell.departure))
    call.settle()
    call.play()
    call.wait()
    assert call.journal.wait_for("ended")["reason"] == "a machine has been left a message", "and all of it"


def test_a_machine_that_spoke_last_is_left_the_message_too(calls: Calls) -> None:
    """Between its greeting and the message it is nobody's turn: no moment to leave in."""
    call = calls(voicemail="Please call us back.")
    socket = call.greet()
    socket.say(speech_started("item_u"))
    call.floor(Floor.CALLER)
    post(call.ref, AnsweredBy("machine_end_beep"))
    socket.expect("session.update")
    assert "Please call us back." in str(instructions(socket))
    leave_message(call, socket)


def test_a_session_that_takes_over_meanwhile_leaves_the_message_and_nothing_else(
    calls: Calls, logs: ExpectedLogs
) -> None:
    logs.expect("CA1: model socket lost")
    call = calls(voicemail="Please call us back.")
    first = call.greet()
    post(call.ref, AnsweredBy("machine_end_beep"))
    the_next(first, "session.update")
    first.end("lost: reset")
    call.clock.expire(DeadlinePassed(DeadlinePassed.RETRY_MODEL))
    second = call.connect(2)
    update = the_next(second, "session.update")
    assert update["session"]["audio"]["input"] == {"turn_detection": None}, "it hears the machine no more"
    assert "Please call us back." in instructions(second)
    leave_message(call, second)
    assert "response.create" not in [event["type"] for event in second.sent()]


def test_a_machine_that_is_known_before_there_is_a_session_is_not_greeted(calls: Calls) -> None:
    call = calls(voicemail="Please call us back.")
    call.answer()
    post(call.ref, AnsweredBy("machine_end_beep"))
    call.settle()
    socket = call.connect(1)
    the_next(socket, "session.update")
    assert "Please call us back." in instructions(socket)
    leave_message(call, socket)


# A caller who falls silent


def silent(calls: Calls, **differences: Any) -> tuple[Call, FakeModelSocket]:
    call = calls(caller_patience=Patience(60.0, 1), **differences)
    return call, call.greet()


def a_minute_passes(call: Call) -> None:
    """In silence, as far as it is the caller's turn."""
    call.settle()
    if call.actor._farewell._caller_silence._since is not None:
        call.actor._farewell._caller_silence._since -= 60
    call.ref.ask(SILENCE, timeout=PATIENCE_SECONDS)


def test_a_silent_caller_is_asked_and_then_the_call_ends_with_a_goodbye(calls: Calls) -> None:
    call, socket = silent(calls)
    a_minute_passes(call)
    assert REPROMPT in instructions(socket)
    say(socket, "resp_1", "item_1", "Are you still there?", "item_g")
    call.play()
    call.pause()
    a_minute_passes(call)
    assert NOBODY_THERE in instructions(socket)
    say(socket, "resp_2", "item_2", "Goodbye.", "item_1")
    call.play()
    call.wait()
    assert call.journal.endings == [("caller_silent", Then.HANG_UP)]
    assert call.journal.kinds().count("reprompt") == 1


def test_who_says_something_is_asked_again_and_not_hung_up_on(calls: Calls) -> None:
    call, socket = silent(calls)
    for turn in range(3):
        caller_says(socket, "I am thinking.", f"item_u{turn}", f"item_{turn - 1}" if turn else "item_g")
        call.floor(Floor.ASSISTANT)
        say(socket, f"resp_{turn}", f"item_{turn}", "Take your time.", f"item_u{turn}")
        call.play()
        call.pause()
        a_minute_passes(call)
        assert REPROMPT in instructions(socket), "and never goodbye"
        say(socket, f"resp_r{turn}", f"item_r{turn}", "Still there?", f"item_{turn}")
        call.play()
        call.pause()


@pytest.mark.parametrize(
    ("transcription", "expected"), [(None, REPROMPT), ({"model": "whisper-1"}, NOBODY_THERE)]
)
def test_without_transcription_every_turn_is_a_sign_of_life(
    calls: Calls, transcription: dict[str, str] | None, expected: str
) -> None:
    """Else the third pause for thought in a lively call would end it. With one, only words are (gotcha 25)."""
    call, socket = silent(calls, session=replace(SESSION, transcription=transcription))
    a_minute_passes(call)
    assert REPROMPT in instructions(socket)
    say(socket, "resp_1", "item_1", "Are you still there?", "item_g")
    call.play()
    call.pause()
    socket.say(speech_started("item_u"), speech_stopped("item_u"), committed("item_u", "item_1"))
    call.floor(Floor.ASSISTANT)
    say(socket, "resp_2", "item_2", "Take your time.", "item_u")
    call.play()
    call.pause()
    a_minute_passes(call)
    assert expected in instructions(socket)


def goes_on(calls: Calls, **differences: Any) -> tuple[Call, FakeModelSocket]:
    """A call that is on its second stream."""
    call = calls(caller_patience=Patience(60.0, 1), **differences)
    call.answer()
    return call, call.connect(1)


def test_an_answer_that_fell_between_two_streams_is_asked_for(calls: Calls) -> None:
    call, socket = goes_on(calls, history=(said("item_g", "How many?"),))
    assert items(socket, 1) == [("assistant", "How many?")]
    a_minute_passes(call)
    assert UNHEARD in instructions(socket)
    say(socket, "resp_1", "item_1", "How many was that?", "item_g")
    call.play()
    call.pause()
    a_minute_passes(call)
    assert REPROMPT in instructions(socket), "and no goodbye, as the first question was no reprompt"
    assert [kind for kind in call.journal.kinds() if kind in ("asks again", "reprompt")] == [
        "asks again",
        "reprompt",
    ]


@pytest.mark.parametrize(
    "differences",
    [
        {"history": (said("item_g", "How many?"),), "broke_off": True},
        {"history": (said("item_g", "How many?"), asked("item_u", "Two."))},
    ],
)
def test_where_the_assistant_speaks_first_on_the_next_stream_nobody_is_asked_to_say_it_again(
    calls: Calls, differences: dict[str, Any]
) -> None:
    call, socket = goes_on(calls, **differences)
    items(socket, len(differences["history"]))
    assert UNHEARD not in instructions(socket)
    say(socket, "resp_1", "item_1", "I go on.", "item_g")
    call.play()
    call.pause()
    a_minute_passes(call)
    assert REPROMPT in instructions(socket)


def test_while_a_tool_works_or_somebody_is_called_nobody_is_asked(calls: Calls, desk: Desk) -> None:
    call = with_telephone(calls, desk=desk, caller_patience=Patience(60.0, 1))
    socket = call.greet()
    use(socket, "transfer_call", '{"to": "workshop", "summary": ""}', "One moment.")
    wait_until(lambda: bool(desk.rooms), "somebody is called")
    call.play()
    a_minute_passes(call)
    assert "reprompt" not in call.journal.kinds()
