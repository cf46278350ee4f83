"""What became of a call that a fault has struck: what its caller heard, and for how long nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from simulator.phone_events import WebhookAnswered
from tests.end_to_end.ear import Sound
from tests.end_to_end.fault_script import ANSWER, ANSWER_MS, GREETING_MS, STORY
from tests.end_to_end.fault_stage import FaultyCall, Moment
from wire.g711 import SAMPLE_RATE

DEAD_AIR_SECONDS = 2.0
"""The longest that a caller may wait and hear nothing."""
MEASURING_SECONDS = 0.3
"""What a busy machine may add to that."""
TOLD_LATE_SECONDS = 2.0
"""By so much may a process that was killed have been behind in its journal."""

SILENCE_SECONDS = 0.5
"""`silence_duration_ms`: the caller's turn is over so long after the end of the caller's speech."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one call."""

    moment: Moment
    sounds: tuple[Sound, ...]
    struck_at: float
    dead_air: float
    """the longest, in s, from the fault on"""
    reason: str
    call: FaultyCall = field(repr=False)

    @property
    def goes_on(self) -> bool:
        """Whether the caller's last question was answered, and the caller hung up."""
        return self.reason == "caller" and self.sounds[-1].voice == "reply"

    @property
    def fell_back(self) -> bool:
        """Whether the caller was told by Twilio that it does not go on."""
        return self.reason == "hangup" and self.sounds[-1].voice == "fallback"

    def count(self, voice: str) -> int:
        """How often that voice was heard after the fault."""
        return sum(each.voice == voice and each.end > self.struck_at for each in self.sounds)

    def heard(self, voice: str) -> float:
        """How much of that voice was heard in all, in s."""
        return self.heard_before(voice, float("inf"))

    def heard_before(self, voice: str, moment: float) -> float:
        """How much of that voice was heard before that moment, in s."""
        heard = (min(each.end, moment) - each.start for each in self.sounds if each.voice == voice)
        return sum(max(seconds, 0.0) for seconds in heard)

    @property
    def _late_seconds(self) -> float:
        """By how much the phone itself was late: a machine that is busy is no dead air of ours."""
        return self.call.result.max_lateness_ms / 1000 if self.call.result is not None else 0.0

    def problems(self, falls_back: bool, longest: float = DEAD_AIR_SECONDS) -> list[str]:
        """What is not as it should be; `falls_back`: the call cannot go on. `longest` dead air, in s."""
        found = [self.call.problem] if self.call.problem else []
        if falls_back and not self.fell_back:
            found.append("there was no spoken way out")
        if not falls_back and not self.goes_on:
            found.append("the call did not go on")
        if self.dead_air > longest + MEASURING_SECONDS + self._late_seconds:
            found.append(f"{self.dead_air:.2f} s of dead air")
        if self.heard("greeting") > (GREETING_MS / 1000) + 0.2:
            found.append("the caller was greeted again")
        if self.moment is Moment.ASSISTANT and self.count("rest"):
            found += self._wrong_about_the_answer()
        return found

    def _wrong_about_the_answer(self) -> list[str]:
        """What the new session was told that is not what the caller heard of the answer that broke off."""
        heir = self.call.heir
        if heir is None:
            return ["the new session was not told of the conversation"]
        items = [item for item in heir.items if item.type == "message"]
        told = [item.text or "" for item in items if (item.text or "").startswith("word01")]
        said = [item.text for item in items if item.role == "user"]
        found = [] if said[:1] == [STORY] else [f"the new session knows of the caller: {said}"]
        words = len(told[0].split()) if told else 0
        a_second = len(ANSWER.split()) * 1000 / ANSWER_MS
        heard = self.heard("answer") * a_second
        # Of what the phone plays while nothing comes back from it, nobody is told.
        told_of = self.heard_before("answer", self.struck_at) * a_second if self.call.back_at else heard
        if not told_of - TOLD_LATE_SECONDS * a_second <= words <= heard + 1:
            found.append(f"the new session knows of {words} words of the answer, the caller of {heard:.1f}")
        # Where an answer of the server's own was refused, it is asked for without instructions.
        asked = [
            event.get("response", {}).get("instructions", "")
            for event in heir.received
            if event["type"] == "response.create"
        ]
        rest = ANSWER.split()[words]
        if not any(f"You were about to say: “{rest}" in each for each in asked):
            found.append(f"nobody asked the new session to go on with {rest!r}, but: {asked}")
        return found

    def __str__(self) -> str:
        heard = " ".join(f"{each.voice}[{each.start:.2f}-{each.end:.2f}]" for each in self.sounds)
        return (
            f"{self.moment.value}: {self.dead_air:.2f} s, {self.reason}, struck {self.struck_at:.2f}: {heard}"
        )


def row_of(call: FaultyCall) -> Row:
    result = call.result
    assert result is not None, f"{call.moment.value}: the call did not end"
    sounds = call.ear.sounds
    spoken = [
        ((each.start + each.speech[0]) / SAMPLE_RATE, (each.start + each.speech[1]) / SAMPLE_RATE)
        for each in result.utterances
        if each.start is not None
    ]
    answered = next((event.at for event in result.events if isinstance(event, WebhookAnswered)), 0.0)
    dead = max(
        (
            end - max(start, call.back_at)
            for start, end in silences(sounds, spoken, answered, result.seconds)
            if end > max(call.struck_at, call.back_at)
        ),
        default=0.0,
    )
    return Row(call.moment, tuple(sounds), call.struck_at, dead, result.reason, call)


def silences(
    sounds: list[Sound], spoken: list[tuple[float, float]], answered_at: float, ended_at: float
) -> Iterable[tuple[float, float]]:
    """From when to when it was the assistant's turn and nothing was heard.

    It is from the call's beginning, and from the end of what the caller said, until the last that is heard before
    the caller speaks again.
    """
    turns = [answered_at, *(end + SILENCE_SECONDS for _, end in spoken)]
    limits = [*(start for start, _ in spoken), ended_at]
    for turn, limit in zip(turns, limits, strict=True):
        heard = [each for each in sounds if turn - SILENCE_SECONDS <= each.start < limit]
        position = min(turn, ended_at)
        for each in heard:
            if each.start > position:
                yield position, each.start
            position = max(position, each.end)
        if not heard and limit > turn:
            yield turn, limit
