"""The transcript of what the caller said: a separate recogniser's, late, and sent when the reply has begun.

Source: openai-realtime.md 3.3, 6, 7 and 11.
"""

import logging
from contextlib import AbstractContextManager
from typing import Any

from simulator.conversation import Item
from simulator.response import Emit, Response
from simulator.usage import text_tokens

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2
"""How long a transcript waits for the reply to begin; it is asynchronous, so it may come before it as well."""


class Transcription:
    """One user item's transcription."""

    def __init__(
        self, item: Item, settings: dict[str, Any], emit: Emit, lock: AbstractContextManager[Any]
    ) -> None:
        self._item = item
        self._settings = settings
        self._emit = emit
        self._lock = lock

    def run(self, response: Response | None) -> None:
        """Wait for the recogniser, and for `response` to begin, then send the events. In a thread of its own."""
        try:
            text = self._item.heard() if self._item.heard is not None else self._item.text or ""
        except Exception as error:
            logger.debug("transcription of %s failed", self._item.id, exc_info=True)
            self._fail(error)
            return
        if response is not None:
            response.speaking.wait(PATIENCE_SECONDS)
        with self._lock:
            self._item.text = text
            if text:
                self._send("delta", delta=text)
            self._send("completed", transcript=text, usage=self._usage(text))

    def _fail(self, error: Exception) -> None:
        self._send(
            "failed",
            error={
                "type": "transcription_error",
                "code": "audio_unintelligible",
                "message": f"The audio could not be transcribed: {error}",
                "param": None,
            },
        )

    def _send(self, what: str, **fields: Any) -> None:
        self._emit(
            {
                "type": f"conversation.item.input_audio_transcription.{what}",
                "item_id": self._item.id,
                "content_index": 0,
                **fields,
            }
        )

    def _usage(self, text: str) -> dict[str, Any]:
        if self._settings.get("model") == "whisper-1":
            return {"type": "duration", "seconds": self._item.audio_ms / 1000}
        heard, written = self._item.tokens.audio, text_tokens(text)
        return {
            "type": "tokens",
            "total_tokens": heard + written,
            "input_tokens": heard,
            "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
            "output_tokens": written,
        }
