"""Every setting, with its unit and its default. Nothing else reads the environment or the `.env` file.

A setting's variable is its name in capitals: `PUBLIC_URL` for `public_url`. The environment goes before
`.env`, space around a value does not count, and an empty value is the same as none.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

OFFLINE_KEY = "offline"
"""Stands for the API key where the model is the offline one, on this machine."""

OFFLINE_WARM_SESSIONS = "1"
"""They cost nothing there."""

WEBHOOK_PATH = "/twiml"
STREAM_PATH = "/websocket"

_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_DIAL_PREFIX = re.compile(r"!?\+([17]|[1-9][0-9]{1,13})")
"""No other country's code than +1 and +7 has a single digit: +4 would open half of Europe."""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ConfigError(Exception):
    """The settings are unusable. The text has one line for each problem: variable, what is wrong, the fix."""


Dialect = Literal["openai", "beta", "azure"]
Audio = Literal["pcmu", "pcm24"]


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """Where a model is and how it is spoken to."""

    url: str
    key: SecretStr
    model: str
    dialect: Dialect
    audio: Audio

    @property
    def name(self) -> str:
        """For the log: the model and its host."""
        return f"{self.model} at {urlsplit(self.url).netloc}"


class Settings(BaseSettings):
    """The settings, read once at the start. Frozen, so any thread may read them; a repr hides secrets."""

    model_config = SettingsConfigDict(
        frozen=True,
        validate_default=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        extra="ignore",
    )

    # The order counts: a check that joins two settings belongs to the later one, which sees the earlier.

    openai_realtime_url: str = "wss://api.openai.com/v1/realtime"
    """Where the Realtime API is: a ws or wss URL without query, ws on this machine only.
    Default: wss://api.openai.com/v1/realtime."""

    openai_api_key: SecretStr = SecretStr("")
    """The key for it. Required, unless OPENAI_REALTIME_URL is on this machine: the offline model."""

    openai_realtime_model: str = Field("gpt-realtime-2.1", min_length=1)
    """The model's name; on Azure the deployment's. Default: gpt-realtime-2.1."""

    openai_realtime_dialect: Dialect = "openai"
    """What the server there speaks; beta has the event names from before the general release.
    Default: openai."""

    openai_realtime_audio: Audio = "pcmu"
    """The audio that a session is told to speak: mu-law, which is the telephone's own, or, for servers that know
    nothing else, 24 kHz PCM, which is converted and needs the extra `pcm`. Default: pcmu."""

    openai_second_url: str | None = None
    """Another place for the model, used while the first keeps failing: another region, Azure. There is a second
    one as soon as any of these five is given; what is not given is as for the first."""

    openai_second_key: SecretStr | None = Field(None, min_length=1)
    """The key there. Required where OPENAI_SECOND_URL names another host, which must not see the first's key."""

    openai_second_model: str | None = Field(None, min_length=1)
    """The model there; on Azure the deployment's name."""

    openai_second_dialect: Dialect | None = None
    """What the server there speaks."""

    openai_second_audio: Audio | None = None
    """The audio there."""

    warm_sessions: int = Field(0, ge=0, le=100)
    """Sessions that each worker keeps connected to the first place for the next calls: not configured, and without
    audio, so that no tokens are used. Default: 0, and 1 with the offline model that the server starts itself."""

    twilio_account_sid: str | None = None
    """The account whose calls are taken: AC and 32 hexadecimal digits. Default: any account."""

    twilio_auth_token: SecretStr | None = Field(None, min_length=1)
    """The account's primary auth token, which signs its requests. Default: none, and then only this machine
    is served."""

    twilio_api_url: str = "https://api.twilio.com"
    """Where Twilio's REST API is: an https URL, http on this machine only. A region has a host of its own, such as
    api.dublin.ie1.twilio.com, and credentials of its own. Default: https://api.twilio.com."""

    metrics_token: SecretStr | None = Field(None, min_length=16)
    """What `GET /metrics` must bring as a bearer token once TWILIO_AUTH_TOKEN is set: a proxy on this machine makes
    strangers look local. Default: none, and then nobody gets the metrics."""

    console_token: SecretStr | None = Field(None, min_length=16)
    """What people sign in with to the softphone and the console. Default: none, and then they are for this machine
    only; once TWILIO_AUTH_TOKEN is set, for nobody: a proxy on this machine makes strangers look local."""

    public_url: str | None = None
    """Where Twilio reaches this server, without /twiml; a path may lead to it. Signatures are checked against
    it, so it must be what the phone number's webhook says. Required with TWILIO_AUTH_TOKEN, else unset."""

    host: str = "127.0.0.1"
    """The address to listen on. Default: 127.0.0.1."""

    port: int = Field(8080, ge=0, le=65535)
    """The TCP port to listen on, 0 for any free one. Default: 8080."""

    stream_token_ttl: float = Field(60.0, gt=0, le=86400, allow_inf_nan=False)
    """Seconds that may pass from the answer to the webhook to the media stream's start. Default: 60."""

    assistant: Path = Path("assistant.toml")
    """The assistant's file, or a folder in which each *.toml is an assistant. Default: assistant.toml."""

    database_url: SecretStr = SecretStr("sqlite:///switchboard.db")
    """The database's URL, as SQLAlchemy writes it. Secret, because it may hold a password.
    Default: sqlite:///switchboard.db, which is a file in the working directory."""

    retention_days: int = Field(30, ge=1, le=36500)
    """Days that what was said in a call stays in the database, from the call's beginning. Default: 30."""

    recordings: Path = Path("recordings")
    """The folder for what an assistant records and writes down. Days that are older than
    RETENTION_DAYS are erased from it. Default: recordings, in the working directory."""

    webhook_secret: SecretStr | None = Field(None, min_length=16)
    """What events for an assistant's webhook are signed with; its receiver knows it too. Required for [webhook]."""

    max_calls_per_caller: int = Field(3, ge=1, le=10000)
    """Calls that one number may have at once; callers who withhold theirs are not counted. Default: 3."""

    api_token: SecretStr | None = Field(None, min_length=16)
    """What requests to /calls must bring as a bearer token. Default: none, and then nobody can use it."""

    dial_countries: str = ""
    """Where calls may be placed to: prefixes of numbers, as +49,+43; what stands behind an exclamation mark, as
    !+4930, is taken out again. Default: none, and then nobody can be called."""

    calls_per_second: int = Field(1, ge=1, le=100)
    """Calls that are placed in a second at most, by all processes together. Default: 1, as Twilio has it."""

    calls_per_day: int = Field(100, ge=1, le=1_000_000)
    """The same on a day (UTC). What Twilio refuses counts too. Default: 100."""

    daily_budget: float | None = Field(None, gt=0, allow_inf_nan=False)
    """What all calls of a day (UTC) may cost together, in the currency of the assistant's prices. Those who call
    when it is spent are told so. Default: no limit."""

    drain_seconds: float = Field(20.0, ge=0, le=120, allow_inf_nan=False)
    """Seconds that calls have, when their process is to end, to end by themselves or to reach a pause at which
    another process takes them over. Default: 20."""

    threads: int = Field(154, ge=1, le=10000)
    """Threads a worker. A call takes one for as long as it lasts, a webhook for an instant. Default: 154,
    and 204 under `run.py serve --worker gevent`."""

    pin_workers: bool = True
    """Whether each worker stays on a core of its own, with the programs that its tools start, where there are as many
    cores: its threads, of which one runs at a time, cost much less there. Not where other programs keep the same
    cores busy. Default: true."""

    lateness_limit_ms: float = Field(10.0, ge=0, le=10_000, allow_inf_nan=False)
    """Milliseconds that a worker's threads may wake too late, one time in ten, before it takes no new calls: with
    more of them all would sound bad. A quarter of it where it has no processor time left. 0 takes them until THREADS
    are used up. Default: 10."""

    workers: int = Field(default_factory=_cores, ge=1, le=1024)
    """Processes that serve. Default: one for each core this process may use."""

    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    """The least severe messages that are logged. Default: info."""

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = ".env",
        offline_model: Callable[[], str] | None = None,
    ) -> Self:
        """The settings of `environ` (the process's when None) and, for what it leaves out, of `env_file`.

        A file that is not there is no error. Where neither a key nor an address is given for the model,
        `offline_model` is called, if there is one, and returns the address to use. Raises ConfigError, which
        lists every problem.
        """
        values: dict[str, Any] = cls.read(environ, env_file)
        if offline_model is not None and not {"openai_api_key", "openai_realtime_url"} & values.keys():
            values = {
                "warm_sessions": OFFLINE_WARM_SESSIONS,
                **values,
                "openai_realtime_url": offline_model(),
            }
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [_problem(details) for details in error.errors(include_input=False, include_url=False)]
        # Outside the handler, so that no traceback ends up with pydantic's own account of the values.
        raise ConfigError("\n".join(lines))

    @classmethod
    def read(
        cls, environ: Mapping[str, str] | None = None, env_file: str | os.PathLike[str] | None = ".env"
    ) -> dict[str, str]:
        """What `load` would check: each setting that is given, by name, as it is given. Raises ConfigError."""
        given = environment(environ, env_file)
        values = {name: given.get(name.upper(), "").strip() for name in cls.model_fields}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only `load` reads the environment: `Settings(...)` is what its arguments say."""
        return (init_settings,)

    @property
    def authenticated(self) -> bool:
        """Whether requests must carry Twilio's signature. If not, only this machine is served."""
        return self.twilio_auth_token is not None

    @property
    def base_url(self) -> str:
        """Where callers of this server find it, without a last slash: PUBLIC_URL, or HOST and PORT."""
        if self.public_url is not None:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def stream_url(self) -> str:
        """Where Twilio opens the media stream: a wss URL, ws where the public URL is http."""
        return stream_url_of(self.base_url)

    @property
    def offline(self) -> bool:
        """Whether the model runs on this machine."""
        return is_loopback(urlsplit(self.openai_realtime_url).hostname)

    @property
    def dial_prefixes(self) -> tuple[str, ...]:
        """The parts of DIAL_COUNTRIES."""
        return tuple(each.strip() for each in self.dial_countries.split(",") if each)

    @property
    def model_endpoints(self) -> tuple[ModelEndpoint, ...]:
        """Where the model is: one place, or two, the preferred one first."""
        first = ModelEndpoint(
            self.openai_realtime_url,
            self.openai_api_key,
            self.openai_realtime_model,
            self.openai_realtime_dialect,
            self.openai_realtime_audio,
        )
        given = {
            "url": self.openai_second_url,
            "key": self.openai_second_key,
            "model": self.openai_second_model,
            "dialect": self.openai_second_dialect,
            "audio": self.openai_second_audio,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return (first, replace(first, **changes)) if changes else (first,)  # type: ignore[arg-type]

    @field_validator("openai_realtime_url", "openai_second_url")
    @classmethod
    def _check_realtime_url(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value, "wss", "ws")

    @field_validator("openai_api_key")
    @classmethod
    def _check_api_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value():
            return value
        url = info.data.get("openai_realtime_url")
        if url is not None and not is_loopback(urlsplit(url).hostname):
            raise ValueError(
                "is not set; give a key of platform.openai.com, "
                "or let OPENAI_REALTIME_URL name the offline model on this machine"
            )
        return SecretStr(OFFLINE_KEY)

    @field_validator("openai_second_key")
    @classmethod
    def _check_second_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        first, second = info.data.get("openai_realtime_url"), info.data.get("openai_second_url")
        if value is not None or first is None or second is None:
            return value
        if urlsplit(first)[:2] == urlsplit(second)[:2]:
            return None
        if is_loopback(urlsplit(second).hostname):
            return SecretStr(OFFLINE_KEY)
        raise ValueError(
            "is not set, and OPENAI_SECOND_URL is another host than OPENAI_REALTIME_URL, whose key it must not see; "
            "give the key for it"
        )

    @field_validator("twilio_account_sid")
    @classmethod
    def _check_account_sid(cls, value: str | None) -> str | None:
        if value is not None and not _ACCOUNT_SID.fullmatch(value):
            raise ValueError(
                "is not an account SID; copy it from the Twilio console: AC and 32 hexadecimal digits"
            )
        return value

    @field_validator("twilio_api_url")
    @classmethod
    def _check_api_url(cls, value: str) -> str:
        return _checked_url(value, "https", "http")

    @field_validator("dial_countries")
    @classmethod
    def _check_countries(cls, value: str) -> str:
        if value and not all(_DIAL_PREFIX.fullmatch(each.strip()) for each in value.split(",")):
            raise ValueError("has a part that is no country's code; write them like +49,+43,!+4930")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        token = info.data.get("twilio_auth_token")
        if value is None:
            if token is not None:
                raise ValueError(
                    "is not set, and signatures are checked against it; "
                    "set it to the https URL under which Twilio reaches this server"
                )
            return None
        value = _checked_url(value, "https", "http")
        if value.endswith((WEBHOOK_PATH, STREAM_PATH)):
            raise ValueError(f"ends with a path of this server; leave /{value.rpartition('/')[2]} out")
        if token is None and "twilio_auth_token" in info.data:
            raise ValueError(
                "is set without TWILIO_AUTH_TOKEN, so anyone could place calls; set the token, or unset it"
            )
        return value

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str, info: ValidationInfo) -> str:
        value = value.removeprefix("[").removesuffix("]")
        if not value or re.search(r"[\s/@]", value):
            raise ValueError("is not an address; give an IP address or a host name, such as 127.0.0.1")
        if info.data.get("twilio_auth_token", "unknown") is None and not is_loopback(value):
            raise ValueError(
                "is open to other machines, and without TWILIO_AUTH_TOKEN nobody is checked; "
                "set the token, or HOST=127.0.0.1"
            )
        return value

    @field_validator(
        "log_level",
        "openai_realtime_dialect",
        "openai_realtime_audio",
        "openai_second_dialect",
        "openai_second_audio",
        mode="before",
    )
    @classmethod
    def _ignore_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value


def environment(
    environ: Mapping[str, str] | None = None, env_file: str | os.PathLike[str] | None = ".env"
) -> dict[str, str]:
    """What is not empty: of `environ` (the process's when None) and, for what it leaves out, of `env_file`.

    Beside the settings there are secrets in it that an assistant's file gives the names of. Raises ConfigError.
    """
    try:
        from_file = DotEnvSettingsSource(
            Settings, env_file=None if env_file is None else Path(env_file), case_sensitive=True
        ).env_vars
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{env_file}: cannot be read: {reason}; correct it or remove it") from None
    variables: dict[str, str] = {}
    for source in (from_file, os.environ if environ is None else environ):
        variables |= {name: value for name, value in source.items() if value and value.strip()}
    return variables


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address, without port or brackets, means this machine."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def stream_url_of(base_url: str) -> str:
    """The media stream's URL on a server whose http or https URL is `base_url`."""
    scheme, _, rest = base_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{STREAM_PATH}"


def _checked_url(value: str, secure: str, plain: str) -> str:
    """The URL without a last slash: of scheme `secure`, or `plain` to this machine, and without a query.

    Raises ValueError, whose text never shows the value: it may hold a secret.
    """
    try:
        url = urlsplit(value)
        url.port  # noqa: B018  # read for the ValueError it raises
    except ValueError:
        raise ValueError(f"is not a URL; write it like {secure}://voice.example.com") from None
    if url.scheme not in (secure, plain) or not url.hostname:
        raise ValueError(f"is not a {secure} URL; write it like {secure}://voice.example.com")
    if not re.fullmatch(r"[!-~]+", value) or "\\" in value:
        raise ValueError("holds a character that no URL has; remove it, and write a foreign name in punycode")
    if "@" in url.netloc:
        raise ValueError("holds a user name or a password; leave them out")
    if "?" in value or "#" in value:
        raise ValueError("has a query or a fragment; leave out the ? or # and what follows")
    if url.scheme == plain and not is_loopback(url.hostname):
        raise ValueError(f"is {plain} to another machine, which anyone on the way can read; use {secure}")
    return f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")


def _problem(details: ErrorDetails) -> str:
    """One line for one of pydantic's errors, without the value."""
    variable = str(details["loc"][0]).upper() if details["loc"] else "Settings"
    context = details.get("ctx", {})
    match details["type"]:
        case "value_error":
            text = str(context["error"])
        case "greater_than_equal":
            text = f"is too small; the least is {context['ge']:g}"
        case "greater_than":
            text = f"is too small; it must be above {context['gt']:g}"
        case "less_than_equal":
            text = f"is too large; the most is {context['le']:g}"
        case "literal_error":
            text = f"is none of the values it may have; use {context['expected']}"
        case kind if kind.startswith("int_"):
            text = "is not a whole number; write digits only"
        case kind if kind.startswith(("float_", "finite_")):
            text = "is not a number; write one like 60"
        case _:
            text = f"cannot be used: {details['msg']}; correct it or unset it"
    return f"{variable} {text}"
