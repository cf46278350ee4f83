"""The latest of what the caller said, for a model session that takes the place of a lost one.

Kept are samples, in one ring, and not the messages that they came in, which take three times as much memory. Pure.

A ring, because what grows at one end and shrinks at the other is moved to other memory every second, in every call,
and leaves holes. With 30 calls the C library had 70 KiB a call that nobody used after two minutes, with a ring 27.
"""

from array import array

from wire.g711 import BYTES_PER_MS

SLACK_BYTES = 250 * BYTES_PER_MS
"""There may be so much more than the limit: to look for what can go costs as much for one piece as for 12."""


class KeptAudio:
    """Pieces of mu-law, each with the time at which it came. Not thread-safe."""

    def __init__(self, limit_ms: float) -> None:
        """`limit_ms`: how much of the latest is kept."""
        self._limit_bytes = round(limit_ms * BYTES_PER_MS)
        self._ring = bytearray(self._limit_bytes + SLACK_BYTES)
        self._end = 0
        """Where in it the next piece goes."""
        self._bytes = 0
        self._sizes = array("I")
        self._arrivals = array("d")

    def add(self, ulaw: bytes, arrived_at: float) -> None:
        """Keep a piece. `arrived_at`: in s, of whatever clock `since` is asked by."""
        size = len(ulaw)
        if self._bytes + size > len(self._ring) and not self._make_room(size):
            return
        ring, begin = self._ring, self._end
        end = begin + size
        if end <= len(ring):
            ring[begin:end] = ulaw
        else:
            end -= len(ring)
            ring[begin:] = ulaw[: size - end]
            ring[:end] = ulaw[size - end :]
        self._end = end
        self._bytes += size
        self._sizes.append(size)
        self._arrivals.append(arrived_at)

    def limit(self, limit_ms: float) -> None:
        """Keep so much from now on, of what is kept now and what follows."""
        self._forget(self._limit_bytes)
        self._limit_bytes = round(limit_ms * BYTES_PER_MS)
        self._forget(self._limit_bytes)
        if len(self._ring) > self._limit_bytes + SLACK_BYTES:
            self._move(self._limit_bytes + SLACK_BYTES)

    def since(self, moment: float) -> list[tuple[bytes, float]]:
        """The pieces that came at that time or later, each with its own, in their order."""
        self._forget(self._limit_bytes)
        audio, begin = self._audio(), 0
        pieces = []
        for size, arrived_at in zip(self._sizes, self._arrivals, strict=True):
            if arrived_at >= moment:
                pieces.append((audio[begin : begin + size], arrived_at))
            begin += size
        return pieces

    def _audio(self) -> bytes:
        begin = self._end - self._bytes
        return bytes(
            self._ring[begin : self._end] if begin >= 0 else self._ring[begin:] + self._ring[: self._end]
        )

    def _make_room(self, size: int) -> bool:
        """For so many bytes. Whether there can be: not for more than all that is kept."""
        self._forget(self._limit_bytes - size)
        if size > self._limit_bytes:
            return False
        needed = self._bytes + size
        if needed > len(self._ring):
            self._move(min(max(needed, 2 * len(self._ring)), self._limit_bytes + SLACK_BYTES))
        return True

    def _move(self, size: int) -> None:
        audio = self._audio()
        self._ring = bytearray(size)
        self._ring[: len(audio)] = audio
        self._end = len(audio)

    def _forget(self, keep_bytes: int) -> None:
        pieces = 0
        while self._bytes > max(keep_bytes, 0):
            self._bytes -= self._sizes[pieces]
            pieces += 1
        del self._sizes[:pieces]
        del self._arrivals[:pieces]
