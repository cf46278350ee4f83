"""A burst of audio: what has come together for one actor, and is told together."""

from typing import Any

from pykka import ActorRef

from actors.member import LENT_MS, lend, post
from actors.messages import Audio


class Burst:
    """What a reader has read for an actor, while more of it has come already.

    It forms where the reader does not keep up. Handled in one go, in the reader's thread, it takes one write and
    wakes nobody; told one by one, a thread would be woken for each, which costs most where there is no time for it.

    Belongs to the thread that reads, which must `tell` before it waits for more.
    """

    def __init__(self) -> None:
        self._receiver: ActorRef[Any] | None = None
        self._audio: list[Audio] = []
        self._duration_ms = 0.0

    def add(self, receiver: ActorRef[Any] | None, audio: Audio) -> None:
        """To be told at the next `tell`, or before. What is another's, or too much to be lent at once, goes first."""
        duration_ms = self._duration_ms + audio.duration_ms
        if self._audio and (receiver is not self._receiver or duration_ms > LENT_MS):
            self.tell()
            duration_ms = audio.duration_ms
        if duration_ms > LENT_MS:
            post(receiver, audio)
            return
        self._receiver, self._duration_ms = receiver, duration_ms
        self._audio.append(audio)

    def tell(self) -> None:
        """Tell what there is."""
        if audio := self._audio:
            self._audio, self._duration_ms = [], 0.0
            lend(self._receiver, *audio)
