"""`run.py serve`, with a clock on the two seams between which an interruption is the server's own business.

Between `speech_started` being received from the model's socket and `clear` being written to the phone's lies what the
server can be quick or slow at. Both moments are taken from outside the product, in the process that serves the call:

    instrumented_server.py TIMES CORES normal     appends a line to the file TIMES for each interruption

CORES is as in 1,2 or empty; `realtime` in place of `normal` schedules it before everything else. A line is the
process's id, then both moments, in seconds of the machine's monotonic clock.
"""

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import run
from actors.model_socket import ModelSocket
from benchmarks.load import pin
from web.sockets import PhoneSocket

SPEECH_STARTED = '"input_audio_buffer.speech_started"'
CLEAR = '{"event":"clear"'
TYPE_CHARACTERS = 120
"""The type of an event stands within so many; looking through a whole delta would cost time."""


class Stopwatch:
    """Takes the times of one process's interruptions. Any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._received: dict[str, float] = {}

    def received(self, at: float) -> None:
        """`speech_started` has come; the model's reader calls this."""
        self._received[_call()] = at

    def written(self, at: float) -> None:
        """`clear` has gone out; the phone's actor calls this."""
        received = self._received.pop(_call(), None)
        if received is not None:
            # One write of a short line to a file opened to append: whole, whichever worker writes at the same time.
            with self._file.open("a", encoding="ascii") as times:
                times.write(f"{os.getpid()} {received!r} {at!r}\n")


def instrument(stopwatch: Stopwatch) -> None:
    """Put the clock on both seams, before a worker is started."""
    receive, send = ModelSocket.receive, PhoneSocket.send

    def timed_receive(socket: ModelSocket) -> str | None:
        text = receive(socket)
        if text is not None and SPEECH_STARTED in text[:TYPE_CHARACTERS]:
            stopwatch.received(time.monotonic())
        return text

    def timed_send(socket: PhoneSocket, *texts: str) -> None:
        send(socket, *texts)
        if texts[0].startswith(CLEAR):
            stopwatch.written(time.monotonic())

    setattr(ModelSocket, receive.__name__, timed_receive)
    setattr(PhoneSocket, send.__name__, timed_send)


def _call() -> str:
    # The threads of a call have its SID for their last word.
    return threading.current_thread().name.rpartition(" ")[2]


if __name__ == "__main__":
    times, cores, scheduling = sys.argv[1:]
    pin([int(core) for core in cores.split(",") if core], realtime=scheduling == "realtime")
    instrument(Stopwatch(Path(times)))
    run.main(["serve", "--watch-parent"])
