"""The Record verb: a beep, and then what is said at this phone, kept as a recording. Runs in the call's thread."""

from typing import TYPE_CHECKING

from simulator.line import AUDIBLE
from simulator.phone_events import EndReason
from simulator.tone import BEEP_HZ, BEEP_MS, tone
from simulator.twiml_verbs import Record
from wire.g711 import SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.document import Document
    from simulator.exchange import Exchange


def record(exchange: "Exchange", verb: Record, base: str) -> "Document | EndReason | None":
    """Record until silence, a key, the longest time or the end of the call. `action` is the document by default.

    Nothing that was said is no recording: the next verb follows.
    """
    network = exchange.network
    if network is None:
        raise RuntimeError("<Record> keeps its recording in a phone network; give the Phone a network")
    if verb.beep:
        exchange.pacer.play(tone(BEEP_HZ, BEEP_MS))
    exchange.keys.clear()
    message = _Message(round(verb.timeout * SAMPLE_RATE))

    def finished() -> bool:
        return message.quiet or any(key in verb.finish_on_key for key in exchange.keys)

    exchange.pacer.pause(round(verb.max_length * SAMPLE_RATE), finished, message.hear)
    if not message.audible:
        return None
    kept = network.keep(
        exchange.fields["CallSid"], bytes(message.audio[: round(verb.max_length * SAMPLE_RATE)])
    )
    told = {
        "RecordingSid": kept.sid,
        "RecordingUrl": network.recording_url(kept),
        "RecordingDuration": str(kept.seconds),
    }
    if verb.callback is not None:
        names = ("AccountSid", "CallSid")
        fields = {name: exchange.fields[name] for name in names}
        fields |= told | {"RecordingStatus": "completed", "RecordingChannels": "1"}
        exchange.call_back(verb.callback, base, fields | {"RecordingSource": "RecordVerb"})
    digits = exchange.keys[0] if exchange.keys else ("hangup" if exchange.ended is not None else "")
    return exchange.after(verb.action or base, verb.method, base, told | {"Digits": digits})


class _Message:
    def __init__(self, patience: int) -> None:
        self.audio = bytearray()
        self.audible = False
        self._patience = patience
        self._silent = 0

    def hear(self, frame: bytes) -> None:
        self.audio += frame
        if any(frame.translate(AUDIBLE)):
            self.audible, self._silent = True, 0
        else:
            self._silent += len(frame)

    @property
    def quiet(self) -> bool:
        return self._silent >= self._patience
