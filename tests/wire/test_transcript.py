"""The transcript: in the order of the conversation whatever comes first, and with what was heard of it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.transcript import Entry, ToolUse, Transcript

Tell = Callable[[Transcript], None]


def order(transcript: Transcript) -> list[str]:
    return [entry.item_id for entry in transcript.entries()]


def heard_of(transcript: Transcript, item_id: str = "a") -> tuple[str, int, int]:
    entry = next(entry for entry in transcript.entries() if entry.item_id == item_id)
    return entry.heard_text, entry.heard_ms, entry.total_ms


def spoken(text: str, total_ms: int = 1000) -> Transcript:
    """One item `a` of one part, which went to the phone."""
    transcript = Transcript()
    transcript.add("a", None, "assistant")
    transcript.assistant_said("a", 0, text)
    transcript.heard("a", 0, 0, total_ms)
    return transcript


def test_a_call_reads_in_the_order_of_its_items() -> None:
    transcript = Transcript()
    transcript.add("a1", None, "assistant")
    transcript.assistant_said("a1", 0, "Good morning, how can I help you?")
    transcript.heard("a1", 0, 2000, 2000)
    transcript.played("a1", 0)
    transcript.add("u1", "a1", "user")
    transcript.add("a2", "u1", "assistant")
    transcript.assistant_said("a2", 0, "We open at nine and close at five on every day but Sunday.")
    transcript.heard("a2", 0, 1000, 3000)
    transcript.cut_off("a2", 0, 1500, 4000)
    transcript.add("u2", "a2", "user")
    transcript.caller_said("u2", "Thank you.")
    transcript.caller_said("u1", "When do you open?")
    assert transcript.entries() == (
        Entry(
            "a1",
            "assistant",
            "Good morning, how can I help you?",
            "Good morning, how can I help you?",
            2000,
            2000,
        ),
        Entry("u1", "caller", "When do you open?", "When do you open?", 0, 0),
        Entry(
            *("a2", "assistant", "We open at nine and close at five on every day but Sunday."),
            *("We open at nine and", 1500, 4000),
        ),
        Entry("u2", "caller", "Thank you.", "Thank you.", 0, 0),
    )


def test_a_transcript_later_than_the_reply_stands_before_it() -> None:
    """protocol-gotchas 38"""
    transcript = Transcript()
    transcript.add("u", None, "user")
    transcript.add("a", "u", "assistant")
    transcript.assistant_said("a", 0, "Nine.")
    transcript.caller_said("u", "When?")
    assert [entry.text for entry in transcript.entries()] == ["When?", "Nine."]


def test_a_caller_who_is_not_transcribed_yet_has_a_place_already() -> None:
    transcript = Transcript()
    transcript.add("u", None, "user")
    assert transcript.entries() == (Entry("u", "caller", "", "", 0, 0),)


def test_a_failed_transcription_is_marked_as_such() -> None:
    transcript = Transcript()
    transcript.add("u", None, "user")
    transcript.caller_said("u", None)
    assert transcript.entries() == (Entry("u", "caller", "", "", 0, 0, failed=True),)


@pytest.mark.parametrize("texts", [[None, "Hello."], ["Hello.", None]])
def test_a_text_puts_a_failed_transcription_right(texts: list[str | None]) -> None:
    transcript = Transcript()
    for text in texts:
        transcript.caller_said("u", text)
    assert transcript.entries() == (Entry("u", "caller", "Hello.", "Hello.", 0, 0),)


def test_tool_calls_and_system_messages_are_spoken_by_nobody_but_hold_the_order() -> None:
    transcript = Transcript()
    transcript.add("a", "output", "assistant")
    transcript.add("output", "call", "")
    transcript.add("call", "u", "")
    transcript.add("u", "system", "user")
    transcript.add("system", "root", "system")
    assert order(transcript) == ["u", "a"]


def test_an_item_put_at_the_root_later_comes_first() -> None:
    transcript = Transcript()
    transcript.add("u", "root", "user")
    transcript.add("a", "u", "assistant")
    transcript.add("first", "root", "user")
    assert order(transcript) == ["first", "u", "a"]


def test_an_item_put_behind_another_later_comes_before_what_was_there() -> None:
    transcript = Transcript()
    transcript.add("u", None, "user")
    transcript.add("a", "u", "assistant")
    transcript.add("between", "u", "user")
    assert order(transcript) == ["u", "between", "a"]


def test_an_item_whose_predecessor_never_shows_keeps_its_followers() -> None:
    transcript = Transcript()
    transcript.add("u1", None, "user")
    transcript.add("a2", "u2", "assistant")
    transcript.add("u2", "missing", "user")
    transcript.add("a1", "u1", "assistant")
    assert order(transcript) == ["u1", "a1", "u2", "a2"]


def test_items_that_are_never_announced_stand_as_they_came() -> None:
    transcript = Transcript()
    transcript.caller_said("u1", "Hello?")
    transcript.assistant_said("a1", 0, "Good morning.")
    transcript.caller_said("u2", "Oh.")
    assert [(entry.item_id, entry.speaker) for entry in transcript.entries()] == [
        ("u1", "caller"),
        ("a1", "assistant"),
        ("u2", "caller"),
    ]


def test_a_chain_stands_where_the_first_of_its_items_came() -> None:
    transcript = Transcript()
    transcript.caller_said("u1", "Hello?")
    transcript.add("u2", None, "user")
    transcript.add("u1", "a0", "user")
    transcript.add("a0", "u0", "assistant")
    transcript.add("u0", None, "user")
    assert order(transcript) == ["u0", "a0", "u1", "u2"]


def test_a_server_that_names_no_predecessors_is_followed_in_time() -> None:
    """So is a second session, which goes on where the first was lost, and begins at a root of its own."""
    transcript = Transcript()
    for item_id, role in [("u1", "user"), ("a1", "assistant"), ("u2", "user"), ("a2", "assistant")]:
        transcript.add(item_id, None, role)
    assert order(transcript) == ["u1", "a1", "u2", "a2"]


def test_an_item_said_to_be_added_twice_is_one_and_keeps_its_place_and_role() -> None:
    transcript = Transcript()
    transcript.add("u1", None, "user")
    transcript.add("u2", None, "user")
    transcript.add("u2", "a1", "")
    transcript.add("u2", "root", "user")
    transcript.add("u2", "u1", "")
    transcript.add("a1", "u1", "assistant")
    assert order(transcript) == ["u1", "a1", "u2"]


@pytest.mark.parametrize(
    "links", [[("a", "a")], [("a", "b"), ("b", "a")], [("a", "b"), ("b", "c"), ("c", "a")]]
)
def test_items_that_name_each_other_in_a_circle_are_there_once(links: list[tuple[str, str]]) -> None:
    transcript = Transcript()
    for item_id, previous in links:
        transcript.add(item_id, previous, "user")
    transcript.add("behind", "a", "user")
    assert sorted(order(transcript)) == sorted({item_id for item_id, _ in links} | {"behind"})


def test_a_deleted_item_is_gone_and_its_followers_stay() -> None:
    transcript = Transcript()
    transcript.deleted("a")
    transcript.add("u", None, "user")
    transcript.add("a", "u", "assistant")
    transcript.assistant_said("a", 0, "Unheard.")
    transcript.add("u2", "a", "user")
    assert order(transcript) == ["u", "u2"]


def test_a_long_call_is_no_deep_one() -> None:
    transcript = Transcript()
    for number in range(5000):
        transcript.add(f"item_{number}", f"item_{number - 1}" if number else None, "user")
    assert order(transcript) == [f"item_{number}" for number in range(5000)]


# What was heard.


def test_nothing_is_taken_for_heard_before_that_is_known() -> None:
    assert heard_of(spoken("One two three.")) == ("", 0, 1000)


def test_a_part_played_to_its_end_was_heard_as_a_whole() -> None:
    transcript = spoken("One two three. ")
    transcript.played("a", 0)
    assert heard_of(transcript) == ("One two three. ", 1000, 1000)


def test_a_part_cut_off_was_heard_to_the_last_whole_word() -> None:
    transcript = spoken("one two six")
    transcript.cut_off("a", 0, 640, 1000)
    assert heard_of(transcript) == ("one two", 640, 1000)


def test_what_a_mark_confirms_is_heard_and_never_taken_back() -> None:
    transcript = spoken("one two six")
    for heard_ms, queued_ms in [(300, 1000), (640, 1000), (200, 800)]:
        transcript.heard("a", 0, heard_ms, queued_ms)
    assert heard_of(transcript) == ("one two", 640, 1000)
    transcript.cut_off("a", 0, 600, 1000)
    assert heard_of(transcript) == ("one two", 640, 1000)


def test_the_text_may_come_after_the_interruption() -> None:
    transcript = Transcript()
    transcript.cut_off("a", 0, 500, 1000)
    assert heard_of(transcript) == ("", 500, 1000)
    transcript.assistant_said("a", 0, "one two three four")
    assert heard_of(transcript) == ("one two", 500, 1000)


def test_a_part_resumed_and_cut_off_again_was_heard_as_far_as_the_second_time() -> None:
    transcript = spoken("one two three four")
    transcript.cut_off("a", 0, 500, 1000)
    transcript.cut_off("a", 0, 800, 1000)
    transcript.cut_off("a", 0, 0, 900)
    assert heard_of(transcript) == ("one two three", 800, 1000)


def test_without_a_word_of_what_was_queued_the_longest_total_counts() -> None:
    transcript = Transcript()
    transcript.cut_off("a", 0, 500, 1000)
    transcript.cut_off("a", 0, 400, 900)
    assert heard_of(transcript) == ("", 500, 1000)
    transcript.cut_off("a", 0, 1100, 1000)
    assert heard_of(transcript) == ("", 1100, 1100)


def test_a_part_resumed_and_played_to_its_end_was_heard_as_a_whole() -> None:
    transcript = spoken("one two three four")
    transcript.cut_off("a", 0, 500, 1000)
    transcript.played("a", 0)
    assert heard_of(transcript) == ("one two three four", 1000, 1000)


def test_several_parts_are_heard_one_after_the_other() -> None:
    transcript = spoken("First part.")
    transcript.assistant_said("a", 1, "Second part.")
    transcript.heard("a", 1, 0, 1000)
    transcript.assistant_said("a", 2, "Third part.")
    transcript.heard("a", 2, 0, 1000)
    transcript.cut_off("a", 1, 600, 1000)
    transcript.cut_off("a", 2, 0, 1000)
    assert transcript.entries()[0].text == "First part. Second part. Third part."
    assert heard_of(transcript) == ("First part. Second", 1600, 3000)


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_part_was_heard_to_its_end_if_the_next_was_heard(cut_off: bool) -> None:
    transcript = spoken("First part.")
    transcript.assistant_said("a", 1, "Second part.")
    transcript.heard("a", 1, 0, 1000)
    if cut_off:
        transcript.cut_off("a", 1, 700, 1000)
        assert heard_of(transcript) == ("First part. Second", 1700, 2000)
    else:
        transcript.played("a", 1)
        assert heard_of(transcript) == ("First part. Second part.", 2000, 2000)


def test_nothing_is_heard_of_a_part_behind_one_that_was_cut_off() -> None:
    transcript = spoken("First part.")
    transcript.assistant_said("a", 1, "Second part.")
    transcript.cut_off("a", 0, 500, 1000)
    transcript.played("a", 1)
    assert heard_of(transcript)[0] == "First"


# Texts that are still coming.


def say(transcript: Transcript, item_id: str, text: str, total_ms: int) -> None:
    """An answer that was heard to its end."""
    transcript.assistant_said(item_id, 0, text)
    transcript.heard(item_id, 0, total_ms, total_ms)
    transcript.played(item_id, 0)


def saying(text: str, heard_ms: int, queued_ms: int) -> Transcript:
    """One item `a` in mid-answer."""
    transcript = Transcript()
    for word in text.split(" "):
        transcript.assistant_saying("a", 0, f"{word} ")
    transcript.heard("a", 0, heard_ms, queued_ms)
    return transcript


def test_a_text_grows_until_it_is_whole() -> None:
    transcript = Transcript()
    for delta in ("One ", "two", " thr"):
        transcript.assistant_saying("a", 0, delta)
    assert transcript.entries()[0].text == "One two thr"
    transcript.assistant_said("a", 0, "One two three.")
    transcript.assistant_saying("a", 0, "ee.")
    assert transcript.entries()[0].text == "One two three."


def test_an_answer_that_breaks_off_was_heard_as_far_as_it_can_have_been_spoken() -> None:
    """Its text was a minute ahead of its audio; in proportion, half of it would have been heard."""
    transcript = saying("word " * 180, 1000, 2000)
    assert heard_of(transcript) == ("word word word", 1000, 2000)
    transcript.cut_off("a", 0, 1400, 2000)
    assert heard_of(transcript) == ("word word word word", 1400, 2000)


def test_an_answer_that_breaks_off_after_all_that_came_was_heard_is_not_complete() -> None:
    assert heard_of(saying("We open at nine and", 60_000, 60_000))[0] == "We open at nine and"
    assert saying("We open at nine and", 60_000, 60_000).entries()[0].text == "We open at nine and "
    transcript = Transcript()
    transcript.assistant_saying("a", 0, "We open at nine")
    transcript.heard("a", 0, 60_000, 60_000)
    assert heard_of(transcript)[0] == "We open at"


def test_when_the_rest_of_a_text_comes_its_audio_is_there_and_the_proportion_counts() -> None:
    transcript = saying("one two three four", 2000, 2500)
    transcript.assistant_said("a", 0, "one two three four five six seven eight")
    transcript.heard("a", 0, 2000, 4000)
    assert heard_of(transcript) == ("one two three four", 2000, 4000)


def test_a_text_whose_audio_was_heard_to_its_end_was_heard_even_if_its_own_end_was_lost() -> None:
    transcript = saying("one two three", 1000, 1000)
    transcript.played("a", 0)
    assert heard_of(transcript) == ("one two three ", 1000, 1000)


def test_the_pace_is_measured_on_the_answers_that_were_heard_to_their_ends() -> None:
    transcript = saying("word " * 180, 3000, 6000)
    assert len(heard_of(transcript)[0]) == 44  # at 15 characters a second
    say(transcript, "slow", "x" * 50, 10_000)
    assert len(heard_of(transcript)[0]) == 14
    say(transcript, "also slow", "x" * 90, 10_000)
    assert len(heard_of(transcript)[0]) == 19


@pytest.mark.parametrize(
    "told",
    [
        lambda t: (t.assistant_said("b", 0, "x" * 50), t.heard("b", 0, 9000, 10_000)),
        lambda t: (t.assistant_said("b", 0, "x" * 50), t.cut_off("b", 0, 10_000, 10_000)),
        lambda t: (t.assistant_saying("b", 0, "x" * 50), t.heard("b", 0, 9, 9), t.played("b", 0)),
        lambda t: (t.assistant_said("b", 0, "x" * 50), t.played("b", 0)),
    ],
    ids=["still playing", "cut off", "its end was lost", "no word of its length"],
)
def test_answers_whose_text_or_audio_may_not_be_all_say_nothing_of_the_pace(
    told: Callable[[Transcript], object],
) -> None:
    transcript = saying("word " * 180, 3000, 6000)
    told(transcript)
    assert len(heard_of(transcript)[0]) == 44


# Functions, and what the call's earlier streams and sessions left.


def test_a_call_of_a_function_stands_where_the_model_made_it_and_gets_its_output_later() -> None:
    transcript = Transcript()
    transcript.add("u", None, "user")
    transcript.add("f", "u", "")
    transcript.tool_called("f", "call_1", "opening_hours", '{"day": "Monday"}')
    transcript.add("a", "f", "assistant")
    transcript.caller_said("u", "When do you open?")
    waiting = Entry("f", "tool", "", "", 0, 0, tool=ToolUse("call_1", "opening_hours", '{"day": "Monday"}'))
    assert transcript.entries()[1] == waiting
    transcript.tool_answered("call_2", "no call of ours")
    assert transcript.entries()[1] == waiting
    transcript.tool_answered("call_1", '{"opens": 9}')
    tool = ToolUse("call_1", "opening_hours", '{"day": "Monday"}', '{"opens": 9}')
    assert [entry.tool for entry in transcript.entries()] == [None, tool, None]
    assert transcript.entries()[1].speaker == "tool"


EARLIER = (
    Entry("u1", "caller", "Hello?", "Hello?", 0, 0),
    Entry("a1", "assistant", "Good day. What can I do for you?", "Good day.", 900, 3000),
    Entry("f1", "tool", "", "", 0, 0, tool=ToolUse("call_1", "hours", "{}")),
)


def test_an_earlier_stream_comes_first_and_only_its_functions_are_still_answered() -> None:
    transcript = Transcript(EARLIER)
    assert transcript.entries() == EARLIER
    transcript.add("a1", "u1", "assistant")
    transcript.assistant_said("a1", 0, "What this session takes that text for.")
    transcript.played("a1", 0)
    transcript.tool_answered("call_1", "{}")
    answered = Entry("f1", "tool", "", "", 0, 0, tool=ToolUse("call_1", "hours", "{}", "{}"))
    assert transcript.entries() == (*EARLIER[:2], answered)


def test_the_pace_of_an_earlier_stream_counts() -> None:
    heard = Entry("a0", "assistant", "x" * 50, "x" * 50, 10_000, 10_000)
    not_all_heard = Entry("a1", "assistant", "x" * 500, "x", 10, 10_000)
    transcript = Transcript([heard, not_all_heard, Entry("u", "caller", "x" * 900, "x" * 900, 0, 0)])
    transcript.assistant_saying("a", 0, "word " * 180)
    transcript.heard("a", 0, 3000, 6000)
    assert len(heard_of(transcript)[0]) == 14


def first_session() -> Transcript:
    """What an earlier stream left, or a lost session of this one: the last answer was not heard at all."""
    transcript = Transcript()
    for item_id, previous, role in [
        ("u1", None, "user"),
        ("a1", "u1", "assistant"),
        ("u2", "a1", "user"),
        ("a2", "u2", "assistant"),
    ]:
        transcript.add(item_id, previous, role)
    transcript.session_began()
    return transcript


def test_a_new_session_goes_on_behind_everything_although_it_was_not_told_all_of_it() -> None:
    """It was told of the first two items, so that its own come right behind these, as far as it knows."""
    transcript = first_session()
    for item_id, previous in [("u1", None), ("a1", "u1"), ("u3", "a1"), ("a3", "u3")]:
        transcript.add(item_id, previous, "user")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_a_new_session_that_was_told_of_what_is_older_in_a_message_of_its_own() -> None:
    transcript = first_session()
    transcript.add("summary", None, "system")
    for item_id, previous in [("u2", "summary"), ("a2", "u2"), ("u3", "a2"), ("a3", "u3")]:
        transcript.add(item_id, previous, "user")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_a_new_session_that_was_told_nothing() -> None:
    transcript = first_session()
    transcript.add("u3", None, "user")
    transcript.add("a3", "u3", "assistant")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_what_a_new_session_puts_at_its_root_is_not_the_beginning_of_the_call() -> None:
    transcript = first_session()
    transcript.add("u3", "root", "user")
    transcript.add("a3", "u3", "assistant")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3"]


def test_what_a_new_session_is_told_late_keeps_its_place_and_what_follows_comes_last() -> None:
    """It was told of the last answer when that had been played; the caller had spoken meanwhile."""
    transcript = first_session()
    for item_id, previous in [
        *[("u1", None), ("a1", "u1"), ("u2", "a1")],
        *[("u3", "u2"), ("a2", "u3"), ("a3", "a2"), ("u4", "a3")],
    ]:
        transcript.add(item_id, previous, "user")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3", "u4"]


def test_each_of_several_sessions_comes_behind_the_one_before() -> None:
    transcript = first_session()
    for number in range(3, 6):
        transcript.add("a1", None, "")
        transcript.add(f"u{number}", "a1", "user")
        transcript.add(f"a{number}", f"u{number}", "assistant")
        transcript.session_began()
    transcript.deleted("a4")
    assert order(transcript) == ["u1", "a1", "u2", "a2", "u3", "a3", "u4", "u5", "a5"]


# Whatever the order of arrival.

TEXTS = st.text(st.sampled_from("abc é\n我"), max_size=30)


@st.composite
def tellings(draw: st.DrawFn) -> tuple[list[str], list[Tell], list[Tell]]:
    """A conversation that items are put into anywhere and taken out of, as its server keeps it: the order of
    the items at the end, how the items come, and everything else that is told, in no order."""
    conversation: list[str] = []
    added: list[Tell] = []
    told: list[Tell] = []
    deleted: set[str] = set()
    appended_only = draw(st.booleans())
    for number in range(draw(st.integers(1, 8))):
        item_id = f"item_{number}"
        place = len(conversation) if appended_only else draw(st.integers(0, len(conversation)))
        # Of the first item a server says that it has no predecessor; of one that a client put first, it is the root.
        previous = conversation[place - 1] if place else "root" if conversation else None
        conversation.insert(place, item_id)
        if draw(st.booleans()):
            added.append(lambda t, i=item_id, p=previous: t.add(i, p, "user"))  # type: ignore[misc]
            text = draw(st.none() | TEXTS)
            told.append(lambda t, i=item_id, x=text: t.caller_said(i, x))  # type: ignore[misc]
        else:
            added.append(lambda t, i=item_id, p=previous: t.add(i, p, "assistant"))  # type: ignore[misc]
            for index in range(draw(st.integers(0, 3))):
                told += draw(part(item_id, index))
        if draw(st.integers(0, 4)) == 0:
            deleted.add(item_id)
            told.append(lambda t, i=item_id: t.deleted(i))  # type: ignore[misc]
    if appended_only:
        told, added = told + added, []
    return [item_id for item_id in conversation if item_id not in deleted], added, told


@st.composite
def part(draw: st.DrawFn, item_id: str, index: int) -> list[Tell]:
    """What is told of one part, in any order: of a whole text, or of one that broke off."""
    text, total_ms = draw(TEXTS), draw(st.integers(0, 3000))
    told: list[Tell] = []
    if draw(st.booleans()):
        told.append(lambda t: t.assistant_said(item_id, index, text))
    else:
        told.append(lambda t: t.assistant_saying(item_id, index, text))
    progress = draw(st.lists(st.integers(0, total_ms), max_size=3))
    told += [lambda t, ms=ms: t.heard(item_id, index, ms, total_ms) for ms in progress]  # type: ignore[misc]
    if draw(st.booleans()):
        heard = draw(st.integers(0, total_ms))
        told.append(lambda t: t.cut_off(item_id, index, heard, total_ms))
    if draw(st.booleans()):
        told.append(lambda t: t.played(item_id, index))
    return told


@given(tellings(), st.data())
def test_the_order_of_arrival_changes_nothing(
    telling: tuple[list[str], list[Tell], list[Tell]], data: st.DataObject
) -> None:
    """Items that are appended may come in any order too; where others are put between them, theirs tells where."""
    expected, added, told = telling
    transcript = Transcript()
    for tell in [*added, *told]:
        tell(transcript)
    entries = transcript.entries()
    assert [entry.item_id for entry in entries] == expected
    shuffled, announced, another = data.draw(st.permutations(told)), list(added), Transcript()
    while shuffled or announced:
        from_announced = announced and (not shuffled or data.draw(st.booleans()))
        (announced.pop(0) if from_announced else shuffled.pop())(another)
    assert another.entries() == entries


@given(tellings(), st.data())
def test_whoever_looks_often_sees_what_one_sees_who_looks_once(
    telling: tuple[list[str], list[Tell], list[Tell]], data: st.DataObject
) -> None:
    """Only what has changed is looked at again; nothing else may have."""
    _, added, told = telling
    steps: list[Tell] = data.draw(st.permutations([*added, *told, Transcript.session_began]))
    often = Transcript()
    for count, step in enumerate(steps, 1):
        step(often)
        once = Transcript()
        for each in steps[:count]:
            each(once)
        assert often.entries() == once.entries()


@given(tellings())
def test_what_was_heard_is_how_the_text_begins(telling: tuple[list[str], list[Tell], list[Tell]]) -> None:
    _, added, told = telling
    transcript = Transcript()
    for tell in [*added, *told]:
        tell(transcript)
        for entry in transcript.entries():
            assert entry.text.startswith(entry.heard_text)
            assert 0 <= entry.heard_ms <= entry.total_ms
            assert entry.speaker == "assistant" or entry.heard_text == entry.text


@given(
    st.lists(st.lists(st.sampled_from(["none", "root", "told", "before"]), max_size=4), max_size=5), st.data()
)
def test_sessions_never_mix(sessions: list[list[str]], data: st.DataObject) -> None:
    """Whatever a session was told, and in whatever part of it its first item stands: its items come after all
    that was there before it."""
    transcript = Transcript()
    expected: list[str] = []
    for session, items in enumerate(sessions):
        own = ""
        known = list(expected)
        for number, kind in enumerate(items):
            item_id = f"item_{session}_{number}"
            previous = own or None
            if not own and kind == "root":
                previous = "root"
            elif not own and known and kind == "told":
                previous = data.draw(st.sampled_from(known))
            elif own and known and kind == "before":
                told = data.draw(st.sampled_from(known))
                transcript.add(told, own, "")
                previous = told
            transcript.add(item_id, previous, "user")
            expected.append(item_id)
            own = item_id
        transcript.session_began()
    assert order(transcript) == expected
