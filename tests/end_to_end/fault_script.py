"""What is said in the calls of the fault matrix: everybody in tones, each voice in one of its own.

So the ear at the phone knows what was heard.
"""

from collections import Counter

from simulator.script import Script, ScriptedCall, ScriptedReply, tone
from tests.end_to_end.ear import pitch
from wire.g711 import FRAME_BYTES

VOICES = {
    "greeting": 400,
    "answer": 600,
    "rest": 800,
    "result": 1000,
    "reply": 1200,
    "filler": 1500,
    "apology": 1800,
    "fallback": 2200,
    "pardon": 2600,
    "excuse": 3000,
}
"""Whom the caller hears, in Hz. `rest` is what goes on after a break, `excuse` says that a tool failed."""

GREETING_MS, ANSWER_MS, REST_MS, REPLY_MS = 3200, 5000, 1500, 600
FILLER_MS, APOLOGY_MS, FALLBACK_MS = 600, 1000, 500

QUESTION, STORY, REQUEST = "When do you open?", "Tell me everything.", "Is my bicycle ready?"
SPOKEN = {QUESTION: 500, STORY: 900, REQUEST: 1300}
"""What a caller can say, in Hz."""

# At a natural speed: the model writes what it says a second ahead of its voice.
GREETING = "Good morning, this is the workshop, how can I help?"
REPLY, RESULT = "At nine.", "On Tuesday."
ANSWER = " ".join(f"word{number:02}" for number in range(1, 13))


class Hearing:
    """Understands one utterance by its pitch."""

    def __init__(self) -> None:
        self._audio = bytearray()

    def feed(self, ulaw: bytes) -> None:
        self._audio += ulaw

    def finish(self) -> str:
        frames = (bytes(self._audio[at : at + FRAME_BYTES]) for at in range(0, len(self._audio), FRAME_BYTES))
        heard = Counter(_understood(frame) for frame in frames if len(frame) == FRAME_BYTES)
        del heard[""]
        return heard.most_common(1)[0][0] if heard else ""

    def cancel(self) -> None:
        pass


def _understood(frame: bytes) -> str:
    hertz = pitch(frame)
    return next((words for words, spoken in SPOKEN.items() if abs(hertz - spoken) <= 100), "")


class Pitches(Script):
    """Understands pitches and answers in pitches; the same to everybody, however many there are."""

    def listen(self) -> Hearing:  # type: ignore[override]
        return Hearing()

    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        match heard:
            case "":
                return _spoken("pardon", "Pardon?", REPLY_MS)
            case words if words == STORY:
                return _spoken("answer", ANSWER, ANSWER_MS)
            case words if words == REQUEST:
                return ScriptedReply(calls=(ScriptedCall("look_up"),))
            case _:
                return _spoken("reply", REPLY, REPLY_MS)

    def after_tool(self, name: str, output: str) -> ScriptedReply:
        return _told(output)

    def follow(self, instructions: str) -> ScriptedReply:
        if "Say exactly these words" in instructions:
            return _spoken("greeting", GREETING, GREETING_MS)
        if "words are not answered yet" in instructions or REPLY in instructions:
            return _spoken("reply", REPLY, REPLY_MS)
        if "result of your last function call is there" in instructions or RESULT in instructions:
            return _spoken("result", RESULT, REPLY_MS)
        return _spoken("rest", "and that is all of it.", REST_MS)


def _told(output: str) -> ScriptedReply:
    if "error" in output:
        return _spoken("excuse", "It failed.", REPLY_MS)
    return _spoken("result", RESULT, REPLY_MS)


def _spoken(voice: str, text: str, ms: int) -> ScriptedReply:
    return ScriptedReply(text, audio=tone(ms, VOICES[voice]))
