"""simulator.phone against a small real server that plays Switchboard's part and records what it receives."""

import base64
import json
import queue
import socket
import struct
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from simulator.line import CallOverError
from simulator.phone import Phone
from simulator.phone_events import (
    AssistantAudible,
    CallEnded,
    CallerSpeechEnded,
    CallerSpeechStarted,
    Cleared,
    Dialed,
    DigitPressed,
    MarkEchoed,
    PhoneEvent,
    Played,
    ProtocolError,
    Spoke,
    StreamClosed,
)
from simulator.webhook import WebhookError
from wire.g711 import decode_ulaw

TOKEN = "12345"
SOON = 15.0
"""For what must come; nothing waits so long for what must not."""
SILENCE = b"\xff" * 160
LOUD = b"\x80\x00"  # the loudest there is, up and down


@dataclass
class Media:
    """The server's end of one media socket."""

    socket: ServerConnection
    path: str
    headers: dict[str, str]
    received: "queue.Queue[tuple[float, dict[str, Any]]]" = field(default_factory=queue.Queue)
    closed: threading.Event = field(default_factory=threading.Event)
    stream_sid: str = ""

    def expect(self, event: str) -> dict[str, Any]:
        return self.expect_at(event)[1]

    def expect_at(self, event: str) -> tuple[float, dict[str, Any]]:
        deadline = time.monotonic() + SOON
        while True:
            at, message = self.received.get(timeout=max(deadline - time.monotonic(), 0))
            if message["event"] == event:
                return at, message

    def send(self, event: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"event": event, "streamSid": self.stream_sid, **fields}))

    def play(self, audio: bytes) -> None:
        self.send("media", media={"payload": base64.b64encode(audio).decode()})

    def mark(self, name: str) -> None:
        self.send("mark", mark={"name": name})

    def read(self) -> None:
        try:
            for text in self.socket:
                message = json.loads(text)
                if message["event"] == "start":
                    self.stream_sid = message["streamSid"]
                self.received.put((time.monotonic(), message))
        except ConnectionClosed:
            pass
        self.closed.set()


@dataclass
class Asked:
    """One HTTP request that the server got."""

    method: str
    path: str
    form: dict[str, str]
    signature: str | None
    content_type: str | None = None


class Server:
    """TwiML over HTTP and media over a websocket, on two ports."""

    def __init__(self) -> None:
        self.documents: dict[str, str | bytes] = {}
        self.statuses: dict[str, int] = {}
        self.types: dict[str, str] = {}
        self.asked: queue.Queue[Asked] = queue.Queue()
        self.opened: queue.Queue[Media] = queue.Queue()
        self.refuse: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path)
                pairs = parse_qsl(body.decode() or parts.query, keep_blank_values=True)
                server.asked.put(
                    Asked(
                        self.command,
                        self.path,
                        dict(pairs),
                        self.headers.get("X-Twilio-Signature"),
                        self.headers.get("Content-Type"),
                    )
                )
                document = server.documents.get(parts.path, "<Response/>")
                answer = document.encode() if isinstance(document, str) else document
                self.send_response(server.statuses.get(parts.path, 200))
                self.send_header("Content-Type", server.types.get(parts.path, "text/xml; charset=utf-8"))
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = answer  # noqa: N815
            do_POST = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False
        self.media = serve(self._media, "127.0.0.1", 0, process_request=self._admit, compression=None)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.ws = f"ws://127.0.0.1:{self.media.socket.getsockname()[1]}"
        self.threads = [
            threading.Thread(target=self.http.serve_forever, args=(0.01,)),
            threading.Thread(target=self.media.serve_forever),
        ]
        for thread in self.threads:
            thread.start()

    def stream(self, path: str = "/websocket", *, connect: str = "", stream: str = "", then: str = "") -> str:
        return (
            f"<Response><Connect {connect}><Stream url='{self.ws}{path}' {stream}>"
            f"<Parameter name='token' value='k3F'/></Stream></Connect>{then}</Response>"
        )

    def connection(self) -> Media:
        return self.opened.get(timeout=SOON)

    def request(self, path: str) -> Asked:
        deadline = time.monotonic() + SOON
        while True:
            asked = self.asked.get(timeout=max(deadline - time.monotonic(), 0))
            if asked.path.partition("?")[0] == path:
                return asked

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.media.shutdown()
        for thread in self.threads:
            thread.join()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        return None if self.refuse is None else connection.respond(self.refuse, "no")

    def _media(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        media = Media(connection, connection.request.path, headers)
        self.opened.put(media)
        media.read()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.documents["/twiml"] = server.stream()
    yield server
    server.close()


PhoneMaker = Callable[..., Phone]


@pytest.fixture
def make_phone(server: Server) -> Iterator[PhoneMaker]:
    phones: list[Phone] = []

    def make(**options: Any) -> Phone:
        phones.append(Phone(options.pop("url", server.url + "/twiml"), **options))
        return phones[-1]

    yield make
    for phone in phones:
        phone.close()


def connect(server: Server, phone: Phone) -> Media:
    phone.dial()
    media = server.connection()
    phone.await_stream(SOON)
    media.expect("start")
    return media


def of(kind: type[PhoneEvent], events: tuple[PhoneEvent, ...]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def codes(events: tuple[ProtocolError, ...]) -> list[int]:
    return [event.code for event in events]


def test_the_webhook_gets_a_signed_form_with_twilios_fields(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone(
        auth_token=TOKEN, from_number="+15550100007", fields={"StirVerstat": "TN-Validation-Passed-A"}
    )
    server.documents["/twiml"] = "<Response><Hangup/></Response>"
    phone.dial()
    result = phone.await_end(SOON)
    asked = server.request("/twiml")
    assert asked.method == "POST"
    assert asked.form["CallSid"] == phone.call_sid == result.call_sid
    assert asked.form["From"] == asked.form["Caller"] == "+15550100007"
    assert asked.form["CallStatus"] == "ringing"
    assert asked.form["FromState"] == ""
    assert asked.form["StirVerstat"] == "TN-Validation-Passed-A"
    assert (asked.content_type or "").startswith("application/x-www-form-urlencoded")
    assert RequestValidator(TOKEN).validate(server.url + "/twiml", asked.form, asked.signature)
    assert result.reason == "hangup"
    assert result.errors == ()


def test_a_get_webhook_signs_its_url(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone(url=server.url + "/twiml?x=1", auth_token=TOKEN, method="GET")
    server.documents["/twiml"] = "<Response><Hangup/></Response>"
    phone.dial()
    asked = server.request("/twiml")
    assert asked.method == "GET"
    assert asked.path.startswith("/twiml?x=1&CallSid=CA")
    assert RequestValidator(TOKEN).validate(server.url + asked.path, {}, asked.signature)


def test_nothing_is_signed_without_a_token(server: Server, make_phone: PhoneMaker) -> None:
    media = connect(server, make_phone())
    assert server.request("/twiml").signature is None
    assert "x-twilio-signature" not in media.headers


def test_the_handshake_is_signed_over_the_exact_url(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = server.stream("/websocket/tok/")
    media = connect(server, make_phone(auth_token=TOKEN))
    assert media.path == "/websocket/tok/"
    signature = media.headers["x-twilio-signature"]
    assert RequestValidator(TOKEN).compute_signature(server.ws + media.path, {}) == signature
    assert "sec-websocket-extensions" not in media.headers
    assert "origin" not in media.headers


def test_a_stream_begins_and_ends_as_twilios_does(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone(account_sid="AC" + "1" * 32)
    phone.dial()
    media = server.connection()
    messages = [media.received.get(timeout=SOON)[1] for _ in range(12)]
    phone.hang_up()
    result = phone.await_end(SOON)
    assert media.closed.wait(SOON)
    messages += [message for _, message in list(media.received.queue)]
    sid = media.stream_sid
    assert messages[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert messages[1] == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC" + "1" * 32,
            "streamSid": sid,
            "callSid": phone.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "k3F"},
        },
        "streamSid": sid,
    }
    assert len(sid) == 34
    assert sid.startswith("MZ")
    silence = base64.b64encode(SILENCE).decode()
    frames = messages[2:-1]
    for number, message in enumerate(frames, start=1):
        first = int(frames[0]["media"]["timestamp"])
        assert 0 <= first < 20
        assert message == {
            "event": "media",
            "sequenceNumber": str(number + 1),
            "media": {
                "track": "inbound",
                "chunk": str(number),
                "timestamp": str(first + 20 * (number - 1)),
                "payload": silence,
            },
            "streamSid": sid,
        }
    assert messages[-1] == {
        "event": "stop",
        "sequenceNumber": str(len(frames) + 2),
        "stop": {"accountSid": "AC" + "1" * 32, "callSid": phone.call_sid},
        "streamSid": sid,
    }
    assert media.socket.close_code == 1000
    assert result.reason == "caller"
    assert result.streams[0].frames_sent == len(frames)
    assert of(StreamClosed, result.events)[0].by == "phone"


def test_frames_leave_on_an_absolute_schedule(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    frames = [media.expect_at("media")[0] for _ in range(80)]
    phone.hang_up()
    result = phone.await_end(SOON)
    # However late a single frame was, or the thread that took it in, the later ones catch up.
    late_ms = [1000 * at - 20 * number for number, at in enumerate(frames)]
    assert abs(min(late_ms[:40]) - min(late_ms[40:])) <= 10 + result.max_lateness_ms
    assert result.max_lateness_ms < 5000


def test_caller_speech_arrives_byte_for_byte(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    speech = bytes(range(1, 251)) * 2  # 500 bytes: the last frame is filled up with silence
    utterance = phone.say(speech)
    utterance.wait(SOON)
    frames = [base64.b64decode(media.expect("media")["media"]["payload"]) for _ in range(6)]
    heard = b"".join(frames).strip(b"\xff")
    while heard != speech.strip(b"\xff"):
        heard += base64.b64decode(media.expect("media")["media"]["payload"])
        heard = heard.strip(b"\xff")
        assert len(heard) <= len(speech)
    assert utterance.started is not None
    assert utterance.ended is not None
    assert utterance.ended - utterance.started == pytest.approx(500 / 8000)
    assert utterance.start is not None
    assert utterance.start % 160 == 0


def test_two_utterances_follow_each_other(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    connect(server, phone)
    first, second = phone.say(LOUD * 80), phone.say(LOUD * 80)
    second.wait(SOON)
    assert first.start is not None
    assert second.start == first.start + 160
    phone.hang_up()
    events = phone.await_end(SOON).events
    assert [event.utterance for event in of(CallerSpeechStarted, events)] == [0, 1]
    assert [event.utterance for event in of(CallerSpeechEnded, events)] == [0, 1]


def test_speech_times_leave_out_silence_around_the_words(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    connect(server, phone)
    utterance = phone.say(SILENCE + LOUD * 80 + SILENCE * 2)
    utterance.wait(SOON)
    assert utterance.speech == (160, 320)
    phone.hang_up()
    events = phone.await_end(SOON).events
    started, ended = of(CallerSpeechStarted, events)[0].at, of(CallerSpeechEnded, events)[0].at
    assert ended - started == pytest.approx(0.020)


def test_speech_that_the_hang_up_cuts_says_so(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    said, never_begun = phone.say(LOUD * 8000), phone.say(LOUD * 80)
    while base64.b64decode(media.expect("media")["media"]["payload"]) == SILENCE:
        pass
    phone.hang_up()
    with pytest.raises(CallOverError, match="before utterance 0 was over"):
        said.wait(SOON)
    phone.await_end(SOON)
    assert said.cut
    assert said.ended is None
    assert never_begun.started is None
    with pytest.raises(CallOverError, match="nobody hears"):
        phone.say(SILENCE)


def test_a_pressed_key_is_a_dtmf_message(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.press("#")
    message = media.expect("dtmf")
    assert message["dtmf"] == {"track": "inbound_track", "digit": "#"}
    assert int(message["sequenceNumber"]) >= 2
    with pytest.raises(ValueError, match="not one key"):
        phone.press("12")
    phone.hang_up()
    assert of(DigitPressed, phone.await_end(SOON).events)[0].digit == "#"


def test_marks_are_echoed_when_the_audio_before_them_was_heard(
    server: Server, make_phone: PhoneMaker
) -> None:
    phone = make_phone()
    media = connect(server, phone)
    media.mark("at once")
    media.play(LOUD * 800)
    media.mark("after 200 ms")
    assert media.expect("mark")["mark"] == {"name": "at once"}
    assert media.expect("mark")["mark"] == {"name": "after 200 ms"}
    phone.hang_up()
    result = phone.await_end(SOON)
    stream = result.streams[0]
    assert [(mark.name, mark.by, mark.position) for mark in stream.marks] == [
        ("at once", "play", 0),
        ("after 200 ms", "play", 1600),
    ]
    received, echoed = stream.media[0].received, stream.marks[1].echoed
    assert echoed == received + 1600
    assert (stream.media[0].started, stream.media[0].played) == (received, 1600)
    assert of(AssistantAudible, result.events)[0].at == received / 8000
    assert [(event.name, event.by) for event in of(MarkEchoed, result.events)] == [
        ("at once", "play"),
        ("after 200 ms", "play"),
    ]


def test_a_clear_cuts_the_audio_and_the_phone_knows_where(
    server: Server, make_phone: PhoneMaker, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    phone = make_phone(recording=path)
    media = connect(server, phone)
    media.play(LOUD * 4000)
    media.mark("end")
    phone.await_assistant(SOON)
    media.send("clear")
    assert media.expect("mark")["mark"] == {"name": "end"}
    phone.await_silence(40, SOON)
    phone.hang_up()
    result = phone.await_end(SOON)
    stream = result.streams[0]
    clear, played = stream.clears[0], stream.media[0]
    assert clear.dropped + clear.position == 8000
    assert clear.marks == ("end",)
    assert (played.played, played.cleared, played.cleared_at) == (clear.position, clear.dropped, clear.at)
    assert of(Cleared, result.events)[0].ms_dropped == clear.dropped_ms
    assert stream.marks[0].by == "clear"
    assert result.audible == ((played.received, clear.at),)
    left, right = channels(path)
    assert right[played.received : clear.at] == samples(LOUD * 4000)[: clear.position]
    assert not any(right[: played.received])
    assert not any(right[clear.at :])
    assert not any(left)


def test_the_recording_has_both_sides_at_their_time(
    server: Server, make_phone: PhoneMaker, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    phone = make_phone(recording=path)
    media = connect(server, phone)
    speech = bytes(range(128)) * 5
    utterance = phone.say(speech)
    media.play(bytes(range(100, 120)) * 16)
    utterance.wait(SOON)
    media.mark("heard")
    media.expect("mark")
    phone.hang_up()
    result = phone.await_end(SOON)
    left, right = channels(path)
    heard = result.streams[0].media[0]
    assert utterance.start is not None
    assert heard.started is not None
    assert left[utterance.start :][: len(speech)] == samples(speech)
    assert not any(left[: utterance.start])
    assert right[heard.started :][:320] == samples(bytes(range(100, 120)) * 16)
    assert sum(map(bool, right)) == 320
    assert len(left) == round(result.seconds * 8000)
    assert len(left) >= utterance.start + len(speech)


def test_the_recording_is_valid_when_the_connection_breaks(
    server: Server, make_phone: PhoneMaker, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    phone = make_phone(recording=path)
    media = connect(server, phone)
    media.play(LOUD * 400)
    media.mark("heard")
    media.expect("mark")
    phone.drop()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31903]
    started = result.streams[0].media[0].started
    assert started is not None
    assert channels(path)[1][started:][:800] == samples(LOUD * 400)


def test_latency_delays_messages_both_ways_and_keeps_their_order(
    server: Server, make_phone: PhoneMaker
) -> None:
    phone = make_phone(latency_ms=75)
    media = connect(server, phone)
    taken_ms = []
    for number in range(3):
        sent = time.monotonic()
        media.play(LOUD * 160)
        media.mark(f"played {number}")
        echoed, _ = media.expect_at("mark")
        taken_ms.append((echoed - sent) * 1000)
    assert min(taken_ms) >= 40 + 2 * 75 - 1
    phone.press("1")
    phone.hang_up()
    media.expect("dtmf")
    media.expect("stop")
    result = phone.await_end(SOON)
    assert media.closed.wait(SOON)
    assert result.streams[0].close_code == 1000
    assert min(taken_ms) <= 40 + 2 * 75 + 200 + result.max_lateness_ms


def test_the_servers_close_leads_to_the_action(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = server.stream(connect="action='/after'", then="<Say>not reached</Say>")
    server.documents["/after"] = "<Response><Dial>+15550100009</Dial></Response>"
    phone = make_phone(auth_token=TOKEN)
    media = connect(server, phone)
    media.socket.close(1000)
    result = phone.await_end(SOON)
    asked = server.request("/after")
    assert asked.form["CallStatus"] == "in-progress"
    assert asked.form["CallSid"] == phone.call_sid
    assert RequestValidator(TOKEN).validate(server.url + "/after", asked.form, asked.signature)
    assert result.reason == "dial"
    assert of(Dialed, result.events)[0].number == "+15550100009"
    assert of(StreamClosed, result.events)[0].code == 1000
    assert of(StreamClosed, result.events)[0].by == "server"
    assert result.errors == ()
    assert of(Spoke, result.events) == []


def test_a_close_with_another_code_than_1000_is_error_31921(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    connect(server, phone).socket.close(1011, "failed")
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31921]
    assert "1011 failed" in result.errors[0].message
    assert result.reason == "end"


def test_without_an_action_the_next_verb_follows(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = server.stream(then="<Say>Sorry</Say><Hangup/>")
    phone = make_phone()
    connect(server, phone).socket.close()
    result = phone.await_end(SOON)
    assert [event.text for event in of(Spoke, result.events)] == ["Sorry"]
    assert result.reason == "hangup"
    assert result.seconds >= 0.3  # five characters


def test_after_a_hang_up_the_action_is_told_that_the_call_is_over(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = server.stream(connect="action='/after' method='GET'")
    server.documents["/after"] = "<Response><Say>nobody hears this</Say></Response>"
    phone = make_phone()
    connect(server, phone)
    phone.hang_up()
    result = phone.await_end(SOON)
    asked = server.request("/after")
    assert asked.method == "GET"
    assert asked.form["CallStatus"] == "completed"
    assert result.reason == "caller"
    assert of(Spoke, result.events) == []


def test_an_action_may_open_the_next_stream(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = server.stream(connect="action='/after'")
    server.documents["/after"] = server.stream("/again")
    phone = make_phone()
    first = connect(server, phone)
    first.socket.close()
    second = server.connection()
    phone.await_stream(SOON, number=2)
    start = second.expect("start")
    assert second.path == "/again"
    assert start["sequenceNumber"] == "1"
    assert start["start"]["callSid"] == phone.call_sid
    assert second.stream_sid != first.stream_sid
    phone.hang_up()
    assert len(phone.await_end(SOON).streams) == 2


def test_a_refused_handshake_is_error_31920_and_the_next_verb(server: Server, make_phone: PhoneMaker) -> None:
    server.refuse = 403
    status = f"statusCallback='{server.url}/status'"
    server.documents["/twiml"] = server.stream(
        connect="action='/after'", stream=status, then="<Say>a</Say><Hangup/>"
    )
    phone = make_phone()
    phone.dial()
    with pytest.raises(CallOverError, match="media stream 1 was not opened"):
        phone.await_stream(SOON)
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31920]
    assert "403" in result.errors[0].message
    assert [event.text for event in of(Spoke, result.events)] == ["a"]
    assert result.streams == ()
    posted = server.request("/status")
    assert posted.form["StreamEvent"] == "stream-error"
    assert "403" in posted.form["StreamError"]


def test_a_port_where_nobody_listens_is_error_31902(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = "<Response><Connect><Stream url='ws://127.0.0.1:1/m'/></Connect></Response>"
    phone = make_phone()
    phone.dial()
    assert codes(phone.await_end(SOON).errors) == [31902]


def test_a_server_without_tls_is_error_31910_for_wss(server: Server, make_phone: PhoneMaker) -> None:
    url = server.url.replace("http:", "wss:")
    server.documents["/twiml"] = f"<Response><Connect><Stream url='{url}/m'/></Connect></Response>"
    phone = make_phone()
    phone.dial()
    assert codes(phone.await_end(SOON).errors) == [31910]


def test_a_stream_url_with_a_query_is_never_opened(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = server.stream("/websocket?token=1")
    phone = make_phone()
    phone.dial()
    assert codes(phone.await_end(SOON).errors) == [31920]
    assert server.opened.empty()


def test_stream_status_callbacks_are_signed_and_in_order(server: Server, make_phone: PhoneMaker) -> None:
    status = f"name='bridge' statusCallback='{server.url}/status'"
    server.documents["/twiml"] = server.stream(stream=status)
    phone = make_phone(auth_token=TOKEN)
    media = connect(server, phone)
    phone.hang_up()
    assert phone.await_end(SOON).errors == ()
    for event in ("stream-started", "stream-stopped"):
        asked = server.request("/status")
        assert asked.form["StreamEvent"] == event
        assert asked.form["StreamSid"] == media.stream_sid
        assert asked.form["StreamName"] == "bridge"
        assert RequestValidator(TOKEN).validate(server.url + "/status", asked.form, asked.signature)


def break_protocol(media: Media) -> None:
    media.socket.socket.sendall(b"\xff\x00")  # reserved bits and an opcode that does not exist


@pytest.mark.parametrize(
    ("end", "code", "event"),
    [
        (lambda media: media.socket.socket.shutdown(socket.SHUT_RDWR), 31903, "stream-error"),
        (break_protocol, 31924, "stream-error"),
        (lambda media: media.socket.close(1011), 31921, "stream-stopped"),
    ],
)
def test_a_stream_that_breaks_is_called_back_as_an_error(
    server: Server, make_phone: PhoneMaker, end: Callable[[Media], None], code: int, event: str
) -> None:
    server.documents["/twiml"] = server.stream(stream=f"statusCallback='{server.url}/status'")
    phone = make_phone()
    end(connect(server, phone))
    assert codes(phone.await_end(SOON).errors) == [code]
    assert server.request("/status").form["StreamEvent"] == "stream-started"
    called = server.request("/status").form
    assert called["StreamEvent"] == event
    assert bool(called.get("StreamError")) == (event == "stream-error")


def test_a_failing_status_callback_is_error_11200_and_nothing_more(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.statuses["/status"] = 500
    server.documents["/twiml"] = server.stream(stream=f"statusCallback='{server.url}/status'")
    phone = make_phone()
    connect(server, phone)
    phone.hang_up()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [11200, 11200]
    assert result.reason == "caller"


STREAM_SID = "<the stream's>"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b'{"event":"clear"}', 31950),
        ("not JSON", 31951),
        ("[1]", 31951),
        ({"event": "clear"}, 31951),
        ({"event": "clear", "streamSid": "MZ" + "0" * 32}, 31951),
        ({"event": "clear", "streamSid": STREAM_SID, "extra": 1}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID, "mark": {"name": ""}}, 31951),
        ({"event": "mark", "streamSid": STREAM_SID, "mark": {"name": 7}}, 31951),
        (
            {"event": "media", "streamSid": STREAM_SID, "media": {"payload": "/w==", "track": "outbound"}},
            31951,
        ),
        ({"event": "media", "streamSid": STREAM_SID, "media": {"payload": "/w"}}, 31951),
        ({"event": "media", "streamSid": STREAM_SID, "media": {"payload": "/ w="}}, 31951),
        ({"event": "media", "streamSid": STREAM_SID, "media": {"payload": "é==="}}, 31951),
        ({"event": "dtmf", "streamSid": STREAM_SID, "dtmf": {"digit": "1"}}, 31951),
    ],
)
def test_what_twilio_does_not_take_is_dropped_with_its_warning(
    server: Server, make_phone: PhoneMaker, message: Any, code: int
) -> None:
    phone = make_phone()
    media = connect(server, phone)
    if isinstance(message, dict):
        message = json.dumps(message).replace(STREAM_SID, media.stream_sid)
    media.socket.send(message)
    media.mark("still alive")
    assert media.expect("mark")["mark"] == {"name": "still alive"}
    phone.hang_up()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [code]
    assert (result.streams[0].media, result.streams[0].clears) == ([], [])


def test_a_ping_is_answered(server: Server, make_phone: PhoneMaker) -> None:
    media = connect(server, make_phone())
    assert media.socket.ping(b"are you there").wait(SOON)


def test_a_burst_of_messages_arrives_whole_and_in_order(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    pieces = [bytes([number]) * (number * 40) for number in range(1, 60)]
    for number, piece in enumerate(pieces):
        media.play(piece)
        media.mark(str(number))
    media.play(LOUD * 50_000)  # a frame with a 64-bit length
    media.send("clear")
    media.mark("last")
    while media.expect("mark")["mark"]["name"] != "last":
        pass
    phone.hang_up()
    stream = phone.await_end(SOON).streams[0]
    assert [record.size for record in stream.media] == [len(piece) for piece in pieces] + [100_000]
    assert [mark.name for mark in stream.marks] == [str(number) for number in range(59)] + ["last"]


def test_a_dropped_connection_is_a_reset_for_the_server_and_31903(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = server.stream(connect="action='/after'")
    phone = make_phone()
    media = connect(server, phone)
    phone.drop()
    result = phone.await_end(SOON)
    assert media.closed.wait(SOON)
    with pytest.raises(ConnectionClosed) as lost:
        media.socket.send("{}")
    assert isinstance(lost.value.__cause__, ConnectionResetError | BrokenPipeError)
    assert media.socket.close_code == 1006
    assert codes(result.errors) == [31903]
    assert server.request("/after").form["CallStatus"] == "in-progress"


def test_a_server_that_vanishes_is_error_31903(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    media.socket.socket.shutdown(2)
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31903]
    assert of(StreamClosed, result.events)[0].by == "network"
    assert of(StreamClosed, result.events)[0].code == 1006


def test_a_phone_that_does_not_read_holds_up_the_sender(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.stop_reading()
    sent, done = [0], threading.Event()

    def flood() -> None:
        for _ in range(400):
            media.play(LOUD * 8000)
            sent[0] += 1
        done.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert not done.wait(0.3)
    assert sent[0] < 300
    phone.resume_reading()
    assert done.wait(SOON)
    thread.join()
    media.send("clear")
    media.mark("all read")
    media.expect("mark")
    phone.hang_up()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [31931]  # 6.4 MB are more than ten minutes
    assert len(result.streams[0].media) == 400


def test_raw_messages_leave_as_they_are(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.send_raw('{"event":"from the future"}')
    assert media.expect("from the future") == {"event": "from the future"}


def test_a_rest_update_stops_the_stream_and_runs_the_new_document(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = server.stream(connect="action='/after'")
    phone = make_phone()
    media = connect(server, phone)
    phone.update("<Response><Say>a</Say><Dial>+15550100009</Dial></Response>")
    media.expect("stop")
    result = phone.await_end(SOON)
    assert result.reason == "dial"
    assert "/after" not in [asked.path for asked in list(server.asked.queue)]


def test_a_rest_update_to_completed_ends_the_call(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    phone.complete()
    media.expect("stop")
    assert phone.await_end(SOON).reason == "completed"


def test_say_play_pause_and_redirect_take_their_time_in_order(
    server: Server, make_phone: PhoneMaker, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    with wave.open(str(tmp_path / "beep.wav"), "wb") as beep:
        beep.setparams((1, 2, 8000, 0, "NONE", ""))
        beep.writeframes(struct.pack("<h", 7932) * 400)
    server.documents["/beep.wav"] = (tmp_path / "beep.wav").read_bytes()
    server.documents["/twiml"] = (
        "<Response><Say>hello</Say><Play>/beep.wav</Play><Pause length='0.05'/><Redirect>/next</Redirect></Response>"
    )
    server.documents["/next"] = "<Response><Play digits='1'/><Play>/missing</Play><Reject/></Response>"
    server.statuses["/missing"] = 404
    told: list[tuple[int, bytes]] = []
    phone = make_phone(
        recording=path,
        speak=lambda text: LOUD * (80 * len(text)),
        listen=lambda start, said, heard: told.append((start, heard)),
    )
    phone.dial()
    result = phone.await_end(SOON)
    assert result.reason == "reject"
    assert codes(result.errors) == [11200]
    (spoke,) = of(Spoke, result.events)
    beep_played, digits, _ = of(Played, result.events)
    assert spoke.text == "hello"
    assert [beep_played.what, digits.what] == ["/beep.wav", "1"]
    spoken_at, beep_at, digits_at = (round(event.at * 8000) for event in (spoke, beep_played, digits))
    assert beep_at - spoken_at >= 800
    assert digits_at - beep_at >= 400
    _, right = channels(path)
    loud = samples(LOUD)[0]
    said, beeped = right.index(loud), right.index(7932)
    assert right[said : said + 800] == samples(LOUD * 400)
    assert right[beeped : beeped + 400] == [7932] * 400
    assert beeped >= said + 800
    assert said >= spoken_at
    assert samples(b"".join(audio for _, audio in told)) == right
    assert [start for start, _ in told] == list(range(0, len(right), 160))


def test_hanging_up_cuts_a_verb_short(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = "<Response><Pause length='60'/></Response>"
    phone = make_phone()
    phone.dial()
    phone.hang_up()
    result = phone.await_end(SOON)
    assert result.reason == "caller"
    assert isinstance(result.events[-1], CallEnded)


def test_latencies_of_each_turn_are_measured_at_the_phone(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    question = phone.say(LOUD * 240)
    question.wait(SOON)
    media.play(SILENCE + LOUD * 16000)
    phone.await_assistant(SOON)
    interruption = phone.say(LOUD * 240)
    while interruption.started is None:
        media.expect("media")
    media.send("clear")
    interruption.wait(SOON)
    phone.await_silence(20, SOON)
    phone.hang_up()
    result = phone.await_end(SOON)
    first, second = result.turns()
    stream = result.streams[0]
    assert question.start is not None
    assert interruption.start is not None
    assert stream.media[0].started is not None
    assert first.response_ms == (stream.media[0].started + 160 - question.start - 480) / 8
    assert first.silence_ms is None
    assert second.silence_ms == (stream.clears[0].at - interruption.start) / 8
    assert second.response_ms is None


def test_a_public_origin_is_signed_and_the_local_one_connected_to(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = "<Response><Redirect>https://voice.example.com/next</Redirect></Response>"
    server.documents["/next"] = (
        "<Response><Connect><Stream url='wss://voice.example.com/m'/></Connect></Response>"
    )
    phone = make_phone(auth_token=TOKEN, public_url="https://voice.example.com")
    phone.dial()
    result = phone.await_end(SOON)
    for path in ("/twiml", "/next"):
        asked = server.request(path)
        assert RequestValidator(TOKEN).validate(
            "https://voice.example.com" + path, asked.form, asked.signature
        )
    # The media port of this server is another than its web port, which answers the upgrade without 101.
    assert codes(result.errors) == [31920]
    assert server.request("/m").method == "GET"


def test_a_stream_without_tls_is_opened_where_the_server_itself_has_none(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = (
        "<Response><Connect><Stream url='ws://voice.example.com/m'/></Connect></Response>"
    )
    phone = make_phone(public_url="http://voice.example.com")
    phone.dial()
    assert codes(phone.await_end(SOON).errors) == [31920]  # the web port answers the upgrade without 101
    server.request("/twiml")
    assert server.request("/m").method == "GET"


def test_a_stream_without_tls_is_refused_where_the_public_origin_has_it(
    server: Server, make_phone: PhoneMaker
) -> None:
    server.documents["/twiml"] = (
        "<Response><Connect><Stream url='ws://voice.example.com/m'/></Connect></Response>"
    )
    phone = make_phone(public_url="https://voice.example.com")
    phone.dial()
    assert codes(phone.await_end(SOON).errors) == [31922]


def test_a_redirect_to_a_foreign_scheme_is_named(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = "<Response><Redirect>ftp://voice.example.com/x</Redirect></Response>"
    phone = make_phone(public_url="https://voice.example.com")
    phone.dial()
    [error] = phone.await_end(SOON).errors
    assert error.code == 11200
    assert "no absolute http or https URL" in error.message


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json"])
def test_twiml_of_another_type_than_xml_is_error_12300_and_ends_the_call(
    server: Server, make_phone: PhoneMaker, content_type: str
) -> None:
    server.documents["/twiml"] = "<Response><Say>not reached</Say></Response>"
    server.types["/twiml"] = content_type
    phone = make_phone()
    phone.dial()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [12300]
    assert "TwiML is text/xml or application/xml" in result.errors[0].message
    assert (result.reason, of(Spoke, result.events)) == ("error", [])


def test_a_webhook_that_fails_is_an_error_of_dial(
    server: Server, make_phone: PhoneMaker, tmp_path: Path
) -> None:
    server.statuses["/twiml"] = 503
    phone = make_phone(recording=tmp_path / "call.wav")
    with pytest.raises(WebhookError, match="answered 503"):
        phone.dial()
    with pytest.raises(CallOverError):
        phone.await_stream(SOON)
    with pytest.raises(WebhookError, match="Refused"):
        make_phone(url="http://127.0.0.1:1/twiml").dial()


def test_twiml_that_twilio_would_not_run_ends_the_call(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = "<Response><Pay/></Response>"
    phone = make_phone()
    phone.dial()
    result = phone.await_end(SOON)
    assert codes(result.errors) == [12200]
    assert result.reason == "error"


def test_a_redirect_in_a_circle_ends(server: Server, make_phone: PhoneMaker) -> None:
    server.documents["/twiml"] = "<Response><Redirect>/twiml</Redirect></Response>"
    phone = make_phone()
    phone.dial()
    result = phone.await_end(SOON)
    assert result.reason == "error"
    assert "in a circle" in result.errors[0].message


def test_what_on_event_raises_ends_the_call_and_comes_out_of_await_end(
    server: Server, make_phone: PhoneMaker
) -> None:
    def on_event(event: PhoneEvent) -> None:
        if isinstance(event, DigitPressed):
            raise LookupError("no such digit")

    phone = make_phone(on_event=on_event)
    media = connect(server, phone)
    phone.press("1")
    with pytest.raises(LookupError, match="no such digit"):
        phone.await_end(SOON)
    assert media.closed.wait(SOON)


def test_what_was_heard_before_one_waits_is_found_with_since(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    media = connect(server, phone)
    utterance = phone.say(LOUD * 80 + SILENCE * 10)
    while utterance.speech_ended is None or time.monotonic() <= utterance.speech_ended:
        media.expect("media")
    media.play(LOUD * 80)
    phone.await_assistant(SOON, since=0)
    phone.await_silence(100, SOON)
    utterance.wait(SOON)
    with pytest.raises(TimeoutError):
        phone.await_assistant(0.05)
    phone.await_assistant(0.05, since=utterance.speech_ended)


def test_waiting_in_vain_says_what_happened_last(server: Server, make_phone: PhoneMaker) -> None:
    phone = make_phone()
    connect(server, phone)
    with pytest.raises(TimeoutError, match=r"not heard within 0\.01 s.*StreamOpened"):
        phone.await_assistant(0.01)
    with pytest.raises(TimeoutError, match="is not over"):
        phone.await_end(0.01)
    phone.close()
    with pytest.raises(CallOverError, match="not heard before the call ended"):
        phone.await_assistant(SOON)


def test_a_phone_dials_once_and_first(make_phone: PhoneMaker) -> None:
    phone = make_phone()
    with pytest.raises(CallOverError, match="dial first"):
        phone.say(SILENCE)
    phone.close()
    phone.dial()
    with pytest.raises(RuntimeError, match="new Phone"):
        phone.dial()


def test_events_come_in_the_order_of_their_times(server: Server, make_phone: PhoneMaker) -> None:
    told: list[PhoneEvent] = []
    phone = make_phone(on_event=told.append, latency_ms=10)
    media = connect(server, phone)
    for number in range(5):
        media.play(LOUD * 80)
        media.mark(str(number))
    for _ in range(5):
        media.expect("mark")
    phone.hang_up()
    result = phone.await_end(SOON)
    assert tuple(told) == result.events
    marks = of(MarkEchoed, result.events)
    assert len(marks) == 5
    assert all(before.at < after.at for before, after in pairwise(marks))


def samples(ulaw: bytes) -> list[int]:
    pcm = decode_ulaw(ulaw)
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


def channels(path: Path) -> tuple[list[int], list[int]]:
    with wave.open(str(path)) as recording:
        assert recording.getparams()[:3] == (2, 2, 8000)
        both = struct.unpack(f"<{recording.getnframes() * 2}h", recording.readframes(recording.getnframes()))
    return list(both[::2]), list(both[1::2])
