"""How much of a text was heard: an estimate from how much of its audio was.

    the text is                       heard, in characters
    whole                             as much of the text as was heard of the audio
    still coming, or it broke off     no more than that, because a text runs ahead of its audio by an unknown length;
                                      no more than is spoken in that time at the pace of the call; and never all of it

and from there back to the end of the last word that is over.

Pure. Source: OpenAI Realtime reference, on transcripts: they run ahead of the audio.
"""

import unicodedata
from collections.abc import Iterable

CHARACTERS_PER_SECOND = 15.0
"""Of English, as the API's voices speak it; of a language in wide characters it is too fast."""


def pace(known: Iterable[tuple[str, int]]) -> float:
    """Characters a millisecond, from texts whose audio is known to be complete, with its length in ms."""
    characters, duration_ms = 0, 0
    for text, total_ms in known:
        if text and total_ms > 0:
            characters += len(text)
            duration_ms += total_ms
    return characters / duration_ms if duration_ms else CHARACTERS_PER_SECOND / 1000


def heard_text(text: str, heard_ms: int, total_ms: int) -> str:
    """How a text begins of whose audio so much was heard."""
    if heard_ms >= total_ms > 0:
        return text
    return _words(text, len(text) * heard_ms // max(total_ms, 1))


def heard_of_partial_text(text: str, heard_ms: int, total_ms: int, pace: float) -> str:
    """The same of a text of which more is to come, or was: what there is of the audio need not say all of it."""
    in_proportion = len(text) * heard_ms // max(total_ms, 1)
    return _words(text, min(in_proportion, int(heard_ms * pace), len(text) - 1))


def _words(text: str, end: int) -> str:
    while end > 0 and not _is_boundary(text, end):
        end -= 1
    return text[: max(end, 0)].rstrip()


def _is_boundary(text: str, index: int) -> bool:
    # Chinese and Japanese have no spaces; there every (wide) character may be the last.
    before, behind = text[index - 1], text[index]
    return behind.isspace() or bool({"W", "F"} & set(map(unicodedata.east_asian_width, (before, behind))))
