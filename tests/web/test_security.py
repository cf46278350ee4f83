"""Who is let in: signatures over the path as requested, this machine alone without a token, nothing undeclared."""

import hashlib
import http.client
import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask_sock import Sock
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.serving import make_server

from config import Settings
from tests.conftest import ExpectedLogs
from web import security
from wire.signature import SIGNATURE_HEADER, sign

TOKEN = "12345"
PUBLIC = "https://voice.example.com"
SID = "AC" + "0" * 32
CALL = [("CallSid", "CA1"), ("From", "+14158675310"), ("CallerState", ""), ("AccountSid", SID)]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
LOCAL = "http://127.0.0.1:8080"


def app_with(**settings: Any) -> Flask:
    """An app with one route of each kind, which answers with what reached it."""
    app = Flask("guarded", static_folder=None)
    security.register(app, Settings(openai_api_key="sk-test", **settings))
    sock = Sock(app)

    @app.route("/hook", methods=["GET", "POST"])
    @app.route("/hook/<path:rest>", methods=["GET", "POST"])
    @security.webhook
    def hook(rest: str = "") -> dict[str, Any]:
        return {"rest": rest, "form": list(request.form.items(multi=True))}

    @app.get("/open")
    @security.public
    def opened() -> str:
        return "open"

    @app.route("/forgotten", methods=["GET", "POST"])
    def forgotten() -> str:
        return "never said"

    @sock.route("/stream")  # type: ignore[untyped-decorator]
    @security.upgrade
    def stream(_: object) -> None:
        return

    return app


@pytest.fixture(scope="module")
def signed_app() -> Flask:
    return app_with(twilio_auth_token=TOKEN, public_url=PUBLIC)


@pytest.fixture
def signed(signed_app: Flask) -> FlaskClient:
    return signed_app.test_client()


@pytest.fixture
def local(logs: ExpectedLogs) -> FlaskClient:
    logs.expect("signatures are not checked, and only this machine is served")
    return app_with().test_client()


def post(
    client: FlaskClient,
    path: str = "/hook",
    pairs: list[tuple[str, str]] = CALL,
    url: str | None = None,
    token: str = TOKEN,
    headers: dict[str, str] | None = None,
) -> int:
    """The status of a form post to `path`, signed for `url`."""
    signature = sign(token, url or PUBLIC + path, pairs)
    return client.post(
        path,
        data=urlencode(pairs),
        content_type="application/x-www-form-urlencoded",
        headers={SIGNATURE_HEADER: signature, **(headers or {})},
    ).status_code


def upgrade(client: FlaskClient, path: str, signature: str | None) -> int:
    headers = UPGRADE if signature is None else {**UPGRADE, SIGNATURE_HEADER: signature}
    return client.get(path, headers=headers).status_code


def test_a_signed_webhook_is_let_in(signed: FlaskClient) -> None:
    assert post(signed) == 200
    assert post(signed, "/hook?a=1&b=%20") == 200
    assert post(signed, url=f"{PUBLIC}:443/hook") == 200
    signature = sign(TOKEN, f"{PUBLIC}/hook?CallSid=CA1&From=%2B1")
    answer = signed.get("/hook?CallSid=CA1&From=%2B1", headers={SIGNATURE_HEADER: signature})
    assert answer.status_code == 200


def test_the_view_reads_the_fields_that_were_signed(signed: FlaskClient) -> None:
    pairs = [("a", "1"), ("a", ""), ("b", "ü &="), ("a", "1")]
    signature = sign(TOKEN, f"{PUBLIC}/hook", pairs)
    answer = signed.post(
        "/hook",
        data=urlencode(pairs),
        content_type="application/x-www-form-urlencoded; charset=UTF-8",
        headers={SIGNATURE_HEADER: signature},
    )
    assert answer.json is not None
    assert sorted(map(tuple, answer.json["form"])) == sorted(pairs)


def test_what_is_not_signed_is_refused(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("web.security: refused POST /hook: its signature does not fit")
    logs.expect("refused (GET|OPTIONS) /hook: it has no X-Twilio-Signature")
    assert post(signed, token="54321") == 403
    assert post(signed, url=f"{PUBLIC}/hook/") == 403
    assert post(signed, url="https://localhost/hook") == 403
    assert post(signed, url="http://voice.example.com/hook") == 403
    assert signed.get("/hook").status_code == 403
    assert signed.options("/hook").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "http"},
        {"Forwarded": "host=evil.example.com;proto=http"},
        {"X-Forwarded-Prefix": "/evil", "X-Original-URL": "/open"},
    ],
)
def test_what_a_request_says_of_its_host_counts_for_nothing(
    signed: FlaskClient, logs: ExpectedLogs, headers: dict[str, str]
) -> None:
    assert post(signed, headers=headers) == 200
    logs.expect("signature does not fit")
    assert post(signed, headers=headers, url="http://evil.example.com/hook") == 403


def test_a_public_path_goes_in_front(logs: ExpectedLogs) -> None:
    client = app_with(twilio_auth_token=TOKEN, public_url="https://example.com/phone/").test_client()
    assert post(client, url="https://example.com/phone/hook") == 200
    logs.expect("URLs tried: https://example.com/phone/hook, https://example.com:443/phone/hook")
    assert post(client, url="https://example.com/hook") == 403


def test_a_refusal_is_logged_with_its_urls_and_no_secret(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("refused")
    signature = sign("wrong", PUBLIC)
    signed.get("/hook/%0Aforged?From=%2B14158675310", headers={SIGNATURE_HEADER: signature})
    (record,) = logs.records
    text = record.getMessage()
    assert text.endswith(
        "URLs tried: https://voice.example.com/hook/%0Aforged?…, https://voice.example.com:443/hook/%0Aforged?…"
    )
    assert "\n" not in text
    assert not any(secret in text for secret in (TOKEN, signature, "4158675310"))


def test_the_refused_learn_nothing(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("refused")
    answer = signed.post("/hook", headers={SIGNATURE_HEADER: "x"})
    assert "voice.example.com" not in answer.text
    assert "signature" not in answer.text.lower()


def test_a_json_body_must_be_tied_to_its_url(signed: FlaskClient, logs: ExpectedLogs) -> None:
    body = b'{"CallSid": "CA1"}'
    path = f"/hook?bodySHA256={hashlib.sha256(body).hexdigest()}"

    def send(body: bytes, path: str, mimetype: str = "application/json") -> int:
        headers = {SIGNATURE_HEADER: sign(TOKEN, PUBLIC + path)}
        return signed.post(path, data=body, content_type=mimetype, headers=headers).status_code

    assert send(body, path) == 200
    logs.expect("signature does not fit")
    assert send(body + b" ", path) == 403
    assert send(body, "/hook") == 403
    # A form that calls itself something else would reach the view unsigned.
    assert send(b"CallSid=CA1", "/hook", "text/plain") == 403
    assert send(b"CallSid=CA1", "/hook", "") == 403


def test_a_body_beyond_the_limit_is_not_read(signed: FlaskClient) -> None:
    largest = [("a", "x" * (security.MAX_BODY_BYTES - 2))]
    assert post(signed, pairs=largest) == 200
    assert post(signed, pairs=[("a", "x" * (security.MAX_BODY_BYTES - 1))]) == 413


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413), (100_000, 413)])
def test_a_chunked_body_has_the_same_limit(local: FlaskClient, more: int, status: int) -> None:
    answer = local.post(
        "/hook",
        base_url=LOCAL,
        input_stream=io.BytesIO(b"a=" + b"x" * (security.MAX_BODY_BYTES - 2 + more)),
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == status


def test_too_many_fields_are_refused(signed: FlaskClient, logs: ExpectedLogs) -> None:
    assert post(signed, pairs=[(f"f{n}", "") for n in range(security.MAX_FIELDS)]) == 200
    assert post(signed, pairs=[(f"f{n}", "") for n in range(security.MAX_FIELDS + 1)]) == 413


def test_a_request_without_a_signature_is_refused_before_its_body_is_read(
    signed: FlaskClient, logs: ExpectedLogs
) -> None:
    """A stranger could send the body a byte a minute, and hold a thread with it."""
    logs.expect("it has no X-Twilio-Signature")

    class Endless(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    environ = {"CONTENT_LENGTH": "100", "CONTENT_TYPE": "application/x-www-form-urlencoded"}
    answer = signed.post("/hook", input_stream=Endless(), environ_overrides=environ)
    assert answer.status_code == 403


def test_a_form_that_is_not_utf_8_is_refused(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("its form is not UTF-8")
    form = "application/x-www-form-urlencoded"
    answer = signed.post("/hook", data=b"a=\xff", content_type=form, headers={SIGNATURE_HEADER: "any"})
    assert answer.status_code == 403


def test_a_route_that_declares_nothing_is_closed(
    signed: FlaskClient, local: FlaskClient, logs: ExpectedLogs
) -> None:
    logs.expect("refused POST /forgotten: its route declares no policy; decorate the view")
    assert post(signed, "/forgotten") == 403
    assert post(local, "/forgotten") == 403


def test_a_public_route_is_open(signed: FlaskClient, local: FlaskClient) -> None:
    for client in (signed, local):
        assert client.get("/open", headers={"X-Forwarded-For": "1.2.3.4"}).text == "open"


def test_a_route_that_does_not_exist_is_404(signed: FlaskClient, local: FlaskClient) -> None:
    for client in (signed, local):
        assert client.get("/nowhere").status_code == 404
        assert client.put("/open").status_code == 405
        assert client.get("/stream").status_code == 400


@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("origin", ["wss://voice.example.com", "wss://voice.example.com:443"])
def test_a_signed_upgrade_goes_on_to_the_handshake(signed_app: Flask, origin: str, path: str) -> None:
    # The test client has no socket to upgrade, which flask-sock says by an exception: the check has let it pass.
    with pytest.raises(RuntimeError, match="Cannot obtain socket"):
        upgrade_on(signed_app, sign(TOKEN, f"{origin}/stream{path}"))


def upgrade_on(app: Flask, signature: str) -> None:
    app.testing = True
    try:
        upgrade(app.test_client(), "/stream", signature)
    finally:
        app.testing = False


@pytest.mark.parametrize(
    "signature",
    [
        None,
        sign(TOKEN, f"{PUBLIC}/stream"),
        sign(TOKEN, "ws://voice.example.com/stream"),
        sign(TOKEN, "wss://localhost/stream"),
        sign("54321", "wss://voice.example.com/stream"),
    ],
)
def test_an_upgrade_that_is_not_signed_for_wss_is_refused(
    signed: FlaskClient, logs: ExpectedLogs, signature: str | None
) -> None:
    logs.expect(
        "refused GET /stream: .*URLs tried: wss://voice.example.com/stream, wss://voice.example.com:443/stream, "
        "wss://voice.example.com/stream/, wss://voice.example.com:443/stream/$"
    )
    assert upgrade(signed, "/stream", signature) == 403


def test_an_upgrade_with_a_query_is_refused(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("an upgrade has a query, which Twilio never sends")
    for raw in ("/stream?token=1", "/stream?"):
        headers = {**UPGRADE, SIGNATURE_HEADER: sign(TOKEN, f"wss://voice.example.com{raw}")}
        answer = signed.get("/stream", headers=headers, environ_overrides={"RAW_URI": raw})
        assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:9"])
def test_without_a_token_this_machine_is_served(local: FlaskClient, origin: str) -> None:
    assert local.post("/hook", base_url=origin).status_code == 200
    assert local.post("/hook", base_url=origin, headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded", "Forwarded", "Forwarded-For",
        "Via", "X-Real-IP", "CF-Connecting-IP", "Cf-Ray", "CDN-Loop", "Ngrok-Auth-User-Email", "True-Client-IP",
        "x-client-ip", "X-Original-Forwarded-For", "X-Envoy-External-Address", "Fly-Client-IP",
        "Tailscale-User-Login", "X-Amzn-Trace-Id", "Fastly-Client-IP",
    ],
)  # fmt: skip
def test_without_a_token_nothing_forwarded_is_served(
    local: FlaskClient, logs: ExpectedLogs, header: str
) -> None:
    logs.expect(rf"refused POST /hook: it came through a proxy or a tunnel \((?i:{header})\)")
    assert local.post("/hook", base_url=LOCAL, headers={header: "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize("header", ["User-Agent", "Accept", "I-Twilio-Idempotency-Token", "X-Request-Id"])
def test_without_a_token_ordinary_headers_do_no_harm(local: FlaskClient, header: str) -> None:
    assert local.post("/hook", base_url=LOCAL, headers={header: "x"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.evil.com", "evil@127.0.0.1", "[::1", "10.0.0.1", ""]
)
def test_without_a_token_the_host_must_be_this_machine(
    local: FlaskClient, logs: ExpectedLogs, host: str
) -> None:
    logs.expect("its Host is not this machine")
    assert local.post("/hook", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.7", "2001:db8::1", ""])
def test_without_a_token_the_caller_must_be_this_machine(
    local: FlaskClient, logs: ExpectedLogs, address: str
) -> None:
    logs.expect("it came from another machine, and TWILIO_AUTH_TOKEN is not set")
    answer = local.post("/hook", base_url=LOCAL, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "", "http://127.0.0.1.evil.com", "http://["]
)
def test_without_a_token_a_page_of_another_site_is_refused(
    local: FlaskClient, logs: ExpectedLogs, origin: str
) -> None:
    logs.expect("it was sent by a web page of another site")
    headers = {**UPGRADE, "Origin": origin}
    assert local.get("/stream", base_url=LOCAL, headers=headers).status_code == 403
    assert local.post("/hook", base_url=LOCAL, headers={"Origin": origin}).status_code == 403


def test_without_a_token_the_limits_hold_too(local: FlaskClient) -> None:
    form = "application/x-www-form-urlencoded"
    large = b"a=" + b"x" * security.MAX_BODY_BYTES
    many = b"a=&" * (security.MAX_FIELDS + 1)
    for body in (large, many):
        answer = local.post("/hook", base_url=LOCAL, data=body, content_type=form)
        assert answer.status_code == 413


def test_the_account_must_match_where_one_is_set(logs: ExpectedLogs) -> None:
    client = app_with(twilio_auth_token=TOKEN, public_url=PUBLIC, twilio_account_sid=SID).test_client()
    assert post(client) == 200
    logs.expect("its AccountSid is not TWILIO_ACCOUNT_SID")
    for pairs in ([], [("AccountSid", "AC" + "1" * 32)], [*CALL, ("AccountSid", "AC" + "1" * 32)]):
        assert post(client, pairs=pairs) == 403


def test_with_a_token_nothing_is_warned_of_at_the_start() -> None:
    app_with(twilio_auth_token=TOKEN, public_url=PUBLIC)


def test_a_server_that_hides_the_path_is_refused(signed: FlaskClient, logs: ExpectedLogs) -> None:
    logs.expect("this WSGI server does not tell the path as it was requested")
    logs.expect("its request line does not have a path")
    headers = {SIGNATURE_HEADER: sign(TOKEN, f"{PUBLIC}/hook")}
    for raw in (None, f"{PUBLIC}/hook"):
        overrides = {"RAW_URI": raw, "REQUEST_URI": raw}
        assert signed.get("/hook", headers=headers, environ_overrides=overrides).status_code == 403


def test_the_base_url_is_public_or_the_local_host(signed_app: Flask) -> None:
    settings = Settings(openai_api_key="sk-test", twilio_auth_token=TOKEN, public_url=PUBLIC)
    with signed_app.test_request_context("/", base_url="http://evil.example.com"):
        assert security.base_url(settings) == PUBLIC
    with signed_app.test_request_context("/", base_url="http://127.0.0.1:4711"):
        assert security.base_url(Settings(openai_api_key="sk-test")) == "http://127.0.0.1:4711"


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], int]]:
    """Serves an app from real sockets; gives the port."""
    running = []

    def start(app: Flask) -> int:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, name="serve", daemon=True)
        thread.start()
        running.append((server, thread))
        return server.server_port

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(5)
        server.server_close()


@pytest.mark.parametrize("path", ["/hook/a%2Fb", "/hook/%7Ex?q=%41+%20", "/hook/a?", "/hook/%C3%A9?=&&x"])
def test_on_a_socket_the_path_counts_exactly_as_it_was_sent(
    signed_app: Flask, serve: Callable[[Flask], int], logs: ExpectedLogs, path: str
) -> None:
    logs.allow("signature does not fit")
    port = serve(signed_app)
    statuses = []
    for url in (PUBLIC + path, PUBLIC + re.sub("%[0-9A-F]{2}|[?]$", "", path)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path, headers={SIGNATURE_HEADER: sign(TOKEN, url)})
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [200, 403]


def test_on_a_socket_an_upgrade_is_refused_before_it_is_accepted(
    signed_app: Flask, serve: Callable[[Flask], int], logs: ExpectedLogs
) -> None:
    logs.expect("refused GET /stream")
    port = serve(signed_app)

    def status(signature: str) -> bytes:
        headers = {**UPGRADE, "Host": "127.0.0.1", SIGNATURE_HEADER: signature}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall("\r\n".join(["GET /stream HTTP/1.1", *lines, "", ""]).encode())
            return connection.makefile("rb").readline().split()[1]

    assert status(sign(TOKEN, "wss://voice.example.com/stream")) == b"101"
    assert status(sign("54321", "wss://voice.example.com/stream")) == b"403"


@pytest.fixture
def refusals_expected(logs: ExpectedLogs) -> None:
    logs.expect("refused POST /hook")


@pytest.mark.usefixtures("refusals_expected")
@given(
    path=st.text("/hok%2F?x=&", max_size=12).map("/hook".__add__),
    signature=st.text(max_size=30),
    body=st.binary(max_size=30),
    mimetype=st.sampled_from(
        ["application/x-www-form-urlencoded", "application/json", "multipart/form-data", ""]
    ),
)
def test_no_request_without_a_signature_gets_to_a_view(
    path: str, signature: str, body: bytes, mimetype: str
) -> None:
    client = app_with(twilio_auth_token=TOKEN, public_url=PUBLIC).test_client()
    header = signature.encode("ascii", "ignore").decode().translate(dict.fromkeys(range(32)))
    answer = client.post(path, data=body, content_type=mimetype, headers={SIGNATURE_HEADER: header})
    assert answer.status_code in (403, 404, 308)
