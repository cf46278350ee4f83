"""What neither Twilio nor a Realtime server would send, from either side."""

import pytest

from simulator.script import tone
from tests.end_to_end.stage import PATIENCE, Stage, ask, finished

pytestmark = pytest.mark.slow

GARBAGE_FROM_THE_PHONE = {
    "malformed JSON": ('{"event":"media"', "not JSON"),
    "binary frame": (b"\x00\x01", "binary frame of 2 bytes"),
    "bad base64": ('{"event":"media","media":{"payload":"!!!","timestamp":"1"}}', "audio is not base64"),
    "quote in base64": (
        '{"event":"media","media":{"payload":"AA\\"AA","timestamp":"1"}}',
        "audio is not base64",
    ),
    "wrong streamSid": ('{"event":"mark","mark":{"name":"a"},"streamSid":"MZ0"}', "another stream"),
    "a frame of 1 MiB": ('{"event":"x","padding":"' + "x" * 2**20 + '"}', "more than 65536 bytes"),
    "deeply nested JSON": ('{"event":' + "[" * 20000 + "]" * 20000 + "}", "not JSON"),
    "no object": ("[]", "JSON list"),
}


@pytest.mark.parametrize("kind", GARBAGE_FROM_THE_PHONE)
def test_garbage_from_a_phone_ends_that_call_alone_and_is_logged(stage: Stage, kind: str) -> None:
    garbage, reason = GARBAGE_FROM_THE_PHONE[kind]
    with stage.call() as (other, other_session), stage.call() as (phone, session):
        phone.send_raw(garbage)
        assert session.closed.wait(PATIENCE)
        stage.await_log(f"{phone.call_sid}: .*{reason}")
        ask(other, tone(300))
        assert not other_session.closed.is_set()


GARBAGE_FROM_THE_MODEL = {
    "malformed JSON": ('{"type":', "not JSON"),
    "binary frame": (b"\x00\x01", "binary frame of 2 bytes"),
    "bad base64": (
        '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","content_index":0,"delta":"!"}',
        "audio is not base64",
    ),
    "deeply nested JSON": ('{"type":' + "[" * 20000 + "]" * 20000 + "}", "not JSON"),
    "no type": ("{}", "field 'type' must be str"),
}


@pytest.mark.parametrize("kind", GARBAGE_FROM_THE_MODEL)
def test_garbage_from_a_model_ends_that_call_alone_and_is_logged(stage: Stage, kind: str) -> None:
    garbage, reason = GARBAGE_FROM_THE_MODEL[kind]
    with stage.call() as (other, other_session), stage.call() as (phone, session):
        session.send_raw(garbage)
        stage.await_log(f"{phone.call_sid}: .*{reason}")
        assert session.closed.wait(PATIENCE)
        ask(other, tone(300))
        assert not other_session.closed.is_set()


def test_a_frame_of_1_mib_from_the_model_harms_nobody(stage: Stage) -> None:
    with stage.call() as (phone, session):
        session.send_raw('{"type":"an event of the future","padding":"' + "x" * 2**20 + '"}')
        ask(phone, tone(300))
        phone.hang_up()
        finished(phone)
