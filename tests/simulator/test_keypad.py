"""The Gather verb: which keys it takes and when it is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.phone import Phone
from simulator.phone_events import Spoke
from tests.simulator.test_phone import SOON, Server, of


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.documents["/digits"] = "<Response><Hangup/></Response>"
    yield server
    server.close()


def call(server: Server, gather: str, keys: str) -> Phone:
    server.documents["/twiml"] = f"<Response>{gather}<Reject/></Response>"
    phone = Phone(server.url + "/twiml")
    phone.dial()
    for key in keys:
        phone.press(key)
    return phone


@pytest.mark.parametrize(
    ("attributes", "keys", "digits"),
    [
        ("numDigits='4'", "1234", "1234"),
        ("", "12#", "12"),
        ("finishOnKey='*'", "1#2*", "1#2"),
        ("timeout='1.5' finishOnKey=''", "12#", "12#"),
        ("timeout='0.1' actionOnEmptyResult='true'", "", ""),
    ],
)
def test_digits_are_collected(server: Server, attributes: str, keys: str, digits: str) -> None:
    with call(server, f"<Gather action='/digits' {attributes}><Pause length='0.3'/></Gather>", keys) as phone:
        assert phone.await_end(SOON).reason == "hangup"
    assert server.request("/digits").form["Digits"] == digits


def test_a_key_cuts_the_prompt_short(server: Server, tmp_path: Path) -> None:
    gather = (
        f"<Gather action='/digits' numDigits='1'><Say>{15 * 'a long story '}</Say><Say>no more</Say></Gather>"
    )
    with call(server, gather, "5") as phone:
        result = phone.await_end(SOON)
    assert result.seconds < 11
    assert len(of(Spoke, result.events)) <= 1


def test_without_a_key_the_next_verb_follows(server: Server) -> None:
    with call(server, "<Gather action='/digits' timeout='0.1'/>", "") as phone:
        assert phone.await_end(SOON).reason == "reject"
