import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.dialogue import Dialogue, Reply
from simulator.rules import Rule, Rules

RULES = Rules.load()


@pytest.fixture
def dialogue() -> Dialogue:
    return Dialogue(RULES)


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.name)
def test_every_phrase_leads_to_its_own_rule(rule: Rule) -> None:
    for phrase in rule.hear:
        assert Dialogue(RULES).reply(phrase.upper() + "?") == Reply(
            rule.say[0] if rule.say else RULES.greeting
        )


def test_the_service_is_described_for_more_than_ten_seconds(dialogue: Dialogue) -> None:
    assert len(dialogue.reply("what does a full service include").text.split()) > 50


def test_a_question_asked_again_is_answered_in_other_words(dialogue: Dialogue) -> None:
    first = dialogue.reply("how much is it").text
    second = dialogue.reply("how much does it cost").text
    assert first != second
    assert dialogue.reply("how much is it").text == first


def test_a_typed_question_need_not_be_exact(dialogue: Dialogue) -> None:
    assert "nine to six" in dialogue.reply("Hi, what are your opening hours please?").text


def test_what_no_rule_resembles_is_answered_by_what_can_be_asked(dialogue: Dialogue) -> None:
    assert dialogue.reply("sing me a song of the sea").text == RULES.unknown


def test_an_order_is_looked_up_where_the_function_is_declared(dialogue: Dialogue) -> None:
    reply = dialogue.reply("what is the status of order forty two", ["order_status", "other"])
    (call,) = reply.calls
    assert reply.text
    assert call.name == "order_status"
    assert json.loads(call.arguments) == {"order": "42"}


def test_without_the_function_there_is_a_spoken_excuse(dialogue: Dialogue) -> None:
    reply = dialogue.reply("is my bicycle ready", ["other"])
    assert reply.calls == ()
    assert "cannot see the orders" in reply.text


@pytest.mark.parametrize(
    ("name", "output", "spoken"),
    [
        (
            "order_status",
            '{"status": "ready", "ready": "today"}',
            "Your bicycle is ready, and you can collect it today.",
        ),
        ("order_status", '{"status": "washed"}', "Your bicycle is washed."),
        ("order_status", '{"colour": "red"}', RULES.tool_failed),
        ("order_status", '{"error": "no such order"}', RULES.tool_failed),
        ("order_status", "not json", RULES.tool_failed),
        ("weather", '{"sky_colour": "blue", "degrees": 21}', "sky colour: blue. degrees: 21."),
        ("weather", '["rain", "sun"]', "rain. sun."),
        ("weather", "It rains", "It rains"),
        ("weather", "null", RULES.tool_failed),
        ("end_call", "{}", ""),
    ],
)
def test_a_result_is_spoken_about(dialogue: Dialogue, name: str, output: str, spoken: str) -> None:
    assert dialogue.after_tool(name, output) == Reply(spoken)


def test_the_last_line_can_be_repeated(dialogue: Dialogue) -> None:
    said = dialogue.reply("where are you").text
    assert dialogue.reply("what did you say").text == said
    assert dialogue.reply("say that again please").text == said


def test_a_silent_function_result_is_not_what_is_repeated(dialogue: Dialogue) -> None:
    said = dialogue.reply("goodbye", ["end_call"]).text
    dialogue.after_tool("end_call", "{}")
    assert dialogue.reply("what did you say").text == said


def test_without_recognition_the_script_goes_on_turn_by_turn(dialogue: Dialogue) -> None:
    answers = [dialogue.reply("").text for _ in RULES.script]
    assert answers == [RULES.named(name).say[0] for name in RULES.script]
    assert dialogue.reply("").text == RULES.not_understood[0]
    assert dialogue.reply("").text == RULES.not_understood[1]


def test_the_script_calls_declared_functions_as_well(dialogue: Dialogue) -> None:
    calls = [dialogue.reply("", ["order_status"]).calls for _ in RULES.script]
    assert [call.name for made in calls for call in made] == ["order_status"]


def test_who_was_understood_before_is_asked_to_say_it_again(dialogue: Dialogue) -> None:
    dialogue.reply("hello")
    assert dialogue.reply("").text == RULES.not_understood[0]


def test_quoted_instructions_are_said_word_for_word(dialogue: Dialogue) -> None:
    assert (
        dialogue.follow('Say "One moment," and then “please wait.” Nothing else.').text
        == "One moment, please wait."
    )


def test_instructions_without_quotes_are_a_greeting_and_then_a_question(dialogue: Dialogue) -> None:
    assert dialogue.follow("Greet the caller.").text == RULES.greeting
    assert dialogue.follow("Ask on.").text == RULES.still_there


@given(st.lists(st.tuples(st.sampled_from(["reply", "follow", "after"]), st.text())), st.booleans())
def test_whatever_is_said_the_dialogue_has_an_answer(turns: list[tuple[str, str]], tools: bool) -> None:
    dialogue = Dialogue(RULES)
    for kind, text in turns:
        match kind:
            case "reply":
                assert dialogue.reply(text, ["order_status"] if tools else []).text
            case "follow":
                assert dialogue.follow(text).text
            case _:
                assert dialogue.after_tool("order_status", text).text
