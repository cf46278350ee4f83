"""What workers are made of and may have mistakes in it: read and checked once, before there is a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.assistant import Assistant, AssistantError
from actors.assistants import Assistants
from actors.transcoder import TranscoderError, load_resampler
from config import Settings, environment
from wire.audio_format import FORMATS


class PreparationError(Exception):
    """What the settings name cannot be used, or does not go together. The text says what and the fix."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Settings and what they name. Workers that are forked from who made it read nothing that has not changed."""

    settings: Settings
    assistants: Assistants

    @classmethod
    def of(cls, settings: Settings, secrets: Mapping[str, str] | None = None) -> "Preparation":
        """Read and check what the settings name, and import the assistants' Python. Raises PreparationError.

        `secrets`: what the assistants' files give the names of; None: the environment.
        """
        known = environment() if secrets is None else secrets

        def load(path: Path) -> Assistant:
            assistant = Assistant.load(path, known)
            try:
                check(assistant, settings)
            except AssistantError as error:
                raise AssistantError(f"{path}: {error}") from None
            return assistant

        try:
            assistants = Assistants(settings.assistant, load)
            if any(FORMATS[endpoint.audio].transcoded for endpoint in settings.model_endpoints):
                load_resampler()
        except (AssistantError, TranscoderError) as error:
            raise PreparationError(str(error)) from error
        return cls(settings, assistants)


def check(assistant: Assistant, settings: Settings) -> None:
    """Raises AssistantError where an assistant needs what the settings do not have, or the other way round."""
    if settings.daily_budget is not None and assistant.prices is None:
        raise AssistantError("DAILY_BUDGET needs [prices]; add them, or unset it")
    if assistant.webhook is not None and settings.webhook_secret is None:
        raise AssistantError("[webhook] needs WEBHOOK_SECRET, to sign with; set it")
