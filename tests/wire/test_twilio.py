"""Twilio's messages: the golden frames of its documentation, whole and cut off, and whatever else may come."""

import base64
import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import twilio
from wire.protocol import ProtocolError

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
CALL = "CAcccccccccccccccccccccccccccccccc"
ACCOUNT = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
FRAME = base64.b64encode(bytes(range(160))).decode()

CONNECTED = '{ "event": "connected", "protocol": "Call", "version": "1.0.0" }'
START = f"""{{
  "event": "start",
  "sequenceNumber": "1",
  "start": {{
    "accountSid": "{ACCOUNT}",
    "streamSid": "{STREAM}",
    "callSid": "{CALL}",
    "tracks": ["inbound"],
    "mediaFormat": {{ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 }},
    "customParameters": {{ "token": "k3F…", "lang": "en" }}
  }},
  "streamSid": "{STREAM}"
}}"""
MEDIA = f"""{{
  "event": "media",
  "sequenceNumber": "4",
  "media": {{ "track": "inbound", "chunk": "2", "timestamp": "25", "payload": "{FRAME}" }},
  "streamSid": "{STREAM}"
}}"""
DTMF = f"""{{
  "event": "dtmf",
  "streamSid": "{STREAM}",
  "sequenceNumber": "5",
  "dtmf": {{ "track": "inbound_track", "digit": "1" }}
}}"""
MARK = f"""{{
  "event": "mark",
  "sequenceNumber": "61",
  "streamSid": "{STREAM}",
  "mark": {{ "name": "r7.i2.000480" }}
}}"""
STOP = f"""{{
  "event": "stop",
  "sequenceNumber": "812",
  "stop": {{ "accountSid": "{ACCOUNT}", "callSid": "{CALL}" }},
  "streamSid": "{STREAM}"
}}"""

GOLDEN = {
    CONNECTED: twilio.Connected(),
    START: twilio.Start(STREAM, CALL, ACCOUNT, "audio/x-mulaw", 8000, 1, {"token": "k3F…", "lang": "en"}),
    MEDIA: twilio.Media(FRAME, base64.b64decode(FRAME), 25),
    DTMF: twilio.Dtmf("1"),
    MARK: twilio.Mark("r7.i2.000480"),
    STOP: twilio.Stop(),
}
EVENTS = ["connected", "start", "media", "dtmf", "mark", "stop"]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["payload", "name", "digit", "timestamp", "streamSid", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("frame", "message"), GOLDEN.items(), ids=EVENTS)
def test_the_golden_frames_are_understood(frame: str, message: twilio.Message) -> None:
    assert twilio.parse(frame) == message
    assert twilio.parse(frame, STREAM) == message


@pytest.mark.parametrize("frame", GOLDEN, ids=EVENTS)
def test_a_golden_frame_cut_off_anywhere_is_refused_or_a_message(frame: str) -> None:
    whole = twilio.parse(frame)
    for end in range(len(frame)):
        try:
            message = twilio.parse(frame[:end], STREAM)
        except ProtocolError:
            continue
        assert message == whole  # only white space was cut


@pytest.mark.parametrize("frame", GOLDEN, ids=EVENTS)
def test_a_golden_frame_without_one_of_its_fields_is_refused_or_a_message(frame: str) -> None:
    def without(value: Any) -> list[Any]:
        if not isinstance(value, dict):
            return []
        shorter = [{k: v for k, v in value.items() if k != dropped} for dropped in value]
        deeper = [value | {k: each} for k, v in value.items() for each in without(v)]
        return shorter + deeper

    for variant in without(orjson.loads(frame)):
        with contextlib.suppress(ProtocolError):
            twilio.parse(orjson.dumps(variant).decode(), STREAM)


@given(st.text() | st.binary())
def test_any_text_or_bytes_are_refused_with_a_protocol_error(text: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        twilio.parse(text, STREAM)


@given(st.sampled_from([*EVENTS, "novel"]), st.dictionaries(st.sampled_from([*EVENTS, "streamSid"]), JSON))
def test_wrong_types_anywhere_are_refused_with_a_protocol_error(event: str, rest: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        twilio.parse(orjson.dumps({**rest, "event": event}).decode(), STREAM)


@given(st.sampled_from(list(GOLDEN)), JSON, st.data())
def test_a_golden_frame_with_one_value_exchanged_is_refused_or_a_message(
    frame: str, stranger: Any, data: st.DataObject
) -> None:
    message = orjson.loads(frame)
    place = message
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = stranger
        break
    with contextlib.suppress(ProtocolError):
        twilio.parse(orjson.dumps(message).decode(), STREAM)


def test_a_deeply_nested_frame_is_refused() -> None:
    deep = '{"x":' * 100_000 + "1" + "}" * 100_000
    with pytest.raises(ProtocolError):
        twilio.parse(f'{{"event":"media","media":{deep}}}', STREAM)


def test_a_binary_frame_is_refused() -> None:
    with pytest.raises(ProtocolError, match="binary"):
        twilio.parse(MEDIA.encode(), STREAM)


@pytest.mark.parametrize("frame", [START, MEDIA, DTMF, MARK, STOP], ids=EVENTS[1:])
def test_a_message_of_another_stream_is_refused(frame: str) -> None:
    with pytest.raises(ProtocolError, match="another stream"):
        twilio.parse(frame, "MZffffffffffffffffffffffffffffffff")


@pytest.mark.parametrize("sid", [None, 7, ""])
def test_a_stream_sid_of_another_type_is_another_stream(sid: object) -> None:
    frame = orjson.dumps(orjson.loads(MARK) | {"streamSid": sid}).decode()
    with pytest.raises(ProtocolError, match="another stream"):
        twilio.parse(frame, STREAM)


def test_an_unknown_event_is_no_error_and_its_name_is_kept_short() -> None:
    assert twilio.parse('{"event":"paused","new":{"a":1}}', STREAM) == twilio.Unknown("paused")
    assert twilio.parse(orjson.dumps({"event": "x" * 10_000}).decode()) == twilio.Unknown("x" * 40)


def test_unknown_fields_are_ignored() -> None:
    frame = orjson.loads(MEDIA)
    frame["media"]["loudness"] = [1, 2]
    frame["region"] = "ie1"
    assert twilio.parse(orjson.dumps(frame).decode(), STREAM) == GOLDEN[MEDIA]


@pytest.mark.parametrize("payload", ["AAA", 'AA=="', 'AA","x":"', "AA\n=", "é"])
def test_bad_base64_is_refused(payload: str) -> None:
    frame = orjson.loads(MEDIA)
    frame["media"]["payload"] = payload
    with pytest.raises(ProtocolError, match="base64"):
        twilio.parse(orjson.dumps(frame).decode(), STREAM)


def test_an_escape_in_the_payload_that_decodes_to_a_quote_is_refused() -> None:
    with pytest.raises(ProtocolError, match="base64"):
        twilio.parse(MEDIA.replace(FRAME, r"AA==\u0022,\u0022x\u0022:\u0022"), STREAM)


@pytest.mark.parametrize("timestamp", ["", "soon", "1.5", "9" * 5000])
def test_a_timestamp_that_is_no_number_is_refused(timestamp: str) -> None:
    frame = orjson.loads(MEDIA)
    frame["media"]["timestamp"] = timestamp
    with pytest.raises(ProtocolError, match="timestamp"):
        twilio.parse(orjson.dumps(frame).decode(), STREAM)


def test_a_frame_is_as_long_as_it_is_and_not_as_long_as_usual() -> None:
    frame = orjson.loads(MEDIA)
    frame["media"]["payload"] = base64.b64encode(b"\xff" * 100).decode()
    message = twilio.parse(orjson.dumps(frame).decode())
    assert isinstance(message, twilio.Media)
    assert len(message.ulaw) == 100


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_start_without_parameters_has_none(parameters: dict[str, str] | None) -> None:
    frame = orjson.loads(START)
    frame["start"]["customParameters"] = parameters
    message = twilio.parse(orjson.dumps(frame).decode())
    assert isinstance(message, twilio.Start)
    assert message.parameters == {}


@pytest.mark.parametrize("parameters", ["x", [1], {"token": 7}, {"token": None}])
def test_parameters_that_are_not_strings_are_refused(parameters: object) -> None:
    frame = orjson.loads(START)
    frame["start"]["customParameters"] = parameters
    with pytest.raises(ProtocolError, match="customParameters"):
        twilio.parse(orjson.dumps(frame).decode())


def test_what_is_encoded_has_the_documented_shape_and_nothing_else() -> None:
    encoder = twilio.StreamEncoder(STREAM)
    assert orjson.loads(encoder.media(FRAME)) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": FRAME},
    }
    assert orjson.loads(encoder.mark("0-1")) == {
        "event": "mark",
        "streamSid": STREAM,
        "mark": {"name": "0-1"},
    }
    assert orjson.loads(encoder.clear()) == {"event": "clear", "streamSid": STREAM}


@given(st.text(), st.text(), st.binary(max_size=200))
def test_what_is_encoded_is_valid_json_whatever_the_names(sid: str, name: str, audio: bytes) -> None:
    encoder = twilio.StreamEncoder(sid)
    payload = base64.b64encode(audio).decode()
    assert orjson.loads(encoder.media(payload))["media"] == {"payload": payload}
    assert orjson.loads(encoder.mark(name))["mark"] == {"name": name}
    assert all(
        orjson.loads(text)["streamSid"] == sid
        for text in (encoder.media(payload), encoder.mark(name), encoder.clear())
    )


@given(st.binary(max_size=200), st.text())
def test_our_own_media_and_marks_are_understood_by_our_parser(audio: bytes, name: str) -> None:
    encoder = twilio.StreamEncoder(STREAM)
    assert twilio.parse(encoder.mark(name), STREAM) == twilio.Mark(name)
    message = orjson.loads(encoder.media(base64.b64encode(audio).decode()))
    message["media"]["timestamp"] = "0"  # only Twilio's have one
    parsed = twilio.parse(orjson.dumps(message).decode(), STREAM)
    assert isinstance(parsed, twilio.Media)
    assert parsed.ulaw == audio
