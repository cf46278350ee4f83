"""What both protocols share: JSON objects, fields, and base64 that may be put into JSON as it stands."""

import base64
import string

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire.protocol import ProtocolError, decode_audio, field, parse_object

BASE64_CHARACTERS = set(string.ascii_letters + string.digits + "+/=")


def test_an_object_is_parsed() -> None:
    assert parse_object('{"event":"mark","n":1}') == {"event": "mark", "n": 1}


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", '{"a":1}{"a":2}', "{'a':1}", '{"a":NaN}', "\ud800", "{\x00}"]
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        parse_object(text)


@pytest.mark.parametrize("text", ["[]", "1", '"text"', "null", "true"])
def test_json_which_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="where an object is expected"):
        parse_object(text)


def test_a_binary_frame_is_refused_even_if_it_holds_json() -> None:
    with pytest.raises(ProtocolError, match="binary frame of 2 bytes"):
        parse_object(b"{}")


@pytest.mark.parametrize("depth", [5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_too_deep_to_parse_is_refused(depth: int, opening: str, closing: str) -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        parse_object('{"event":' + opening * depth + "1" + closing * depth + "}")


def test_errors_never_quote_the_payload() -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_object('{"secret":"4111111111111111"')
    assert "4111" not in str(refusal.value)


def test_a_missing_field_and_a_mistyped_one_are_told_apart() -> None:
    with pytest.raises(ProtocolError, match="'name' must be str, it is missing"):
        field({}, "name", str)
    with pytest.raises(ProtocolError, match="'name' must be str, it is int"):
        field({"name": 7}, "name", str)


@given(st.binary(max_size=400))
def test_audio_is_decoded(audio: bytes) -> None:
    assert decode_audio(base64.b64encode(audio).decode()) == audio


@pytest.mark.parametrize(
    "payload",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "====",
        "=AAA",
        "AA==AA==",
        "AAAA\n",
        " AAAA",
        "AA-_",
        'AA=="',
        'AAAA","x":"',
        "AAAA\\u0022",
        "AAA\x00",
        "ÄAAA",
        "AAA\ud800",
    ],
)
def test_what_is_not_strictly_base64_is_refused(payload: str) -> None:
    with pytest.raises(ProtocolError, match="not base64"):
        decode_audio(payload)


@pytest.mark.parametrize("escaped", [r"AA==\u0022", r"\"AAA", r"AA\u003d\u003d\u0022,\u0022a\u0022:\u0022"])
def test_an_escape_that_decodes_to_a_quote_is_not_base64(escaped: str) -> None:
    payload = orjson.loads(f'{{"payload":"{escaped}"}}')["payload"]
    assert '"' in payload
    with pytest.raises(ProtocolError, match="not base64"):
        decode_audio(payload)


@given(
    st.text(alphabet='AB/+= "\\\n-_é', max_size=12) | st.text(max_size=12),
)
@example('AA=="')
def test_whatever_passes_can_stand_between_quotes_in_json(payload: str) -> None:
    try:
        audio = decode_audio(payload)
    except ProtocolError:
        return
    assert set(payload) <= BASE64_CHARACTERS
    assert orjson.loads(f'"{payload}"') == payload
    assert audio == base64.b64decode(payload)
