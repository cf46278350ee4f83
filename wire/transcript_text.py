"""A conversation for people: as plain text, and as WebVTT, which players show beside the recording.

Source of the format: W3C, "WebVTT: The Web Video Text Tracks Format", on cues and voice spans.

Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wire.transcript import Entry

SHORTEST_CUE_SECONDS = 0.5
"""For what has no length that is known, such as words that were recognised in no audio of ours."""

WHO = {"caller": "Caller", "assistant": "Assistant"}

WITHHELD = "[not recorded]"


@dataclass(frozen=True, slots=True)
class Spoken:
    """One entry, and when it was heard, in seconds of the recording. None: that is not known."""

    entry: Entry
    began: float | None
    ended: float | None
    withheld: bool = False
    """it was said while the recording was paused, and is nobody's business"""

    @property
    def text(self) -> str:
        """All of it, whether or not it was heard."""
        return WITHHELD if self.withheld else self.entry.text

    @property
    def heard_text(self) -> str:
        """What was heard of it."""
        return WITHHELD if self.withheld else self.entry.heard_text

    @property
    def cut_off(self) -> bool:
        """Whether the caller did not hear it to its end."""
        entry = self.entry
        return entry.speaker == "assistant" and (
            entry.heard_ms < entry.total_ms or entry.heard_text != entry.text
        )


def plain_text(conversation: Iterable[Spoken]) -> str:
    """One line for each entry: when, who, what; in brackets what was said and not heard."""
    return "".join(f"{plain_line(spoken)}\n" for spoken in conversation)


def plain_line(spoken: Spoken) -> str:
    """One entry as in `plain_text`."""
    when = " " * 10 if spoken.began is None else clock(spoken.began)[:-2]
    entry = spoken.entry
    if entry.tool is not None:
        if spoken.withheld:
            return f"{when}  Tool       {entry.tool.name} {WITHHELD}"
        answer = "no answer" if entry.tool.output is None else entry.tool.output
        return f"{when}  Tool       {entry.tool.name}({entry.tool.arguments}) = {answer}"
    text = spoken.heard_text
    if entry.failed:
        text = "[could not be transcribed]"
    elif entry.speaker == "caller" and not text:
        text = "[not transcribed]"
    elif spoken.cut_off and not spoken.withheld:
        unheard = spoken.text.removeprefix(text).strip()
        seconds = f"{entry.heard_ms / 1000:.1f} of {entry.total_ms / 1000:.1f} s heard"
        text = f"{text} [{seconds}{'; unheard: ' if unheard else ''}{unheard}]".strip()
    return f"{when}  {WHO[entry.speaker]:<10} {text}".rstrip()


def web_vtt(conversation: Iterable[Spoken]) -> str:
    """Captions for the recording: what was heard, when it was heard."""
    cues = ["WEBVTT\n"]
    latest = 0.0
    for spoken in conversation:
        text = " ".join(spoken.heard_text.split())
        if spoken.entry.tool is not None or not text:
            continue
        began = max(latest if spoken.began is None else spoken.began, 0.0)
        ended = max(began if spoken.ended is None else spoken.ended, began + SHORTEST_CUE_SECONDS)
        latest = ended
        more = " –" if spoken.cut_off else ""
        cues.append(
            f"{clock(began)} --> {clock(ended)}\n<v {WHO[spoken.entry.speaker]}>{_escaped(text)}{more}\n"
        )
    return "\n".join(cues)


def clock(seconds: float) -> str:
    """Hours, minutes, seconds and ms: 00:01:02.345."""
    ms = max(round(seconds * 1000), 0)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
