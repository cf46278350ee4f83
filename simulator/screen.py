"""Where a call is told: lines, and on a terminal both levels in a last line that is drawn again and again.

In a file, a pipe or a terminal that cannot go back in its line (TERM=dumb) there are only the lines. No colours.
"""

import os
import shutil
import textwrap
import threading
from math import log10
from types import TracebackType
from typing import Self, TextIO

from simulator.narrator import LEAST_WIDTH, LINE_WIDTH
from wire.g711 import SAMPLE_RATE, decode_ulaw

REDRAW_SAMPLES = SAMPLE_RATE // 10
"""Between two drawings of the levels; each shows the loudest sample since the one before."""
QUIETEST_DB = -48.0
"""What an empty meter stands for, below full scale."""
LONGEST_METER = 24
_INDENT = " " * 11
"""Below the first word of a line that begins with what it is about."""

_LOUDNESS = bytes(
    max(abs(sample) - 1, 0) >> 7 for sample in memoryview(decode_ulaw(bytes(range(256)))).cast("h")
)
"""By mu-law code, how far from zero: 0 to 250 or so, which `max` finds quickly."""
_FULL = max(_LOUDNESS)


class Screen:
    """Any thread. What is written goes to `stream` alone."""

    def __init__(self, stream: TextIO, *, live: bool | None = None, width: int | None = None) -> None:
        """`live` says whether levels are shown, and `width` is in characters; both are found out where None."""
        terminal = stream.isatty()
        self._stream = stream
        self._breaks = terminal or bool(live)
        self._live = terminal and os.environ.get("TERM", "dumb") != "dumb" if live is None else live
        if width is None:
            # One less: some terminals go to the next line as soon as the last place of one is taken.
            width = min(shutil.get_terminal_size().columns - 1, LINE_WIDTH) if terminal else LINE_WIDTH
        self.width = max(width, LEAST_WIDTH)
        self._lock = threading.Lock()
        self._drawn = 0
        self._drawn_at = 0
        self._said = self._heard = 0

    def echo(self, text: str) -> None:
        """Print text above the levels, which appear again with the next audio."""
        if self._breaks:
            text = "\n".join(self._broken(line) for line in text.split("\n"))
        with self._lock:
            self._stream.write(f"{self._erasure()}{text}\n")
            self._stream.flush()

    def listen(self, start: int, said: bytes, heard: bytes) -> None:
        """What is on the line from a sample time on, as mu-law; as `Phone` tells it."""
        if not self._live:
            return
        self._said = max(self._said, loudness(said))
        self._heard = max(self._heard, loudness(heard))
        if start - self._drawn_at < REDRAW_SAMPLES:
            return
        self._drawn_at = start
        line = levels(start / SAMPLE_RATE, self._said, self._heard, self.width)
        self._said = self._heard = 0
        with self._lock:
            self._stream.write("\r" + line.ljust(self._drawn))
            self._stream.flush()
            self._drawn = len(line)

    def close(self) -> None:
        """Take the levels away."""
        with self._lock:
            self._stream.write(self._erasure())
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _broken(self, line: str) -> str:
        if len(line) <= self.width:
            return line
        return textwrap.fill(
            line, self.width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
        )

    def _erasure(self) -> str:
        drawn, self._drawn = self._drawn, 0
        return f"\r{' ' * drawn}\r" if drawn else ""


def loudness(ulaw: bytes) -> int:
    """Of the loudest sample, from 0 to `_FULL`."""
    return max(ulaw.translate(_LOUDNESS), default=0)


def levels(seconds: float, said: int, heard: int, width: int) -> str:
    """One line of at most `width` characters."""
    length = min((width - 35) // 2, LONGEST_METER)
    if length < 4:
        return f"{seconds:6.2f} s"
    meters = [f"[{'#' * full:-<{length}}]" for full in (_filled(each, length) for each in (said, heard))]
    return f"{seconds:6.2f} s  caller {meters[0]} assistant {meters[1]}"


def _filled(loudest: int, length: int) -> int:
    """How much of a meter, by decibels."""
    if loudest <= 0:
        return 0
    share = 1 - 20 * log10(loudest / _FULL) / QUIETEST_DB
    return max(0, min(length, round(share * length)))
