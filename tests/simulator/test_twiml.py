"""simulator.twiml against documents that Twilio's own SDK writes, and against what Twilio refuses."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect as ConnectVerb
from twilio.twiml.voice_response import Dial as DialVerb
from twilio.twiml.voice_response import VoiceResponse

from simulator.twiml import (
    Conference,
    Connect,
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    StatusCallback,
    Stream,
    StreamRefusedError,
    TwimlError,
    check_type,
    parse,
    stream_url,
)

HERE = "https://voice.example.com/twiml?x=1"


def test_every_verb_that_the_sdk_writes_is_read() -> None:
    response = VoiceResponse()
    response.say("Good morning & welcome")
    response.play("https://voice.example.com/hello.wav")
    response.play(digits="1w2")
    response.pause(length=3)
    response.dial("+15550100009", caller_id="+15550100002")
    response.redirect("/next", method="GET")
    response.reject(reason="busy")
    response.hangup()
    assert parse(str(response).encode()) == (
        Say("Good morning & welcome"),
        Play(url="https://voice.example.com/hello.wav"),
        Play(digits="1w2"),
        Pause(3.0),
        Dial("+15550100009", caller_id="+15550100002"),
        Redirect("/next", "GET"),
        Reject("busy"),
        Hangup(),
    )


def test_a_conference_is_read_as_the_sdk_writes_it() -> None:
    response, dial = VoiceResponse(), DialVerb(action="/after", time_limit=600)
    dial.conference(
        "transfer 1",
        start_conference_on_enter=False,
        end_conference_on_exit=True,
        muted=True,
        participant_label="caller",
        status_callback="/events",
        status_callback_event="join leave",
        wait_url="",
    )
    response.append(dial)
    callback = StatusCallback("/events", "POST", ("join", "leave"))
    assert parse(str(response).encode()) == (
        Dial(
            conference=Conference("transfer 1", False, True, True, "caller", callback),
            time_limit=600,
            action="/after",
        ),
    )


def test_a_number_with_its_callback_is_read_as_the_sdk_writes_it() -> None:
    response, dial = VoiceResponse(), DialVerb(timeout=10)
    dial.number("+15550100009", send_digits="w1", status_callback="/leg", status_callback_event="answered")
    response.append(dial)
    callback = StatusCallback("/leg", "POST", ("answered",))
    assert parse(str(response).encode()) == (
        Dial("+15550100009", timeout=10, send_digits="w1", callback=callback),
    )


def test_record_and_gather_are_read_as_the_sdk_writes_them() -> None:
    response = VoiceResponse()
    response.record(
        action="/kept",
        timeout=3,
        max_length=60,
        finish_on_key="#",
        play_beep=False,
        recording_status_callback="/r",
    )
    gather = response.gather(
        num_digits=4, timeout=2, finish_on_key="*", action="/digits", action_on_empty_result=True
    )
    gather.say("your code")
    gather.pause(length=1)
    assert parse(str(response).encode()) == (
        Record("/kept", "POST", 3.0, "#", 60.0, False, StatusCallback("/r", "POST", ("completed",))),
        Gather((Say("your code"), Pause(1.0)), 4, "*", 2.0, "/digits", "POST", True),
    )
    assert parse(b"<Response><Record/><Gather/></Response>") == (Record(), Gather())


def test_connect_with_a_stream_is_read_with_all_that_belongs_to_it() -> None:
    response, connect = VoiceResponse(), ConnectVerb(action="/after", method="GET")
    stream = connect.stream(
        url="wss://voice.example.com/websocket",
        name="bridge",
        status_callback="https://voice.example.com/status",
        status_callback_method="GET",
    )
    stream.parameter(name="token", value="k3F")
    stream.parameter(name="lang", value="")
    response.append(connect)
    assert parse(str(response).encode()) == (
        Connect(
            Stream(
                "wss://voice.example.com/websocket",
                "bridge",
                "inbound_track",
                {"token": "k3F", "lang": ""},
                "https://voice.example.com/status",
                "GET",
            ),
            "/after",
            "GET",
        ),
    )


def test_a_bare_stream_has_twilios_defaults() -> None:
    verbs = parse(b'<Response><Connect><Stream url="wss://h/m"/></Connect><Pause/></Response>')
    assert verbs == (Connect(Stream("wss://h/m")), Pause(1.0))
    assert parse(b"<Response/>") == ()


def test_the_number_of_a_dial_may_be_in_a_noun() -> None:
    assert parse(b"<Response><Dial><Number>+15550100009</Number></Dial></Response>") == (
        Dial("+15550100009"),
    )


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        (b"", 12100, "not XML"),
        (b"<Response><Say>cut off", 12100, "not XML"),
        (b"<html/>", 12200, "not <html>"),
        (b"<Response><Pay/></Response>", 12200, "<Pay> is no verb"),
        (b"<Response><Connect/></Response>", 12200, "exactly one <Stream>, not nothing"),
        (b"<Response><Connect><Room/></Connect></Response>", 12200, "not <Room>"),
        (b"<Response><Connect><Stream/></Connect></Response>", 12200, "no url"),
        (b"<Response><Connect><Stream url='wss://h/'><Say/></Stream></Connect></Response>", 12200, "<Say>"),
        (b"<Response><Play/></Response>", 12200, "either digits or a URL"),
        (b"<Response><Pause length='soon'/></Response>", 12200, "'soon'"),
        (b"<Response><Pause length='inf'/></Response>", 12200, "'inf'"),
        (b"<Response><Dial/></Response>", 12200, "neither a number nor a conference"),
        (b"<Response><Dial><Sip>sip:x</Sip></Dial></Response>", 12200, "not <Sip>"),
        (
            b"<Response><Dial><Number>1</Number><Number>2</Number></Dial></Response>",
            12200,
            "<Number>, <Number>",
        ),
        (b"<Response><Dial timeout='-1'>+15550100009</Dial></Response>", 12200, "timeout='-1'"),
        (b"<Response><Dial><Conference muted='so'>x</Conference></Dial></Response>", 12200, "true or false"),
        (b"<Response><Gather numDigits='0'/></Response>", 12200, "numDigits='0'"),
        (b"<Response><Gather><Hangup/></Gather></Response>", 12200, "not <Hangup>"),
        (b"<Response><Redirect method='PUT'>/x</Redirect></Response>", 12200, "GET or POST"),
    ],
)
def test_what_is_no_twiml_is_refused_with_twilios_code(document: bytes, code: int, message: str) -> None:
    with pytest.raises(TwimlError, match=message) as refused:
        parse(document)
    assert refused.value.code == code


@given(st.integers(1, 600), st.integers(0, 600))
def test_a_parameter_has_fewer_than_500_characters(name: int, value: int) -> None:
    document = (
        f"<Response><Connect><Stream url='wss://h/m'><Parameter name='{'n' * name}' value='{'v' * value}'/>"
        "</Stream></Connect></Response>"
    ).encode()
    if name + value < 500:
        assert parse(document)
    else:
        with pytest.raises(TwimlError, match="fewer than 500"):
            parse(document)


@given(st.binary(max_size=60) | st.text("<>/ResponseSay ='\"&", max_size=60).map(str.encode))
def test_no_document_raises_anything_but_a_twiml_error(document: bytes) -> None:
    with contextlib.suppress(TwimlError):
        assert isinstance(parse(document), tuple)


@pytest.mark.parametrize(
    ("written", "opened"),
    [
        ("wss://voice.example.com/websocket/tok", "wss://voice.example.com/websocket/tok"),
        ("wss://voice.example.com:443/w/", "wss://voice.example.com:443/w/"),
        ("/websocket", "wss://voice.example.com/websocket"),
    ],
)
def test_a_stream_url_is_opened_as_written(written: str, opened: str) -> None:
    assert stream_url(Stream(written), HERE) == opened


def test_a_server_without_tls_may_have_its_stream_without() -> None:
    url = "ws://127.0.0.1:5000/websocket"
    assert stream_url(Stream(url), "http://127.0.0.1:5000/twiml") == url
    assert stream_url(Stream("/websocket"), "http://127.0.0.1:5000/twiml") == url


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/json", "audio/basic"])
def test_only_xml_is_taken_for_twiml(content_type: str) -> None:
    check_type("text/xml")
    check_type("application/xml")
    with pytest.raises(TwimlError, match=content_type) as refused:
        check_type(content_type)
    assert refused.value.code == 12300


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (Stream("ws://voice.example.com/websocket"), 31922),
        (Stream("https://h/m"), 31922),
        (Stream("wss://h/m?token=1"), 31920),
        (Stream("/m?token=1"), 31920),
        (Stream("wss:///m"), 31923),
        (Stream("wss://h:port/m"), 31923),
        (Stream("wss://[h/m"), 31923),
        (Stream("wss://h/m", track="both_tracks"), 31941),
    ],
)
def test_a_stream_that_twilio_would_not_open_is_refused_with_its_code(stream: Stream, code: int) -> None:
    with pytest.raises(StreamRefusedError) as refused:
        stream_url(stream, HERE)
    assert refused.value.code == code
