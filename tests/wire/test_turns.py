"""The sequencer: a table of what happens in calls, and a strict server that anything may happen to."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wire.realtime import Error
from wire.turns import (
    AFTERWORDS,
    BACKOFF_SECONDS,
    DECLINE,
    EMPTY,
    EMPTY_IN_A_ROW,
    FINISH,
    SERVER_ANSWER_SECONDS,
    UNANSWERED,
    UNEXPLAINED,
    Ask,
    Command,
    GiveUp,
    Remind,
    Said,
    Turns,
)

GREETING = "Greet the caller."
GOODBYE = "Say goodbye."
STILL_THERE = "Ask whether the caller is still there."
ACTIVE = Error("invalid_request_error", "conversation_already_has_active_response", "")
BUSY = Error("rate_limit_exceeded", "rate_limit_exceeded", "Rate limit reached.")
BROKE = Error("insufficient_quota", "insufficient_quota", "You exceeded your current quota.")
MALFORMED = Error("invalid_request_error", "bad_response_create", "No.")

Step = tuple[float, Callable[[Turns, float], list[Command]], list[Command]]


def owe(instructions: str | None) -> Callable[[Turns, float], list[Command]]:
    return lambda turns, now: turns.owe(instructions, now)


def created(response_id: str) -> Callable[[Turns, float], list[Command]]:
    return lambda turns, now: turns.response_created(response_id, now)


def done(
    response_id: str, status: str = "completed", why: Any = ""
) -> Callable[[Turns, float], list[Command]]:
    """`why` is the reason, or the error of one that failed."""
    reason, error = ("", why) if isinstance(why, Error) else (why, None)
    return lambda turns, now: turns.response_done(response_id, status, reason, error, now)


def said_nothing(response_id: str) -> Callable[[Turns, float], list[Command]]:
    return lambda turns, now: turns.response_done(response_id, "completed", "", None, now, empty=True)


def unheard(response_id: str) -> Callable[[Turns, float], list[Command]]:
    """It was cancelled before there was a sound of it."""
    return lambda turns, now: turns.response_done(response_id, "cancelled", "", None, now, empty=True)


def must(instructions: str) -> Callable[[Turns, float], list[Command]]:
    return lambda turns, now: turns.owe(instructions, now, must=True)


def refused(error: Error) -> Callable[[Turns, float], list[Command]]:
    return lambda turns, now: turns.refused(error, now)


started, stopped, due = Turns.speech_started, Turns.speech_stopped, Turns.due
false_start, go_deaf = Turns.false_start, Turns.go_deaf


def asks(instructions: str | None) -> list[Command]:
    return [Ask(instructions), Remind(5.0)]


SERVER_ANSWERS: dict[str, list[Step]] = {
    "the greeting is asked for at once": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, created("r1"), []),
        (2.0, done("r1"), []),
    ],
    "a caller who speaks is answered by the server and nothing is asked for": [
        (0.0, started, []),
        (1.0, stopped, []),
        (1.0, created("r1"), []),
        (2.0, done("r1"), []),
    ],
    "a tool's result waits for the end of the response that called the tool": [
        (0.0, created("r1"), []),
        (1.0, owe(None), []),
        (1.5, done("r1"), asks(None)),
        (1.75, created("r2"), []),
        (2.0, done("r2"), []),
    ],
    "two tools' results wait for one response": [
        (0.0, created("r1"), []),
        (1.0, owe(None), []),
        (1.25, owe(None), []),
        (1.5, done("r1"), asks(None)),
        (1.75, created("r2"), []),
        (2.0, done("r2"), []),
    ],
    "a result that comes after the question needs a response of its own": [
        (0.0, owe(None), asks(None)),
        (0.25, owe(None), []),
        (0.5, created("r1"), []),
        (1.0, done("r1"), asks(None)),
    ],
    "different requests are asked for one after the other": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, owe(None), []),
        (0.0, owe(STILL_THERE), []),
        (0.25, created("r1"), []),
        (1.0, done("r1"), asks(None)),
        (1.25, created("r2"), []),
        (2.0, done("r2"), asks(STILL_THERE)),
    ],
    "nothing is asked for while the caller speaks nor before the server has answered": [
        (0.0, started, []),
        (0.5, owe(None), []),
        (0.5, due, []),
        (0.75, stopped, [Remind(3.0)]),
        (1.0, due, [Remind(2.75)]),
    ],
    "what was owed before the server's answer began is moot when that has ended": [
        (0.0, started, []),
        (0.5, owe(None), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, stopped, [Remind(3.0)]),
        (1.25, created("r1"), []),
        (2.0, done("r1"), []),
    ],
    "what was owed just before the server's answer began may not be known to it and is asked for": [
        (0.0, started, []),
        (1.0, stopped, []),
        (1.0, owe(None), [Remind(3.0)]),
        (1.125, created("r1"), []),
        (2.0, done("r1"), asks(None)),
    ],
    "what was owed is asked for when the server's answer to the caller was cancelled": [
        (0.0, started, []),
        (0.0, owe(None), []),
        (1.0, stopped, [Remind(3.0)]),
        (1.0, created("r1"), []),
        (1.5, started, []),
        (1.5, done("r1", "cancelled", "turn_detected"), []),
        (2.0, stopped, [Remind(3.0)]),
        (5.0, due, asks(None)),
    ],
    "the server is not waited for without end": [
        (0.0, started, []),
        (1.0, stopped, []),
        (2.0, owe(None), [Remind(2.0)]),
        (4.0, due, asks(None)),
    ],
    "a reminder that comes too early is renewed and one that comes too late is harmless": [
        (0.0, stopped, []),
        (0.0, owe(None), [Remind(3.0)]),
        (2.875, due, [Remind(0.125)]),
        (3.0, due, asks(None)),
        (3.0, created("r1"), []),
        (3.25, due, []),
    ],
    "a response that the caller interrupted is not owed": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, created("r1"), []),
        (1.0, started, []),
        (1.0, done("r1", "cancelled", "turn_detected"), []),
        (2.0, stopped, []),
    ],
    "a response that we cancelled is not owed but what else was owed is": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, created("r1"), []),
        (0.5, owe(None), []),
        (1.0, done("r1", "cancelled", "client_cancelled"), asks(None)),
    ],
    "a greeting that failed is asked for again in the same words": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, created("r1"), []),
        (0.5, done("r1", "failed", BUSY), [Remind(0.5)]),
        (1.0, due, asks(GREETING)),
        (1.0, created("r2"), []),
        (2.0, done("r2"), []),
    ],
    "an answer of the server's that failed is asked for without instructions": [
        (0.0, stopped, []),
        (0.0, created("r1"), []),
        (0.5, done("r1", "failed", BUSY), [Remind(0.5)]),
        (1.0, due, asks(None)),
    ],
    "a failed response is asked for three times more and then the model is given up": [
        (0.0, owe(None), asks(None)),
        (0.0, created("r1"), []),
        (0.0, done("r1", "failed", BUSY), [Remind(0.5)]),
        (0.5, due, asks(None)),
        (0.5, created("r2"), []),
        (0.5, done("r2", "failed", BUSY), [Remind(1.0)]),
        (1.5, due, asks(None)),
        (1.5, created("r3"), []),
        (1.5, done("r3", "failed", None), [Remind(2.0)]),
        (3.5, due, asks(None)),
        (3.5, created("r4"), []),
        (3.5, done("r4", "failed"), [GiveUp(UNEXPLAINED)]),
        (4.0, owe(None), []),
        (9.0, due, []),
        (9.0, done("r5", "failed"), []),
    ],
    "a response that worked forgives the failures before it": [
        (0.0, owe(None), asks(None)),
        (0.0, done("r1", "failed", BUSY), [Remind(0.5)]),
        (0.5, due, asks(None)),
        (0.5, done("r2", "failed", BUSY), [Remind(1.0)]),
        (1.5, due, asks(None)),
        (1.5, done("r3"), []),
        (2.0, owe(None), asks(None)),
        (2.0, done("r4", "failed", BUSY), [Remind(0.5)]),
    ],
    "a server that answers the caller ends the pause": [
        (0.0, stopped, []),
        (0.0, created("r1"), []),
        (0.0, done("r1", "failed", BUSY), [Remind(0.5)]),
        (0.25, started, []),
        (0.25, owe(STILL_THERE), []),
        (0.375, stopped, [Remind(3.0)]),
        (0.375, created("r2"), []),
        (0.4375, done("r2"), asks(STILL_THERE)),
    ],
    "an answer that says nothing is asked for twice more and then the model is given up": [
        (0.0, stopped, []),
        (0.25, created("r1"), []),
        (1.0, said_nothing("r1"), asks(None)),
        (1.25, created("r2"), []),
        (2.0, said_nothing("r2"), asks(None)),
        (2.25, created("r3"), []),
        (3.0, said_nothing("r3"), [GiveUp(EMPTY)]),
    ],
    "a greeting that says nothing is asked for again in the same words before anything else": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, created("r1"), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, said_nothing("r1"), asks(GREETING)),
        (1.25, created("r2"), []),
        (2.0, done("r2"), asks(STILL_THERE)),
    ],
    "a response that says something forgives those before it that did not": [
        (0.0, owe(None), asks(None)),
        (0.25, said_nothing("r1"), asks(None)),
        (0.5, said_nothing("r2"), asks(None)),
        (0.75, done("r3"), []),
        (1.0, owe(None), asks(None)),
        (1.25, said_nothing("r4"), asks(None)),
        (1.5, said_nothing("r5"), asks(None)),
    ],
    "an answer that says nothing is moot when the caller has spoken again and was answered": [
        (0.0, stopped, []),
        (0.25, created("r1"), []),
        (0.5, started, []),
        (1.0, said_nothing("r1"), []),
        (2.0, stopped, [Remind(3.0)]),
        (2.0, created("r2"), []),
        (3.0, done("r2"), []),
    ],
    "one that the caller cut off before it said anything is not owed": [
        (0.0, owe(None), asks(None)),
        (0.0, created("r1"), []),
        (0.5, started, []),
        (0.5, lambda turns, now: turns.response_done("r1", "cancelled", "", None, now, empty=True), []),
        (1.0, stopped, []),
    ],
    "where nothing was left to be finished nothing more is asked for": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "max_output_tokens"), asks(FINISH)),
        (1.0, created("r2"), []),
        (2.0, said_nothing("r2"), []),
    ],
    "a goodbye that must be said is said although the caller has spoken meanwhile and was answered": [
        (0.0, started, []),
        (0.5, must(GOODBYE), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, stopped, [Remind(3.0)]),
        (1.25, created("r1"), []),
        (2.0, done("r1"), asks(GOODBYE)),
        (2.25, created("r2"), []),
        (3.0, done("r2"), [Said(GOODBYE)]),
    ],
    "what must be said stays so when it is owed again": [
        (0.0, started, []),
        (0.25, must(GOODBYE), []),
        (0.5, owe(GOODBYE), []),
        (1.0, stopped, [Remind(3.0)]),
        (1.25, created("r1"), []),
        (2.0, done("r1"), asks(GOODBYE)),
    ],
    "a quota that is used up is given up at once": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, created("r1"), []),
        (0.5, done("r1", "failed", BROKE), [GiveUp(BROKE)]),
        (0.5, started, []),
    ],
    "nothing else is asked for in the pause after a failure": [
        (0.0, created("r1"), []),
        (0.0, done("r1", "failed", BUSY), [Remind(0.5)]),
        (0.25, owe(STILL_THERE), []),
        (0.5, due, asks(None)),
        (0.5, created("r2"), []),
        (1.0, done("r2"), asks(STILL_THERE)),
    ],
    "a sentence that was cut short is finished once": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "max_output_tokens"), asks(FINISH)),
        (1.0, created("r2"), []),
        (2.0, done("r2", "incomplete", "max_output_tokens"), []),
    ],
    "the next sentence that is cut short is finished too": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "max_output_tokens"), asks(FINISH)),
        (1.0, created("r2"), []),
        (2.0, done("r2"), []),
        (3.0, created("r3"), []),
        (4.0, done("r3", "incomplete", "max_output_tokens"), asks(FINISH)),
    ],
    "what was filtered is spoken about once": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "content_filter"), asks(DECLINE)),
        (1.0, created("r2"), []),
        (2.0, done("r2", "incomplete", "content_filter"), []),
    ],
    "filtered and cut short in turns does not go on for ever": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "content_filter"), asks(DECLINE)),
        (1.0, created("r2"), []),
        (2.0, done("r2", "incomplete", "max_output_tokens"), asks(FINISH)),
        (2.0, created("r3"), []),
        (3.0, done("r3", "incomplete", "content_filter"), []),
    ],
    "incomplete for a reason nobody knows is no loop either": [
        (0.0, created("r1"), []),
        (1.0, done("r1", "incomplete", "boredom"), []),
        (1.0, created("r2"), []),
        (1.5, done("r2", "novel"), []),
    ],
    "a sentence that was cut short is not finished once the caller has been answered": [
        (0.0, created("r1"), []),
        (0.5, started, []),
        (1.0, done("r1", "incomplete", "max_output_tokens"), []),
        (2.0, stopped, [Remind(3.0)]),
        (2.0, created("r2"), []),
        (3.0, done("r2"), []),
    ],
    "a refused request is still owed and is asked for when the active response ends": [
        (0.0, owe(None), asks(None)),
        (0.0, started, []),
        (0.125, stopped, []),
        (0.125, created("r1"), []),
        (0.1875, refused(ACTIVE), []),
        (1.0, done("r1"), asks(None)),
        (1.25, created("r2"), []),
        (2.0, done("r2"), []),
    ],
    "a request refused for a response we never heard of is asked for when that ends": [
        (0.0, owe(None), asks(None)),
        (0.25, refused(ACTIVE), [Remind(3.0)]),
        (1.0, done("r1"), asks(None)),
    ],
    "a request refused for a response that never shows is asked for after a while": [
        (0.0, owe(None), asks(None)),
        (0.25, refused(ACTIVE), [Remind(3.0)]),
        (3.25, due, asks(None)),
    ],
    "a request refused for another reason counts as failed": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, refused(MALFORMED), [Remind(0.5)]),
        (0.75, due, asks(GREETING)),
        (1.0, refused(MALFORMED), [Remind(1.0)]),
        (2.0, due, asks(GREETING)),
        (2.25, refused(MALFORMED), [Remind(2.0)]),
        (4.25, due, asks(GREETING)),
        (4.5, refused(MALFORMED), [GiveUp(MALFORMED)]),
    ],
    "a refusal that means the end is the end": [
        (0.0, refused(BROKE), [GiveUp(BROKE)]),
    ],
    "a refusal that nobody asked for is ignored": [
        (0.0, refused(MALFORMED), []),
        (0.0, refused(ACTIVE), []),
        (0.0, created("r1"), []),
        (0.0, refused(ACTIVE), []),
        (1.0, done("r1"), []),
    ],
    "a turn that the server could not answer because ours was active is answered after that": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, created("r1"), []),
        (0.5, started, []),
        (1.0, stopped, []),
        (1.0, refused(ACTIVE), []),
        (2.0, done("r1"), asks(None)),
    ],
    "a late answer of the server's that was taken for ours is put right by the refusal": [
        (0.0, stopped, []),
        (0.0, owe(GREETING), [Remind(3.0)]),
        (3.0, due, asks(GREETING)),
        (3.0, created("r1"), []),
        (3.125, refused(ACTIVE), []),
        (4.0, done("r1", "failed"), [Remind(0.5)]),
        (4.5, due, asks(None)),
        (4.5, created("r2"), []),
        (5.0, done("r2"), asks(GREETING)),
    ],
    "a request that is never answered is made again and in the end given up": [
        (0.0, owe(GREETING), asks(GREETING)),
        (5.0, due, [Remind(0.5)]),
        (5.5, due, asks(GREETING)),
        (10.5, due, [Remind(1.0)]),
        (11.5, due, asks(GREETING)),
        (16.5, due, [Remind(2.0)]),
        (18.5, due, asks(GREETING)),
        (23.5, due, [GiveUp(UNANSWERED)]),
    ],
    "a request that crossed the caller's turn is not taken for answered by the server's answer to that": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, started, []),
        (0.0, owe(STILL_THERE), []),
        (1.0, stopped, []),
        (1.0, created("r1"), []),
        (2.0, done("r1"), []),
        (2.0, created("r2"), []),
        (3.0, done("r2"), asks(STILL_THERE)),
    ],
    "an end without a beginning is the end of what was asked for": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, done("r1", "failed", BUSY), [Remind(0.5)]),
        (0.5, created("r1"), []),
        (0.75, due, asks(GREETING)),
    ],
    "an end without a beginning is the end of what the server was to answer": [
        (0.0, started, []),
        (1.0, stopped, []),
        (1.5, done("r1", "failed", BUSY), [Remind(0.5)]),
        (2.0, due, asks(None)),
    ],
    "a cancelled response that was never told of is not the one that is to come": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.25, done("r0", "cancelled", "turn_detected"), []),
        (0.25, created("r1"), []),
        (0.5, done("r1", "failed"), [Remind(0.5)]),
        (1.0, due, asks(GREETING)),
    ],
    "a second beginning and a second end are ignored": [
        (0.0, owe(None), asks(None)),
        (0.25, created("r1"), []),
        (0.25, created("r1"), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, done("r1"), asks(STILL_THERE)),
        (1.0, done("r1"), []),
        (1.0, done("r1", "failed", BROKE), []),
        (1.0, created("r1"), []),
        (1.25, created("r2"), []),
        (2.0, done("r2"), []),
    ],
    "the end of a stranger beside the active response changes nothing": [
        (0.0, created("r1"), []),
        (0.0, owe(None), []),
        (0.5, done("r0", "failed", BUSY), []),
        (1.0, done("r1"), asks(None)),
    ],
    "a beginning in place of an end makes the new response the active one": [
        (0.0, created("r1"), []),
        (0.0, owe(None), []),
        (0.125, created("r2"), []),
        (1.0, done("r2"), asks(None)),
        (1.0, done("r1", "failed", BROKE), []),
    ],
    "a result that joins the retry of an older one is not moot with that": [
        (0.0, owe(None), asks(None)),
        (0.0, created("r1"), []),
        (1.25, owe(None), []),
        (1.25, done("r1", "failed", BUSY), [Remind(0.5)]),
        (1.25, stopped, [Remind(3.0)]),
        (1.25, created("r2"), []),
        (2.0, done("r2"), asks(None)),
    ],
    "what waits keeps its place when it is owed again": [
        (0.0, created("r1"), []),
        (0.0, owe(GREETING), []),
        (0.0, owe(STILL_THERE), []),
        (0.0, owe(GREETING), []),
        (1.0, done("r1"), asks(GREETING)),
    ],
    "what must be said is said when the caller interrupts it": [
        (0.0, must(GOODBYE), asks(GOODBYE)),
        (0.0, created("r1"), []),
        (0.5, started, []),
        (0.5, done("r1", "cancelled"), [Said(GOODBYE)]),
    ],
    "what must be said is not said yet when it failed, and two that are equal are said at once": [
        (0.0, must(GOODBYE), asks(GOODBYE)),
        (0.0, must(GOODBYE), []),
        (0.0, created("r1"), []),
        (0.5, done("r1", "failed", BUSY), [Remind(0.5)]),
        (1.0, due, asks(GOODBYE)),
        (1.0, created("r2"), []),
        (1.5, said_nothing("r2"), asks(GOODBYE)),
        (1.5, created("r3"), []),
        (2.0, done("r3"), [Said(GOODBYE)]),
    ],
    "what must be said and was interrupted before a word of it is said behind what the caller says": [
        (0.0, must(GOODBYE), asks(GOODBYE)),
        (0.0, created("r1"), []),
        (0.5, started, []),
        (0.5, unheard("r1"), []),
        (1.0, stopped, [Remind(3.0)]),
        (1.25, created("r2"), []),
        (2.0, done("r2"), asks(GOODBYE)),
    ],
    "what need not be said and was interrupted before a word of it is not": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, created("r1"), []),
        (0.5, started, []),
        (0.5, unheard("r1"), []),
        (1.0, stopped, []),
    ],
    "what was owed when nobody listens any more is no longer": [
        (0.0, created("r1"), []),
        (0.25, owe(STILL_THERE), []),
        (0.25, must("Say that the shop closes."), []),
        (0.5, go_deaf, []),
        (0.5, must(GOODBYE), []),
        (0.75, owe(None), []),
        (1.0, done("r1", "cancelled"), asks(GOODBYE)),
        (1.0, created("ours"), []),
        (2.0, done("ours"), [Said(GOODBYE)]),
    ],
    "what must be said is not said to who does not listen any more, though it was begun": [
        (0.0, must(STILL_THERE), asks(STILL_THERE)),
        (0.0, created("r1"), []),
        (0.25, go_deaf, []),
        (0.25, must(GOODBYE), []),
        (0.5, unheard("r1"), asks(GOODBYE)),
    ],
    "a message for who does not listen any more is finished too": [
        (0.0, go_deaf, []),
        (0.0, must(GOODBYE), asks(GOODBYE)),
        (0.0, created("r1"), []),
        (0.5, done("r1", "incomplete", "max_output_tokens"), [Said(GOODBYE), *asks(FINISH)]),
    ],
    "what was asked for when nobody listens any more is not taken for what is asked for then": [
        (0.0, owe(STILL_THERE), asks(STILL_THERE)),
        (0.25, go_deaf, []),
        (0.25, must(GOODBYE), [Remind(4.75)]),
        (0.5, created("theirs"), []),
        (0.75, done("theirs", "cancelled"), asks(GOODBYE)),
        (1.0, created("ours"), []),
        (2.0, done("ours"), [Said(GOODBYE)]),
    ],
    "nor is it asked for again where it was refused": [
        (0.0, owe(STILL_THERE), asks(STILL_THERE)),
        (0.25, go_deaf, []),
        (0.25, must(GOODBYE), [Remind(4.75)]),
        (0.5, refused(ACTIVE), asks(GOODBYE)),
    ],
    "a turn that is heard of once nobody listens hinders nobody, and its answer is still expected": [
        (0.0, go_deaf, []),
        (0.0, must(GOODBYE), asks(GOODBYE)),
        (0.25, started, []),
        (0.5, stopped, []),
        (0.5, created("theirs"), []),
        (0.5, refused(ACTIVE), []),
        (0.75, done("theirs", "cancelled"), asks(GOODBYE)),
        (1.0, created("ours"), []),
        (2.0, done("ours"), [Said(GOODBYE)]),
    ],
    "what the server was about to answer when nobody listened any more is no answer of ours": [
        (0.0, stopped, []),
        (0.0, go_deaf, []),
        (0.0, must(GOODBYE), [Remind(3.0)]),
        (0.25, created("theirs"), []),
        (0.5, done("theirs", "cancelled"), asks(GOODBYE)),
    ],
}

WE_ANSWER: dict[str, list[Step]] = {
    "a turn's end owes a response": [
        (0.0, started, []),
        (1.0, stopped, asks(None)),
    ],
    "a turn's end during a response owes the next one": [
        (0.0, owe(GREETING), asks(GREETING)),
        (0.0, created("r1"), []),
        (1.0, started, []),
        (2.0, stopped, []),
        (3.0, done("r1"), asks(None)),
    ],
    "the answer to a turn goes before what else was owed and makes it moot": [
        (0.0, started, []),
        (0.5, owe(STILL_THERE), []),
        (0.5, owe(None), []),
        (1.0, stopped, asks(None)),
        (1.0, created("r1"), []),
        (1.5, owe("Say that nobody answers there."), []),
        (2.0, done("r1"), asks("Say that nobody answers there.")),
    ],
    "a tool's result that joins the answer to a turn leaves moot what was": [
        (0.0, created("r1"), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, stopped, []),
        (1.5, owe(None), []),
        (2.0, done("r1"), asks(None)),
        (2.0, created("r2"), []),
        (3.0, done("r2"), []),
    ],
    "an answer to a turn that failed is asked for again before anything else": [
        (0.0, stopped, asks(None)),
        (0.0, created("r1"), []),
        (0.5, owe(STILL_THERE), []),
        (1.0, done("r1", "failed", BUSY), [Remind(0.5)]),
        (1.5, due, asks(None)),
        (1.5, created("r2"), []),
        (2.0, done("r2"), asks(STILL_THERE)),
    ],
    "a false start owes nothing": [
        (0.0, started, []),
        (0.5, false_start, []),
    ],
    "a false start ends what kept a response waiting": [
        (0.0, started, []),
        (0.25, owe(None), []),
        (0.5, false_start, asks(None)),
        (0.75, created("r1"), []),
        (2.0, done("r1"), []),
    ],
    "a false start while the assistant answers changes nothing": [
        (0.0, stopped, asks(None)),
        (0.25, created("r1"), []),
        (0.5, started, []),
        (0.75, false_start, []),
        (2.0, done("r1"), []),
    ],
    "a turn behind a false start is answered": [
        (0.0, started, []),
        (0.5, false_start, []),
        (1.0, started, []),
        (2.0, stopped, asks(None)),
    ],
    "a turn is owed nothing once nobody listens": [
        (0.0, started, []),
        (0.25, go_deaf, []),
        (0.5, must(GOODBYE), asks(GOODBYE)),
        (0.75, created("ours"), []),
        (1.0, started, []),
        (1.5, stopped, []),
        (2.0, done("ours"), [Said(GOODBYE)]),
    ],
}


@pytest.mark.parametrize("steps", SERVER_ANSWERS.values(), ids=list(SERVER_ANSWERS))
def test_where_the_server_answers(steps: list[Step]) -> None:
    play(Turns(server_answers=True), steps)


@pytest.mark.parametrize("steps", WE_ANSWER.values(), ids=list(WE_ANSWER))
def test_where_we_answer(steps: list[Step]) -> None:
    play(Turns(server_answers=False), steps)


def play(turns: Turns, steps: list[Step]) -> None:
    for number, (now, act, expected) in enumerate(steps):
        assert act(turns, now) == expected, f"step {number} at {now} s"


def test_it_is_quiet_when_nothing_is_going_on() -> None:
    turns = Turns(server_answers=True)
    assert turns.quiet(0.0)
    turns.speech_started(0.0)
    assert not turns.quiet(0.0)
    turns.speech_stopped(1.0)
    assert not turns.quiet(1.0)
    assert turns.quiet(1.0 + SERVER_ANSWER_SECONDS)
    turns.response_created("r1", 4.0)
    turns.owe(None, 4.5)
    assert not turns.quiet(4.5)
    turns.response_done("r1", "completed", "", None, 5.0)
    assert not turns.quiet(5.0)
    turns.response_created("r2", 5.0)
    turns.response_done("r2", "completed", "", None, 6.0)
    assert turns.quiet(6.0)


def test_who_speaks_and_what_is_being_generated_is_known() -> None:
    turns = Turns(server_answers=False)

    def now() -> tuple[bool, bool]:
        return turns.speaking, turns.responding

    assert now() == (False, False)
    turns.speech_started(0.0)
    assert now() == (True, False)
    turns.speech_stopped(1.0)
    assert now() == (False, False)  # asked for is not begun
    turns.response_created("r1", 1.5)
    assert now() == (False, True)
    turns.speech_started(2.0)
    assert now() == (True, True)
    turns.false_start(2.5)
    assert now() == (False, True)
    turns.response_done("r1", "completed", "", None, 3.0)
    assert now() == (False, False)


def test_a_long_call_leaves_nothing_behind() -> None:
    turns = Turns(server_answers=True)
    for number in range(1000):
        turns.owe(f"Say {number}.", number)
        turns.response_created(f"r{number}", number)
        turns.response_done(f"r{number}", "completed", "", None, number)
    assert turns.quiet(1000.0)
    assert len(turns._ended) <= 64


# A strict server to compare with, behind a network that takes its time in both directions.


@dataclass(slots=True)
class Ticket:
    """One response owed, and when the server has come to know what it is about."""

    instructions: str | None
    since: float
    known: bool = False
    served: bool = False


@dataclass(slots=True)
class Running:
    """A response at the server, and the tickets that are served when it ends."""

    id: str
    serves: list[Ticket]
    instructions: str | None
    asked: bool


@dataclass(slots=True)
class View:
    """What had been told to the client: by this it is judged whether it may ask."""

    speaking: bool = False
    expected_until: float = float("-inf")
    active: set[str] = field(default_factory=set)
    turn_ended_at: float = float("-inf")
    failures: int = 0
    empty: int = 0


class Calls(RuleBasedStateMachine):
    """A call in which anything may happen at any time, and every reminder comes.

    With a network that takes no time, the server must never have to refuse what the client asks for. With one
    that takes its time, requests and events may cross; but whatever is owed is asked for in the end.
    """

    @initialize(one_way=st.sampled_from([0.0, 0.0, 0.02, 0.1]), server_answers=st.booleans())
    def call(self, one_way: float, server_answers: bool) -> None:
        self.one_way, self.server_answers = one_way, server_answers
        self.now = 1.0
        self.scheduled: list[tuple[float, int, Callable[[], object]]] = []
        self.number = 0
        self.turns = Turns(self.server_answers)
        self.view = View()
        self.tickets: list[Ticket] = []
        self.given_up = False
        self.speaking = False
        self.turn = 0
        self.active: Running | None = None
        self.failed: dict[str | None, list[Ticket]] = {}

    def at(self, delay: float, action: Callable[[], object]) -> None:
        self.number += 1
        heapq.heappush(self.scheduled, (self.now + delay, self.number, action))

    def send(self, arrive: Callable[[], object]) -> None:
        """Over the network, which keeps the order."""
        if self.one_way:
            self.at(self.one_way, arrive)
        else:
            arrive()

    def run_for(self, seconds: float) -> None:
        until = self.now + seconds
        while self.scheduled and self.scheduled[0][0] <= until:
            at, _, action = heapq.heappop(self.scheduled)
            self.now = max(self.now, at)
            action()
        self.now = until

    # The client's side.

    def tell(self, look: Callable[[View], object], act: Callable[[Turns, float], list[Command]]) -> None:
        """An event gets to the client: if not now, later."""

        def arrive() -> None:
            look(self.view)
            self.obey(act(self.turns, self.now))

        self.send(arrive)

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            assert not self.given_up
            match command:
                case Ask(instructions=instructions):
                    assert not self.view.speaking
                    assert not self.view.active
                    assert self.now >= self.view.expected_until
                    self.send(lambda words=instructions: self.create(words))  # type: ignore[misc]
                case Remind(seconds=seconds):
                    assert seconds > 0
                    self.at(seconds, lambda: self.obey(self.turns.due(self.now)))
                case GiveUp(error=error) if error == EMPTY:
                    assert self.view.empty > (EMPTY_IN_A_ROW if self.one_way == 0 else 0)
                    self.given_up = True
                case GiveUp(error=error):
                    failures = len(BACKOFF_SECONDS) + 1 if self.one_way == 0 else 1
                    assert error == BROKE or self.view.failures >= failures
                    self.given_up = True

    # The server's side.

    def create(self, instructions: str | None) -> None:
        if self.active is not None:
            assert self.one_way > 0, "the client asked while a response was active"
            self.refuse(lambda view: None)
            return
        assert self.one_way > 0 or not self.speaking
        # Where the server does not answer, a response without instructions answers the turn, as the server's would.
        turn_ended_at = self.view.turn_ended_at if instructions is None else float("-inf")
        serves = self.failed.pop(instructions, [])
        serves += [
            ticket
            for ticket in self.tickets
            if ticket.known and (ticket.instructions == instructions or ticket.since < turn_ended_at)
        ]
        self.begin(serves, instructions, asked=True)

    def answer(self) -> None:
        """The server's turn detection answers, or finds that it cannot."""
        if self.active is None:
            self.begin([ticket for ticket in self.tickets if ticket.known], None, asked=False)
        else:

            def look(view: View) -> None:
                view.expected_until = float("-inf")
                view.turn_ended_at = self.now

            self.refuse(look)

    def refuse(self, look: Callable[[View], object]) -> None:
        self.tell(look, refused(ACTIVE))

    def begin(self, serves: list[Ticket], instructions: str | None, asked: bool) -> None:
        assert self.active is None
        self.number += 1
        response = self.active = Running(f"resp_{self.number}", serves, instructions, asked)

        def look(view: View) -> None:
            view.active.add(response.id)
            view.expected_until = float("-inf")

        self.tell(look, created(response.id))

    def end(self, status: str, why: Any = "", empty: bool = False) -> None:
        assert self.active is not None
        response, self.active = self.active, None
        if status == "failed" or empty:
            self.failed.setdefault(response.instructions, []).extend(response.serves)
        elif status in ("completed", "incomplete") or (response.asked and status == "cancelled"):
            for ticket in response.serves:
                ticket.served = True

        def look(view: View) -> None:
            view.active.discard(response.id)
            view.failures += status == "failed"
            view.empty += empty
            if status in ("completed", "incomplete") and not empty:
                view.failures = view.empty = 0

        self.tell(look, said_nothing(response.id) if empty else done(response.id, status, why))

    # What may happen.

    @rule(instructions=st.sampled_from([None, None, GREETING, STILL_THERE]))
    def something_is_owed(self, instructions: str | None) -> None:
        ticket = Ticket(instructions, self.now)
        self.tickets.append(ticket)
        self.send(lambda: setattr(ticket, "known", True))
        self.obey(self.turns.owe(instructions, self.now))

    @precondition(lambda self: not self.speaking)
    @rule(interrupts=st.booleans())
    def the_caller_speaks(self, interrupts: bool) -> None:
        self.speaking = True
        self.turn += 1

        def look(view: View) -> None:
            view.speaking = True
            view.expected_until = float("-inf")

        self.tell(look, Turns.speech_started)
        if interrupts and self.active is not None:
            self.end("cancelled", "turn_detected")

    @precondition(lambda self: self.speaking)
    @rule(answered=st.sampled_from([True, True, True, False]), after=st.sampled_from([0.0, 0.0, 0.5, 4.0]))
    def the_caller_stops(self, answered: bool, after: float) -> None:
        self.speaking = False

        def look(view: View) -> None:
            view.speaking = False
            if self.server_answers:
                view.expected_until = self.now + SERVER_ANSWER_SECONDS
            else:
                view.turn_ended_at = self.now

        self.tell(look, Turns.speech_stopped)
        if self.server_answers and answered:
            turn = self.turn
            self.at(after, lambda: self.answer() if self.turn == turn else None)
            if not after:
                self.run_for(0)

    @precondition(lambda self: self.speaking and not self.server_answers)
    @rule()
    def it_was_a_false_start(self) -> None:
        self.speaking = False
        self.tell(lambda view: setattr(view, "speaking", False), Turns.false_start)

    @precondition(lambda self: self.active is not None)
    @rule()
    def the_response_completes(self) -> None:
        self.end("completed")

    @precondition(
        lambda self: self.active is not None and self.active.instructions not in AFTERWORDS.values()
    )
    @rule()
    def the_response_says_nothing(self) -> None:
        self.end("completed", empty=True)

    @precondition(lambda self: self.active is not None)
    @rule(error=st.sampled_from([BUSY, None]))
    def the_response_fails(self, error: Error | None) -> None:
        self.end("failed", error or "")

    @precondition(lambda self: self.active is not None)
    @rule(really=st.sampled_from([False] * 9 + [True]))
    def the_quota_is_used_up(self, really: bool) -> None:
        if really:
            self.end("failed", BROKE)

    @precondition(lambda self: self.active is not None)
    @rule(reason=st.sampled_from(list(AFTERWORDS)))
    def the_response_is_incomplete(self, reason: str) -> None:
        self.end("incomplete", reason)

    @precondition(lambda self: self.active is not None)
    @rule()
    def the_response_is_cancelled(self) -> None:
        self.end("cancelled", "client_cancelled")

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.25, 0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.run_for(seconds)

    @invariant()
    def what_goes_on_is_known_as_far_as_it_was_told(self) -> None:
        if hasattr(self, "turns"):
            assert self.turns.speaking is self.view.speaking
            assert self.turns.responding is bool(self.view.active)

    @invariant()
    def there_is_only_a_known_number_of_reminders(self) -> None:
        assert len(getattr(self, "scheduled", [])) < 200

    def teardown(self) -> None:
        """Once things are quiet, everything that was owed has been asked for, or has been answered on the way."""
        if not hasattr(self, "turns"):
            return
        if self.speaking:
            self.the_caller_stops(answered=True, after=0.0)
        for _ in range(100):
            self.run_for(1.0)
            if self.active is not None:
                self.end("completed")
            elif self.turns.quiet(self.now) and not self.scheduled:
                break
        if self.given_up:
            return
        assert self.turns.quiet(self.now)
        assert not self.scheduled
        assert [ticket for ticket in self.tickets if not ticket.served] == []


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=150, stateful_step_count=30)
