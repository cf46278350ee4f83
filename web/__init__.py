"""The web server's side: `create_app` puts the Flask application together.

Importing this loads nothing: gunicorn's master imports it, and gevent has to patch the standard library before Flask
and SQLAlchemy come in.
"""

import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config import Settings
    from web.preparation import Preparation

DATABASE = "switchboard.database"
"""The open Database in `app.extensions`; a worker keeps it open until it ends."""

CALLS = "switchboard.calls"
"""The Calls of this process in `app.extensions`."""

JOURNAL = "switchboard.journal"
"""The CallJournal of this process in `app.extensions`; its thread writes until the journal is closed."""

OUTBOX = "switchboard.outbox"
"""The Outbox of this process in `app.extensions`, or None; its thread sends until the outbox is closed."""

ORDERS = "switchboard.orders"
"""The OrderDesk of this process in `app.extensions`, for whoever has an order to a call."""

SETTINGS = "switchboard.settings"
"""The Settings in `app.extensions`."""

WARM = "switchboard.warm"
"""The WarmSockets of this process in `app.extensions`, or None; its thread runs until it is closed."""

START_FAILED = 4
"""Exit status of a worker that cannot start: gunicorn's APP_LOAD_ERROR, at which it ends and does not try again."""

_LOGGERS = ("actors", "config", "run", "simulator", "store", "web", "wire")


def create_app(settings: "Settings | None" = None) -> "Flask":
    """The application, with the settings of the environment when None. For gunicorn: `web:create_app()`.

    Settings or an assistant that cannot be used, or a database that cannot be opened, are printed to standard
    error, one line for each problem. Then SystemExit is raised, at which gunicorn ends too.
    """
    from config import ConfigError, Settings
    from store.database import StoreError
    from web.preparation import Preparation, PreparationError

    try:
        settings = settings or Settings.load()
        configure_logging(settings.log_level)
        return build_app(Preparation.of(settings))
    except (ConfigError, PreparationError, StoreError) as error:
        raise _start_failed(error) from None


def build_app(preparation: "Preparation") -> "Flask":
    """The application of one worker, of what was checked before.

    Raises StoreError if the database cannot be opened, which may pass; and SystemExit, as `create_app` does, if the
    metrics' folder cannot be used.
    """
    from flask import Flask

    from actors.call_file import erase_older
    from store.database import Database
    from store.dialed import DialedCalls
    from store.greetings import Greetings
    from store.history import History
    from store.journal import CallJournal
    from store.live import LiveAudio
    from store.orders import Orders
    from store.outbox import Outbox
    from store.tokens import StreamTokens
    from web import health, security
    from web.admission import Admission
    from web.call_api import CallApi
    from web.calls import Calls
    from web.console import Console
    from web.dialed import Dialed
    from web.dialing import Dialer, carrier_of
    from web.media import MediaStreams
    from web.metrics import Metrics, MetricsError
    from web.orders import OrderDesk
    from web.pages import Pages
    from web.pulse import Pulse
    from web.readiness import Readiness
    from web.recordings import Recordings
    from web.softphone import Softphone
    from web.voice import Voice

    settings, assistants = preparation.settings, preparation.assistants
    configure_logging(settings.log_level)
    try:
        metrics = Metrics()
    except MetricsError as error:
        raise _start_failed(error) from None
    # Last, because it opens files.
    database = Database(settings.database_url.get_secret_value())

    live, waiting, dialed = LiveAudio(database), Orders(database), DialedCalls(database)
    greetings = Greetings(database, settings.retention_days)

    def erase_older_files() -> None:
        erase_older(settings.recordings, datetime.now(UTC) - timedelta(days=settings.retention_days))
        # What these hold is over long before, and where nothing new comes nobody else clears it.
        for table in (live, waiting, dialed, greetings):
            table.clear()

    journal = CallJournal(database, settings.retention_days, erase_older_files=erase_older_files)
    secret = settings.webhook_secret
    # Also where no assistant has a [webhook] yet: its file may change.
    outbox = None if secret is None else Outbox(database, secret.get_secret_value())
    tokens = StreamTokens(database, settings.stream_token_ttl)
    calls = Calls(settings.threads, pulse=Pulse(settings.lateness_limit_ms, metrics.lateness))
    orders = OrderDesk(waiting, calls)
    carrier = carrier_of(settings)
    admission = Admission(
        calls,
        journal,
        settings.max_calls_per_caller,
        settings.daily_budget,
        lambda: max(each.limits.max_minutes for each in assistants.all.values()) * 60,
    )
    readiness = Readiness(calls, database)
    dialer = Dialer(settings, assistants, dialed, carrier, journal.spent_today)

    app = Flask("switchboard", static_folder=None)
    visitors = security.register(app, settings)
    Pages(visitors).register(app)
    voice = Voice(settings, tokens, assistants, calls, journal, admission, orders, carrier)
    voice.register(app)
    streams = MediaStreams(
        settings, tokens, assistants, calls, journal, metrics, outbox, carrier, dialed, live, greetings
    )
    streams.register(app)
    CallApi(dialer, dialed).register(app)
    Dialed(settings, assistants, dialed, tokens, calls, orders, voice, carrier).register(app)
    Softphone(settings, visitors.sessions, calls, admission, History(database), streams).register(app)
    Console(database, calls, orders, Recordings(settings.recordings), assistants).register(app)
    for path, view in (
        ("/health", security.public(lambda: health.answer(settings))),
        ("/ready", security.public(lambda: readiness.answer())),
        ("/metrics", security.operator(lambda: metrics.page())),
    ):
        app.add_url_rule(path, view_func=view, endpoint=path[1:])
    app.extensions.update(
        {
            DATABASE: database,
            CALLS: calls,
            JOURNAL: journal,
            ORDERS: orders,
            OUTBOX: outbox,
            SETTINGS: settings,
            WARM: streams.warm,
        }
    )
    return app


def _start_failed(error: Exception) -> SystemExit:
    print(f"Switchboard cannot start:\n{error}", file=sys.stderr, flush=True)
    return SystemExit(START_FAILED)


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
