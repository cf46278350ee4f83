"""What is kept of a call, so that it outlives the process that carries it: told as it happens, written later.

Whoever holds a call tells a Journal. What is told becomes an operation, and operations wait in a Backlog until
they are written together:

    tell -> Backlog.add ... take -> (written) -> settle
                  ^------------------(not)---------'

Pure: the times are given, and so is the lock where threads share a Backlog.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from wire.transcript import Entry

Scalar = str | int | float | bool | None
"""What JSON can hold in one value."""


class Then(StrEnum):
    """What Twilio is answered with when it asks again because the call's stream has ended."""

    RESUME = "resume"
    """another stream, on which the conversation goes on"""
    HANG_UP = "hang up"
    FALLBACK = "fallback"
    """the assistant's way out: a transfer, voicemail or a goodbye"""
    TRANSFER = "transfer"
    """a call to somebody else, who is connected with the caller; where nobody answers, another stream"""
    JOIN = "join"
    """the room in which somebody waits for the caller"""
    SEND_DIGITS = "send digits"
    """keys, and then another stream, on which the conversation goes on"""


Direction = Literal["inbound", "outbound"]
INBOUND: Direction = "inbound"
OUTBOUND: Direction = "outbound"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Which call it is. Empty text: not known."""

    call_sid: str
    stream_sid: str
    """of its latest stream; empty: it has none"""
    caller: str
    """as Twilio writes it: a number in E.164, or the address of a client; ours, if we have placed the call"""
    called: str
    """the person's, if we have placed the call"""
    assistant: str
    """name"""
    assistant_version: str
    direction: Direction = INBOUND
    """seen from here"""


class Journal(Protocol):
    """What a call is told to. Every method may be called from any thread, and returns at once but for `flush`.

    Nothing is raised, whatever happens to the writing. `began` comes first: what is told of a call that has not
    begun, or that was forgotten, is not kept.
    """

    def began(self, record: CallRecord) -> None:
        """A stream of this call begins: its first, or one on which it goes on.

        What the record does not know stays as it was told before.
        """

    def entry(self, call_sid: str, position: int, entry: Entry) -> None:
        """The entry of that item is now this, at that place of the conversation; places count from 0."""

    def removed(self, call_sid: str, item_id: str) -> None:
        """The entry of that item is not in the conversation any more. The places of the others are told anew."""

    def event(self, call_sid: str, kind: str, /, **data: Scalar) -> None:
        """Something happened now. Events are kept in the order in which they are told."""

    def spent(self, call_sid: str, cost: float) -> None:
        """So much more, in the currency of the prices, was spent on the call now."""

    def ended(self, call_sid: str, outcome: str, then: Then, detail: str = "") -> None:
        """The call ended here. May be told again, after another stream: the last one counts.

        `detail` of `then`: a number, a room, or keys.
        """

    def flush(self, seconds: float) -> bool:
        """Waits until all that was told before is written, for no longer than that. False: it is not, or not all."""


class NoJournal:
    """A Journal that keeps nothing."""

    def began(self, record: CallRecord) -> None:
        """Keeps nothing."""

    def entry(self, call_sid: str, position: int, entry: Entry) -> None:
        """Keeps nothing."""

    def removed(self, call_sid: str, item_id: str) -> None:
        """Keeps nothing."""

    def event(self, call_sid: str, kind: str, /, **data: Scalar) -> None:
        """Keeps nothing."""

    def spent(self, call_sid: str, cost: float) -> None:
        """Keeps nothing."""

    def ended(self, call_sid: str, outcome: str, then: Then, detail: str = "") -> None:
        """Keeps nothing."""

    def flush(self, seconds: float) -> bool:
        """True: nothing waits."""
        return True


@dataclass(frozen=True, slots=True)
class CallBegan:
    """`Journal.began`, at that time. Times are in seconds since 1970."""

    record: CallRecord
    at: float

    @property
    def call_sid(self) -> str:
        return self.record.call_sid


@dataclass(frozen=True, slots=True)
class EntryTold:
    """`Journal.entry`."""

    call_sid: str
    position: int
    entry: Entry
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class EntryRemoved:
    """`Journal.removed`."""

    call_sid: str
    item_id: str


@dataclass(frozen=True, slots=True)
class EventTold:
    """`Journal.event`."""

    call_sid: str
    kind: str
    data: dict[str, Scalar]
    at: float


@dataclass(frozen=True, slots=True)
class CostTold:
    """`Journal.spent`."""

    call_sid: str
    cost: float
    at: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """`Journal.ended`."""

    call_sid: str
    outcome: str
    then: Then
    at: float
    detail: str = ""


Operation = CallBegan | EntryTold | EntryRemoved | EventTold | CostTold | CallEnded

_Key = int | tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    number: int
    key: _Key
    operation: Operation


class Backlog:
    """Operations in the order in which they are to be written, no more of them than a limit.

    Of what is told of one item's entry the last is kept, at the place of the first. Over the limit the oldest events
    go, and where there are none, the oldest operations. Not thread-safe.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Ordered ones, because taking the first of a plain dict costs more the more were taken before.
        self._waiting: OrderedDict[_Key, _Place] = OrderedDict()
        self._events: OrderedDict[_Key, None] = OrderedDict()
        self._taken: list[_Place] = []
        self.added = 0
        """how many were added so far; the last one's number"""
        self.dropped = 0
        """how many were dropped so far"""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)

    def add(self, operation: Operation) -> None:
        """Puts the operation behind the others, or in the place of the one that it replaces."""
        self.added += 1
        key: _Key = self.added
        if isinstance(operation, EntryTold):
            key = (operation.call_sid, operation.entry.item_id)
        elif isinstance(operation, EntryRemoved):
            key = (operation.call_sid, operation.item_id)
        elif isinstance(operation, EventTold):
            self._events[key] = None
        earlier = self._waiting.get(key)
        self._waiting[key] = _Place(earlier.number if earlier else self.added, key, operation)
        self._keep_to_limit()

    def take(self, count: int) -> list[Operation]:
        """The first so many. They count as waiting until `settle`, which has to come before the next `take`."""
        self._taken = [self._waiting.popitem(last=False)[1] for _ in range(min(count, len(self._waiting)))]
        for place in self._taken:
            self._events.pop(place.key, None)
        return [place.operation for place in self._taken]

    def settle(self, done: int) -> None:
        """The first so many of those taken are done with. The others come first again, if not replaced meanwhile."""
        unfinished = self._taken[done:]
        self._taken = []
        for place in reversed(unfinished):
            later = self._waiting.get(place.key)
            operation = later.operation if later else place.operation
            self._waiting[place.key] = _Place(place.number, place.key, operation)
            self._waiting.move_to_end(place.key, last=False)
            if isinstance(operation, EventTold):
                self._events[place.key] = None
                self._events.move_to_end(place.key, last=False)
        self._keep_to_limit()

    def holds(self, number: int) -> bool:
        """Whether one of the first `number` that were added still waits."""
        first = self._taken[0] if self._taken else next(iter(self._waiting.values()), None)
        return first is not None and first.number <= number

    def _keep_to_limit(self) -> None:
        while self._waiting and len(self) > self._limit:
            if self._events:
                key, _ = self._events.popitem(last=False)
                del self._waiting[key]
            else:
                self._waiting.popitem(last=False)
            self.dropped += 1
