"""The web server's side: `create_app` puts the Flask application together.

Importing this loads nothing: gunicorn's master imports it, and gevent has to patch the standard library before Flask
and SQLAlchemy come in.
"""

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from actors import Assistant
    from config import Settings
    from store.tokens import StreamTokens

DATABASE = "switchboard.database"
"""The open Database in `app.extensions`; a worker keeps it open until it ends."""

CALLS = "switchboard.calls"
"""The Calls of this process in `app.extensions`."""

START_FAILED = 4
"""Exit status of a worker that cannot start: gunicorn's APP_LOAD_ERROR, at which it ends and does not try again."""

_LOGGERS = ("actors", "config", "run", "simulator", "store", "web", "wire")


def create_app(settings: "Settings | None" = None) -> "Flask":
    """The application, with the settings of the environment when None. For gunicorn: `web:create_app()`.

    Settings or an assistant that cannot be used, or a database that cannot be opened, are printed to standard
    error, one line for each problem. Then SystemExit is raised, at which gunicorn ends too.
    """
    from actors import Assistant, AssistantError
    from actors.transcoder import TranscoderError, load_resampler
    from config import ConfigError, Settings
    from store.database import Database, StoreError
    from store.tokens import StreamTokens
    from web import media, security
    from web.calls import Calls
    from web.metrics import Metrics, MetricsError
    from wire.audio_format import FORMATS

    try:
        settings = settings or Settings.load()
        configure_logging(settings.log_level)
        assistant = Assistant.load(settings.assistant)
        if FORMATS[settings.openai_realtime_audio].transcoded:
            load_resampler()
        database = Database(settings.database_url.get_secret_value())
    except (ConfigError, AssistantError, StoreError, TranscoderError, MetricsError) as error:
        print(f"Switchboard cannot start:\n{error}", file=sys.stderr, flush=True)
        raise SystemExit(START_FAILED) from None
    tokens = StreamTokens(database, settings.stream_token_ttl)
    metrics = Metrics()
    calls = Calls(settings.threads)
    app = http_app(settings, tokens, assistant)
    media.register(app, settings, tokens, assistant, calls, metrics)
    app.add_url_rule("/metrics", view_func=security.operator(lambda: metrics.page()), endpoint="metrics")
    app.extensions[DATABASE] = database
    app.extensions[CALLS] = calls
    return app


def http_app(settings: "Settings", tokens: "StreamTokens", assistant: "Assistant") -> "Flask":
    """The part of the application that is plain HTTP: security, the webhook with its callbacks, and /health."""
    from flask import Flask

    from web import security, voice

    app = Flask("switchboard", static_folder=None)
    security.register(app, settings)
    voice.register(app, settings, tokens, assistant.fallback, assistant.language)

    @app.get("/health")
    @security.public
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def configure_logging(level: str) -> None:
    """Logs our own messages from `level` on to standard error, unless the program has set up logging itself.

    Other packages are heard from WARNING on: what they say below that can hold phone numbers and keys.
    """
    if logging.getLogger().handlers:
        return
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s [%(threadName)s] %(message)s"
    )
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
