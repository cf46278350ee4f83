"""The mailbox of a call's actors: control first and never dropped, audio bounded and droppable."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope

from actors.messages import Audio


def _nothing(message: object) -> None:
    pass


def _never() -> bool:
    return False


class Mailbox:
    """Two lanes behind Pykka's inbox interface (`put`, `get`, `empty`); `put` never blocks.

    Control messages overtake audio. The audio lane holds at most `audio_limit_ms`; beyond it the oldest goes and
    is counted, so that memory stays flat behind a stalled peer. The lane can be held: audio then waits, within the
    same bound, while control goes on.

    Most of what a small message costs is to wake a thread for it. So an actor may borrow the threads of those who
    tell it something, one at a time and for what that one has, as with Akka's calling-thread dispatcher: see `lend`.

    `put` and `lend` may be called from any thread; `get` belongs to the actor's own, and `audio_waits`, `hold_audio`
    and `release_audio` to the one that runs it.
    """

    def __init__(self, audio_limit_ms: float = float("inf")) -> None:
        self._audio_limit_ms = audio_limit_ms
        self._lock = threading.Lock()
        self._control: deque[Envelope[Any]] = deque()
        self._audio: deque[Envelope[Any]] = deque()
        self._audio_ms = 0.0
        self._audio_held = False
        self.dropped_ms = 0.0
        """Audio that was thrown away because the lane was full."""
        # Only a wake-up; what to take is decided when it is taken. SimpleQueue's blocking get is in C: waking a
        # thread with it costs 10 us of CPU where queue.Queue costs 18.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._running = threading.Lock()
        """Whose it is, runs the actor: its own thread's while that is not in `get`, or that of one that is lent."""
        self._running.acquire()
        self._handle: Callable[[Any], object] = _nothing
        self._can_handle: Callable[[], bool] = _never
        self._lent_waits = False

    def borrow_threads(self, handle: Callable[[Any], object], can_handle: Callable[[], bool]) -> None:
        """From now on what is lent goes to `handle`, which must raise nothing, while the actor has nothing to do.

        `can_handle`: whether `handle` would wait for nothing just now. It must not wait for anything either.
        """
        self._handle, self._can_handle = handle, can_handle

    def borrow_no_threads(self) -> None:
        """Not any more, or not yet. Else whoever knows a mailbox would keep its actor in memory."""
        self._handle, self._can_handle = _nothing, _never

    def put(self, envelope: Envelope[Any]) -> None:
        """Append to the message's lane."""
        message = envelope.message
        with self._lock:
            if isinstance(message, Audio):
                self._audio.append(envelope)
                self._audio_ms += message.duration_ms
                while self._audio_ms > self._audio_limit_ms and len(self._audio) > 1:
                    self._drop_oldest()
            else:
                self._control.append(envelope)
        self._wake.put(None)

    def lend(self, *messages: object) -> None:
        """Let the actor handle these here and now, if it borrows threads and has nothing to do; else `put`."""
        if self._running.acquire(blocking=False):
            try:
                # Without the other lock: of what others put at this moment, any order is right.
                if not (self._control or self._audio or self._audio_held) and self._can_handle():
                    if len(messages) > 1:
                        self._lent_waits = True
                        for message in messages[:-1]:
                            self._handle(message)
                        self._lent_waits = False
                    self._handle(messages[-1])
                    return
            finally:
                self._running.release()
        for message in messages:
            self.put(Envelope(message))

    def get(self) -> Envelope[Any]:
        """The next message; blocks until there is one."""
        self._running.release()
        while True:
            self._wake.get()
            self._running.acquire()
            with self._lock:
                if self._control:
                    return self._control.popleft()
                if self._audio and not self._audio_held:
                    envelope = self._audio.popleft()
                    self._audio_ms -= envelope.message.duration_ms
                    return envelope
            self._running.release()

    def empty(self) -> bool:
        """Whether there is nothing to get."""
        with self._lock:
            return not self._control and (self._audio_held or not self._audio)

    @property
    def audio_waits(self) -> bool:
        """Whether there is audio to be handled next, when no control message is left. For who runs the actor."""
        # Without the lock: nobody else holds the lane or takes from it, and what is just being put is seen next time.
        return self._lent_waits or (bool(self._audio) and not self._audio_held)

    def hold_audio(self) -> None:
        """Keep audio back until `release_audio`."""
        with self._lock:
            self._audio_held = True

    def release_audio(self) -> None:
        """Let audio out again, beginning with what was kept."""
        with self._lock:
            self._audio_held = False
            kept = len(self._audio)
        for _ in range(kept):
            self._wake.put(None)

    def _drop_oldest(self) -> None:
        oldest = self._audio.popleft()
        if oldest.message.duration_ms == 0:
            # What has no length, such as the end of an item, is not dropped. All audio that stood before it has
            # been, so it may as well overtake the rest; looking for the first that has one would take ever longer.
            self._control.append(oldest)
            return
        self._audio_ms -= oldest.message.duration_ms
        self.dropped_ms += oldest.message.duration_ms
