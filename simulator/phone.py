"""The simulated phone: places a call as Twilio would deliver it, speaks, listens, and keeps the truth.

It stands for the caller, the telephone network and Twilio together. Give it the URL of a voice webhook:

    with Phone("http://127.0.0.1:5000/twiml", auth_token=token, recording=Path("call.wav")) as phone:
        phone.dial()
        phone.await_stream(5)
        phone.await_assistant(5)
        phone.say(load_wav(question)).wait(10)
        phone.await_assistant(5)
        phone.hang_up()
        result = phone.await_end(5)

With a `network` the call is one of the calls of `simulator.network`: REST reaches it, and Dial calls somebody.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.call_record import CallRecord, new_sid
from simulator.document import Document
from simulator.exchange import Exchange
from simulator.handset import Handset
from simulator.line import CallOverError
from simulator.phone_events import EndReason, PhoneEvent
from simulator.stream import MediaStream
from simulator.twiml_verbs import Method
from simulator.webhook import Requester, Route

if TYPE_CHECKING:
    from simulator.network import PhoneNetwork


class Phone(Handset):
    """One call. Any thread may use it; the times that it reports are seconds since `dial`."""

    def __init__(
        self,
        webhook_url: str,
        *,
        auth_token: str | None = None,
        account_sid: str = "AC" + "0" * 32,
        call_sid: str | None = None,
        from_number: str = "+15550100001",
        to_number: str = "+15550100002",
        latency_ms: float = 0,
        recording: Path | None = None,
        speak: Callable[[str], bytes] | None = None,
        on_event: Callable[[PhoneEvent], None] | None = None,
        listen: Callable[[int, bytes, bytes], None] | None = None,
        method: Method = "POST",
        fields: Mapping[str, str] | None = None,
        public_url: str | None = None,
        fallback_url: str | None = None,
        receive_buffer: int | None = None,
        network: "PhoneNetwork | None" = None,
    ) -> None:
        """Prepare a call; nothing is opened before `dial`.

        Without an `auth_token` nothing is signed. `latency_ms` delays every stream message, each way, but no
        HTTP request. `recording` is the path of a stereo WAV to write. `speak` renders the text of a Say to
        mu-law, and `listen` is told every 20 ms what is on the line: the sample time, and in mu-law what the caller
        says and hears from there on. They and `on_event` are called in the call's threads, one at a time.
        `fields` are added to the form of each request for TwiML. `public_url` is the origin by which the
        server knows itself, if another than the origin of `webhook_url`: it is signed, and URLs in TwiML that
        begin with it are opened at the latter. `fallback_url` is asked, with ErrorCode and ErrorUrl, where a
        URL for TwiML fails. `receive_buffer` is the media socket's, in bytes: a small one makes
        `stop_reading` and `vanish` felt sooner. A `network` brings its own token and account in place of
        those not given here.
        """
        if network is not None:
            auth_token = network.auth_token if auth_token is None else auth_token
            account_sid = network.account_sid
        sid = call_sid or new_sid("CA")
        route = Route(public_url, webhook_url)
        # Twilio sends fields that it cannot fill as blanks.
        blanks = [f"{who}{what}" for who in ("From", "To") for what in ("City", "State", "Zip", "Country")]
        form = {
            "CallSid": sid,
            "AccountSid": account_sid,
            "From": from_number,
            "To": to_number,
            "Caller": from_number,
            "Called": to_number,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
            **dict.fromkeys(blanks, ""),
            **(fields or {}),
        }
        self._webhook_url = webhook_url
        self._method = method
        super().__init__(
            sid,
            Requester(auth_token, route),
            form,
            route.public_url(webhook_url),
            latency_ms=latency_ms,
            recording=recording,
            speak=speak,
            on_event=on_event,
            listen=listen,
            fallback_url=fallback_url,
            receive_buffer=receive_buffer,
            network=network,
            record=None
            if network is None
            else CallRecord(sid, account_sid, to_number, from_number, "inbound"),
        )
        self._document: Document | None = None

    def dial(self) -> None:
        """Ask the webhook for TwiML and start to follow it.

        Raises WebhookError if the webhook fails, OSError if the recording cannot be created, and RuntimeError
        for a second call, for which there is a second phone.
        """
        if self._exchange is not None:
            raise RuntimeError("this phone has dialled before; use a new Phone for each call")
        exchange = self._open()
        if self.record is not None and self._network is not None:
            self.record.status = "ringing"
            self._network.admit(self, self.record)
        try:
            self._document = exchange.fetch(self._method, self._document_url, "ringing")
        except BaseException:
            self._over = True
            self._require(self._line).close(self._clock())
            if self.record is not None:
                self.record.end("failed")
            raise
        if self.record is not None:
            self.record.answer()
        self._start()

    def send_raw(self, message: str | bytes) -> None:
        """Send a text or a binary frame as it is, for tests of what Twilio would not send."""
        self._require(self._exchange).send_raw(message)

    def drop(self) -> None:
        """Reset the media socket's TCP connection; the call goes on as it does when the network fails."""
        self._open_stream().socket.drop()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes on the media socket's connection beneath the websocket: garbage, for its peer."""
        self._require(self._exchange).send_bytes(data)

    def vanish(self) -> None:
        """Leave the server a media socket to which nothing comes, and that nobody reads or closes.

        Nothing notices at this end: until `drop`, as which the network's failure is noticed, or the end of the call,
        of which the server then learns nothing but the connection's reset.
        """
        self._open_stream().socket.vanish()

    def stop_reading(self) -> None:
        """Read nothing more from the media socket until `resume_reading`; what the caller says goes on."""
        self._open_stream().socket.stop_reading()

    def resume_reading(self) -> None:
        self._open_stream().socket.resume_reading()

    def _conduct(self, exchange: Exchange) -> EndReason:
        return exchange.run(self._require(self._document))

    def _settle(self, record: CallRecord, exchange: Exchange) -> None:
        record.end("busy" if self._reason == "reject" else "completed")
        exchange.report_status(record, "completed", record.status)

    def _open_stream(self) -> MediaStream:
        stream = self._require(self._exchange).stream
        if stream is None:
            raise CallOverError("the call has no open media stream")
        return stream
