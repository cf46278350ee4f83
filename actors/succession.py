"""How one session with the model follows another, without the caller's losing anything by it.

    the session                              its successor
    fails, or its actor ends                 is made after the pause that `actors.supervision` says
    is not ready in time, or falls silent    the same; the old one is not listened to any more
    ends soon                                is made beside it, and takes over in a pause, or at the last moment
    cannot be had any more                   none: the call ends here

What each begins with is for `actors.talk` to say; what was to be said, and could not be, waits for it here. So does
what a session was told to say and did not live to.
"""

import time
from dataclasses import replace
from typing import Any, Protocol

from pykka import ActorRef

from actors.farewell import Farewell
from actors.member import CallError, call_log, post
from actors.messages import Attach, DeadlinePassed, Inject, Respond, Said
from actors.moderator import Moderator
from actors.phone_line import PhoneLine
from actors.phone_reader import KEPT_SPEECH_SECONDS
from actors.sessions import ModelSession, Sessions
from actors.supervision import Consequence, Restart
from actors.talk import Talk


class Call(Protocol):
    """What a succession may do to the call that it belongs to."""

    @property
    def talking(self) -> bool:
        """Whether it has not left yet."""

    def note(self, kind: str, **data: Any) -> None:
        """Have it written down that something happened."""

    def remind(self, what: str, seconds: float, about: object = None) -> None:
        """Call `due` after so many seconds."""

    def connected(self) -> None:
        """A session is about to begin, perhaps the first one."""

    def go_on(self) -> None:
        """Do what had to wait for the end of what was being said."""

    def cannot_go_on(self, consequence: Consequence, error: Exception | None) -> None:
        """There will be no other session."""


class Succession:
    """Belongs to a CallActor, in whose thread everything is done."""

    def __init__(
        self,
        call: Call,
        call_sid: str,
        sessions: Sessions,
        talk: Talk,
        farewell: Farewell,
        line: PhoneLine,
        moderator: Moderator,
    ) -> None:
        self._call = call
        self._sessions = sessions
        self._talk = talk
        self._farewell = farewell
        self._line = line
        self._moderator = moderator
        self._log = call_log(__name__, call_sid)
        self._injected: list[str] = []
        self._unsaid: list[Respond] = []
        self._being_said: list[Respond] = []
        """What the session was told to say, and has not said yet."""

    def ready(self, model: ActorRef[Any], expires_at: float | None) -> None:
        """A session is configured; when the server ends it, in seconds since 1970, if it says so."""
        session = self._sessions.find(model)
        if session is None or not self._sessions.wanted(session) or not self._call.talking:
            return
        self._sessions.ready(session, expires_at)
        if session is self._sessions.current:
            self._begin(session)
        elif self._sessions.roll_over():
            self._swap()
        self._call.go_on()

    def pause(self) -> None:
        """Nobody speaks, or is about to: a successor that is ready takes over."""
        spare = self._sessions.spare
        if spare is not None and spare.ready:
            self._swap()

    def say(self, words: Respond) -> None:
        """Have the assistant say something, as soon as there is a session that can."""
        self._unsaid.append(words)
        self._have_said_what_waits()

    def said(self, message: Said) -> None:
        """A session has said something that it was told to."""
        if self._sessions.talks(message.model):
            self._being_said = [
                words for words in self._being_said if words.instructions != message.instructions
            ]

    def inject(self, message: Inject) -> None:
        """Let this session know something, and each that follows it."""
        self._injected.append(message.text)
        self._sessions.tell(message)

    def lost(self, session: ModelSession, error: Exception, exited: bool = True) -> None:
        """A session has failed, or, where its actor has not `exited`, is given up."""
        was_wanted = self._sessions.wanted(session)
        consequence = self._sessions.lost(session, error, exited)
        if not self._call.talking or not was_wanted:
            return
        self._call.note("session lost", endpoint=session.endpoint.name, reason=str(error))
        if consequence is None:
            return
        self._line.attach(None)
        self._line.keep(KEPT_SPEECH_SECONDS)  # nobody else takes what is said until there is a new one
        self._line.tell(Attach(None))
        self._follow(consequence, error)

    def give_up(self, session: ModelSession | None, why: str) -> None:
        """Replace a session which lives, as far as anybody can see, and does not do its work."""
        if session is not None and self._call.talking:
            self._log.warning("the model's session is given up: %s", why)
            self.lost(session, CallError(why), exited=False)

    def due(self, what: str, about: object) -> None:
        """A reminder has come."""
        session = self._sessions.find(about)
        match what:
            case DeadlinePassed.SESSION_READY if session is not None and not session.ready:
                self.give_up(session, "it was not ready in time")
            case DeadlinePassed.RETRY_MODEL:
                self._retry()
            case DeadlinePassed.ROLL_OVER:
                if self._call.talking and self._sessions.roll_over():
                    self._swap()

    def _begin(self, session: ModelSession) -> None:
        self._call.connected()
        self._call.note("session ready", endpoint=session.endpoint.name)
        begin, commands = self._talk.begin(time.monotonic())
        self._sessions.begin(session)
        # Not sooner: what it has to hear again is what is not in the history that it is given now.
        self._line.attach(session.ref, self._talk.unanswered_since)
        instead = self._farewell.instead
        self._unsaid, self._being_said = self._being_said + self._unsaid, []
        owed = () if instead is not None or self._only_words_wait else begin.owed
        post(session.ref, replace(begin, owed=owed, injected=tuple(self._injected)))
        self._line.tell(Attach(session.ref))
        # The session that was told to say it is gone.
        if instead is not None:
            post(session.ref, instead)
        elif self._farewell.words is not None:
            post(session.ref, self._farewell.words)
        self._have_said_what_waits()
        self._moderator.carry_out(commands)

    @property
    def _only_words_wait(self) -> bool:
        """Whether nobody waits for anything but what was to be said."""
        words = self._unsaid or self._farewell.words is not None
        return bool(words) and not self._talk.conversation.awaits_assistant

    def _have_said_what_waits(self) -> None:
        if self._farewell.instead is not None:
            self._unsaid.clear()  # a machine is left its message, and nothing else
        if self._sessions.talking is not None:
            unsaid, self._unsaid = self._unsaid, []
            for words in unsaid:
                self._being_said.append(words)
                self._moderator.have_said(words)

    def _follow(self, consequence: Consequence, error: Exception) -> None:
        match consequence:
            case Restart(seconds=seconds):
                self._log.info("a new session in %.1f s", seconds)
                self._call.remind(DeadlinePassed.RETRY_MODEL, seconds)
                self._moderator.carry_out(self._talk.session_lost(seconds > 0, time.monotonic()))
            case _:
                self._call.cannot_go_on(consequence, error)

    def _retry(self) -> None:
        if self._call.talking and self._sessions.current is None:
            try:
                session = self._sessions.start()
            except RuntimeError as error:  # no thread to be had
                self._log.warning("no session can be started: %s", error)
                self._follow(self._sessions.not_started(), error)
                return
            if session.ready:
                self._begin(session)

    def _swap(self) -> None:
        self._log.info("going over to a new session before the old one ends")
        self._begin(self._sessions.swap())
