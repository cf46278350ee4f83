"""The voice process: recognises and speaks for all sessions, in one thread.

It serves the socket first and then makes one piece of speech, of one request after the other: so a long answer
delays nobody by more than a sentence's synthesis, a few milliseconds. It ends when the socket does, and also when its
parent is another one than at the start, because a fork of the parent may keep the socket open.
"""

import json
import os
import select
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulator.recognizer import NoRecognizer, Recognizer, Utterance, open_recognizer
from simulator.synthesizer import Synthesizer, open_synthesizer
from simulator.voice_frames import Frame, FrameReader, Kind, encode

PIECES_AHEAD = 25
"""Pieces of speech made before anybody takes one: 2 s."""

_PARENT_CHECK_SECONDS = 1.0
_RECEIVE_BYTES = 8192


@dataclass(slots=True)
class _Speech:
    request: int
    pieces: Iterator[bytes]
    allowed: int = PIECES_AHEAD


class Worker:
    """Serves one connected stream socket until it ends."""

    def __init__(self, connection: socket.socket, parent: int) -> None:
        self._connection = connection
        self._parent = parent
        self._frames = FrameReader()
        self._recognizer: Recognizer = NoRecognizer()
        self._synthesizer: Synthesizer | None = None
        self._utterances: dict[int, Utterance] = {}
        self._speeches: dict[int, _Speech] = {}
        self._turns: deque[_Speech] = deque()

    def run(self) -> None:
        """Returns when the other side is gone. Raises ValueError if the stream is not of frames."""
        while os.getppid() == self._parent:
            wait = 0.0 if self._turns else _PARENT_CHECK_SECONDS
            if select.select([self._connection], [], [], wait)[0]:
                try:
                    data = self._connection.recv(_RECEIVE_BYTES)
                except ConnectionError:
                    return
                if not data:
                    return
                for frame in self._frames.feed(data):
                    self._serve(frame)
            if self._turns:
                self._speak_on(self._turns.popleft())

    def _serve(self, frame: Frame) -> None:
        try:
            self._answer(frame)
        except Exception as error:  # one bad request is not the end of the others
            self._forget(frame.request)
            self._send(Kind.FAILED, frame.request, f"{type(error).__name__}: {error}".encode())

    def _answer(self, frame: Frame) -> None:
        request = frame.request
        match frame.kind:
            case Kind.HEAR:
                if request not in self._utterances:
                    self._utterances[request] = self._recognizer.utterance()
                self._utterances[request].feed(frame.payload)
            case Kind.FINISH:
                utterance = self._utterances.pop(request, None)
                self._send(Kind.HEARD, request, utterance.finish().encode() if utterance else b"")
            case Kind.SPEAK:
                self._begin_to_speak(request, frame.payload)
            case Kind.MORE:
                self._allow(request, int.from_bytes(frame.payload, "big"))
            case Kind.DROP:
                self._forget(request)
            case Kind.CONFIGURE:
                self._configure(request, frame.payload)
            case _:
                raise ValueError(f"the voice process does not know frames of kind {frame.kind}")

    def _configure(self, request: int, payload: bytes) -> None:
        settings = json.loads(payload)
        self._recognizer, deaf = open_recognizer(settings["recognizers"], settings["phrases"])
        self._synthesizer, dumb = open_synthesizer(settings["synthesizers"])
        ready = {
            "recognition": self._recognizer.name,
            "synthesis": self._synthesizer.name,
            "unknown_words": self._recognizer.unknown_words,
            "problems": [problem for problem in (deaf, dumb) if problem],
        }
        self._send(Kind.READY, request, json.dumps(ready).encode())

    def _begin_to_speak(self, request: int, payload: bytes) -> None:
        if self._synthesizer is None:
            raise RuntimeError("the voice process was asked to speak before it was configured")
        order = json.loads(payload)
        pieces = self._synthesizer.speak(order["text"], order["voice"], order["speed"])
        self._speeches[request] = _Speech(request, pieces)
        self._turns.append(self._speeches[request])

    def _allow(self, request: int, pieces: int) -> None:
        speech = self._speeches.get(request)
        if speech:
            if speech.allowed == 0:
                self._turns.append(speech)
            speech.allowed += pieces

    def _speak_on(self, speech: _Speech) -> None:
        if self._speeches.get(speech.request) is not speech:
            return
        try:
            piece = next(speech.pieces, None)
        except Exception as error:  # as in _serve
            self._forget(speech.request)
            self._send(Kind.FAILED, speech.request, f"{type(error).__name__}: {error}".encode())
            return
        if piece is None:
            self._forget(speech.request)
            self._send(Kind.SPOKEN, speech.request)
            return
        self._send(Kind.SPEECH, speech.request, piece)
        speech.allowed -= 1
        if speech.allowed:
            self._turns.append(speech)

    def _forget(self, request: int) -> None:
        self._speeches.pop(request, None)
        utterance = self._utterances.pop(request, None)
        if utterance:
            utterance.cancel()

    def _send(self, kind: Kind, request: int, payload: bytes = b"") -> None:
        self._connection.sendall(encode(Frame(kind, request, payload)))


def main(descriptor: int, parent: int) -> None:
    """The life of the voice process: serves the socket with this descriptor for the process with this id."""
    with socket.socket(fileno=descriptor) as connection:
        try:
            Worker(connection, parent).run()
        except BrokenPipeError:
            return  # the program ended while something was being said
