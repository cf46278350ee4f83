"""Which answer Twilio did not get, by what it tells the fallback URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.lost_answer import MAX_FIELDS, LostAnswer, lost_answer
from web.twiml import ENDED_PATH, TRANSFERRED_PATH

BASE = "https://voice.example.com/phone"


def found(url: str, code: str = "11200", base: str = BASE) -> LostAnswer | None:
    return lost_answer({"ErrorCode": code, "ErrorUrl": url}, base)


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        (f"{BASE}/twiml/ended?stream=3", ENDED_PATH, {"stream": "3"}),
        (f"{BASE}/twiml/ended?stream=3&waits=2", ENDED_PATH, {"stream": "3", "waits": "2"}),
        (f"{BASE}/twiml/transferred?stream=3", TRANSFERRED_PATH, {"stream": "3"}),
        (f"{BASE}/twiml/transferred", TRANSFERRED_PATH, {}),
        ("https://voice.example.com:443/phone/twiml/ended?stream=3", ENDED_PATH, {"stream": "3"}),
    ],
)
def test_the_question_behind_a_stream_is_known_by_its_path(
    url: str, path: str, query: dict[str, str]
) -> None:
    assert found(url) == LostAnswer(path, query)


def test_a_server_at_the_root_knows_its_own_too() -> None:
    root = "http://127.0.0.1:5000"
    assert found(f"{root}/twiml/ended?stream=1", base=root) == LostAnswer(ENDED_PATH, {"stream": "1"})


@pytest.mark.parametrize(
    "url",
    [
        "", "/twiml/ended", f"{BASE}/twiml", f"{BASE}/twiml/ended/", f"{BASE}/twiml/recorded", f"{BASE}/twiml/dialed",
        f"{BASE}/x?y=/twiml/ended", f"{BASE}/TWIML/ENDED", "https://voice.example.com/twiml/ended?stream=1", "http://[",
        f"{BASE}/twiml/ended?" + "&".join("stream=1" for _ in range(MAX_FIELDS + 1)),
    ],
)  # fmt: skip
def test_nothing_else_is(url: str) -> None:
    assert found(url) is None


@pytest.mark.parametrize(("code", "lost"), [("11205", True), ("12100", True), ("13223", False), ("", False)])
def test_an_answer_that_came_and_could_not_be_followed_was_not_lost(code: str, lost: bool) -> None:
    assert (found(f"{BASE}/twiml/ended?stream=1", code) is not None) == lost


def test_a_request_for_a_new_call_is_none() -> None:
    assert lost_answer({"CallSid": "CA1"}, BASE) is None


@given(st.text())
def test_no_url_is_too_odd(url: str) -> None:
    found(url)
    found(f"{BASE}/twiml/ended?{url}")
