"""The whole examination, check by check: one that fails, or breaks, keeps no other from being done."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from actors.assistant import Assistant
from config import ConfigError, Settings
from web.doctor import account, clock, entrance, machine, model, storage
from web.doctor.verdict import Verdict, failed, ok, skipped
from web.preparation import Preparation, PreparationError

NO_MODEL = "ws://127.0.0.1:1"
"""Stands for the offline model, which only the server starts."""


def examine(
    environ: Mapping[str, str] | None = None, env_file: str | None = ".env", online: bool = True
) -> Iterator[Verdict]:
    """Each verdict as soon as there is one. With `online` false nothing but this machine is asked."""
    settings: Settings | None = None
    try:
        settings = Settings.load(environ, env_file, offline_model=lambda: NO_MODEL)
        yield ok("settings", "complete, and each can be used")
    except ConfigError as error:
        for line in str(error).splitlines():
            finding, _, advice = line.partition("; ")
            yield failed("settings", finding, advice or "correct it in .env or in the environment")
    yield from _checked("machine", lambda: machine.judge(machine.look(), settings))
    if settings is None:
        yield skipped("the rest", "is checked when the settings can be used")
        return
    for name, check in _checks(settings, online):
        yield from _checked(name, check)


def _checks(settings: Settings, online: bool) -> Iterator[tuple[str, Callable[[], list[Verdict]]]]:
    for name, local in (
        ("assistant", storage.check_assistant),
        ("database", storage.check_database),
        ("recordings", storage.check_recordings),
        ("disk", storage.check_disk),
        ("port", entrance.check_port),
    ):
        yield name, lambda check=local: check(settings)  # type: ignore[misc]
    if not online:
        yield "network", lambda: [skipped("network", "was not to be asked: clock, model, Twilio, public URL")]
        return
    yield "clock", lambda: clock.check_clock(settings)
    yield "model", lambda: _check_models(settings)
    yield "Twilio", lambda: account.check_account(settings)
    yield "public URL", lambda: entrance.check_entrance(settings)


def _check_models(settings: Settings) -> list[Verdict]:
    try:
        assistant: Assistant = Preparation.of(settings).assistants.default
    except PreparationError:
        return [skipped("model", "is asked when the assistant can be used")]
    today = datetime.now(UTC).date()
    absent = settings.openai_realtime_url == NO_MODEL
    return [
        verdict
        for endpoint in settings.model_endpoints
        for verdict in model.check_model(endpoint, assistant, absent and endpoint.url == NO_MODEL, today)
    ]


def _checked(name: str, check: Callable[[], list[Verdict]]) -> list[Verdict]:
    try:
        return check()
    except (
        Exception
    ) as error:  # the doctor is asked where things are broken; the other checks are still worth having
        return [
            failed(
                name, f"could not be checked: {type(error).__name__}: {error}", "see whether this is a bug"
            )
        ]
