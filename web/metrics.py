"""/metrics for Prometheus: what calls report about themselves, added up over all workers.

With several workers each keeps its numbers in files of one shared directory, and whichever answers the scrape reads
them all. prometheus-client decides between that and plain memory when it is first imported, by the variable
PROMETHEUS_MULTIPROC_DIR; so nothing here imports it before a `Metrics` is made, in the worker. Source:
prometheus-client's documentation, "Multiprocess Mode (E.g. Gunicorn)". A worker that finds the disk full counts in
memory all the same.
"""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.meter import Outcome, Speaker
from config import environment
from wire.latency import InterruptionLatency, TurnLatency

if TYPE_CHECKING:
    from flask import Response

logger = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SHARED_FILES = ("histogram", "counter", "gauge_livesum", "gauge_livemax")
"""By these names, and the number of the process, prometheus-client opens the files of the metrics below."""
SHARED_FILE_BYTES = 64 * 1024
"""Of each. All that is counted here takes 40 KiB at most; a file that had to grow would grow by a hole."""

ANSWER_SECONDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
"""Buckets: people answer each other within 0.3 to 0.5 s, and speak again when nothing comes for 0.8."""
SILENCE_SECONDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
PART_SECONDS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0,
)  # fmt: skip
"""Buckets that suit both our own part, below 5 ms, and the model's."""

ANSWER_PARTS = ("vad", "model", "us", "twilio")
SILENCE_PARTS = ("vad", "us", "twilio")
RESPONSE_STATUSES = ("completed", "cancelled", "failed", "incomplete")
OTHER_STATUS = "other"
"""A label takes no word that a server makes up: each would be a time series of its own."""


class MetricsError(Exception):
    """The metrics' files cannot be written. The text says which and the fix."""


class Metrics:
    """Counts in this process; `page` shows the sum over all. Implements `actors.meter.Meter`. Any thread."""

    def __init__(self) -> None:
        """Raises MetricsError if PROMETHEUS_MULTIPROC_DIR was set by hand and cannot be used."""
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            disable_created_metrics,
            values,
        )
        from prometheus_client.multiprocess import MultiProcessCollector

        disable_created_metrics()  # type: ignore[no-untyped-call]  # files know none: both modes show the same
        self._registry = own = CollectorRegistry()
        directory = environment(env_file=None).get(DIRECTORY_VARIABLE)
        in_files = values.ValueClass is not values.MutexValue
        if directory is not None and in_files and _take_room(Path(directory)):
            own = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        else:
            # For good: a worker that has to wait for the database makes its application, and this, again. And the
            # variable cannot be unset any more: gunicorn's master may have imported the library before the fork.
            values.ValueClass = values.MutexValue

        def histogram(name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"switchboard_{name}", help_text, labels, buckets=buckets, registry=own)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"switchboard_{name}", help_text, labels, registry=own)

        try:
            self._answer = histogram(
                "answer_seconds",
                "From the end of the caller's speech to the first audible audio of the answer.",
                ANSWER_SECONDS,
            )
            self._answer_part = histogram(
                "answer_part_seconds", "The parts of switchboard_answer_seconds.", PART_SECONDS, "part"
            )
            self._silence = histogram(
                "interruption_silence_seconds",
                "From the start of the caller's speech to the confirmed silence of the assistant.",
                SILENCE_SECONDS,
            )
            self._silence_part = histogram(
                "interruption_silence_part_seconds",
                "The parts of switchboard_interruption_silence_seconds.",
                PART_SECONDS,
                "part",
            )
            self._interruptions = counter("interruptions", "Answers that the caller cut off.")
            self._calls = counter("calls", "Calls that have ended.", "outcome")
            self._responses = counter("responses", "The model's responses that have ended.", "status")
            self._dropped = counter(
                "audio_dropped_seconds", "Audio thrown away because the other side was slow.", "speaker"
            )
            self._live = Gauge(
                "switchboard_live_calls", "Calls going on.", registry=own, multiprocess_mode="livesum"
            )
            self._late = Gauge(
                "switchboard_late_seconds",
                "How late threads wake in the worker where they wake latest.",
                registry=own,
                multiprocess_mode="livemax",
            )
            self._late_workers = Gauge(
                "switchboard_late_workers",
                "Workers that take no new calls because they are late.",
                registry=own,
                multiprocess_mode="livesum",
            )
            self._show_zeros()
        except OSError as error:
            raise _unusable(error) from None

    def _show_zeros(self) -> None:
        """A series that only begins with its first event has no rate at that event, and in a file no place before."""
        for part in ANSWER_PARTS:
            self._answer_part.labels(part)
        for part in SILENCE_PARTS:
            self._silence_part.labels(part)
        for outcome in Outcome:
            self._calls.labels(outcome.value)
        for status in (*RESPONSE_STATUSES, OTHER_STATUS):
            self._responses.labels(status)
        for speaker in ("caller", "assistant"):
            self._dropped.labels(speaker)

    def call_started(self) -> None:
        """A call is live from now on."""
        self._live.inc()

    def call_ended(self, outcome: Outcome) -> None:
        """A call is not live any more."""
        self._live.dec()
        self._calls.labels(outcome.value).inc()

    def answered(self, latency: TurnLatency) -> None:
        """The caller heard an answer begin. Of what is not known, nothing is counted."""
        _observe(self._answer, latency.answer_ms)
        for part in ANSWER_PARTS:
            _observe(self._answer_part.labels(part), getattr(latency, f"{part}_ms"))

    def interrupted(self) -> None:
        """Clear was written because the caller spoke."""
        self._interruptions.inc()

    def silenced(self, latency: InterruptionLatency) -> None:
        """The silence after an interruption was confirmed."""
        _observe(self._silence, latency.silence_ms)
        for part in SILENCE_PARTS:
            _observe(self._silence_part.labels(part), getattr(latency, f"{part}_ms"))

    def response_done(self, status: str) -> None:
        """The model ended a response."""
        self._responses.labels(status if status in RESPONSE_STATUSES else OTHER_STATUS).inc()

    def audio_dropped(self, speaker: Speaker, duration_ms: float) -> None:
        """Audio was thrown away."""
        self._dropped.labels(speaker).inc(duration_ms / 1000)

    def lateness(self, ms: float, late: bool) -> None:
        """How late this process is, and whether that is too late."""
        self._late.set(ms / 1000)
        self._late_workers.set(late)

    def page(self) -> "Response":
        """The answer to a scrape, in the format that the current request accepts. Runs in a WSGI thread."""
        from flask import Response, request
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(self._registry), content_type=content_type)


def _observe(histogram: Any, ms: float | None) -> None:
    if ms is not None:
        histogram.observe(ms / 1000)


def _take_room(directory: Path) -> bool:
    """Make this process's files there, whole. False, and a warning: the disk is full or broken. Raises MetricsError.

    prometheus-client would make them of holes, and write to them as to memory: where the disk is full by the time
    that a hole is to be filled, the kernel ends the process with SIGBUS, and with it all calls.
    """
    files = [directory / f"{name}_{os.getpid()}.db" for name in SHARED_FILES]
    try:
        # What is there belongs to a process that had the same number, and is counted on in.
        missing = {path: path.with_suffix(".new") for path in files if not path.exists()}
        try:
            for path, new in missing.items():
                # Zeros: not every system has posix_fallocate. And whoever reads them all sees no half of a file.
                new.write_bytes(bytes(SHARED_FILE_BYTES))
                new.rename(path)
        except OSError:
            for path in (*missing, *missing.values()):
                path.unlink(missing_ok=True)
            raise
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise _unusable(error) from None
    except OSError as error:
        logger.warning(
            "%s: %s: what this worker counts stays in its memory, and /metrics shows it only where this worker "
            "answers itself; make room, and reload",
            directory,
            error.strerror,
        )
        return False
    return True


def _unusable(error: OSError) -> MetricsError:
    return MetricsError(
        f"{DIRECTORY_VARIABLE}: {error.filename or 'its files'} cannot be written: {error.strerror}; "
        "unset it, or let it name an empty directory that this user may write"
    )


class MetricsDirectory:
    """Where the workers of one run of the server keep their numbers. Made in gunicorn's master, before it forks.

    It is new for every run, so that nothing of an earlier one is counted, and is removed when the master ends. It is
    made where TMPDIR says; a killed master leaves it there.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="switchboard-metrics-"))
        self._owner = os.getpid()
        # Not gunicorn's on_exit, which does not run when the port is taken.
        atexit.register(self.remove)

    def gunicorn_settings(self) -> dict[str, Any]:
        """What to add to gunicorn's settings. `raw_env` is in effect before the application is loaded."""
        return {"raw_env": [f"{DIRECTORY_VARIABLE}={self.path}"], "child_exit": self.worker_ended}

    def worker_ended(self, _server: object, worker: Any) -> None:
        """gunicorn's `child_exit`, in the master: a dead worker has no live calls. What it counted stays."""
        from prometheus_client.multiprocess import mark_process_dead

        try:
            mark_process_dead(worker.pid, str(self.path))  # type: ignore[no-untyped-call]
        except OSError as error:  # it would end the master
            logger.warning("the live calls of dead worker %d stay in the metrics: %s", worker.pid, error)

    def remove(self) -> None:
        """Delete it, if this is the process that made it: workers inherit the atexit handler."""
        if os.getpid() == self._owner:
            atexit.unregister(self.remove)
            shutil.rmtree(self.path, ignore_errors=True)
