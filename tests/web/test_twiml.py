"""The documents that Twilio gets, each followed to its end."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.assistant import Assistant
from simulator import twiml as simulated
from web.twiml import ASSISTANT_PARAMETER, WAIT_SECONDS, Documents

BASE = "https://voice.example.com/phone"
CALLER, CALLED, DESK = "+14158675310", "+18005551299", "+4930123456"


def documents(called: str = CALLED, **tables: object) -> Documents:
    return Documents(Assistant.model_validate({"instructions": "Be brief.", **tables}), BASE, CALLER, called)


def verbs(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text))


def shown(text: str) -> list[str]:
    """Each verb with what matters of it."""
    return [f"{verb.tag} {verb.text}" if verb.text else verb.tag for verb in verbs(text)]


def only(text: str, tag: str) -> dict[str, str]:
    [verb] = [verb for verb in verbs(text) if verb.tag == tag]
    return dict(verb.attrib)


# The stream


def test_an_assistant_that_was_chosen_by_name_is_named_to_its_stream() -> None:
    assistant = Assistant.model_validate({"instructions": "Be brief."})
    for name, expected in (("sales", ["sales"]), (None, [])):
        text = Documents(assistant, BASE, CALLER, CALLED, name).connect("token", 1)
        named = [
            each.attrib["value"]
            for each in ElementTree.fromstring(text).iter("Parameter")
            if each.attrib["name"] == ASSISTANT_PARAMETER
        ]
        assert named == expected


# The fallback


def test_a_fallback_says_its_words_and_hangs_up() -> None:
    fallback = {"say": "Nobody is here.", "goodbye": "Goodbye."}
    assert shown(documents(fallback=fallback).fallback()) == ["Say Nobody is here.", "Say Goodbye.", "Hangup"]


def test_a_fallback_that_is_a_sentence_is_that_sentence() -> None:
    assert shown(documents(fallback="Nobody is here.").fallback()) == ["Say Nobody is here.", "Hangup"]


def test_by_default_callers_are_told_to_try_again() -> None:
    assert shown(documents().fallback()) == [
        "Say We are sorry, our assistant cannot take your call right now.",
        "Say Please try again later. Goodbye.",
        "Hangup",
    ]


def test_a_fallback_can_be_a_transfer_from_our_own_number() -> None:
    text = documents(fallback={"say": "One moment.", "transfer_to": DESK, "transfer_seconds": 45}).fallback()
    assert shown(text) == ["Say One moment.", f"Dial {DESK}"]
    assert only(text, "Dial") == {
        "callerId": CALLED,
        "timeout": "45",
        "action": f"{BASE}/twiml/transferred",
        "method": "POST",
    }


def test_and_so_it_is_where_we_have_placed_the_call() -> None:
    assistant = Assistant.model_validate({"instructions": "Be brief.", "fallback": {"transfer_to": DESK}})
    placed = Documents(assistant, BASE, CALLED, CALLER, outbound=True)
    assert only(placed.fallback(), "Dial")["callerId"] == CALLED


@pytest.mark.parametrize("called", ["", "sip:desk@example.com", "client:desk", "+1", CALLED + "x"])
def test_a_transfer_shows_no_number_that_is_none(called: str) -> None:
    text = documents(called, fallback={"transfer_to": DESK}).fallback()
    assert "callerId" not in only(text, "Dial")


def test_who_is_not_transferred_hears_the_goodbye_of_the_table_that_asked_for_it() -> None:
    made = documents(fallback={"goodbye": "Of the fallback."}, overflow={"goodbye": "Of overflow."})
    assert shown(made.not_transferred(of_overflow=False)) == ["Say Of the fallback.", "Hangup"]
    assert shown(made.not_transferred(of_overflow=True)) == ["Say Of overflow.", "Hangup"]


def test_a_fallback_can_be_voicemail() -> None:
    made = documents(
        fallback={
            "say": "Leave a message.",
            "voicemail": True,
            "voicemail_seconds": 30,
            "goodbye": "Nothing heard.",
            "voicemail_thanks": "Thanks.",
        }
    )
    text = made.fallback()
    assert shown(text) == ["Say Leave a message.", "Record", "Say Nothing heard.", "Hangup"]
    assert only(text, "Record") == {
        "action": f"{BASE}/twiml/recorded",
        "method": "POST",
        "maxLength": "30",
        "playBeep": "true",
        "recordingStatusCallback": f"{BASE}/twiml/recording-status",
        "recordingStatusCallbackMethod": "POST",
    }
    assert shown(made.recorded()) == ["Say Thanks.", "Hangup"]


# Overflow


def test_overflow_says_its_words_and_hangs_up() -> None:
    made = documents(overflow={"say": "All busy.", "goodbye": ""})
    assert shown(made.overflow(may_wait=True, rounds=0)) == ["Say All busy.", "Hangup"]


def test_overflow_can_be_a_transfer() -> None:
    text = documents(overflow={"say": "All busy.", "transfer_to": DESK}).overflow(may_wait=True, rounds=0)
    assert shown(text) == ["Say All busy.", f"Dial {DESK}"]
    assert only(text, "Dial")["action"] == f"{BASE}/twiml/transferred?overflow=1"


QUEUE = {
    "say": "Still busy.",
    "goodbye": "",
    "waiting": "Hold the line.",
    "queue_seconds": 20,
    "queue_rounds": 2,
}


def test_overflow_can_be_a_queue_which_is_tried_so_many_times() -> None:
    made = documents(overflow=QUEUE)
    for rounds in (0, 1):
        text = made.overflow(may_wait=True, rounds=rounds)
        assert shown(text) == ["Say Hold the line.", "Pause", f"Redirect {BASE}/twiml?rounds={rounds + 1}"]
        assert only(text, "Pause") == {"length": "20"}
    assert shown(made.overflow(may_wait=True, rounds=2)) == ["Say Still busy.", "Hangup"]


def test_nobody_waits_for_what_waiting_does_not_change() -> None:
    text = documents(overflow=QUEUE).overflow(may_wait=False, rounds=0)
    assert shown(text) == ["Say Still busy.", "Hangup"]


# Streams, and servers that end


def test_every_stream_knows_its_number() -> None:
    made = documents()
    first, second = made.connect("T", 1), made.connect("T", 2)
    assert only(first, "Connect")["action"] == f"{BASE}/twiml/ended?stream=1"
    assert only(second, "Connect")["action"] == f"{BASE}/twiml/ended?stream=2"
    named = [
        {each.attrib["name"] for each in ElementTree.fromstring(text).iter("Parameter")}
        for text in (first, second)
    ]
    assert named[1] - named[0] == {"resumed"}


def test_a_stream_that_cannot_be_opened_leads_to_the_fallback() -> None:
    made = documents(fallback={"transfer_to": DESK})
    assert shown(made.connect("T", 1))[1:] == shown(made.fallback())


def test_a_caller_is_sent_elsewhere_at_first_without_a_pause_and_not_for_ever() -> None:
    made, pauses, fields = documents(), [], {"stream": 3}
    while (text := made.wait("/twiml/ended", fields)) is not None:
        *pause, redirect = verbs(text)
        pauses.append(int(pause[0].attrib["length"]) if pause else 0)
        assert redirect.text == f"{BASE}/twiml/ended?stream=3&waits={len(pauses)}"
        fields = {"stream": 3, "waits": len(pauses)}
    assert pauses == list(WAIT_SECONDS)
    assert pauses[0] == 0


def test_who_was_refused_a_few_times_waits_before_the_next_try() -> None:
    made = documents()
    pauses = []
    for missed in range(len(WAIT_SECONDS) + 2):
        first = verbs(made.connect("T", 5, missed))[0]
        pauses.append(int(first.attrib["length"]) if first.tag == "Pause" else 0)
    assert pauses == [0, *WAIT_SECONDS, WAIT_SECONDS[-1]]


@pytest.mark.parametrize("language", ["en", "de"])
def test_all_that_is_said_is_said_in_the_assistants_language(language: str) -> None:
    made = documents(language=language, fallback={"voicemail": True}, overflow=QUEUE)
    texts = [
        made.fallback(), made.connect("T", 1), made.recorded(), made.not_transferred(False),
        made.overflow(True, 0), made.overflow(False, 0),
    ]  # fmt: skip
    spoken = [verb for text in texts for verb in verbs(text) if verb.tag == "Say"]
    assert {verb.get("language") for verb in spoken} == {None if language == "en" else language}


@given(
    say=st.text(min_size=1, max_size=50),
    way=st.sampled_from([{}, {"transfer_to": DESK}, {"voicemail": True}]),
    number=st.text(max_size=600),
)
def test_any_words_and_numbers_make_documents_that_parse(
    say: str, way: dict[str, object], number: str
) -> None:
    table = {"say": say, "goodbye": say, **way}
    assistant = Assistant.model_validate({"instructions": "Be brief.", "fallback": table})
    made = Documents(assistant, BASE, number, number)
    assert verbs(made.connect("T", 2))[0].tag == "Connect"
    assert verbs(made.fallback())
    assert verbs(made.recorded())[-1].tag == "Hangup"


def test_the_simulated_phone_can_follow_what_it_knows() -> None:
    made = documents(overflow=QUEUE)
    texts = [
        made.connect("T", 2), made.fallback(), made.overflow(True, 0), made.overflow(False, 0), made.hang_up(),
        made.nothing(), made.wait("/twiml", {"waits": 5}), documents(fallback={"transfer_to": DESK}).fallback(),
    ]  # fmt: skip
    for text in texts:
        assert text is not None
        assert len(simulated.parse(text.encode())) == len(verbs(text))
