"""The greeting that is the same in every call: played at once where its audio is kept, and else kept for the next."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Protocol

import orjson

from actors.endpoints import Endpoint
from wire.dialect import Session
from wire.kept_greeting import GreetingTake, KeptGreeting
from wire.playback import Part

logger = logging.getLogger(__name__)

FORM = 1
"""Of what is kept. Another number, and nothing that was kept before is played any more."""

KEPT_RESPONSE = "kept greeting"
"""Stands for the id of a response: none of this session's has said it."""


class GreetingBox(Protocol):
    """Where greetings are kept. Any thread; raises nothing."""

    def find(self, key: str) -> KeptGreeting | None:
        """The one of that key; None: there is none, or it cannot be had now. May wait for a database."""

    def keep(self, key: str, greeting: KeptGreeting) -> None:
        """Keep it. Returns at once."""


@dataclass(frozen=True, slots=True)
class FixedGreeting:
    """The words that every call with an assistant begins with, and where they are kept in its voice."""

    words: str
    """an announcement included"""
    assistant_version: str
    session: Session
    """whose voice and speed they are said in"""
    box: GreetingBox

    def find(self, endpoint: Endpoint) -> KeptGreeting | None:
        """As that endpoint would say it. May wait for a database."""
        return self.box.find(self._key(endpoint))

    def keeper(self, endpoint: Endpoint) -> "GreetingKeeper":
        """Who keeps it when that endpoint has said it."""
        return GreetingKeeper(self._key(endpoint), GreetingTake(self.words), self.box)

    def _key(self, endpoint: Endpoint) -> str:
        # All that one hears of: with another value for any of them, it would not be the same voice or words.
        voice = self.session.voice, self.session.speed
        where = endpoint.name, endpoint.dialect.name, endpoint.audio.setting
        told = orjson.dumps([FORM, self.assistant_version, self.words, *voice, *where])
        return hashlib.sha256(told).hexdigest()


class GreetingKeeper:
    """Listens to one session's first response, and keeps it if it is the greeting. Runs in the reader's thread."""

    def __init__(self, key: str, take: GreetingTake, box: GreetingBox) -> None:
        self._key = key
        self._take = take
        self._box = box

    def audio(self, response_id: str, part: Part, payload: str) -> None:
        """The assistant says something; base64 of mu-law."""
        self._take.audio(response_id, part, payload)

    def said(self, part: Part, text: str) -> None:
        """The whole text of a part."""
        self._take.said(part, text)

    def done(self, response_id: str, completed: bool) -> bool:
        """A response has ended. True: there is nothing more to listen for."""
        if greeting := self._take.done(response_id, completed):
            self._box.keep(self._key, greeting)
            logger.info("the greeting is kept: %.1f s of audio", greeting.duration_ms / 1000)
        return self._take.over
