"""The program's end of the voice process: starts it, carries requests to it and answers from it, sees its end."""

import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from simulator.voice_frames import Frame, FrameReader, Kind, encode

LOG = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
# -P and the explicit path: the process finds this very package, wherever the program runs.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from simulator.voice_worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_RECEIVE_BYTES = 65536
_END_SECONDS = 2.0


class VoiceProcess:
    """One child process, from its start to its end. Any thread may make requests.

    `on_end(process)` runs in the reading thread after the child has ended by itself, not after `close`. Raises
    OSError if the child cannot be started.
    """

    def __init__(self, configuration: bytes, on_end: Callable[["VoiceProcess"], None]) -> None:
        self._on_end = on_end
        self._requests = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[int, SimpleQueue[Frame]] = {}
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._ended = False
        self._closing = False
        self._connection, child_end = socket.socketpair()
        with child_end:
            try:
                self._child = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",
                        "-c",
                        _START,
                        str(_ROOT),
                        str(child_end.fileno()),
                        str(os.getpid()),
                    ],
                    pass_fds=[child_end.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # Control-C in a terminal is for the program, which ends this process in its own time.
                    start_new_session=True,
                )
            except OSError:
                self._connection.close()
                raise
        self.pid = self._child.pid
        self.ready = self.request(Kind.CONFIGURE, configuration)
        self._reader = threading.Thread(target=self._read, name=f"voice-reader {self.pid}", daemon=True)
        self._writer = threading.Thread(target=self._write, name=f"voice-writer {self.pid}", daemon=True)
        self._writer.start()
        self._reader.start()

    @property
    def returncode(self) -> int | None:
        """How the child ended: its exit code, or minus the signal that ended it. None while it runs."""
        return self._child.returncode

    def request(self, kind: Kind | None = None, payload: bytes = b"") -> "Request":
        """A new request, whose first frame is sent unless `kind` is None. ENDED answers it if the child is gone."""
        number = next(self._requests)
        answers: SimpleQueue[Frame] = SimpleQueue()
        with self._lock:
            if self._ended:
                answers.put(Frame(Kind.ENDED, number))
            else:
                self._answers[number] = answers
        request = Request(self, number, answers)
        if kind is not None:
            request.send(kind, payload)
        return request

    def send(self, frame: Frame) -> None:
        """Queues a frame; never blocks. Raises ValueError for a payload over 1 MiB."""
        self._outgoing.put(encode(frame))

    def forget(self, number: int) -> None:
        """No answer to this request is wanted any more."""
        with self._lock:
            self._answers.pop(number, None)

    def kill(self) -> None:
        """Ends a child that does not do its work; `on_end` follows."""
        self._child.kill()

    def close(self) -> None:
        """Ends the child and both threads, within 2 s as a rule. Requests are answered by ENDED. Idempotent."""
        self._closing = True
        self._outgoing.put(None)
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            LOG.debug("voice process %d was gone already", self.pid)
        self._reader.join()

    def _read(self) -> None:
        frames = FrameReader()
        try:
            while data := self._connection.recv(_RECEIVE_BYTES):
                for frame in frames.feed(data):
                    self._deliver(frame)
        except (OSError, ValueError) as error:
            LOG.debug("voice process %d: %s", self.pid, error)
        self._end()

    def _deliver(self, frame: Frame) -> None:
        with self._lock:
            answers = self._answers.get(frame.request)
        if answers:
            answers.put(frame)

    def _end(self) -> None:
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        with self._lock:
            self._ended = True
            waiting = list(self._answers.items())
            self._answers.clear()
        for number, answers in waiting:
            answers.put(Frame(Kind.ENDED, number))
        self._outgoing.put(None)
        # The socket may only be closed when nobody writes to it: its number is given to others at once.
        self._writer.join()
        self._connection.close()
        if not self._closing:
            self._on_end(self)

    def _write(self) -> None:
        while (data := self._outgoing.get()) is not None:
            try:
                self._connection.sendall(data)
            except OSError:
                return  # the reader sees the end as well, and deals with it


class Request:
    """One request and its answers. Used by one thread at a time."""

    def __init__(self, process: VoiceProcess, number: int, answers: "SimpleQueue[Frame]") -> None:
        self._process = process
        self._number = number
        self._answers = answers

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queues a frame of this request; never blocks. Raises ValueError for a payload over 1 MiB."""
        self._process.send(Frame(kind, self._number, payload))

    def answer(self, timeout: float) -> Frame | None:
        """The next answer, None after that many seconds without one."""
        try:
            return self._answers.get(timeout=timeout)
        except Empty:
            return None

    def drop(self) -> None:
        """Tells the child to stop working on it, and takes no more answers."""
        self.send(Kind.DROP)
        self.forget()

    def forget(self) -> None:
        """Takes no more answers."""
        self._process.forget(self._number)
