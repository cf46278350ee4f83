"""Settings: defaults, sources, every rule, and errors that name each problem and no secret."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config import OFFLINE_KEY, ConfigError, Settings, environment, is_loopback, stream_url_of

KEY = {"OPENAI_API_KEY": "sk-test"}
SIGNED = {**KEY, "TWILIO_AUTH_TOKEN": "12345", "PUBLIC_URL": "https://voice.example.com"}
SID = "AC" + "0123456789abcdef" * 2


def load(**changes: str) -> Settings:
    return Settings.load({**KEY, **changes}, env_file=None)


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Settings.load(environ, env_file=None)
    return str(caught.value).splitlines()


def test_a_key_alone_gives_the_defaults() -> None:
    settings = Settings.load(KEY, env_file=None)
    assert settings.openai_realtime_url == "wss://api.openai.com/v1/realtime"
    assert settings.openai_realtime_model == "gpt-realtime-2.1"
    assert settings.openai_realtime_dialect == "openai"
    assert settings.twilio_account_sid is None
    assert (settings.host, settings.port, settings.threads) == ("127.0.0.1", 8080, 154)
    assert settings.workers == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else True
    assert settings.workers >= 1
    assert settings.stream_token_ttl == 60
    assert settings.assistant == Path("assistant.toml")
    assert settings.database_url.get_secret_value() == "sqlite:///switchboard.db"
    assert settings.log_level == "info"
    assert settings.lateness_limit_ms == 10
    assert settings.pin_workers
    assert (settings.retention_days, settings.drain_seconds) == (30, 20)
    assert (settings.max_calls_per_caller, settings.daily_budget) == (3, None)
    assert [endpoint.name for endpoint in settings.model_endpoints] == ["gpt-realtime-2.1 at api.openai.com"]
    assert not settings.authenticated
    assert not settings.offline
    assert settings.stream_url == "ws://127.0.0.1:8080/websocket"


def test_every_setting_is_read_from_its_variable() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_REALTIME_URL": "wss://resource.openai.azure.com/openai/v1/realtime/",
        "OPENAI_REALTIME_MODEL": "phone",
        "OPENAI_REALTIME_DIALECT": "AZURE",
        "OPENAI_REALTIME_AUDIO": "PCM24",
        "OPENAI_SECOND_URL": "wss://api.openai.com/v1/realtime/",
        "OPENAI_SECOND_KEY": "sk-2",
        "OPENAI_SECOND_MODEL": "gpt-realtime-2.1-mini",
        "OPENAI_SECOND_DIALECT": "OpenAI",
        "OPENAI_SECOND_AUDIO": "PCMU",
        "WARM_SESSIONS": "2",
        "METRICS_TOKEN": "0123456789abcdef",
        "CONSOLE_TOKEN": "fedcba9876543210",
        "TWILIO_ACCOUNT_SID": SID,
        "TWILIO_AUTH_TOKEN": "12345",
        "TWILIO_API_URL": "https://api.dublin.ie1.twilio.com/",
        "PUBLIC_URL": "https://example.com/phone/",
        "STREAM_TOKEN_TTL": "2.5",
        "ASSISTANT": "assistants/front-desk.toml",
        "DATABASE_URL": "postgresql+psycopg://user:pw@db/name",
        "RETENTION_DAYS": "7",
        "RECORDINGS": "/var/lib/recordings",
        "WEBHOOK_SECRET": "0123456789abcdef",
        "MAX_CALLS_PER_CALLER": "2",
        "API_TOKEN": "0123456789abcdef",
        "DIAL_COUNTRIES": "+49, !+4930",
        "CALLS_PER_SECOND": "5",
        "CALLS_PER_DAY": "1000",
        "DAILY_BUDGET": "12.5",
        "DRAIN_SECONDS": "3.5",
        "HOST": "0.0.0.0",
        "PORT": "0",
        "THREADS": "7",
        "PIN_WORKERS": "False",
        "LATENESS_LIMIT_MS": "12.5",
        "WORKERS": "3",
        "LOG_LEVEL": "Debug",
    }
    assert {name.upper() for name in Settings.model_fields} == set(environ)
    settings = Settings.load(environ, env_file=None)
    read = {
        name.upper(): value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in settings
    }
    changed = {
        "OPENAI_REALTIME_URL": "wss://resource.openai.azure.com/openai/v1/realtime",
        "OPENAI_REALTIME_DIALECT": "azure",
        "OPENAI_REALTIME_AUDIO": "pcm24",
        "OPENAI_SECOND_URL": "wss://api.openai.com/v1/realtime",
        "OPENAI_SECOND_DIALECT": "openai",
        "OPENAI_SECOND_AUDIO": "pcmu",
        "METRICS_TOKEN": "0123456789abcdef",
        "CONSOLE_TOKEN": "fedcba9876543210",
        "TWILIO_API_URL": "https://api.dublin.ie1.twilio.com",
        "PUBLIC_URL": "https://example.com/phone",
        "LOG_LEVEL": "debug",
    }
    assert read == environ | changed
    assert settings.authenticated
    assert settings.stream_url == "wss://example.com/phone/websocket"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('OPENAI_API_KEY="sk-file"\nexport PORT=9001  # a comment\nTHREADS=5\nOTHER=1\nEMPTY\n')
    settings = Settings.load({"PORT": "9002", "THREADS": "  "}, env_file=file)
    assert settings.openai_api_key.get_secret_value() == "sk-file"
    assert (settings.port, settings.threads) == (9002, 5)


def test_the_environment_is_more_than_the_settings(tmp_path: Path) -> None:
    """In it are the secrets of which an assistant's file gives the names."""
    file = tmp_path / ".env"
    file.write_text("CRM_TOKEN=from-file\nDOCS_TOKEN=file-too\nEMPTY=\n")
    known = environment({"CRM_TOKEN": "from-process", "DOCS_TOKEN": " "}, env_file=file)
    assert known == {"CRM_TOKEN": "from-process", "DOCS_TOKEN": "file-too"}
    assert environment({"PORT": "1"}, env_file=None) == {"PORT": "1"}


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert Settings.load(KEY, env_file=tmp_path / "absent").port == 8080


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read: it is not UTF-8; correct it"):
        Settings.load(KEY, env_file=file)


def test_the_process_environment_is_read_by_load_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9003")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-process")
    assert Settings.load(env_file=None).port == 9003
    assert Settings.load(KEY, env_file=None).port == 8080
    assert Settings(openai_api_key="sk-test").port == 8080


def test_space_and_empty_values_do_not_count() -> None:
    settings = load(PORT=" 8081\n", PUBLIC_URL="", TWILIO_AUTH_TOKEN="  ", HOST="")
    assert (settings.port, settings.public_url, settings.authenticated) == (8081, None, False)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]


def test_a_loopback_model_needs_no_key() -> None:
    settings = Settings.load({"OPENAI_REALTIME_URL": "ws://127.0.0.1:9999/v1/realtime"}, env_file=None)
    assert settings.offline
    assert settings.openai_api_key.get_secret_value() == OFFLINE_KEY


AZURE = "wss://resource.openai.azure.com/openai/v1/realtime"


def test_a_second_model_is_as_the_first_where_nothing_else_is_said() -> None:
    first, second = load(OPENAI_SECOND_MODEL="gpt-realtime-2.1-mini").model_endpoints
    assert first.key.get_secret_value() == second.key.get_secret_value() == "sk-test"
    assert (second.name, second.url) == ("gpt-realtime-2.1-mini at api.openai.com", first.url)
    assert (second.dialect, second.audio) == ("openai", "pcmu")


def test_a_second_model_elsewhere_has_a_key_of_its_own() -> None:
    first, second = load(
        OPENAI_SECOND_URL=AZURE,
        OPENAI_SECOND_KEY="azure-key",
        OPENAI_SECOND_DIALECT="azure",
        OPENAI_SECOND_AUDIO="pcm24",
    ).model_endpoints
    assert (second.url, second.dialect, second.audio) == (AZURE, "azure", "pcm24")
    assert (first.key.get_secret_value(), second.key.get_secret_value()) == ("sk-test", "azure-key")
    assert (first.dialect, first.audio) == ("openai", "pcmu")


def test_another_path_of_the_same_host_may_see_the_same_key() -> None:
    _, second = load(OPENAI_SECOND_URL="wss://api.openai.com/v2/realtime").model_endpoints
    assert second.key.get_secret_value() == "sk-test"


def test_a_second_model_on_this_machine_needs_no_key_and_gets_none() -> None:
    _, second = load(OPENAI_SECOND_URL="ws://127.0.0.1:9999/v1/realtime").model_endpoints
    assert second.key.get_secret_value() == OFFLINE_KEY


def test_nobody_can_be_called_unless_a_setting_says_so() -> None:
    assert load().dial_prefixes == ()
    assert load(DIAL_COUNTRIES=" +49, !+4930 ,+1").dial_prefixes == ("+49", "!+4930", "+1")
    assert (load().calls_per_second, load().calls_per_day, load().api_token) == (1, 100, None)


@pytest.mark.parametrize("countries", ["49", "+", "+4", "+49;+43", "+49,", "+0", "*", "!", "+49!"])
def test_what_is_no_country_opens_nothing(countries: str) -> None:
    [problem] = problems(KEY | {"DIAL_COUNTRIES": countries})
    assert problem == ("DIAL_COUNTRIES has a part that is no country's code; write them like +49,+43,!+4930")


def test_every_problem_has_a_line_of_its_own() -> None:
    lines = problems(
        {
            "OPENAI_REALTIME_URL": "https://api.openai.com/v1/realtime",
            "OPENAI_REALTIME_DIALECT": "french",
            "TWILIO_ACCOUNT_SID": "AC123",
            "PUBLIC_URL": "voice.example.com",
            "STREAM_TOKEN_TTL": "nan",
            "HOST": "0.0.0.0",
            "PORT": "65536",
            "THREADS": "0",
            "WORKERS": "many",
            "LOG_LEVEL": "loud",
        }
    )
    assert [line.split()[0] for line in lines] == [
        "OPENAI_REALTIME_URL",
        "OPENAI_REALTIME_DIALECT",
        "TWILIO_ACCOUNT_SID",
        "PUBLIC_URL",
        "HOST",
        "PORT",
        "STREAM_TOKEN_TTL",
        "THREADS",
        "WORKERS",
        "LOG_LEVEL",
    ]


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "OPENAI_API_KEY is not set; give a key"),
        (
            {**KEY, "TWILIO_AUTH_TOKEN": "1"},
            "PUBLIC_URL is not set, and signatures are checked against it; set",
        ),
        ({**KEY, "PUBLIC_URL": "https://x.org"}, "PUBLIC_URL is set without TWILIO_AUTH_TOKEN"),
        ({**KEY, "HOST": "0.0.0.0"}, "HOST is open to other machines"),
        ({**KEY, "HOST": "example.com"}, "HOST is open to other machines"),
        ({**KEY, "HOST": "127.0.0.1 x"}, "HOST is not an address"),
        ({**KEY, "PORT": "-1"}, "PORT is too small; the least is 0"),
        ({**KEY, "PORT": "65536"}, "PORT is too large; the most is 65535"),
        ({**KEY, "PORT": "80.5"}, "PORT is not a whole number"),
        ({**KEY, "STREAM_TOKEN_TTL": "0"}, "STREAM_TOKEN_TTL is too small; it must be above 0"),
        ({**KEY, "STREAM_TOKEN_TTL": "soon"}, "STREAM_TOKEN_TTL is not a number"),
        ({**KEY, "STREAM_TOKEN_TTL": "inf"}, "STREAM_TOKEN_TTL is "),
        ({**KEY, "LOG_LEVEL": "loud"}, "LOG_LEVEL is none of the values it may have; use 'debug', "),
        ({**KEY, "TWILIO_ACCOUNT_SID": SID + "0"}, "TWILIO_ACCOUNT_SID is not an account SID; copy it"),
        ({**SIGNED, "PUBLIC_URL": "http://x.org"}, "PUBLIC_URL is http to another machine"),
        ({**SIGNED, "PUBLIC_URL": "wss://x.org"}, "PUBLIC_URL is not a https URL; write it like https://"),
        ({**SIGNED, "PUBLIC_URL": "https://"}, "PUBLIC_URL is not a https URL"),
        ({**SIGNED, "PUBLIC_URL": "https://x.org:port"}, "PUBLIC_URL is not a URL"),
        ({**SIGNED, "PUBLIC_URL": "https://[::1"}, "PUBLIC_URL is not a URL"),
        ({**SIGNED, "PUBLIC_URL": "https://x.org/?a=1"}, "PUBLIC_URL has a query or a fragment"),
        ({**SIGNED, "PUBLIC_URL": "https://x.org/#"}, "PUBLIC_URL has a query or a fragment"),
        ({**SIGNED, "PUBLIC_URL": "https://me:pw@x.org"}, "PUBLIC_URL holds a user name or a password"),
        ({**SIGNED, "PUBLIC_URL": "https://zoë.org"}, "PUBLIC_URL holds a character that no URL has"),
        (
            {**SIGNED, "PUBLIC_URL": "https://x.org/twiml"},
            "PUBLIC_URL ends with a path of this server; leave /twiml",
        ),
        ({**KEY, "OPENAI_REALTIME_URL": "ws://x.org"}, "OPENAI_REALTIME_URL is ws to another machine"),
        ({**KEY, "OPENAI_REALTIME_URL": "wss://x.org?model=y"}, "OPENAI_REALTIME_URL has a query"),
        ({**KEY, "OPENAI_SECOND_URL": "ws://x.org"}, "OPENAI_SECOND_URL is ws to another machine"),
        (
            {**KEY, "OPENAI_SECOND_URL": AZURE},
            "OPENAI_SECOND_KEY is not set, and OPENAI_SECOND_URL is another host",
        ),
        ({**KEY, "OPENAI_SECOND_DIALECT": "french"}, "OPENAI_SECOND_DIALECT is none of the values"),
        ({**KEY, "OPENAI_SECOND_AUDIO": "mp3"}, "OPENAI_SECOND_AUDIO is none of the values"),
        ({**KEY, "RETENTION_DAYS": "0"}, "RETENTION_DAYS is too small; the least is 1"),
        ({**KEY, "MAX_CALLS_PER_CALLER": "0"}, "MAX_CALLS_PER_CALLER is too small; the least is 1"),
        ({**KEY, "DAILY_BUDGET": "0"}, "DAILY_BUDGET is too small; it must be above 0"),
        ({**KEY, "DAILY_BUDGET": "inf"}, "DAILY_BUDGET is not a number"),
        ({**KEY, "DRAIN_SECONDS": "-1"}, "DRAIN_SECONDS is too small; the least is 0"),
        ({**KEY, "DRAIN_SECONDS": "121"}, "DRAIN_SECONDS is too large; the most is 120"),
    ],
)
def test_a_broken_rule_is_the_one_problem(environ: dict[str, str], line: str) -> None:
    (only,) = problems(environ)
    assert only.startswith(line)
    assert only.isprintable()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]", "LOCALHOST"])
def test_without_a_token_any_loopback_host_will_do(host: str) -> None:
    assert load(HOST=host).host == host.strip("[]")


def test_with_a_token_any_host_will_do() -> None:
    assert Settings.load({**SIGNED, "HOST": "0.0.0.0"}, env_file=None).host == "0.0.0.0"


def test_a_public_url_on_this_machine_may_be_http() -> None:
    settings = Settings.load({**SIGNED, "PUBLIC_URL": "http://localhost:5000/"}, env_file=None)
    assert settings.base_url == "http://localhost:5000"
    assert settings.stream_url == "ws://localhost:5000/websocket"


def test_an_ipv6_address_gets_its_brackets_in_a_url() -> None:
    assert load(HOST="::1", PORT="5000").base_url == "http://[::1]:5000"


def test_a_stream_url_keeps_port_and_path() -> None:
    assert stream_url_of("https://example.com:8443/a") == "wss://example.com:8443/a/websocket"


def test_only_this_machine_is_loopback() -> None:
    assert not any(map(is_loopback, [None, "", "localhost.example.com", "10.0.0.1", "0.0.0.0", "128.0.0.1"]))


def test_secrets_show_nowhere() -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-hidden",
        "OPENAI_SECOND_KEY": "hidden",
        "TWILIO_AUTH_TOKEN": "hidden",
        "DATABASE_URL": "postgresql://u:hidden@h/d",
    }
    settings = Settings.load({**secrets, "PUBLIC_URL": "https://example.com"}, env_file=None)
    assert "hidden" not in f"{settings.model_endpoints}"
    assert "hidden" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    # A URL that is refused may hold one too.
    assert "hidden" not in "".join(problems({**secrets, "PUBLIC_URL": "https://u:hidden@example.com"}))
    with pytest.raises(ValidationError) as caught:
        Settings(openai_api_key="sk-test", public_url="https://u:hidden@example.com")
    assert "hidden" not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from([name.upper() for name in Settings.model_fields]),
        st.one_of(
            st.text(max_size=20), st.sampled_from(["https://", "wss://h", "1e400", "-0", "٣", "[", "nan"])
        ),
    )
)
def test_any_text_is_taken_or_refused_line_by_line(environ: dict[str, str]) -> None:
    try:
        Settings.load(environ, env_file=None)
    except ConfigError as error:
        lines = str(error).splitlines()
        names = [line.split()[0] for line in lines]
        assert len(names) == len(set(names))
        assert set(names) <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize(("given", "kept"), [({}, 1), ({"WARM_SESSIONS": "0"}, 0)])
def test_sessions_are_kept_warm_by_themselves_only_where_they_cost_nothing(
    given: dict[str, str], kept: int
) -> None:
    assert Settings.load(given, None, lambda: "ws://127.0.0.1:1").warm_sessions == kept
    assert Settings.load(given | {"OPENAI_API_KEY": "sk-1"}, None).warm_sessions == 0
