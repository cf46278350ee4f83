"""What a call is made of, before any of it is connected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.call_context import CallContext
from actors.costs import CallLimits, Prices
from actors.endpoints import Endpoints
from actors.greeting import FixedGreeting
from actors.listener import Listener
from actors.meter import Meter, NoMeter
from actors.operator import Desk
from actors.sound import Sounds
from actors.telephony import Telephony
from actors.tool import AnyTool
from actors.twilio import MediaSocket
from wire.caller_silence import Patience
from wire.dead_air import Limits
from wire.dialect import Session
from wire.false_start import Gating
from wire.journal import CallRecord, Journal, NoJournal
from wire.transcript import Entry


@dataclass(frozen=True, slots=True)
class CallSetup:
    """Everything that a CallActor needs. Shared objects in it are safe for any thread."""

    record: CallRecord
    media_socket: MediaSocket
    endpoints: Endpoints
    """where the model is; the format of the audio is theirs, whatever `session` says"""
    session: Session
    """without the functions, which are added to its tools"""
    greeting: str | None
    """Instructions for the response with which the assistant speaks first; None leaves it to the session's own."""
    context: CallContext
    fixed_greeting: FixedGreeting | None = None
    """the same, where it is word for word what every call begins with, and may be kept"""
    history: tuple[Entry, ...] = ()
    """of a call that is resumed"""
    broke_off: bool = False
    """it is resumed, and not after a pause: what the caller said last may be lost"""
    listens_first: bool = False
    """it is resumed behind keys that were pressed, and the other side answers to those"""
    gating: Gating = field(default_factory=Gating)
    patience: Limits = field(default_factory=Limits)
    sounds: Sounds = field(default_factory=Sounds.load)
    tools: Mapping[str, AnyTool] = field(default_factory=dict)
    listeners: tuple[type[Listener], ...] = ()
    watcher: type[Listener] | None = None
    """comes when somebody wants to watch the call"""
    telephony: Telephony = field(default_factory=Telephony)
    desk: Desk | None = None
    """calls others for a warm transfer; None: nobody can be called"""
    caller_patience: Patience = field(default_factory=Patience)
    voicemail: str | None = None
    """what a machine is told that answers a call which we placed; None: we hang up without a word"""
    limits: CallLimits = field(default_factory=CallLimits)
    lasted_seconds: float = 0.0
    """how long the call has lasted on earlier streams"""
    cost: float = 0.0
    """what it has cost on them"""
    prices: Prices | None = None
    meter: Meter = field(default_factory=NoMeter)
    journal: Journal = field(default_factory=NoJournal)

    @property
    def call_sid(self) -> str:
        """Twilio's, the same on every stream of the call."""
        return self.record.call_sid
