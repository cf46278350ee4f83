"""Talk: what a session begins with that takes a conversation over, and when there is a silence to end."""

from collections.abc import Callable
from typing import Any

import pytest

from actors.messages import Begin, Floor, HeardLess, Playback, Remember, Respond
from actors.phone_reader import KEPT_SECONDS
from actors.talk import MCP_SECONDS, PREFIX_SECONDS, Talk
from tests.actors.parts import GREETING, INSTRUCTIONS, asked, heard, said, setup
from wire import realtime
from wire.dead_air import Apologise, Command, Filler, Limits, Recover, Remind
from wire.transcript import Entry, ToolUse

PLAYING, SILENT = Playback(assistant=True, sound=False), Playback(assistant=False, sound=False)
PATIENCE = Limits(filler_seconds=2.0, recover_seconds=2.0, apologise_seconds=4.0, give_up_seconds=2.0)


class Scene:
    """A Talk, and what the session and the phone tell it."""

    def __init__(self, history: tuple[Entry, ...] = (), **differences: Any) -> None:
        self.now = 100.0
        self.talk = Talk(setup(history=history, patience=PATIENCE, **differences), self.now)
        self.reminders: list[float] = []
        self.done: list[Command] = []
        self.take(self.talk.answered(self.now))
        self.first = self.goes_on(0)

    def floor(self, floor: Floor) -> None:
        self.take(self.talk.floor_changed(floor, self.now))

    def learn(self, *events: realtime.Event) -> None:
        for event in events:
            self.talk.learn(event, self.now)

    def play(self, playback: Playback) -> None:
        self.take(self.talk.playback_changed(playback, self.now))

    def asks(self, item_id: str, text: str | None, previous: str | None = None) -> None:
        """The caller says something; None: nobody has the words of it yet."""
        self.floor(Floor.CALLER)
        self.now += 2
        self.floor(Floor.ASSISTANT)
        self.learn(realtime.AudioCommitted(item_id, previous))
        if text is not None:
            self.learn(realtime.CallerTranscript(item_id, text))

    def begins_to_answer(self, item_id: str, text: str, previous: str | None = None) -> None:
        """The assistant's words and voice come, and the caller has not heard any of it yet."""
        self.floor(Floor.ASSISTANT)
        self.learn(
            realtime.ItemAdded(item_id, previous, "assistant", "message"),
            realtime.AssistantTranscript(item_id, 0, text),
        )
        self.play(PLAYING)

    def answers(self, item_id: str, text: str, previous: str | None = None) -> None:
        """From the first word to the last one heard."""
        self.begins_to_answer(item_id, text, previous)
        self.floor(Floor.NOBODY)
        self.now += 3
        self.talk.heard(heard(item_id, 3000, 3000), to_the_end=True)
        self.play(SILENT)

    def calls(self, call_id: str) -> None:
        self.learn(realtime.FunctionCall("resp_f", f"item_{call_id}", call_id, "look_up", "{}"))
        self.take(self.talk.tool_running(self.now))

    def loses_session(self, again: bool = False) -> None:
        self.take(self.talk.session_lost(again, self.now))

    def goes_on(self, seconds: float = 0.5) -> Begin:
        """So much later, another session is ready."""
        self.now += seconds
        begin, commands = self.talk.begin(self.now)
        self.take(commands)
        return begin

    def take(self, commands: list[Command]) -> None:
        """Remember what is to be done, and when to ask again."""
        for command in commands:
            if isinstance(command, Remind):
                self.reminders.append(self.now + command.seconds)
            else:
                self.done.append(command)

    def wait(self, seconds: float) -> list[Command]:
        """What was done about the silence in so many seconds in which nothing happens, and before."""
        until = self.now + seconds
        while self.reminders and min(self.reminders) <= until:
            self.now = min(self.reminders)
            self.reminders.remove(self.now)
            self.take(self.talk.due(self.now))
        self.now = until
        done, self.done = self.done, []
        return done


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.item_id for entry in entries]


def greeted() -> Scene:
    """The assistant has greeted, and the caller has heard it."""
    scene = Scene()
    scene.answers("item_g", "Hello there.")
    return scene


# The beginning of a call


def test_a_call_begins_with_the_greeting_and_the_caller_waits_for_it() -> None:
    scene = Scene()
    assert scene.first == Begin((), (GREETING,))
    assert scene.wait(2) == [Filler()]


def test_without_a_greeting_the_assistant_speaks_first_all_the_same() -> None:
    assert Scene(greeting=None).first == Begin((), (None,))


def test_a_call_that_is_resumed_is_continued_and_not_greeted() -> None:
    history = (said("item_g", "Hello there."), asked("item_u", "When do you open?"))
    scene = Scene(history)
    assert scene.first.history == history
    (instructions,) = scene.first.owed
    assert instructions is not None
    assert instructions.startswith(f"{INSTRUCTIONS}\n\n")
    assert GREETING not in instructions
    assert "not answered yet" in instructions
    assert scene.wait(2) == [Filler()]


def test_a_call_that_is_resumed_in_mid_answer_goes_on_with_it() -> None:
    history = (asked("item_u", "Hi"), said("item_a", "We open at nine.", heard_text="We open"))
    (instructions,) = Scene(history).first.owed
    assert instructions is not None
    assert "‘We open’" in instructions
    assert "at nine." in instructions


def test_a_call_that_is_resumed_when_the_last_word_was_heard_waits_for_the_caller() -> None:
    scene = Scene((said("item_g", "Hello there."),))
    assert scene.first.owed == ()
    assert scene.wait(60) == []
    assert not scene.talk.busy


def test_a_call_that_is_resumed_after_its_process_died_under_a_function_tells_of_it() -> None:
    call = Entry("item_f", "tool", "", "", 0, 0, tool=ToolUse("call_1", "look_up", "{}"))
    scene = Scene((asked("item_u", "Look it up"), call))
    (known,) = [entry.tool for entry in scene.first.history if entry.tool is not None]
    assert known.output is not None
    assert "not known" in known.output
    assert len(scene.first.owed) == 1


# The table: what was going on when the session was lost, and what its successor is told


def test_when_nobody_spoke_it_knows_the_conversation_and_says_nothing() -> None:
    scene = greeted()
    scene.now += 30
    scene.loses_session()
    begin = scene.goes_on()
    assert (ids(begin.history), begin.owed) == (["item_g"], ())
    assert scene.wait(60) == []
    assert not scene.talk.busy


def test_when_the_caller_spoke_it_hears_that_turn_from_its_beginning_and_nothing_is_asked_for() -> None:
    scene = greeted()
    scene.now += 10
    began_at = scene.now
    scene.floor(Floor.CALLER)
    scene.now += 3
    scene.loses_session()
    assert scene.talk.unheard_turn
    assert scene.talk.unanswered_since == began_at - PREFIX_SECONDS
    begin = scene.goes_on()
    assert (ids(begin.history), begin.owed) == (["item_g"], ())


def test_when_the_caller_had_spoken_and_nobody_has_the_words_it_hears_that_turn_and_not_of_it() -> None:
    scene = greeted()
    began_at = scene.now
    scene.asks("item_u", None, "item_g")
    scene.loses_session()
    assert scene.talk.unanswered_since == began_at - PREFIX_SECONDS
    begin = scene.goes_on()
    assert (ids(begin.history), begin.owed) == (["item_g"], ())


def test_when_an_answer_was_due_and_the_words_are_known_it_is_asked_for() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.loses_session()
    begin = scene.goes_on()
    assert ids(begin.history) == ["item_g", "item_u"]
    (instructions,) = begin.owed
    assert "not answered yet" in (instructions or "")


def test_behind_keys_that_were_pressed_the_other_side_speaks_first() -> None:
    """A menu, mostly: whoever talks into it does not hear what it says next."""
    keys = Entry("item_t", "tool", "", "", 0, 0, tool=ToolUse("call_1", "send_digits", "{}", '"pressed"'))
    for listens_first in (True, False):
        talk = Talk(setup(history=(keys,), broke_off=True, listens_first=listens_first), 0.0)
        assert bool(talk.answered(0.0)) != listens_first
        begin, _ = talk.begin(0.0)
        assert bool(begin.owed) != listens_first


def test_when_an_answer_broke_off_and_was_played_out_it_goes_on_from_there() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "We open at nine in the morning.", "item_u")
    scene.loses_session()
    scene.now += 1.5
    scene.talk.heard(heard("item_a", 1500, 3000), to_the_end=False)
    scene.play(SILENT)
    begin = scene.goes_on()
    assert ids(begin.history) == ["item_g", "item_u", "item_a"]
    (instructions,) = begin.owed
    assert "You were about to say" in (instructions or "")


def test_while_the_phone_still_plays_of_an_answer_that_broke_off_nothing_is_said() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "We open at nine in the morning.", "item_u")
    scene.loses_session()
    begin = scene.goes_on()
    assert (ids(begin.history), begin.owed) == (["item_g", "item_u"], ())
    assert scene.talk.leftover() == []
    assert scene.wait(10) == []
    scene.talk.heard(heard("item_a", 1500, 3000), to_the_end=False)
    scene.play(SILENT)
    remember, respond = scene.talk.leftover()
    assert isinstance(remember, Remember)
    assert [(entry.item_id, entry.heard_ms) for entry in remember.entries] == [("item_a", 1500)]
    assert isinstance(respond, Respond)
    assert "about to say" in (respond.instructions or "")
    assert scene.talk.leftover() == []
    assert scene.wait(2) == [Filler()]


def test_an_answer_that_was_complete_and_still_plays_is_remembered_and_not_said_again() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "We open at nine.", "item_u")
    scene.floor(Floor.NOBODY)
    scene.loses_session()
    assert scene.goes_on().owed == ()
    scene.talk.heard(heard("item_a", 3000, 3000), to_the_end=True)
    scene.play(SILENT)
    (remember,) = scene.talk.leftover()
    assert isinstance(remember, Remember)
    assert remember.entries[0].heard_text == "We open at nine."
    assert scene.wait(60) == []
    assert not scene.talk.busy


def test_a_caller_who_interrupts_what_a_lost_session_was_saying_is_not_talked_over() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "We open at nine in the morning.", "item_u")
    scene.loses_session()
    scene.goes_on()
    scene.floor(Floor.CALLER)
    assert scene.talk.leftover() == []  # how much was heard, the phone tells in a moment
    scene.talk.cut_off((heard("item_a", 1200, 3000),))
    scene.play(SILENT)
    (remember,) = scene.talk.leftover()
    assert isinstance(remember, Remember)
    assert remember.entries[0].heard_ms == 1200


def test_a_noise_while_a_lost_sessions_words_still_play_does_not_end_the_answer() -> None:
    """In gated mode, the caller has the floor during a cough, and playback goes on."""
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "We open at nine in the morning.", "item_u")
    scene.loses_session()
    scene.goes_on()
    scene.floor(Floor.CALLER)
    scene.talk.leftover()
    scene.floor(Floor.NOBODY)
    scene.play(SILENT)
    assert [type(message) for message in scene.talk.leftover()] == [Remember]


def test_a_greeting_nobody_has_heard_any_of_is_given_again() -> None:
    """It may hold what the law requires to be said."""
    scene = Scene()
    scene.floor(Floor.ASSISTANT)
    scene.learn(
        realtime.ItemAdded("item_g", None, "assistant", "message"),
        realtime.AssistantTranscriptDelta("item_g", 0, "Hello"),
    )
    scene.loses_session()
    assert scene.goes_on().owed == (GREETING,)


def test_a_greeting_that_was_heard_in_part_is_continued_and_not_begun_again() -> None:
    scene = Scene()
    scene.begins_to_answer("item_g", "Hello there, this is the office.")
    scene.loses_session()
    scene.talk.heard(heard("item_g", 1500, 3000), to_the_end=False)
    scene.play(SILENT)
    (instructions,) = scene.goes_on().owed
    assert instructions != GREETING
    assert "Do not greet the caller again" in (instructions or "")


def test_while_a_function_runs_its_successor_knows_of_it_and_says_nothing() -> None:
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.calls("call_1")
    scene.floor(Floor.NOBODY)
    scene.loses_session()
    begin = scene.goes_on()
    assert begin.owed == ()
    assert begin.history[-1].tool == ToolUse("call_1", "look_up", "{}")
    assert scene.talk.busy


def test_a_function_that_ended_while_there_was_no_session_is_told_of_by_the_next_one() -> None:
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.calls("call_1")
    scene.floor(Floor.NOBODY)
    scene.loses_session()
    scene.take(scene.talk.tool_answered("call_1", '"42"', True, scene.now))
    begin = scene.goes_on()
    assert begin.history[-1].tool == ToolUse("call_1", "look_up", "{}", '"42"')
    (instructions,) = begin.owed
    assert "result of your last function call" in (instructions or "")


# MCP servers


def calls_an_mcp_server() -> Scene:
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.learn(realtime.McpCall("resp_m", "item_m"))
    scene.take(scene.talk.mcp_call(scene.now))
    scene.floor(Floor.NOBODY)
    return scene


def test_while_an_mcp_server_works_the_caller_hears_fillers_and_nothing_worse_is_done() -> None:
    scene = calls_an_mcp_server()
    assert scene.talk.busy
    assert set(scene.wait(MCP_SECONDS - 3)) == {Filler()}
    scene.learn(realtime.McpCallEnded("item_m"))
    scene.take(scene.talk.mcp_call_ended(scene.now))
    scene.answers("item_a", "At nine.", "item_u")
    assert not scene.talk.busy
    assert Recover() not in scene.wait(60)


def test_an_mcp_server_that_never_answers_is_not_waited_for_for_ever() -> None:
    scene = calls_an_mcp_server()
    assert Recover() in scene.wait(MCP_SECONDS + 10)


def test_what_an_mcp_server_was_doing_is_lost_with_its_session_and_the_next_one_answers() -> None:
    scene = calls_an_mcp_server()
    scene.loses_session()
    (instructions,) = scene.goes_on().owed
    assert "answer them now" in (instructions or "")


# What a session has to hear again


def test_a_turn_whose_words_are_known_is_not_heard_again() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    assert not scene.talk.unheard_turn


def test_words_of_the_turn_before_do_not_stand_for_those_of_the_turn_that_goes_on() -> None:
    scene = greeted()
    scene.asks("item_u1", None, "item_g")
    scene.floor(Floor.CALLER)
    scene.learn(realtime.CallerTranscript("item_u1", "And another thing"))
    assert scene.talk.unheard_turn


def test_a_turn_without_words_needs_no_hearing_once_its_answer_was_heard() -> None:
    """Where nothing is transcribed, or a transcription never comes."""
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.answers("item_a", "At nine.", "item_u")
    assert not scene.talk.unheard_turn
    scene.now += 60
    scene.loses_session()
    assert scene.goes_on().owed == ()
    assert scene.wait(60) == []


def test_a_turn_without_words_is_not_heard_again_while_a_long_answer_to_it_plays() -> None:
    """It would cut that answer off, and begin another."""
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.begins_to_answer("item_a", "We open at nine in the morning.", "item_u")
    scene.talk.heard(heard("item_a", 500, 3000), to_the_end=False)
    scene.loses_session()
    assert scene.goes_on().owed == ()
    scene.play(SILENT)
    assert [type(message) for message in scene.talk.leftover()] == [Remember, Respond]


def test_a_turn_without_words_is_heard_again_where_hardly_anything_of_its_answer_had_come() -> None:
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.begins_to_answer("item_a", "We", "item_u")
    scene.talk.heard(heard("item_a", 500, 600), to_the_end=False)
    scene.loses_session()
    assert ids(scene.goes_on().history) == ["item_g"]
    scene.play(SILENT)
    assert scene.talk.leftover() == []


def test_a_turn_whose_transcription_failed_is_asked_for_again() -> None:
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.learn(realtime.CallerTranscript("item_u", None))
    scene.loses_session()
    (instructions,) = scene.goes_on().owed
    assert "inaudible" in (instructions or "")


def test_a_noise_that_was_nothing_leaves_no_turn_to_hear() -> None:
    scene = greeted()
    scene.floor(Floor.CALLER)
    scene.learn(realtime.AudioCommitted("item_n", "item_g"), realtime.ItemDeleted("item_n"))
    scene.floor(Floor.NOBODY)
    assert not scene.talk.unheard_turn


def test_a_turn_that_is_heard_again_begins_where_it_began_and_not_where_it_was_noticed_again() -> None:
    scene = greeted()
    began_at = scene.now
    scene.floor(Floor.CALLER)
    scene.now += 4
    scene.loses_session()
    scene.goes_on()
    scene.floor(Floor.CALLER)  # the new session hears what was kept
    scene.loses_session()
    assert scene.talk.unanswered_since == began_at - PREFIX_SECONDS


def test_a_session_that_makes_nothing_of_a_turn_that_it_heard_again_is_not_followed_by_one_like_it() -> None:
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.talk.session_silent()  # it has been heard once only: another session may do better
    scene.loses_session()
    assert scene.goes_on().owed == ()
    scene.talk.session_silent()
    scene.loses_session(again=True)
    begin = scene.goes_on()
    assert ids(begin.history) == ["item_g", "item_u"]
    assert "ask the caller in a few words to say them again" in (begin.owed[0] or "")


def test_a_turn_that_is_heard_again_stands_in_the_conversation_once() -> None:
    scene = greeted()
    scene.asks("item_u", None, "item_g")
    scene.loses_session()
    scene.goes_on()
    scene.asks("item_v", "When do you open?", "item_g")
    assert ids(scene.talk.conversation.entries) == ["item_g", "item_v"]


def test_what_a_new_session_adds_comes_behind_what_was_said_before() -> None:
    """To the session, its first item is the first of all."""
    scene = greeted()
    scene.loses_session()
    scene.goes_on()
    scene.asks("item_u", "When do you open?", "root")
    assert ids(scene.talk.conversation.entries) == ["item_g", "item_u"]


def test_whoever_takes_over_in_a_pause_hears_what_came_since_the_last_sign_of_life() -> None:
    scene = greeted()
    alive_at = scene.now - 3  # the floor changed before the answer was played
    scene.now += 20
    assert scene.talk.unanswered_since == alive_at


# Silences


def test_the_caller_is_not_interrupted_by_what_is_done_about_silences() -> None:
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.calls("call_1")
    scene.floor(Floor.CALLER)
    scene.take(scene.talk.tool_answered("call_1", "1", True, scene.now))
    scene.take(scene.talk.reply_due(scene.now))
    assert scene.wait(60) == []


def test_speech_that_a_lost_session_did_not_notice_has_been_waiting_for_its_answer() -> None:
    scene = greeted()
    scene.now += 20
    scene.talk.speech_unnoticed(0.8, scene.now)
    scene.now += 1
    scene.loses_session()
    assert scene.talk.unanswered_since <= scene.now - KEPT_SECONDS
    scene.goes_on(0.1)
    assert scene.wait(0.25) == [Filler()]  # 2 s after the end of what was said


def test_speech_that_was_not_noticed_is_heard_again_whatever_else_the_session_said_meanwhile() -> None:
    scene = greeted()
    scene.now += 20
    scene.learn(realtime.AssistantTranscript("item_g", 0, "Hello there."))
    scene.now += 0.5
    scene.talk.speech_unnoticed(0.8, scene.now)
    scene.loses_session()
    assert scene.talk.unanswered_since == scene.now - 0.8 - KEPT_SECONDS


def test_a_noise_that_a_session_outlived_is_not_taken_for_a_caller_who_waits() -> None:
    scene = greeted()
    scene.talk.speech_unnoticed(0.8, scene.now)
    scene.now += 600
    scene.loses_session()
    assert scene.goes_on().owed == ()
    assert scene.wait(60) == []
    assert scene.talk.longest_silence_ms < 10_000


def test_sessions_that_are_lost_in_a_row_make_the_caller_wait() -> None:
    scene = greeted()
    scene.loses_session(again=True)
    assert scene.wait(2) == [Filler()]
    assert len(scene.goes_on().owed) == 1


def test_a_silence_is_answered_step_by_step_and_a_session_is_not_given_up_that_is_gone_already() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    assert scene.wait(4)[:2] == [Filler(), Recover()]
    scene.loses_session()
    done = scene.wait(4)
    assert Apologise() in done
    assert Recover() not in done


def test_a_function_that_takes_long_is_no_reason_for_a_new_session() -> None:
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.calls("call_1")
    scene.floor(Floor.NOBODY)
    assert set(map(type, scene.wait(20))) == {Filler}


# Pauses


def conversations() -> dict[str, Callable[[Scene], object]]:
    return {
        "the caller speaks": lambda scene: scene.floor(Floor.CALLER),
        "a reply is due": lambda scene: scene.floor(Floor.ASSISTANT),
        "a reply was asked for": lambda scene: scene.talk.reply_due(scene.now),
        "an answer plays": lambda scene: scene.play(PLAYING),
        "a filler plays": lambda scene: scene.play(Playback(assistant=False, sound=True)),
        "a function runs": lambda scene: scene.calls("call_1"),
    }


@pytest.mark.parametrize("going_on", conversations())
def test_there_is_no_pause_while_something_goes_on(going_on: str) -> None:
    scene = greeted()
    assert not scene.talk.busy
    conversations()[going_on](scene)
    assert scene.talk.busy


def test_an_answer_is_over_when_it_is_complete_and_has_been_heard() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.begins_to_answer("item_a", "At nine.", "item_u")
    scene.floor(Floor.NOBODY)
    assert scene.talk.busy
    scene.play(SILENT)
    assert not scene.talk.busy


def test_an_answer_may_be_complete_before_the_phone_has_told_that_it_plays() -> None:
    """They come to the call by different ways; in between there is no pause."""
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.learn(
        realtime.ItemAdded("item_a", "item_u", "assistant", "message"),
        realtime.AssistantTranscriptDelta("item_a", 0, "At"),
    )
    scene.floor(Floor.NOBODY)
    assert scene.talk.busy
    scene.play(PLAYING)
    assert scene.talk.busy
    scene.learn(realtime.AssistantTranscript("item_a", 0, "At nine."))
    scene.play(SILENT)
    assert not scene.talk.busy


def test_an_answer_whose_voice_never_comes_is_a_silence() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.learn(
        realtime.ItemAdded("item_a", "item_u", "assistant", "message"),
        realtime.AssistantTranscript("item_a", 0, "At nine."),
    )
    scene.floor(Floor.NOBODY)
    assert scene.wait(2) == [Filler()]


def test_a_text_that_comes_behind_its_voice_is_not_waited_for() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.learn(realtime.ItemAdded("item_a", "item_u", "assistant", "message"))
    scene.play(PLAYING)
    scene.play(SILENT)
    scene.learn(realtime.AssistantTranscript("item_a", 0, "At nine."))
    scene.floor(Floor.NOBODY)
    assert not scene.talk.busy


def test_an_answer_that_is_complete_and_of_which_nothing_was_heard_is_a_silence() -> None:
    """A response may be complete without any words; the caller waits for the answer all the same."""
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.floor(Floor.NOBODY)
    assert scene.talk.busy
    assert scene.wait(4)[:2] == [Filler(), Recover()]


def test_the_answer_to_a_functions_output_of_which_nothing_was_heard_is_a_silence() -> None:
    """What was said before the function was called is no answer."""
    scene = greeted()
    scene.asks("item_u", "Look it up", "item_g")
    scene.begins_to_answer("item_a", "One moment.", "item_u")
    scene.calls("call_1")
    scene.floor(Floor.NOBODY)
    scene.talk.heard(heard("item_a", 700, 700), to_the_end=True)
    scene.play(SILENT)
    scene.take(scene.talk.tool_answered("call_1", "1", True, scene.now))
    scene.floor(Floor.ASSISTANT)
    scene.floor(Floor.NOBODY)
    assert Filler() in scene.wait(3)


def test_an_answer_that_was_cut_off_before_it_was_heard_is_no_silence() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.talk.cut_off((heard("item_a", 0, 600),))
    scene.floor(Floor.NOBODY)
    assert not scene.talk.busy


def test_an_answer_that_broke_off_is_not_complete_because_its_voice_is_heard_late() -> None:
    scene = greeted()
    scene.asks("item_u", "When do you open?", "item_g")
    scene.learn(
        realtime.ItemAdded("item_a", "item_u", "assistant", "message"),
        realtime.AssistantTranscriptDelta("item_a", 0, "We open"),
    )
    scene.loses_session()
    scene.play(PLAYING)
    scene.talk.heard(heard("item_a", 500, 500), to_the_end=False)
    scene.play(SILENT)
    assert len(scene.goes_on().owed) == 1


@pytest.mark.parametrize("broke_off", [True, False])
def test_a_caller_whose_words_died_with_a_process_is_not_waited_for(broke_off: bool) -> None:
    """Both would wait for each other."""
    history = (said("a", "How can I help?"),)
    talk = Talk(setup(history=history, broke_off=broke_off), 0.0)
    assert bool(talk.answered(0.0)) == broke_off


# A greeting that is kept from another call


class KeptGreetingScene(Scene):
    """The phone has been given the greeting at once, and no session is ready yet."""

    def goes_on(self, seconds: float = 0.5) -> Begin:
        if seconds:
            return super().goes_on(seconds)
        assert self.talk.at_the_beginning
        self.learn(
            realtime.ItemAdded("item_g", None, "assistant", "message"),
            realtime.AssistantTranscript("item_g", 0, "Hello there, this is Tailwind."),
        )
        self.talk.conversation.received(heard("item_g", 0, 3000).part, 3000)
        self.take(self.talk.greeted("item_g", self.now))
        return Begin()

    def heard_out(self) -> None:
        self.talk.heard(heard("item_g", 3000, 3000), to_the_end=True)
        self.play(SILENT)


def test_a_session_takes_the_kept_greeting_to_have_been_said_and_does_not_greet() -> None:
    scene = KeptGreetingScene()
    begin = scene.goes_on()
    assert (begin.history, begin.owed) == ((), ())
    assert begin.playing is not None
    assert begin.playing.text == "Hello there, this is Tailwind."
    scene.now += 3
    scene.heard_out()
    assert scene.talk.leftover() == []
    assert scene.wait(60) == []
    assert not scene.talk.busy


def test_a_kept_greeting_that_was_heard_out_is_history_for_the_session_that_comes_late() -> None:
    scene = KeptGreetingScene()
    scene.now += 3
    scene.heard_out()
    begin = scene.goes_on()
    assert [entry.heard_text for entry in begin.history] == ["Hello there, this is Tailwind."]
    assert (begin.owed, begin.playing) == ((), None)
    assert scene.wait(60) == []


def test_a_session_learns_how_much_of_the_kept_greeting_was_heard_when_it_is_cut_off() -> None:
    scene = KeptGreetingScene()
    scene.goes_on()
    scene.floor(Floor.CALLER)
    assert scene.talk.leftover() == []
    scene.talk.cut_off((heard("item_g", 1500, 3000),))
    scene.play(SILENT)
    (less,) = scene.talk.leftover()
    assert isinstance(less, HeardLess)
    assert (less.entry.heard_ms, less.entry.heard_text) == (1500, "Hello there,")
    assert scene.talk.leftover() == []


def test_each_session_that_takes_over_while_the_kept_greeting_plays_is_told_of_it() -> None:
    scene = KeptGreetingScene()
    scene.goes_on()
    scene.loses_session()
    begin = scene.goes_on()
    assert begin.playing is not None
    scene.heard_out()
    assert scene.talk.leftover() == []


def test_a_caller_who_waits_for_a_session_behind_the_kept_greeting_hears_something() -> None:
    scene = KeptGreetingScene()
    scene.heard_out()
    scene.loses_session(again=True)
    assert scene.wait(2) == [Filler()]


@pytest.mark.parametrize("differences", [{"broke_off": True}, {"history": (said("item_g", "Hello."),)}])
def test_a_call_that_goes_on_is_not_at_its_beginning(differences: dict[str, Any]) -> None:
    assert not Talk(setup(**differences), 100.0).at_the_beginning
