"""The load generator's phone: every frame of the caller's names its call and its number.

Everything runs in the event loop's thread.
"""

import asyncio
import struct
import time

from benchmarks.journey import Journey
from simulator.lean_phone import LeanPhone
from wire.g711 import FRAME_BYTES, ULAW_SILENCE

_IDENTITY = struct.Struct("!HI")
IDENTITY_BYTES = _IDENTITY.size
TRY_AGAIN_LATER = 1013
_SILENCE = ULAW_SILENCE * (FRAME_BYTES - IDENTITY_BYTES)


def caller_frame(call: int, number: int) -> bytes:
    """20 ms of mu-law that say which call they belong to and which of its frames they are."""
    return identity(call, number) + _SILENCE


def identity(call: int, number: int) -> bytes:
    """What a frame begins with."""
    return _IDENTITY.pack(call, number)


def identity_of(frame: bytes, at: int = 0) -> tuple[int, int]:
    """The call's number and the frame's, of the frame that begins there."""
    return _IDENTITY.unpack_from(frame, at)


class CountedPhone(LeanPhone):
    """A call whose frames are counted in both directions."""

    def __init__(self, number: int) -> None:
        """`number` names the call in its frames: 0 to 65535."""
        super().__init__(number)
        self.spoken = Journey()
        """The caller's frames, on their way to the model."""
        self.heard: Journey | None = None
        """The assistant's, on their way here; the load knows whose they are once there is a session."""

        self.ended_with: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The close code, once the server has ended it."""

    @property
    def sent_on(self) -> bool:
        """Whether the server had no room for its stream, and Twilio would have asked for another one."""
        return self.ended_with.done() and self.ended_with.result() == TRY_AGAIN_LATER

    def ended(self, code: int) -> None:
        """The server has ended it."""
        if not self.ended_with.done():
            self.ended_with.set_result(code)
        if not self.sent_on:
            super().ended(code)

    def frame(self) -> bytes:
        """The next one, which leaves now."""
        self.spoken.left(time.monotonic())
        return caller_frame(self.number, self.frames_sent)

    def hear(self, audio: bytes) -> None:
        """Find out what became of each frame."""
        if self.heard is not None:
            at = time.monotonic()
            for start in range(0, len(audio), FRAME_BYTES):
                self.heard.came(identity_of(audio, start)[1], at)
