"""The playout buffer: what becomes of the audio, marks and clears that a media stream brings.

Source: Twilio, "Media Streams - WebSocket Messages". Audio is played in the order of its arrival at 8
bytes a millisecond; a mark is echoed when the play head passes it, at once if nothing is queued before
it; `clear` drops what has not been played and echoes every mark that still waits. What arrives beyond
ten minutes of buffered audio is discarded (warning 31931).

Pure: there is no clock. Every time is a count of samples at 8000 Hz since the call was dialled, which
is also the count of bytes that could have been played since then, so all of it is exact. A time before
one already given counts as that one. One thread at a time.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from wire.g711 import BYTES_PER_MS

CAPACITY_BYTES = 10 * 60 * 1000 * BYTES_PER_MS

EchoedBy = Literal["play", "clear"]


@dataclass(slots=True)
class MediaRecord:
    """What became of one media message. `size` = `played` + `cleared` + `discarded` once the stream has
    ended.

    Its bytes play without a gap: byte k, for k < `played`, was played at sample time `started` + k.
    """

    received: int
    """Sample time of the arrival."""
    size: int
    """Bytes of audio in the message."""
    started: int | None = None
    """Sample time of its first byte's playing, None if none was played."""
    played: int = 0
    """Bytes played."""
    cleared: int = 0
    """Bytes dropped by a clear or by the end of the stream."""
    cleared_at: int | None = None
    """Sample time of that."""
    discarded: int = 0
    """Bytes that found the buffer full."""


@dataclass(slots=True)
class MarkRecord:
    """What became of one mark."""

    name: str
    queued: int
    """Sample time of the arrival."""
    echoed: int | None = None
    """Sample time of the echo, None if the stream ended first."""
    by: EchoedBy | None = None
    """Whether the play head passed it or a clear swept it out; the wire does not tell the two apart."""
    position: int | None = None
    """Bytes that the stream had played in total when the mark was echoed."""


@dataclass(frozen=True, slots=True)
class ClearRecord:
    """What one clear dropped."""

    at: int
    """Sample time at which it took effect."""
    dropped: int
    """Bytes that were queued and not yet played."""
    position: int
    """Bytes that the stream had played in total."""
    marks: tuple[str, ...]
    """Names of the marks that it echoed, in order."""

    @property
    def dropped_ms(self) -> float:
        return self.dropped / BYTES_PER_MS


class Playout:
    """One stream's buffer. `now` is the sample time up to which everything has been played."""

    def __init__(self, now: int = 0, *, capacity: int = CAPACITY_BYTES) -> None:
        self.now = now
        self.pending = 0
        """Bytes queued and not yet played."""
        self.position = 0
        """Bytes played in total."""
        self.media: list[MediaRecord] = []
        self.marks: list[MarkRecord] = []
        self.clears: list[ClearRecord] = []
        self._capacity = capacity
        self._head = 0  # bytes played or cleared: the scale on which a mark knows its place
        self._chunks: deque[tuple[bytes, MediaRecord]] = deque()
        self._offset = 0  # bytes of the first chunk already played
        self._waiting: deque[tuple[int, MarkRecord]] = deque()
        self._runs: list[tuple[int, bytes]] = []
        self._echoes: list[MarkRecord] = []

    def put(self, audio: bytes, now: int) -> int:
        """Queue mu-law `audio` that arrived at `now`. Returns how many bytes found no room and were
        discarded."""
        self.advance(now)
        kept = audio[: max(self._capacity - self.pending, 0)]
        record = MediaRecord(self.now, len(audio), discarded=len(audio) - len(kept))
        self.media.append(record)
        if kept:
            self._chunks.append((kept, record))
            self.pending += len(kept)
        return record.discarded

    def mark(self, name: str, now: int) -> None:
        """Queue a mark that arrived at `now`, behind all audio that is queued."""
        self.advance(now)
        record = MarkRecord(name, self.now)
        self.marks.append(record)
        if self.pending:
            self._waiting.append((self._head + self.pending, record))
        else:
            self._echo(record, self.now, "play")

    def clear(self, now: int) -> ClearRecord:
        """Drop what is not yet played at `now` and echo every mark that waits."""
        self.advance(now)
        swept = tuple(record.name for _, record in self._waiting)
        while self._waiting:
            self._echo(self._waiting.popleft()[1], self.now, "clear")
        cleared = ClearRecord(self.now, self._drop(), self.position, swept)
        self.clears.append(cleared)
        return cleared

    def end(self, now: int) -> int:
        """The stream is over at `now`: drop what is not yet played, echo nothing. Returns the bytes
        dropped."""
        self.advance(now)
        self._waiting.clear()
        return self._drop()

    def advance(self, now: int) -> None:
        """Play until `now`."""
        start, self.now = self.now, max(self.now, now)
        head, due = self._head, min(self.now - start, self.pending)
        if not due:
            return
        played = 0
        while played < due:
            audio, record = self._chunks[0]
            piece = audio[self._offset : self._offset + due - played]
            if record.started is None:
                record.started = start + played
            self._runs.append((start + played, piece))
            played += len(piece)
            record.played += len(piece)
            self._offset += len(piece)
            if self._offset == len(audio):
                self._chunks.popleft()
                self._offset = 0
        self.pending -= due
        while self._waiting and self._waiting[0][0] <= head + due:
            place, mark = self._waiting.popleft()
            self.position += place - self._head
            self._head = place
            self._echo(mark, start + place - head, "play")
        self.position += head + due - self._head
        self._head = head + due

    def next_echo(self) -> int | None:
        """The sample time at which the play head passes the next mark, None if no mark waits."""
        return self.now + self._waiting[0][0] - self._head if self._waiting else None

    def take_audio(self) -> list[tuple[int, bytes]]:
        """What has been played since the last call: sample time and mu-law bytes, in order, without
        overlap."""
        runs, self._runs = self._runs, []
        return runs

    def take_echoes(self) -> list[MarkRecord]:
        """The marks to echo since the last call, in order."""
        echoes, self._echoes = self._echoes, []
        return echoes

    def _echo(self, record: MarkRecord, at: int, by: EchoedBy) -> None:
        record.echoed, record.by, record.position = at, by, self.position
        self._echoes.append(record)

    def _drop(self) -> int:
        for audio, record in self._chunks:
            record.cleared = len(audio) - record.played
            record.cleared_at = self.now
        dropped, self.pending = self.pending, 0
        self._head += dropped
        self._chunks.clear()
        self._offset = 0
        return dropped
