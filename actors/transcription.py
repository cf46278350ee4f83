"""Recognition of the caller's words: the table `[transcription]`."""

from pydantic import Field, ValidationInfo, field_validator

from actors.table import Table

KEYWORD_MODELS = ("gpt-transcribe", "gpt-live-transcribe")


class Transcription(Table):
    """Recognition of the caller's words, for the log; the model itself listens to the audio."""

    model: str = "gpt-transcribe"
    keywords: list[str] = Field(default=[])
    """Names and terms that a recogniser would not guess."""

    @field_validator("keywords")
    @classmethod
    def _check_keywords(cls, keywords: list[str], info: ValidationInfo) -> list[str]:
        # From any other model the whole session.update would be refused, with the instructions in it.
        if keywords and (model := info.data.get("model")) not in KEYWORD_MODELS:
            raise ValueError(f"model {model} takes none; only {' and '.join(KEYWORD_MODELS)} do")
        return keywords
