"""The offline model's ears and mouth: recognition and synthesis for all sessions, in one child process.

A child, because pocketsphinx holds the GIL while it decodes and because espeak-ng is GPL code, which stays out of
this process. If the child dies it is started again; what it cannot do meanwhile the shipped prompts do.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from types import TracebackType

from simulator.prompts import Prompts
from simulator.recognizer import ENGINES as RECOGNIZERS
from simulator.synthesizer import ENGINES as SYNTHESIZERS
from simulator.voice_frames import Kind
from simulator.voice_process import Request, VoiceProcess
from wire.g711 import BYTES_PER_MS

LOG = logging.getLogger(__name__)

LONGEST_UTTERANCE_SECONDS = 30
LONGEST_TEXT = 20_000

_START_SECONDS = 15.0
_ANSWER_SECONDS = 3.0
_SPEECH_SECONDS = 30.0
_SUCCESSOR_SECONDS = 2.0
_RESTARTS = 3
_RESTARTS_WITHIN_SECONDS = 60.0
_TAKEN_AT_A_TIME = 10
_HEAR_BYTES = 200 * BYTES_PER_MS


class VoiceError(RuntimeError):
    """A text could not be spoken to its end. The message says why."""


class Voice:
    """Hears and speaks. Any number of threads may use it at once, between `start` and `close`.

    `phrases` are what can be recognised: words in small letters. `recognizers` and `synthesizers` are engines to
    try, best first; where none works, nothing is understood and the shipped prompts speak.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        *,
        recognizers: Sequence[str] = RECOGNIZERS,
        synthesizers: Sequence[str] = SYNTHESIZERS,
    ) -> None:
        self.recognition = "none"
        """What hears: "pocketsphinx" or "none". Known after `start`."""
        self.synthesis = "prompts"
        """What speaks: "espeak-ng", "flite" or "prompts". Known after `start`."""
        self.unknown_words: tuple[str, ...] = ()
        """Words of the phrases that the pronunciation dictionary lacks; their phrases cannot be recognised."""
        self._configuration = json.dumps(
            {"phrases": list(phrases), "recognizers": list(recognizers), "synthesizers": list(synthesizers)}
        ).encode()
        self._prompts = Prompts.load()
        self._changed = threading.Condition()
        self._process: VoiceProcess | None = None
        self._open = False
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)

    def start(self) -> None:
        """Starts the child and waits until it is ready, 0.3 s as a rule.

        Raises VoiceError if it does not come up within 15 s, or refuses its configuration.
        """
        with self._changed:
            if self._open:
                raise RuntimeError("this Voice is started already")
            self._open = True
            self._process = process = VoiceProcess(self._configuration, self._replace)
        reason = self._await_ready(process)
        if reason:
            self.close()
            raise VoiceError(f"the voice process cannot work: {reason}")

    def close(self) -> None:
        """Ends the child and the threads; what is being said raises VoiceError. Idempotent."""
        with self._changed:
            self._open = False
            process, self._process = self._process, None
            self._changed.notify_all()
        if process:
            process.close()

    def __enter__(self) -> "Voice":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        process = self._process
        return process.pid if process else None

    def listen(self) -> "Hearing":
        """Begins to recognise one utterance. Never blocks."""
        process = self._process
        return Hearing(process.request() if process else None)

    def speak(self, text: str, *, voice: str = "marin", speed: float = 1.0) -> Iterator[bytes]:
        """The text as mu-law at 8000 Hz in pieces of about 80 ms, made up to 2 s ahead of who takes them.

        Closing the iterator ends the synthesis. Voices are named as in the Realtime API. If the child is gone
        before the first piece, its successor speaks, or the prompts do. Raises VoiceError if the speech breaks
        off, ValueError for a text of more than 20,000 characters.
        """
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"a text to speak has at most {LONGEST_TEXT} characters, not {len(text)}")
        order = json.dumps({"text": text, "voice": voice, "speed": speed}).encode()
        process = self._process
        for _ in range(2):
            if process is None:
                break
            spoken = False
            with closing(self._spoken(process, order)) as pieces:
                for piece in pieces:
                    if piece is None:
                        break
                    spoken = True
                    yield piece
                else:
                    return
            if spoken:
                raise VoiceError("the voice process ended in the middle of a text")
            process = self._successor(process)
        if not self._open:
            raise VoiceError("this Voice is closed, or was never started")
        yield from self._prompts.speak(text, voice, speed)

    def _spoken(self, process: VoiceProcess, order: bytes) -> Generator[bytes | None, None, None]:
        """The pieces; None, and nothing after it, where the child ended."""
        request = process.request(Kind.SPEAK, order)
        taken = 0
        finished = False
        try:
            while True:
                frame = request.answer(_SPEECH_SECONDS)
                if frame is None:
                    process.kill()
                    raise VoiceError(f"the voice process made no speech for {_SPEECH_SECONDS:.0f} s")
                finished = frame.kind != Kind.SPEECH
                match frame.kind:
                    case Kind.SPEECH:
                        yield frame.payload
                    case Kind.FAILED:
                        raise VoiceError(f"the text cannot be spoken: {frame.payload.decode()}")
                    case Kind.ENDED:
                        yield None
                        return
                    case _:
                        return
                taken += 1
                if taken % _TAKEN_AT_A_TIME == 0:
                    request.send(Kind.MORE, _TAKEN_AT_A_TIME.to_bytes(2, "big"))
        finally:
            if finished:
                request.forget()
            else:
                request.drop()

    def _replace(self, ended: VoiceProcess) -> None:
        """Starts a successor, at most three in a minute. Runs in the reading thread of the process that ended."""
        with self._changed:
            if self._process is not ended:
                return
            now = time.monotonic()
            too_often = (
                len(self._restarts) == _RESTARTS and now - self._restarts[0] < _RESTARTS_WITHIN_SECONDS
            )
            # Until there is a successor the ended process stays: who reads None believes that there will be none.
            successor = None
            if too_often:
                LOG.error("the voice process ended with %s again; only prompts are left", ended.returncode)
            else:
                self._restarts.append(now)
                LOG.warning("the voice process ended with %s and is started again", ended.returncode)
                try:
                    successor = VoiceProcess(self._configuration, self._replace)
                except OSError as error:
                    LOG.error("the voice process cannot be started again (%s); only prompts are left", error)
            if successor is None:
                self.recognition, self.synthesis = "none", "prompts"
            self._process = successor
            self._changed.notify_all()
        if successor:
            reason = self._await_ready(successor)
            if reason and self._open:
                LOG.warning("the new voice process cannot work: %s", reason)

    def _await_ready(self, process: VoiceProcess) -> str:
        """Learns what the process can do. Returns why it cannot work, "" if it can."""
        answer = process.ready.answer(_START_SECONDS)
        process.ready.forget()
        if answer is None or answer.kind != Kind.READY:
            return answer.payload.decode() if answer and answer.payload else "it did not get ready"
        ready = json.loads(answer.payload)
        self.recognition = ready["recognition"]
        self.synthesis = ready["synthesis"]
        self.unknown_words = tuple(ready["unknown_words"])
        for problem in ready["problems"]:
            LOG.info("voice: %s", problem)
        if self.unknown_words:
            LOG.warning("these words cannot be recognised: %s", ", ".join(self.unknown_words))
        return ""

    def _successor(self, ended: VoiceProcess) -> VoiceProcess | None:
        with self._changed:
            self._changed.wait_for(lambda: self._process is not ended, _SUCCESSOR_SECONDS)
            return self._process if self._process is not ended else None


class Hearing:
    """The recognition of one utterance, from `Voice.listen`. Used by one thread at a time."""

    def __init__(self, request: Request | None) -> None:
        self._request = request
        self._bytes_left = LONGEST_UTTERANCE_SECONDS * 1000 * BYTES_PER_MS

    def feed(self, ulaw: bytes) -> None:
        """Hears mu-law at 8000 Hz; never blocks. What comes after 30 s, or after the end, is not listened to."""
        if self._request is None:
            return
        ulaw = ulaw[: self._bytes_left]
        self._bytes_left -= len(ulaw)
        for start in range(0, len(ulaw), _HEAR_BYTES):
            self._request.send(Kind.HEAR, ulaw[start : start + _HEAR_BYTES])

    def finish(self) -> str:
        """The phrase that was said; "" if nothing was understood, nothing can hear, or no answer came within 3 s."""
        request, self._request = self._request, None
        if request is None:
            return ""
        request.send(Kind.FINISH)
        answer = request.answer(_ANSWER_SECONDS)
        if answer is None:
            LOG.warning("the voice process did not say within %.0f s what it heard", _ANSWER_SECONDS)
            request.drop()
            return ""
        request.forget()
        if answer.kind == Kind.FAILED:
            LOG.warning("an utterance was not recognised: %s", answer.payload.decode())
        return answer.payload.decode() if answer.kind == Kind.HEARD else ""

    def cancel(self) -> None:
        """Forgets the utterance."""
        request, self._request = self._request, None
        if request is not None:
            request.drop()
