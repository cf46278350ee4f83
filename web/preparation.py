"""What workers are made of and may have mistakes in it: read and checked once, before there is a worker."""

from dataclasses import dataclass

from actors.assistant import Assistant, AssistantError
from actors.sound import SoundError, Sounds
from actors.transcoder import TranscoderError, load_resampler
from config import Settings
from wire.audio_format import FORMATS


class PreparationError(Exception):
    """What the settings name cannot be used, or does not go together. The text says what and the fix."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Settings and what they name. Workers that are forked from who made it read no file a second time."""

    settings: Settings
    assistant: Assistant
    sounds: Sounds

    @classmethod
    def of(cls, settings: Settings) -> "Preparation":
        """Read and check what the settings name, and import the assistant's Python. Raises PreparationError."""
        try:
            assistant = Assistant.load(settings.assistant)
            silence = assistant.silence
            sounds = Sounds.load(assistant.language, silence.filler, silence.apology)
            if any(FORMATS[endpoint.audio].transcoded for endpoint in settings.model_endpoints):
                load_resampler()
        except (AssistantError, SoundError, TranscoderError) as error:
            raise PreparationError(str(error)) from error
        if settings.daily_budget is not None and assistant.prices is None:
            raise PreparationError(
                f"{settings.assistant}: DAILY_BUDGET needs [prices]; add them, or unset it"
            )
        if assistant.webhook is not None and settings.webhook_secret is None:
            raise PreparationError(
                f"{settings.assistant}: [webhook] needs WEBHOOK_SECRET, to sign with; set it"
            )
        return cls(settings, assistant, sounds)
