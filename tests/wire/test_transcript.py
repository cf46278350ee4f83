"""The transcript: in the order of the conversation whatever comes first, and with what was heard of it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.transcript import Entry, Transcript

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
    transcript.queued("a", 0, total_ms)
    return transcript


def test_a_call_reads_in_the_order_of_its_items() -> None:
    transcript = Transcript()
    transcript.add("a1", None, "assistant")
    transcript.assistant_said("a1", 0, "Good morning, how can I help you?")
    transcript.queued("a1", 0, 2000.0)
    transcript.played("a1", 0)
    transcript.add("u1", "a1", "user")
    transcript.add("a2", "u1", "assistant")
    transcript.assistant_said("a2", 0, "We open at nine and close at five on every day but Sunday.")
    transcript.queued("a2", 0, 3000.0)
    transcript.queued("a2", 0, 1000.0)
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


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, ""),
        (199, ""),
        (300, "one"),
        (630, "one"),
        (640, "one two"),
        (999, "one two"),
        (1000, "one two six"),
    ],
)
def test_a_part_cut_off_was_heard_to_the_last_whole_word(heard_ms: int, text: str) -> None:
    transcript = spoken("one two six")
    transcript.cut_off("a", 0, heard_ms, 1000)
    assert heard_of(transcript) == (text, heard_ms, 1000)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("我们每天九点开门。", "我们每天"),
        ("OK我", "OK"),
        ("我OK of course", "我OK of"),
        ("我internationally", "我"),
        ("one  \n  two", "one"),
    ],
)
def test_half_a_text_is_cut_at_a_space_or_beside_a_wide_character(text: str, heard: str) -> None:
    transcript = spoken(text)
    transcript.cut_off("a", 0, 670 if text == "OK我" else 500, 1000)
    assert heard_of(transcript)[0] == heard


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
    transcript.queued("a", 1, 1000)
    transcript.assistant_said("a", 2, "Third part.")
    transcript.queued("a", 2, 1000)
    transcript.cut_off("a", 1, 600, 1000)
    transcript.cut_off("a", 2, 0, 1000)
    assert transcript.entries()[0].text == "First part. Second part. Third part."
    assert heard_of(transcript) == ("First part. Second", 1600, 3000)


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_part_was_heard_to_its_end_if_the_next_was_heard(cut_off: bool) -> None:
    transcript = spoken("First part.")
    transcript.assistant_said("a", 1, "Second part.")
    transcript.queued("a", 1, 1000)
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
    """What is told of one part, in any order."""
    text, deltas = draw(TEXTS), draw(st.lists(st.integers(0, 500), max_size=3))
    told: list[Tell] = [lambda t: t.assistant_said(item_id, index, text)]
    told += [lambda t, d=delta: t.queued(item_id, index, d) for delta in deltas]  # type: ignore[misc]
    if draw(st.booleans()):
        heard = draw(st.integers(0, sum(deltas)))
        told.append(lambda t: t.cut_off(item_id, index, heard, sum(deltas)))
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


@given(st.text(max_size=60), st.integers(1, 5000), st.data())
def test_more_time_is_never_less_text(text: str, total_ms: int, data: st.DataObject) -> None:
    heard = sorted(data.draw(st.lists(st.integers(0, total_ms), min_size=2, max_size=5)))
    transcript = spoken(text, total_ms)
    texts = []
    for heard_ms in heard:
        transcript.cut_off("a", 0, heard_ms, total_ms)
        texts.append(heard_of(transcript)[0])
    assert texts == sorted(texts, key=len)
    assert all(text.startswith(heard_text) for heard_text in texts)
    if heard[-1] == total_ms:
        assert texts[-1] == text
