"""The shell of all pages: who gets in, what a browser lets the pages do, that other sites can do nothing."""

import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, render_template_string, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import Settings
from tests.conftest import ExpectedLogs
from web import security, visitors
from web.pages import STATIC, TOKEN_HEADER, Pages
from web.sessions import GUESSES, Guesses

CONSOLE_TOKEN = "päss wörd of sixteen"
PUBLIC = "https://voice.example.com/phone"
SITE = "https://voice.example.com"
LOCAL = "http://127.0.0.1:8080"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EVIL = "https://evil.example.com"


def app_with(**settings: Any) -> Flask:
    """The shell, a page, and something that the page can do."""
    app = Flask("pages", static_folder=None)
    Pages(
        security.register(app, Settings(openai_api_key="sk-test", **settings)), Guesses(lambda: 0.0)
    ).register(app)

    @app.get("/page")
    @security.console
    def page() -> str:
        assert visitors.current().id
        return render_template_string("{{ csrf_token }}")

    @app.post("/act")
    @security.console
    def act() -> dict[str, object]:
        return {"done": request.get_json(silent=True)}

    return app


@pytest.fixture
def remote() -> FlaskClient:
    """What strangers and people who sign in see of a server that Twilio reaches."""
    app = app_with(twilio_auth_token="12345", public_url=PUBLIC, console_token=CONSOLE_TOKEN)
    return app.test_client()


@pytest.fixture
def local(logs: ExpectedLogs) -> Iterator[FlaskClient]:
    """A developer's browser, on the machine."""
    logs.expect("signatures are not checked")
    client = app_with().test_client()
    client.environ_base["HTTP_HOST"] = "127.0.0.1:8080"
    return client


def sign_in(client: FlaskClient, token: str = CONSOLE_TOKEN, origin: str | None = SITE) -> TestResponse:
    headers = {TOKEN_HEADER: quote(token)} | ({} if origin is None else {"Origin": origin})
    return client.post("/sign-in", base_url=SITE, headers=headers)


def csrf_token(client: FlaskClient, base_url: str = SITE) -> str:
    """As a page of ours has it."""
    return client.get("/page", base_url=base_url).text


def act(client: FlaskClient, base_url: str = SITE, **headers: str | None) -> int:
    """The status of an action that a page of ours asks for, but for what `headers` say otherwise."""
    usual = {"Origin": base_url, "X-CSRF-Token": csrf_token(client, base_url)}
    sent = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in sent.items() if value is not None}
    return client.post("/act", base_url=base_url, headers=kept, json={"a": 1}).status_code


def test_a_stranger_is_sent_to_sign_in_and_gets_no_data(remote: FlaskClient) -> None:
    answer = remote.get("/page?a=1", headers=HTML)
    assert (answer.status_code, answer.location) == (303, "/phone/sign-in?next=%2Fpage%3Fa%3D1")
    assert remote.get("/page").status_code == 401
    assert remote.post("/act", headers=HTML | {"Origin": SITE}).status_code == 401
    assert remote.get("/sign-in").status_code == 200


def test_who_has_the_token_gets_in_and_out_again(remote: FlaskClient) -> None:
    assert sign_in(remote).status_code == 204
    assert remote.get("/page", base_url=SITE).status_code == 200
    assert act(remote) == 200
    headers = {"Origin": SITE, "X-CSRF-Token": csrf_token(remote)}
    assert remote.post("/sign-out", base_url=SITE, headers=headers).status_code == 204
    assert remote.get("/page", base_url=SITE).status_code == 401


def test_the_session_is_kept_where_no_script_and_no_other_site_gets_at_it(remote: FlaskClient) -> None:
    cookies = sign_in(remote).headers.getlist("Set-Cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == [
        "__Host-switchboard-session", "__Host-switchboard-browser",
    ]  # fmt: skip
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


def test_a_wrong_token_gets_nobody_in(remote: FlaskClient) -> None:
    for token in ("", CONSOLE_TOKEN[:-1], "this machine only"):
        answer = sign_in(remote, token)
        assert (answer.status_code, answer.json) == (403, {"error": "That is not the token."})
    assert remote.get("/page", base_url=SITE).status_code == 401


def test_who_guesses_is_slowed_down_and_who_was_there_before_is_not(
    remote: FlaskClient, logs: ExpectedLogs
) -> None:
    logs.expect("somebody keeps trying tokens")
    stranger = remote.application.test_client()
    sign_in(remote)
    statuses = [sign_in(stranger, "wrong").status_code for _ in range(GUESSES + 1)]
    assert statuses == [403] * GUESSES + [429]
    assert sign_in(stranger).status_code == 429
    assert sign_in(remote).status_code == 204


@pytest.mark.parametrize(
    "origin", [None, "null", EVIL, "http://voice.example.com", SITE + ":444", "https://["]
)
def test_other_sites_can_do_nothing_in_the_name_of_who_is_signed_in(
    remote: FlaskClient, logs: ExpectedLogs, origin: str | None
) -> None:
    sign_in(remote)
    logs.expect("refused POST /act: it was not sent by a page of this server")
    assert act(remote, Origin=origin) == 403
    assert sign_in(remote.application.test_client(), origin=origin).status_code == 403


@pytest.mark.parametrize("origin", [SITE + ":443", "HTTPS://VOICE.example.com"])
def test_an_origin_may_be_spelt_in_several_ways(remote: FlaskClient, origin: str) -> None:
    sign_in(remote)
    assert act(remote, Origin=origin) == 200


def test_an_action_needs_the_csrf_token_of_its_own_session(remote: FlaskClient, logs: ExpectedLogs) -> None:
    other = remote.application.test_client()
    sign_in(remote), sign_in(other)
    logs.expect("refused POST /act: its CSRF token is missing, or of another session")
    for wrong in (None, "", csrf_token(other), "\xfc"):
        assert act(remote, X_CSRF_Token=wrong) == 403


def test_a_form_may_bring_the_csrf_token_too(remote: FlaskClient) -> None:
    sign_in(remote)
    data = {"csrf_token": csrf_token(remote)}
    assert remote.post("/act", base_url=SITE, data=data, headers={"Origin": SITE}).status_code == 200


def test_without_a_console_token_nobody_gets_in_from_outside() -> None:
    """Being on this machine proves nothing there: a proxy is, too."""
    client = app_with(twilio_auth_token="12345", public_url=PUBLIC).test_client()
    assert client.get("/page", base_url=LOCAL, headers=HTML).status_code == 303
    assert client.get("/page", base_url=LOCAL).status_code == 401
    page = client.get("/sign-in")
    assert page.status_code == 403
    assert "nobody can sign in" in page.text
    assert sign_in(client, "").status_code == 403


def test_a_session_that_needs_no_token_opens_no_server_that_does(
    remote: FlaskClient, local: FlaskClient
) -> None:
    local.get("/page", base_url=LOCAL)
    cookie = local.get_cookie("switchboard-session", domain="127.0.0.1")
    assert cookie is not None
    remote.set_cookie("__Host-switchboard-session", cookie.value, domain="voice.example.com", secure=True)
    assert remote.get("/page", base_url=SITE).status_code == 401


def test_a_session_that_anybody_can_sign_opens_no_server_that_is_closed(local: FlaskClient) -> None:
    """What signs them where there is no token stands in the source."""
    local.get("/page", base_url=LOCAL)
    cookie = local.get_cookie("switchboard-session", domain="127.0.0.1")
    assert cookie is not None
    client = app_with(twilio_auth_token="12345", public_url=PUBLIC).test_client()
    client.set_cookie("__Host-switchboard-session", cookie.value, domain="voice.example.com", secure=True)
    assert client.get("/page", base_url=SITE).status_code == 401


def test_on_this_machine_nobody_has_to_sign_in(local: FlaskClient) -> None:
    first = local.get("/page", base_url=LOCAL)
    assert first.status_code == 200
    assert local.get("/page", base_url=LOCAL).text == first.text
    assert act(local, LOCAL) == 200


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Forwarded-For": "127.0.0.1"}, "it came through a proxy or a tunnel"),
        ({"Host": "evil.example.com"}, "its Host is not this machine"),
        ({"Origin": EVIL}, "it was sent by a web page of another site"),
    ],
)
def test_what_is_for_this_machine_is_for_nobody_else(
    local: FlaskClient, logs: ExpectedLogs, headers: dict[str, str], reason: str
) -> None:
    logs.expect(reason)
    for path in ("/page", "/sign-in", "/static/x/theme.js"):
        assert local.get(path, base_url=LOCAL, headers=headers).status_code == 403


def test_a_page_of_another_port_of_this_machine_can_do_nothing(
    local: FlaskClient, logs: ExpectedLogs
) -> None:
    logs.expect("it was not sent by a page of this server")
    local.get("/page", base_url=LOCAL)
    assert act(local, LOCAL, Origin="http://127.0.0.1:3000") == 403


def test_with_a_console_token_it_is_needed_on_this_machine_too(logs: ExpectedLogs) -> None:
    logs.expect("signatures are not checked")
    client = app_with(console_token=CONSOLE_TOKEN).test_client()
    assert client.get("/page", base_url=LOCAL).status_code == 401
    headers = {TOKEN_HEADER: quote(CONSOLE_TOKEN), "Origin": LOCAL}
    assert client.post("/sign-in", base_url=LOCAL, headers=headers).status_code == 204
    assert client.get("/page", base_url=LOCAL).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "landing"),
    [
        ("/page?a=1", "/phone/page?a=1"),
        ("//evil.example.com", "/phone/"),
        ("/\\evil.example.com", "/phone/"),
        (EVIL, "/phone/"),
        ("javascript:alert(1)", "/phone/"),
        ('/"><script>', "/phone/"),
    ],
)
def test_after_signing_in_one_lands_on_this_server(remote: FlaskClient, wanted: str, landing: str) -> None:
    page = remote.get("/sign-in", query_string={"next": wanted}).text
    assert f'data-landing="{landing}"' in page


def test_a_page_loads_and_frames_nothing_foreign(remote: FlaskClient) -> None:
    page = remote.get("/sign-in")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Permissions-Policy"].startswith("microphone=(self)")
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert not re.search(r"<script>|<style|\son\w+=|style=", page.text)


def test_what_one_person_sees_is_kept_by_no_cache(remote: FlaskClient) -> None:
    sign_in(remote)
    assert remote.get("/page", base_url=SITE).headers["Cache-Control"] == "no-store"


def test_files_are_kept_until_they_change(remote: FlaskClient) -> None:
    page = remote.get("/sign-in").text
    (address,) = re.findall(r'href="/phone(/static/[0-9a-f]{16}/switchboard.css)"', page)
    newest = remote.get(address)
    assert newest.content_type == "text/css; charset=utf-8"
    assert newest.data == (STATIC / "switchboard.css").read_bytes()
    assert {"immutable", "max-age=31536000"} <= set(newest.headers["Cache-Control"].split(", "))
    # Of a worker that is older or newer than the page.
    other = remote.get("/static/other/switchboard.css")
    assert other.data == newest.data
    assert "max-age=31536000" not in other.headers["Cache-Control"]
    assert remote.get(address, headers={"If-None-Match": newest.headers["ETag"]}).status_code == 304
    assert remote.get("/static/other/../pages.py").status_code == 404
    assert remote.get("/static/other/%2e%2e/pages.py").status_code == 404


def test_a_body_is_not_read_before_its_sender_is_known(remote: FlaskClient) -> None:
    class Endless(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    environ = {"CONTENT_LENGTH": "100", "CONTENT_TYPE": "application/x-www-form-urlencoded"}
    for path, status in (("/act", 401), ("/sign-in", 403)):
        answer = remote.post(
            path, input_stream=Endless(), environ_overrides=environ, headers={"Origin": SITE}
        )
        assert answer.status_code == status
