"""The base of every table in an assistant's file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from wire import variables
from wire.phone_number import E164

DIRECTORY = "directory"
"""Key of the validation context: the folder that relative paths start from. Without it, the working directory."""

LITERAL = "literal"
"""Key of the validation context. True: a `Text` has no variables, and means what it says."""

SOUND_SUFFIXES = (".wav", ".ulaw")


class Table(BaseModel):
    """Keys that are not known are refused: a misspelt one would be one that is silently not heeded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def filled(self, values: Mapping[str, str]) -> Self:
        """The same with the values of a call, as `wire.variables` has them, in every `Text` of it and its tables."""
        changes: dict[str, Any] = {}
        for name in type(self).model_fields:
            match getattr(self, name):
                case Text() as text:
                    changes[name] = variables.fill(text, values)
                case Table() as table:
                    changes[name] = table.filled(values)
        return self.model_copy(update=changes)


class Text(str):
    """The type of a key whose text may have the variables of `wire.variables` in it.

    A plain string takes its place when it is `filled`: what a call has brought is not looked at a second time.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(cls._checked, handler(str))

    @classmethod
    def _checked(cls, text: str, info: ValidationInfo) -> str:
        if (info.context or {}).get(LITERAL):
            return text
        variables.check(text)
        return cls(text)


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


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last two of what is a path, or a folder
        raise ValueError(f"there is no {name}; write it like Europe/Berlin") from None
    return name


Timezone = Annotated[str, AfterValidator(_timezone)]
"""The IANA name of a timezone."""

Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
"""What Twilio's own voice says."""
