"""The conversation of a call over its sessions: what is open in it, what a new session needs, what is journalled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.conversation import INTERRUPTED, SAID_AFTER_MS, Conversation
from wire.journal import NoJournal
from wire.playback import Heard, Part
from wire.realtime import (
    AssistantTranscript,
    AssistantTranscriptDelta,
    AudioCommitted,
    CallerTranscript,
    Event,
    FunctionCall,
    ItemAdded,
    ItemDeleted,
    Other,
)
from wire.transcript import Entry, ToolUse


class Journal(NoJournal):
    """Keeps the entries of one call as a database would: one row an item, read in the order of their positions."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, Entry]] = {}
        self.told: list[tuple[int, str]] = []
        self.removals: list[str] = []

    def entry(self, call_sid: str, position: int, entry: Entry) -> None:
        assert call_sid == "CA1"
        self.rows[entry.item_id] = (position, entry)
        self.told.append((position, entry.item_id))

    def removed(self, call_sid: str, item_id: str) -> None:
        assert call_sid == "CA1"
        del self.rows[item_id]
        self.removals.append(item_id)

    def entries(self) -> tuple[Entry, ...]:
        rows = sorted(self.rows.values(), key=lambda row: (row[0], row[1].item_id))
        return tuple(entry for _, entry in rows)


class Talk:
    """A conversation and its journal, and short words for what happens in it."""

    def __init__(self, earlier: tuple[Entry, ...] = ()) -> None:
        self.journal = Journal()
        self.conversation = Conversation("CA1", self.journal, earlier)
        self.last = ""

    def learn(self, *events: Event) -> None:
        for event in events:
            self.conversation.learn(event)

    def item(self, item_id: str, role: str = "assistant", kind: str = "message") -> None:
        self.learn(ItemAdded(item_id, self.last or None, role, kind))
        self.last = item_id

    def caller(self, item_id: str, text: str | None = None) -> None:
        self.learn(AudioCommitted(item_id, self.last or None))
        self.last = item_id
        if text is not None:
            self.learn(CallerTranscript(item_id, text))

    def assistant(self, item_id: str, text: str, heard_ms: int, total_ms: int) -> None:
        """An answer with all of its text, of which the caller has heard so much."""
        self.item(item_id)
        self.learn(AssistantTranscript(item_id, 0, text))
        self.conversation.heard(Heard(Part(item_id, 0), heard_ms, total_ms), heard_ms == total_ms)

    def function(self, item_id: str, call_id: str) -> None:
        self.item(item_id, role="", kind="function_call")
        self.learn(FunctionCall("resp_1", item_id, call_id, "hours", "{}"))

    def ids(self) -> list[str]:
        return [entry.item_id for entry in self.conversation.entries]


@pytest.fixture
def talk() -> Talk:
    return Talk()


GREETING = "Good day, what can I do for you?"


def test_what_the_model_tells_becomes_the_conversation(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 2000, 2000)
    talk.caller("u1", "When do you open?")
    talk.function("f1", "call_1")
    talk.conversation.tool_answered("call_1", '{"opens": 9}')
    talk.item("a2")
    talk.learn(AssistantTranscriptDelta("a2", 0, "At "), AssistantTranscriptDelta("a2", 0, "nine."))
    talk.learn(Other("rate_limits.updated", {}))
    assert talk.conversation.entries == (
        Entry("a1", "assistant", GREETING, GREETING, 2000, 2000),
        Entry("u1", "caller", "When do you open?", "When do you open?", 0, 0),
        Entry("f1", "tool", "", "", 0, 0, tool=ToolUse("call_1", "hours", "{}", '{"opens": 9}')),
        Entry("a2", "assistant", "At nine.", "", 0, 0),
    )


def test_an_interruption_shows_in_what_was_heard(talk: Talk) -> None:
    talk.assistant("a1", "one two six", 0, 1000)
    talk.conversation.cut_off((Heard(Part("a1", 0), 640, 1000),))
    assert talk.conversation.entries[0].heard_text == "one two"


def test_what_was_heard_is_a_part_of_all_that_came_even_if_the_phone_did_not_get_it(talk: Talk) -> None:
    talk.item("a1")
    talk.learn(AssistantTranscript("a1", 0, "one two six ten"))
    talk.conversation.heard(Heard(Part("a1", 0), 400, 500), to_the_end=False)
    talk.conversation.received(Part("a1", 0), 1000)
    assert talk.conversation.entries == (Entry("a1", "assistant", "one two six ten", "one", 400, 1000),)


def test_an_item_of_which_nothing_has_come_is_not_in_it_yet(talk: Talk) -> None:
    talk.caller("u1", "Hello?")
    talk.item("a1")
    assert talk.ids() == ["u1"]
    talk.learn(AssistantTranscriptDelta("a1", 0, "Good"))
    assert talk.ids() == ["u1", "a1"]


def test_an_item_of_which_nothing_has_come_stays_out_when_something_comes_behind_it(talk: Talk) -> None:
    talk.caller("u1", "Hello?")
    talk.item("a1")
    assert talk.ids() == ["u1"]
    talk.caller("u2")
    assert talk.ids() == ["u1", "u2"]
    talk.learn(CallerTranscript("u2", "Is anybody there?"))
    assert talk.ids() == ["u1", "u2"]


def test_what_was_heard_without_a_text_is_in_it(talk: Talk) -> None:
    talk.item("a1")
    talk.conversation.heard(Heard(Part("a1", 0), 300, 1000), to_the_end=False)
    assert talk.ids() == ["a1"]


# What is open in it


def test_the_model_waits_for_the_output_of_each_function(talk: Talk) -> None:
    assert not talk.conversation.tools_running
    talk.function("f1", "call_1")
    talk.function("f2", "call_2")
    talk.conversation.tool_answered("call_1", "{}")
    assert talk.conversation.tools_running
    talk.conversation.tool_answered("call_2", "{}")
    assert not talk.conversation.tools_running


def unfinished(talk: Talk) -> str | None:
    entry = talk.conversation.unfinished_answer()
    return entry.item_id if entry else None


def test_an_answer_is_unfinished_until_all_of_it_has_been_heard(talk: Talk) -> None:
    assert unfinished(talk) is None
    talk.item("a1")
    talk.learn(AssistantTranscriptDelta("a1", 0, "We open "))
    assert unfinished(talk) == "a1"
    talk.learn(AssistantTranscript("a1", 0, "We open at nine."))
    talk.conversation.heard(Heard(Part("a1", 0), 500, 1000), to_the_end=False)
    assert unfinished(talk) == "a1"
    talk.conversation.heard(Heard(Part("a1", 0), 1000, 1000), to_the_end=True)
    assert unfinished(talk) is None


def test_an_answer_that_broke_off_is_unfinished_even_if_all_that_came_was_heard(talk: Talk) -> None:
    talk.item("a1")
    talk.learn(AssistantTranscriptDelta("a1", 0, "We open at"))
    talk.conversation.heard(Heard(Part("a1", 0), 9000, 9000), to_the_end=False)
    assert unfinished(talk) == "a1"


def test_an_answer_whose_text_has_not_come_is_unfinished_while_it_plays(talk: Talk) -> None:
    talk.item("a1")
    talk.conversation.heard(Heard(Part("a1", 0), 300, 1000), to_the_end=False)
    assert unfinished(talk) == "a1"
    talk.conversation.heard(Heard(Part("a1", 0), 1000, 1000), to_the_end=True)
    assert unfinished(talk) is None


def test_an_answer_behind_which_the_caller_spoke_is_not_taken_up_again(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 500, 2000)
    talk.caller("u1")
    assert unfinished(talk) is None


def test_an_item_that_has_only_just_been_added_does_not_hide_the_answer_before_it(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 500, 2000)
    talk.item("a2")
    assert unfinished(talk) == "a1"


def test_it_is_for_the_assistant_to_speak_unless_all_that_it_said_was_heard(talk: Talk) -> None:
    assert talk.conversation.awaits_assistant
    talk.assistant("a1", GREETING, 500, 2000)
    assert talk.conversation.awaits_assistant
    talk.conversation.heard(Heard(Part("a1", 0), 2000, 2000), to_the_end=True)
    assert not talk.conversation.awaits_assistant
    talk.caller("u1", "When do you open?")
    assert talk.conversation.awaits_assistant
    talk.item("a2")
    assert talk.conversation.awaits_assistant, "nothing has come of the answer yet"


# The caller's turn that nobody has the words of


def test_a_turn_whose_words_nobody_has_is_where_it_stands(talk: Talk) -> None:
    assert talk.conversation.unanswered_turn() is None
    talk.assistant("a1", GREETING, 2000, 2000)
    assert talk.conversation.unanswered_turn() is None
    talk.caller("u1")
    assert talk.conversation.unanswered_turn() == 1
    talk.learn(CallerTranscript("u1", "When do you open?"))
    assert talk.conversation.unanswered_turn() is None


def test_a_turn_that_could_not_be_transcribed_will_not_be_the_next_time(talk: Talk) -> None:
    talk.caller("u1")
    talk.learn(CallerTranscript("u1", None))
    assert talk.conversation.unanswered_turn() is None


@pytest.mark.parametrize(("heard_ms", "position"), [(0, 0), (SAID_AFTER_MS, 0), (SAID_AFTER_MS + 1, None)])
def test_a_turn_is_heard_again_unless_its_answer_is_well_under_way(
    talk: Talk, heard_ms: int, position: int | None
) -> None:
    talk.caller("u1")
    talk.assistant("a1", "We open at nine, and on Sundays at ten.", heard_ms, 4000)
    assert talk.conversation.unanswered_turn() == position


@pytest.mark.parametrize(("to_the_end", "position"), [(True, None), (False, 0)])
def test_a_turn_whose_short_answer_was_heard_to_its_end_is_not_heard_again(
    talk: Talk, to_the_end: bool, position: int | None
) -> None:
    """All that had come was heard in both cases; only in one it is known that no more was to come."""
    talk.caller("u1")
    talk.item("a1")
    talk.learn(AssistantTranscript("a1", 0, "At nine."))
    talk.conversation.heard(Heard(Part("a1", 0), 700, 700), to_the_end)
    assert talk.conversation.unanswered_turn() == position


def test_a_short_answer_of_two_parts_is_not_heard_to_its_end_with_the_first(talk: Talk) -> None:
    talk.caller("u1")
    talk.item("a1")
    talk.conversation.heard(Heard(Part("a1", 0), 400, 400), to_the_end=True)
    talk.conversation.heard(Heard(Part("a1", 1), 0, 400), to_the_end=False)
    assert talk.conversation.unanswered_turn() == 0


def test_a_short_answer_that_another_process_has_played_to_its_end_needs_no_other() -> None:
    earlier = (Entry("u1", "caller", "", "", 0, 0), Entry("a1", "assistant", "Yes.", "Yes.", 500, 500))
    assert Talk(earlier).conversation.unanswered_turn() is None


def test_a_turn_on_which_a_function_was_called_is_not_heard_again(talk: Talk) -> None:
    talk.caller("u1")
    talk.function("f1", "call_1")
    assert talk.conversation.unanswered_turn() is None


# Another session, another process


def test_a_new_session_goes_on_behind_what_it_was_not_told(talk: Talk) -> None:
    """It hears the last turn for itself, so that it is told what was before; the old answer stays where it was."""
    talk.assistant("a1", GREETING, 2000, 2000)
    talk.caller("u1")
    talk.assistant("a2", "We open at nine.", 300, 2000)
    assert talk.conversation.unanswered_turn() == 1
    talk.conversation.session_began()
    talk.learn(ItemAdded("a1", None, "assistant", "message"))
    talk.last = "a1"
    talk.caller("u2", "When do you open?")
    talk.assistant("a3", "At nine.", 1000, 1000)
    assert talk.ids() == ["a1", "u1", "a2", "u2", "a3"]
    assert not talk.conversation.awaits_assistant


def test_a_function_whose_process_died_has_an_answer(talk: Talk) -> None:
    running = Entry("f1", "tool", "", "", 0, 0, tool=ToolUse("call_1", "hours", "{}"))
    ended = Entry("f2", "tool", "", "", 0, 0, tool=ToolUse("call_2", "hours", "{}", "{}"))
    resumed = Talk((running, ended))
    outputs = [entry.tool.output for entry in resumed.conversation.entries if entry.tool is not None]
    assert outputs == [INTERRUPTED, "{}"]
    assert not resumed.conversation.tools_running
    resumed.conversation.write()
    assert resumed.journal.entries() == resumed.conversation.entries


def test_only_what_is_new_is_journalled(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 500, 2000)
    talk.caller("u1")
    talk.conversation.write()
    talk.conversation.write()
    assert talk.journal.told == [(0, "a1"), (1, "u1")]
    talk.learn(CallerTranscript("u1", "Hello?"))
    talk.conversation.write()
    assert talk.journal.told[2:] == [(1, "u1")]
    assert talk.journal.entries() == talk.conversation.entries


def test_what_went_out_of_the_conversation_goes_from_the_journal(talk: Talk) -> None:
    """A cough: a process that takes the call over must not think that the caller waits for an answer to it."""
    talk.assistant("a1", GREETING, 2000, 2000)
    talk.caller("u1", "Mhm.")
    talk.conversation.write()
    talk.learn(ItemDeleted("u1"))
    talk.conversation.write()
    resumed = Talk(talk.journal.entries())
    assert resumed.ids() == ["a1"]
    assert not resumed.conversation.awaits_assistant
    talk.conversation.write()
    assert (talk.journal.told, talk.journal.removals) == ([(0, "a1"), (1, "u1")], ["u1"])


def test_what_an_earlier_stream_journalled_goes_too(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 2000, 2000)
    talk.caller("u1", "Mhm.")
    talk.conversation.write()
    rows = talk.journal
    resumed = Conversation("CA1", rows, rows.entries())
    resumed.learn(ItemDeleted("u1"))
    resumed.write()
    assert rows.removals == ["u1"]
    assert rows.entries() == resumed.entries


def test_what_moves_up_is_journalled_at_its_new_place(talk: Talk) -> None:
    talk.caller("u1", "Hello?")
    talk.caller("u2", "Mhm.")
    talk.caller("u3", "Are you there?")
    talk.conversation.write()
    talk.learn(ItemDeleted("u2"))
    talk.conversation.write()
    talk.caller("u4", "Hello?")
    talk.conversation.write()
    assert Talk(talk.journal.entries()).ids() == talk.ids() == ["u1", "u3", "u4"]


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["caller", "function"]), st.just(0)),
        st.tuples(st.just("assistant"), st.integers(0, 2000)),
        st.tuples(
            st.sampled_from(["delete", "insert", "write", "resume", "new session"]), st.integers(0, 20)
        ),
    ),
    max_size=30,
)


@given(steps)
def test_a_call_that_goes_on_elsewhere_knows_what_was_written(steps: list[tuple[str, int]]) -> None:
    """Items come, go and are put between others, sessions and processes change: what is read is what was known."""
    talk = Talk()
    for number, (action, amount) in enumerate(steps):
        known = talk.ids()
        match action:
            case "caller":
                talk.caller(f"u{number}", f"Word {number}.")
            case "assistant":
                talk.assistant(f"a{number}", f"Answer number {number}.", amount, 2000)
            case "function":
                talk.function(f"f{number}", f"call_{number}")
                talk.conversation.tool_answered(f"call_{number}", "{}")
            case "delete" if known:
                talk.learn(ItemDeleted(known[amount % len(known)]))
            case "insert" if known:
                talk.learn(ItemAdded(f"s{number}", known[amount % len(known)], "user", "message"))
            case "write":
                talk.conversation.write()
            case "new session":
                talk.conversation.session_began()
            case "resume":
                talk.conversation.write()
                before, rows = talk.conversation.entries, talk.journal
                talk = Talk(rows.entries())
                talk.journal = rows
                talk.conversation = Conversation("CA1", rows, rows.entries())
                talk.last = before[-1].item_id if before else ""
                assert talk.conversation.entries == before
    talk.conversation.write()
    assert Talk(talk.journal.entries()).conversation.entries == talk.conversation.entries


def test_a_turn_that_is_open_is_kept_for_whoever_goes_on_with_the_call(talk: Talk) -> None:
    talk.assistant("a1", GREETING, 2000, 2000)
    talk.conversation.write(turn_open=True)
    talk.conversation.write(turn_open=True)
    [_, unfinished] = talk.journal.entries()
    assert unfinished == Entry(unfinished.item_id, "caller", "", "", 0, 0)
    assert Conversation("CA1", NoJournal(), talk.journal.entries()).awaits_assistant


def test_a_turn_that_has_become_an_item_is_not_kept_twice(talk: Talk) -> None:
    talk.conversation.write(turn_open=True)
    [first] = talk.journal.entries()
    talk.caller("u1", "Hello?")
    talk.conversation.write()
    assert [entry.item_id for entry in talk.journal.entries()] == ["u1"]
    talk.conversation.write(turn_open=True)
    [_, second] = talk.journal.entries()
    assert second.item_id not in ("u1", first.item_id)
