"""Switchboard's command line, and the place where its parts are put together."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.database import Database
    from web.explanation import WorkerKind
    from web.server import PatientWorker

RUN = Path(__file__).resolve()

ONE_HEAP = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""Source: glibc's manual, "Memory Allocation Tunables"."""
STARTED_AGAIN = "SWITCHBOARD_STARTED_AGAIN"
"""A privileged interpreter loses the others on its way, and would start for ever."""

NOT_REACHED = 3
"""Exit status of `dial --wait` when there was no conversation and no message was left."""

recording_option = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("call.wav"),
    show_default=True,
    help="Where to leave the recording: caller left, assistant right.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="switchboard")
def main() -> None:
    """Switchboard answers phone calls with a language model.

    Twilio carries the call, the OpenAI Realtime API listens and speaks, Switchboard stands between. Start with
    `demo`: it needs no account.
    """


@main.command()
@recording_option
@click.option("--latency", default=40, show_default=True, help="One-way delay of the phone network, in ms.")
def demo(output: Path, latency: int) -> None:
    """Place a simulated call through the real server, and show what happens.

    Starts a server and an offline model, asks a question, talks over the answer, says goodbye. Takes less than a
    minute and uses no account and no network.
    """
    from simulator.demo import DemoError, run_demo
    from simulator.screen import Screen

    try:
        with Screen(sys.stdout) as screen:
            run_demo(output, latency, screen.echo, listen=screen.listen, width=screen.width)
    except DemoError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--watch-parent", is_flag=True, help="End when standard input does, so as not to outlive a parent."
)
@click.option(
    "--worker",
    type=click.Choice(["gthread", "gevent"]),
    default="gthread",
    show_default=True,
    help="Calls in threads, or in greenlets, of which a core carries more.",
)
@click.option(
    "--explain", is_flag=True, help="Say what these settings mean on this machine, and where they come from."
)
def serve(watch_parent: bool, worker: "WorkerKind", explain: bool) -> None:
    """Answer calls.

    With --worker gevent nothing is preempted: a tool or a listener that computes for long holds up all calls of its
    worker.

    The settings come from the environment and a .env file; README.md lists them. With neither OPENAI_API_KEY nor
    OPENAI_REALTIME_URL, an offline model is started that understands a handful of sentences.
    """
    if explain:
        return explain_settings(worker)
    if watch_parent:
        end_with_parent()  # in a thread of the system's, and so before gevent takes their place
    if worker == "gevent":
        use_greenlets()
    from config import ConfigError, Settings
    from store.database import Database, StoreError
    from web.explanation import with_threads_for
    from web.preparation import Preparation, PreparationError
    from web.server import CallWorker, Server

    worker_class: type[PatientWorker] = CallWorker
    if worker == "gevent":
        from web.green import GreenCallWorker

        worker_class = GreenCallWorker

    offline_models: list[tuple[subprocess.Popen[str], str]] = []

    def offline_model() -> str:
        if not offline_models:
            offline_models.append(start_offline_model())
        return offline_models[0][1]

    def prepare() -> Preparation:
        settings = with_threads_for(worker, Settings.load(offline_model=offline_model))
        preparation = Preparation.of(settings)
        # Each worker opens it too; here a mistake is said once, and before anything is started or reloaded.
        Database(settings.database_url.get_secret_value()).close()
        return preparation

    def ready(url: str) -> None:
        click.echo(f"Switchboard answers at {url}")
        click.echo(f"Talk to it in a browser at {url.removesuffix('twiml')}")

    try:
        server = Server(prepare, ready, worker_class)
    except (ConfigError, PreparationError, StoreError) as error:
        raise click.ClickException(f"these settings have to be corrected first:\n{error}") from None
    server.run()


@main.command(short_help="Place a simulated call to a running server.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "url", required=True, help="The webhook, such as http://127.0.0.1:8080/twiml.")
@click.option(
    "--auth-token", help="What to sign with, as Twilio does.  [default: TWILIO_AUTH_TOKEN, also of .env]"
)
@recording_option
@click.option("--latency", default=0, show_default=True, help="One-way delay of the phone network, in ms.")
def call(file: Path, url: str, auth_token: str | None, output: Path, latency: int) -> None:
    """Place one simulated call to a running server and say what is in FILE, a WAV file.

    Waits for the greeting, speaks, waits for the answer, hangs up, and prints the latencies a caller would notice.
    """
    from config import Settings
    from simulator.narrated_call import DemoError, run_call
    from simulator.screen import Screen

    try:
        auth_token = auth_token or Settings.read().get("twilio_auth_token")
        with Screen(sys.stdout) as screen:
            run_call(
                file, url, auth_token, output, latency, screen.echo, listen=screen.listen, width=screen.width
            )
    except DemoError as error:
        raise click.ClickException(str(error)) from None


@main.command(short_help="Put a running server under load.")
@click.argument("url")
@click.option("--calls", default=10, show_default=True, help="How many, at most 1000.")
@click.option("--rate", default=2.0, show_default=True, help="So many of them are placed in a second.")
@click.option("--seconds", default=30.0, show_default=True, help="How long they last, once all are placed.")
@click.option(
    "--say",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What each caller says again and again, a WAV file.  [default: a question]",
)
@click.option(
    "--auth-token", help="What to sign with, as Twilio does.  [default: TWILIO_AUTH_TOKEN, also of .env]"
)
@click.option("--json", "as_json", is_flag=True, help="Print an object instead of the table.")
@click.option("--yes", is_flag=True, help="Do not ask before loading what is not on this machine.")
def load(
    url: str,
    calls: int,
    rate: float,
    seconds: float,
    say: Path | None,
    auth_token: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Put a running server under load, from outside: its webhook's URL, such as http://127.0.0.1:8080/twiml.

    Simulated phones call, listen to the greeting, ask something, listen to the answer, ask again. They need no Twilio
    account and cost nothing there; the model behind the server costs what it costs. Exit status 1 if a call failed:
    it was refused, broke, or heard nothing. One that got the overflow answer did not fail.
    """
    import json
    from urllib.parse import urlsplit

    from config import ConfigError, Settings, is_loopback
    from simulator.demo import CALLER_SPEECH
    from simulator.lean_phone import ACCOUNT_SID
    from simulator.load import Plan, Tally, run_load
    from simulator.load_phone import Speech
    from simulator.load_report import Report
    from simulator.wav import load_wav

    try:
        given = Settings.read()
        speech = Speech.of(load_wav(say or CALLER_SPEECH / "question.wav"))
        plan = Plan(
            url,
            auth_token or given.get("twilio_auth_token"),
            speech,
            calls,
            rate,
            seconds,
            given.get("twilio_account_sid", ACCOUNT_SID),
        )
    except (ConfigError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    lasting = plan.placing_seconds + plan.seconds
    if not (yes or is_loopback(urlsplit(url).hostname)):
        click.confirm(
            f"{url} is not on this machine. {calls} calls for {lasting:.0f} s may cost money. Place them?",
            abort=True,
            err=True,
        )
    with click.progressbar(length=round(lasting * 10), label=f"{calls} calls", file=sys.stderr) as bar:

        def progress(tally: Tally) -> None:
            bar.label = f"{tally.answered} answered, {tally.overflow} overflow, {tally.failed} failed"
            bar.update(min(round(tally.elapsed_seconds * 10), bar.length or 0) - bar.pos)

        report = Report.of(run_load(plan, progress))
    click.echo(json.dumps(report.as_json()) if as_json else report.as_text())
    if not report.right:
        raise SystemExit(1)


@main.command(short_help="Run the offline model alone.")
@click.option("--port", default=8765, show_default=True, help="0 takes any free one.")
@click.option("--watch-parent", is_flag=True, help="End when standard input does.")
def model(port: int, watch_parent: bool) -> None:
    """Run the offline model alone: a strict stand-in for the OpenAI Realtime API.

    Any Realtime client can use it, at the address that it prints.
    """
    try:
        from simulator.realtime import serve_until_told
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing; install it with: pip install -e '.[offline]'"
        ) from None
    try:
        serve_until_told("127.0.0.1", port, watch_parent, click.echo)
    except OSError as error:
        raise click.ClickException(str(error)) from None


@main.command(short_help="Have the assistant call a NUMBER.")
@click.argument("number")
@click.option("--assistant", help="Who calls, of several.")
@click.option(
    "--variable",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the assistant is told. Repeatable.",
)
@click.option("--wait", is_flag=True, help="Show how the call goes, until it is over.")
@click.pass_context
def dial(
    context: click.Context, number: str, assistant: str | None, variables: tuple[str, ...], wait: bool
) -> None:
    """Have the assistant call a NUMBER, such as +4930123456.

    The call is placed from here, with the settings of the server, which must be running: Twilio connects the person
    with it. The assistant's file needs [outbound], and DIAL_COUNTRIES must allow the number.

    Ends with 1 if the call is not placed. With --wait it ends with 3 if nobody was reached: busy, no answer, failed,
    a fax. Ctrl-C ends the waiting and not the call.
    """
    from pydantic import ValidationError

    from config import ConfigError, Settings
    from store.database import Database, StoreError
    from store.dialed import DialedCalls
    from store.journal import CallJournal
    from web.dial_request import DialError, DialRequest
    from web.dialing import Dialer, carrier_of
    from web.dialing_progress import show_progress
    from web.preparation import Preparation, PreparationError

    if any("=" not in variable for variable in variables):
        raise click.UsageError("a variable is written NAME=VALUE")
    told = dict(variable.split("=", 1) for variable in variables)
    try:
        # Which model answers is the server's business: it may be the one that `serve` starts by itself.
        preparation = Preparation.of(Settings.load(offline_model=lambda: "ws://127.0.0.1"))
        settings = preparation.settings
        database = Database(settings.database_url.get_secret_value())
        journal = CallJournal(database)
        try:
            dialed = DialedCalls(database)
            request = DialRequest(to=number, assistant=assistant, variables=told)
            dialer = Dialer(
                settings, preparation.assistants, dialed, carrier_of(settings), journal.spent_today
            )
            call, _ = dialer.dial(request)
            reached = show_progress(dialed, call, click.echo, wait)
        finally:
            journal.close()
            database.close()
    except ValidationError as error:
        raise click.UsageError("; ".join(each["msg"] for each in error.errors())) from None
    except (ConfigError, PreparationError, StoreError, DialError) as error:
        raise click.ClickException(str(error)) from None
    context.exit(0 if reached else NOT_REACHED)


@main.command(short_help="Erase what is stored of a phone number's calls.")
@click.argument("number")
def forget(number: str) -> None:
    """Erase what is stored of the calls from and to a phone NUMBER, such as +4930123456.

    Their conversations, events and costs go from the database that DATABASE_URL names, and their recordings and
    transcripts from this machine. A call that is going on at the moment is not stored any more from then on.
    """
    from actors.call_file import erase_files
    from store.history import History
    from store.journal import CallJournal

    with open_database() as database:
        journal = CallJournal(database)
        try:
            # These first: the database knows where they are.
            erase_files(History(database).files(number))
            erased = journal.forget(number)
        except OSError as error:
            raise click.ClickException(f"{error.filename}: cannot be erased: {error.strerror}") from None
        finally:
            journal.close()
    click.echo(f"{erased} call{'' if erased == 1 else 's'} erased")


@main.command(short_help="List the last calls.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--number", help="Only calls from or to this one.")
@click.option("--full", is_flag=True, help="Show whole numbers and SIDs.")
def calls(last: int, number: str | None, full: bool) -> None:
    """List the last calls: when, who, how long, how they ended, turns, median time to an answer, cost.

    They come from the database that DATABASE_URL names.
    """
    from store.history import History
    from store.history_text import call_table

    with open_database() as database:
        found = History(database).latest(last, number)
    click.echo(call_table(found, full) if found else "no calls")


@main.command(short_help="Show what was said and what happened in a CALL.")
@click.argument("call")
@click.option("--full", is_flag=True, help="Show whole numbers.")
def show(call: str, full: bool) -> None:
    """Show what was said in a CALL, when, what was heard of it, and what else happened.

    CALL is its SID, or the end of it as `calls` shows it.
    """
    from store.history import History
    from store.history_text import call_story, call_table

    with open_database() as database:
        history = History(database)
        found = history.find(call.removeprefix("…"))
        if not found:
            raise click.ClickException(f"there is no call {call}; see what `calls --full` shows")
        if len(found) > 1:
            raise click.ClickException(
                f"several calls have that; give more of it:\n{call_table(found, full=True)}"
            )
        click.echo(call_story(found[0], history.story(found[0].call_sid), full))


@main.command(short_help="Check everything that calls need.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead.")
@click.option("--offline", is_flag=True, help="Ask nothing but this machine.")
def doctor(as_json: bool, offline: bool) -> None:
    """Check everything that calls need, and say what to do about what is missing.

    Settings, machine, assistant, database, clock, model, Twilio's account and numbers, and the way in through
    PUBLIC_URL with its signatures. Opens a session with the model and says nothing in it. Exit status 1 if a check
    failed.
    """
    from web.doctor import report
    from web.doctor.examination import examine
    from web.doctor.verdict import Level

    logging.getLogger().addHandler(logging.NullHandler())  # what the parts log is in the verdicts
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    verdicts = []
    for verdict in examine(online=not offline):
        verdicts.append(verdict)
        if not as_json:
            click.echo(report.as_text(verdict, width))
    click.echo(report.as_json(verdicts) if as_json else report.summary(verdicts))
    if any(verdict.level is Level.FAILED for verdict in verdicts):
        raise SystemExit(1)


@main.command(short_help="Point a phone NUMBER of Twilio's at this server.")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also take a number away from whatever it points at.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def setup_number(number: str, yes: bool, force: bool, dry_run: bool) -> None:
    """Point a phone NUMBER of the Twilio account, such as +4930123456, at this server.

    Shows what changes, and asks first. A number that points elsewhere is only taken after that question, or with
    --force.
    """
    from actors.carrier import Carrier, CarrierError
    from config import ConfigError, Settings
    from web import phone_setup

    try:
        settings = Settings.load(offline_model=lambda: "ws://127.0.0.1:1")
        token = settings.twilio_auth_token
        if settings.twilio_account_sid is None or token is None or settings.public_url is None:
            raise click.ClickException(
                "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and PUBLIC_URL are needed for this"
            )
        carrier = Carrier(settings.twilio_account_sid, token.get_secret_value(), settings.twilio_api_url)
        try:
            found = phone_setup.fetch(carrier, number)
            if not found:
                has = ", ".join(each.number for each in phone_setup.fetch(carrier)) or "none"
                raise click.ClickException(f"the account has no number {number}; it has: {has}")
            plan = phone_setup.plan(found[0], settings.public_url)
            click.echo(phone_setup.as_text(found[0], plan))
            if plan.obstacle:
                raise SystemExit(1)
            if dry_run or not plan.changes:
                return
            if plan.taken_from and yes and not force:
                raise click.ClickException(
                    f"{number} is taken by {plan.taken_from}; use --force to take it away"
                )
            if not (yes or force) and not click.confirm("Change it?"):
                raise click.ClickException("nothing was changed")
            phone_setup.carry_out(carrier, found[0], plan)
        finally:
            carrier.close()
    except (ConfigError, CarrierError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{number} points at {settings.public_url}")


@contextlib.contextmanager
def open_database() -> "Iterator[Database]":
    """The database of DATABASE_URL. Whatever is wrong with it ends the command, with a message."""
    from config import ConfigError, Settings
    from store.database import Database, StoreError

    try:
        # Only the database is needed: a server's other settings may be elsewhere.
        default = Settings.model_fields["database_url"].default.get_secret_value()
        database = Database(Settings.read().get("database_url", default))
        try:
            yield database
        finally:
            database.close()
    except (ConfigError, StoreError) as error:
        raise click.ClickException(str(error)) from None


def start_offline_model() -> tuple["subprocess.Popen[str]", str]:
    """Start the offline model in a child process; returns it and its address.

    It ends when its standard input does: with this process, or when the returned object goes.
    """
    child = subprocess.Popen(
        [sys.executable, str(RUN), "model", "--port", "0", "--watch-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C must not end it before the calls that use it
    )
    assert child.stdout is not None
    ready = child.stdout.readline().strip()
    if not ready:
        raise click.ClickException("there is no OPENAI_API_KEY, and the offline model did not start")
    click.echo(f"No OPENAI_API_KEY: using the {ready}")
    return child, next(word for word in ready.split() if word.startswith("ws://"))


def explain_settings(worker: "WorkerKind") -> None:
    """Print what the settings mean on this machine, and start nothing."""
    from config import ConfigError, Settings
    from web.explanation import Machine, explain

    try:
        # Where the model is, is no matter here: none needs to be started.
        settings = Settings.load(offline_model=lambda: "ws://127.0.0.1:8765/v1/realtime")
    except ConfigError as error:
        raise click.ClickException(f"these settings have to be corrected first:\n{error}") from None
    for line in explain(settings, Machine.here(), worker):
        click.echo(line)


def use_greenlets() -> None:
    """Put gevent's threads, locks and sockets in the place of the system's, before anything else is imported."""
    try:
        from gevent import monkey
    except ModuleNotFoundError:
        raise click.ClickException("gevent is missing; install it with: pip install -e '.[gevent]'") from None
    monkey.patch_all()
    from web.green_socket import use_green_sockets

    use_green_sockets()


def share_one_heap() -> None:
    """Start this process again, with one heap of the C library's for all threads, unless somebody has chosen already.

    glibc gives threads heaps of their own and lets each keep what it has freed, so that they need not wait for each
    other. The interpreter's wait for each other in any case, and what one keeps, the others cannot have: that was a
    quarter of what a call takes, and grew. That they keep nothing, glibc is told before a process begins, or never.
    """
    if STARTED_AGAIN in os.environ or "MALLOC_ARENA_MAX" in os.environ or not has_glibc():
        return
    more = os.environ.get("GLIBC_TUNABLES")
    environment = os.environ | ONE_HEAP | {STARTED_AGAIN: "1"}
    if more:  # what comes later holds
        environment["GLIBC_TUNABLES"] += f":{more}"
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def has_glibc() -> bool:
    """Whether this system's C library is that."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):  # which it has not even the name for
        return False


def end_with_parent() -> None:
    """Stop this process, as Ctrl-C would, when its standard input ends."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        share_one_heap()
    main()
