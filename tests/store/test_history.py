"""Past calls: found, summed up, told in the order in which they happened, printed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database
from store.history import History, Told
from store.history_text import call_story, call_table
from store.journal import CallJournal
from store.outbox import Outbox
from wire.journal import OUTBOUND, CallRecord, Then
from wire.transcript import Entry, ToolUse

NOON = 1_800_014_400.0  # on 2027-01-15, UTC
FIRST = CallRecord("CA" + "1" * 32, "MZ1", "+15550100001", "+15550199999", "reception", "v1")
SECOND = CallRecord("CA" + "2" * 32, "MZ2", "client:anna", "+15550199999", "reception", "v1")
QUESTION = Entry("i1", "caller", "What do you\nhave?\x1b[31m", "What do you\nhave?\x1b[31m", 0, 0)
ANSWER = Entry("i2", "assistant", "We have one and two.", "We have", 600, 1500)
TOOL = Entry("i3", "tool", "", "", 0, 0, tool=ToolUse("c1", "look_up", "{}", '"two"'))


class Past:
    """A journal with a clock that the test sets, and its history."""

    def __init__(self, database: Database) -> None:
        self.now = NOON
        self.database = database
        self.journal = CallJournal(database, clock=lambda: self.now)
        self.history = History(database)

    def tell_two_calls(self) -> None:
        journal = self.journal
        journal.began(FIRST)
        self.now += 2
        journal.entry(FIRST.call_sid, 0, QUESTION)
        self.now += 1
        journal.event(FIRST.call_sid, "answered", answer_ms=700.0, vad_ms=None)
        journal.event(FIRST.call_sid, "answered", answer_ms=900.0)
        journal.event(FIRST.call_sid, "answered", answer_ms=None)
        self.now += 1
        journal.entry(FIRST.call_sid, 1, ANSWER)
        self.settle()
        journal.entry(FIRST.call_sid, 2, TOOL)
        self.now += 79.5
        journal.entry(FIRST.call_sid, 1, ANSWER)
        journal.spent(FIRST.call_sid, 0.25)
        journal.event(FIRST.call_sid, "recording", path="/r/a.wav", began_at=NOON)
        journal.event(FIRST.call_sid, "transcript", path="/r/a.jsonl")
        journal.ended(FIRST.call_sid, "hung up", Then.HANG_UP)
        self.now += 3600
        journal.began(SECOND)
        self.settle()

    def settle(self) -> None:
        assert self.journal.flush(20)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    past = Past(database)
    yield past
    past.journal.close()
    database.close()


def test_the_latest_calls_come_first_and_are_summed_up(past: Past) -> None:
    past.tell_two_calls()
    second, first = past.history.latest(10)
    assert (second.call_sid, second.outcome, second.seconds, second.answer_ms) == (
        SECOND.call_sid,
        "",
        None,
        None,
    )
    assert (first.call_sid, first.turns, first.answer_ms, first.cost) == (FIRST.call_sid, 1, 800.0, 0.25)
    assert (first.seconds, first.outcome, first.streams) == (83.5, "hung up", 1)
    assert past.history.latest(1) == [second]


def test_calls_are_found_by_number_and_by_either_end_of_their_sid(past: Past) -> None:
    past.tell_two_calls()
    history = past.history
    assert [each.call_sid for each in history.latest(10, "001 (555) 0100001")] == []
    assert [each.call_sid for each in history.latest(10, "1 (555) 0100001")] == [FIRST.call_sid]
    for name in (FIRST.call_sid, "CA11", "1111"):
        assert [each.call_sid for each in history.find(name)] == [FIRST.call_sid]
    assert len(history.find("CA")) == 2
    assert history.find("%") == history.find("x") == []


def test_a_story_goes_in_the_order_of_the_conversation_with_events_where_they_happened(past: Past) -> None:
    past.tell_two_calls()
    story = past.history.story(FIRST.call_sid)
    assert [told.what if isinstance(told.what, str) else told.what.item_id for told in story] == [
        "i1",
        "answered",
        "answered",
        "answered",
        "i2",
        "i3",
        "recording",
        "transcript",
    ]
    assert story[0] == Told(NOON + 2, QUESTION)
    assert story[4] == Told(NOON + 4, ANSWER), "it keeps the time at which it was first told"


def test_the_table_shortens_numbers_unless_it_is_asked_not_to(past: Past) -> None:
    past.tell_two_calls()
    assert call_table(past.history.latest(10)).splitlines() == [
        "BEGAN (UTC)          CALL       WAY  FROM  TO   LASTED  OUTCOME    TURNS  ANSWER    COST",
        "2027-01-15 13:01:23  …22222222  in   …     …99       -  not ended      0       -  0.0000",
        "2027-01-15 12:00:00  …11111111  in   …01   …99    1:24  hung up        1  800 ms  0.2500",
    ]
    full = call_table(past.history.latest(10), full=True)
    assert all(text in full for text in ("client:anna", "+15550100001", FIRST.call_sid))


def test_calls_that_we_have_placed_say_so(past: Past) -> None:
    past.journal.began(CallRecord("CA" + "3" * 32, "MZ3", "+15550199999", "+15550100001", "", "", OUTBOUND))
    past.settle()
    [call] = past.history.latest(10)
    assert "…33333333  out  …99   …01" in call_table([call])
    assert "outbound, from …99 to …01" in call_story(call, [])


def test_the_story_says_what_was_heard_when_and_lets_nobody_write_to_the_terminal(past: Past) -> None:
    past.tell_two_calls()
    [call] = past.history.find(FIRST.call_sid)
    assert call_story(call, past.history.story(call.call_sid)).splitlines() == [
        f"{FIRST.call_sid}  2027-01-15 12:00:00 UTC",
        "inbound, from …01 to …99, reception (version v1)",
        "hung up, lasted 1:24, 1 turn, median answer 800 ms, cost 0.2500",
        "",
        "00:00:02.0  Caller     What do you have? [31m",
        "00:00:03.0  - answered: answer_ms 700.0",
        "00:00:03.0  - answered: answer_ms 900.0",
        "00:00:03.0  - answered",
        "00:00:04.0  Assistant  We have [0.6 of 1.5 s heard; unheard: one and two.]",
        '00:00:04.0  Tool       look_up({}) = "two"',
        "00:01:23.5  - recording: path /r/a.wav",
        "00:01:23.5  - transcript: path /r/a.jsonl",
    ]


def test_the_story_withholds_what_was_said_while_the_recording_was_paused(past: Past) -> None:
    past.journal.began(FIRST)
    past.journal.event(FIRST.call_sid, "recording paused")
    past.now += 1
    past.journal.entry(FIRST.call_sid, 0, QUESTION)
    past.journal.entry(FIRST.call_sid, 1, TOOL)
    past.settle()
    story = call_story(past.history.find(FIRST.call_sid)[0], past.history.story(FIRST.call_sid))
    assert story.splitlines()[-2:] == [
        "00:00:01.0  Caller     [not recorded]",
        "00:00:01.0  Tool       look_up [not recorded]",
    ]


def test_the_files_of_a_number_are_known_until_it_is_forgotten(past: Past) -> None:
    past.tell_two_calls()
    assert past.history.files(FIRST.caller) == ["/r/a.wav", "/r/a.jsonl"]
    assert past.history.files("+49") == past.history.files("") == []
    past.journal.forget(FIRST.caller)
    assert past.history.files(FIRST.caller) == []
    assert past.history.find(FIRST.call_sid) == []


def test_events_that_wait_to_be_sent_are_forgotten_too(past: Past) -> None:
    past.tell_two_calls()
    outbox = Outbox(past.database, "a secret of sixteen or more", clock=lambda: NOON)
    outbox.close()
    outbox.put("e1", FIRST.call_sid, "http://127.0.0.1:1/", b"{}")
    outbox.put("e2", SECOND.call_sid, "http://127.0.0.1:1/", b"{}")
    past.journal.forget(FIRST.caller)
    assert outbox.waiting == 1
