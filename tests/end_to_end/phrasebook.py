"""A caller whose every sentence is a tone of its own pitch, and a model that has an answer to each of them.

Many calls can go on at once, each by sentences of its own, and a model session that takes over hears the same
sentence again that the lost one did not answer.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping

from simulator.script import Script, ScriptedHearing, ScriptedReply, tone

SENTENCE_MS = 300
_BETWEEN = " / "

Answer = ScriptedReply | Exception


def spoken(text: str, milliseconds: int, **more: object) -> ScriptedReply:
    """What the assistant says, in a tone of this length."""
    return ScriptedReply(text, audio=tone(milliseconds), **more)  # type: ignore[arg-type]


class Phrasebook(Script):
    """`answers`: what is said to each of the caller's sentences, one after the other; after the last, that again.

    `instructed`: the same for instructions, by words that they contain; `after_tools`: for a tool's result.
    """

    def __init__(
        self,
        answers: Mapping[str, Iterable[Answer]],
        instructed: Mapping[str, Iterable[Answer]],
        after_tools: Answer | None = None,
    ) -> None:
        super().__init__()
        self._answers = {text: deque(each) for text, each in answers.items()}
        self._instructed = {words: deque(each) for words, each in instructed.items()}
        self._after_tools = after_tools or spoken("Here is what I found", 1000)
        self._pitches = {text: 300 + 37 * number for number, text in enumerate(answers)}
        self._changed = threading.Condition()
        self._answered: dict[str, list[float]] = defaultdict(list)

    def audio(self, text: str, milliseconds: int = SENTENCE_MS) -> bytes:
        """The caller's sentence, as mu-law at 8000 Hz."""
        return tone(milliseconds, self._pitches[text])

    def await_answer(self, about: str, timeout: float, count: int = 1) -> float:
        """Wait until the model has an answer to a sentence, instructions or a tool's result that is not a failure.

        Returns since when, in seconds of `time.monotonic()`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._answered[about]) >= count, timeout):
                raise TimeoutError(f"{about!r} was answered {len(self._answered[about])} times")
            return self._answered[about][count - 1]

    def answers_to(self, about: str) -> int:
        """How often there has been an answer by now: the next one's `count` is one more."""
        with self._changed:
            return len(self._answered[about])

    def listen(self) -> ScriptedHearing:
        """The recognition of one utterance."""
        hearing = ScriptedHearing(lambda: self._recognise(bytes(hearing.audio)))
        return hearing

    def reply(self, heard: str, tools: Collection[str] = ()) -> ScriptedReply:
        """The answer to the last of the sentences that were heard."""
        last = heard.split(_BETWEEN)[-1]
        return self._give("reply", heard, last, self._answers.get(last) or deque([spoken("Pardon?", 500)]))

    def follow(self, instructions: str) -> ScriptedReply:
        """The answer to instructions."""
        words = next((each for each in self._instructed if each in instructions), "")
        return self._give(
            "follow", instructions, words, self._instructed.get(words) or deque([spoken("So", 500)])
        )

    def after_tool(self, name: str, output: str) -> ScriptedReply:
        """The answer to a tool's result."""
        return self._give("after_tool", f"{name} {output}", name, deque([self._after_tools]))

    def _recognise(self, audio: bytes) -> str:
        found = {audio.find(self.audio(text)[800:1280]): text for text in self._pitches}
        return _BETWEEN.join(text for place, text in sorted(found.items()) if place >= 0)

    def _give(self, method: str, question: str, about: str, answers: deque[Answer]) -> ScriptedReply:
        with self._changed:
            self.asked.append((method, question))
            answer = answers.popleft() if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            self._answered[about].append(time.monotonic())
            self._changed.notify_all()
            return answer
