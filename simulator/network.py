"""The simulated phone network: who answers at which number, and the calls, conferences and recordings there are.

    network = PhoneNetwork("12345", server_url="http://127.0.0.1:5000")
    network.callees["+15550100009"] = Person(after_s=0.2, says=load_wav(hello))
    with network, TwilioRest(network) as rest, Phone(url, network=network) as phone:
        phone.dial()
        ...                                   # the server transfers the call through `rest`
        person = network.await_call("+15550100009", 5)
        person.await_answer(5)

`simulator.twilio_rest` is its REST API.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.call_record import CallRecord, new_sid
from simulator.called_phone import CalledPhone
from simulator.callee import Callee, Failed
from simulator.conference import Conference
from simulator.handset import Handset
from simulator.order import Order
from simulator.owned_number import OwnedNumber
from simulator.phone_events import PhoneEvent
from simulator.recording_store import KeptRecording
from simulator.twiml_verbs import StatusCallback
from simulator.webhook import Requester, Route, StatusCallbacks
from wire.phone_number import is_e164

ACCOUNT_SID = "AC" + "0" * 32


class PhoneNetwork:
    """One account's part of the network. Any thread; `close` ends what it started."""

    def __init__(
        self,
        auth_token: str,
        *,
        account_sid: str = ACCOUNT_SID,
        server_url: str = "",
        public_url: str | None = None,
        recordings: Path | None = None,
        speak: Callable[[str], bytes] | None = None,
        on_event: Callable[[str, PhoneEvent], None] | None = None,
    ) -> None:
        """`auth_token` signs callbacks and admits to REST. `server_url` and `public_url` are the two origins of the
        server, as with `Phone`. `recordings` is a folder, in which each phone that is called writes what it says and
        hears as CallSid.wav. `speak` renders the text of a Say. `on_event` is told the CallSid and what
        happens on the phones that are called, in their threads.
        """
        self.auth_token = auth_token
        self.account_sid = account_sid
        self.api_url = "https://api.twilio.com"
        """Where recordings are fetched; REST puts its own address here."""
        self.callees: dict[str, Callee] = {}
        """By number. At any other there is nobody: the call fails with SIP 404."""
        self.forbidden: list[str] = []
        """Beginnings of numbers for which the account has no permission: Twilio's error 21215."""
        self.numbers: dict[str, OwnedNumber] = {}
        """The account's own, by PN identifier. If there are any, only they may call."""
        self.calls: dict[str, CallRecord] = {}
        """By CallSid, those that are over included."""
        self.conferences: dict[str, Conference] = {}
        """By CF identifier, those that are over included."""
        self.recordings: dict[str, KeptRecording] = {}
        self.failures: list[str] = []
        """What went wrong with the delivery of conference callbacks."""
        self._handsets: dict[str, Handset] = {}
        self._placed: defaultdict[str, deque[CalledPhone]] = defaultdict(deque)
        self._folder = recordings
        self._speak = speak
        self._on_event = on_event
        self.document_url = Route(public_url, server_url).public_url(server_url)
        """What stands for the URL of TwiML that comes in a REST request: whether it is TLS decides about ws."""
        self._requester = Requester(auth_token, Route(public_url, server_url))
        self._callbacks = StatusCallbacks(self._requester, "conference-callbacks", self.failures.append)
        self._changed = threading.Condition()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def valid(number: str) -> bool:
        """Whether it is a number as +15550100009 (E.164)."""
        return is_e164(number)

    def own(self, number: str) -> OwnedNumber:
        """Give the account a number of its own."""
        owned = OwnedNumber(number)
        self.numbers[owned.sid] = owned
        return owned

    def admit(self, handset: Handset, record: CallRecord) -> None:
        """Make a call known to REST. A Phone with a network does so when it dials."""
        if record.callback is None:
            owned = next((each for each in self.numbers.values() if each.number == record.to), None)
            if record.direction == "inbound" and owned is not None and owned.status_callback:
                record.callback = StatusCallback(
                    owned.status_callback, owned.status_callback_method, ("completed",)
                )
        self._check_open()
        with self._changed:
            self.calls[record.sid] = record
            self._handsets[record.sid] = handset

    def place(self, order: Order, before: Callable[[CallRecord], object] | None = None) -> CalledPhone:
        """Call a number that is valid. It rings at once, but after `before` was told of the call."""
        self._check_open()
        record = CallRecord(
            new_sid("CA"),
            self.account_sid,
            order.to,
            order.caller_id,
            "outbound-api" if order.room is None else "outbound-dial",
            order.parent_sid,
            order.callback,
        )
        on_event = self._on_event
        phone = CalledPhone(
            order,
            self.callees.get(order.to, Failed()),
            record,
            self._requester,
            self,
            recording=None if self._folder is None else self._folder / f"{record.sid}.wav",
            speak=self._speak,
            on_event=None if on_event is None else lambda event: on_event(record.sid, event),
        )
        phone.prepare()
        self.admit(phone, record)
        if before is not None:
            before(record)
        phone.ring()
        with self._changed:
            self._placed[order.to].append(phone)
            self._changed.notify_all()
        return phone

    def handset(self, call_sid: str) -> Handset:
        """The phone of a call. Raises KeyError."""
        return self._handsets[call_sid]

    def await_call(self, number: str, timeout: float) -> CalledPhone:
        """The next call to that number, in the order in which they were placed; each is given out once.

        Raises TimeoutError after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._placed[number], timeout):
                raise TimeoutError(f"nobody called {number} within {timeout} s")
            return self._placed[number].popleft()

    def conference(self, name: str) -> Conference:
        """The conference of that name or identifier that is not over, which is a new one if there is none."""
        with self._changed:
            for conference in self.conferences.values():
                if name in (conference.name, conference.sid) and conference.status != "completed":
                    return conference
            conference = Conference(name, self._tell)
            self.conferences[conference.sid] = conference
            return conference

    def keep(self, call_sid: str, audio: bytes) -> KeptRecording:
        """Keep mu-law `audio` as a recording."""
        kept = KeptRecording(new_sid("RE"), call_sid, audio)
        self.recordings[kept.sid] = kept
        return kept

    def recording_url(self, kept: KeptRecording) -> str:
        return f"{self.api_url}/2010-04-01/Accounts/{self.account_sid}/Recordings/{kept.sid}"

    def close(self) -> None:
        """End the calls that the network placed, join their threads, and deliver what callbacks are left.

        Raises whatever `speak`, `on_event` or a recording raised in one of them and thereby ended it.
        """
        with self._changed:
            self._closed = True
            handsets = list(self._handsets.values())
        for handset in handsets:
            if isinstance(handset, CalledPhone):
                handset.close()
        self._callbacks.close()
        for handset in handsets:
            if isinstance(handset, CalledPhone) and handset.failure is not None:
                raise handset.failure

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this phone network is closed; make calls before that")

    def _tell(self, callback: StatusCallback, fields: dict[str, str]) -> None:
        self._callbacks.post(callback.method, callback.url, fields | {"AccountSid": self.account_sid})
