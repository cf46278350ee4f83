"""The listeners that are shipped: the tables `[recording]`, `[transcript]` and `[webhook]`, and what they ask for."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from actors.listener import Listener
from actors.recorder import RecorderActor
from actors.table import Table, Text
from actors.transcript import TranscriptActor
from actors.webhook import EventBox, Kind, WebhookActor

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RecordingTable(Table):
    """Calls are recorded."""

    begin: Literal["call", "told"] = "call"
    """With the call, or only when a tool or a listener tells the call to: `StartRecording`."""
    announcement: Text = Text()
    """What callers have to be told: the assistant's first words, said word for word before the greeting."""

    @model_validator(mode="after")
    def _check_announcement(self) -> Self:
        if self.announcement and self.begin != "call":
            raise ValueError('announcement needs begin = "call": at the beginning it would not be true yet')
        return self


class TranscriptTable(Table):
    """Calls are written down."""


def _webhook_url(value: str) -> str:
    url = urlsplit(value)
    if "@" in url.netloc:
        raise ValueError("holds a user name or a password; leave them out, events are signed")
    if url.scheme == "https" and url.hostname:
        return value
    if url.scheme == "http" and url.hostname in LOOPBACK:
        return value
    raise ValueError("is not an https URL; http is for this machine only, as anyone on the way can read it")


class WebhookTable(Table):
    """Somebody is told what happens in calls."""

    url: Annotated[str, AfterValidator(_webhook_url)]
    events: tuple[Kind, ...] = Field(default=("started", "turn", "tool", "ended"), min_length=1)


def shipped_listeners(
    recording: RecordingTable | None,
    transcript: TranscriptTable | None,
    webhook: WebhookTable | None,
    folder: Path,
    kept_days: float | None,
    events: EventBox,
) -> tuple[type[Listener], ...]:
    """The classes to start in every call.

    `folder` is where files go and are kept for so many days, `events` where events to be sent go.
    """
    listeners: list[type[Listener]] = []
    files = {"folder": folder, "kept_days": kept_days}
    if recording is not None:
        at_once = {"at_once": recording.begin == "call"}
        listeners.append(type("RecorderActor", (RecorderActor,), files | at_once))
    if transcript is not None:
        listeners.append(type("TranscriptActor", (TranscriptActor,), files))
    if webhook is not None:
        where = {"url": webhook.url, "kinds": webhook.events, "events": events}
        listeners.append(type("WebhookActor", (WebhookActor,), where))
    return tuple(listeners)
