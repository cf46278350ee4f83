"""What a response is about: the part of the conversation that it answers, put to the dialogue."""

import logging
from dataclasses import dataclass

from simulator.conversation import Conversation, Item
from simulator.engine import Answer, Dialogue
from simulator.response_settings import ResponseSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Thought:
    """Made when the response is created, so that what is said meanwhile belongs to the next one.

    `instructions` are those of `response.create`; they are followed instead of answering. `outputs` are the
    names and results of the functions that have returned, `said` the caller's last item.
    """

    instructions: str | None
    outputs: tuple[tuple[str, str], ...]
    said: Item | None
    tools: tuple[str, ...]

    @classmethod
    def about(
        cls,
        items: list[Item],
        conversation: Conversation,
        settings: ResponseSettings,
        follows: bool,
    ) -> "Thought":
        """Return the thought that answers these items; `follows` if the response has instructions of its own."""
        calls = [
            (conversation.call(item.call_id), item.output)
            for item in items
            if item.type == "function_call_output"
        ]
        said = [item for item in items if item.role == "user"]
        names = tuple(tool["name"] for tool in settings.tools if tool["type"] == "function")
        return cls(
            instructions=settings.instructions if follows else None,
            outputs=tuple((call.name, output) for call, output in calls if call is not None),
            said=said[-1] if said else None,
            tools=() if settings.tool_choice == "none" else names,
        )

    def listen(self) -> str:
        """Return what the caller said, "" if it was not understood. May wait for the recogniser."""
        if self.said is None or self.said.heard is None:
            return (self.said and self.said.text) or ""
        try:
            return self.said.heard()
        except Exception:
            # The transcription reports it; the model itself, which is no recogniser, answers all the same.
            logger.info("recognition of %s failed", self.said.id, exc_info=True)
            return ""

    def answer(self, dialogue: Dialogue, heard: str) -> Answer:
        """Return the dialogue's answer, given what `listen` returned."""
        if self.instructions is not None:
            return Answer.join([dialogue.follow(self.instructions)])
        replies = [dialogue.after_tool(name, output) for name, output in self.outputs]
        if self.said is not None:
            replies.append(dialogue.reply(heard, self.tools))
        return Answer.join(replies or [dialogue.follow("")])
