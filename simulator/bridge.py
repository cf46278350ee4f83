"""What joins the lines of several calls: everybody in a room hears everybody else, a fixed time later.

Each line runs on its own thread and schedule. All of them count samples of the same clock, so a frame is put to the
room with the time at which it was said, and taken from it for a time that lies `DELAY_MS` back. Nothing drifts, and
what one side says is found in the other side's recording exactly that much later. A line whose time has come waits
for one whose thread is late, on a machine that is busy; what is `PATIENCE_MS` late is heard as silence.
"""

import threading
from array import array
from collections import deque

from wire.g711 import BYTES_PER_MS, SAMPLE_RATE, ULAW_SILENCE, decode_ulaw, encode_ulaw

DELAY_MS = 100
"""From one mouth to another ear. Long enough for a thread to be a few frames late without anybody's waiting."""

PATIENCE_MS = 3000
"""How long a line waits for another one, beyond that."""

_DELAY = DELAY_MS * BYTES_PER_MS
_PATIENCE = PATIENCE_MS * BYTES_PER_MS
_KEPT = _DELAY + 2 * _PATIENCE


class Room:
    """Any thread."""

    def __init__(self) -> None:
        self.speaking = True
        """Whether anybody hears anything yet: a conference may wait for somebody."""
        self.closed = False
        self._lock = threading.Lock()
        self._members: list[Member] = []

    def enter(self, origin: float) -> "Member":
        """A place in the room for a line whose sample 0 is at `origin`, in seconds of `time.monotonic()`."""
        member = Member(self, round(origin * SAMPLE_RATE))
        with self._lock:
            self._members.append(member)
        return member

    def leave(self, member: "Member") -> None:
        """Whoever has left before does so to no effect."""
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def close(self) -> None:
        """Tell all that are in it to leave: they look at `closed`."""
        self.closed = True

    def __len__(self) -> int:
        return len(self._members)

    @property
    def talking(self) -> int:
        """How many hear and are heard by now."""
        with self._lock:
            return sum(member.said_until is not None for member in self._members)

    def put(self, member: "Member", start: int, frame: bytes) -> None:
        with self._lock:
            member.said_until = start + len(frame)
            if member.muted or member.hold:
                return
            said = member.said
            said.append((start, frame))
            while said[0][0] < start - _KEPT:
                said.popleft()

    def awaits(self, listener: "Member", end: int) -> bool:
        """Whether somebody else who talks has not said yet what is heard before `end`, in the common clock."""
        with self._lock:
            return any(
                member is not listener and member.said_until is not None and member.said_until < end
                for member in self._members
            )

    def mix(self, listener: "Member", start: int, size: int) -> bytes:
        """What the others said from `start` on, in samples of the common clock."""
        if not self.speaking or listener.hold:
            return ULAW_SILENCE * size
        with self._lock:
            said = [_cut(member.said, start, size) for member in self._members if member is not listener]
        voices = [audio for audio in said if audio is not None]
        if not voices:
            return ULAW_SILENCE * size
        if len(voices) == 1:
            return voices[0]
        sums = [sum(samples) for samples in zip(*(array("h", decode_ulaw(v)) for v in voices), strict=True)]
        return encode_ulaw(array("h", [max(-32768, min(32767, sample)) for sample in sums]).tobytes())


class Member:
    """One line's place in a room. The call's thread puts and takes; any thread may mute and hold."""

    def __init__(self, room: Room, offset: int) -> None:
        self.room = room
        self.muted = False
        """Not heard by the others."""
        self.hold = False
        """Neither heard nor hearing."""
        self.said: deque[tuple[int, bytes]] = deque()
        """Read and written by the room."""
        self.said_until: int | None = None
        """Up to when it is known what the line says, in samples of the common clock; None: it does not talk yet."""
        self._offset = offset

    def begin(self, start: int) -> None:
        """From the line's sample time `start` on it hears what is said in the room, and is heard."""
        self.said_until = self._offset + start

    def put(self, start: int, frame: bytes) -> None:
        """Say a frame of mu-law that began at the line's sample time `start`."""
        self.room.put(self, self._offset + start, frame)

    def awaits(self, start: int, size: int, now: int) -> bool:
        """Whether it is too early to take `size` samples from `start` on, as some other thread is late.

        `now` is the line's sample time; nobody is waited for longer than `PATIENCE_MS`.
        """
        end = start + size
        return now < end + _PATIENCE and self.room.awaits(self, self._offset + end - _DELAY)

    def take(self, start: int, size: int) -> bytes:
        """What is heard in `size` samples from the line's sample time `start` on, in mu-law."""
        return self.room.mix(self, self._offset + start - _DELAY, size)

    def leave(self) -> None:
        self.room.leave(self)


def _cut(said: deque[tuple[int, bytes]], start: int, size: int) -> bytes | None:
    heard: bytearray | None = None
    for at, frame in reversed(said):
        skip = start - at
        if skip >= len(frame):
            break  # and what was said before is over as well
        if at >= start + size:
            continue
        if heard is None:
            heard = bytearray(ULAW_SILENCE * size)
        piece = frame[max(skip, 0) : skip + size]
        heard[max(-skip, 0) : max(-skip, 0) + len(piece)] = piece
    return None if heard is None else bytes(heard)
