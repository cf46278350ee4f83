"""The model sessions of one call: the one that talks, one that gets ready to take its place, and those that end."""

import time
from dataclasses import dataclass, replace
from typing import Any

from pykka import ActorRef

from actors.clock import Clock
from actors.endpoints import Endpoint
from actors.member import CallError, call_log, post
from actors.messages import DeadlinePassed
from actors.model_socket import ModelSocket
from actors.openai import OpenAIActor
from actors.setup import CallSetup
from actors.supervision import Consequence, Role, Supervision

READY_SECONDS = 4.0
"""From dialling to a configured session, after which another is tried."""
CLOSED_SECONDS = 0.4
"""How long a session may take to close before its socket is cut."""
ROLL_OVER_SECONDS = 300.0
"""How long before a session's end its successor is made; in most calls, a pause comes before that."""
LAST_MOMENT_SECONDS = 15.0
"""How long before its end the successor takes over even without a pause."""
AGAIN_SECONDS = 20.0
"""After how long a successor that failed is tried again."""


@dataclass(slots=True)
class ModelSession:
    """One OpenAIActor and what it was made with."""

    ref: ActorRef[OpenAIActor]
    socket: ModelSocket
    endpoint: Endpoint
    ready: bool = False
    """configured, and could begin"""
    begun: bool = False
    """knows the conversation and takes the caller's audio"""
    expires_at: float | None = None
    """when the server ends it, in seconds since 1970; None: it does not say"""


class Sessions:
    """Belongs to a CallActor, which is the parent of the actors that are started here."""

    def __init__(self, call: ActorRef[Any], setup: CallSetup, clock: Clock, supervision: Supervision) -> None:
        self._call = call
        self._setup = setup
        self._clock = clock
        self._supervision = supervision
        self._phone: ActorRef[Any] | None = None
        self.current: ModelSession | None = None
        """Talks, or is about to. Its actor may not be ready yet."""
        self.spare: ModelSession | None = None
        """Made beside the current one, to take its place."""
        self._keeps_greeting = False
        self._ending: list[ModelSession] = []
        self._log = call_log(__name__, setup.call_sid)

    @property
    def all(self) -> list[ModelSession]:
        """The current one, the spare one, and those that are ending."""
        return [each for each in (self.current, self.spare, *self._ending) if each is not None]

    @property
    def talking(self) -> ModelSession | None:
        """The session that talks; None: there is none, or it has not begun."""
        return self.current if self.current is not None and self.current.begun else None

    def find(self, ref: object) -> ModelSession | None:
        """The session of that actor, also where it is ending."""
        return next((each for each in self.all if each.ref == ref), None)

    def wanted(self, session: ModelSession) -> bool:
        """Whether the call still counts on it: it has not been given up or replaced."""
        return session is self.current or session is self.spare

    def talks(self, ref: ActorRef[Any] | None) -> bool:
        """Whether that is the actor of the session that talks."""
        return self.talking is not None and self.talking.ref == ref

    def speak_to(self, phone: ActorRef[Any] | None) -> None:
        """Where the sessions' audio goes that are made from now on."""
        self._phone = phone

    def keep_greeting(self) -> None:
        """The next session is to keep what it says first, for other calls."""
        self._keeps_greeting = True

    def start(self) -> ModelSession:
        """Have a session that is to be the current one: the spare one, which may be ready, or one that begins now.

        Raises what starting a thread raises.
        """
        self.current, self.spare = self.spare or self._dial(), None
        return self.current

    def not_started(self) -> Consequence:
        """No session could be started, for which no endpoint is to blame."""
        return self._supervision.failed(Role.MODEL, "", False, time.monotonic())

    def ready(self, session: ModelSession, expires_at: float | None) -> None:
        """A session is configured. Where it ends before the call may, its successor is made in time."""
        session.ready = True
        left = 0.0 if expires_at is None else expires_at - time.time()
        if left > 0:  # some servers say 0 where they mean never
            session.expires_at = expires_at
            self._remind(left - min(ROLL_OVER_SECONDS, left / 2))

    def begin(self, session: ModelSession) -> None:
        """A session gets to know the conversation, and takes the caller's audio."""
        session.begun = True

    def heard(self) -> None:
        """The assistant can be heard: the current session does its work."""
        if talking := self.talking:
            self._setup.endpoints.worked(talking.endpoint)

    def roll_over(self) -> bool:
        """The current session ends soon: make its successor, or see to it that there is one.

        True: it is the last moment, and there is one that is ready.
        """
        session = self.current
        if session is None or session.expires_at is None:
            return False
        left = session.expires_at - time.time()
        if left > ROLL_OVER_SECONDS + 1:
            # A reminder of a session before this one, or the wall clock was set back.
            self._remind(left - ROLL_OVER_SECONDS)
        elif self.spare is None:
            try:
                self.spare = self._dial()
            except RuntimeError as error:  # no thread to be had, and the session that talks must not suffer
                self._log.warning("no session can be made to follow this one: %s", error)
                self._remind(AGAIN_SECONDS)
                return False
            self._remind(max(left - LAST_MOMENT_SECONDS, left / 2))
        return self.spare is not None and self.spare.ready and left < 2 * LAST_MOMENT_SECONDS

    def swap(self) -> ModelSession:
        """The spare one becomes the current one, which ends."""
        fresh, self.spare = self.spare, None
        assert fresh is not None, "there is a spare one to swap in"
        self.end(self.current)
        self.current = fresh
        return fresh

    def lost(self, session: ModelSession, error: Exception, exited: bool) -> Consequence | None:
        """A session has failed, or, where its actor has not `exited`, is given up.

        None: it was not the current one, and the call does without it.
        """
        wanted, is_spare = self.wanted(session), session is self.spare
        if exited:
            self.forget(session)
        if not wanted:
            return None
        if not exited:
            self.end(session)
            # It is not listened to any more: what it still has to say must not get to the phone.
            session.socket.abort()
        endpoints = self._setup.endpoints
        permanent = isinstance(error, CallError) and error.permanent
        endpoints.failed(session.endpoint, permanent)
        if is_spare:
            self._remind(AGAIN_SECONDS)
            return None
        permanent = permanent and not endpoints.has_another(session.endpoint)
        return self._supervision.failed(Role.MODEL, "", permanent, time.monotonic())

    def end(self, session: ModelSession | None) -> None:
        """Close a session; its actor tells when it has, and `forget` is for then."""
        if session is None:
            return
        self._release(session)
        self._ending.append(session)
        session.ref.stop(block=False)
        closed_by = DeadlinePassed(DeadlinePassed.MODEL_CLOSED, session.ref)
        self._clock.after(CLOSED_SECONDS, self._call, closed_by)

    def end_all(self) -> None:
        """Close every session."""
        self.end(self.current)
        self.end(self.spare)

    def forget(self, session: ModelSession) -> None:
        """Its actor has ended, or is not waited for any more."""
        self._release(session)
        if session in self._ending:
            self._ending.remove(session)

    def abort(self) -> None:
        """Cut every socket that is left, now."""
        for session in self.all:
            session.ref.stop(block=False)  # first, or the end of its socket would be a failure
            session.socket.abort()

    def tell(self, message: object) -> None:
        """Tell the session that talks. One that has not begun is told everything when it does."""
        if talking := self.talking:
            post(talking.ref, message)

    def _release(self, session: ModelSession) -> None:
        if session is self.current:
            self.current = None
        if session is self.spare:
            self.spare = None

    def _remind(self, seconds: float) -> None:
        self._clock.after(max(seconds, 0.0), self._call, DeadlinePassed(DeadlinePassed.ROLL_OVER))

    def _dial(self) -> ModelSession:
        setup = self._setup
        endpoint = setup.endpoints.choose()
        socket = endpoint.dial()
        functions = (tool.definition for tool in setup.tools.values())
        fixed = setup.fixed_greeting if self._keeps_greeting else None
        keeper = None if fixed is None else fixed.keeper(endpoint)
        try:
            ref = OpenAIActor.start(
                self._call,
                setup.call_sid,
                self._phone,
                socket,
                endpoint.dialect,
                replace(setup.session, audio=endpoint.audio, tools=(*setup.session.tools, *functions)),
                self._clock,
                setup.gating,
                setup.meter,
                keeper=keeper,
            )
        except BaseException:
            # It may be a warm one, which is connected, and nobody else will close it.
            socket.close()
            socket.release()
            raise
        self._keeps_greeting = False
        ready_by = DeadlinePassed(DeadlinePassed.SESSION_READY, ref)
        self._clock.after(READY_SECONDS, self._call, ready_by)
        return ModelSession(ref, socket, endpoint)
