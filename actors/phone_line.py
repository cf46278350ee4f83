"""The phone's side of one call: the actor that writes to the media socket, and the reader that reads from it."""

from typing import Any

from pykka import ActorRef

from actors.clock import Clock
from actors.listener import Listeners
from actors.member import post
from actors.phone_reader import KEPT_SPEECH_SECONDS, PhoneReader
from actors.setup import CallSetup
from actors.twilio import TwilioActor


class PhoneLine:
    """Belongs to a CallActor, in whose thread everything is done, and which is the parent of the phone's actor.

    Before it is answered, and behind the end of its actor, what it is told is of no consequence.
    """

    def __init__(self, call: ActorRef[Any], setup: CallSetup, listeners: Listeners, clock: Clock) -> None:
        self._call = call
        self._setup = setup
        self._listeners = listeners
        self._clock = clock
        self._reader: PhoneReader | None = None
        self.phone: ActorRef[TwilioActor] | None = None
        """Its actor; None: it is not answered yet, or its actor has ended."""

    def answer(self) -> PhoneReader:
        """Start both. Raises what starting a thread raises."""
        setup = self._setup
        stream_sid = setup.record.stream_sid
        self.phone = TwilioActor.start(
            self._call,
            setup.call_sid,
            stream_sid,
            setup.media_socket,
            self._listeners,
            setup.meter,
            self._clock,
        )
        self._reader = PhoneReader(stream_sid, self._call, self.phone, self._listeners)
        self._reader.keep(KEPT_SPEECH_SECONDS)  # nobody else takes what is said until the session begins
        return self._reader

    def tell(self, message: object) -> None:
        """Tell the phone's actor."""
        post(self.phone, message)

    def attach(self, model: ActorRef[Any] | None, since: float = float("inf")) -> None:
        """From now on `model` takes the caller's audio; first it gets what was kept since then (monotonic s)."""
        if self._reader is not None:
            self._reader.attach(model, since)

    def keep(self, seconds: float) -> None:
        """Keep so much of the caller's audio from now on."""
        if self._reader is not None:
            self._reader.keep(seconds)

    def mute(self, muted: bool) -> None:
        """Whether nobody hears the caller, neither the model nor a listener."""
        if self._reader is not None:
            self._reader.mute(muted)

    def close(self) -> None:
        """Close the media socket; its actor tells when it has, and `closed` is for then."""
        if self.phone is not None:
            self.phone.stop(block=False)

    def closed(self) -> None:
        """The phone's actor has ended."""
        self.phone = None

    def abort(self) -> None:
        """Cut the media socket, now."""
        self._setup.media_socket.abort()
