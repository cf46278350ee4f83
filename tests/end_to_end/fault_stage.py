"""Five calls at five moments, to be struck by one fault."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator.call_result import CallResult
from simulator.phone import Phone
from simulator.realtime import OfflineModel
from simulator.script import tone
from simulator.server_process import ServerProcess, server_settings
from simulator.session import RealtimeSession
from tests.end_to_end.ear import Ear
from tests.end_to_end.fault_script import (
    ANSWER_MS,
    APOLOGY_MS,
    FALLBACK_MS,
    FILLER_MS,
    GREETING,
    GREETING_MS,
    QUESTION,
    REPLY_MS,
    REQUEST,
    REST_MS,
    SPOKEN,
    STORY,
    VOICES,
    Pitches,
)
from tests.end_to_end.stage import AUTH_TOKEN, PATIENCE

PACE = 1.5
"""The model speaks hardly faster than it is heard: so an answer breaks off soon when the model does."""

A_WHILE_SECONDS = 0.3
TRIES = 3
"""How often calls are made until all of them are at their moments at the same time."""

ASSISTANT = f"""
name = "Faults"
instructions = "You answer the telephone of a workshop."
greeting = "{GREETING}"
greeting_kept = false
tools = ["tests.end_to_end.saboteur:look_up"]
listeners = ["tests.end_to_end.saboteur:Saboteur"]

[fallback]
say = "Sorry."
goodbye = ""

[dead_air]
filler = "filler.ulaw"
apology = "apology.ulaw"
"""


class Moment(Enum):
    """What was going on when the fault struck."""

    SETUP = "before start"
    GREETING = "greeting"
    CALLER = "caller talking"
    ASSISTANT = "assistant talking"
    TOOL = "tool running"


class Lane:
    """A server with two workers and the model behind it: for one fault at a time."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.model = OfflineModel(pace=PACE, observer=self._observe, **Pitches().equipment())
        self._settings = settings
        self.resources = ExitStack()
        self.taken_back: Callable[[], None] = lambda: None
        self.held_worker = self.asleep = 0
        self._hold = threading.Event()
        self._held = threading.Event()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        (self.directory / "filler.ulaw").write_bytes(tone(FILLER_MS, VOICES["filler"]))
        (self.directory / "apology.ulaw").write_bytes(tone(APOLOGY_MS, VOICES["apology"]))
        assistant = self.directory / "assistant.toml"
        assistant.write_text(ASSISTANT)
        with self.resources as resources:
            resources.enter_context(self.model)
            settings = server_settings(self.model.url, AUTH_TOKEN, self.directory)
            settings |= {"ASSISTANT": str(assistant), "DRAIN_SECONDS": "8"} | self._settings
            self.server = resources.enter_context(ServerProcess(settings, self.directory))
            self.resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()

    @property
    def database(self) -> Path:
        return self.directory / "switchboard.db"

    @property
    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def put_to_sleep(self, worker: int) -> None:
        """Have the worker with this process id do nothing until `wake`."""
        self.asleep = worker
        os.kill(worker, signal.SIGSTOP)

    def wake(self) -> None:
        if self.asleep:
            os.kill(self.asleep, signal.SIGCONT)
        self.asleep = 0

    def hold(self) -> None:
        """Let the next session wait while it is being set up: its configuration has come and is not answered."""
        self._held.clear()
        self._released.clear()
        self._hold.set()

    def await_held(self) -> None:
        assert self._held.wait(PATIENCE), "no session was being set up"

    def release(self) -> None:
        self._hold.clear()
        self._released.set()

    def _observe(self, session_id: str, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "session.update" and self._hold.is_set():
            self._hold.clear()
            self._held.set()
            self._released.wait(PATIENCE)


class FaultyCall:
    """One call, from dialling to what becomes of it."""

    def __init__(self, lane: Lane, moment: Moment, number: int) -> None:
        self.lane = lane
        self.moment = moment
        self.ear = Ear(VOICES)
        self.phone = Phone(
            f"{lane.server.url}/twiml",
            auth_token=AUTH_TOKEN,
            from_number=f"+1415555{number:04}",
            speak=lambda text: tone(FALLBACK_MS, VOICES["fallback"]),
            listen=lambda start, said, heard: self.ear.hear(start, heard),
            receive_buffer=4096,
        )
        self.session: RealtimeSession | None = None
        """The first of the model's sessions with it."""
        self.spoke_at = 0.0
        self.struck_at = 0.0
        self.back_at = 0.0
        """Until then no server could have reached the caller."""
        self.result: CallResult | None = None
        self.problem = ""
        """What the caller waited for in vain."""

    def dial(self, with_session: bool = True) -> None:
        before = len(self.lane.model.sessions)
        self.phone.dial()
        if with_session:
            self.session = self.lane.model.await_session(before + 1, PATIENCE)

    def say(self, words: str, ms: int) -> None:
        self.phone.say(tone(ms, SPOKEN[words]))
        self.spoke_at = self.ear.now

    def wait_since_it_spoke(self, seconds: float) -> None:
        """Until so long after the caller has begun to speak."""
        self.ear.wait(lambda: self.ear.now >= self.spoke_at + seconds, "a moment's time")

    def follow(self, after: Callable[["FaultyCall"], None] | None) -> None:
        """See to the end what becomes of it; to be called once it was struck."""
        ear, since = self.ear, self.struck_at
        try:
            over = threading.Thread(target=self._await_end, name=f"end of {self.moment.value}")
            over.start()
            if ear.wait(lambda: self._answered(since), f"{self.moment.value}: what was due"):
                if after is not None:
                    after(self)
                if ear.wait_for_silence(0.4):
                    asked_at = ear.now
                    self.say(QUESTION, 600)
                    ear.wait_for("reply", 0.9 * REPLY_MS / 1000, asked_at)
                    ear.wait_for_silence(0.2)
        except TimeoutError as problem:
            self.problem = str(problem)
        finally:
            self.phone.hang_up()
            over.join()

    def _await_end(self) -> None:
        self.result = self.phone.await_end(60)
        self.ear.close()

    def _answered(self, since: float) -> bool:
        heard = {voice: self.ear.heard(voice, since) * 1000 for voice in VOICES}
        # These are said once, and begin before the fault: what was heard of them before a pause counts as well.
        begun = {voice: self.ear.heard(voice) * 1000 for voice in ("greeting", "answer")}
        rest = heard["rest"] > 0.9 * REST_MS
        match self.moment:
            case Moment.SETUP | Moment.GREETING:
                return rest or begun["greeting"] > 0.95 * GREETING_MS
            case Moment.CALLER:
                return heard["reply"] > 0.9 * REPLY_MS
            case Moment.ASSISTANT:
                return rest or begun["answer"] > 0.95 * ANSWER_MS
            case Moment.TOOL:
                return max(heard["result"], heard["excuse"]) > 0.9 * REPLY_MS

    @property
    def at_its_moment(self) -> bool:
        """Whether what is due is still to come: a busy machine takes long to bring one call after the other there."""
        ear = self.ear
        match self.moment:
            case Moment.SETUP:
                return True
            case Moment.GREETING:
                return ear.heard("greeting") < GREETING_MS / 1000 - A_WHILE_SECONDS
            case Moment.CALLER:
                return ear.heard("reply") == 0
            case Moment.ASSISTANT:
                return ear.heard("answer") < ANSWER_MS / 1000 - A_WHILE_SECONDS
            case Moment.TOOL:
                return ear.heard("result") == ear.heard("excuse") == 0

    @property
    def heir(self) -> RealtimeSession | None:
        """The last of the sessions which were told what was said in the first."""
        if self.session is None:
            return None
        told = {item.id for item in self.session.items}
        sessions = self.lane.model.sessions
        later = sessions[sessions.index(self.session) + 1 :]
        return next((each for each in reversed(later) if told & {item.id for item in each.items}), None)


class Scene:
    """One fault, and the calls that it strikes."""

    def __init__(self, lane: Lane, moments: Iterable[Moment] = Moment, first_number: int = 0) -> None:
        self.lane = lane
        self._moments, self._first_number = tuple(moments), first_number
        self.calls = self._new_calls()

    def _new_calls(self) -> list[FaultyCall]:
        return [
            FaultyCall(self.lane, moment, self._first_number + n) for n, moment in enumerate(self._moments)
        ]

    def call(self, moment: Moment) -> FaultyCall | None:
        return next((call for call in self.calls if call.moment is moment), None)

    def play(
        self,
        strike: Callable[["Scene"], None],
        after: Callable[[FaultyCall], None] | None = None,
        dialled_later: bool = False,
        before: Callable[[Lane], None] = lambda lane: None,
    ) -> None:
        """Bring each call to its moment, strike, and see what becomes of them.

        `before`: what is done before the calls are made. `after`: what happens once the caller has heard what was
        due. `dialled_later`: the first call is dialled only when the fault has struck.
        """
        with ExitStack() as stack:
            stack.callback(self._hang_up)
            for _ in range(TRIES):
                before(self.lane)
                self._prepare(dialled_later)
                if all(call.at_its_moment for call in self.calls):
                    break
                self._hang_up()
                self.calls = self._new_calls()
            else:
                raise AssertionError(f"a moment was over before the fault could strike, {TRIES} times")
            for call in self.calls:
                call.struck_at = call.ear.now
            strike(self)
            self.lane.release()
            setup = self.call(Moment.SETUP)
            if dialled_later and setup is not None:
                setup.dial(with_session=False)
            followers = [
                threading.Thread(target=call.follow, args=(after,), name=f"follows {call.moment.value}")
                for call in self.calls
            ]
            for follower in followers:
                follower.start()
            for follower in followers:
                follower.join()

    def _hang_up(self) -> None:
        self.lane.wake()
        self.lane.release()
        for call in self.calls:
            call.phone.close()

    def _prepare(self, dialled_later: bool) -> None:
        setup, greeting, caller, assistant, tool = (self.call(moment) for moment in Moment)
        late = [call for call in (caller, assistant, tool) if call is not None]
        for call in late:
            call.dial()
        for call in late:
            call.ear.wait_for("greeting", 0.98 * GREETING_MS / 1000)
            call.ear.wait_for_silence(0.3)
        if assistant is not None:
            assistant.say(STORY, 600)
        if tool is not None:
            tool.say(REQUEST, 600)
        if assistant is not None:
            assistant.ear.wait_for("answer", 0.1)
        if caller is not None:
            caller.say(QUESTION, 2400)
        if greeting is not None:
            greeting.dial()
            greeting.ear.wait_for("greeting", 1.4)
        if assistant is not None:
            assistant.ear.wait_for("answer", 1.2)
        if tool is not None:
            tool.wait_since_it_spoke(2.2)
        if caller is not None:
            caller.wait_since_it_spoke(0.8)
        if setup is not None and not dialled_later:
            self.lane.hold()
            setup.dial()
            self.lane.await_held()
