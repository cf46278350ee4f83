"""Who is refused, and that no model session is opened for them."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
import websocket

from tests.end_to_end.stage import AUTH_TOKEN, PATIENCE, Stage, finished
from wire.signature import sign


def post(stage: Stage, path: str, fields: dict[str, str], **headers: str) -> int:
    address = stage.server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urlencode(fields), form | headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/twiml", "/twiml/ended", "/twiml/stream-status"])
@pytest.mark.parametrize("auth_token", [None, "f" * 32])
def test_a_webhook_without_twilios_signature_is_refused(
    stage: Stage, path: str, auth_token: str | None
) -> None:
    fields = {"CallSid": f"CA{'1' * 32}", "From": "+15550100001", "To": "+15550100002"}
    before = len(stage.model.sessions)
    headers = {}
    if auth_token is not None:
        headers["X-Twilio-Signature"] = sign(auth_token, stage.server.url + path, list(fields.items()))
    assert post(stage, path, fields, **headers) == 403
    assert len(stage.model.sessions) == before


@contextmanager
def media_socket(
    stage: Stage, signature: str | None, path: str = "/websocket"
) -> Iterator[websocket.WebSocket]:
    media = websocket.WebSocket()
    headers = [] if signature is None else [f"X-Twilio-Signature: {signature}"]
    try:
        media.connect(stage.server.url.replace("http", "ws") + path, header=headers, timeout=PATIENCE)
        yield media
    finally:
        media.shutdown()


def stream_signature(stage: Stage) -> str:
    return sign(AUTH_TOKEN, stage.server.url.replace("http", "ws") + "/websocket")


@pytest.mark.parametrize("signature", [None, "", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_a_media_socket_without_twilios_signature_is_refused_before_its_upgrade(
    stage: Stage, signature: str | None
) -> None:
    before = len(stage.model.sessions)
    with (
        pytest.raises(websocket.WebSocketBadStatusException) as refusal,
        media_socket(stage, signature),
    ):
        pass
    assert refusal.value.status_code == 403
    assert len(stage.model.sessions) == before


def test_a_media_socket_with_a_query_is_refused(stage: Stage) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException),
        media_socket(stage, stream_signature(stage), "/websocket?token=1"),
    ):
        pass


def start_of(call_sid: str, token: str) -> str:
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "start": {
                "accountSid": f"AC{'0' * 32}",
                "streamSid": f"MZ{'0' * 32}",
                "callSid": call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"token": token},
            },
            "streamSid": f"MZ{'0' * 32}",
        }
    )


def close_of(media: websocket.WebSocket) -> tuple[int, str]:
    opcode, data = media.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(data[:2], "big"), data[2:].decode()


def test_a_stream_token_that_was_used_is_refused_in_every_worker(stage: Stage) -> None:
    """protocol-gotchas 42; of twenty tries, both workers see some."""
    with stage.call() as (phone, _):
        phone.hang_up()
        result = finished(phone)
    token = result.streams[0].parameters["token"]
    before = len(stage.model.sessions)
    for _ in range(20):
        with media_socket(stage, stream_signature(stage)) as media:
            media.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            media.send(start_of(phone.call_sid, token))
            assert close_of(media) == (1008, "stream token refused: replayed")
    assert len(stage.model.sessions) == before


def test_a_replayed_webhook_opens_no_second_session(stage: Stage) -> None:
    """protocol-gotchas 42: the captured request and the captured upgrade are both signed, for ever."""
    with stage.call() as (phone, _):
        phone.hang_up()
        finished(phone)
    before = len(stage.model.sessions)
    with stage.phone(call_sid=phone.call_sid, speak=lambda text: b"") as again:
        again.dial()
        result = finished(again)
    assert result.streams == ()
    assert len(stage.model.sessions) == before
    stage.await_log(f"call {phone.call_sid} gets the fallback, it has had its stream")


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["{}"], "field 'event' must be str"),
        (['{"event":"media"}'], "field 'media' must be dict"),
        (['{"event":"connected"}', '{"event":"connected"}'], "connected where start is expected"),
        (['{"event":"connected"}', start_of(f"CA{'2' * 32}", "stolen")], "stream token refused: unknown"),
        (
            ['{"event":"connected"}', start_of(f"CA{'2' * 32}", "x").replace("x-mulaw", "l16")],
            "instead of mu-law",
        ),
    ],
)
def test_a_stream_that_does_not_begin_as_twilios_is_refused(
    stage: Stage, frames: list[str], reason: str
) -> None:
    before = len(stage.model.sessions)
    with media_socket(stage, stream_signature(stage)) as media:
        for frame in frames:
            media.send(frame)
        code, told = close_of(media)
    assert code == 1008
    assert reason in told
    assert len(stage.model.sessions) == before
