"""Who may ask for a response now: the only owner of `response.create`.

The server generates one response at a time, and with its own turn detection it starts some of them by itself. One
that is asked for in between is refused, and forgotten by whoever does not keep count. So what is owed waits here
until nothing stands in its way:

    stands in the way          from                            until
    the caller speaks          speech_started                  speech_stopped
    the server will answer     speech_stopped, refused         response_created, 3 s
    ours is not answered       Ask                             response_created, refused, 5 s (it failed)
    a response is active       response_created                response_done
    a pause                    a failure                       0.5, 1, 2 s; any response that works

    a response ends            what is owed for it
    completed, cancelled       nothing
    completed, but empty       the same again, twice in a row; then the model is given up
    cancelled, and empty       the same again, if it must be said
    incomplete                 a word about that, once in a row
    failed                     the same again, after a pause; or the model is given up

What is owed becomes moot when the caller has spoken and was answered by a response that began later: a tool's
result, say, was in that response's context. That is decided when the response ends, for a cancelled one says
nothing. What must be said, as a goodbye before we hang up, does not become moot.

Pure: time is an argument, in seconds of any clock that never goes back. Source: OpenAI Realtime reference, on
`response.create`, turn detection and function calling.
"""

from collections import deque
from dataclasses import dataclass, replace

from wire.errors import already_active, fatal
from wire.realtime import Error

SERVER_ANSWER_SECONDS = 3.0
"""How long the server may take to begin its answer to a turn that it has noticed the end of."""

UNANSWERED_SECONDS = 5.0
"""How long it may take to begin a response that it was asked for."""

BACKOFF_SECONDS = (0.5, 1.0, 2.0)
"""The pauses before a failed response is asked for again; after as many failures in a row there is no next time."""

EMPTY_IN_A_ROW = 2
"""How many responses in a row may say nothing and call nothing; with one more the model is given up."""

IN_FLIGHT_SECONDS = 0.25
"""A response which begins sooner than this after something was owed may have begun without knowing of it."""

FINISH = (
    "Your last answer was cut short. Finish its last sentence in a few words, in the same language, and stop."
)
DECLINE = "Say in one short sentence, in the language of the conversation, that you cannot help with that."
AFTERWORDS = {"max_output_tokens": FINISH, "content_filter": DECLINE}
"""What is asked for after an incomplete response, by its reason."""

UNANSWERED = Error("server_error", "", f"response.create was not answered in {UNANSWERED_SECONDS:.0f} s")
UNEXPLAINED = Error("server_error", "", "the response failed, and the server does not say why")
EMPTY = Error("server_error", "", "the responses are complete and say nothing")

NEVER = float("-inf")

ENDED_KEPT = 64
"""How many ended responses are remembered by id, to know what comes late or twice."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send `response.create` now."""

    instructions: str | None
    """in place of the session's, for this response; None: the session's"""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` after this many seconds. Reminders that have become pointless do no harm."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """What had to be said has been, to its end or until the caller interrupted it."""

    instructions: str | None
    """those that it was asked for with"""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The model cannot answer any more: the call goes to its fallback. Nothing is asked for after this."""

    error: Error


Command = Ask | Remind | Said | GiveUp


@dataclass(frozen=True, slots=True)
class _Owed:
    instructions: str | None
    since: float
    answers: float = NEVER
    """the end of the caller's turn that this answers: what was owed before it becomes moot"""
    must: bool = False
    """it never becomes moot"""


@dataclass(frozen=True, slots=True)
class _Response:
    id: str
    owed: _Owed | None
    """None: the server began it by itself"""
    moot_before: float
    """what has been owed since before this time needs no response of its own, once this one has ended"""


class Turns:
    """The responses of one model session. Not thread-safe: it belongs to the actor that writes the session."""

    def __init__(self, server_answers: bool) -> None:
        """`server_answers`: the server's turn detection begins a response at a turn's end (`create_response`)."""
        self._server_answers = server_answers
        self._owed: list[_Owed] = []
        self._speaking = False
        self._expected_until = NEVER
        self._asked: _Owed | None = None
        self._unanswered_at = 0.0
        self._active: _Response | None = None
        self._ended: deque[str] = deque(maxlen=ENDED_KEPT)
        self._failures = 0
        self._empty = 0
        self._pause_until = NEVER
        self._afterwords: set[str] = set()
        self._reminded_of: float | None = None
        self._hopeless: Error | None = None
        self._given_up = False
        self._deaf = False

    @property
    def speaking(self) -> bool:
        """Whether the caller speaks."""
        return self._speaking

    @property
    def responding(self) -> bool:
        """Whether a response is being generated."""
        return self._active is not None

    @property
    def asked_for(self) -> bool:
        """Whether the response that is being generated is one of ours, and not the server's own."""
        return self._active is not None and self._active.owed is not None

    def quiet(self, now: float) -> bool:
        """Whether the caller is silent, and no response is being generated, asked for, expected or owed."""
        return not self._owed and self._asked is None and not self._hindered(now)

    def owe(self, instructions: str | None, now: float, must: bool = False) -> list[Command]:
        """A response is owed as soon as it may be asked for. Equal ones that wait are one.

        `must`: also where the caller has spoken meanwhile and was answered.
        """
        self._put(_Owed(instructions, now, must=must))
        return self._commands(now)

    def speech_started(self, now: float) -> list[Command]:
        """The caller speaks."""
        self._speaking = not self._deaf
        return self._commands(now)

    def speech_stopped(self, now: float) -> list[Command]:
        """The caller's turn is over: the server answers it, or else we owe the answer."""
        self._speaking = False
        if self._server_answers:
            self._expected_until = now + SERVER_ANSWER_SECONDS
        else:
            self._put(_Owed(None, now, answers=now), first=True)
        return self._commands(now)

    def false_start(self, now: float) -> list[Command]:
        """What was taken for the caller's speech is over, and was nothing: no answer is owed for it."""
        self._speaking = False
        return self._commands(now)

    def go_deaf(self, now: float) -> list[Command]:
        """From now on the server is to notice no turn of the caller's any more, nor the end of one.

        Of one that it noticed before it knew that, we may still be told, and the answer to it may still begin. What
        was owed until now is no longer, and nothing that need not be said is owed from now on.
        """
        self._deaf = True
        self._speaking = False
        self._owed.clear()
        if self._active is not None:
            self._active = replace(self._active, owed=None)
        if self._asked is not None:
            # It was asked for before: what begins now is not what will be asked for next.
            self._asked = None
            self._expected_until = max(self._expected_until, self._unanswered_at)
        return self._commands(now)

    def response_created(self, response_id: str, now: float) -> list[Command]:
        """A response has begun: ours, or the server's own. One that is known already is ignored."""
        active = self._active
        if response_id not in self._ended and (active is None or active.id != response_id):
            if active is not None:
                self._ended.append(active.id)  # there is never more than one: we were not told of its end
            self._active = self._begin(response_id, now, began_at=now)
        return self._commands(now)

    def response_done(
        self,
        response_id: str,
        status: str,
        reason: str,
        error: Error | None,
        now: float,
        empty: bool = False,
    ) -> list[Command]:
        """A response has ended. It need not have begun, as far as we were told; a second end is ignored.

        `empty`: it had neither audio nor a function call.
        """
        response: _Response | None = None
        if self._active is not None and self._active.id == response_id:
            response, self._active = self._active, None
        elif self._active is None and response_id not in self._ended and status != "cancelled":
            # A cancelled one is what the caller interrupted at its beginning, and not the one that is to come.
            response = self._begin(response_id, now, began_at=NEVER)
        self._ended.append(response_id)
        if response is not None and status != "cancelled":
            self._settle(response, status, reason, error, now, empty)
        elif response is not None and response.owed is not None and response.owed.must and empty:
            self._put(response.owed, first=True)
        said = [] if response is None else self._said(response.owed)
        return [*said, *self._commands(now)]

    def refused(self, error: Error, now: float) -> list[Command]:
        """The server refused a `response.create`, ours or its own turn detection's.

        To be called with every error that `already_active` knows, and with others where they answer ours.
        """
        asked, self._asked = self._asked, None
        if not already_active(error):
            if asked is not None or fatal(error):
                self._failed(asked, error, now)
        elif asked is not None:
            self._put(asked, first=True)
            if self._active is None:
                # We were not told which response that is. It ends some time; perhaps we are not told that either.
                self._expected_until = now + SERVER_ANSWER_SECONDS
        elif now < self._expected_until:
            # Ours was active when the caller's turn ended, so that the server could not answer it.
            self._expected_until = NEVER
            self._put(_Owed(None, now, answers=now), first=True)
        elif self._active is not None and self._active.owed is not None:
            # What we took for ours was the server's, begun so late that it was no longer expected.
            self._put(self._active.owed, first=True)
            self._active = replace(self._active, owed=None)
        return self._commands(now)

    def due(self, now: float) -> list[Command]:
        """A reminder has come."""
        self._reminded_of = None
        return self._commands(now)

    def _begin(self, response_id: str, now: float, began_at: float) -> _Response:
        if self._asked is not None and now >= self._expected_until:
            asked, self._asked = self._asked, None
            return _Response(response_id, asked, asked.answers)
        # The server's own; while ours is not answered either, that is a guess, and makes nothing moot.
        self._expected_until = NEVER
        knows_of = NEVER if self._asked is not None else began_at - IN_FLIGHT_SECONDS
        return _Response(response_id, None, knows_of)

    def _said(self, owed: _Owed | None) -> list[Command]:
        """Behind the response that was asked for with it, unless it has to be asked for again."""
        if owed is None or not owed.must or self._hopeless is not None:
            return []
        again = any(waiting.instructions == owed.instructions for waiting in self._owed)
        return [] if again else [Said(owed.instructions)]

    def _settle(
        self, response: _Response, status: str, reason: str, error: Error | None, now: float, empty: bool
    ) -> None:
        self._owed = [owed for owed in self._owed if owed.must or owed.since >= response.moot_before]
        again = response.owed or _Owed(None, now, response.moot_before)
        if status == "failed":
            self._failed(again, error or UNEXPLAINED, now)
            return
        if (
            status == "completed" and empty and again.instructions != FINISH
        ):  # where nothing was left to be said
            self._said_nothing(again)
            return
        self._failures = self._empty = 0
        self._pause_until = NEVER
        if response.owed is None or response.owed.instructions not in AFTERWORDS.values():
            self._afterwords.clear()
        if status == "incomplete" and reason in AFTERWORDS and reason not in self._afterwords:
            self._afterwords.add(reason)
            must = response.owed is not None and response.owed.must
            self._put(_Owed(AFTERWORDS[reason], now, must=must), first=True)

    def _failed(self, owed: _Owed | None, error: Error, now: float) -> None:
        if fatal(error) or self._failures == len(BACKOFF_SECONDS):
            self._hopeless = error
            return
        self._pause_until = now + BACKOFF_SECONDS[self._failures]
        self._failures += 1
        if owed is not None:
            self._put(owed, first=True)

    def _said_nothing(self, owed: _Owed) -> None:
        if self._empty == EMPTY_IN_A_ROW:
            self._hopeless = EMPTY
            return
        self._empty += 1
        self._put(owed, first=True)

    def _put(self, owed: _Owed, first: bool = False) -> None:
        if self._deaf and not owed.must:
            return
        place = 0 if first else len(self._owed)
        for index, waiting in enumerate(self._owed):
            if waiting.instructions == owed.instructions:
                del self._owed[index]
                place = 0 if first else index
                owed = replace(
                    owed,
                    since=max(owed.since, waiting.since),
                    answers=max(owed.answers, waiting.answers),
                    must=owed.must or waiting.must,
                )
                break
        self._owed.insert(place, owed)

    def _commands(self, now: float) -> list[Command]:
        if self._asked is not None and self._unanswered_at <= now:
            asked, self._asked = self._asked, None
            self._failed(asked, UNANSWERED, now)
        if self._given_up:
            return []
        if self._hopeless is not None:
            self._given_up = True
            return [GiveUp(self._hopeless)]
        commands: list[Command] = []
        if self._owed and self._asked is None and not self._hindered(now):
            self._asked = self._owed.pop(0)
            self._unanswered_at = now + UNANSWERED_SECONDS
            commands.append(Ask(self._asked.instructions))
        deadline = self._deadline()
        if deadline is not None and deadline != self._reminded_of:
            commands.append(Remind(deadline - now))
        self._reminded_of = deadline
        return commands

    def _hindered(self, now: float) -> bool:
        return (
            self._speaking or self._active is not None or now < max(self._expected_until, self._pause_until)
        )

    def _deadline(self) -> float | None:
        """When time alone will change what may be asked for."""
        if self._asked is not None:
            return self._unanswered_at
        if not self._owed or self._speaking or self._active is not None:
            return None
        return max(self._expected_until, self._pause_until)
