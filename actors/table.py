"""The base of every table in an assistant's file."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from wire.phone_number import E164

DIRECTORY = "directory"
"""Key of the validation context: the folder that relative paths start from. Without it, the working directory."""

SOUND_SUFFIXES = (".wav", ".ulaw")


class Table(BaseModel):
    """Keys that are not known are refused: a misspelt one would be one that is silently not heeded."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _sound_file(path: Path, info: ValidationInfo) -> Path:
    found = (info.context or {}).get(DIRECTORY, Path()) / path
    if path.suffix.lower() not in SOUND_SUFFIXES:
        raise ValueError(f"{path} is neither a .wav nor a .ulaw file")
    if not found.is_file():
        raise ValueError(f"there is no file {found}")
    return Path(found)


SoundFile = Annotated[Path, AfterValidator(_sound_file)]
"""A sound that exists: WAV, or bare mu-law at 8000 Hz. Written relative to the assistant's file."""

PhoneNumber = Annotated[str, Field(pattern=f"^{E164}$")]
"""E.164: a plus sign, the country's code and the rest, digits only."""

Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
"""What Twilio's own voice says."""
