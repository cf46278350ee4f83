"""A greeting in the assistant's own voice, kept from one call and played at once in those that begin alike.

    first response of a call   audio, and its transcript, until it is done
    kept, if                   it was completed; all of it is one part; its transcript is the greeting, word for word;
                               it can be heard; it is not longer than MAX_MS
    otherwise                  nothing is kept, and the next call is another chance

A greeting that the model puts into words of its own is never kept: callers would hear for ever what was said once.

Pure.
"""

from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass

from wire.g711 import BYTES_PER_MS
from wire.loudness import is_loud
from wire.playback import Part

MAX_MS = 30_000
"""A longer one is no greeting; 240 kB."""

PIECE_MS = 200
"""How it goes to the phone. What was heard of it is known to this, and better while it plays evenly."""

LEAD_MS = 40
"""What is left of the silence that the model begins with: a voice that sets in softly is not cut."""

_FRAME_BYTES = 20 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class KeptGreeting:
    """What is said, and how that sounds."""

    text: str
    """as the model's transcript has it"""
    ulaw: bytes

    @property
    def duration_ms(self) -> float:
        """How long it takes to say."""
        return len(self.ulaw) / BYTES_PER_MS

    def pieces(self) -> Iterator[tuple[str, float]]:
        """Base64 of mu-law and its length in ms, in order."""
        size = PIECE_MS * BYTES_PER_MS
        for start in range(0, len(self.ulaw), size):
            piece = self.ulaw[start : start + size]
            yield b64encode(piece).decode(), len(piece) / BYTES_PER_MS


class GreetingTake:
    """Listens to the first response of one session. Not thread-safe: it belongs to who reads the session."""

    def __init__(self, words: str) -> None:
        """`words`: what the assistant was told to say."""
        self._words = words
        self._response_id: str | None = None
        self._part: Part | None = None
        self._ulaw = bytearray()
        self._loud = False
        self._texts: dict[Part, str] = {}
        self._over = False

    @property
    def over(self) -> bool:
        """Whether there is nothing more to listen for."""
        return self._over

    def audio(self, response_id: str, part: Part, payload: str) -> None:
        """The assistant says something; base64 of mu-law."""
        if self._over:
            return
        if self._part is None:
            self._response_id, self._part = response_id, part
        if part != self._part or len(self._ulaw) > MAX_MS * BYTES_PER_MS:
            self._end()
            return
        ulaw = a2b_base64(payload)
        self._ulaw += ulaw
        self._loud = self._loud or is_loud(ulaw)

    def said(self, part: Part, text: str) -> None:
        """The whole text of a part."""
        if not self._over:
            self._texts[part] = text

    def done(self, response_id: str, completed: bool) -> KeptGreeting | None:
        """A response has ended. Returns the greeting if that was it; one without a voice says nothing."""
        if self._over or response_id != self._response_id or self._part is None:
            return None
        text, ulaw = self._texts.get(self._part, ""), bytes(self._ulaw)
        good = completed and self._loud and len(ulaw) <= MAX_MS * BYTES_PER_MS
        self._end()
        return KeptGreeting(text, _trimmed(ulaw)) if good and same_words(text, self._words) else None

    def _end(self) -> None:
        self._over = True
        self._ulaw.clear()
        self._texts.clear()


def same_words(text: str, other: str) -> bool:
    """Whether two texts are the same but for punctuation, spaces and capitals. Without a word they are not."""
    letters = [[letter for letter in each.casefold() if letter.isalnum()] for each in (text, other)]
    return bool(letters[0]) and letters[0] == letters[1]


def _trimmed(ulaw: bytes) -> bytes:
    for start in range(0, len(ulaw), _FRAME_BYTES):
        if is_loud(ulaw[start : start + _FRAME_BYTES]):
            return ulaw[max(start - LEAD_MS * BYTES_PER_MS, 0) :]
    return ulaw
