"""What was said while the recording was paused, as for a card's number, by what the journal has of a call. Pure.

Neither that is shown to anybody, nor what tools were given and returned then.
"""

from collections.abc import Iterable, Sequence

PAUSED, GOES_ON = "recording paused", "recording started"
"""Kinds of the journal's events."""

LATE_SECONDS = 2.0
"""So much later an entry may be told of that was said during a pause."""

Pauses = Sequence[tuple[float, float]]
"""From and to, in seconds since 1970."""


def pauses(happened: Iterable[tuple[float, str]]) -> Pauses:
    """When the recording was paused, by the times and kinds of events, in their order."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for at, kind in happened:
        if kind == PAUSED and since is None:
            since = at
        elif kind == GOES_ON and since is not None:
            found.append((since, at + LATE_SECONDS))
            since = None
    return found if since is None else [*found, (since, float("inf"))]


def is_withheld(told_at: float | None, paused: Pauses) -> bool:
    """Whether what was told of then was said during a pause."""
    return told_at is not None and any(since <= told_at <= until for since, until in paused)
