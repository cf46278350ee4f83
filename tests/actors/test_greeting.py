"""FixedGreeting: what makes it another one, and that what a session says first is kept under what it was said by."""

from dataclasses import replace

import pytest

from actors.endpoints import Endpoint
from actors.greeting import FixedGreeting
from tests.actors.parts import SESSION, endpoint, ulaw
from wire.audio_format import PCM24
from wire.dialect import AZURE
from wire.kept_greeting import KeptGreeting
from wire.playback import Part

PART = Part("item_g", 0)
HERE = endpoint("here")
KEPT = KeptGreeting("Hello there", b"\x80" * 8000)


class Box:
    """Keeps greetings in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptGreeting] = {}

    def find(self, key: str) -> KeptGreeting | None:
        return self.kept.get(key)

    def keep(self, key: str, greeting: KeptGreeting) -> None:
        self.kept[key] = greeting


def say(fixed: FixedGreeting, text: str, completed: bool = True, where: Endpoint = HERE) -> None:
    keeper = fixed.keeper(where)
    keeper.audio("resp_1", PART, ulaw(1000))
    keeper.said(PART, text)
    assert keeper.done("resp_1", completed)


def test_what_was_said_is_found_by_the_next_call() -> None:
    fixed = FixedGreeting("Hello there", "v1", SESSION, Box())
    assert fixed.find(HERE) is None
    say(fixed, "Hello there")
    assert fixed.find(HERE) == KEPT
    assert replace(fixed).find(endpoint("here")) == KEPT, "the same in another process"


@pytest.mark.parametrize(("text", "completed"), [("Hi there", True), ("Hello there", False)])
def test_what_is_not_the_greeting_is_not_kept(text: str, completed: bool) -> None:
    fixed = FixedGreeting("Hello there", "v1", SESSION, Box())
    say(fixed, text, completed)
    assert fixed.find(HERE) is None


def test_another_voice_version_or_model_is_another_greeting() -> None:
    box = Box()
    fixed = FixedGreeting("Hello there", "v1", SESSION, box)
    say(fixed, "Hello there")
    for other in (
        replace(fixed, words="Hello, there"),
        replace(fixed, assistant_version="v2"),
        replace(fixed, session=replace(SESSION, voice="cedar")),
        replace(fixed, session=replace(SESSION, speed=1.1)),
    ):
        assert other.find(HERE) is None
    for where in (
        endpoint("there"),
        Endpoint("here", HERE.dial, AZURE),
        Endpoint("here", HERE.dial, HERE.dialect, PCM24),
    ):
        assert fixed.find(where) is None
