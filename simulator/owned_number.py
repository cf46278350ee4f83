"""A phone number of the account, as Twilio's IncomingPhoneNumber resource keeps it."""

from dataclasses import dataclass, field

from simulator.call_record import new_sid
from simulator.twiml_verbs import Method


@dataclass(slots=True)
class OwnedNumber:
    """REST changes it; nothing dials `voice_url` by itself."""

    number: str
    sid: str = field(default_factory=lambda: new_sid("PN"))
    friendly_name: str = ""
    voice_url: str = ""
    voice_method: Method = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: Method = "POST"
    status_callback: str = ""
    status_callback_method: Method = "POST"
