"""One bidirectional media stream from Twilio's end: one-way latency, playout buffer and messages.

Every time is a count of samples at 8000 Hz since `dial`. The reader's thread notes when a message arrived; the call's
thread does everything else at the times that it is given.
"""

import time
from collections import deque
from collections.abc import Callable

from simulator.call_result import StreamRecord
from simulator.media_messages import CONNECTED, Clear, FromServer, Invalid, Mark, Media, Writer
from simulator.media_socket import Closed, MediaSocket
from simulator.phone_events import Cleared, MarkEchoed, PhoneEvent, ProtocolError
from simulator.playout import Playout
from wire.g711 import BYTES_PER_MS, SAMPLE_RATE


class MediaStream:
    """One stream. The call's thread runs all of it but `socket`'s methods for any thread."""

    def __init__(
        self,
        record: StreamRecord,
        writer: Writer,
        *,
        clock: Callable[[], int],
        latency: int,
        emit: Callable[[PhoneEvent], None],
        wake: Callable[[], None],
        receive_buffer: int | None = None,
    ) -> None:
        """`clock` gives the sample time now; `latency` delays every message either way, in samples.
        `receive_buffer` is the socket's, in bytes.

        `emit` is told what happens, in the call's thread. `wake` is called in the reader's thread when
        something other than audio has arrived.
        """
        self.record = record
        self.closed: Closed | None = None
        """How the stream ended, once that is known on the line."""
        self.max_lateness = 0
        """The longest that a media frame left after its time, in samples."""
        self.playout = Playout()
        record.media, record.marks, record.clears = (
            self.playout.media,
            self.playout.marks,
            self.playout.clears,
        )
        self.socket = MediaSocket(record.stream_sid, self._arrive, receive_buffer)
        self._writer = writer
        self._clock = clock
        self._latency = latency
        self._emit = emit
        self._wake = wake
        self._arrived: deque[tuple[int, FromServer | Closed]] = deque()  # with the time when it takes effect
        self._leaving: deque[tuple[int, str | bytes, bool]] = deque()  # with the time when it is sent
        self._overflowed = False

    def open(self, url: str, headers: dict[str, str]) -> None:
        """Connect to `url`, begin to read, and send `connected` and `start`. Raises StreamRefusedError."""
        self.socket.open(url, headers)
        self.record.opened = now = self._clock()
        self.playout.advance(now)
        self._send(now, CONNECTED)
        self._send(now, self._writer.start(self.record.parameters))
        self.socket.start_reading()
        self.flush(now)

    def advance(self, now: int) -> None:
        """Let happen what happens until `now`: arrivals, playing, echoes."""
        while self._arrived and self._arrived[0][0] <= now and self.closed is None:
            self._take(*self._arrived.popleft())
        self.playout.advance(now)
        for mark in self.playout.take_echoes():
            assert mark.echoed is not None
            assert mark.by is not None
            self._send(mark.echoed, self._writer.mark(mark.name))
            self._emit(MarkEchoed(mark.echoed / SAMPLE_RATE, mark.name, mark.by))

    def next_due(self) -> int | None:
        """When `advance` or `flush` next has something to do, as far as it is known."""
        due = [queue[0][0] for queue in (self._arrived, self._leaving) if queue]
        if (echo := self.playout.next_echo()) is not None:
            due.append(echo)
        return min(due, default=None)

    def send_frame(self, frame: bytes, now: int) -> None:
        """Send a frame of caller speech that was complete at `now`, so began as long before as it is."""
        began = now - len(frame)
        if began < self.record.opened:
            return  # said before there was a stream
        self._send(now, self._writer.media(frame, (began - self.record.opened) // BYTES_PER_MS), audio=True)
        self.record.frames_sent += 1

    def press(self, digit: str, now: int) -> None:
        self._send(now, self._writer.dtmf(digit))

    def send_raw(self, message: str | bytes, now: int) -> None:
        """Send a text or a binary frame as it is, for tests of what Twilio would never send."""
        self._send(now, message)

    def flush(self, now: int) -> None:
        """Hand the socket what is due at `now`."""
        while self._leaving and self._leaving[0][0] <= now:
            due, message, audio = self._leaving.popleft()
            if audio:
                self.max_lateness = max(self.max_lateness, now - due)
            if not self.socket.send(message):
                self._leaving.clear()

    def close(self, now: int) -> Closed:
        """End the stream at `now`, with `stop` and a close frame if the server has not ended it."""
        self.playout.end(now)
        closed = self.closed
        if closed is None:
            closed = self.closed = Closed(1000, "phone")
            self._send(now, self._writer.stop())
            while self._leaving:
                time.sleep(max(self._leaving[0][0] - self._clock(), 0) / SAMPLE_RATE)
                self.flush(self._clock())
        self.socket.close()
        self.record.closed, self.record.close_code = now, closed.code
        return closed

    def _arrive(self, message: FromServer | Closed) -> None:
        """The reader's thread."""
        self._arrived.append((self._clock() + self._latency, message))
        if not isinstance(message, Media):
            self._wake()

    def _take(self, now: int, message: FromServer | Closed) -> None:
        match message:
            case Media(audio):
                if self.playout.put(audio, now) and not self._overflowed:
                    self._overflowed = True  # Twilio says so once
                    self._report(
                        now, 31931, "more than ten minutes of audio are buffered; the rest is discarded"
                    )
            case Mark(name):
                self.playout.mark(name, now)
            case Clear():
                cleared = self.playout.clear(now)
                self._emit(Cleared(cleared.at / SAMPLE_RATE, cleared.dropped_ms))
            case Invalid(code, text):
                self._report(now, code, text)
            case Closed():
                self.closed = message
                if message.error is not None:
                    self._report(now, message.error, message.detail)

    def _report(self, now: int, code: int, text: str) -> None:
        self._emit(ProtocolError(now / SAMPLE_RATE, code, text))

    def _send(self, now: int, message: str | bytes, *, audio: bool = False) -> None:
        self._leaving.append((now + self._latency, message, audio))
