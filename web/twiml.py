"""The documents that Twilio is answered with. Pure: a request's facts go in, TwiML comes out.

Source: twilio-media-streams.md, section 6, and Twilio's "TwiML for Programmable Voice": Dial, Record, Redirect.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from twilio.twiml.voice_response import Connect, Gather, VoiceResponse  # type: ignore[import-untyped]

from actors.assistant import Assistant
from config import WEBHOOK_PATH, stream_url_of
from wire.journal import OUTBOUND
from wire.phone_number import is_e164

ENDED_PATH = f"{WEBHOOK_PATH}/ended"
STATUS_PATH = f"{WEBHOOK_PATH}/stream-status"
TRANSFERRED_PATH = f"{WEBHOOK_PATH}/transferred"
RECORDED_PATH = f"{WEBHOOK_PATH}/recorded"
RECORDING_PATH = f"{WEBHOOK_PATH}/recording-status"
CONSULT_PATH = f"{WEBHOOK_PATH}/consult"
CONSULT_STATUS_PATH = f"{WEBHOOK_PATH}/consult-status"
DIALED_PATH = f"{WEBHOOK_PATH}/dialed"
CALL_STATUS_PATH = f"{WEBHOOK_PATH}/call-status"
ANSWERED_BY_PATH = f"{WEBHOOK_PATH}/answered-by"

STREAM_NAME = "switchboard"

TOKEN_PARAMETER = "token"
CALLER_PARAMETER = "from"
CALLED_PARAMETER = "to"
ASSISTANT_PARAMETER = "assistant"
"""Which one it is, by the name of its file, where that does not follow from the called number."""
RESUMED_PARAMETER = "resumed"
"""1 on every stream of a call but the first."""

DIRECTION_PARAMETER = "direction"
"""outbound on the streams of a call that we have placed; else it is not there."""

PARAMETER_LIMIT = 500
"""Characters that name and value of a stream parameter stay under, together. Source: TwiML <Stream>."""

STREAM_FIELD = "stream"
"""In a URL's query: the number of the stream that has ended."""
WAITS_FIELD = "waits"
"""In a URL's query: how often this was asked of a server that is about to end."""
ROUNDS_FIELD = "rounds"
"""In a URL's query: how often the caller has waited in the queue."""
OVERFLOW_FIELD = "overflow"
"""In a URL's query: 1 where a transfer was one of overflow."""
CALL_FIELD = "call"
"""In a URL's query: the call whose caller somebody is asked to take."""
ROOM_FIELD = "room"
"""In a URL's query: where the two are to meet."""
TAKE_KEY = "1"
"""What is pressed to take a caller: a mailbox presses nothing."""
TAKE_SECONDS = 10
"""How long there is to press it, each of the two times that it is asked for."""

SUMMARY_LIMIT = 600
"""Characters that somebody is told of a call, as XML has them: they are said twice, in a document of 4000."""

RING_SECONDS = 25
"""How long it rings at a number that is not on the assistant's list any more."""

DIAL_FIELD = "dial"
"""In a URL's query: the token of a call that we have placed."""

WAIT_SECONDS = (*(0,) * 8, *(1,) * 5)
"""How long Twilio waits before it asks again, each time that it came to a server which is about to end, or has no
room. At first it does not: most likely another one takes the next request. The pauses are dead air, but a new worker
takes some seconds to start on a busy machine. web/server.py waits for the last of them."""

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Documents:
    """What one assistant's callers get, on a server at `base_url`."""

    def __init__(
        self,
        assistant: Assistant,
        base_url: str,
        caller: str,
        called: str,
        name: str | None = None,
        outbound: bool = False,
    ) -> None:
        """`name` is the assistant's file's, where it was chosen by that and not by the called number.

        `outbound`: we have placed the call, so `caller` is our number.
        """
        self._assistant = assistant
        self._base_url = base_url
        self._caller = caller
        self._called = called
        self._outbound = outbound
        self._person, self._ours = (called, caller) if outbound else (caller, called)
        self._name = name

    def connect(self, token: str, number: int, missed: int = 0, digits: str = "") -> str:
        """The call's stream of that number, counted from 1; the fallback where Twilio cannot open it.

        `missed`: for how many in a row before it there was no room. `digits`: keys that are pressed before it.
        """
        connect = Connect(action=self._url(ENDED_PATH, {STREAM_FIELD: number}), method="POST")
        stream = connect.stream(
            url=stream_url_of(self._base_url),
            name=STREAM_NAME,
            status_callback=self._url(STATUS_PATH),
            status_callback_method="POST",
        )
        parameters = {
            TOKEN_PARAMETER: token,
            CALLER_PARAMETER: self._caller,
            CALLED_PARAMETER: self._called,
            **({ASSISTANT_PARAMETER: self._name} if self._name else {}),
            **({RESUMED_PARAMETER: "1"} if number > 1 else {}),
            **({DIRECTION_PARAMETER: OUTBOUND} if self._outbound else {}),
        }
        for name, value in parameters.items():
            stream.parameter(name=name, value=_NOT_IN_XML.sub("", value)[: PARAMETER_LIMIT - 1 - len(name)])
        twiml = VoiceResponse()
        if digits:
            twiml.play(digits=digits)
        if missed:
            self._pause(twiml, missed - 1)
        twiml.append(connect)
        self._add_fallback(twiml)
        return str(twiml)

    def fallback(self) -> str:
        """The assistant cannot be reached."""
        twiml = VoiceResponse()
        self._add_fallback(twiml)
        return str(twiml)

    def _add_fallback(self, twiml: VoiceResponse) -> None:
        fallback = self._assistant.fallback
        self._say(twiml, fallback.say)
        if fallback.transfer_to is not None:
            self._dial(twiml, fallback.transfer_to, fallback.transfer_seconds, {})
            return
        if fallback.voicemail:
            # Its action is not asked for when nothing was recorded: then the next verb comes.
            twiml.record(
                action=self._url(RECORDED_PATH),
                method="POST",
                max_length=fallback.voicemail_seconds,
                play_beep=True,
                recording_status_callback=self._url(RECORDING_PATH),
                recording_status_callback_method="POST",
            )
        self._end(twiml, fallback.goodbye)

    def overflow(self, may_wait: bool, rounds: int) -> str:
        """No further call is taken. `may_wait`: for a while only; `rounds`: how often the caller has waited."""
        overflow = self._assistant.overflow
        twiml = VoiceResponse()
        if overflow.queue_seconds is not None and may_wait and rounds < overflow.queue_rounds:
            self._say(twiml, overflow.waiting)
            twiml.pause(length=overflow.queue_seconds)
            twiml.redirect(self._url(WEBHOOK_PATH, {ROUNDS_FIELD: rounds + 1}), method="POST")
            return str(twiml)
        self._say(twiml, overflow.say)
        if overflow.transfer_to is not None:
            self._dial(twiml, overflow.transfer_to, overflow.transfer_seconds, {OVERFLOW_FIELD: 1})
        else:
            self._end(twiml, overflow.goodbye)
        return str(twiml)

    def wait(self, path: str, fields: Mapping[str, int | str]) -> str | None:
        """Ask again at `path`, with these fields in its query; None where that was said often enough."""
        waits = int(fields.get(WAITS_FIELD, 0))
        if waits >= len(WAIT_SECONDS):
            return None
        twiml = VoiceResponse()
        self._pause(twiml, waits)
        twiml.redirect(self._url(path, {**fields, WAITS_FIELD: waits + 1}), method="POST")
        return str(twiml)

    def transfer(self, number: str, stream: int) -> str:
        """The caller is connected with that number, and comes back behind that stream if nobody answers there."""
        twiml = VoiceResponse()
        found = self._assistant.telephony.target(number)
        seconds = RING_SECONDS if found is None else found[1].ring_seconds
        self._dial(twiml, number, seconds, {STREAM_FIELD: stream})
        return str(twiml)

    def consult(self, call_sid: str, room: str, summary: str) -> str:
        """Somebody who has just been called is told who is on the line, and asked whether to take the call."""
        telephony = self._assistant.telephony
        spoken = " ".join(self._person) if is_e164(self._person) else ""
        summary = summary[:SUMMARY_LIMIT]
        while len(escape(summary)) > SUMMARY_LIMIT:
            summary = summary[:-1]
        sentence = telephony.consult.replace("{caller}", spoken).replace("{summary}", summary)
        twiml = VoiceResponse()
        action = self._url(CONSULT_PATH, {CALL_FIELD: call_sid, ROOM_FIELD: room})
        for _ in range(2):
            gather = twiml.gather(num_digits=1, timeout=TAKE_SECONDS, action=action, method="POST")
            self._say(gather, sentence)
        self._end(twiml, telephony.consult_declined)
        return str(twiml)

    def declined(self) -> str:
        """That person does not take the call."""
        twiml = VoiceResponse()
        self._end(twiml, self._assistant.telephony.consult_declined)
        return str(twiml)

    def await_caller(self, room: str) -> str:
        """That person takes the call, and waits for the caller."""
        return self._meet(room, begins=False, action=None)

    def join(self, room: str, stream: int) -> str:
        """The caller goes where that person waits. When either of the two hangs up, it is over for both."""
        return self._meet(room, begins=True, action=self._url(TRANSFERRED_PATH, {STREAM_FIELD: stream}))

    def _meet(self, room: str, begins: bool, action: str | None) -> str:
        twiml = VoiceResponse()
        dial = twiml.dial(action=action, method=None if action is None else "POST")
        dial.conference(room, start_conference_on_enter=begins, end_conference_on_exit=True, beep="false")
        return str(twiml)

    def not_transferred(self, of_overflow: bool) -> str:
        """Nobody has answered where the caller was transferred to."""
        twiml = VoiceResponse()
        way_out = self._assistant.overflow if of_overflow else self._assistant.fallback
        self._end(twiml, way_out.goodbye)
        return str(twiml)

    def recorded(self) -> str:
        """The caller has left a message."""
        twiml = VoiceResponse()
        self._end(twiml, self._assistant.fallback.voicemail_thanks)
        return str(twiml)

    def hang_up(self) -> str:
        """The end."""
        twiml = VoiceResponse()
        twiml.hangup()
        return str(twiml)

    def nothing(self) -> str:
        """For a call that is over."""
        return str(VoiceResponse())

    def _pause(self, twiml: VoiceResponse, waits: int) -> None:
        if seconds := WAIT_SECONDS[min(waits, len(WAIT_SECONDS) - 1)]:
            twiml.pause(length=seconds)

    def _say(self, twiml: VoiceResponse | Gather, sentence: str) -> None:
        # English is what Twilio speaks unasked.
        language = self._assistant.language
        twiml.say(_NOT_IN_XML.sub("", sentence), language=None if language == "en" else language)

    def _dial(self, twiml: VoiceResponse, number: str, seconds: int, fields: dict[str, int]) -> None:
        # Twilio shows only a number of the account's own, or the caller's, to whom it calls.
        caller_id = self._ours if is_e164(self._ours) else None
        twiml.dial(
            number,
            timeout=seconds,
            caller_id=caller_id,
            action=self._url(TRANSFERRED_PATH, fields),
            method="POST",
        )

    def _end(self, twiml: VoiceResponse, goodbye: str) -> None:
        if goodbye:
            self._say(twiml, goodbye)
        # Said outright: a document that waits, instead of ending, leaves the caller on a silent line.
        twiml.hangup()

    def _url(self, path: str, fields: Mapping[str, int | str] | None = None) -> str:
        return f"{self._base_url}{path}" + (f"?{urlencode(fields)}" if fields else "")


def dial_url(base_url: str, path: str, token: str) -> str:
    """One of the three URLs that Twilio is given for a call that we place."""
    return f"{base_url}{path}?{urlencode({DIAL_FIELD: token})}"
