"""What the program and its voice process say to each other, over one stream socket.

A frame is its payload's length in bytes (32 bits), a kind (8 bits), the number of the request that it belongs to
(32 bits), all big-endian, and the payload.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

_HEADER = struct.Struct("!IBI")
LARGEST_PAYLOAD = 1 << 20


class Kind(IntEnum):
    """What a frame is. The first six go to the voice process, the others come from it."""

    CONFIGURE = 1
    """JSON: phrases, recognizers, synthesizers. The first frame."""
    HEAR = 2
    """Mu-law of an utterance; the first one begins it."""
    FINISH = 3
    """The utterance is over; answered by HEARD."""
    SPEAK = 4
    """JSON: text, voice, speed. Answered by SPEECH frames and SPOKEN."""
    MORE = 5
    """The listener took some speech: the number of further SPEECH frames allowed, 16 bits."""
    DROP = 6
    """The request is of no interest any more; not answered."""

    READY = 10
    """JSON: recognition, synthesis, unknown_words, problems. Answers CONFIGURE."""
    HEARD = 11
    """UTF-8: the phrase, or nothing."""
    SPEECH = 12
    """A piece of mu-law."""
    SPOKEN = 13
    """All was said."""
    FAILED = 14
    """UTF-8: why the request came to nothing."""
    ENDED = 15
    """The process is gone. Never sent: the program makes it for requests that wait."""


class Frame(NamedTuple):
    """One message. `request` is 0 where it belongs to none."""

    kind: int
    request: int
    payload: bytes = b""


class FrameReader:
    """Frames out of a stream of bytes, cut anywhere. Used by one thread at a time."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises ValueError for a length no frame has; the stream is lost."""
        received = self._received
        received += data
        frames = []
        start = 0
        while len(received) - start >= _HEADER.size:
            size, kind, request = _HEADER.unpack_from(received, start)
            if size > LARGEST_PAYLOAD:
                raise ValueError(f"a frame of {size} bytes is longer than the largest, {LARGEST_PAYLOAD}")
            end = start + _HEADER.size + size
            if end > len(received):
                break
            frames.append(Frame(kind, request, bytes(received[start + _HEADER.size : end])))
            start = end
        del received[:start]
        return frames


def encode(frame: Frame) -> bytes:
    """The bytes of a frame. Raises ValueError for a payload over 1 MiB."""
    if len(frame.payload) > LARGEST_PAYLOAD:
        raise ValueError(f"a payload of {len(frame.payload)} bytes is larger than {LARGEST_PAYLOAD}")
    return _HEADER.pack(len(frame.payload), frame.kind, frame.request) + frame.payload
