"""Performing an answer: its speech comes in deltas, faster than real time, with the transcript running ahead.

Runs in the thread of the response. Source for the order: openai-realtime.md 7; for the pace, 8.5.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

from simulator.engine import Answer, Delivery, Voice
from simulator.response import Response
from wire.g711 import BYTES_PER_MS

TRANSCRIPT_LEAD_MS = 1000
TRANSCRIPT_CHARACTERS_PER_S = 20
"""Faster than anyone speaks (about 15), so that the transcript stays ahead of the audio."""


def perform(answer: Answer, response: Response, voice: Voice, delivery: Delivery) -> None:
    """Send the whole answer and finish the response. Raises Stopped as soon as the response has ended."""
    if answer.text or answer.audio:
        response.open_message()
        if response.settings.modalities == ["text"]:
            for word in _words(answer.text):
                response.write(word)
        else:
            _speak(answer, response, voice, delivery)
        if answer.calls or not answer.cut_short:
            response.close_message()
    for call in answer.calls:
        response.call(call)
    if answer.cut_short:
        response.cut_short(answer.cut_short)
    else:
        response.finish()


def _speak(answer: Answer, response: Response, voice: Voice, delivery: Delivery) -> None:
    settings = response.settings
    name = settings.voice if isinstance(settings.voice, str) else settings.voice["id"]
    began = time.monotonic()
    sent_ms = 0.0
    written = 0
    words = list(_words(answer.text))
    ahead = 1
    with closing(_chunks(answer, voice, name, settings.speed)) as chunks:
        deltas = _deltas(chunks, delivery.delta_ms * BYTES_PER_MS)
        while True:
            for delta in islice(deltas, ahead - response.prepared):
                response.prepare(delta)
            if not response.prepared:
                break
            due_characters = (sent_ms + TRANSCRIPT_LEAD_MS) * TRANSCRIPT_CHARACTERS_PER_S / 1000
            while words and written < due_characters:
                written += len(words[0])
                response.write(words.pop(0))
            response.stopped.wait(began + sent_ms / 1000 / delivery.pace - time.monotonic())
            sent_ms += response.speak() / BYTES_PER_MS
            # What would be late if the response was cancelled has to be there; the first delta waits for no other.
            ahead = max(delivery.late_deltas, 1)
    for word in words:
        response.write(word)


def _chunks(answer: Answer, voice: Voice, name: str, speed: float) -> Generator[bytes, None, None]:
    if answer.audio is not None:
        yield answer.audio
        return
    spoken = voice.speak(answer.text, voice=name, speed=speed)
    try:
        yield from spoken
    finally:
        # A generator's close cancels the synthesis; a plain iterator has nothing to cancel.
        close = getattr(spoken, "close", None)
        if close is not None:
            close()


def _deltas(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) >= size:
            yield bytes(pending[:size])
            del pending[:size]
    if pending:
        yield bytes(pending)


def _words(text: str) -> Iterator[str]:
    """The words of a text, each with the space before it."""
    for index, word in enumerate(text.split()):
        yield f" {word}" if index else word
